//! How much each sender may send: a token bucket per key and per address.
//!
//! A bucket is one instant, the one at which it will be full again (the generic cell rate algorithm of
//! ITU-T I.371), so that it needs no timer. What a request costs may only be known once it was read; it
//! is then taken all the same, and the sender waits until the debt is paid off.
//!
//! The limiter cannot decide about a sender that it has no bucket for and no room to make one: so many
//! others are being limited just now. All such senders share one bucket. This keeps memory bounded and
//! the service protected; who was known before is not affected.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[cfg(test)]
mod tests;

/// Senders that are limited at the same time, each with a bucket of its own: at 64 bytes about 4 MiB.
const BUCKETS_MAX: usize = 1 << 16;

/// What a request costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sizer {
    /// One.
    #[default]
    Requests,
    /// The spans, data points, log records, samples or changes in it.
    Items,
    /// The bytes of its body as sent.
    Bytes,
}

/// How much senders may send. The defaults are those of the product's description: 1,000 requests per
/// second for a sender that is known, 100 for one that is not, and bursts up to 5,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// Per second, for each key and each client certificate.
    pub per_sender: u64,
    /// Per second, for each address without either.
    pub per_address: u64,
    /// What may come at once after a pause.
    pub burst: u64,
    /// Whether senders on this machine are limited too.
    pub loopback: bool,
    /// What is counted.
    pub sizer: Sizer,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            per_sender: 1_000,
            per_address: 100,
            burst: 5_000,
            loopback: false,
            sizer: Sizer::Requests,
        }
    }
}

/// Whose bucket it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum BucketOf {
    /// A key or certificate, by name.
    Sender(Arc<str>),
    /// An address; the /64 network of an IPv6 one, since a host has all of it.
    Address(IpAddr),
    /// Everybody whom there is no room for.
    Rest,
}

impl BucketOf {
    /// The bucket of an address.
    pub(super) fn address(address: IpAddr) -> Self {
        const NETWORK: u128 = u128::MAX << 64;
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() & NETWORK).into()),
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// How a sender stands after a request was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// What it may still send at once.
    pub(super) remaining: u64,
    /// When the bucket is full again.
    pub(super) full_in: Duration,
    /// What a full bucket holds, and the time in which an empty one fills.
    pub(super) quota: (u64, Duration),
}

/// The buckets.
#[derive(Debug)]
pub(super) struct RateLimiter {
    limits: RateLimits,
    buckets_max: usize,
    /// When each bucket is full again, by a clock that only goes forward.
    full_at: Mutex<HashMap<BucketOf, Duration>>,
}

impl RateLimiter {
    pub(super) fn new(limits: RateLimits) -> Self {
        Self::with_room_for(BUCKETS_MAX, limits)
    }

    fn with_room_for(buckets_max: usize, limits: RateLimits) -> Self {
        Self { limits, buckets_max, full_at: Mutex::default() }
    }

    pub(super) fn limits(&self) -> &RateLimits {
        &self.limits
    }

    /// Lets a request in or says how long to wait. Where requests are not what is counted, it is let in
    /// as long as something is left; what it costs is charged later.
    pub(super) fn admit(&self, bucket: BucketOf, now: Duration) -> Result<Standing, Duration> {
        let mut buckets = self.lock();
        let bucket = self.with_room(&mut buckets, bucket, now);
        let (rate, burst) = (self.rate(&bucket), self.limits.burst);
        let one = time_for(1, rate);
        let cost = match self.limits.sizer {
            Sizer::Requests => one,
            Sizer::Items | Sizer::Bytes => Duration::ZERO,
        };
        let allowed = time_for(burst, rate);
        let full_at = buckets.entry(bucket).or_default();
        let used = full_at.saturating_sub(now);
        let wait = used.saturating_add(one).saturating_sub(allowed);
        if !wait.is_zero() {
            return Err(wait);
        }
        let used = used.saturating_add(cost);
        *full_at = now.saturating_add(used);
        Ok(Standing {
            remaining: units_in(allowed.saturating_sub(used), rate),
            full_in: used,
            quota: (burst, allowed),
        })
    }

    /// Takes what a request turned out to cost, whether it is there or not.
    pub(super) fn charge(&self, bucket: BucketOf, units: u64, now: Duration) {
        let mut buckets = self.lock();
        let bucket = self.with_room(&mut buckets, bucket, now);
        let cost = time_for(units, self.rate(&bucket));
        let full_at = buckets.entry(bucket).or_default();
        *full_at = (*full_at).max(now).saturating_add(cost);
    }

    /// Senders that are being limited.
    pub(super) fn buckets(&self) -> usize {
        self.lock().len()
    }

    fn rate(&self, bucket: &BucketOf) -> u64 {
        match bucket {
            BucketOf::Sender(_) => self.limits.per_sender,
            BucketOf::Address(_) | BucketOf::Rest => self.limits.per_address,
        }
    }

    /// The bucket itself, or the one of all for whom there is no room.
    fn with_room(
        &self,
        buckets: &mut HashMap<BucketOf, Duration>,
        bucket: BucketOf,
        now: Duration,
    ) -> BucketOf {
        if buckets.contains_key(&bucket) {
            return bucket;
        }
        if buckets.len() >= self.buckets_max {
            // A full bucket is as good as none.
            buckets.retain(|_, full_at| *full_at > now);
        }
        if buckets.len() < self.buckets_max { bucket } else { BucketOf::Rest }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BucketOf, Duration>> {
        self.full_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const NANOS: u128 = 1_000_000_000;

/// The time in which so many units are earned.
fn time_for(units: u64, rate: u64) -> Duration {
    let nanos = u128::from(units).saturating_mul(NANOS).div_ceil(u128::from(rate.max(1)));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// The units that are earned in a time.
fn units_in(time: Duration, rate: u64) -> u64 {
    let units = time.as_nanos().saturating_mul(u128::from(rate)).checked_div(NANOS);
    units.and_then(|units| u64::try_from(units).ok()).unwrap_or(u64::MAX)
}
