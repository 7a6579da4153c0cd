//! The delta budget: where the added time of a mean request is. Self times on the critical path add
//! up to the mean, so their changes add up to its change; percentiles of spans do not.

use std::collections::{BTreeMap, BTreeSet};

use super::document::{BudgetLine, BudgetSample};
use super::inquiry::Inquiry;
use super::signal::{Operation, Signal};
use super::traces::critical_path::{SelfTimes, self_times, total};
use super::traces::{self, Sample};
use crate::error::RulesError;
use crate::figures;
use crate::time::Periods;

/// Lines below this share of the change are left out.
const SHARE_MIN: f64 = 0.001;

/// Where added time is, and the samples that say so.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) lines: Vec<BudgetLine>,
    pub(crate) unexplained_ms: Option<f64>,
    pub(crate) sample: BudgetSample,
    pub(crate) now: Sample,
    pub(crate) before: Sample,
    pub(crate) findings: Vec<String>,
}

impl Budget {
    /// Share of the change in self time of a service, calls to services without spans left out.
    pub(crate) fn share_of(&self, service: &str, calls: &BTreeSet<&str>) -> f64 {
        let own = |line: &&BudgetLine| {
            line.service == service && !calls.contains(line.operation.as_str())
        };
        self.lines.iter().filter(own).map(|line| line.share).sum()
    }

    /// Whether a service occurs in the sampled traces.
    pub(crate) fn has_service(&self, service: &str) -> bool {
        [&self.now, &self.before]
            .iter()
            .flat_map(|sample| &sample.groups.operations)
            .any(|operation| operation.service == service)
    }
}

/// Computes the budget of the symptom.
pub(crate) async fn compute(
    inquiry: &mut Inquiry<'_>,
    operation: &Operation,
    periods: &Periods,
) -> Result<Option<Budget>, RulesError> {
    let now = traces::sample(inquiry, operation, periods.now).await?;
    let time_before = traces::time_before(inquiry, operation, periods).await?;
    let before = traces::sample(inquiry, operation, time_before).await?;
    if now.traces.is_empty() || before.traces.is_empty() {
        inquiry.not_measured(
            "the delta budget",
            "there are no whole traces of the operation in one of the windows",
        );
        return Ok(None);
    }
    let mean_ms = |nanos: i64, sample: &Sample| nanos as f64 / sample.traces.len() as f64 / 1e6;
    let delta_ms = mean_ms(total(&now), &now) - mean_ms(total(&before), &before);
    let deltas =
        deltas((&self_times(&now), now.traces.len()), (&self_times(&before), before.traces.len()));
    let signal = Signal::MeanDuration { operation: operation.clone() };
    let mean = inquiry.read(signal, periods).await?;
    let unexplained_ms = mean.figures.difference().map(|whole| whole - delta_ms);
    let sample = BudgetSample {
        traces_now: now.traces.len(),
        traces_before: before.traces.len(),
        delta_ms,
        sql_now: now.sql.clone(),
        sql_before: before.sql.clone(),
    };
    let mut findings = Vec::new();
    if let Some((after, first)) = mean.figures.pair() {
        let subject = super::symptom::subject(operation);
        let statement = format!(
            "the mean of {subject} went from {} to {}",
            figures::milliseconds(first),
            figures::milliseconds(after)
        );
        findings.push(inquiry.note("mean_latency", &subject, mean, statement));
    }
    let lines = lines(deltas, delta_ms);
    Ok(Some(Budget { lines, unexplained_ms, sample, now, before, findings }))
}

/// Change of the mean self time of each group, in milliseconds.
fn deltas(
    now: (&SelfTimes, usize),
    before: (&SelfTimes, usize),
) -> BTreeMap<(String, String), f64> {
    let mean = |(times, traces): (&SelfTimes, usize), key: &(String, String)| {
        times.get(key).copied().unwrap_or(0) as f64 / traces as f64 / 1e6
    };
    let keys: BTreeSet<_> = now.0.keys().chain(before.0.keys()).collect();
    keys.into_iter().map(|key| (key.clone(), mean(now, key) - mean(before, key))).collect()
}

/// The lines, largest change first.
fn lines(deltas: BTreeMap<(String, String), f64>, whole: f64) -> Vec<BudgetLine> {
    let share = |delta: f64| if whole.abs() > f64::EPSILON { delta / whole } else { 0.0 };
    let mut lines: Vec<BudgetLine> = deltas
        .into_iter()
        .map(|((service, operation), delta_ms)| BudgetLine {
            service,
            operation,
            delta_ms,
            share: share(delta_ms),
        })
        .filter(|line| line.share.abs() >= SHARE_MIN)
        .collect();
    lines.sort_by(|a, b| {
        b.delta_ms
            .abs()
            .total_cmp(&a.delta_ms.abs())
            .then_with(|| (&a.service, &a.operation).cmp(&(&b.service, &b.operation)))
    });
    lines
}
