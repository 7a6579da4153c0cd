//! Findings of what was attributed: each figure with its query.

use upriver_analyze::literal;

use super::{Added, Attribution, Part, SideBySide, SlowHost};
use crate::diagnosis::inquiry::Inquiry;
use crate::diagnosis::reading::{ended, within};
use crate::diagnosis::signal::{Signal, calls_where, has_ended, is_call_to};
use crate::error::RulesError;
use crate::figures;
use crate::time::Periods;

/// Services whose added time is noted: each costs a query.
const NOTED_MAX: usize = 3;

/// Notes what each service that is shown did, the first ones, and what distinguishes its slow requests.
pub(crate) async fn note(
    inquiry: &mut Inquiry<'_>,
    attribution: &mut Attribution,
    periods: &Periods,
) -> Result<(), RulesError> {
    let shown = attribution.services.iter_mut().filter(|added| added.is_shown && added.ms() > 0.0);
    for added in shown.take(NOTED_MAX) {
        let noted =
            [added_time(inquiry, added, periods).await?, failures(inquiry, added, periods).await?];
        added.findings.extend(noted.into_iter().flatten());
        let service = &added.service;
        for side in added.versions.iter_mut().filter(|side| side.is_slower || side.is_same) {
            side.finding = version(inquiry, (service, side), periods).await?;
        }
    }
    if let Some(host) = &mut attribution.host {
        host.findings.extend(slow_host(inquiry, host, periods).await?);
    }
    Ok(())
}

async fn added_time(
    inquiry: &mut Inquiry<'_>,
    added: &Added,
    periods: &Periods,
) -> Result<Option<String>, RulesError> {
    let service = &added.service;
    if let (Part::Asking, Some(more)) = (added.main_part(), &added.more_calls) {
        let reading = inquiry.read(more.signal(), periods).await?;
        let Some((now, before)) = reading.figures.pair() else { return Ok(None) };
        let statement = format!(
            "{service} calls {} {now:.2} times a request, {before:.2} times before",
            more.callee
        );
        return Ok(Some(inquiry.note("calls_per_request", service, reading, statement)));
    }
    if added.main_part() == Part::Repeated {
        let reading = inquiry.read_sql(failed_calls(service, periods), "%").await?;
        let Some((now, before)) = reading.figures.pair() else { return Ok(None) };
        let statement = format!(
            "{} of the calls to {service} fail and are made again, {} before",
            figures::percent(now),
            figures::percent(before)
        );
        return Ok(Some(inquiry.note("failed_calls", service, reading, statement)));
    }
    let reading = inquiry.read_sql(mean_time(added, periods), "ms").await?;
    let Some((now, before)) = reading.figures.pair() else { return Ok(None) };
    let statement = format!(
        "{service}: time {} went from {} to {} at the mean",
        added.place(),
        figures::milliseconds(before),
        figures::milliseconds(now)
    );
    Ok(Some(inquiry.note("added_time", service, reading, statement)))
}

fn is_called(name: &str) -> String {
    format!("{} AND c.service_name <> {}", is_call_to(name), literal::text(name))
}

/// An aggregate over rows of spans `c` that ended before the instant, in both periods, in units of so
/// many. Sums of whole numbers do not depend on their order, so the unit is divided by last.
fn in_both((aggregate, unit): (&str, &str), rows: &str, periods: &Periods) -> String {
    let (now, before) = (within("c.time", periods.now), within("c.time", periods.before));
    let ended = has_ended("c", periods.at);
    format!(
        "SELECT {aggregate} FILTER (WHERE {now}) / {unit} AS observed,\n  {aggregate} FILTER (WHERE {before}) / {unit} AS baseline, count(*) FILTER (WHERE {now}) AS n\nFROM {rows}\nAND ({now} OR {before}) AND {ended}"
    )
}

/// The mean of what added most, in milliseconds, with the number of spans.
fn mean_time(added: &Added, periods: &Periods) -> String {
    let name = literal::text(&added.service);
    let gap = "(c.duration_ns - coalesce(s.duration_ns, 0))";
    let (value, rows) = match added.main_part() {
        Part::Own | Part::Asking => (
            "c.self_time_ns",
            format!(
                "spans AS c\nWHERE c.service_name = {name} AND c.span_kind <> 'CLIENT' AND c.self_time_ns IS NOT NULL"
            ),
        ),
        Part::Calling => (gap, calls_where(&format!("c.service_name = {name}"), periods)),
        Part::Called | Part::Repeated => (gap, calls_where(&is_called(&added.service), periods)),
    };
    in_both((&format!("avg({value})"), "1e6"), &rows, periods)
}

/// The share of failed spans, in percent.
const FAILED: (&str, &str) = ("avg(CASE c.status_code WHEN 'ERROR' THEN 100 ELSE 0 END)", "1");

/// Share of failed calls to a service, in percent.
fn failed_calls(service: &str, periods: &Periods) -> String {
    let rows = calls_where(&is_called(service), periods);
    in_both(FAILED, &rows, periods)
}

/// Share of failed requests of a service, where the added time is in them.
async fn failures(
    inquiry: &mut Inquiry<'_>,
    added: &Added,
    periods: &Periods,
) -> Result<Option<String>, RulesError> {
    if added.failures.is_none() {
        return Ok(None);
    }
    let service = &added.service;
    let rows = format!(
        "spans AS c\nWHERE c.service_name = {} AND c.span_kind IN ('SERVER', 'CONSUMER')",
        literal::text(service)
    );
    let reading = inquiry.read_sql(in_both(FAILED, &rows, periods), "%").await?;
    let Some((now, before)) = reading.figures.pair() else { return Ok(None) };
    let statement = format!(
        "{} of the requests to {service} fail, {} before, and most of its added time is in them",
        figures::percent(now),
        figures::percent(before)
    );
    Ok(Some(inquiry.note("failed_requests", service, reading, statement)))
}

/// A version beside the others in the window: the medians of their own time.
async fn version(
    inquiry: &mut Inquiry<'_>,
    (service, side): (&str, &SideBySide),
    periods: &Periods,
) -> Result<Option<String>, RulesError> {
    let (name, version) = (literal::text(service), literal::text(&side.version));
    let is_it = format!("service_version = {version}");
    let sql = format!(
        "WITH versions AS (\n  SELECT {is_it} AS is_it, hist_of(self_time_ns) AS own, count(*) AS n FROM spans\n  WHERE service_name = {name} AND span_kind IN ('SERVER', 'CONSUMER') AND service_version IS NOT NULL\n    AND self_time_ns IS NOT NULL AND {} AND {}\n  GROUP BY {is_it}\n),\nsides AS (\n  SELECT is_it, hist_quantile(own, 0.5) / 1e6 AS figure, sum(n) AS n FROM versions GROUP BY is_it\n)\nSELECT max(figure) FILTER (WHERE is_it) AS observed, max(figure) FILTER (WHERE NOT is_it) AS baseline,\n  coalesce(max(n) FILTER (WHERE is_it), 0) AS n\nFROM sides",
        within("time", periods.now),
        ended(periods.at)
    );
    let reading = inquiry.read_sql(sql, "ms").await?;
    let Some((it, others)) = reading.figures.pair() else { return Ok(None) };
    let statement = format!(
        "{service} {} takes {} of its own at the median, its other versions in the same window {}",
        side.version,
        figures::milliseconds(it),
        figures::milliseconds(others)
    );
    Ok(Some(inquiry.note("side_by_side", service, reading, statement)))
}

/// The mean own time of spans on the machine and elsewhere, of the services that are slower on it.
async fn slow_host(
    inquiry: &mut Inquiry<'_>,
    host: &SlowHost,
    periods: &Periods,
) -> Result<Option<String>, RulesError> {
    let services: Vec<_> = host.services.iter().map(|name| literal::text(name)).collect();
    let rows = format!(
        "spans AS c\nWHERE c.host_name = {} AND c.service_name IN ({}) AND c.span_kind <> 'CLIENT' AND c.self_time_ns IS NOT NULL",
        literal::text(&host.host),
        services.join(", ")
    );
    let sql = in_both(("avg(c.self_time_ns)", "1e6"), &rows, periods);
    let reading = inquiry.read_sql(sql, "ms").await?;
    let Some((now, before)) = reading.figures.pair() else { return Ok(None) };
    let statement = format!(
        "on {} the own time of {} services went from {} to {} at the mean, and on no other machine",
        host.host,
        host.services.len(),
        figures::milliseconds(before),
        figures::milliseconds(now)
    );
    Ok(Some(inquiry.note("slow_host", &host.host, reading, statement)))
}

impl super::MoreCalls {
    /// Calls per request.
    pub(crate) fn signal(&self) -> Signal {
        Signal::CallsPerRequest {
            service: self.caller.clone(),
            request: self.request.clone(),
            callee: self.callee.clone(),
            call: self.span_name.clone(),
        }
    }
}
