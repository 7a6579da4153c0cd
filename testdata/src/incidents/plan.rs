//! From a family to what happens: the target, the change, the faults, and what a diagnosis should say.

use super::changes::Changes;
use super::clock::{Clock, MINUTE, SECOND, WEEK, whole};
use super::families::Family;
use super::faults::{Effect, Fault, Scope};
use super::label::Cause;
use super::topology::{Call, Operation, Store, Target, Topology};
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

/// A leak grows for this long.
const LEAK: i64 = 75 * MINUTE;
/// It shows after this share of it.
const LEAK_SHOWS: f64 = 0.3;

/// What returns every week lasts from so long before the instant in question to so long after it.
const PEAK: (i64, i64) = (20 * MINUTE, 20 * MINUTE);

/// Where in a topology something happens.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// Operation of the entry that suffers.
    pub(crate) entry: usize,
    /// The service in question, one that calls it, and another in the same path.
    pub(crate) target: usize,
    pub(crate) operation: usize,
    pub(crate) caller: usize,
    pub(crate) others: Vec<usize>,
    /// A database that the target asks, and a cache in front of it where the family has one.
    pub(crate) database: usize,
    pub(crate) cache: Option<usize>,
    pub(crate) host: usize,
}

/// What happens, up to how strong it is.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) family: Family,
    pub(crate) site: Site,
    pub(crate) changes: Changes,
    /// The change that matters.
    pub(crate) change: Option<usize>,
    pub(crate) onset: i64,
    /// A second draw for what differs between cases of a family: a factor of four to twelve.
    pub(crate) growth: f64,
    at: i64,
    healthy_ms_per_kb: Vec<f64>,
    healthy_database_ms: f64,
}

impl Plan {
    /// Plans a case. The topology gets what the family needs and chance did not give it.
    pub(crate) fn new(
        family: Family,
        topology: &mut Topology,
        clock: &mut Clock,
        random: &mut ChaCha8Rng,
    ) -> Self {
        let site = site(family, topology, random);
        let mut plan = Self {
            family,
            changes: Changes::default(),
            change: None,
            onset: clock.onset,
            growth: random.random_range(4.0..12.0),
            at: clock.at,
            healthy_ms_per_kb: callers_costs(topology, site.target),
            healthy_database_ms: topology.stores[site.database].median_ms,
            site,
        };
        plan.prepare(topology);
        plan.add_changes(topology, random);
        if family == Family::Leak {
            let change = plan.at - LEAK;
            plan.changes.all[0].start = change;
            plan.onset = change + whole(LEAK as f64 * LEAK_SHOWS);
            clock.onset = plan.onset;
        }
        if family == Family::SlowGrowth {
            // It begins after what is recorded of last week.
            plan.onset = clock.gap.map_or(clock.onset, |(from, _)| from);
            clock.onset = plan.onset;
        }
        plan
    }

    fn prepare(&self, topology: &mut Topology) {
        let target = &mut topology.services[self.site.target];
        match self.family {
            Family::Saturation | Family::TrafficSurge => target.utilisation = 0.45,
            Family::UninstrumentedCallee => target.is_instrumented = false,
            Family::PayloadGrowth | Family::RequestGrowth => {
                target.reports_sizes = true;
                target.operations[self.site.operation].response_bytes *= 2.0;
            }
            Family::Canary => {
                while target.instances.len() < 4 {
                    target.instances.push(target.instances.len() % topology.hosts.len());
                }
            }
            _ => {}
        }
    }

    /// The changes that belong to the story.
    fn add_changes(&mut self, topology: &Topology, random: &mut ChaCha8Rng) {
        let Site { target, caller, .. } = self.site;
        let onset = self.onset;
        let service = match self.family {
            Family::PayloadGrowth
            | Family::SlowCallee
            | Family::Canary
            | Family::GcPressure
            | Family::LockContention
            | Family::CacheMiss
            | Family::TwoCauses
            | Family::SimultaneousDeploys
            | Family::ErrorBurst
            | Family::Leak
            | Family::UnrecordedDeploy
            | Family::HealthyRefactor
            | Family::ConfigChange
            | Family::FeatureFlag => target,
            Family::RequestGrowth | Family::NPlusOne => caller,
            Family::SlowEntry => 0,
            Family::CoincidentDeploy => {
                let other = self.site.others.first().copied().unwrap_or(0);
                let lead = random.random_range(2..8) * MINUTE;
                self.changes.plan(topology, other, onset - lead);
                return;
            }
            Family::DeployAfterOnset => {
                self.changes.plan(topology, target, onset + random.random_range(4..7) * MINUTE);
                return;
            }
            _ => return,
        };
        let index = self.changes.plan(topology, service, onset - lag(random));
        self.change = Some(index);
        let change = &mut self.changes.all[index];
        match self.family {
            Family::ConfigChange | Family::FeatureFlag => {
                change.kind =
                    if self.family == Family::ConfigChange { "config" } else { "feature_flag" };
                change.end = Some(change.start);
            }
            Family::Canary => (change.instances, change.end) = (1, None),
            Family::UnrecordedDeploy => change.is_recorded = false,
            Family::SimultaneousDeploys => {
                for other in self.site.others.iter().take(2) {
                    let start =
                        self.changes.all[index].start + random.random_range(-20..20) * SECOND;
                    self.changes.plan(topology, *other, start);
                }
            }
            _ => {}
        }
    }

    /// Sets what of the topology depends on how strong the effect is to be.
    pub(crate) fn tune(&self, topology: &mut Topology, magnitude: f64) {
        let Site { target, operation, database, .. } = self.site;
        match self.family {
            Family::PayloadGrowth => {
                for (nth, (service, caller)) in topology.callers(target).into_iter().enumerate() {
                    topology.services[service].operations[caller].ms_per_kb =
                        self.healthy_ms_per_kb[nth] * (1.0 + magnitude);
                }
            }
            Family::RequestGrowth => {
                topology.services[target].operations[operation].ms_per_kb = 0.1 * (1.0 + magnitude);
            }
            Family::CacheMiss | Family::CacheCold => {
                topology.stores[database].median_ms = self.healthy_database_ms * (1.0 + magnitude);
            }
            _ => {}
        }
    }

    /// The faults, so strong.
    pub(crate) fn faults(&self, magnitude: f64) -> Vec<Fault> {
        let Site { target, caller, database, host, entry, .. } = self.site;
        let more = 1.0 + magnitude;
        let own = Effect::OwnTime { service: target, factor: more };
        let store = Effect::StoreTime { store: database, factor: more };
        let hits = self.site.cache.map(|cache| Effect::Hits { cache, factor: 0.05 });
        let effects: Vec<Effect> = match self.family {
            Family::PayloadGrowth => {
                vec![Effect::ResponseBytes { service: target, factor: self.growth }]
            }
            Family::RequestGrowth => {
                vec![Effect::RequestBytes { caller, callee: target, factor: self.growth }]
            }
            Family::SlowEntry => vec![Effect::OwnTime { service: 0, factor: more }],
            Family::Saturation => {
                vec![Effect::Load { service: target, factor: more.min(2.1) }]
            }
            Family::NoisyHost => vec![Effect::HostTime { factor: more }],
            Family::RetryStorm => vec![
                Effect::Errors { service: target, share: 0.5, added_ms: 8.0 * magnitude },
                Effect::Load { service: target, factor: 1.6 },
            ],
            Family::NPlusOne => vec![Effect::Repeat { caller, callee: target, times: 1.0 + more }],
            Family::TrafficSurge => vec![Effect::Traffic { factor: more.min(2.1) }],
            Family::MixShift => vec![Effect::Mix { operation: entry, factor: 6.0 }],
            Family::CacheMiss | Family::CacheCold => hits.into_iter().collect(),
            Family::DependencySlow | Family::CoincidentDeploy => vec![store],
            Family::NetworkDelay => vec![Effect::Gap { callee: target, added_ms: 8.0 * magnitude }],
            Family::TwoCauses => vec![own, store],
            Family::ErrorBurst => {
                vec![Effect::Errors { service: target, share: 0.2, added_ms: 30.0 * magnitude }]
            }
            Family::HealthySpike | Family::WeeklyPeak => {
                vec![Effect::OwnTime { service: target, factor: 2.5 }]
            }
            Family::TailSampling => vec![Effect::FastDropped { keep: 0.1 }],
            Family::TelemetryLoss => vec![Effect::SpansLost { service: target }],
            Family::HealthyDay | Family::HealthyBusy | Family::HealthyRefactor => Vec::new(),
            _ => vec![own],
        };
        let faults = effects.into_iter().map(|effect| self.fault(effect, host));
        match self.family {
            Family::WeeklyPeak => faults.flat_map(|fault| self.every_week(&fault)).collect(),
            _ => faults.collect(),
        }
    }

    /// The fault around the instant in question, and a week before.
    fn every_week(&self, fault: &Fault) -> [Fault; 2] {
        let (before, after) = PEAK;
        [self.at - WEEK, self.at].map(|instant| Fault {
            start: instant - before,
            end: instant + after,
            ..fault.clone()
        })
    }

    fn fault(&self, effect: Effect, host: usize) -> Fault {
        let scope = match (self.change, effect) {
            (_, Effect::HostTime { .. }) => Scope::Host(host),
            (_, Effect::StoreTime { .. }) | (None, _) => Scope::Everywhere,
            (Some(change), _) => Scope::Changed(change),
        };
        let mut fault = Fault { effect, scope, start: self.onset, ramp: 0, end: i64::MAX };
        match self.family {
            Family::Leak => {
                fault.start = self.at - LEAK;
                fault.ramp = LEAK;
            }
            Family::SlowGrowth => fault.ramp = self.at - self.onset,
            Family::HealthySpike => {
                fault.start = self.at - 40 * MINUTE;
                fault.end = fault.start + 3 * MINUTE;
            }
            _ => {}
        }
        fault
    }

    /// What is true: the causes, the first being the expected one.
    pub(crate) fn causes(&self, topology: &Topology) -> Vec<Cause> {
        let name = |service: usize| topology.services[service].name.clone();
        let Site { target, caller, database, .. } = self.site;
        let store = |index: usize| topology.stores[index].address.clone();
        let cause = |kind: &str, service: String, mechanisms: &[&str]| {
            Cause::new(kind, service, mechanisms)
        };
        let changed = |kind: &str, service: usize, mechanisms: &[&str]| {
            let change = self.change.map(|index| &self.changes.all[index]);
            cause(kind, name(service), mechanisms).of_change(change)
        };
        match self.family {
            Family::PayloadGrowth => vec![changed("deploy", target, &["response_payload_growth"])],
            Family::RequestGrowth => vec![changed("deploy", caller, &["request_payload_growth"])],
            Family::SlowCallee | Family::Canary | Family::UnrecordedDeploy => {
                vec![changed("deploy", target, &["slower_code"])]
            }
            Family::SlowEntry => vec![changed("deploy", 0, &["slower_code"])],
            Family::ConfigChange | Family::FeatureFlag => {
                vec![changed("config_change", target, &["slower_code"])]
            }
            Family::GcPressure | Family::Leak => {
                vec![changed("deploy", target, &["gc_pressure", "slower_code"])]
            }
            Family::LockContention => {
                vec![changed("deploy", target, &["lock_contention", "slower_code"])]
            }
            Family::SimultaneousDeploys => vec![changed("deploy", target, &["slower_code"])],
            Family::NPlusOne => vec![changed("deploy", caller, &["n_plus_one"])],
            Family::CacheMiss => vec![changed("deploy", target, &["cache_miss"])],
            Family::ErrorBurst => vec![changed("deploy", target, &["error_burst", "slower_code"])],
            Family::TwoCauses => vec![
                changed("deploy", target, &["slower_code"]),
                cause("dependency", store(database), &["slower_code", "queueing"]),
            ],
            Family::Saturation => vec![
                cause("saturation", name(target), &["queueing"]),
                cause("dependency", name(target), &["slower_code", "queueing"]),
            ],
            Family::TrafficSurge => vec![
                cause("traffic", name(target), &["queueing"]),
                cause("saturation", name(target), &["queueing"]),
            ],
            Family::NoisyHost => {
                vec![cause("host", topology.hosts[self.site.host].clone(), &["any"])]
            }
            Family::RetryStorm => vec![
                cause("retry_storm", name(target), &["retry_amplification", "error_burst"]),
                cause("dependency", name(target), &["error_burst", "retry_amplification"]),
            ],
            Family::CacheCold => {
                let cache = self.site.cache.unwrap_or(database);
                let also = cause("dependency", store(database), &["cache_miss"]);
                vec![cause("dependency", store(cache), &["cache_miss"]), also]
            }
            Family::DependencySlow | Family::CoincidentDeploy => {
                vec![cause("dependency", store(database), &["slower_code", "queueing", "none"])]
            }
            Family::CalleeSlowUnchanged
            | Family::UninstrumentedCallee
            | Family::DeployAfterOnset
            | Family::SlowGrowth
            | Family::NetworkDelay => vec![cause("dependency", name(target), &["any"])],
            _ => Vec::new(),
        }
    }
}

/// How long after the start of a rollout it shows: at once, or when a cache has run out, a timer has
/// fired, a queue has filled.
fn lag(random: &mut ChaCha8Rng) -> i64 {
    if random.random_bool(0.5) {
        random.random_range(0..60) * SECOND
    } else {
        random.random_range(2 * 60..18 * 60) * SECOND
    }
}

/// What a kilobyte costs those that call a service, in the order of the topology.
fn callers_costs(topology: &Topology, target: usize) -> Vec<f64> {
    let callers = topology.callers(target).into_iter();
    callers.map(|(s, o)| topology.services[s].operations[o].ms_per_kb.max(0.03)).collect()
}

/// A visit of a service in a request: service, operation, and who calls it.
#[derive(Clone, Copy, Debug)]
struct Visit {
    service: usize,
    operation: usize,
    caller: usize,
}

/// Chooses where it happens: a service below the entry that sends spans, called by one that does.
fn site(family: Family, topology: &mut Topology, random: &mut ChaCha8Rng) -> Site {
    let entries = 0..topology.services[0].operations.len();
    let entry = entries.max_by_key(|e| candidates(topology, *e).len()).unwrap_or(0);
    let found = candidates(topology, entry);
    let last = Visit { service: 0, operation: entry, caller: 0 };
    let chosen = found.choose(random).copied().unwrap_or(last);
    let needs_cache = matches!(family, Family::CacheMiss | Family::CacheCold);
    let (database, cache) = stores(topology, (chosen.service, chosen.operation), needs_cache);
    let mut others: Vec<usize> = found
        .iter()
        .map(|visit| visit.service)
        .filter(|service| *service != chosen.service && *service != chosen.caller)
        .collect();
    others.sort_unstable();
    others.dedup();
    others.shuffle(random);
    let instances = &topology.services[chosen.service].instances;
    let host = instances.choose(random).copied().unwrap_or(0);
    Site {
        entry,
        target: chosen.service,
        operation: chosen.operation,
        caller: chosen.caller,
        others,
        database,
        cache,
        host,
    }
}

fn candidates(topology: &Topology, entry: usize) -> Vec<Visit> {
    let mut found: Vec<Visit> = Vec::new();
    let mut open = vec![Visit { service: 0, operation: entry, caller: 0 }];
    while let Some(visit) = open.pop() {
        let operation: &Operation = &topology.services[visit.service].operations[visit.operation];
        for call in operation.steps.iter().flatten() {
            if let Target::Service { service, operation } = call.target {
                open.push(Visit { service, operation, caller: visit.service });
            }
        }
        let speaks = |service: usize| topology.services[service].is_instrumented;
        let is_new = !found.iter().any(|other| other.service == visit.service);
        if visit.service != 0 && is_new && speaks(visit.service) && speaks(visit.caller) {
            found.push(visit);
        }
    }
    found
}

/// A database that an operation asks, behind a cache if there must be one; added where there is none.
fn stores(
    topology: &mut Topology,
    at: (usize, usize),
    needs_cache: bool,
) -> (usize, Option<usize>) {
    let operation = &topology.services[at.0].operations[at.1];
    let targets = operation.steps.iter().flatten().map(|call| call.target);
    let mut known = targets.filter(|target| !matches!(target, Target::Service { .. }));
    match known.next() {
        Some(Target::Cached { cache, database }) => return (database, Some(cache)),
        Some(Target::Database(database)) if !needs_cache => return (database, None),
        _ => {}
    }
    let stem = topology.services[at.0].name.split('-').next().unwrap_or("main").to_owned();
    let add = |topology: &mut Topology, kind: &str, (system, median_ms, hit_share)| {
        topology.stores.push(Store {
            address: format!("{stem}-{kind}"),
            system,
            median_ms,
            hit_share,
        });
        topology.stores.len() - 1
    };
    let database = add(topology, "store-db", ("postgresql", 4.0, 1.0));
    let cache = needs_cache.then(|| add(topology, "store-cache", ("redis", 0.5, 0.92)));
    let target = match cache {
        Some(cache) => Target::Cached { cache, database },
        None => Target::Database(database),
    };
    topology.services[at.0].operations[at.1].steps.push(vec![Call { target, times: 1 }]);
    (database, cache)
}
