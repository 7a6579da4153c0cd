//! Which minutes an audit compares: whole ones, of which every span has ended.

use super::document::SETTLED;
use crate::diagnosis::Change;
use crate::time::{HOUR, MINUTE, Time, Window};

/// What a change is held against.
const BEFORE: i64 = HOUR;
/// An earlier change of the same service cuts that, but not to less than this.
const BEFORE_MIN: i64 = 10 * MINUTE;
/// Caches are cold and connections new right after a change:
const WARM_UP: i64 = 5 * MINUTE;
/// where so much is known, the first minutes are left out.
const LONG: i64 = 20 * MINUTE;
/// Earlier time in which windows of the same length tell how much figures scatter anyway.
const HISTORY: i64 = 6 * HOUR;

/// The time before a change and the time after it, both in whole minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Windows {
    pub(super) before: Window,
    pub(super) after: Window,
    /// From the first placebo window to the end of `after`.
    pub(super) history: Window,
}

impl Windows {
    /// The windows of a change as of an instant, with so many nanoseconds after it at most.
    pub(super) fn of(change: &Change, changes: &[Change], (at, longest): (Time, i64)) -> Self {
        let of_service = || changes.iter().filter(|other| other.service == change.service);
        let next = of_service().find(|other| other.start > change.start);
        let last = of_service().rev().find(|other| other.start < change.start);
        let before_end = minute_down(change.start);
        let earliest = before_end - BEFORE;
        let before_start = last
            .map(|last| minute_up(last.start))
            .filter(|start| *start > earliest && *start <= before_end - BEFORE_MIN)
            .unwrap_or(earliest);
        let first = minute_up(change.start);
        let known = next.map_or(at - SETTLED, |next| next.start.min(at - SETTLED));
        let end = minute_down(known.min(first + longest)).max(first);
        let is_long = end.nanos() - first.nanos() >= LONG;
        let start = if is_long { first + WARM_UP } else { first };
        Self {
            before: Window::new(before_start, before_end),
            after: Window::new(start, end),
            history: Window::new(before_end - HISTORY, end),
        }
    }
}

fn minute_down(time: Time) -> Time {
    Time::of(time.nanos().div_euclid(MINUTE) * MINUTE)
}

fn minute_up(time: Time) -> Time {
    minute_down(time + (MINUTE - 1))
}
