//! When a series rose and stayed up: a clipped CUSUM for whether, a likelihood ratio for when.
//!
//! A single spike must not alarm, so each point counts for at most [`CLIP`] standard deviations; a
//! rise that has gone away is none; and where one side of a split is noisy, medians and absolute
//! deviations (a Laplace likelihood) keep the split from following the noise.

use super::{median, quantile, robust_sigma};

#[cfg(test)]
mod tests;

/// The allowance of the CUSUM in standard deviations per point.
const ALLOWANCE: f64 = 1.5;
/// The sum at which it alarms. With the clip at 4 at least five points are needed.
const THRESHOLD: f64 = 12.0;
/// A point counts for at most this many standard deviations.
const CLIP: f64 = 4.0;
/// Points at the end whose median must still be up.
const LAST_POINTS: usize = 5;
/// Half of the 95 % quantile of chi square with one degree of freedom: splits whose log likelihood is
/// within it of the best one are in the interval.
const LOG_LIKELIHOOD_RANGE: f64 = 1.92;
/// Logarithms of latency scatter at least this much from minute to minute.
const SIGMA_MIN: f64 = 0.03;
/// A series without any scatter still has a likelihood.
const DEVIATION_MIN: f64 = 1e-4;
/// Points on each side of a split.
const SIDE_MIN: usize = 2;
/// Points before the excursion in which the split is sought as well.
const LEAD_POINTS: usize = 60;

/// What a series is when all is well.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reference {
    pub(crate) level: f64,
    pub(crate) sigma: f64,
    /// What one in ten healthy points exceeds.
    pub(crate) high: f64,
}

impl Reference {
    /// The reference of healthy points; `None` if there are none.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let sigma = robust_sigma(values)?.max(SIGMA_MIN);
        Some(Self { level: median(values)?, sigma, high: quantile(values, 0.9)? })
    }
}

/// Where a series rose, as indices of points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rise {
    /// First point of the risen part.
    pub(crate) first: usize,
    /// Earliest and latest index that the first point could have.
    pub(crate) interval: (usize, usize),
}

/// The rise that lasts to the end of the series, if there is one.
pub(crate) fn lasting_rise(values: &[f64], reference: Reference) -> Option<Rise> {
    let start = excursion(values, reference)?;
    let tail = &values[values.len().saturating_sub(LAST_POINTS)..];
    if median(tail)? <= reference.high {
        return None;
    }
    let from = start.saturating_sub(LEAD_POINTS);
    let split = best_split(&values[from..])?;
    Some(Rise {
        first: from + split.first,
        interval: (from + split.interval.0, from + split.interval.1),
    })
}

/// Index at which the CUSUM left zero for an alarm that it has not come back from.
fn excursion(values: &[f64], reference: Reference) -> Option<usize> {
    let (mut sum, mut start, mut has_alarmed) = (0.0f64, 0, false);
    for (index, value) in values.iter().enumerate() {
        let z = ((value - reference.level) / reference.sigma).min(CLIP);
        let next = (sum + z - ALLOWANCE).clamp(0.0, THRESHOLD + CLIP);
        if sum <= 0.0 && next > 0.0 {
            start = index;
        }
        has_alarmed = next > 0.0 && (has_alarmed || next > THRESHOLD);
        sum = next;
    }
    has_alarmed.then_some(start)
}

/// The split into two levels with the greatest likelihood, of those that rise.
pub(crate) fn best_split(values: &[f64]) -> Option<Rise> {
    let count = values.len();
    let splits: Vec<(usize, f64)> = (SIDE_MIN..count.saturating_sub(SIDE_MIN - 1))
        .filter_map(|split| {
            let (before, after) = values.split_at(split);
            let rises = median(after)? > median(before)?;
            let deviation =
                (absolute_deviation(before)? + absolute_deviation(after)?) / count as f64;
            let deviation = deviation.max(DEVIATION_MIN);
            rises.then(|| (split, -(count as f64) * deviation.ln()))
        })
        .collect();
    rise_of(&splits)
}

/// The split after which more events are high, of events in the order of time; the design effect is how
/// many events tell as much as one that is independent of the others. `None` if the share does not rise.
pub(crate) fn share_split(are_high: &[bool], design_effect: f64) -> Option<Rise> {
    let all = are_high.len();
    let total = are_high.iter().filter(|is_high| **is_high).count() as f64;
    let likelihood = |high: f64, count: f64| {
        let part = |k: f64| if k > 0.0 { k * (k / count).ln() } else { 0.0 };
        part(high) + part(count - high)
    };
    let mut before = 0.0;
    let mut splits = Vec::new();
    for split in 1..all {
        before += f64::from(u8::from(are_high[split - 1]));
        let (n_before, n_after) = (split as f64, (all - split) as f64);
        let rises = (total - before) / n_after > before / n_before;
        if rises && split >= SIDE_MIN && all - split >= SIDE_MIN {
            let log = likelihood(before, n_before) + likelihood(total - before, n_after);
            splits.push((split, log / design_effect.max(1.0)));
        }
    }
    rise_of(&splits)
}

/// The likeliest split, and those that are nearly as likely.
fn rise_of(splits: &[(usize, f64)]) -> Option<Rise> {
    let best =
        splits.iter().copied().reduce(|best, next| if next.1 > best.1 { next } else { best })?;
    let near = || splits.iter().filter(|split| best.1 - split.1 <= LOG_LIKELIHOOD_RANGE);
    let interval = (near().map(|s| s.0).min()?, near().map(|s| s.0).max()?);
    Some(Rise { first: best.0, interval })
}

/// Sum of the distances to the median.
fn absolute_deviation(values: &[f64]) -> Option<f64> {
    let middle = median(values)?;
    Some(values.iter().map(|value| (value - middle).abs()).sum())
}
