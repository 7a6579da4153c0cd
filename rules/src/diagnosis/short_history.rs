//! The symptom where there is little to compare with: an hour or a few minutes before the window, as
//! in a test run or a recorded incident.
//!
//! Series of points need healthy hours to say what is unusual. Without them the window is compared
//! with the hour before it, or what is known of that: whole traces of every kind, each group of requests and
//! calls with itself. What is shown there names the symptom: the slower operation nearest the entry
//! among those that the added time passes through.

use std::collections::{BTreeMap, BTreeSet};

use super::attribution::{Attribution, attribute};
use super::inquiry::{Inquiry, Reading};
use super::missing::Missing;
use super::onset::{Onset, P99_COUNT_MIN, RATIO_MIN};
use super::reading::within;
use super::signal::{Operation, Signal};
use super::symptom::{COUNT_MIN, DELTA_MS_MIN, P90_COUNT_MIN, Regression, Scope};
use super::traces::{self, Sample};
use super::watched::Watched;
use crate::error::RulesError;
use crate::time::{HOUR, Periods, Window};

#[cfg(test)]
mod tests;

/// With more history than this before the window, series are long enough to find a rise.
const HISTORY_LONG: i64 = 6 * HOUR;
/// What the window is compared with begins at most this long before it: a bound to what is read.
const BASELINE: i64 = HOUR;
/// Traces on each side, below which nothing is said.
const TRACES_MIN: usize = 20;
/// Operations whose figures are read, the nearest to the entry first.
const OPERATIONS_MAX: usize = 8;
/// Requests for a two-sided 95 % interval of each quantile (order statistics). A median of fewer only says
/// how much slower: that they are, the exact test of their traces has shown.
const QUANTILES: [(f64, i64); 4] =
    [(0.99, P99_COUNT_MIN), (0.9, P90_COUNT_MIN), (0.75, 13), (0.5, 3)];

/// Finds the symptom; `None` where there is history enough, or nothing is shown.
pub(crate) async fn find(
    inquiry: &Inquiry<'_>,
    (scope, window): (&Scope, i64),
    missing: &mut Missing,
) -> Result<Option<(Regression, Attribution)>, RulesError> {
    let Some(periods) = periods(inquiry, window).await? else { return Ok(None) };
    let now = traces::sample_entries(inquiry, periods.now).await?;
    let before = traces::sample_entries(inquiry, periods.before).await?;
    if now.traces.len() < TRACES_MIN || before.traces.len() < TRACES_MIN {
        return Ok(None);
    }
    let attribution = attribute(&now, &before);
    let Some(culprit) = attribution.main().map(|added| added.service.clone()) else {
        return Ok(None);
    };
    let slower = slower_through(&culprit, (&now, &before), scope, &attribution);
    inquiry.read_served(&slower, &[periods.now, periods.before]).await?;
    for operation in slower {
        if let Some((measure, reading)) = slower_quantile(inquiry, &operation, &periods).await? {
            // Without a rise that can be dated it may have begun at any time in the window.
            let (start, interval) = attribution.onset.unwrap_or((periods.now.start, periods.now));
            let onset = Onset {
                onset: start,
                interval,
                baseline: periods.before,
                watched: Watched::Quantile { quantile: measure, count_min: COUNT_MIN },
                resolution: window,
            };
            let method = "the window against the hour before it, since less than 6 hours are known: means of the same requests and calls, and where the share of them above the earlier 90th percentile rises".to_owned();
            let regression = Regression { operation, onset, periods, measure, reading, method };
            if let Some(regression) = missing.slower_of(inquiry, vec![regression]).await?.pop() {
                return Ok(Some((regression, attribution)));
            }
        }
    }
    Ok(None)
}

/// The window and the time before it, if that is short. A window that reaches over more than half of
/// what there is is cut to the later half.
async fn periods(inquiry: &Inquiry<'_>, window: i64) -> Result<Option<Periods>, RulesError> {
    let at = inquiry.at;
    let wide = Window::new(at - 2 * HISTORY_LONG, at);
    let sql =
        format!("SELECT min(time) AS first FROM operation_minutes WHERE {}", within("time", wide));
    let rows = inquiry.rows("since when spans are known", &sql).await?;
    let Some(first) = rows.times("first")?.first().copied().flatten() else { return Ok(None) };
    let known = at.nanos() - first.nanos();
    if known > HISTORY_LONG {
        return Ok(None);
    }
    let start = at - window.min(known / 2);
    let before = Window::new(first.max(start - BASELINE), start);
    Ok(Some(Periods { now: Window::new(start, at), before, at }))
}

/// Operations in the scope that answer requests in which the culprit takes part and are slower at the
/// mean, by what services that are shown to be slower added to them: the nearest to the entry first, then by the
/// time that was added.
fn slower_through(
    culprit: &str,
    (now, before): (&Sample, &Sample),
    scope: &Scope,
    attribution: &Attribution,
) -> Vec<Operation> {
    let [added_now, added_before] = &attribution.by_trace;
    let (now, before) =
        (means_through(culprit, (now, added_now)), means_through(culprit, (before, added_before)));
    let mut slower = Vec::new();
    for (operation, after) in &now {
        let Some(first) = before.get(operation).filter(|_| in_scope(scope, operation)) else {
            continue;
        };
        let (mean, added) = (first.mean(), after.mean() - first.mean());
        // What chance brings the symptom's requests is not the time of those that are shown to be slower.
        let explained = after.explained / after.count - first.explained / first.count;
        let is_slower =
            |added: f64| added >= DELTA_MS_MIN * 1e6 && added >= (RATIO_MIN - 1.0) * mean;
        if is_slower(added) && is_slower(explained) {
            slower.push((after.depth, added * after.count, operation));
        }
    }
    slower
        .sort_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.total_cmp(&a.1)).then_with(|| a.2.cmp(b.2)));
    slower.into_iter().take(OPERATIONS_MAX).map(|(_, _, operation)| operation.clone()).collect()
}

/// Requests to an operation.
struct Requests {
    count: f64,
    nanos: f64,
    /// What services that are shown to be slower added to it, over the mean of before.
    explained: f64,
    /// Least number of spans above one.
    depth: usize,
}

impl Requests {
    fn mean(&self) -> f64 {
        self.nanos / self.count
    }
}

fn means_through(
    culprit: &str,
    (sample, added): (&Sample, &BTreeMap<usize, f64>),
) -> BTreeMap<Operation, Requests> {
    let mut means = BTreeMap::<Operation, Requests>::new();
    for (number, trace) in sample.traces.iter().enumerate() {
        let mut answering = BTreeSet::new();
        let operation = |index: usize| &sample.groups.operations[trace.spans[index].group];
        let order = trace.top_down();
        // From below, so that a span knows of all that it caused.
        let mut passes = vec![false; trace.spans.len()];
        for (index, _) in order.iter().rev() {
            let peer = sample.groups.peers[trace.spans[*index].group].as_deref();
            let children = &trace.spans[*index].children;
            passes[*index] = operation(*index).service == culprit
                || peer == Some(culprit)
                || children.iter().any(|child| passes[*child]);
        }
        for (index, depth) in order {
            let answers = matches!(&*operation(index).span_kind, "SERVER" | "CONSUMER");
            if !answers || !passes[index] {
                continue;
            }
            let entry = means.entry(operation(index).clone());
            let requests =
                entry.or_insert(Requests { count: 0.0, nanos: 0.0, explained: 0.0, depth });
            requests.count += 1.0;
            requests.nanos += trace.spans[index].duration as f64;
            requests.depth = requests.depth.min(depth);
            answering.insert(operation(index));
        }
        let explained = added.get(&number).copied().unwrap_or(0.0);
        for operation in answering {
            if let Some(requests) = means.get_mut(operation) {
                requests.explained += explained;
            }
        }
    }
    means
}

fn in_scope(scope: &Scope, operation: &Operation) -> bool {
    match scope {
        Scope::Everything => true,
        Scope::Services(services) => services.contains(&operation.service),
        Scope::Operation { service, span_name } => {
            operation.span_name == *span_name
                && service.as_ref().is_none_or(|service| operation.service == *service)
        }
    }
}

/// The highest quantile that there are requests enough for and that is slower.
async fn slower_quantile(
    inquiry: &Inquiry<'_>,
    operation: &Operation,
    periods: &Periods,
) -> Result<Option<(f64, Reading)>, RulesError> {
    for (quantile, count_min) in QUANTILES {
        let signal = Signal::Duration { operation: operation.clone(), quantile };
        let reading = inquiry.read(signal, periods).await?;
        let figures = reading.figures;
        let is_slower = figures.ratio().is_some_and(|ratio| ratio >= RATIO_MIN)
            && figures.difference().is_some_and(|delta| delta >= DELTA_MS_MIN);
        if is_slower && figures.n >= count_min {
            return Ok(Some((quantile, reading)));
        }
    }
    Ok(None)
}
