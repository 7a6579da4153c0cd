//! Whether a rise stands out from what windows of its length do when nothing has happened.
//!
//! Requests of a minute resemble each other and minutes resemble their neighbours, so how far a window may
//! lie from the hour before it is not worked out from the number of requests: it is looked up in
//! the operation's own past, whose windows are placebos. A window is compared by a figure of all its
//! requests.

use upriver_analyze::histogram::Histogram;

use super::onset::Bin;
use super::watched::Watched;
use crate::statistics::{median, robust_sigma};
use crate::time::{HOUR, MINUTE, Time, Window};

#[cfg(test)]
mod tests;

/// Windows are at most so long (research on placebo windows: one aggregation length of 15 minutes).
const LENGTH_MAX: i64 = 15 * MINUTE;
/// And at most this part of the quiet time, so that there are some that do not overlap.
const QUIET_PARTS: i64 = 8;
/// Windows begin this part of their length after one another.
const STEPS: i64 = 3;
/// A window is held against the median of those in this time before it.
const REFERENCE: i64 = HOUR;
/// With fewer of them before a window it is no placebo.
const BEFORE_MIN: usize = 2;
/// With fewer placebos nothing is known of how windows scatter.
const PLACEBOS_MIN: usize = 5;
/// What is watched scatters at least this much from window to window.
const SIGMA_MIN: f64 = 0.03;

/// How many standard deviations of quiet windows a window lies above those of the hour before `quiet_end`;
/// `None` where too little is known. Bins are in the order of time, `quiet_end` is not after `now`.
pub(super) fn z(bins: &[Bin], quiet_end: Time, now: Window, watched: Watched) -> Option<f64> {
    let quiet_start = bins.first()?.start;
    let minute = |time: Time| Time::of(time.nanos().div_euclid(MINUTE) * MINUTE);
    let (quiet_end, now) =
        (minute(quiet_end), Window::new(minute(now.start), minute(now.end + (MINUTE - 1))));
    let quiet = quiet_end.nanos() - quiet_start.nanos();
    let length = now.nanos().min(LENGTH_MAX).min(quiet / QUIET_PARTS).max(MINUTE);
    let length = length / MINUTE * MINUTE;
    let step = (length / STEPS / MINUTE * MINUTE).max(MINUTE);
    let mut windows: Vec<(Window, f64)> = Vec::new();
    let mut end = quiet_end;
    while end - length >= quiet_start {
        let window = Window::new(end - length, end);
        windows.extend(value(bins, window, watched).map(|value| (window, value)));
        end = end - step;
    }
    windows.reverse();
    let placebos: Vec<f64> = windows
        .iter()
        .filter_map(|(window, value)| Some(value - reference(&windows, window.start)?))
        .collect();
    if placebos.len() < PLACEBOS_MIN {
        return None;
    }
    let last = Window::new(now.start.max(now.end - LENGTH_MAX), now.end);
    let rise = value(bins, last, watched)? - reference(&windows, quiet_end)?;
    let sigma = robust_sigma(&placebos)?.max(SIGMA_MIN);
    Some((rise - median(&placebos)?) / sigma)
}

/// What is watched, of a window's requests.
fn value(bins: &[Bin], window: Window, watched: Watched) -> Option<f64> {
    let first = bins.partition_point(|bin| bin.start < window.start);
    let mut durations = Histogram::default();
    for bin in bins[first..].iter().take_while(|bin| bin.end <= window.end) {
        durations.merge(&bin.durations);
    }
    watched.value(&durations)
}

/// The median of the windows that end within an hour before an instant.
fn reference(windows: &[(Window, f64)], end: Time) -> Option<f64> {
    let until = |end: Time| windows.partition_point(|(window, _)| window.end <= end);
    let before: Vec<f64> =
        windows[until(end - REFERENCE)..until(end)].iter().map(|(_, value)| *value).collect();
    if before.len() < BEFORE_MIN {
        return None;
    }
    median(&before)
}
