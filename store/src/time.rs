//! Instants as OpenTelemetry sends them: nanoseconds since 1970 in UTC.

/// Nanoseconds in a minute, the width of a rollup row.
pub const NANOS_PER_MINUTE: i64 = 60 * NANOS_PER_SECOND;
/// Nanoseconds in a second.
pub const NANOS_PER_SECOND: i64 = 1_000_000_000;
const NANOS_PER_DAY: i64 = 24 * 60 * NANOS_PER_MINUTE;

/// An instant in nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixNanos(pub i64);

impl UnixNanos {
    /// An unsigned instant from the wire; beyond the year 2262 it saturates.
    pub fn from_wire(nanos: u64) -> Self {
        Self(i64::try_from(nanos).unwrap_or(i64::MAX))
    }

    /// Microseconds since 1970, rounded down: the `time` column.
    pub fn micros(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Days since 1970: the `date` column.
    pub fn date(self) -> i32 {
        i32::try_from(self.0.div_euclid(NANOS_PER_DAY)).unwrap_or(0)
    }

    /// The start of the instant's minute.
    pub fn minute(self) -> Self {
        Self(self.0.div_euclid(NANOS_PER_MINUTE) * NANOS_PER_MINUTE)
    }
}
