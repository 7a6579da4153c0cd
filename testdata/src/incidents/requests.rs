//! Requests played through the topology: what each service does, calls and sends.

use super::clock::{count, nanos, whole};
use super::spans::{
    Bodies, Place, client_attributes, fail, int, server_attributes, span, store_attributes,
    store_span_name,
};
use super::topology::{Call, Operation, Target};
use super::world::World;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Requests that fail on a healthy day.
const ERROR_SHARE: f64 = 0.001;
/// A failed call is tried again so often, after a pause.
const RETRIES: usize = 2;
const PAUSE_MS: f64 = 15.0;
/// Way through the network and the stacks, both directions together.
const NETWORK_MS: f64 = 0.6;
const NETWORK_SIGMA: f64 = 0.35;
const STORE_SIGMA: f64 = 0.5;
const BODY_SIGMA: f64 = 0.35;
/// A caller whose callee failed for good fails as well with this chance, else it answers without.
const HANDED_ON: f64 = 0.5;
/// Share of its own work that an operation does before its calls.
const BEFORE: f64 = 0.5;
/// Bits of a trace id that sampling decides by.
const RANDOM_BITS: u32 = 56;

/// A span and who sent it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) service: usize,
    pub(crate) instance: usize,
    pub(crate) span: Span,
}

/// A request at the entry.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) operation: usize,
    pub(crate) start: i64,
    pub(crate) duration: i64,
    pub(crate) spans: Vec<Sent>,
}

/// Plays requests.
#[derive(Debug)]
pub(crate) struct Player<'a> {
    world: &'a World,
    random: ChaCha8Rng,
    trace_id: [u8; 16],
    /// How much work the request is, of all services that it visits.
    work: f64,
    spans: Vec<Sent>,
}

#[derive(Clone, Copy)]
struct Served {
    end: i64,
    bytes: f64,
    has_failed: bool,
}

/// The service that acts, and the span that its spans are children of.
#[derive(Clone, Copy)]
struct Actor {
    at: (usize, usize),
    parent: [u8; 8],
}

impl<'a> Player<'a> {
    pub(crate) fn new(world: &'a World, random: ChaCha8Rng) -> Self {
        Self { world, random, trace_id: [0; 16], work: 1.0, spans: Vec::new() }
    }

    /// One request to an operation of the entry.
    pub(crate) fn play(&mut self, operation: usize, start: i64) -> Request {
        self.trace_id = self.new_trace_id();
        if self.world.scatter > 0.0 {
            self.work = self.lognormal(1.0, self.world.scatter);
        }
        let bytes = self.lognormal(
            self.world.topology.services[0].operations[operation].request_bytes,
            BODY_SIGMA,
        );
        let served = self.serve((0, operation), start, (None, bytes));
        Request {
            operation,
            start,
            duration: served.end - start,
            spans: std::mem::take(&mut self.spans),
        }
    }

    fn serve(
        &mut self,
        (service, number): (usize, usize),
        start: i64,
        (parent, request): (Option<[u8; 8]>, f64),
    ) -> Served {
        let world = self.world;
        let operation = &world.topology.services[service].operations[number];
        let instance =
            self.random.random_range(0..world.topology.services[service].instances.len());
        let at = (service, instance);
        let is_instrumented = world.topology.services[service].is_instrumented;
        let span_id = self.new_span_id();
        // Without instrumentation the context is handed on as it came.
        let actor =
            Actor { at, parent: if is_instrumented { span_id } else { parent.unwrap_or(span_id) } };

        let factor = world.own_factor(at, start);
        let own = self.lognormal(operation.own_ms, operation.sigma) * factor * self.work;
        let reading = request / 1024.0 * operation.ms_per_kb * factor;
        let begun = start + nanos(BEFORE * own + reading);
        let (called, received, broken) = self.steps(actor, operation, begun);
        let (share, added_ms) = world.errors(at, start);
        let has_failed = self.random.random_bool((share + ERROR_SHARE).min(1.0))
            || (broken && self.random.random_bool(HANDED_ON));
        let late = if share > 0.0 && has_failed { added_ms } else { 0.0 };
        let rest = (1.0 - BEFORE) * own + received / 1024.0 * operation.ms_per_kb * factor + late;
        let end = called + nanos(rest);
        let bytes =
            self.lognormal(operation.response_bytes, BODY_SIGMA) * world.response_factor(at, start);
        if is_instrumented {
            if operation.has_internal_span {
                self.add(actor, ("render", SpanKind::Internal), (called, end), Vec::new());
            }
            let kind = SpanKind::Server;
            let place = Place { trace_id: self.trace_id, span_id, parent };
            let mut span = span(place, &operation.name(), kind, self.skewed(at, (start, end)));
            let are_reported = world.topology.services[service].reports_sizes;
            let bodies = Bodies { request, response: bytes, are_reported };
            span.attributes = server_attributes(operation, has_failed, bodies);
            if has_failed {
                fail(&mut span);
            }
            self.spans.push(Sent { service, instance, span });
        }
        Served { end, bytes, has_failed }
    }

    /// All calls of an operation: when the last is done, the bytes received, whether one broke.
    fn steps(&mut self, actor: Actor, operation: &Operation, begun: i64) -> (i64, f64, bool) {
        let (mut cursor, mut received, mut broken) = (begun, 0.0, false);
        for step in &operation.steps {
            let mut done = cursor;
            for call in step {
                let mut instant = cursor;
                for _ in 0..self.times(actor, *call, cursor) {
                    let served = self.call(actor, call.target, instant);
                    instant = served.end;
                    received += served.bytes;
                    broken |= served.has_failed;
                }
                done = done.max(instant);
            }
            cursor = done;
        }
        (cursor, received, broken)
    }

    fn times(&mut self, actor: Actor, call: Call, instant: i64) -> usize {
        let Target::Service { service, .. } = call.target else { return call.times };
        let exact = call.times as f64 * self.world.repeat_factor(actor.at, service, instant);
        // The part after the point is a chance.
        let more = usize::from(self.random.random_bool(exact.fract()));
        count(exact.trunc()) + more
    }

    fn call(&mut self, actor: Actor, target: Target, start: i64) -> Served {
        match target {
            Target::Service { service, operation } => {
                self.call_service(actor, (service, operation), start)
            }
            Target::Database(store) => self.look_up(actor, store, start),
            Target::Cached { cache, database } => {
                let found = self.look_up(actor, cache, start);
                let hits = self.world.hit_share(cache, actor.at, start);
                if self.random.random_bool(hits.clamp(0.0, 1.0)) {
                    return found;
                }
                self.look_up(actor, database, found.end)
            }
        }
    }

    fn look_up(&mut self, actor: Actor, store: usize, start: i64) -> Served {
        let median = self.world.store_ms(store, start);
        let end = start + nanos(self.lognormal(median, STORE_SIGMA) * self.work);
        let store = &self.world.topology.stores[store];
        let name = store_span_name(store);
        self.add(actor, (&name, SpanKind::Client), (start, end), store_attributes(store));
        Served { end, bytes: 0.0, has_failed: false }
    }

    fn call_service(&mut self, actor: Actor, to: (usize, usize), start: i64) -> Served {
        let mut instant = start;
        let mut attempt = 0;
        loop {
            let served = self.attempt(actor, to, (instant, attempt));
            if !served.has_failed || attempt == RETRIES {
                return served;
            }
            attempt += 1;
            instant = served.end + nanos(self.lognormal(PAUSE_MS, 0.3));
        }
    }

    fn attempt(
        &mut self,
        actor: Actor,
        to: (usize, usize),
        (start, attempt): (i64, usize),
    ) -> Served {
        let world = self.world;
        let callee = &world.topology.services[to.0];
        let operation = &callee.operations[to.1];
        let gap = self.lognormal(NETWORK_MS, NETWORK_SIGMA) + world.gap_ms(to.0, start);
        let request = self.lognormal(operation.request_bytes, BODY_SIGMA)
            * world.request_factor(actor.at, to.0, start);
        let span_id = self.new_span_id();
        let served = self.serve(to, start + nanos(gap / 2.0), (Some(span_id), request));
        let end = served.end + nanos(gap / 2.0);
        let caller = &world.topology.services[actor.at.0];
        if caller.is_instrumented {
            let name = if world.clients_know_routes {
                operation.name()
            } else {
                operation.method.to_owned()
            };
            let place = Place { trace_id: self.trace_id, span_id, parent: Some(actor.parent) };
            let mut span =
                span(place, &name, SpanKind::Client, self.skewed(actor.at, (start, end)));
            let bodies =
                Bodies { request, response: served.bytes, are_reported: caller.reports_sizes };
            span.attributes =
                client_attributes((operation, &callee.name), served.has_failed, bodies);
            if attempt > 0 {
                span.attributes.push(int("http.request.resend_count", attempt as i64));
            }
            if served.has_failed {
                fail(&mut span);
            }
            self.spans.push(Sent { service: actor.at.0, instance: actor.at.1, span });
        } else {
            self.adopt(span_id, actor.parent);
        }
        Served { end, ..served }
    }

    /// Children of a span that nobody sends belong to its parent.
    fn adopt(&mut self, missing: [u8; 8], parent: [u8; 8]) {
        for sent in &mut self.spans {
            if sent.span.parent_span_id == missing {
                sent.span.parent_span_id = parent.to_vec();
            }
        }
    }

    /// A span of an instrumented service that has no children.
    fn add(
        &mut self,
        actor: Actor,
        (name, kind): (&str, SpanKind),
        time: (i64, i64),
        attributes: Vec<opentelemetry_proto::tonic::common::v1::KeyValue>,
    ) {
        if !self.world.topology.services[actor.at.0].is_instrumented {
            return;
        }
        let span_id = self.new_span_id();
        let place = Place { trace_id: self.trace_id, span_id, parent: Some(actor.parent) };
        let mut span = span(place, name, kind, self.skewed(actor.at, time));
        span.attributes = attributes;
        self.spans.push(Sent { service: actor.at.0, instance: actor.at.1, span });
    }

    /// As the clock of the instance's host has it.
    fn skewed(&self, (service, instance): (usize, usize), (start, end): (i64, i64)) -> (i64, i64) {
        let skew = self.world.skew[self.world.topology.services[service].instances[instance]];
        (start + skew, end + skew)
    }

    fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        let normal: f64 = StandardNormal.sample(&mut self.random);
        median * (sigma * normal).exp()
    }

    fn new_span_id(&mut self) -> [u8; 8] {
        self.random.random_range(1..=u64::MAX).to_be_bytes()
    }

    /// A trace id that the sampler keeps: its random bits are at or above the threshold.
    fn new_trace_id(&mut self) -> [u8; 16] {
        let random: u128 = self.random.random();
        let threshold = threshold(self.world.sampled);
        let kept = self.random.random_range(threshold..1 << RANDOM_BITS);
        let mask = (1_u128 << RANDOM_BITS) - 1;
        ((random & !mask) | u128::from(kept)).to_be_bytes()
    }
}

/// Threshold of consistent probability sampling for a share of kept traces.
pub(crate) fn threshold(share: f64) -> u64 {
    whole((1.0 - share) * (1_u64 << RANDOM_BITS) as f64).unsigned_abs()
}

/// The same as `tracestate` has it; none where everything is kept.
pub(crate) fn trace_state(share: f64) -> Option<String> {
    let threshold = threshold(share);
    let digits = format!("{threshold:014x}");
    (threshold > 0).then(|| format!("ot=th:{}", digits.trim_end_matches('0')))
}
