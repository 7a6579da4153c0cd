//! When things happen: the instants of the incident, the traffic, and how far the inflation is.

use super::Variant;
use super::fleet::{ROLLBACK_DELAYS, ROLLOUT_DELAYS};

pub(crate) const SECOND: i64 = 1_000_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;

/// 2026-03-11T10:31:00Z, a Wednesday.
pub(crate) const ROLLOUT_DEFAULT: i64 = 1_773_225_060 * SECOND;

/// Requests per second in the busy hours: five, and a little more so that no window falls below.
const RATE_BUSY: f64 = 5.15;
/// Requests per second in the rest of the week.
const RATE_QUIET: f64 = 0.1;
/// Length of a slice in the busy hours: what a minute-wise exporter would send.
const SLICE_BUSY: i64 = MINUTE;
/// Length of a slice in the rest of the week: few requests, so longer.
const SLICE_QUIET: i64 = 30 * MINUTE;

/// Heap and run queue fill within this time after an instance of inventory changed.
const PRESSURE_RISES: i64 = 20 * SECOND;
/// They take longer to drain.
const PRESSURE_FALLS: i64 = 40 * SECOND;

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// First instant, in nanoseconds since 1970.
    pub start: i64,
    /// End, exclusive.
    pub end: i64,
}

/// When inventory's responses are large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inflation {
    /// Instant from which instances of inventory begin to answer with large bodies, one by one.
    pub start: i64,
    /// Instant from which they return to small ones; none while the incident goes on.
    pub end: Option<i64>,
}

/// The instants of a scenario, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// First instant of the scenario.
    pub start: i64,
    /// End of the scenario, exclusive.
    pub end: i64,
    /// From here to the end, and in the same hours a week earlier, traffic is dense.
    pub busy_start: i64,
    /// Rollout of inventory's new version; in a variant without the deploy, when it would have been.
    pub rollout: Interval,
    /// Whether that rollout happens.
    pub rolls_out: bool,
    /// When the alert fires, and a diagnosis is asked for.
    pub alert: i64,
    /// Return to the old version.
    pub rollback: Option<Interval>,
    /// When responses are large.
    pub inflation: Option<Inflation>,
}

impl Timeline {
    pub(crate) fn new(variant: Variant, rollout: i64) -> Self {
        let rollback = Interval { start: rollout + 24 * MINUTE, end: rollout + 26 * MINUTE };
        let end = rollout + 55 * MINUTE;
        let incident = Self {
            start: end - 8 * DAY,
            end,
            busy_start: rollout - 61 * MINUTE,
            rollout: Interval { start: rollout, end: rollout + 3 * MINUTE },
            rolls_out: true,
            alert: rollout + 16 * MINUTE,
            rollback: Some(rollback),
            inflation: Some(Inflation { start: rollout, end: Some(rollback.start) }),
        };
        match variant {
            Variant::Checkout | Variant::NestedAllocation | Variant::HostileNames => incident,
            Variant::InflationBeforeDeploy => Self {
                start: rollout + 20 * MINUTE - 8 * DAY,
                end: rollout + 20 * MINUTE,
                busy_start: rollout - 100 * MINUTE,
                rollback: None,
                inflation: Some(Inflation { start: rollout - HOUR, end: None }),
                ..incident
            },
            Variant::DeployWithoutInflation => Self { rollback: None, inflation: None, ..incident },
            Variant::InflationWithoutDeploy => {
                Self { rolls_out: false, rollback: None, ..incident }
            }
        }
    }

    /// Whether traffic is dense: the hours of the incident, and the same a week earlier.
    pub(crate) fn is_busy(&self, instant: i64) -> bool {
        let busy = |instant| (self.busy_start..self.end).contains(&instant);
        busy(instant) || busy(instant + WEEK)
    }

    /// Requests per second at an instant.
    pub(crate) fn rate(&self, instant: i64) -> f64 {
        if self.is_busy(instant) { RATE_BUSY } else { RATE_QUIET }
    }

    /// End of the slice that starts here. Quiet slices lie on a grid that does not depend on the
    /// variant, and end where the busy hours begin.
    pub(crate) fn slice_end(&self, start: i64) -> i64 {
        if self.is_busy(start) {
            return (start + SLICE_BUSY).min(self.end);
        }
        let since = start - self.rollout.start;
        let next = self.rollout.start + (since.div_euclid(SLICE_QUIET) + 1) * SLICE_QUIET;
        [self.busy_start - WEEK, self.busy_start, self.end]
            .into_iter()
            .filter(|border| *border > start)
            .fold(next, i64::min)
    }

    /// Whether the inventory instance in a slot answers with large bodies.
    pub(crate) fn is_large(&self, slot: usize, instant: i64) -> bool {
        self.inflation.is_some_and(|inflation| {
            let ended = inflation.end.is_some_and(|end| instant >= end + ROLLBACK_DELAYS[slot]);
            instant >= inflation.start + ROLLOUT_DELAYS[slot] && !ended
        })
    }

    /// How far checkout is under pressure, 0 to 1: the share of inventory's instances that answer
    /// with large bodies, after the time that heap and run queue take to follow.
    pub(crate) fn pressure(&self, instant: i64) -> f64 {
        let Some(inflation) = self.inflation else { return 0.0 };
        let ramp =
            |from: i64, length: i64| ((instant - from) as f64 / length as f64).clamp(0.0, 1.0);
        let slots = ROLLOUT_DELAYS.len();
        let total: f64 = (0..slots)
            .map(|slot| {
                let rise = ramp(inflation.start + ROLLOUT_DELAYS[slot], PRESSURE_RISES);
                let fall = inflation
                    .end
                    .map_or(0.0, |end| ramp(end + ROLLBACK_DELAYS[slot], PRESSURE_FALLS));
                rise - fall
            })
            .sum();
        total / slots as f64
    }

    /// Whether the incident is over and its last pressure gone.
    pub(crate) fn has_recovered(&self, instant: i64) -> bool {
        let last = ROLLBACK_DELAYS.into_iter().fold(0, i64::max);
        self.inflation
            .and_then(|inflation| inflation.end)
            .is_some_and(|end| instant >= end + last + PRESSURE_FALLS)
    }
}
