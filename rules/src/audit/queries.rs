//! The queries of figures that a diagnosis does not ask for: calls as their callers see them, and what
//! comes on one request. Each returns `observed`, `baseline` and `n`.

use upriver_analyze::literal;

use crate::diagnosis::reading::within;
use crate::diagnosis::signal::{Edge, ProfileOf, both, compare, samples_cte, seconds_sql};
use crate::time::Periods;

/// A quantile of the calls on an edge, in milliseconds.
pub(super) fn call_duration(edge: &Edge, quantile: f64, periods: &Periods) -> String {
    let rows = edge_rows(&is_edge(edge), "duration, span_count", periods);
    compare(&format!("hist_quantile(duration, {quantile}) / 1e6"), "sum(span_count)", &rows)
}

/// Requests that a service answered.
pub(super) fn requests(service: &str, periods: &Periods) -> String {
    let condition = format!("service_name = {} AND {IS_ANSWER}", literal::text(service));
    let rows = operation_rows(&condition, "span_count", periods);
    compare("CAST(sum(span_count) AS DOUBLE)", "sum(span_count)", &rows)
}

/// Calls to another service for each request that a service answers.
pub(super) fn calls_per_request(service: &str, callee: &str, periods: &Periods) -> String {
    let condition = format!(
        "client_service = {} AND server_service = {} AND reporter = 'client'",
        literal::text(service),
        literal::text(callee)
    );
    let calls = edge_rows(&condition, "span_count AS amount, 0 AS requests", periods);
    per_request(
        "CAST(sum(amount) AS DOUBLE) / nullif(sum(requests), 0)",
        service,
        (&calls, periods),
    )
}

/// Self times of all spans of a service but calls, for each request that it answers, in milliseconds.
pub(super) fn own_time(service: &str, periods: &Periods) -> String {
    let condition = format!("service_name = {} AND {IS_WORK}", literal::text(service));
    let work = operation_rows(
        &condition,
        "coalesce(self_time['sum'], 0) AS amount, 0 AS requests",
        periods,
    );
    let figure = "CAST(sum(amount) AS DOUBLE) / nullif(sum(requests), 0) / 1e6";
    per_request(figure, service, (&work, periods))
}

/// Spans that are a service's own work, not waiting for others.
pub(super) const IS_WORK: &str = "span_kind NOT IN ('CLIENT', 'PRODUCER')";
/// Spans that answer requests.
pub(super) const IS_ANSWER: &str = "span_kind IN ('SERVER', 'CONSUMER')";

/// Processor time for each request that a service answers, in milliseconds: processor seconds in a
/// second of a profile, times the instances that were profiled, divided by the requests in a second.
pub(super) fn cpu_per_request(profile: &ProfileOf, periods: &Periods) -> String {
    let service = literal::text(&profile.service);
    let answers =
        operation_rows(&format!("service_name = {service} AND {IS_ANSWER}"), "span_count", periods);
    format!(
        "WITH {},\nprofiled AS (\n  SELECT r.side AS period, sum(p.duration_ns) AS length_ns, greatest(count(DISTINCT p.service_instance_id), 1) AS instances\n  FROM profiles AS p JOIN received AS r ON r.profile_id = p.profile_id AND r.side IS NOT NULL\n  WHERE p.service_name = {service} GROUP BY r.side\n),\nused AS (SELECT period, sum(value) AS cpu_ns FROM samples GROUP BY period),\nanswered AS (\n  SELECT period, sum(span_count) / CASE period WHEN 'now' THEN {} ELSE {} END AS rate, sum(span_count) AS n FROM (\n{answers}\n  ) AS rows GROUP BY period\n),\nsides AS (\n  SELECT u.period, 1e3 * u.cpu_ns / nullif(p.length_ns, 0) * p.instances / nullif(a.rate, 0) AS figure, a.n\n  FROM used AS u JOIN profiled AS p ON p.period = u.period JOIN answered AS a ON a.period = u.period\n)\nSELECT max(figure) FILTER (WHERE period = 'now') AS observed,\n  max(figure) FILTER (WHERE period = 'before') AS baseline,\n  coalesce(max(n) FILTER (WHERE period = 'now'), 0) AS n\nFROM sides",
        samples_cte(profile, periods),
        seconds_sql(periods.now),
        seconds_sql(periods.before),
    )
}

/// A quantile of an operation's durations in requests to the changed version, against requests to other
/// versions in the same minutes, in milliseconds.
pub(super) fn side_by_side(
    condition: &str,
    version: &str,
    quantile: f64,
    periods: &Periods,
) -> String {
    let version = literal::text(version);
    let part = |period: &str, comparison: &str| {
        format!(
            "  SELECT '{period}' AS period, duration, span_count FROM operation_minutes\n  WHERE {condition} AND (service_version {comparison} {version}) AND {}",
            within("time", periods.now)
        )
    };
    let rows = format!("{}\n  UNION ALL\n{}", part("now", "="), part("before", "IS DISTINCT FROM"));
    compare(&format!("hist_quantile(duration, {quantile}) / 1e6"), "sum(span_count)", &rows)
}

/// A condition that selects the rows of an edge from spans.
pub(super) fn is_edge(edge: &Edge) -> String {
    format!(
        "client_service = {} AND server_service = {} AND operation = {} AND reporter = {}",
        literal::text(&edge.client_service),
        literal::text(&edge.server_service),
        literal::text(&edge.operation),
        literal::text(&edge.reporter)
    )
}

fn per_request(figure: &str, service: &str, (amounts, periods): (&str, &Periods)) -> String {
    let condition = format!("service_name = {} AND {IS_ANSWER}", literal::text(service));
    let requests = operation_rows(&condition, "0 AS amount, span_count AS requests", periods);
    compare(figure, "sum(requests)", &format!("{amounts}\n  UNION ALL\n{requests}"))
}

fn edge_rows(condition: &str, columns: &str, periods: &Periods) -> String {
    let condition = format!("{condition} AND (source IS DISTINCT FROM 'metrics')");
    rows("edge_minutes", &condition, (columns, periods))
}

fn operation_rows(condition: &str, columns: &str, periods: &Periods) -> String {
    rows("operation_minutes", condition, (columns, periods))
}

/// An audit's windows are whole settled minutes, so that rollups alone are read.
fn rows(table: &str, condition: &str, (columns, periods): (&str, &Periods)) -> String {
    let part = |(period, window)| {
        format!(
            "  SELECT '{period}' AS period, {columns} FROM {table}\n  WHERE {condition} AND {}",
            within("time", window)
        )
    };
    both(periods).map(part).join("\n  UNION ALL\n")
}
