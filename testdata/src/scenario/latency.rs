//! How long the parts of a checkout take, before and during the inflation.
//!
//! ```text
//! POST /checkout  |--auth_check--|------------inventory_check------------|--serialise_response--|
//!                                |--order_query--|----payment_call-------|
//! ```
//!
//! Every part is lognormal. A call is the callee's own time plus a gap: the network and, mostly,
//! checkout reading and decoding the answer. Payment and auth do not change, so payment's client
//! span grows in the gap alone. The medians are the story's; the two spreads that the story leaves
//! open (payment's before, serialising during) were solved for the parent's 240 and 1,400 ms at the
//! 99th percentile, and `tests.rs` holds the model to all of them.
//!
//! A part that allocates little pays little of the collector's assists: auth and the cheap
//! operation stay as they are while the process is under pressure.
//!
//! During the inflation a request pays for a collection cycle while it decodes or while it
//! serialises, seldom in both: the two are anti-correlated, and their tails do not coincide.

use super::timeline::MINUTE;
use rand::Rng;
use rand_distr::StandardNormal;

/// Spread of the body sizes of inventory's responses, as a sigma of the logarithm.
const SIZE_SIGMA: f64 = 0.12;
/// Median size of inventory's responses before the inflation: 8 KB.
const SIZE_SMALL: f64 = 8_000.0;
/// And during it: 85 KB.
const SIZE_LARGE: f64 = 85_000.0;
/// Spread of what a whole minute has in common.
const MINUTE_SIGMA: f64 = 0.02;
/// After the rollback all is slightly faster than before the deploy: 235 ms, not 240 ms.
const RECOVERED: f64 = 0.979;
/// A checkout pays this much of the inflation through the process that all requests share, the
/// rest through its own response.
const SHARED: f64 = 0.5;

/// A lognormal duration.
#[derive(Clone, Copy, Debug)]
struct Part {
    median_ms: f64,
    sigma: f64,
    /// By how much the logarithm follows the logarithm of the response's size.
    elasticity: f64,
}

const fn part(median_ms: f64, sigma: f64) -> Part {
    Part { median_ms, sigma, elasticity: 0.0 }
}

const fn sized(median_ms: f64, sigma: f64, elasticity: f64) -> Part {
    Part { median_ms, sigma, elasticity }
}

/// A call to another service: what the callee takes, and the rest of the client's span.
#[derive(Clone, Copy, Debug)]
struct CallParts {
    server: Part,
    gap: Part,
}

#[derive(Clone, Copy, Debug)]
struct Regime {
    before: Part,
    auth: CallParts,
    inventory: CallParts,
    order_query: Part,
    payment: CallParts,
    serialise: Part,
    after: Part,
    /// Correlation of inventory's gap with serialising.
    gap_serialise: f64,
}

const AUTH: CallParts = CallParts { server: part(3.4, 0.22), gap: part(1.553, 0.22) };
const PAYMENT_SERVER: Part = part(77.35, 0.4036);

const HEALTHY: Regime = Regime {
    before: part(0.7, 0.3),
    auth: AUTH,
    inventory: CallParts { server: sized(65.33, 0.28, 0.25), gap: sized(14.0, 0.28, 0.6) },
    order_query: part(12.0, 0.35),
    payment: CallParts { server: PAYMENT_SERVER, gap: part(12.0, 0.3) },
    serialise: sized(8.0, 0.3, 0.6),
    after: part(0.6, 0.3),
    gap_serialise: 0.0,
};

const INFLATED: Regime = Regime {
    before: part(3.0, 0.3),
    auth: AUTH,
    inventory: CallParts { server: sized(190.0, 0.1, 0.25), gap: sized(658.9, 0.065, 0.25) },
    order_query: part(340.0, 0.2),
    payment: CallParts { server: PAYMENT_SERVER, gap: part(196.4, 0.25) },
    serialise: sized(340.0, 0.1994, 0.3),
    after: part(4.0, 0.3),
    gap_serialise: -0.7,
};

/// Time between two parts.
const PAUSE_MS: f64 = 0.15;
/// A callee starts this share of the gap after the client's span.
const SEND_SHARE: f64 = 0.2;

/// What a checkout meets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    /// How far checkout is under pressure, 0 to 1.
    pub(crate) pressure: f64,
    /// Whether inventory answers with a large body.
    pub(crate) is_large: bool,
    /// Whether the incident is over.
    pub(crate) has_recovered: bool,
    /// What this minute's requests have in common; see [`MinuteFactors`].
    pub(crate) minute_factor: f64,
}

impl Conditions {
    /// How much of the inflation this request pays, 0 to 1.
    fn inflation(&self) -> f64 {
        SHARED * self.pressure + (1.0 - SHARED) * f64::from(u8::from(self.is_large))
    }
}

/// When a part runs, in nanoseconds from the start of the request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stretch {
    pub(crate) start: i64,
    pub(crate) duration: i64,
}

/// A call, seen by the client and by the server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Call {
    pub(crate) client: Stretch,
    pub(crate) server: Stretch,
}

/// A checkout.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CheckoutTimes {
    pub(crate) total: i64,
    pub(crate) auth: Call,
    pub(crate) inventory: Call,
    pub(crate) order_query: Stretch,
    pub(crate) payment: Call,
    pub(crate) serialise: Stretch,
    /// Body of inventory's response.
    pub(crate) inventory_bytes: i64,
}

/// The random numbers of one checkout: the same count whatever the conditions, so that variants
/// share them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draw {
    size: f64,
    before: f64,
    auth: [f64; 2],
    inventory: [f64; 2],
    order_query: f64,
    payment: [f64; 2],
    serialise: f64,
    after: f64,
}

impl Draw {
    pub(crate) fn new(random: &mut impl Rng) -> Self {
        let mut normal = || random.sample(StandardNormal);
        Self {
            size: normal(),
            before: normal(),
            auth: [normal(), normal()],
            inventory: [normal(), normal()],
            order_query: normal(),
            payment: [normal(), normal()],
            serialise: normal(),
            after: normal(),
        }
    }

    pub(crate) fn times(&self, conditions: &Conditions) -> CheckoutTimes {
        let regime = Regime::between(conditions.inflation());
        let factor =
            conditions.minute_factor * if conditions.has_recovered { RECOVERED } else { 1.0 };
        let size = SIZE_SIGMA * self.size;
        let take = |part: Part, z: f64| factor * part.at(z, size);
        let shared = regime.gap_serialise;
        let serialise_z =
            shared * self.inventory[1] + (1.0 - shared * shared).sqrt() * self.serialise;

        let auth_start = take(regime.before, self.before);
        let auth = CallMs::new(auth_start, regime.auth, self.auth, take);
        let fork = auth.end() + PAUSE_MS;
        let inventory = CallMs::new(fork, regime.inventory, self.inventory, take);
        let order_query = take(regime.order_query, self.order_query);
        let payment_start = fork + order_query + PAUSE_MS;
        let payment = CallMs::new(payment_start, regime.payment, self.payment, take);
        let join = inventory.end().max(payment.end()) + PAUSE_MS;
        let serialise = take(regime.serialise, serialise_z);
        let median = if conditions.is_large { SIZE_LARGE } else { SIZE_SMALL };
        CheckoutTimes {
            total: nanos(join + serialise + take(regime.after, self.after)),
            auth: auth.call(),
            inventory: inventory.call(),
            order_query: stretch(fork, order_query),
            payment: payment.call(),
            serialise: stretch(join, serialise),
            inventory_bytes: whole(median * size.exp()),
        }
    }
}

/// A call in milliseconds.
#[derive(Clone, Copy, Debug)]
struct CallMs {
    start: f64,
    server: f64,
    gap: f64,
}

impl CallMs {
    fn new(start: f64, parts: CallParts, z: [f64; 2], take: impl Fn(Part, f64) -> f64) -> Self {
        Self { start, server: take(parts.server, z[0]), gap: take(parts.gap, z[1]) }
    }

    fn end(&self) -> f64 {
        self.start + self.server + self.gap
    }

    fn call(&self) -> Call {
        Call {
            client: stretch(self.start, self.server + self.gap),
            server: stretch(self.start + SEND_SHARE * self.gap, self.server),
        }
    }
}

impl Part {
    /// The duration for a standard normal number and a logarithm of the size over its median.
    fn at(self, z: f64, size: f64) -> f64 {
        self.median_ms * (self.sigma * z + self.elasticity * size).exp()
    }

    /// Geometric mean of the medians, arithmetic of the spreads.
    fn between(healthy: Self, inflated: Self, inflation: f64) -> Self {
        let mix = |from: f64, to: f64| from + (to - from) * inflation;
        Self {
            median_ms: mix(healthy.median_ms.ln(), inflated.median_ms.ln()).exp(),
            sigma: mix(healthy.sigma, inflated.sigma),
            elasticity: mix(healthy.elasticity, inflated.elasticity),
        }
    }
}

impl CallParts {
    fn between(healthy: Self, inflated: Self, inflation: f64) -> Self {
        Self {
            server: Part::between(healthy.server, inflated.server, inflation),
            gap: Part::between(healthy.gap, inflated.gap, inflation),
        }
    }
}

impl Regime {
    fn between(inflation: f64) -> Self {
        if inflation <= 0.0 {
            return HEALTHY;
        }
        if inflation >= 1.0 {
            return INFLATED;
        }
        let mix = |from, to| Part::between(from, to, inflation);
        let call = |from, to| CallParts::between(from, to, inflation);
        Self {
            before: mix(HEALTHY.before, INFLATED.before),
            auth: AUTH,
            inventory: call(HEALTHY.inventory, INFLATED.inventory),
            order_query: mix(HEALTHY.order_query, INFLATED.order_query),
            payment: call(HEALTHY.payment, INFLATED.payment),
            serialise: mix(HEALTHY.serialise, INFLATED.serialise),
            after: mix(HEALTHY.after, INFLATED.after),
            gap_serialise: INFLATED.gap_serialise * inflation,
        }
    }
}

/// What the requests of each minute have in common: durations are multiplied with it.
#[derive(Debug)]
pub(crate) struct MinuteFactors {
    start: i64,
    factors: Vec<f64>,
}

impl MinuteFactors {
    /// One factor for every minute of `[start, end)`.
    pub(crate) fn new(start: i64, end: i64, random: &mut impl Rng) -> Self {
        let factors = (0..(end - start).div_euclid(MINUTE))
            .map(|_| lognormal(1.0, MINUTE_SIGMA, random))
            .collect();
        Self { start, factors }
    }

    pub(crate) fn at(&self, instant: i64) -> f64 {
        let minute = (instant - self.start).div_euclid(MINUTE);
        usize::try_from(minute).ok().and_then(|minute| self.factors.get(minute)).map_or(1.0, |f| *f)
    }
}

/// A lognormal number.
pub(crate) fn lognormal(median: f64, sigma: f64, random: &mut impl Rng) -> f64 {
    let z: f64 = random.sample(StandardNormal);
    median * (sigma * z).exp()
}

fn stretch(start_ms: f64, duration_ms: f64) -> Stretch {
    Stretch { start: nanos(start_ms), duration: nanos(duration_ms) }
}

/// Whole nanoseconds of a duration in milliseconds.
pub(crate) fn nanos(milliseconds: f64) -> i64 {
    whole(milliseconds * 1e6)
}

/// The nearest whole number.
#[expect(clippy::cast_possible_truncation, reason = "durations and sizes lie far inside i64")]
pub(crate) fn whole(number: f64) -> i64 {
    number.round() as i64
}

#[cfg(test)]
mod tests;
