//! What holds at an instant: how long work takes, how large bodies are, how much traffic there is.

use super::changes::Changes;
use super::clock::{Clock, HOUR};
use super::faults::{Effect, Fault, Scope, Weather, factor_at};
use super::topology::Topology;

/// No queue grows beyond what this share of the capacity gives.
const UTILISATION_MAX: f64 = 0.96;
/// How much traffic differs between day and night.
const DAILY: f64 = 0.1;

/// Everything that a request meets.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) topology: Topology,
    pub(crate) changes: Changes,
    pub(crate) faults: Vec<Fault>,
    pub(crate) weather: Weather,
    pub(crate) clock: Clock,
    /// Requests per second at the entry, and the weight of each of its operations.
    pub(crate) rate: f64,
    pub(crate) mix: Vec<f64>,
    /// What nine in ten requests with the symptom take less than, when nothing is wrong.
    pub(crate) slow_from: i64,
    /// Whether clients put the route into the names of their spans.
    pub(crate) clients_know_routes: bool,
    /// Share of the traces that is kept, said in `tracestate`.
    pub(crate) sampled: f64,
    /// How much requests differ in what they ask for.
    pub(crate) scatter: f64,
    /// How far clocks are off, by host.
    pub(crate) skew: Vec<i64>,
}

impl World {
    /// Strength of a fault on an instance.
    fn strength(&self, fault: &Fault, (service, instance): (usize, usize), instant: i64) -> f64 {
        let is_in_scope = match fault.scope {
            Scope::Everywhere => true,
            Scope::Changed(change) => {
                let change = &self.changes.all[change];
                let is_tried_out = fault.start < self.clock.start;
                change.is_on(instance, instant) || (is_tried_out && instance < change.instances)
            }
            Scope::Host(host) => self.topology.services[service].instances[instance] == host,
        };
        if is_in_scope { fault.strength(instant) } else { 0.0 }
    }

    /// Product of the factors that `pick` finds in effects.
    fn product(
        &self,
        at: (usize, usize),
        instant: i64,
        pick: impl Fn(&Effect) -> Option<f64>,
    ) -> f64 {
        let factors = self.faults.iter().filter_map(|fault| {
            Some(factor_at(pick(&fault.effect)?, self.strength(fault, at, instant)))
        });
        factors.product()
    }

    /// Sum of what `pick` finds in effects that are everywhere.
    fn sum(&self, instant: i64, pick: impl Fn(&Effect) -> Option<f64>) -> f64 {
        let values =
            self.faults.iter().filter_map(|f| Some(pick(&f.effect)? * f.strength(instant)));
        values.sum()
    }

    /// How many times its median an instance's own work takes.
    pub(crate) fn own_factor(&self, at: (usize, usize), instant: i64) -> f64 {
        let of_faults = self.product(at, instant, |effect| match effect {
            Effect::OwnTime { service, factor } if *service == at.0 => Some(*factor),
            Effect::HostTime { factor } => Some(*factor),
            _ => None,
        });
        self.weather.factor(at.0, instant) * of_faults * self.queue_factor(at.0, instant)
    }

    /// What waiting adds as load nears the capacity: 1 / (1 - utilisation), as in M/M/1.
    fn queue_factor(&self, service: usize, instant: i64) -> f64 {
        let load = self.product((service, 0), instant, |effect| match effect {
            Effect::Load { service: loaded, factor } if *loaded == service => Some(*factor),
            Effect::Traffic { factor } => Some(*factor),
            _ => None,
        });
        let usual = self.topology.services[service].utilisation;
        (1.0 - usual) / (1.0 - (usual * load).min(UTILISATION_MAX))
    }

    /// Utilisation of a service's processors, for its metrics.
    pub(crate) fn utilisation(&self, service: usize, instant: i64) -> f64 {
        let usual = self.topology.services[service].utilisation;
        1.0 - (1.0 - usual) / self.queue_factor(service, instant)
    }

    pub(crate) fn response_factor(&self, at: (usize, usize), instant: i64) -> f64 {
        self.product(at, instant, |effect| match effect {
            Effect::ResponseBytes { service, factor } if *service == at.0 => Some(*factor),
            _ => None,
        })
    }

    pub(crate) fn request_factor(&self, at: (usize, usize), to: usize, instant: i64) -> f64 {
        self.product(at, instant, |effect| match effect {
            Effect::RequestBytes { caller, callee, factor } if (*caller, *callee) == (at.0, to) => {
                Some(*factor)
            }
            _ => None,
        })
    }

    pub(crate) fn repeat_factor(&self, at: (usize, usize), to: usize, instant: i64) -> f64 {
        self.product(at, instant, |effect| match effect {
            Effect::Repeat { caller, callee, times } if (*caller, *callee) == (at.0, to) => {
                Some(*times)
            }
            _ => None,
        })
    }

    pub(crate) fn hit_share(&self, cache: usize, at: (usize, usize), instant: i64) -> f64 {
        let usual = self.topology.stores[cache].hit_share;
        usual
            * self.product(at, instant, |effect| match effect {
                Effect::Hits { cache: cold, factor } if *cold == cache => Some(*factor),
                _ => None,
            })
    }

    pub(crate) fn store_ms(&self, store: usize, instant: i64) -> f64 {
        let factor = self.product((0, 0), instant, |effect| match effect {
            Effect::StoreTime { store: slow, factor } if *slow == store => Some(*factor),
            _ => None,
        });
        self.topology.stores[store].median_ms * factor
    }

    pub(crate) fn gap_ms(&self, callee: usize, instant: i64) -> f64 {
        self.sum(instant, |effect| match effect {
            Effect::Gap { callee: far, added_ms } if *far == callee => Some(*added_ms),
            _ => None,
        })
    }

    /// Share of failing requests and what a failure takes longer, beyond the usual.
    pub(crate) fn errors(&self, at: (usize, usize), instant: i64) -> (f64, f64) {
        let failing = self.faults.iter().filter_map(|fault| match fault.effect {
            Effect::Errors { service, share, added_ms } if service == at.0 => {
                Some((share * self.strength(fault, at, instant), added_ms))
            }
            _ => None,
        });
        failing.fold((0.0, 0.0), |sum, next| (sum.0 + next.0, f64::max(sum.1, next.1)))
    }

    /// Requests per second at the entry.
    pub(crate) fn rate_at(&self, instant: i64) -> f64 {
        let turn = (instant.rem_euclid(24 * HOUR)) as f64 / (24 * HOUR) as f64;
        let daily = 1.0 + DAILY * (std::f64::consts::TAU * (turn - 0.4)).sin();
        let surge = self.product((0, 0), instant, |effect| match effect {
            Effect::Traffic { factor } => Some(*factor),
            _ => None,
        });
        self.rate * daily * surge
    }

    /// Weight of each operation of the entry.
    pub(crate) fn mix_at(&self, instant: i64) -> Vec<f64> {
        let mut mix = self.mix.clone();
        for fault in &self.faults {
            if let Effect::Mix { operation, factor } = fault.effect {
                mix[operation] *= factor_at(factor, fault.strength(instant));
            }
        }
        mix
    }

    /// Chance that a trace of a faster request than usual is kept.
    pub(crate) fn fast_kept(&self, instant: i64) -> f64 {
        self.product((0, 0), instant, |effect| match effect {
            Effect::FastDropped { keep } => Some(*keep),
            _ => None,
        })
    }

    pub(crate) fn loses_spans(&self, service: usize, instant: i64) -> bool {
        let lost = self.sum(instant, |effect| match effect {
            Effect::SpansLost { service: of } if *of == service => Some(1.0),
            _ => None,
        });
        lost > 0.5
    }
}
