//! Random topologies: services in layers, their operations, whom these call, databases and caches.
//!
//! Depth, fan-out and repeated calls follow what was published about production call graphs: two to six
//! layers, one to ten callees with most services having few, one call in six repeated, caches in front
//! of databases (Alibaba's traces, TPDS 2022).

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use std::ops::RangeInclusive;

const LAYERS: RangeInclusive<usize> = 2..=6;
/// More services make a case larger without making it harder in another way.
const SERVICES_MAX: usize = 26;
const FAN_OUT_MAX: usize = 10;
/// Callees of a service with their weights: few for most, many for some.
const FAN_OUT: [(usize, u32); 6] = [(1, 35), (2, 25), (3, 15), (4, 10), (6, 10), (FAN_OUT_MAX, 5)];
/// Chance that a callee is a service that others call as well.
const SHARED: f64 = 0.25;
/// Chance that a call is made several times in a row.
const REPEATED: f64 = 0.16;
/// Chance that a service below the entry sends no spans, hands the context on and is called by name.
const UNINSTRUMENTED: f64 = 0.1;
/// Spans of one request that an operation may cause, by layer: the entry, and those below it.
const SPANS_MAX: [f64; 2] = [32.0, 12.0];

const NAMES: [&str; 40] = [
    "cart", "orders", "billing", "catalog", "search", "profile", "session", "pricing", "stock",
    "shipping", "tax", "ledger", "rating", "review", "media", "notify", "audit", "quota", "geo",
    "route", "seat", "ticket", "loyalty", "coupon", "fraud", "identity", "tokens", "feed",
    "timeline", "social", "message", "archive", "report", "export", "planner", "roster", "device",
    "meter", "tariff", "invoice",
];
const ENTRIES: [&str; 4] = ["gateway", "storefront", "web-api", "edge-router"];
const SUFFIXES: [&str; 3] = ["", "-service", "-api"];
const VERBS: [&str; 3] = ["GET", "POST", "PUT"];
const PATHS: [&str; 6] = ["", "/{id}", "/search", "/batch", "/summary", "/{id}/items"];

/// Services and how they call each other.
#[derive(Clone, Debug)]
pub(crate) struct Topology {
    /// In order of layers; the first is the entry.
    pub(crate) services: Vec<Service>,
    pub(crate) stores: Vec<Store>,
    pub(crate) hosts: Vec<String>,
    pub(crate) layers: usize,
}

/// A service.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) layer: usize,
    pub(crate) is_instrumented: bool,
    pub(crate) reports_sizes: bool,
    /// Host of each instance.
    pub(crate) instances: Vec<usize>,
    pub(crate) operations: Vec<Operation>,
    /// Share of its capacity that usual traffic takes.
    pub(crate) utilisation: f64,
}

/// Something that a service answers.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) method: &'static str,
    pub(crate) route: String,
    /// Median of the time that is its own, and its spread.
    pub(crate) own_ms: f64,
    pub(crate) sigma: f64,
    pub(crate) response_bytes: f64,
    pub(crate) request_bytes: f64,
    /// What a kilobyte of a received body costs.
    pub(crate) ms_per_kb: f64,
    /// Whether the work after the calls has a span of its own.
    pub(crate) has_internal_span: bool,
    /// One after the other; the calls of a step run at the same time.
    pub(crate) steps: Vec<Vec<Call>>,
}

impl Operation {
    /// Name of the server's span.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.route)
    }
}

/// A call, made so many times in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) target: Target,
    pub(crate) times: usize,
}

/// Whom a call goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Service {
        service: usize,
        operation: usize,
    },
    Database(usize),
    /// A cache, and the database behind it.
    Cached {
        cache: usize,
        database: usize,
    },
}

/// A database or a cache: known from its clients' spans alone.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) address: String,
    pub(crate) system: &'static str,
    pub(crate) median_ms: f64,
    /// Share of lookups that a cache answers; of no meaning for a database.
    pub(crate) hit_share: f64,
}

impl Topology {
    /// A topology; the same random numbers give the same one.
    pub(crate) fn random(random: &mut ChaCha8Rng) -> Self {
        let layers = random.random_range(LAYERS);
        let mut topology =
            Self { services: Vec::new(), stores: Vec::new(), hosts: Vec::new(), layers };
        topology.hosts = (1..=random.random_range(4..=8)).map(|n| format!("node-{n}")).collect();
        let callees = topology.grow(random);
        // Callees first, so that what a call costs in spans is known when it is added.
        for service in (0..topology.services.len()).rev() {
            topology.add_operations(service, &callees[service], random);
        }
        topology
    }

    /// Makes the services; returns whom each may call.
    fn grow(&mut self, random: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
        let mut names: Vec<&str> = NAMES.to_vec();
        names.shuffle(random);
        let suffix = SUFFIXES.choose(random).copied().unwrap_or_default();
        let entry = ENTRIES.choose(random).copied().unwrap_or("gateway");
        self.services.push(self.service(entry.to_owned(), 0, random));
        let mut callees: Vec<Vec<usize>> = vec![Vec::new()];
        let mut next = 0;
        while next < self.services.len() {
            let layer = self.services[next].layer + 1;
            let fan_out = FAN_OUT.choose_weighted(random, |(_, weight)| *weight).map_or(1, |f| f.0);
            // The entry fans out; without that a topology is a chain.
            let fan_out = if next == 0 { random.random_range(3..=8) } else { fan_out };
            for nth in 0..fan_out {
                if layer >= self.layers {
                    break;
                }
                let others: Vec<usize> = (0..self.services.len())
                    .filter(|s| self.services[*s].layer >= layer && !callees[next].contains(s))
                    .collect();
                let is_full = self.services.len() >= SERVICES_MAX;
                // The first callee of the first service of a layer makes the next layer.
                let must_be_new = nth == 0 && self.services.iter().all(|s| s.layer < layer);
                let may_share = !others.is_empty() && next > 0;
                if !must_be_new && (is_full || (may_share && random.random_bool(SHARED))) {
                    callees[next].extend(others.choose(random));
                    continue;
                }
                let Some(name) = names.pop() else { break };
                let service = self.service(format!("{name}{suffix}"), layer, random);
                callees[next].push(self.services.len());
                self.services.push(service);
                callees.push(Vec::new());
            }
            next += 1;
        }
        callees
    }

    fn service(&self, name: String, layer: usize, random: &mut ChaCha8Rng) -> Service {
        let count = random.random_range(2..=5);
        Service {
            name,
            layer,
            is_instrumented: layer == 0 || !random.random_bool(UNINSTRUMENTED),
            reports_sizes: random.random_bool(0.8),
            instances: (0..count).map(|_| random.random_range(0..self.hosts.len())).collect(),
            operations: Vec::new(),
            utilisation: random.random_range(0.05..0.2),
        }
    }

    fn add_operations(&mut self, service: usize, callees: &[usize], random: &mut ChaCha8Rng) {
        let layer = self.services[service].layer;
        let count =
            if layer == 0 { random.random_range(2..=3) } else { random.random_range(1..=2) };
        let stores = self.add_stores(service, random);
        let spans_max = SPANS_MAX[layer.min(1)];
        for nth in 0..count {
            let mut operation = operation(&self.services[service].name, nth, random);
            let mut spans = 1.0;
            let mut wanted: Vec<usize> = callees.to_vec();
            wanted.shuffle(random);
            for (order, callee) in wanted.into_iter().enumerate() {
                if order > 0 && random.random_bool(0.4) {
                    continue;
                }
                let chosen = random.random_range(0..self.services[callee].operations.len());
                let target = Target::Service { service: callee, operation: chosen };
                let times = repeated(random);
                let cost = times as f64 * (1.0 + self.spans_of(target));
                if spans + cost <= spans_max {
                    spans += cost;
                    add_call(&mut operation, Call { target, times }, random);
                }
            }
            if let Some(target) =
                stores.filter(|_| operation.steps.is_empty() || random.random_bool(0.5))
            {
                add_call(&mut operation, Call { target, times: repeated(random) }, random);
            }
            self.services[service].operations.push(operation);
        }
    }

    /// A database of the service, with a cache in front of it or without; the entry has none.
    fn add_stores(&mut self, service: usize, random: &mut ChaCha8Rng) -> Option<Target> {
        let owner = &self.services[service];
        if owner.layer == 0 || !random.random_bool(0.65) {
            return None;
        }
        let stem = owner.name.split('-').next().unwrap_or("main").to_owned();
        let database = self.stores.len();
        self.stores.push(Store {
            address: format!("{stem}-db"),
            system: ["postgresql", "mysql"].choose(random).copied().unwrap_or("postgresql"),
            median_ms: random.random_range(1.5..9.0),
            hit_share: 1.0,
        });
        if !random.random_bool(0.45) {
            return Some(Target::Database(database));
        }
        self.stores.push(Store {
            address: format!("{stem}-cache"),
            system: "redis",
            median_ms: random.random_range(0.3..0.9),
            hit_share: random.random_range(0.8..0.97),
        });
        Some(Target::Cached { cache: database + 1, database })
    }

    /// Spans that a call causes at the callee and below, roughly.
    fn spans_of(&self, target: Target) -> f64 {
        match target {
            Target::Database(_) | Target::Cached { .. } => 0.2,
            Target::Service { service, operation } => {
                let calls = self.services[service].operations[operation].steps.iter().flatten();
                1.0 + calls
                    .map(|call| call.times as f64 * (1.0 + self.spans_of(call.target)))
                    .sum::<f64>()
            }
        }
    }

    /// Spans of a request to an operation of the entry, roughly.
    pub(crate) fn spans_of_entry(&self, operation: usize) -> f64 {
        self.spans_of(Target::Service { service: 0, operation })
    }

    /// Services that call a service directly, with the operations in which they do.
    pub(crate) fn callers(&self, callee: usize) -> Vec<(usize, usize)> {
        let calls_it = |operation: &Operation| {
            let calls = operation.steps.iter().flatten();
            calls.into_iter().any(
                |call| matches!(call.target, Target::Service { service, .. } if service == callee),
            )
        };
        (0..self.services.len())
            .flat_map(|s| (0..self.services[s].operations.len()).map(move |o| (s, o)))
            .filter(|(s, o)| calls_it(&self.services[*s].operations[*o]))
            .collect()
    }
}

fn operation(service: &str, nth: usize, random: &mut ChaCha8Rng) -> Operation {
    let stem = service.split('-').next().unwrap_or(service);
    let path = PATHS[(nth + random.random_range(0..2) * 3) % PATHS.len()];
    Operation {
        method: VERBS.choose(random).copied().unwrap_or("GET"),
        route: format!("/{stem}{path}"),
        own_ms: random.random_range(1.5_f64.ln()..14.0_f64.ln()).exp(),
        sigma: random.random_range(0.25..0.55),
        response_bytes: random.random_range(700_f64.ln()..14_000_f64.ln()).exp(),
        request_bytes: random.random_range(200_f64.ln()..3_000_f64.ln()).exp(),
        ms_per_kb: random.random_range(0.01..0.15),
        has_internal_span: random.random_bool(0.4),
        steps: Vec::new(),
    }
}

fn repeated(random: &mut ChaCha8Rng) -> usize {
    if random.random_bool(REPEATED) { random.random_range(2..=4) } else { 1 }
}

/// Adds a call beside the last ones or after them.
fn add_call(operation: &mut Operation, call: Call, random: &mut ChaCha8Rng) {
    match operation.steps.last_mut() {
        Some(step) if random.random_bool(0.3) => step.push(call),
        _ => operation.steps.push(vec![call]),
    }
}
