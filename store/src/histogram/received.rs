//! Histograms that others measured, in the form that Upriver keeps: explicit and exponential data
//! points of OpenTelemetry (metrics data model, "Histogram" and "Exponential Histogram").
//!
//! Nothing is added to what the point says. A value's own size is lost in its bucket, so:
//!
//! - Exponential: the buckets stay as they are, at scale 5 if they were finer, and a percentile is
//!   within the sender's bucket.
//! - Explicit, below the last bound: the values of a bucket are spread evenly over ours that lie in
//!   it, so a percentile is within the sender's bucket of the exact one, give or take one bucket of
//!   ours (2.2 %). `min` and `max` narrow the outer buckets.
//! - Explicit, above the last bound: all values count at the least mean that the sum allows, held
//!   between the last bound and `max`. A percentile there may be too small by any factor, never
//!   larger than the largest value.
//!
//! `min` and `max` of the result are bounds, exact only where the point gave them for its interval.

use std::collections::BTreeMap;

use super::{BUCKETS_PER_OCTAVE, Histogram, SCALE, bucket_index};

#[cfg(test)]
mod tests;

/// Values in one point: more than a million per second for ten days, and far from where sums of
/// points saturate.
const COUNT_MAX: i64 = 1 << 40;
/// Buckets of one point that are not empty, or explicit. OpenTelemetry SDKs keep 160 exponential and
/// 16 explicit ones.
const BUCKETS_MAX: usize = 160;
/// Scales that OpenTelemetry SDKs use.
const SCALES: std::ops::RangeInclusive<i64> = -10..=20;
/// Bucket of the largest `i64` at [`SCALE`].
const INDEX_MAX: i64 = 63 * BUCKETS_PER_OCTAVE as i64 - 1;

/// A data point of a histogram, or the difference of two.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    count: i64,
    sum: f64,
    min: Option<f64>,
    max: Option<f64>,
    buckets: Buckets,
}

/// The buckets of a data point.
#[derive(Clone, Debug, PartialEq)]
pub enum Buckets {
    /// Bucket `i` covers `(bounds[i - 1], bounds[i]]`; one more count than bounds.
    Explicit {
        /// Upper bounds, rising.
        bounds: Vec<f64>,
        /// Counts by bucket.
        counts: Vec<i64>,
    },
    /// Bucket `i` covers `(2^(i/2^scale), 2^((i+1)/2^scale)]`.
    Exponential {
        /// Number of buckets per octave is `2^scale`.
        scale: i64,
        /// Values that are no larger than the threshold: they count as 0.
        zero_count: i64,
        /// What counts as zero.
        zero_threshold: f64,
        /// Counts by bucket; missing ones are 0.
        counts: BTreeMap<i64, i64>,
    },
}

impl Received {
    /// A data point of non-negative values; `None` where its figures contradict each other or go
    /// beyond the limits of this module.
    pub fn new(
        (count, sum): (i64, f64),
        (min, max): (Option<f64>, Option<f64>),
        buckets: Buckets,
    ) -> Option<Self> {
        // A point without buckets has one.
        let buckets = match buckets {
            Buckets::Explicit { bounds, counts } if bounds.is_empty() && counts.is_empty() => {
                Buckets::Explicit { bounds, counts: vec![count] }
            }
            other => other,
        };
        let known = |bound: &f64| bound.is_finite() && *bound >= 0.0;
        let (min, max) = (min.filter(known), max.filter(known));
        let in_order = min.zip(max).is_none_or(|(min, max)| min <= max);
        let is_sound = (0..=COUNT_MAX).contains(&count) && known(&sum) && in_order;
        (is_sound && buckets.are_sound(count)).then_some(Self { count, sum, min, max, buckets })
    }

    /// What came since an earlier point of the same series; `None` where the later one is no
    /// continuation: a count went down, or the buckets are others.
    ///
    /// `min` and `max` of a cumulative point hold for all of its values, so they hold for these.
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let count = self.count.checked_sub(earlier.count).filter(|count| *count >= 0)?;
        let sum = self.sum - earlier.sum;
        let buckets = self.buckets.since(&earlier.buckets)?;
        Self::new((count, sum), (self.min, self.max), buckets)
    }

    /// The same in the form that is kept, with the errors that this module names.
    pub fn to_histogram(&self) -> Histogram {
        if self.count == 0 {
            return Histogram::default();
        }
        let mut histogram = match &self.buckets {
            Buckets::Explicit { bounds, counts } => self.spread(bounds, counts),
            Buckets::Exponential { scale, zero_count, counts, .. } => {
                self.rescale(*scale, *zero_count, counts)
            }
        };
        histogram.count = self.count;
        histogram.sum = whole(self.sum.round());
        histogram
    }

    fn spread(&self, bounds: &[f64], counts: &[i64]) -> Histogram {
        let mut histogram = Histogram::default();
        let mut rest = self.sum;
        let mut lower = 0;
        for (bound, count) in bounds.iter().zip(counts) {
            let upper = whole(*bound);
            let (low, high) = self.narrowed(lower, upper);
            lower = upper.saturating_add(1);
            if *count > 0 {
                spread_evenly(&mut histogram, (low, high), *count);
                histogram.min = histogram.min.min(low);
                histogram.max = high;
                rest -= high as f64 * *count as f64;
            }
        }
        let above = counts.get(bounds.len()).copied().unwrap_or(0);
        if above > 0 {
            let mean = whole((rest / above as f64).floor());
            let (low, high) = self.narrowed(lower, i64::MAX);
            let size = mean.clamp(low, high);
            histogram.add_to_bucket(size, above);
            histogram.min = histogram.min.min(low);
            histogram.max = if self.max.is_some() { high } else { size };
        }
        histogram
    }

    /// The bucket's sizes, without those outside of `min` and `max`.
    fn narrowed(&self, lower: i64, upper: i64) -> (i64, i64) {
        let upper = upper.max(0);
        let lower = self.min.map_or(lower, |min| lower.max(whole(min.floor()))).min(upper);
        (lower, self.max.map_or(upper, |max| upper.min(whole(max.ceil()))).max(lower))
    }

    fn rescale(&self, scale: i64, zero_count: i64, counts: &BTreeMap<i64, i64>) -> Histogram {
        let kept = scale.min(SCALE);
        // Sizes are whole, so below bucket -1, which ends with 1, there is nothing but zeros.
        let indices = -1..=INDEX_MAX >> (SCALE - kept);
        let mut histogram = Histogram { scale: kept, zero_count, ..Histogram::default() };
        for (index, count) in counts.iter().filter(|(_, count)| **count > 0) {
            let index = (index >> (scale - kept)).clamp(*indices.start(), *indices.end());
            let counter = histogram.bucket(index);
            *counter = counter.saturating_add(*count);
        }
        let first = if zero_count > 0 || histogram.counts.is_empty() {
            0
        } else {
            whole(histogram.bound(histogram.offset as f64).floor())
        };
        let last = match histogram.counts.len() {
            0 => 0,
            length => whole(histogram.bound((histogram.offset + length as i64) as f64).ceil()),
        };
        (histogram.min, histogram.max) = self.narrowed(first, last);
        histogram
    }
}

impl Buckets {
    fn are_sound(&self, count: i64) -> bool {
        let (is_laid_out, zeros, counts): (bool, i64, Vec<i64>) = match self {
            Self::Explicit { bounds, counts } => {
                let rise =
                    bounds.is_sorted_by(|a, b| a < b) && bounds.iter().all(|b| b.is_finite());
                (rise && counts.len() == bounds.len() + 1, 0, counts.clone())
            }
            Self::Exponential { scale, zero_count, zero_threshold, counts } => {
                let is_known = SCALES.contains(scale) && *zero_threshold >= 0.0;
                (is_known, *zero_count, counts.values().copied().collect())
            }
        };
        let mut total = Some(zeros).filter(|zeros| *zeros >= 0);
        for part in &counts {
            total = total.filter(|_| *part >= 0).and_then(|total| total.checked_add(*part));
        }
        is_laid_out && counts.len() <= BUCKETS_MAX && total == Some(count)
    }

    fn since(&self, earlier: &Self) -> Option<Self> {
        match (self, earlier) {
            (
                Self::Explicit { bounds, counts },
                Self::Explicit { bounds: earlier_bounds, counts: earlier_counts },
            ) if bounds == earlier_bounds => {
                let counts = counts.iter().zip(earlier_counts).map(|(now, before)| now - before);
                Some(Self::Explicit { bounds: bounds.clone(), counts: counts.collect() })
            }
            (
                Self::Exponential { scale, zero_count, zero_threshold, counts },
                Self::Exponential {
                    scale: earlier_scale,
                    zero_count: earlier_zero_count,
                    zero_threshold: earlier_threshold,
                    counts: earlier_counts,
                },
            ) if zero_threshold.to_bits() == earlier_threshold.to_bits() => {
                let common = *scale.min(earlier_scale);
                let mut rest = coarser(counts, scale - common);
                for (index, before) in coarser(earlier_counts, earlier_scale - common) {
                    let now = rest.get_mut(&index).filter(|now| **now >= before)?;
                    *now -= before;
                }
                rest.retain(|_, count| *count > 0);
                Some(Self::Exponential {
                    scale: common,
                    zero_count: zero_count - earlier_zero_count,
                    zero_threshold: *zero_threshold,
                    counts: rest,
                })
            }
            _ => None,
        }
    }
}

/// The counts at a scale that is coarser by `shift`; empty buckets are left out.
fn coarser(counts: &BTreeMap<i64, i64>, shift: i64) -> BTreeMap<i64, i64> {
    let mut merged = BTreeMap::new();
    for (index, count) in counts.iter().filter(|(_, count)| **count > 0) {
        *merged.entry(index >> shift).or_insert(0) += count;
    }
    merged
}

/// Gives each bucket between two sizes the same share; whole values, so shares differ by one.
fn spread_evenly(histogram: &mut Histogram, (low, high): (i64, i64), count: i64) {
    if high == 0 {
        histogram.add_to_bucket(0, count);
        return;
    }
    let (first, last) = (bucket_index(low.max(1)), bucket_index(high));
    let buckets = last - first + 1;
    for i in 0..buckets {
        let share = count * (i + 1) / buckets - count * i / buckets;
        if share > 0 {
            let counter = histogram.bucket(first + i);
            *counter = counter.saturating_add(share);
        }
    }
}

/// A size as an integer; beyond the range it saturates.
fn whole(size: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
    let size = size as i64;
    size.max(0)
}
