//! How busy the processors of a service are, by its own metrics. Where work waits for a processor it takes
//! longer than its frames are worth, and no code has changed.

use std::collections::BTreeMap;

use upriver_analyze::literal;

use super::inquiry::Inquiry;
use super::onset::RATIO_MIN;
use super::reading::within;
use crate::error::RulesError;
use crate::figures;
use crate::time::Periods;

/// Gauges that are shares of the processors a service may use, its own first (OpenTelemetry's semantic
/// conventions; the JVM's and the kubelet's).
const METRICS: [&str; 5] = [
    "process.cpu.utilization",
    "jvm.cpu.recent_utilization",
    "container.cpu.utilization",
    "k8s.pod.cpu_limit_utilization",
    "system.cpu.utilization",
];
/// What a processor does when it does nothing.
const IDLE_MODES: &str = "'idle', 'iowait', 'wait', 'steal'";
/// A queue of a processor that is busier than this has no end by the formula.
const BUSY_MAX: f64 = 0.99;

/// How busy the processors of a service are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Utilisation {
    /// From 0 to 1: the mean of the window, and that of the baseline.
    pub(crate) now: f64,
    pub(crate) before: Option<f64>,
    pub(crate) finding: String,
}

impl Utilisation {
    /// How many times as long work takes for waiting alone, if that is as much as a regression:
    /// `(1 - before) / (1 - now)` (M/M/1).
    pub(crate) fn waiting(&self) -> Option<f64> {
        let idle = |busy: f64| 1.0 - busy.clamp(0.0, BUSY_MAX);
        let factor = idle(self.before?) / idle(self.now);
        (factor >= RATIO_MIN).then_some(factor)
    }
}

/// Measures services that report one of the metrics.
pub(crate) async fn compute(
    inquiry: &mut Inquiry<'_>,
    services: &[&str],
    periods: &Periods,
) -> Result<BTreeMap<String, Utilisation>, RulesError> {
    let mut measured = BTreeMap::new();
    for (service, metric) in reported(inquiry, services, periods).await? {
        let reading = inquiry.read_sql(sql(&service, metric, periods), "%").await?;
        let Some(now) = reading.figures.observed.filter(|now| (0.0..=100.0).contains(now)) else {
            continue;
        };
        let before = reading.figures.baseline;
        let was = before
            .map_or_else(String::new, |before| format!("{} before, ", figures::percent(before)));
        let statement =
            format!("processors of {service} ({metric}): {was}{} now", figures::percent(now));
        let finding = inquiry.note("utilisation", &service, reading, statement);
        let share = |percent: f64| percent / 100.0;
        measured
            .insert(service, Utilisation { now: share(now), before: before.map(share), finding });
    }
    Ok(measured)
}

/// The first of the metrics that each service reports.
async fn reported(
    inquiry: &Inquiry<'_>,
    services: &[&str],
    periods: &Periods,
) -> Result<Vec<(String, &'static str)>, RulesError> {
    let list = |names: &[&str]| {
        names.iter().map(|name| literal::text(name)).collect::<Vec<_>>().join(", ")
    };
    let sql = format!(
        "SELECT DISTINCT service_name, metric_name FROM metrics\nWHERE metric_name IN ({}) AND service_name IN ({}) AND {}\nORDER BY service_name, metric_name",
        list(&METRICS),
        list(services),
        within("time", periods.now)
    );
    let rows = inquiry.rows("which services say how busy they are", &sql).await?;
    let names = rows.texts("service_name")?.into_iter().zip(rows.texts("metric_name")?);
    let mut first = BTreeMap::<String, usize>::new();
    for (service, metric) in names {
        let Some(rank) = METRICS.iter().position(|known| *known == metric) else { continue };
        let known = first.entry(service).or_insert(rank);
        *known = rank.min(*known);
    }
    Ok(first.into_iter().map(|(service, rank)| (service, METRICS[rank])).collect())
}

/// Modes of a processor at an instant are added up, processors, instances and instants averaged: in
/// millionths, whose sums are the same in any order.
fn sql(service: &str, metric: &str, periods: &Periods) -> String {
    let (now, before) = (within("time", periods.now), within("time", periods.before));
    format!(
        "SELECT avg(busy) FILTER (WHERE period = 'observed') / 10000 AS observed, avg(busy) FILTER (WHERE period = 'baseline') / 10000 AS baseline, count(*) FILTER (WHERE period = 'observed') AS n\nFROM (\n  SELECT CASE WHEN {now} THEN 'observed' ELSE 'baseline' END AS period, sum(CAST(round(least(greatest(nanvl(value_double, 0.0), 0.0), 1000.0) * 1000000) AS BIGINT)) AS busy FROM metrics\n  WHERE metric_name = {} AND service_name = {} AND ({now} OR {before})\n    AND coalesce(attributes['cpu.mode'], attributes['state'], '') NOT IN ({IDLE_MODES})\n  GROUP BY 1, time, service_instance_id, coalesce(attributes['cpu.logical_number'], attributes['cpu'])\n) AS instants",
        literal::text(metric),
        literal::text(service)
    )
}

#[cfg(test)]
mod tests {
    use super::Utilisation;

    #[test]
    fn waiting_is_what_a_queue_adds() {
        let of = |before: Option<f64>, now: f64| {
            let finding = String::new();
            Utilisation { now, before, finding }.waiting().map(|factor| (factor * 100.0).round())
        };
        assert_eq!(of(Some(0.45), 0.9), Some(550.0));
        assert_eq!(of(Some(0.2), 0.4), Some(133.0));
        assert_eq!(of(Some(0.2), 0.3), None, "less than is reported of a regression");
        assert_eq!(of(Some(0.9), 0.45), None);
        assert_eq!(of(None, 0.95), None, "it may always have been so busy");
        assert_eq!(of(Some(0.5), 1.4), Some(5_000.0), "shares beyond one are all there is");
    }
}
