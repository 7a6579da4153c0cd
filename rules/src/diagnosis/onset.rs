//! When an operation became slower, if it did: its latency over time, and the rise that lasts.

use std::collections::BTreeMap;

use upriver_analyze::histogram::Histogram;

use super::inquiry::Inquiry;
use super::placebo;
use super::reading::{is_any, series_rows};
use super::signal::Operation;
use super::watched::{QUANTILES, Watched};
use crate::error::RulesError;
use crate::statistics::change_point::{Reference, Rise, lasting_rise};
use crate::statistics::median;
use crate::time::{HOUR, MINUTE, SECOND, Time, Window};

#[cfg(test)]
mod tests;

/// The onset is sought this long before the diagnosis.
const SEARCH: i64 = 6 * HOUR;
/// And held against this long before that.
const REFERENCE: i64 = 24 * HOUR;
/// A reference with fewer points says little; then the first quarter of what there is serves.
const REFERENCE_POINTS_MIN: usize = 30;
/// Without earlier days, healthy time is the first quarter of the series, at least so many points.
const HEALTHY_POINTS_MIN: usize = 5;
/// Below this many minutes of history, and for incidents some minutes old, bins are finer.
const BIN_FINE: i64 = 10 * SECOND;
/// Fine bins are read this far back.
const SEARCH_FINE: i64 = 30 * MINUTE;
/// Operations whose minutes are read together: of thirty hours, some tens of megabytes.
const TOGETHER: usize = 32;
/// A point that would reach over a longer gap ends before it.
const GAP_MAX: i64 = 30 * MINUTE;
/// A rise of a quantile smaller than this factor is not reported.
pub(crate) const RATIO_MIN: f64 = 1.2;
/// A rise must stand out so far from windows of its length in quiet time: of two quiet hours that are drawn none
/// of 200 does, of rises by half in them 76 % (the test `chance_seldom_stands_out`). So must the share of requests above
/// what a quantile was: where one request in ten is of another kind, the 90th percentile jumps from the one to the other
/// when hardly any is slower (the test `a_quantile_between_two_kinds_of_requests_jumps`).
pub(super) const Z_MIN: f64 = 4.0;
/// The baseline is the shortest of these that holds enough requests for a 99th percentile.
const BASELINES: [i64; 3] = [HOUR, SEARCH, REFERENCE];
/// A rise below a factor must have lasted so long: of smaller ones that are younger most pass by themselves. Alerts
/// customarily wait five minutes; of eight false alarms in 56 service-weeks of healthy days (seeds 51 to 63) all
/// were rises of 1.3 to 1.5 that lasted six to nine.
const LASTS: [(f64, i64); 2] = [(1.5, 10 * MINUTE), (RATIO_TWOFOLD, 5 * MINUTE)];
/// A share of slow requests has to rise by this factor in any case.
const RATIO_TWOFOLD: f64 = 2.0;
/// Requests for a 95 % interval of the 99th percentile (order statistics).
pub(crate) const P99_COUNT_MIN: i64 = 368;

/// Requests of a short time.
#[derive(Clone, Debug)]
pub(crate) struct Bin {
    pub(crate) start: Time,
    pub(crate) end: Time,
    pub(crate) durations: Histogram,
}

/// A point of a series: bins taken together until they hold enough requests.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    start: Time,
    end: Time,
    /// What is watched, on its scale.
    value: f64,
}

/// When an operation became slower.
#[expect(clippy::struct_field_names, reason = "the onset of the onset's interval is called so")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Onset {
    pub(crate) onset: Time,
    pub(crate) interval: Window,
    /// Healthy time before it.
    pub(crate) baseline: Window,
    /// In what it shows best.
    pub(crate) watched: Watched,
    /// Width of the points.
    pub(crate) resolution: i64,
}

/// Finds, of each operation, the rise of its latency that lasts to the end.
pub(crate) async fn find(
    inquiry: &Inquiry<'_>,
    operations: &[&Operation],
) -> Result<Vec<Option<Onset>>, RulesError> {
    let at = inquiry.at;
    let coarse = Window::new(at - (SEARCH + REFERENCE), at);
    let near = Window::new(at - SEARCH_FINE, at);
    let mut found = Vec::with_capacity(operations.len());
    for operations in operations.chunks(TOGETHER) {
        let minutes = series(inquiry, operations, coarse, MINUTE).await?;
        let of = |all: &Series, operation: &Operation, start, width| {
            let none = Vec::new();
            let minutes = minutes.get(operation).unwrap_or(&none);
            rise_of(all.get(operation).unwrap_or(&none), minutes, start, width)
        };
        let risen = |operation| of(&minutes, operation, coarse.end - SEARCH, MINUTE);
        let mut onsets: Vec<_> = operations.iter().map(|operation| risen(operation)).collect();
        let others = operations.iter().zip(&onsets).filter(|(_, onset)| onset.is_none());
        let others: Vec<_> = others.map(|(operation, _)| *operation).collect();
        if !others.is_empty() {
            let fine = series(inquiry, &others, near, BIN_FINE).await?;
            for (operation, onset) in operations.iter().zip(&mut onsets) {
                *onset = onset.or_else(|| of(&fine, operation, near.start, BIN_FINE));
            }
        }
        found.extend(onsets);
    }
    Ok(found)
}

/// Requests over time, by operation.
type Series = BTreeMap<Operation, Vec<Bin>>;

async fn series(
    inquiry: &Inquiry<'_>,
    operations: &[&Operation],
    window: Window,
    width: i64,
) -> Result<Series, RulesError> {
    let sql = series_rows(&is_any(operations), window, width, inquiry.at);
    let rows = inquiry.rows("latency over time", &sql).await?;
    let times = rows.times("time")?.into_iter().zip(rows.histograms("duration")?);
    let mut all = Series::new();
    for (operation, (start, durations)) in Operation::of_rows(&rows)?.into_iter().zip(times) {
        let Some(start) = start.filter(|_| durations.count > 0) else { continue };
        let bins = all.entry(operation).or_default();
        match bins.last_mut().filter(|last| last.start == start) {
            Some(last) => last.durations.merge(&durations),
            None => bins.push(Bin { start, end: start + width, durations }),
        }
    }
    Ok(all)
}

/// The lasting rise that can be dated best, of those in what is watched that stand out from
/// quiet minutes.
fn rise_of(bins: &[Bin], minutes: &[Bin], search_start: Time, resolution: i64) -> Option<Onset> {
    let end = bins.last()?.end;
    // Bins of seconds are too short for a share.
    let share = slow_share(minutes, search_start).filter(|_| resolution >= MINUTE);
    let candidates = QUANTILES.into_iter().chain(share).filter_map(|watched| {
        let points = points(bins, watched);
        let (healthy, search) = split_reference(&points, search_start);
        let values = |points: &[Point]| points.iter().map(|p| p.value).collect::<Vec<_>>();
        let reference = Reference::of(&values(healthy))?;
        let rise = lasting_rise(&values(search), reference)?;
        let onset = onset_of(bins, search, rise, (watched, resolution));
        let is_share = matches!(watched, Watched::ShareAbove(_));
        let ratio_min =
            if is_share { RATIO_TWOFOLD } else { ratio_min(end.nanos() - onset.onset.nanos()) };
        let (before, after) = levels(&values(search), rise)?;
        if watched.ratio(before, after) < ratio_min {
            return None;
        }
        stands_out(minutes, &onset, end).then_some(onset)
    });
    candidates.min_by_key(|onset| onset.interval.nanos())
}

/// Whether a rise stands out from windows of its length in quiet time: what is watched, and that more requests than
/// before lie above what it was.
fn stands_out(minutes: &[Bin], onset: &Onset, end: Time) -> bool {
    let now = Window::new(onset.onset, end);
    let z = |watched| placebo::z(minutes, onset.interval.start, now, watched).unwrap_or(0.0);
    z(onset.watched) > Z_MIN
        && share_above_usual(minutes, onset).is_none_or(|share| z(share) > Z_MIN)
}

/// The share of requests above what a quantile was; none of what is a share itself.
fn share_above_usual(minutes: &[Bin], onset: &Onset) -> Option<Watched> {
    let Watched::Quantile { quantile, .. } = onset.watched else { return None };
    let mut usual = Histogram::default();
    let Window { start, end } = onset.baseline;
    let of_baseline = minutes.iter().filter(|bin| bin.start >= start && bin.end <= end);
    of_baseline.for_each(|bin| usual.merge(&bin.durations));
    usual.quantile(quantile).map(Watched::ShareAbove)
}

/// The least factor of a rise that has lasted so long.
fn ratio_min(lasted: i64) -> f64 {
    let outlasted = LASTS.into_iter().filter(|(_, lasts)| lasted < *lasts);
    outlasted.map(|(ratio, _)| ratio).fold(RATIO_MIN, f64::max)
}

/// The healthy points, and those among which the onset is sought.
fn split_reference(points: &[Point], search_start: Time) -> (&[Point], &[Point]) {
    let earlier = points.partition_point(|point| point.end <= search_start);
    if earlier >= REFERENCE_POINTS_MIN {
        return points.split_at(earlier);
    }
    let healthy = (points.len() / 4).max(HEALTHY_POINTS_MIN).min(points.len());
    (&points[..healthy], points)
}

/// The levels of the points before a rise and of the risen part.
fn levels(values: &[f64], rise: Rise) -> Option<(f64, f64)> {
    let (before, after) = values.split_at(rise.first);
    let before = &before[before.len().saturating_sub(60)..];
    Some((median(before)?, median(after)?))
}

/// The share of slow requests, where hours before the search say what is slow.
fn slow_share(minutes: &[Bin], search_start: Time) -> Option<Watched> {
    let mut quiet = Histogram::default();
    let earlier = minutes.iter().take_while(|bin| bin.end <= search_start);
    earlier.for_each(|bin| quiet.merge(&bin.durations));
    (quiet.count >= P99_COUNT_MIN).then(|| Watched::slow_share(&quiet))?
}

fn onset_of(
    bins: &[Bin],
    points: &[Point],
    rise: Rise,
    (watched, resolution): (Watched, i64),
) -> Onset {
    // The change may have come in the middle of the last calm point, and the first risen point
    // may be half calm.
    let (first, last) = rise.interval;
    let interval = Window::new(points[first.saturating_sub(1)].start, points[last].end);
    Onset {
        onset: points[rise.first].start,
        interval,
        baseline: baseline(bins, interval.start),
        watched,
        resolution,
    }
}

/// Healthy time that ends at an instant.
pub(crate) fn baseline(bins: &[Bin], end: Time) -> Window {
    let first = bins.first().map_or(end, |bin| bin.start);
    let enough = |length: &i64| {
        let within = |bin: &&Bin| bin.start >= end - *length && bin.end <= end;
        bins.iter().filter(within).map(|bin| bin.durations.count).sum::<i64>() >= P99_COUNT_MIN
    };
    let length = BASELINES.into_iter().find(enough).unwrap_or(REFERENCE);
    Window::new((end - length).max(first.min(end)), end)
}

/// Takes bins together until each point has enough requests.
fn points(bins: &[Bin], watched: Watched) -> Vec<Point> {
    let mut points = Vec::new();
    let mut pending: Option<Bin> = None;
    for bin in bins {
        let joined = match pending.take() {
            Some(mut earlier) if bin.start.nanos() - earlier.end.nanos() <= GAP_MAX => {
                earlier.durations.merge(&bin.durations);
                earlier.end = bin.end;
                earlier
            }
            _ => bin.clone(),
        };
        if joined.durations.count < watched.count_min() {
            pending = Some(joined);
            continue;
        }
        if let Some(value) = watched.value(&joined.durations) {
            points.push(Point { start: joined.start, end: joined.end, value });
        }
    }
    points
}
