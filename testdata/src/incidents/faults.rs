//! What can go wrong, where and when, as effects on a simulated request.

use super::clock::MINUTE;

/// An effect with its time.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) effect: Effect,
    pub(crate) scope: Scope,
    pub(crate) start: i64,
    /// How long it takes to full strength.
    pub(crate) ramp: i64,
    pub(crate) end: i64,
}

/// Which instances show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Everywhere,
    /// Those that run what a change brought.
    Changed(usize),
    Host(usize),
}

/// What is different.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Effect {
    /// The service's own work takes this many times as long.
    OwnTime {
        service: usize,
        factor: f64,
    },
    /// All work on the scope's host.
    HostTime {
        factor: f64,
    },
    ResponseBytes {
        service: usize,
        factor: f64,
    },
    /// Bodies that one service sends to another.
    RequestBytes {
        caller: usize,
        callee: usize,
        factor: f64,
    },
    /// A call is made this many times as often.
    Repeat {
        caller: usize,
        callee: usize,
        times: f64,
    },
    /// A cache answers this share of what it answered.
    Hits {
        cache: usize,
        factor: f64,
    },
    StoreTime {
        store: usize,
        factor: f64,
    },
    /// Between the client's span and the server's.
    Gap {
        callee: usize,
        added_ms: f64,
    },
    /// A share of the requests fails, after so much more time.
    Errors {
        service: usize,
        share: f64,
        added_ms: f64,
    },
    /// Requests at the entry.
    Traffic {
        factor: f64,
    },
    /// One operation of the entry is asked for this many times as often, the others less.
    Mix {
        operation: usize,
        factor: f64,
    },
    /// The service takes this many times the share of its capacity.
    Load {
        service: usize,
        factor: f64,
    },
    /// All but the slowest requests are kept with this chance only, and nobody says so.
    FastDropped {
        keep: f64,
    },
    /// Spans of the service get lost.
    SpansLost {
        service: usize,
    },
}

impl Fault {
    /// From 0 before it to 1 at full strength.
    pub(crate) fn strength(&self, instant: i64) -> f64 {
        if instant < self.start || instant >= self.end {
            return 0.0;
        }
        if self.ramp == 0 {
            return 1.0;
        }
        ((instant - self.start) as f64 / self.ramp as f64).min(1.0)
    }

    /// At full strength at any time, for trying out how large an effect is.
    pub(crate) fn always(&self) -> Self {
        Self { start: i64::MIN / 2, ramp: 0, end: i64::MAX, ..self.clone() }
    }
}

/// A factor that is 1 without strength.
pub(crate) fn factor_at(factor: f64, strength: f64) -> f64 {
    1.0 + (factor - 1.0) * strength
}

/// Noise of a service's own time: minutes resemble their neighbours, and some are bad.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    start: i64,
    /// Factor of each minute, by service.
    minutes: Vec<Vec<f64>>,
}

/// How strongly a minute resembles the one before it.
const MEMORY: f64 = 0.6;
/// Chance that a spike begins in a minute; it lasts one to three.
const SPIKE: f64 = 1.0 / 480.0;

impl Weather {
    pub(crate) fn random(
        services: usize,
        (start, end): (i64, i64),
        sigma: f64,
        random: &mut rand_chacha::ChaCha8Rng,
    ) -> Self {
        use rand::Rng;
        use rand_distr::{Distribution, StandardNormal};
        let count = usize::try_from((end - start) / MINUTE + 2).unwrap_or(0);
        let fresh = sigma * (1.0 - MEMORY * MEMORY).sqrt();
        let minutes = (0..services)
            .map(|_| {
                let (mut level, mut spike, mut left) = (0.0, 1.0, 0);
                (0..count)
                    .map(|_| {
                        let normal: f64 = StandardNormal.sample(random);
                        level = MEMORY * level + fresh * normal;
                        if left == 0 && random.random_bool(SPIKE) {
                            left = random.random_range(1..=3);
                            spike = random.random_range(1.4..2.4);
                        }
                        let bad = if left > 0 { spike } else { 1.0 };
                        left = left.max(1) - 1;
                        level.exp() * bad
                    })
                    .collect()
            })
            .collect();
        Self { start, minutes }
    }

    pub(crate) fn factor(&self, service: usize, instant: i64) -> f64 {
        let minute = usize::try_from((instant - self.start) / MINUTE).unwrap_or(0);
        let minutes = &self.minutes[service];
        minutes[minute.min(minutes.len() - 1)]
    }
}
