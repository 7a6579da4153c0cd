//! What is compared with itself: the requests and calls of two samples, by kind.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnosis::requests::{Call, Request};

/// A kind of requests or calls, with nanoseconds as values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group<'a> {
    /// Requests to a service, the calls that it makes left out.
    Own { service: &'a str, span_name: &'a str },
    /// The gaps of calls; without spans of the callee the calls themselves.
    Gap { caller: &'a str, callee: &'a str, span_name: &'a str },
    /// All calls of one kind that a request makes, each as long as it was: their number.
    Calls(Calls<'a>),
}

/// Calls that requests of one kind make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Calls<'a> {
    pub(super) caller: &'a str,
    pub(super) request: &'a str,
    pub(super) callee: &'a str,
    pub(super) span_name: &'a str,
}

impl<'a> Calls<'a> {
    fn of(request: &Request<'a>, call: &Call<'a>) -> Self {
        Self {
            caller: &request.operation.service,
            request: &request.operation.span_name,
            callee: call.callee,
            span_name: call.span_name,
        }
    }
}

/// Values of each group with the number of their trace.
pub(super) type Observations<'a> = BTreeMap<Group<'a>, Vec<(usize, f64)>>;

/// How long a call of a kind takes, and which kinds each kind of request makes, in either sample.
#[derive(Debug, Default)]
pub(super) struct Known<'a> {
    nanos: BTreeMap<Calls<'a>, f64>,
    made: BTreeMap<(&'a str, &'a str), BTreeSet<Calls<'a>>>,
}

impl<'a> Known<'a> {
    /// The mean of before, of now where there were none before.
    pub(super) fn of(now: &[Request<'a>], before: &[Request<'a>]) -> Self {
        let mut known = Self::default();
        for requests in [now, before] {
            let mut sums = BTreeMap::<Calls<'a>, (f64, f64)>::new();
            for request in requests {
                for call in &request.calls {
                    let sum = sums.entry(Calls::of(request, call)).or_default();
                    *sum = (sum.0 + call.duration, sum.1 + 1.0);
                }
            }
            for (calls, (nanos, count)) in sums {
                known.nanos.insert(calls, nanos / count);
                known.made.entry((calls.caller, calls.request)).or_default().insert(calls);
            }
        }
        known
    }
}

/// The values of a sample's requests.
pub(super) fn observations<'a>(requests: &[Request<'a>], known: &Known<'a>) -> Observations<'a> {
    let mut observed = Observations::new();
    for request in requests {
        let (service, span_name) = (&*request.operation.service, &*request.operation.span_name);
        let mut add = |group, value| {
            observed.entry(group).or_default().push((request.trace, value));
        };
        add(Group::Own { service, span_name }, request.own);
        let kinds = known.made.get(&(service, span_name)).into_iter().flatten();
        let mut calls: BTreeMap<Calls<'a>, f64> = kinds.map(|calls| (*calls, 0.0)).collect();
        for call in &request.calls {
            let group =
                Group::Gap { caller: service, callee: call.callee, span_name: call.span_name };
            add(group, call.gap);
            let kind = Calls::of(request, call);
            let nanos = known.nanos.get(&kind).copied().unwrap_or(call.duration);
            *calls.entry(kind).or_default() += nanos + call.pause;
        }
        for (kind, nanos) in calls {
            add(Group::Calls(kind), nanos);
        }
    }
    observed
}

/// Calls per request of a kind, and how many of them failed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct PerRequest {
    pub(super) calls: f64,
    pub(super) failed: f64,
}

/// The same of a sample.
pub(super) fn per_request(requests: &[Request<'_>], kind: Calls<'_>) -> PerRequest {
    let (mut count, mut sum) = (0.0, PerRequest::default());
    for request in requests {
        if request.operation.service != kind.caller || request.operation.span_name != kind.request {
            continue;
        }
        count += 1.0;
        let same =
            |call: &&Call<'_>| call.callee == kind.callee && call.span_name == kind.span_name;
        for call in request.calls.iter().filter(same) {
            sum.calls += 1.0;
            sum.failed += f64::from(u8::from(call.has_failed));
        }
    }
    let count = f64::max(count, 1.0);
    PerRequest { calls: sum.calls / count, failed: sum.failed / count }
}
