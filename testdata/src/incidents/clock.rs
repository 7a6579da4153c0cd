//! Units of time, and the instants of a case.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

pub(crate) const MILLI: i64 = 1_000_000;
pub(crate) const SECOND: i64 = 1_000 * MILLI;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
pub(crate) const WEEK: i64 = 7 * DAY;
/// What is recorded of last week: from so long before the same instant, until so long after it.
const LAST_WEEK: (i64, i64) = (3 * HOUR, HOUR);

/// Midnight of Monday, 2 March 2026.
const FIRST_DAY: i64 = 20_514 * DAY;

/// The nearest whole number of nanoseconds of a time in milliseconds.
pub(crate) fn nanos(ms: f64) -> i64 {
    whole(ms * MILLI as f64)
}

/// The nearest whole number.
#[expect(clippy::cast_possible_truncation, reason = "times, sizes and counts lie far inside i64")]
pub(crate) fn whole(number: f64) -> i64 {
    number.round() as i64
}

/// The nearest whole number of things.
pub(crate) fn count(number: f64) -> usize {
    usize::try_from(whole(number)).unwrap_or(0)
}

/// When the case begins, when it becomes slow, and when somebody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    pub(crate) start: i64,
    pub(crate) onset: i64,
    /// The instant of the diagnosis; traffic goes on for a minute more, which it must not read.
    pub(crate) at: i64,
    pub(crate) end: i64,
    /// Time of which nothing is recorded.
    pub(crate) gap: Option<(i64, i64)>,
}

impl Clock {
    /// So many hours of healthy traffic, then ten to eighteen minutes of something else.
    pub(crate) fn random(history: i64, random: &mut ChaCha8Rng) -> Self {
        let start = FIRST_DAY + random.random_range(0..28 * 24 * 60) * MINUTE;
        let onset = start + history + random.random_range(0..600) * SECOND;
        let at = onset + random.random_range(600..1_080) * SECOND;
        Self { start, onset, at, end: at + MINUTE, gap: None }
    }

    /// The same, and some hours of the week before.
    pub(crate) fn with_last_week(self) -> Self {
        let around = self.at - WEEK;
        let whole_minute = |instant: i64| instant - instant.rem_euclid(MINUTE);
        let (before, after) = LAST_WEEK;
        let gap = (whole_minute(around + after), self.start);
        Self { start: whole_minute(around - before), gap: Some(gap), ..self }
    }

    /// Whether anything is recorded at an instant.
    pub(crate) fn is_recorded(&self, instant: i64) -> bool {
        self.gap.is_none_or(|(from, until)| !(from..until).contains(&instant))
    }

    /// How much of its time is recorded.
    pub(crate) fn recorded(&self) -> i64 {
        self.end - self.start - self.gap.map_or(0, |(from, until)| until - from)
    }
}
