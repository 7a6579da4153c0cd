//! What can be measured in two windows, and the one query for each: a finding's figures come from
//! it, and verification asks it again for other windows.

use serde::{Deserialize, Serialize};
use upriver_analyze::literal;

use super::reading::{
    ADJUSTED_COUNT, DURATION, ERROR_COUNT, SPAN_COUNT, is_operation, operation_rows, payload_rows,
    within,
};
use super::served::Served;
use crate::error::RulesError;
use crate::rows::Rows;
use crate::time::{HOUR, MINUTE, Periods, Time, Window};

/// The spans of a service that carry one name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Operation {
    /// Their service.
    pub service: String,
    /// Their name.
    pub span_name: String,
    /// Their kind, such as `SERVER`.
    pub span_kind: String,
}

impl Operation {
    /// The operation of each row, by its columns of these names.
    pub(crate) fn of_rows(rows: &Rows) -> Result<Vec<Self>, RulesError> {
        let services = rows.texts("service_name")?;
        let names = rows.texts("span_name")?.into_iter().zip(rows.texts("span_kind")?);
        let of = |(service, (span_name, span_kind))| Self { service, span_name, span_kind };
        Ok(services.into_iter().zip(names).map(of).collect())
    }
}

/// Calls from one service to another, as one side reported them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Edge {
    /// Who calls; empty where unknown.
    pub client_service: String,
    /// Who answers.
    pub server_service: String,
    /// What is called.
    pub operation: String,
    /// Whose spans these are: `client` or `server`.
    pub reporter: String,
}

/// Which body of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From client to server.
    Request,
    /// From server to client.
    Response,
}

impl Direction {
    /// The word in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}

/// Which size of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// As transferred.
    Wire,
    /// Before compression.
    Uncompressed,
}

impl Measure {
    pub(crate) fn column(self) -> &'static str {
        match self {
            Self::Wire => "wire_bytes",
            Self::Uncompressed => "uncompressed_bytes",
        }
    }
}

/// Processor samples of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProfileOf {
    /// The service.
    pub service: String,
    /// `cpu`, or `samples` where no profile has it.
    pub sample_type: String,
}

/// Something that can be measured in any two windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Signal {
    /// A quantile of an operation's duration, in milliseconds.
    Duration {
        /// The operation.
        operation: Operation,
        /// From 0 to 1.
        quantile: f64,
    },
    /// The mean duration of an operation, in milliseconds.
    MeanDuration {
        /// The operation.
        operation: Operation,
    },
    /// Requests per second to an operation.
    RequestRate {
        /// The operation.
        operation: Operation,
    },
    /// Requests per second to an operation that took longer than so many milliseconds.
    SlowRequestRate {
        /// The operation.
        operation: Operation,
        /// From where on they are slow.
        above_ms: f64,
    },
    /// Share of failed requests, in percent.
    ErrorShare {
        /// The operation.
        operation: Operation,
    },
    /// Calls of one kind that a service makes per request.
    CallsPerRequest {
        /// The service.
        service: String,
        /// Name of its server spans.
        request: String,
        /// Whom it calls.
        callee: String,
        /// Name of its client spans.
        call: String,
    },
    /// Mean time of a call outside of the callee, in milliseconds: network, waiting, reading.
    CallGap {
        /// The caller's spans.
        client: Operation,
        /// The callee's spans of this caller.
        server: Operation,
    },
    /// A quantile of the body sizes on an edge, in bytes.
    Payload {
        /// The edge.
        edge: Edge,
        /// Which body.
        direction: Direction,
        /// Which size.
        measure: Measure,
        /// From 0 to 1.
        quantile: f64,
    },
    /// Share of samples whose stack has a frame of one of these families, in percent.
    FamilyShare {
        /// The profiles.
        profile: ProfileOf,
        /// The families; a stack counts once.
        families: Vec<String>,
    },
    /// Share of samples whose stack has this function, in percent.
    FunctionShare {
        /// The profiles.
        profile: ProfileOf,
        /// The function.
        function: String,
    },
    /// Mean of a histogram metric.
    MetricMean {
        /// The metric.
        metric: String,
        /// Its unit, as sent.
        unit: String,
    },
}

impl Signal {
    /// Unit of the figures.
    pub fn unit(&self) -> &str {
        match self {
            Self::Duration { .. } | Self::MeanDuration { .. } | Self::CallGap { .. } => "ms",
            Self::RequestRate { .. } | Self::SlowRequestRate { .. } => "requests/s",
            Self::CallsPerRequest { .. } => "calls/request",
            Self::ErrorShare { .. } | Self::FamilyShare { .. } | Self::FunctionShare { .. } => "%",
            Self::Payload { .. } => "bytes",
            Self::MetricMean { unit, .. } => unit,
        }
    }

    /// Observations without which the figure says nothing: for a quantile those of a two-sided 95 %
    /// interval from order statistics (p50 6, p90 36, p99 368), for the rest a handful.
    pub(crate) fn observations_min(&self) -> i64 {
        const OTHERS: i64 = 20;
        match self {
            Self::Duration { quantile, .. } | Self::Payload { quantile, .. } => match *quantile {
                q if q >= 0.99 => 368,
                q if q >= 0.95 => 72,
                q if q >= 0.9 => 36,
                _ => OTHERS,
            },
            _ => OTHERS,
        }
    }

    /// The same quantile, its rank moved by standard errors of `n` observations; none for signals
    /// that are no quantiles.
    pub(crate) fn at_rank_shifted(&self, standard_errors: f64, n: i64) -> Option<Self> {
        let mut shifted = self.clone();
        let (Self::Duration { quantile, .. } | Self::Payload { quantile, .. }) = &mut shifted
        else {
            return None;
        };
        let error = (*quantile * (1.0 - *quantile) / (n.max(1) as f64)).sqrt();
        *quantile = (*quantile + standard_errors * error).clamp(0.0, 1.0);
        Some(shifted)
    }

    /// The operation, where the figures follow from what it served in both windows.
    pub(crate) fn operation(&self) -> Option<&Operation> {
        match self {
            Self::Duration { operation, .. }
            | Self::MeanDuration { operation }
            | Self::RequestRate { operation }
            | Self::SlowRequestRate { operation, .. }
            | Self::ErrorShare { operation } => Some(operation),
            _ => None,
        }
    }

    /// The figure of what [`Signal::operation`] served in a window: what [`Signal::sql`] computes.
    pub(crate) fn figure(&self, served: &Served, window: Window) -> Option<f64> {
        if served.spans == 0 {
            return None;
        }
        let spans = served.spans as f64;
        match self {
            Self::Duration { quantile, .. } => {
                served.durations.quantile(*quantile).map(|nanos| nanos / 1e6)
            }
            Self::MeanDuration { .. } => served.durations.mean().map(|nanos| nanos / 1e6),
            Self::RequestRate { .. } => Some(rate(served, window)),
            Self::SlowRequestRate { above_ms, .. } => {
                let slow = served.durations.fraction_above(above_ms * 1e6)?;
                Some(slow * rate(served, window))
            }
            Self::ErrorShare { .. } => Some(100.0 * served.errors as f64 / spans),
            _ => None,
        }
    }

    /// The query with columns `observed`, `baseline` and `n`.
    pub(crate) fn sql(&self, periods: &Periods) -> String {
        match self {
            Self::Duration { operation, quantile } => {
                let figure = format!("hist_quantile(duration, {quantile}) / 1e6");
                of_operation(operation, &figure, periods)
            }
            Self::MeanDuration { operation } => {
                let figure = "CAST(sum(duration['sum']) AS DOUBLE) / sum(duration['count']) / 1e6";
                of_operation(operation, figure, periods)
            }
            Self::RequestRate { operation } => request_rate(operation, "", periods),
            Self::SlowRequestRate { operation, above_ms } => {
                let slow = format!("fraction_above(duration, {:?}) * ", above_ms * 1e6);
                request_rate(operation, &slow, periods)
            }
            Self::ErrorShare { operation } => error_share(operation, periods),
            Self::CallsPerRequest { service, request, callee, call } => {
                calls_per_request((service, request), (callee, call), periods)
            }
            Self::CallGap { client, server } => call_gap(client, server, periods),
            Self::Payload { edge, direction, measure, quantile } => {
                let both = both(periods);
                let rows = payload_rows(edge, (*direction, *measure), &both, periods.at);
                compare(&format!("hist_quantile(bytes, {quantile})"), "sum(bytes['count'])", &rows)
            }
            Self::FamilyShare { profile, families } => {
                let families: Vec<_> = families.iter().map(|name| literal::text(name)).collect();
                let condition = format!("family IN ({})", families.join(", "));
                share_of_samples(profile, &condition, periods)
            }
            Self::FunctionShare { profile, function } => {
                let condition = format!("function = {}", literal::text(function));
                share_of_samples(profile, &condition, periods)
            }
            Self::MetricMean { metric, .. } => metric_mean(metric, periods),
        }
    }
}

pub(crate) fn both(periods: &Periods) -> [(&'static str, Window); 2] {
    [("now", periods.now), ("before", periods.before)]
}

/// The same figure of both periods, and the number of observations now.
pub(crate) fn compare(figure: &str, count: &str, rows: &str) -> String {
    format!(
        "WITH sides AS (\n  SELECT period, {figure} AS figure, {count} AS n FROM (\n{rows}\n  ) AS rows GROUP BY period\n)\nSELECT max(figure) FILTER (WHERE period = 'now') AS observed,\n  max(figure) FILTER (WHERE period = 'before') AS baseline,\n  coalesce(max(n) FILTER (WHERE period = 'now'), 0) AS n\nFROM sides"
    )
}

fn of_operation(operation: &Operation, figure: &str, periods: &Periods) -> String {
    let columns = [SPAN_COUNT, DURATION];
    let rows = operation_rows(&is_operation(operation), &columns, &both(periods), periods.at);
    compare(figure, "sum(span_count)", &rows)
}

/// Requests that spans stand for, in a second.
fn rate(served: &Served, window: Window) -> f64 {
    served.adjusted_micros as f64 / 1e6 / window.seconds().max(1e-6)
}

/// The rate of requests, times a factor that ends with its operator.
fn request_rate(operation: &Operation, factor: &str, periods: &Periods) -> String {
    let columns = match factor {
        "" => &[SPAN_COUNT, ADJUSTED_COUNT][..],
        _ => &[SPAN_COUNT, ADJUSTED_COUNT, DURATION],
    };
    let rows = operation_rows(&is_operation(operation), columns, &both(periods), periods.at);
    let figure = format!(
        "{factor}sum(adjusted_count_micros) / 1e6 / CASE period WHEN 'now' THEN {} ELSE {} END",
        seconds_sql(periods.now),
        seconds_sql(periods.before)
    );
    compare(&figure, "sum(span_count)", &rows)
}

/// Length of a window, always with a decimal point.
pub(crate) fn seconds_sql(window: Window) -> String {
    format!("{:?}", window.seconds().max(1e-6))
}

fn error_share(operation: &Operation, periods: &Periods) -> String {
    let columns = [SPAN_COUNT, ERROR_COUNT];
    let rows = operation_rows(&is_operation(operation), &columns, &both(periods), periods.at);
    let figure = "100.0 * sum(error_count) / nullif(sum(span_count), 0)";
    compare(figure, "sum(span_count)", &rows)
}

/// Client spans as `c` with the spans that answered them as `s`, under a condition.
pub(crate) fn calls_where(condition: &str, periods: &Periods) -> String {
    let start = periods.before.start.min(periods.now.start) - ANSWER_MARGIN;
    let end = (periods.before.end.max(periods.now.end) + ANSWER_MARGIN).min(periods.at);
    format!(
        "spans AS c\nLEFT JOIN (\n  SELECT trace_id, parent_span_id, min(service_name) AS service_name, sum(duration_ns) AS duration_ns FROM spans\n  WHERE span_kind = 'SERVER' AND {}\n  GROUP BY trace_id, parent_span_id\n) AS s ON s.trace_id = c.trace_id AND s.parent_span_id = c.span_id\nWHERE c.span_kind = 'CLIENT' AND {condition}",
        within("time", Window::new(start, end))
    )
}

/// That a client span of [`calls_where`] calls a service or host.
pub(crate) fn is_call_to(name: &str) -> String {
    let name = literal::text(name);
    format!("(s.service_name = {name} OR coalesce(c.peer_service, c.server_address) = {name})")
}

/// A call is answered this close to it.
const ANSWER_MARGIN: i64 = 10 * MINUTE;

/// That a span `table` ended before the instant.
pub(crate) fn has_ended(table: &str, at: Time) -> String {
    format!("{table}.start_unix_nano + {table}.duration_ns < {}", at.nanos())
}

fn calls_per_request(
    (service, request): (&str, &str),
    (callee, call): (&str, &str),
    periods: &Periods,
) -> String {
    let (now, before) = (|t: &str| within(t, periods.now), |t: &str| within(t, periods.before));
    let counts = |table: &str, rows: &str| {
        let time = format!("{table}.time");
        format!(
            "SELECT count(*) FILTER (WHERE {}) AS now, count(*) FILTER (WHERE {}) AS before FROM {rows}\n  AND ({} OR {}) AND {}",
            now(&time),
            before(&time),
            now(&time),
            before(&time),
            has_ended(table, periods.at)
        )
    };
    let service = literal::text(service);
    let is_call = format!(
        "c.service_name = {service} AND c.span_name = {} AND {}",
        literal::text(call),
        is_call_to(callee)
    );
    let requests = format!(
        "spans AS r WHERE r.service_name = {service} AND r.span_name = {} AND r.span_kind IN ('SERVER', 'CONSUMER')",
        literal::text(request)
    );
    format!(
        "WITH calls AS (\n  {}\n),\nrequests AS (\n  {}\n)\nSELECT CAST(c.now AS DOUBLE) / nullif(r.now, 0) AS observed,\n  CAST(c.before AS DOUBLE) / nullif(r.before, 0) AS baseline, r.now AS n\nFROM calls AS c CROSS JOIN requests AS r",
        counts("c", &calls_where(&is_call, periods)),
        counts("r", &requests)
    )
}

/// Means subtract: the gap of a mean call is the mean of the gaps.
fn call_gap(client: &Operation, server: &Operation, periods: &Periods) -> String {
    let mean = |name: &str, condition: &str| {
        let columns = [SPAN_COUNT, DURATION];
        let rows = operation_rows(condition, &columns, &both(periods), periods.at);
        format!(
            "{name} AS (\n  SELECT period, CAST(sum(duration['sum']) AS DOUBLE) / sum(duration['count']) / 1e6 AS mean_ms, sum(span_count) AS n FROM (\n{rows}\n  ) AS rows GROUP BY period\n)"
        )
    };
    let of_caller =
        format!("{} AND parent_service = {}", is_operation(server), literal::text(&client.service));
    format!(
        "WITH {},\n{}\nSELECT max(c.mean_ms - s.mean_ms) FILTER (WHERE c.period = 'now') AS observed,\n  max(c.mean_ms - s.mean_ms) FILTER (WHERE c.period = 'before') AS baseline,\n  coalesce(max(c.n) FILTER (WHERE c.period = 'now'), 0) AS n\nFROM calls AS c JOIN answers AS s ON s.period = c.period",
        mean("calls", &is_operation(client)),
        mean("answers", &of_caller)
    )
}

/// Samples of a service in both periods as `samples(period, stack_id, value, hits)`: a profile
/// belongs to a period that it lies in entirely. `hits` is how often the profiler looked.
pub(crate) fn samples_cte(profile: &ProfileOf, periods: &Periods) -> String {
    let service = literal::text(&profile.service);
    let whole = Window::new(
        periods.before.start.min(periods.now.start),
        periods.now.end.max(periods.before.end),
    );
    let period = |name: &str, window: Window| {
        format!(
            "WHEN time >= {} AND time_unix_nano + duration_ns <= {} THEN '{name}'",
            window.start.sql(),
            window.end.nanos()
        )
    };
    format!(
        "received AS (\n  SELECT DISTINCT profile_id, period, CASE {} {} END AS side\n  FROM profiles\n  WHERE service_name = {service} AND {} AND time_unix_nano + duration_ns < {}\n),\nsamples AS (\n  SELECT r.side AS period, s.stack_id, s.value,\n    CASE WHEN s.unit = 'nanoseconds' AND r.period > 0 THEN s.value / r.period ELSE s.value END AS hits\n  FROM profile_samples AS s JOIN received AS r ON r.profile_id = s.profile_id AND r.side IS NOT NULL\n  WHERE s.service_name = {service} AND s.sample_type = {} AND {}\n)",
        period("now", periods.now),
        period("before", periods.before),
        within("time", whole),
        periods.at.nanos(),
        literal::text(&profile.sample_type),
        within("s.time", whole)
    )
}

/// A condition on the days on which frames of the periods' stacks were written.
pub(crate) fn frame_days(periods: &Periods) -> String {
    let start = periods.before.start.min(periods.now.start);
    let end = periods.now.end.max(periods.before.end);
    let day = |time: Time| Time::of(time.nanos().div_euclid(24 * HOUR) * 24 * HOUR);
    within("time", Window::new(day(start), day(end) + 24 * HOUR))
}

fn share_of_samples(profile: &ProfileOf, condition: &str, periods: &Periods) -> String {
    format!(
        "WITH {},\nmatching AS (\n  SELECT DISTINCT stack_id FROM profile_stack_frames\n  WHERE {condition} AND {}\n),\nsides AS (\n  SELECT s.period, 100.0 * coalesce(sum(s.value) FILTER (WHERE m.stack_id IS NOT NULL), 0) / nullif(sum(s.value), 0) AS figure, sum(s.hits) AS n\n  FROM samples AS s LEFT JOIN matching AS m ON m.stack_id = s.stack_id GROUP BY s.period\n)\nSELECT max(figure) FILTER (WHERE period = 'now') AS observed,\n  max(figure) FILTER (WHERE period = 'before') AS baseline,\n  coalesce(max(n) FILTER (WHERE period = 'now'), 0) AS n\nFROM sides",
        samples_cte(profile, periods),
        frame_days(periods)
    )
}

/// Deltas are summed; a cumulative series counts with what it grew within the period. Sums are
/// decimals, so that their order does not matter.
fn metric_mean(metric: &str, periods: &Periods) -> String {
    let part = |name: &str, window: Window| {
        format!(
            "  SELECT '{name}' AS period, temporality, series_id, start_unix_nano, count,\n    TRY_CAST(sum AS DECIMAL(38, 6)) AS sum FROM metric_histograms\n  WHERE metric_name = {} AND {} AND time_unix_nano < {}",
            literal::text(metric),
            within("time", window),
            periods.at.nanos()
        )
    };
    format!(
        "WITH points AS (\n{}\n  UNION ALL\n{}\n),\nseries AS (\n  SELECT period, sum(count) AS count, sum(sum) AS total FROM points WHERE temporality = 'delta' GROUP BY period\n  UNION ALL\n  SELECT period, max(count) - min(count), max(sum) - min(sum) FROM points\n  WHERE temporality IS DISTINCT FROM 'delta' GROUP BY period, series_id, start_unix_nano\n),\nsides AS (\n  SELECT period, CAST(sum(total) AS DOUBLE) / nullif(sum(count), 0) AS figure, sum(count) AS n FROM series GROUP BY period\n)\nSELECT max(figure) FILTER (WHERE period = 'now') AS observed,\n  max(figure) FILTER (WHERE period = 'before') AS baseline,\n  coalesce(max(n) FILTER (WHERE period = 'now'), 0) AS n\nFROM sides",
        part("now", periods.now),
        part("before", periods.before)
    )
}
