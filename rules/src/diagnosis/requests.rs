//! What the services of sampled traces did to answer: their own work, and the calls that they made.
//!
//! The time of a request is the service's own work and the calls; a call is the callee's time and a gap
//! that the callee knows nothing of.

use std::collections::BTreeSet;

use super::signal::Operation;
use super::traces::{Place, Sample, Trace};

/// A request that a service answered.
#[derive(Clone, Debug)]
pub(crate) struct Request<'a> {
    /// Number of its trace.
    pub(crate) trace: usize,
    /// Nanoseconds since 1970.
    pub(crate) start: i64,
    pub(crate) operation: &'a Operation,
    pub(crate) place: &'a Place,
    pub(crate) has_failed: bool,
    /// Nanoseconds in which it waited for no call.
    pub(crate) own: f64,
    pub(crate) calls: Vec<Call<'a>>,
}

/// A call that a service made to answer a request.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) callee: &'a str,
    pub(crate) span_name: &'a str,
    /// Which database or cache it asks.
    pub(crate) system: Option<&'a str>,
    pub(crate) duration: f64,
    /// Its time outside of the callee.
    pub(crate) gap: f64,
    pub(crate) has_failed: bool,
    /// Nanoseconds between a call to the same callee that failed and this one.
    pub(crate) pause: f64,
}

/// All requests of the sampled traces, from the root of each down.
pub(crate) fn requests(sample: &Sample) -> Vec<Request<'_>> {
    let mut requests = Vec::new();
    for (number, trace) in sample.traces.iter().enumerate() {
        let walk = Walk { sample, trace };
        let mut seen = BTreeSet::new();
        let mut open = vec![trace.root];
        while let Some(index) = open.pop() {
            if seen.insert(index) {
                requests.push(walk.request(number, index, (&mut seen, &mut open)));
            }
        }
    }
    requests
}

struct Walk<'a> {
    sample: &'a Sample,
    trace: &'a Trace,
}

/// A call with the time that it took.
struct Timed<'a> {
    call: Call<'a>,
    start: i64,
    end: i64,
}

impl<'a> Walk<'a> {
    fn operation(&self, index: usize) -> &'a Operation {
        &self.sample.groups.operations[self.trace.spans[index].group]
    }

    fn answers(&self, index: usize) -> bool {
        matches!(&*self.operation(index).span_kind, "SERVER" | "CONSUMER")
    }

    /// The request of a span; requests below it are left to be looked at.
    fn request(
        &self,
        number: usize,
        request: usize,
        (seen, open): (&mut BTreeSet<usize>, &mut Vec<usize>),
    ) -> Request<'a> {
        let span = &self.trace.spans[request];
        let service = &self.operation(request).service;
        let (mut away, mut calls) = (Vec::new(), Vec::new());
        let mut local: Vec<usize> = span.children.clone();
        while let Some(index) = local.pop() {
            let child = &self.trace.spans[index];
            let (start, end) = (child.start, child.start.saturating_add(child.duration));
            if self.answers(index) || self.operation(index).service != *service {
                // Called by something that has no span of its own.
                open.push(index);
                away.push((start, end));
            } else if self.operation(index).span_kind == "CLIENT" {
                open.extend(&child.children);
                let Some(call) = self.call(index).filter(|call| call.callee != service) else {
                    continue;
                };
                away.push((start, end));
                calls.push(Timed { call, start, end });
            } else if self.operation(index).span_kind != "PRODUCER" && seen.insert(index) {
                local.extend(&child.children);
            }
        }
        away.extend(pauses(&mut calls));
        let end = span.start.saturating_add(span.duration);
        let own = end.saturating_sub(span.start) - covered(away, (span.start, end));
        Request {
            trace: number,
            start: span.start,
            operation: self.operation(request),
            place: &self.sample.groups.places[span.place],
            has_failed: span.has_failed,
            own: own as f64,
            calls: calls.into_iter().map(|timed| timed.call).collect(),
        }
    }

    fn call(&self, index: usize) -> Option<Call<'a>> {
        let span = &self.trace.spans[index];
        let answering = || span.children.iter().copied().filter(|child| self.answers(*child));
        let service = answering().next().map(|child| self.operation(child).service.as_str());
        let peer = self.sample.groups.peers[span.group].as_deref();
        let inside: i64 = answering().map(|child| self.trace.spans[child].duration).sum();
        Some(Call {
            callee: callee(service, peer)?,
            span_name: &self.operation(index).span_name,
            system: self.sample.groups.systems[span.group].as_deref(),
            duration: span.duration as f64,
            gap: span.duration.saturating_sub(inside).max(0) as f64,
            has_failed: span.has_failed,
            pause: 0.0,
        })
    }
}

/// Whom a call reaches: the service whose span is below it, unless the caller names a host of another
/// name. Then something that sends no spans stands between the two, and the gap is its time.
fn callee<'a>(service: Option<&'a str>, peer: Option<&'a str>) -> Option<&'a str> {
    match (service, peer) {
        (Some(service), Some(peer)) if is_name(peer) && !are_alike(peer, service) => Some(peer),
        (service, peer) => service.or(peer),
    }
}

/// Whether an address says more than where: no number, and not the own machine.
fn is_name(address: &str) -> bool {
    let is_number = address.parse::<std::net::IpAddr>().is_ok();
    !is_number && !matches!(address, "" | "localhost" | "host.docker.internal")
}

/// Whether an address can be that of a service: `cart.shop.svc` of `cartservice`, `billing` of
/// `billing-api`.
fn are_alike(address: &str, service: &str) -> bool {
    let host = address.split(['.', ':']).next().unwrap_or(address).to_ascii_lowercase();
    let service = service.to_ascii_lowercase();
    let stem = |name: &str| name.split(['-', '_', '.', '/']).next().unwrap_or(name).to_owned();
    host.contains(&service) || service.contains(&host) || stem(&host) == stem(&service)
}

/// Between a call that failed and the next to the same callee its caller waits: such times belong to
/// the repeated call.
fn pauses(calls: &mut [Timed<'_>]) -> Vec<(i64, i64)> {
    calls.sort_by_key(|timed| (timed.start, timed.end));
    let mut pauses = Vec::new();
    for later in 1..calls.len() {
        let (earlier, rest) = calls.split_at_mut(later);
        let Some(again) = rest.first_mut() else { break };
        let same = |timed: &&Timed<'_>| {
            timed.call.callee == again.call.callee && timed.call.span_name == again.call.span_name
        };
        let failed = earlier.iter().rev().find(same).filter(|timed| timed.call.has_failed);
        if let Some(failed) = failed.filter(|failed| failed.end < again.start) {
            pauses.push((failed.end, again.start));
            again.call.pause = (again.start - failed.end) as f64;
        }
    }
    pauses
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
mod tests {
    use super::callee;

    #[test]
    fn a_host_of_another_name_stands_between_caller_and_service() {
        let cases = [
            (Some("stock-api"), Some("billing-api"), "billing-api"),
            (Some("cartservice"), Some("cart.shop.svc.cluster.local"), "cartservice"),
            (Some("checkout-service"), Some("checkout-svc"), "checkout-service"),
            (Some("cart"), Some("10.0.3.7"), "cart"),
            (Some("cart"), Some("localhost"), "cart"),
            (Some("cart"), None, "cart"),
            (None, Some("orders-db"), "orders-db"),
        ];
        for (service, peer, expected) in cases {
            assert_eq!(callee(service, peer), Some(expected), "{service:?} {peer:?}");
        }
        assert_eq!(callee(None, None), None);
    }
}
