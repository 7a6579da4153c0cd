//! Which service the added time comes from.
//!
//! The time of a request that a service answers is its own work and the calls that it makes; a call is
//! the callee's time and a gap that the callee knows nothing of. A gap has two ends. Where the gaps of
//! a caller to most of its callees grew, the caller is what they have in common: a process that gets
//! no processor time waits before it sends and after it receives. What is left of a gap is the
//! callee's side: its network, its queue.
//!
//! Kinds of requests may come in other numbers than before, so what is compared is each group of
//! requests or calls with itself, weighted by how often it occurs now.

use std::collections::{BTreeMap, BTreeSet};

use upriver_analyze::literal;

use super::inquiry::Inquiry;
use super::reading::within;
use super::traces::{Sample, Trace};
use crate::error::RulesError;
use crate::figures;
use crate::statistics::{above_share_z, normal_tail, significant_of};
use crate::time::Periods;

/// A group needs so many observations on each side.
const COUNT_MIN: usize = 3;
/// A group is slower if it is by this factor at the mean
const RATIO_MIN: f64 = 1.2;
/// and this many nanoseconds.
const DELTA_MIN: f64 = 2e6;
/// A service is slower if more of its traces than before lie above this quantile of before. A change
/// in a part of the requests shows in the share above a high quantile long before it shows in the
/// quantile.
const WATCHED_QUANTILE: f64 = 0.9;
/// False discoveries among the services of one diagnosis (Benjamini-Hochberg).
const FALSE_DISCOVERIES: f64 = 0.05;
/// Requests of the same minute resemble each other: their correlation where the logarithms of
/// latencies scatter by 0.8, and by 0.1 from minute to minute.
pub(crate) const WITHIN_MINUTE: f64 = 0.01 / (0.01 + 0.64);
/// Services whose added time is noted: each costs a query.
const NOTED_MAX: usize = 3;

/// What is compared with itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    /// Requests to a service, the calls that it makes left out.
    Own { service: String, span_name: String },
    /// The gaps of calls; without spans of the callee the calls themselves.
    Gap { caller: String, callee: String, span_name: String },
}

/// A service with the time that it added to a mean trace, in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Added {
    pub(crate) service: String,
    /// In its own work.
    pub(crate) own_ms: f64,
    /// In all calls that it makes, outside of the callees.
    pub(crate) calling_ms: f64,
    /// In calls to it, outside of it and of what is common to their caller.
    pub(crate) called_ms: f64,
    /// Whether a group of it is slower by more than chance.
    pub(crate) is_shown: bool,
    /// What says so, once it is noted.
    pub(crate) findings: Vec<String>,
}

impl Added {
    fn none(service: &str) -> Self {
        Self {
            service: service.to_owned(),
            own_ms: 0.0,
            calling_ms: 0.0,
            called_ms: 0.0,
            is_shown: false,
            findings: Vec::new(),
        }
    }

    pub(crate) fn ms(&self) -> f64 {
        self.own_ms + self.calling_ms + self.called_ms
    }

    /// Where most of it is.
    fn main_part(&self) -> Part {
        if self.own_ms >= self.calling_ms.max(self.called_ms) {
            Part::Own
        } else if self.calling_ms >= self.called_ms {
            Part::Calling
        } else {
            Part::Called
        }
    }

    /// Whether most of it is in the service's own work.
    pub(crate) fn is_mostly_own(&self) -> bool {
        matches!(self.main_part(), Part::Own)
    }

    /// The same in words.
    pub(crate) fn place(&self) -> &'static str {
        match self.main_part() {
            Part::Own => "in its own work",
            Part::Calling => "around all calls that it makes",
            Part::Called => "on the way to it and back",
        }
    }
}

/// Services by the time that they added, most first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attribution {
    pub(crate) services: Vec<Added>,
}

impl Attribution {
    /// The service that added most, if that is shown.
    pub(crate) fn main(&self) -> Option<&Added> {
        self.services.first().filter(|added| added.is_shown && added.ms() > 0.0)
    }

    /// Services that are shown to have added time, most first.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &Added> {
        self.services.iter().filter(|added| added.is_shown && added.ms() > 0.0)
    }

    /// A service's share of the time that is shown to have been added.
    pub(crate) fn share_of(&self, service: &str) -> f64 {
        let all: f64 = self.shown().map(Added::ms).sum();
        let own = self.shown().find(|added| added.service == service);
        own.map_or(0.0, |added| added.ms() / all)
    }
}

/// Compares two samples.
pub(crate) fn attribute(now: &Sample, before: &Sample) -> Attribution {
    let (observed, baseline) = (observations(now), observations(before));
    let mut changes = Changes::new();
    for (group, after) in &observed {
        let Some(first) = baseline.get(group) else { continue };
        if after.len() >= COUNT_MIN && first.len() >= COUNT_MIN {
            changes.insert(group, Change::of(after, first, now.traces.len()));
        }
    }
    let common = common_gaps(&changes);
    let mut services = divide(&changes, &common);
    let excess = |observations| excess(observations, &changes, &common);
    let (after, first) = (excess(&observed), excess(&baseline));
    let tail = |added: &Added| {
        let (Some(after), Some(first)) = (after.get(&*added.service), first.get(&*added.service))
        else {
            return 1.0;
        };
        let per_minute = after.len() as f64 / (now.seconds / 60.0).max(1.0);
        let design_effect = 1.0 + WITHIN_MINUTE * (per_minute - 1.0).max(0.0);
        let values = |excess: &BTreeMap<usize, f64>| excess.values().copied().collect::<Vec<_>>();
        let z = above_share_z(&values(after), &values(first), WATCHED_QUANTILE, design_effect);
        normal_tail(z)
    };
    let tails: Vec<f64> = services.iter().map(tail).collect();
    let significant = significant_of(&tails, FALSE_DISCOVERIES);
    for (added, is_significant) in services.iter_mut().zip(significant) {
        added.is_shown &= is_significant;
    }
    Attribution { services }
}

/// Notes what each service that is shown did, the first ones.
pub(crate) async fn note(
    inquiry: &mut Inquiry<'_>,
    attribution: &mut Attribution,
    periods: &Periods,
) -> Result<(), RulesError> {
    let shown = attribution.services.iter_mut().filter(|added| added.is_shown && added.ms() > 0.0);
    for added in shown.take(NOTED_MAX) {
        let reading = inquiry.read_sql(added.sql(periods), "ms").await?;
        let Some((now, before)) = reading.figures.pair() else { continue };
        let statement = format!(
            "{}: time {} went from {} to {} at the mean",
            added.service,
            added.place(),
            figures::milliseconds(before),
            figures::milliseconds(now)
        );
        let id = inquiry.note("added_time", &added.service, reading, statement);
        added.findings.push(id);
    }
    Ok(())
}

impl Added {
    /// The mean of what added most, now and before, with the number of spans.
    fn sql(&self, periods: &Periods) -> String {
        let name = literal::text(&self.service);
        let gap = "(c.duration_ns - coalesce(s.duration_ns, 0))";
        let of_calls = |condition: String| {
            format!(
                "spans AS c\nLEFT JOIN spans AS s ON s.trace_id = c.trace_id AND s.parent_span_id = c.span_id AND s.span_kind = 'SERVER'\nWHERE c.span_kind = 'CLIENT' AND {condition}"
            )
        };
        let (value, rows) = match self.main_part() {
            Part::Own => (
                "c.self_time_ns",
                format!(
                    "spans AS c\nWHERE c.service_name = {name} AND c.span_kind <> 'CLIENT' AND c.self_time_ns IS NOT NULL"
                ),
            ),
            Part::Calling => (gap, of_calls(format!("c.service_name = {name}"))),
            Part::Called => (
                gap,
                of_calls(format!(
                    "coalesce(s.service_name, c.peer_service, c.server_address) = {name} AND c.service_name <> {name}"
                )),
            ),
        };
        let within = |window| within("c.time", window);
        let (now, before) = (within(periods.now), within(periods.before));
        let end = periods.at.nanos();
        format!(
            "SELECT avg({value}) FILTER (WHERE {now}) / 1e6 AS observed,\n  avg({value}) FILTER (WHERE {before}) / 1e6 AS baseline, count(*) FILTER (WHERE {now}) AS n\nFROM {rows}\nAND ({now} OR {before}) AND c.start_unix_nano + c.duration_ns < {end}"
        )
    }
}

type Changes<'a> = BTreeMap<&'a Group, Change>;

/// How a group changed.
struct Change {
    /// Mean of before, in nanoseconds.
    before: f64,
    /// Nanoseconds added to one of it, as far as they are shown: one standard error less than the means
    /// say, so that a few wild ones do not come first.
    delta: f64,
    /// How often it occurs in a trace.
    rate: f64,
    /// Whether the change is worth a word.
    is_slower: bool,
}

impl Change {
    fn of(now: &[(usize, f64)], before: &[(usize, f64)], traces: usize) -> Self {
        let (mean_now, error_now) = mean(now);
        let (mean_before, error_before) = mean(before);
        let whole = mean_now - mean_before;
        let error = (error_now + error_before).sqrt();
        Self {
            before: mean_before,
            delta: whole.signum() * (whole.abs() - error).max(0.0),
            rate: now.len() as f64 / traces.max(1) as f64,
            is_slower: whole >= DELTA_MIN && mean_now >= RATIO_MIN * mean_before,
        }
    }

    fn added_ms(&self, delta: f64) -> f64 {
        delta * self.rate / 1e6
    }
}

/// The mean, and the square of its standard error.
fn mean(values: &[(usize, f64)]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().map(|(_, value)| value).sum::<f64>() / n;
    let variance = values.iter().map(|(_, value)| (value - mean).powi(2)).sum::<f64>() / n;
    (mean, variance / n)
}

/// Gives each change to a service; those of gaps to one of their ends or to both. A service with a
/// change that is worth a word may be shown.
fn divide(changes: &Changes<'_>, common: &BTreeMap<&str, f64>) -> Vec<Added> {
    let mut services = BTreeMap::<&str, Added>::new();
    for (group, change) in changes {
        for (service, part, share) in group.parts(change.delta, common) {
            let added = services.entry(service).or_insert_with(|| Added::none(service));
            let ms = change.added_ms(share);
            match part {
                Part::Own => added.own_ms += ms,
                Part::Calling => added.calling_ms += ms,
                Part::Called => added.called_ms += ms,
            }
            added.is_shown |= change.is_slower && share >= DELTA_MIN / 2.0;
        }
    }
    let mut services: Vec<Added> = services.into_values().collect();
    services.sort_by(|a, b| b.ms().total_cmp(&a.ms()).then_with(|| a.service.cmp(&b.service)));
    services
}

/// What each service added to each trace that it takes part in, over the mean of before.
fn excess<'a>(
    observed: &'a Observations,
    changes: &Changes<'_>,
    common: &BTreeMap<&str, f64>,
) -> BTreeMap<&'a str, BTreeMap<usize, f64>> {
    let mut excess = BTreeMap::<&str, BTreeMap<usize, f64>>::new();
    for (group, values) in observed {
        let Some(change) = changes.get(group) else { continue };
        for (trace, value) in values {
            for (service, _, share) in group.parts(value - change.before, common) {
                *excess.entry(service).or_default().entry(*trace).or_default() += share;
            }
        }
    }
    excess
}

#[derive(Clone, Copy)]
enum Part {
    Own,
    Calling,
    Called,
}

/// What the gaps of each caller have in common: the lower median over its callees, so that more than
/// half of them must have grown. With one callee nothing can be told apart.
fn common_gaps<'a>(changes: &Changes<'a>) -> BTreeMap<&'a str, f64> {
    let mut gaps = BTreeMap::<&str, BTreeMap<&str, (f64, f64)>>::new();
    for (group, change) in changes {
        if let Group::Gap { caller, callee, .. } = group {
            let edge = gaps.entry(caller).or_default().entry(callee).or_default();
            *edge = (edge.0 + change.delta * change.rate, edge.1 + change.rate);
        }
    }
    let common = |edges: BTreeMap<&str, (f64, f64)>| {
        let mut deltas: Vec<f64> = edges.into_values().map(|(sum, rate)| sum / rate).collect();
        deltas.sort_by(f64::total_cmp);
        match deltas.len() {
            0 | 1 => 0.0,
            callees => deltas[(callees - 1) / 2].max(0.0),
        }
    };
    gaps.into_iter().map(|(caller, edges)| (caller, common(edges))).collect()
}

impl Group {
    /// Whose time something added to the group is.
    fn parts<'a>(
        &'a self,
        delta: f64,
        common: &BTreeMap<&str, f64>,
    ) -> impl Iterator<Item = (&'a str, Part, f64)> {
        let (first, second) = match self {
            Self::Own { service, .. } => ((service.as_str(), Part::Own, delta), None),
            Self::Gap { caller, callee, .. } => {
                let common = common.get(caller.as_str()).copied().unwrap_or(0.0);
                let callers = common.min(delta.max(0.0));
                let rest = (callee.as_str(), Part::Called, delta - callers);
                ((caller.as_str(), Part::Calling, callers), Some(rest))
            }
        };
        std::iter::once(first).chain(second)
    }
}

/// Values of each group with the number of their trace.
type Observations = BTreeMap<Group, Vec<(usize, f64)>>;

fn observations(sample: &Sample) -> Observations {
    let mut observed = Observations::new();
    for (number, trace) in sample.traces.iter().enumerate() {
        observe((number, trace), sample, &mut observed);
    }
    observed
}

/// Adds the requests and calls below the root of a trace.
fn observe((number, trace): (usize, &Trace), sample: &Sample, observed: &mut Observations) {
    let operation = |index: usize| &sample.groups.operations[trace.spans[index].group];
    let answers = |index: usize| matches!(&*operation(index).span_kind, "SERVER" | "CONSUMER");
    let mut seen = BTreeSet::new();
    let mut open = vec![trace.root];
    while let Some(request) = open.pop() {
        if !seen.insert(request) {
            continue;
        }
        let service = &operation(request).service;
        let mut away = Vec::new();
        let mut local: Vec<usize> = trace.spans[request].children.clone();
        while let Some(index) = local.pop() {
            let span = &trace.spans[index];
            let interval = (span.start, span.start.saturating_add(span.duration));
            if answers(index) || operation(index).service != *service {
                // Called by something that has no span of its own.
                open.push(index);
                away.push(interval);
            } else if operation(index).span_kind == "CLIENT" {
                let child = span.children.iter().copied().find(|child| answers(*child));
                let peer = sample.groups.peers[span.group].clone();
                let callee = child.map(|child| operation(child).service.clone()).or(peer);
                open.extend(&span.children);
                let Some(callee) = callee.filter(|callee| callee != service) else { continue };
                away.push(interval);
                let inside = child.map_or(0, |child| trace.spans[child].duration);
                let gap = span.duration.saturating_sub(inside).max(0) as f64;
                let (caller, span_name) = (service.clone(), operation(index).span_name.clone());
                let group = Group::Gap { caller, callee, span_name };
                observed.entry(group).or_default().push((number, gap));
            } else if operation(index).span_kind != "PRODUCER" && seen.insert(index) {
                local.extend(&span.children);
            }
        }
        let span = &trace.spans[request];
        let end = span.start.saturating_add(span.duration);
        let own = (end - span.start - covered(away, (span.start, end))) as f64;
        let group = Group::Own {
            service: service.clone(),
            span_name: operation(request).span_name.clone(),
        };
        observed.entry(group).or_default().push((number, own));
    }
}

/// Length of the union of intervals within another.
fn covered(mut intervals: Vec<(i64, i64)>, (start, end): (i64, i64)) -> i64 {
    intervals.sort_unstable();
    let (mut covered, mut reached) = (0, start);
    for (from, to) in intervals {
        let (from, to) = (from.max(reached), to.min(end));
        if from < to {
            covered += to - from;
            reached = to;
        }
    }
    covered
}

#[cfg(test)]
mod tests;
