//! Exponential histograms of integers, OpenTelemetry's layout: the one form in which durations and
//! sizes are rolled up.
//!
//! Count, sum, minimum and maximum are exact integers and buckets are counts, so merging is addition
//! and gives the same bytes in any order. Buckets follow the OpenTelemetry data model
//! (metrics data model, "Exponential Histogram"): bucket `i` at scale `s` covers
//! `(2^(i/2^s), 2^((i+1)/2^s)]`.

use std::sync::LazyLock;

mod column;
mod encoding;
mod received;
mod state;
#[cfg(test)]
mod tests;

pub use column::{HistogramBuilder, HistogramColumn, data_type, of_each};
pub use received::{Buckets, Received};
pub use state::{StateBuilder, StateColumn};

/// Scale of every histogram that Upriver records itself: buckets 2.2 % wide, so a percentile is
/// within 2.2 % of the exact one.
pub const SCALE: i64 = 5;
const BUCKETS_PER_OCTAVE: usize = 1 << SCALE;

/// A histogram of non-negative integers such as nanoseconds or bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// Number of values.
    pub count: i64,
    /// Their sum, saturating.
    pub sum: i64,
    /// The smallest value; `i64::MAX` when empty.
    pub min: i64,
    /// The largest value; 0 when empty.
    pub max: i64,
    /// Number of buckets per octave is `2^scale`.
    pub scale: i64,
    /// Values that are 0.
    pub zero_count: i64,
    /// Index of the first bucket in `counts`.
    pub offset: i64,
    /// Counts of consecutive buckets.
    pub counts: Vec<i64>,
}

/// A histogram but for its buckets.
#[derive(Clone, Copy, Debug)]
struct Outline {
    count: i64,
    sum: i64,
    min: i64,
    max: i64,
    scale: i64,
    zero_count: i64,
}

/// Index and count.
type Bucket = (i64, i64);

impl Default for Histogram {
    fn default() -> Self {
        Self {
            count: 0,
            sum: 0,
            min: i64::MAX,
            max: 0,
            scale: SCALE,
            zero_count: 0,
            offset: 0,
            counts: Vec::new(),
        }
    }
}

impl Histogram {
    /// A number of equal values.
    fn of_equal(value: i64, count: i64) -> Self {
        let value = value.max(0);
        let sum = value.saturating_mul(count);
        let mut histogram = Self { count, sum, min: value, max: value, ..Self::default() };
        histogram.add_to_bucket(value, count);
        histogram
    }

    /// Adds a value; a negative one counts as 0.
    pub fn record(&mut self, value: i64) {
        let value = value.max(0);
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.add_to_bucket(value, 1);
    }

    /// Counts `count` values of this size in their bucket, and nowhere else.
    fn add_to_bucket(&mut self, value: i64, count: i64) {
        let counter = if value <= 0 {
            &mut self.zero_count
        } else {
            self.bucket(bucket_index(value) >> (SCALE - self.scale))
        };
        *counter = counter.saturating_add(count);
    }

    /// Adds all values of another histogram. The result has the coarser of the two scales. Counts,
    /// which others may have sent, saturate.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.add_outline(other.outline());
        let holds_values = |count: &i64| *count != 0;
        let Some(first) = other.counts.iter().position(holds_values) else { return };
        let length = other.counts.iter().rposition(holds_values).unwrap_or(first) + 1 - first;
        let (counts, index) = (&other.counts[first..first + length], other.offset + first as i64);
        let shift = other.scale - self.scale;
        if shift == 0 {
            let counters = self.counters(index, index + length as i64 - 1);
            for (counter, count) in counters.iter_mut().zip(counts) {
                *counter = counter.saturating_add(*count);
            }
            return;
        }
        for (index, count) in (index..).zip(counts).filter(|(_, count)| **count != 0) {
            let counter = self.bucket(index >> shift);
            *counter = counter.saturating_add(*count);
        }
    }

    /// Adds a histogram's values; its buckets rise.
    fn add(&mut self, outline: Outline, buckets: &[Bucket]) {
        self.add_outline(outline);
        let (Some((first, _)), Some((last, _))) = (buckets.first(), buckets.last()) else { return };
        let shift = outline.scale - self.scale;
        let low = first >> shift;
        let counters = self.counters(low, last >> shift);
        for (index, count) in buckets {
            let place = usize::try_from((index >> shift) - low).ok();
            if let Some(counter) = place.and_then(|place| counters.get_mut(place)) {
                *counter = counter.saturating_add(*count);
            }
        }
    }

    /// Adds all but the buckets, which go to the coarser of the two scales.
    fn add_outline(&mut self, other: Outline) {
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.zero_count = self.zero_count.saturating_add(other.zero_count);
        self.downscale_to(other.scale);
    }

    fn outline(&self) -> Outline {
        let Self { count, sum, min, max, scale, zero_count, .. } = *self;
        Outline { count, sum, min, max, scale, zero_count }
    }

    /// The value below which the fraction `q` (0 to 1) of the values lies: the smallest value whose
    /// rank is at least `q * count`, interpolated geometrically inside its bucket and held between
    /// minimum and maximum. `None` when empty.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        self.outline().quantile((self.offset..).zip(self.counts.iter().copied()), q)
    }

    /// The fraction of values above `threshold`, interpolated inside the threshold's bucket. `None`
    /// when empty.
    pub fn fraction_above(&self, threshold: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        if threshold < 0.0 {
            return Some(1.0);
        }
        if threshold >= self.max as f64 {
            return Some(0.0);
        }
        let position = if threshold > 0.0 {
            threshold.log2() * self.outline().buckets_per_octave()
        } else {
            f64::MIN
        };
        let above: f64 = self
            .counts
            .iter()
            .enumerate()
            .map(|(i, count)| {
                let bucket = (self.offset + i as i64) as f64;
                *count as f64 * (bucket + 1.0 - position).clamp(0.0, 1.0)
            })
            .sum();
        Some(above / self.count as f64)
    }

    /// The buckets that hold values: above which value, up to which, and how many. Zeros come first, as
    /// a bucket from 0 to 0.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, f64, i64)> {
        let zeros = (self.zero_count > 0).then_some((0.0, 0.0, self.zero_count));
        let others = (self.offset..).zip(&self.counts).filter(|(_, count)| **count != 0);
        zeros.into_iter().chain(others.map(|(index, count)| {
            (self.bound(index as f64), self.bound((index + 1) as f64), *count)
        }))
    }

    /// The sum divided by the count. `None` when empty.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    fn bound(&self, position: f64) -> f64 {
        self.outline().bound(position)
    }

    fn downscale_to(&mut self, scale: i64) {
        let shift = self.scale - scale;
        if shift <= 0 {
            return;
        }
        let counts = std::mem::take(&mut self.counts);
        self.scale = scale;
        let offset = self.offset;
        for (i, count) in counts.into_iter().enumerate().filter(|(_, count)| *count != 0) {
            let counter = self.bucket((offset + i as i64) >> shift);
            *counter = counter.saturating_add(count);
        }
    }

    /// The counters from one bucket to another, widening the range as needed.
    fn counters(&mut self, low: i64, high: i64) -> &mut [i64] {
        self.bucket(low);
        self.bucket(high);
        let place = |index: i64| usize::try_from(index - self.offset).unwrap_or(0);
        let (low, high) = (place(low), place(high));
        &mut self.counts[low..=high]
    }

    /// The counter of a bucket, widening the range as needed. Indices come from positive `i64`
    /// values, so the range never exceeds 63 octaves.
    fn bucket(&mut self, index: i64) -> &mut i64 {
        if self.counts.is_empty() {
            self.offset = index;
        }
        if index < self.offset {
            let missing = usize::try_from(self.offset - index).unwrap_or(0);
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.offset = index;
        }
        let position = usize::try_from(index - self.offset).unwrap_or(0);
        if position >= self.counts.len() {
            self.counts.resize(position + 1, 0);
        }
        &mut self.counts[position]
    }
}

impl Outline {
    /// [`Histogram::quantile`], of buckets that rise.
    fn quantile(self, buckets: impl Iterator<Item = Bucket>, q: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let rank = (q.clamp(0.0, 1.0) * self.count as f64).max(1.0);
        if rank <= self.zero_count as f64 {
            return Some(0.0);
        }
        #[expect(clippy::cast_possible_truncation, reason = "whole, and at most the count")]
        let wanted = rank.ceil() as i64;
        let mut below = self.zero_count;
        for (index, count) in buckets {
            let through = below.saturating_add(count);
            if through >= wanted && count > 0 {
                let within = (rank - below as f64) / count as f64;
                let value = self.bound(index as f64 + within);
                return Some(value.clamp(self.min as f64, self.max as f64));
            }
            below = through;
        }
        Some(self.max as f64)
    }

    /// The upper bound of the bucket before `position`; fractions interpolate geometrically.
    fn bound(self, position: f64) -> f64 {
        (position / self.buckets_per_octave()).exp2()
    }

    fn buckets_per_octave(self) -> f64 {
        2f64.powi(i32::try_from(self.scale).unwrap_or(0))
    }
}

/// Index at [`SCALE`] of the bucket of a positive value: by comparison with 32 fixed bounds, so that
/// it does not depend on a platform's logarithm.
fn bucket_index(value: i64) -> i64 {
    static OCTAVE: LazyLock<Octave> = LazyLock::new(Octave::new);
    let bits = (value as f64).to_bits();
    let (exponent, fraction) = (bits >> FRACTION_BITS, bits & FRACTION);
    let exponent = exponent.cast_signed() - EXPONENT_OF_ONE.cast_signed();
    exponent * BUCKETS_PER_OCTAVE as i64 + OCTAVE.bounds_below(fraction) - 1
}

/// Bits of a double below its exponent.
const FRACTION_BITS: u32 = f64::MANTISSA_DIGITS - 1;
const FRACTION: u64 = (1 << FRACTION_BITS) - 1;
const EXPONENT_OF_ONE: u64 = 1.0f64.to_bits() >> FRACTION_BITS;
/// Equal parts of an octave, so many that none has two bounds in it.
const PARTS: usize = 64;

/// The bounds of buckets from 1 to 2.
struct Octave {
    /// Their fractions, and one above all there are.
    bounds: [u64; BUCKETS_PER_OCTAVE + 1],
    /// Bounds below each part.
    below: [usize; PARTS],
}

impl Octave {
    fn new() -> Self {
        let bound = |i| (i as f64 / BUCKETS_PER_OCTAVE as f64).exp2().to_bits() & FRACTION;
        let mut bounds = std::array::from_fn(bound);
        bounds[BUCKETS_PER_OCTAVE] = u64::MAX;
        let part_bits = FRACTION_BITS - PARTS.ilog2();
        let below =
            |part: usize| bounds.partition_point(|bound| *bound < (part as u64) << part_bits);
        Self { bounds, below: std::array::from_fn(below) }
    }

    /// Bounds below a number from 1 to 2 with this fraction.
    fn bounds_below(&self, fraction: u64) -> i64 {
        let part = fraction >> (FRACTION_BITS - PARTS.ilog2());
        #[expect(clippy::cast_possible_truncation, reason = "less than `PARTS`")]
        let below = self.below[part as usize];
        below as i64 + i64::from(self.bounds[below] < fraction)
    }
}
