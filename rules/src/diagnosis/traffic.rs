//! Request rate, errors and the client's side: causes and victims to rule out.

use super::document::RuledOut;
use super::inquiry::{Figures, Inquiry};
use super::reading::within;
use super::signal::{Operation, Signal};
use super::symptom::subject;
use crate::error::RulesError;
use crate::figures;
use crate::time::{Periods, WEEK, Window};

/// A rate within this factor is the same rate.
pub(crate) const RATE_FACTOR: f64 = 1.3;
/// Share of a window's minutes that must have spans of some service.
const COVERAGE_MIN: f64 = 0.5;
/// Errors rose if by this many points.
pub(crate) const ERROR_POINTS: f64 = 1.0;
/// A metric of browsers within this factor is the same.
const CLIENT_FACTOR: f64 = 1.1;
/// Histogram metrics of browsers for the largest contentful paint.
const PAINT_METRICS: [&str; 4] =
    ["web_vitals.lcp", "browser.web_vital.lcp", "browser.web_vitals.lcp", "web_vital.lcp"];

/// What traffic has to do with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    /// More requests, if there are: to the symptom, or to the service that the time comes from.
    pub(crate) surge: Option<Surge>,
    /// Points by which the error share rose, if it did.
    pub(crate) errors: Option<f64>,
    pub(crate) findings: Vec<String>,
    pub(crate) ruled_out: Vec<RuledOut>,
}

/// A service that gets more requests.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Surge {
    pub(crate) service: String,
    /// Rate now over rate before.
    pub(crate) ratio: f64,
}

/// Measures all three for the symptom, and the rate of the operation that the time comes from.
pub(crate) async fn compute(
    inquiry: &mut Inquiry<'_>,
    (operation, slowest): (&Operation, Option<&Operation>),
    periods: &Periods,
) -> Result<Traffic, RulesError> {
    let mut traffic = Traffic::default();
    let windows = [periods.now, periods.before, periods.now.earlier(WEEK)];
    inquiry.read_served([operation].into_iter().chain(slowest), &windows).await?;
    rate(inquiry, (operation, "request rate".to_owned()), (periods, &mut traffic)).await?;
    if let Some(slowest) = slowest.filter(|slowest| *slowest != operation) {
        let what = format!("request rate of {}", slowest.service);
        rate(inquiry, (slowest, what), (periods, &mut traffic)).await?;
    }
    errors(inquiry, operation, (periods, &mut traffic)).await?;
    client(inquiry, (periods, &mut traffic)).await?;
    Ok(traffic)
}

async fn rate(
    inquiry: &mut Inquiry<'_>,
    (operation, what): (&Operation, String),
    (periods, traffic): (&Periods, &mut Traffic),
) -> Result<(), RulesError> {
    if has_gaps(inquiry, periods.before).await? {
        inquiry.not_measured(
            format!("whether {} gets more requests", subject(operation)),
            "most minutes of the baseline have no spans at all: it was not recorded throughout",
        );
        return Ok(());
    }
    let signal = Signal::RequestRate { operation: operation.clone() };
    // The week before knows the hour of the day; where it has nothing, the hour before serves.
    let weekly = Periods { before: periods.now.earlier(WEEK), ..*periods };
    let mut findings = Vec::new();
    let mut ratios = Vec::new();
    for (periods, against) in [(periods, "the baseline"), (&weekly, "the same window last week")] {
        let reading = inquiry.read(signal.clone(), periods).await?;
        let (Some((now, before)), Some(ratio)) = (reading.figures.pair(), reading.figures.ratio())
        else {
            continue;
        };
        let statement = format!(
            "{} got {:.2} requests/s, {:.2} in {against} ({})",
            subject(operation),
            now,
            before,
            figures::times(ratio)
        );
        findings.push(inquiry.note("request_rate", &subject(operation), reading, statement));
        ratios.push(ratio);
    }
    // It is a surge only if neither the hour nor the week knows such a rate.
    if let Some(least) = ratios.iter().copied().reduce(f64::min) {
        if least > RATE_FACTOR {
            traffic.surge = Some(Surge { service: operation.service.clone(), ratio: least });
        } else {
            traffic.ruled_out.push(RuledOut {
                what,
                reason: format!("{} of what it was", figures::times(least)),
                findings: findings.clone(),
            });
        }
    }
    traffic.findings.extend(findings);
    Ok(())
}

/// Whether most minutes of a window have no spans of any service: a rate over it says nothing.
pub(crate) async fn has_gaps(inquiry: &Inquiry<'_>, window: Window) -> Result<bool, RulesError> {
    let sql = format!(
        "SELECT count(DISTINCT time) AS minutes FROM operation_minutes WHERE {}",
        within("time", window)
    );
    let rows = inquiry.rows("the minutes of the baseline", &sql).await?;
    let minutes = rows.ints("minutes")?.first().copied().unwrap_or(0);
    Ok((minutes as f64) < COVERAGE_MIN * (window.seconds() / 60.0).floor())
}

async fn errors(
    inquiry: &mut Inquiry<'_>,
    operation: &Operation,
    (periods, traffic): (&Periods, &mut Traffic),
) -> Result<(), RulesError> {
    let signal = Signal::ErrorShare { operation: operation.clone() };
    let reading = inquiry.read(signal, periods).await?;
    let Some((now, before)) = reading.figures.pair() else { return Ok(()) };
    let statement = format!(
        "{now:.2} % of the requests to {} failed, {before:.2} % before",
        subject(operation)
    );
    let finding = inquiry.note("error_rate", &subject(operation), reading, statement);
    if now - before > ERROR_POINTS {
        traffic.errors = Some(now - before);
    } else {
        traffic.ruled_out.push(RuledOut {
            what: "error rate".to_owned(),
            reason: format!("{now:.2} %, {before:.2} % before"),
            findings: vec![finding.clone()],
        });
    }
    traffic.findings.push(finding);
    Ok(())
}

async fn client(
    inquiry: &mut Inquiry<'_>,
    (periods, traffic): (&Periods, &mut Traffic),
) -> Result<(), RulesError> {
    let Some((metric, unit)) = paint_metric(inquiry, periods.now).await? else {
        inquiry.not_measured(
            "the client's side",
            "browsers send no largest contentful paint (histogram web_vitals.lcp)",
        );
        return Ok(());
    };
    let signal = Signal::MetricMean { metric: metric.clone(), unit: unit.clone() };
    let reading = inquiry.read(signal, periods).await?;
    let Figures { n, .. } = reading.figures;
    let (Some((now, before)), Some(ratio)) = (reading.figures.pair(), reading.figures.ratio())
    else {
        inquiry.not_measured("the client's side", format!("{metric} has no values in a window"));
        return Ok(());
    };
    let statement = format!(
        "{metric} of browsers is {} at the mean, {} before ({}, {} values)",
        figures::with_unit(now, &unit),
        figures::with_unit(before, &unit),
        figures::times(ratio),
        figures::count(n)
    );
    let finding = inquiry.note("client_side", &metric, reading, statement);
    if (1.0 / CLIENT_FACTOR..=CLIENT_FACTOR).contains(&ratio) {
        traffic.ruled_out.push(RuledOut {
            what: "client side (browser LCP)".to_owned(),
            reason: format!("{} of what it was", figures::times(ratio)),
            findings: vec![finding.clone()],
        });
    }
    traffic.findings.push(finding);
    Ok(())
}

async fn paint_metric(
    inquiry: &Inquiry<'_>,
    now: Window,
) -> Result<Option<(String, String)>, RulesError> {
    let names = PAINT_METRICS.map(upriver_analyze::literal::text).join(", ");
    let sql = format!(
        "SELECT metric_name, unit, count(*) AS points FROM metric_histograms\nWHERE metric_name IN ({names}) AND {}\nGROUP BY metric_name, unit ORDER BY points DESC, metric_name, unit LIMIT 1",
        within("time", now)
    );
    let rows = inquiry.rows("the metric of the client's side", &sql).await?;
    Ok(rows.texts("metric_name")?.pop().zip(rows.texts("unit")?.pop()))
}
