//! Instants and windows as documents print them.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use upriver_analyze::UnixNanos;
use upriver_analyze::literal;

/// Nanoseconds in a second.
pub(crate) const SECOND: i64 = 1_000_000_000;
/// Nanoseconds in a minute, the width of a rollup row.
pub(crate) const MINUTE: i64 = 60 * SECOND;
/// Nanoseconds in an hour.
pub(crate) const HOUR: i64 = 60 * MINUTE;
/// Nanoseconds in a day.
const DAY: i64 = 24 * HOUR;
/// Nanoseconds in a week.
pub(crate) const WEEK: i64 = 7 * DAY;

/// An instant, in documents RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub UnixNanos);

impl Time {
    /// Nanoseconds since 1970.
    pub fn nanos(self) -> i64 {
        self.0.0
    }

    pub(crate) fn of(nanos: i64) -> Self {
        Self(UnixNanos(nanos))
    }

    /// The instant without fractions of microseconds, which documents do not print.
    pub(crate) fn whole_micros(self) -> Self {
        Self::of(self.nanos().div_euclid(1_000) * 1_000)
    }

    /// The instant as a SQL literal.
    pub(crate) fn sql(self) -> String {
        literal::timestamp(self.0)
    }

    /// `10:31` or, with seconds that are not zero, `10:31:20`, in UTC.
    pub fn clock(self) -> String {
        self.format(if self.nanos().rem_euclid(MINUTE) < SECOND { "%H:%M" } else { "%H:%M:%S" })
    }

    /// The time of day in UTC, with the day where it is another one than that of `reference`.
    pub(crate) fn clock_beside(self, reference: Self) -> String {
        if self.day() == reference.day() {
            return self.clock();
        }
        format!("{} {}", self.format("%-d %b"), self.clock())
    }

    fn day(self) -> i64 {
        self.nanos().div_euclid(DAY)
    }

    fn format(self, pattern: &str) -> String {
        Timestamp::from_microsecond(self.0.micros())
            .map_or_else(|_| self.to_string(), |t| t.strftime(pattern).to_string())
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&literal::rfc3339(self.0))
    }
}

impl std::ops::Add<i64> for Time {
    type Output = Self;

    fn add(self, nanos: i64) -> Self {
        Self::of(self.nanos().saturating_add(nanos))
    }
}

impl std::ops::Sub<i64> for Time {
    type Output = Self;

    fn sub(self, nanos: i64) -> Self {
        Self::of(self.nanos().saturating_sub(nanos))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time: Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        i64::try_from(time.as_nanosecond()).map(Self::of).map_err(serde::de::Error::custom)
    }
}

/// A span of time, `[start, end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// First instant.
    pub start: Time,
    /// End, exclusive.
    pub end: Time,
}

impl Window {
    /// The window between two instants; empty if they are the wrong way round.
    pub fn new(start: Time, end: Time) -> Self {
        Self { start, end: end.max(start) }
    }

    /// Length in seconds.
    pub fn seconds(&self) -> f64 {
        (self.end.nanos() - self.start.nanos()) as f64 / SECOND as f64
    }

    /// Length in nanoseconds.
    pub(crate) fn nanos(&self) -> i64 {
        self.end.nanos() - self.start.nanos()
    }

    /// Its times of day in UTC, with the day where it is another one than that of `reference`.
    pub(crate) fn clocks(&self, reference: Time) -> String {
        format!("{}-{}", self.start.clock_beside(reference), self.end.clock_beside(self.start))
    }

    /// The window shifted back in time.
    pub(crate) fn earlier(&self, nanos: i64) -> Self {
        Self { start: self.start - nanos, end: self.end - nanos }
    }
}

/// What a comparison reads: the window in question, the one it is held against, and the instant at
/// or after which nothing that ended is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Periods {
    pub(crate) now: Window,
    pub(crate) before: Window,
    pub(crate) at: Time,
}

/// A duration in nanoseconds.
pub(crate) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
