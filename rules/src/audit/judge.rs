//! Whether a signal is worse by more than chance.
//!
//! Requests of a minute resemble each other, so plain tests over requests alarm far too often. A share
//! above a quantile of before is therefore tested with the variance that clustering gives, and the
//! standard errors found are divided by those that earlier windows of the same length show among
//! themselves, when nothing was changed (placebo windows: an empirical null). Of all signals of an audit
//! together one in twenty of those called significant may be so by chance.

use std::collections::BTreeMap;

use upriver_analyze::histogram::Histogram;

use super::windows::Windows;
use crate::diagnosis::WITHIN_MINUTE;
use crate::statistics::change_point::best_split;
use crate::statistics::{median_shift_z, robust_sigma, share_z, share_z_by};
use crate::time::{MINUTE, Time, Window};

/// How a signal is judged, for the document.
pub(super) const FORMULA: &str = "z = (logit(share now) - logit(share before)) / standard error, of requests above a quantile of before, with the variance of requests that resemble each other within a minute; divided by the scatter of z among earlier windows of the same length (1 at least); worse if z >= 3, significant among all signals (Benjamini-Hochberg, 5 % false discoveries), and by the least factor and difference of its kind; ratios by the medians of minutes";

/// Requests on each side with which half as much time again is seen with a chance of 80 %. The share
/// above the 90th percentile grows from 10 to 21.9 % if times with a logarithmic spread of 0.8 take 1.5
/// times as long; its log-odds move by 0.93; with a design effect of 1.5 and four times as many requests
/// before, the standard error is sqrt(12.9 / n), and 3 + 0.84 of them fit 0.93 at n = 222.
pub(super) const REQUESTS_MIN: i64 = 222;
/// A signal with fewer observations on a side is not judged at all.
pub(super) const COUNT_MIN: i64 = 50;
/// Standard errors, as for onsets.
pub(super) const Z_MIN: f64 = 3.0;
/// Standard errors from which on figures that are worse are not called unchanged: one-sided 5 %.
pub(super) const Z_UNDECIDED: f64 = 1.645;
/// False discoveries among the signals of an audit (Benjamini-Hochberg).
pub(super) const FALSE_DISCOVERIES: f64 = 0.05;
/// With fewer placebo windows their scatter says nothing.
const PLACEBOS_MIN: usize = 5;
/// Observations in a point of a series.
const POINT_MIN: i64 = 20;
/// Points on each side for a comparison of medians.
const POINTS_MIN: (usize, usize) = (5, 2);

/// What a minute holds and minutes add up to.
pub(super) trait Cell: Clone + Default {
    /// Adds another minute.
    fn add(&mut self, other: &Self);
    /// Observations.
    fn n(&self) -> i64;
}

impl Cell for Histogram {
    fn add(&mut self, other: &Self) {
        self.merge(other);
    }

    fn n(&self) -> i64 {
        self.count
    }
}

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Share {
    pub(super) hits: i64,
    pub(super) n: i64,
}

impl Cell for Share {
    fn add(&mut self, other: &Self) {
        self.hits += other.hits;
        self.n += other.n;
    }

    fn n(&self) -> i64 {
        self.n
    }
}

/// So much in so many requests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct PerRequest {
    pub(super) amount: i64,
    pub(super) requests: i64,
}

impl Cell for PerRequest {
    fn add(&mut self, other: &Self) {
        self.amount = self.amount.saturating_add(other.amount);
        self.requests += other.requests;
    }

    fn n(&self) -> i64 {
        self.requests
    }
}

/// The minutes of a signal, by their start in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Minutes<T>(pub(super) BTreeMap<i64, T>);

/// What a comparison came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) z: f64,
    pub(super) placebos: usize,
    pub(super) since: Option<Window>,
    /// Observations before and after.
    pub(super) n: (i64, i64),
}

impl<T: Cell> Minutes<T> {
    pub(super) fn add(&mut self, minute: Time, cell: &T) {
        self.0.entry(minute.nanos()).or_default().add(cell);
    }

    /// All minutes of a window together.
    pub(super) fn within(&self, window: Window) -> T {
        let mut all = T::default();
        for cell in self.0.range(window.start.nanos()..window.end.nanos()) {
            all.add(cell.1);
        }
        all
    }

    pub(super) fn counts(&self, windows: &Windows) -> (i64, i64) {
        (self.within(windows.before).n(), self.within(windows.after).n())
    }

    /// Compares by standard errors, and these with those of earlier windows.
    fn by_placebos(&self, windows: &Windows, z: impl Fn(&T, &T, f64) -> f64) -> (f64, usize) {
        let length = windows.after.nanos().max(MINUTE);
        let minutes = length as f64 / MINUTE as f64;
        let found = z(&self.within(windows.after), &self.within(windows.before), minutes);
        let reference = windows.before.nanos();
        let mut placebos = Vec::new();
        let mut end = windows.before.end;
        while end - length - reference >= windows.history.start {
            let now = self.within(Window::new(end - length, end));
            let before = self.within(Window::new(end - length - reference, end - length));
            if now.n() >= POINT_MIN && before.n() >= POINT_MIN {
                placebos.push(z(&now, &before, minutes));
            }
            end = end - length;
        }
        let scatter = match robust_sigma(&placebos) {
            Some(sigma) if placebos.len() >= PLACEBOS_MIN => sigma.max(1.0),
            _ => 1.0,
        };
        (found / scatter, placebos.len())
    }

    /// When the values rose, from the minutes before and after taken together until each point has
    /// enough observations.
    fn since(&self, windows: &Windows, value: impl Fn(&T) -> Option<f64>) -> Option<Window> {
        let points = self.points(Window::new(windows.before.start, windows.after.end), value);
        let values: Vec<f64> = points.iter().map(|point| point.1).collect();
        let (first, last) = best_split(&values)?.interval;
        let start = points.get(first.saturating_sub(1))?.0.start;
        Some(Window::new(start, points.get(last)?.0.end))
    }

    fn points(&self, window: Window, value: impl Fn(&T) -> Option<f64>) -> Vec<(Window, f64)> {
        let mut points = Vec::new();
        let mut pending: Option<(Time, T)> = None;
        for (minute, cell) in self.0.range(window.start.nanos()..window.end.nanos()) {
            let start = Time::of(*minute);
            let (since, mut joined) = pending.take().unwrap_or_else(|| (start, T::default()));
            joined.add(cell);
            if joined.n() < POINT_MIN {
                pending = Some((since, joined));
            } else if let Some(value) = value(&joined) {
                points.push((Window::new(since, start + MINUTE), value));
            }
        }
        points
    }
}

impl Minutes<Histogram> {
    /// Whether more values than before lie above a quantile of before.
    pub(super) fn above(&self, windows: &Windows, q: f64) -> Verdict {
        let (z, placebos) = self.by_placebos(windows, |now, before, minutes| {
            let Some(threshold) = before.quantile(q) else { return 0.0 };
            let counted = |of: &Histogram| {
                let n = of.count as f64;
                (of.fraction_above(threshold).unwrap_or(0.0) * n, n)
            };
            let effect = within_minute_effect(now.count as f64 / minutes);
            share_z_by(counted(now), counted(before), effect)
        });
        let watched = q.min(0.9);
        let since = self.since(windows, |cell| {
            cell.quantile(watched).filter(|value| *value > 0.0).map(f64::ln)
        });
        Verdict { z, placebos, since, n: self.counts(windows) }
    }
}

impl Minutes<Share> {
    /// Whether the share is larger.
    pub(super) fn larger(&self, windows: &Windows) -> Verdict {
        let (z, placebos) = self.by_placebos(windows, |now, before, minutes| {
            let counted = |of: &Share| (of.hits as f64, of.n as f64);
            share_z_by(counted(now), counted(before), within_minute_effect(now.n as f64 / minutes))
        });
        let since = self.since(windows, |cell| Some(cell.hits as f64 / cell.n.max(1) as f64));
        Verdict { z, placebos, since, n: self.counts(windows) }
    }
}

impl Minutes<PerRequest> {
    /// Whether more comes on a request, by the medians of minutes.
    pub(super) fn more(&self, windows: &Windows) -> Verdict {
        let value = |cell: &PerRequest| {
            let per_request = cell.amount as f64 / cell.requests.max(1) as f64;
            (per_request > 0.0).then(|| per_request.ln())
        };
        let values = |window| -> Vec<f64> {
            self.points(window, value).iter().map(|point| point.1).collect()
        };
        let (before, after) = (values(windows.before), values(windows.after));
        let enough = before.len() >= POINTS_MIN.0 && after.len() >= POINTS_MIN.1;
        let z = enough.then(|| median_shift_z(&before, &after)).flatten().unwrap_or(0.0);
        let since = self.since(windows, value);
        Verdict { z, placebos: 0, since, n: self.counts(windows) }
    }
}

/// How many times the binomial variance a share of so many requests a minute has.
fn within_minute_effect(per_minute: f64) -> f64 {
    1.0 + WITHIN_MINUTE * (per_minute - 1.0).max(0.0)
}

/// Standard errors between two shares of samples, in percent, of so many samples each.
pub(super) fn samples_z(now: (f64, i64), before: (f64, i64)) -> f64 {
    let counted = |(percent, n): (f64, i64)| (percent / 100.0 * n as f64, n as f64);
    share_z(counted(now), counted(before))
}
