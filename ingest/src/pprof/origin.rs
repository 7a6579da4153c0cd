//! Whose profile it is, its time, period and identity.

use upriver_store::time::{NANOS_PER_SECOND, UnixNanos};
use xxhash_rust::xxh3::Xxh3;

use super::message::{LoggedProfile, Profile};
use super::upload::{ENVIRONMENT, INSTANCE, VERSION};
use crate::profiles::rows::Origin;

/// What a logged profile says of itself.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) origin: Origin,
    /// From the sender's sampling rate; used where the profile has no period.
    pub(super) sample_period_ns: i64,
}

impl Logged {
    /// `raw` is the unpacked profile. The start is the profile's own, else the sender's `from`, else
    /// the arrival.
    pub(super) fn new(
        logged: LoggedProfile,
        raw: &[u8],
        profile: &Profile,
        received: UnixNanos,
    ) -> Self {
        let own_start = (profile.time_nanos > 0).then_some(profile.time_nanos);
        let start = UnixNanos(own_start.or(logged.from_unix_nano).unwrap_or(received.0));
        let profile_id = profile_id(&logged, start, raw);
        let sent_duration = match (logged.from_unix_nano, logged.until_unix_nano) {
            (Some(from), Some(until)) => until.saturating_sub(from).max(0),
            _ => 0,
        };
        let own_duration = (profile.duration_nanos > 0).then_some(profile.duration_nanos);
        let mut labels = logged.labels;
        let origin = Origin {
            service: logged.service,
            version: labels.remove(VERSION),
            environment: labels.remove(ENVIRONMENT),
            instance: labels.remove(INSTANCE),
            labels,
            start,
            duration_ns: own_duration.unwrap_or(sent_duration),
            profile_id,
        };
        let sample_period_ns =
            NANOS_PER_SECOND.checked_div(i64::from(logged.sample_rate)).unwrap_or_default();
        Self { origin, sample_period_ns }
    }
}

/// The same profile of the same sender has the same id, whether it came as gzip or raw.
fn profile_id(logged: &LoggedProfile, start: UnixNanos, raw: &[u8]) -> i64 {
    let mut hash = Xxh3::new();
    let mut add = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    add(logged.service.as_bytes());
    for (name, value) in &logged.labels {
        add(name.as_bytes());
        add(value.as_bytes());
    }
    add(&start.0.to_le_bytes());
    add(raw);
    hash.digest().cast_signed()
}
