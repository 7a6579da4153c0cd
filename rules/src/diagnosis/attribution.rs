//! Which service the added time comes from, and what distinguishes its slow requests.
//!
//! The time of a request that a service answers is its own work and the calls that it makes; a call is
//! the callee's time and a gap that the callee knows nothing of. A gap has two ends. Where the gaps of
//! a caller to most of its callees grew, the caller is what they have in common: a process that gets
//! no processor time waits before it sends and after it receives. What a gap has grown beyond that, and
//! beyond what chance may have added to it, is the callee's side: its network, its queue. More calls to
//! a callee are the caller's, unless they repeat calls that failed: then they are the callee's.
//!
//! Kinds of requests may come in other numbers than before, so what is compared is each group of
//! requests or calls with itself, weighted by how often it occurs now.

use std::collections::BTreeMap;

use super::requests::{Request, requests};
use super::traces::Sample;
use crate::statistics::change_point::share_split;
use crate::statistics::{Tail, above_share_tail, quantile, significant_of_exact};
use crate::time::{Time, Window};

mod contrast;
mod division;
mod groups;
mod notes;

pub(crate) use contrast::{SideBySide, SlowHost};
pub(crate) use notes::note;

use division::{Change, Changes, common_gaps, divide, excess};
use groups::{Calls, Group, Known, observations, per_request};

/// A group needs so many observations on each side.
const COUNT_MIN: usize = 3;
/// How many calls a request makes depends on what it is asked for and how far it gets: a handful of requests
/// of one kind before and of another now do not say that it asks more often. Set with the recorded cases in view.
const COUNT_MIN_CALLS: usize = 20;
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
/// More calls are repetitions of failed ones if so many of them follow a failure.
const REPEATED_MIN: f64 = 0.5;
/// Systems that keep what others know, by their names in `db.system.name`.
const CACHES: [&str; 3] = ["redis", "memcached", "valkey"];

/// A service with the time that it added to a mean trace.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Added {
    pub(crate) service: String,
    /// Milliseconds by part, in the order of [`Part`].
    parts: [f64; 5],
    /// Whether a group of it is slower by more than chance.
    pub(crate) is_shown: bool,
    /// Where there are more calls, the ones that cost most.
    pub(crate) more_calls: Option<MoreCalls>,
    /// Shares of failed requests now and before, where the time is in failed requests.
    pub(crate) failures: Option<(f64, f64)>,
    /// Its versions beside each other.
    pub(crate) versions: Vec<SideBySide>,
    /// What says so, once it is noted.
    pub(crate) findings: Vec<String>,
}

/// Calls that requests make more often than before.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MoreCalls {
    pub(crate) caller: String,
    /// Name of the caller's server spans.
    pub(crate) request: String,
    pub(crate) callee: String,
    /// Name of the caller's client spans.
    pub(crate) span_name: String,
    /// The cache that the same requests ask as often as before, if there is one.
    pub(crate) cache: Option<String>,
    ms: f64,
}

#[cfg(test)]
impl MoreCalls {
    pub(crate) fn made_up(caller: &str, callee: &str, cache: Option<&str>) -> Self {
        let text = str::to_owned;
        Self {
            caller: text(caller),
            request: text("GET /"),
            callee: text(callee),
            span_name: text("SELECT"),
            cache: cache.map(text),
            ms: 50.0,
        }
    }
}

/// Where time is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// In the service's own work.
    Own,
    /// In all calls that it makes, outside of the callees.
    Calling,
    /// In calls to it, outside of it and of what is common to their caller.
    Called,
    /// In calls that it makes more often.
    Asking,
    /// In calls to it that are made again because it failed.
    Repeated,
}

impl Part {
    const ALL: [Self; 5] = [Self::Own, Self::Calling, Self::Called, Self::Asking, Self::Repeated];
}

impl Added {
    fn none(service: &str) -> Self {
        Self {
            service: service.to_owned(),
            parts: [0.0; 5],
            is_shown: false,
            more_calls: None,
            failures: None,
            versions: Vec::new(),
            findings: Vec::new(),
        }
    }

    pub(crate) fn ms(&self) -> f64 {
        self.parts.iter().sum()
    }

    /// A service with so much time in one part.
    #[cfg(test)]
    pub(crate) fn made_up(service: &str, part: Part, ms: f64) -> Self {
        let mut added = Self { is_shown: true, ..Self::none(service) };
        added.parts[part as usize] = ms;
        added
    }

    #[cfg(test)]
    fn ms_in(&self, part: Part) -> f64 {
        self.parts[part as usize]
    }

    /// Where most of it is.
    pub(crate) fn main_part(&self) -> Part {
        let mut main = Part::Own;
        for part in Part::ALL {
            if self.parts[part as usize] > self.parts[main as usize] {
                main = part;
            }
        }
        main
    }

    /// The same in words.
    pub(crate) fn place(&self) -> &'static str {
        match self.main_part() {
            Part::Own => "in its own work",
            Part::Calling => "around all calls that it makes",
            Part::Called => "on the way to it and back",
            Part::Asking => "in calls that it makes more often",
            Part::Repeated => "in calls to it that failed and were made again",
        }
    }
}

/// Services by the time that they added, most first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attribution {
    pub(crate) services: Vec<Added>,
    /// A machine that most of it is on.
    pub(crate) host: Option<SlowHost>,
    /// What those that are shown added to each trace now and before, in nanoseconds over the mean of before.
    pub(crate) by_trace: [BTreeMap<usize, f64>; 2],
    /// When the first service began to add it, if that is shown.
    pub(crate) onset: Option<(Time, Window)>,
}

impl Attribution {
    /// Of the services that are shown to have added time, the one that added most. One that is not shown
    /// may seem to have added more: a few wild requests of one that is rarely called.
    pub(crate) fn main(&self) -> Option<&Added> {
        self.shown().next()
    }

    /// What is known of a service that is shown to have added time.
    pub(crate) fn of(&self, service: &str) -> Option<&Added> {
        self.shown().find(|added| added.service == service)
    }

    /// Services that are shown to have added time, most first.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &Added> {
        self.services.iter().filter(|added| added.is_shown && added.ms() > 0.0)
    }

    /// A service's share of the time that is shown to have been added.
    pub(crate) fn share_of(&self, service: &str) -> f64 {
        let all: f64 = self.shown().map(Added::ms).sum();
        self.of(service).map_or(0.0, |added| added.ms() / all)
    }
}

/// Variance of a share beside the binomial one, of so many observations in so many seconds.
fn design_effect(count: usize, seconds: f64) -> f64 {
    let per_minute = count as f64 / (seconds / 60.0).max(1.0);
    1.0 + WITHIN_MINUTE * (per_minute - 1.0).max(0.0)
}

/// Compares two samples.
pub(crate) fn attribute(now: &Sample, before: &Sample) -> Attribution {
    let (answered, earlier) = (requests(now), requests(before));
    let known = Known::of(&answered, &earlier);
    let (observed, baseline) = (observations(&answered, &known), observations(&earlier, &known));
    let mut changes = Changes::new();
    for (group, after) in &observed {
        let Some(first) = baseline.get(group) else { continue };
        let count_min = match group {
            Group::Calls(_) => COUNT_MIN_CALLS,
            Group::Own { .. } | Group::Gap { .. } => COUNT_MIN,
        };
        if after.len() >= count_min && first.len() >= count_min {
            let mut change = Change::of(after, first, now.traces.len());
            if let Group::Calls(calls) = group {
                change.is_repeated = is_repeated(*calls, &answered, &earlier);
            }
            changes.insert(group.clone(), change);
        }
    }
    let common = common_gaps(&changes);
    let mut services = divide(&changes, &common);
    let excess = |observations| excess(observations, &changes, &common);
    let (after, first) = (excess(&observed), excess(&baseline));
    let tail = |added: &Added| {
        let (Some(after), Some(first)) = (after.get(&*added.service), first.get(&*added.service))
        else {
            return Tail::NONE;
        };
        let values = |excess: &BTreeMap<usize, f64>| excess.values().copied().collect::<Vec<_>>();
        let design_effect = design_effect(after.len(), now.seconds);
        above_share_tail(&values(after), &values(first), WATCHED_QUANTILE, design_effect)
    };
    let tails: Vec<Tail> = services.iter().map(tail).collect();
    let significant = significant_of_exact(&tails, FALSE_DISCOVERIES);
    for (added, is_significant) in services.iter_mut().zip(significant) {
        added.is_shown &= is_significant;
        if added.is_shown {
            added.versions = contrast::versions(&added.service, &answered, now.seconds);
            added.failures = contrast::failures(&added.service, &answered, &earlier);
            added.more_calls = more_calls(&added.service, &changes, &answered, &earlier);
        }
    }
    let host = contrast::slow_host(&answered, &earlier, now.seconds);
    let mut attribution = Attribution { services, host, ..Attribution::default() };
    for (added, all) in attribution.by_trace.iter_mut().zip([&after, &first]) {
        for shown in attribution.services.iter().filter(|service| service.is_shown) {
            for (trace, nanos) in all.get(&*shown.service).into_iter().flatten() {
                *added.entry(*trace).or_default() += nanos;
            }
        }
    }
    attribution.onset = attribution.main().and_then(|added| {
        let (after, first) = (after.get(&*added.service)?, first.get(&*added.service)?);
        let effect = design_effect(after.len(), now.seconds);
        onset(&[(before, first), (now, after)], effect)
    });
    attribution
}

/// When traces above the watched quantile of before became more frequent: samples with what a service
/// added to their traces, the earlier sample first. Time in between that no sample covers is in the
/// interval.
fn onset(
    samples: &[(&Sample, &BTreeMap<usize, f64>); 2],
    design_effect: f64,
) -> Option<(Time, Window)> {
    let usual: Vec<f64> = samples[0].1.values().copied().collect();
    let threshold = quantile(&usual, WATCHED_QUANTILE)?;
    let mut events: Vec<(i64, bool)> = samples
        .iter()
        .flat_map(|(sample, excess)| {
            excess.iter().map(|(number, nanos)| {
                let trace = &sample.traces[*number];
                (trace.spans[trace.root].start, *nanos > threshold)
            })
        })
        .collect();
    events.sort_unstable();
    let are_high: Vec<bool> = events.iter().map(|(_, is_high)| *is_high).collect();
    let rise = share_split(&are_high, design_effect)?;
    let start = |index: usize| Time::of(events[index.min(events.len() - 1)].0);
    let earliest = start(rise.interval.0.saturating_sub(1));
    Some((start(rise.first), Window::new(earliest, start(rise.interval.1))))
}

/// Whether more calls are made because calls failed.
fn is_repeated(calls: Calls<'_>, now: &[Request<'_>], before: &[Request<'_>]) -> bool {
    let (after, first) = (per_request(now, calls), per_request(before, calls));
    let more = after.calls - first.calls;
    more > 0.0 && after.failed - first.failed >= REPEATED_MIN * more
}

/// The calls that a service makes more often, the most expensive kind.
fn more_calls(
    service: &str,
    changes: &Changes<'_>,
    now: &[Request<'_>],
    before: &[Request<'_>],
) -> Option<MoreCalls> {
    let asks = changes.iter().filter_map(|(group, change)| match group {
        Group::Calls(calls) if calls.caller == service && !change.is_repeated => {
            Some((*calls, change.added_ms(change.delta)))
        }
        _ => None,
    });
    let (calls, ms) = asks.max_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, ms)| *ms > 0.0)?;
    let more = |calls| {
        let (after, first) = (per_request(now, calls).calls, per_request(before, calls).calls);
        after / first.max(1e-9)
    };
    let is_cache = |system: Option<&str>| system.is_some_and(|name| CACHES.contains(&name));
    // A cache that is asked as often as ever, and its callers ask elsewhere more often.
    let cache = now
        .iter()
        .filter(|request| {
            request.operation.service == service && request.operation.span_name == calls.request
        })
        .flat_map(|request| &request.calls)
        .find(|call| is_cache(call.system) && call.callee != calls.callee)
        .filter(|call| {
            let asked = Calls { callee: call.callee, span_name: call.span_name, ..calls };
            more(asked) < RATIO_MIN.min(more(calls))
        });
    Some(MoreCalls {
        caller: service.to_owned(),
        request: calls.request.to_owned(),
        callee: calls.callee.to_owned(),
        span_name: calls.span_name.to_owned(),
        cache: cache.map(|call| call.callee.to_owned()),
        ms,
    })
}

#[cfg(test)]
pub(crate) mod tests;
