//! The buckets of a histogram as bytes, of as few as they can be: nearly all of a list of buckets is zeros,
//! and most minutes of most operations hold one span.
//!
//! There are none where all values are equal: they are `sum / count` then. Else they are LEB128 varints, of
//! which there are two forms.
//!
//! - Of values that were recorded one by one ([`MEASURED`]): the minimum; no more where there are two
//!   values, of which the other is the maximum. Else what is to be added to it for the maximum, the number of
//!   further zeros where the minimum is one, and the buckets, where the minimum and the maximum are left out:
//!   of each that is left its distance to the one after the last (the first to the minimum's) doubled,
//!   plus 1 where its count follows, less 2; else its count is 1.
//! - Of any: signed numbers (zigzag) scale, minimum, maximum, number of zeros, then for each bucket that is
//!   not empty its index (the first as it is, others as the distance to the one after the last) and its count.

use super::{Bucket, Histogram, Outline, SCALE, bucket_index};

/// Coarser scales than this have less than a bucket for each power of ten.
const SCALE_MIN: i64 = -10;
/// Buckets are of positive 64-bit integers, and those at [`SCALE`] are the finest.
const INDEX_MAX: i64 = 64 << SCALE;
/// The first byte of what was recorded at [`SCALE`], minimum and maximum in their buckets. In the other form
/// it would be a scale that there is not.
const MEASURED: u8 = 0x7F;
/// Index of the bucket of 1, the least that is not a zero.
const INDEX_OF_ONE: i64 = -1;

/// Reads what [`encode`] wrote: `held` gets the buckets, from the least to the largest. `None` for bytes that
/// are no histogram.
pub(super) fn read(count: i64, sum: i64, bytes: &[u8], held: &mut Vec<Bucket>) -> Option<Outline> {
    held.clear();
    if count <= 0 {
        return None;
    }
    if bytes.is_empty() {
        let value = (sum / count).max(0);
        if value > 0 {
            held.push((bucket_index(value), count));
        }
        let zero_count = if value == 0 { count } else { 0 };
        return Some(Outline { count, sum, min: value, max: value, scale: SCALE, zero_count });
    }
    if let Some(rest) = bytes.strip_prefix(&[MEASURED]) {
        return read_measured(count, sum, Varints(rest), held);
    }
    let mut rest = Varints(bytes);
    let (scale, min) = (rest.signed()?, rest.signed()?);
    let (max, zero_count) = (rest.signed()?, rest.signed()?);
    let is_sane =
        (SCALE_MIN..=SCALE).contains(&scale) && zero_count >= 0 && (0..=max).contains(&min);
    rest.read_buckets(held).filter(|()| is_sane)?;
    Some(Outline { count, sum, min, max, scale, zero_count })
}

fn read_measured(
    count: i64,
    sum: i64,
    mut rest: Varints<'_>,
    held: &mut Vec<Bucket>,
) -> Option<Outline> {
    let min = rest.integer()?;
    let (max, zero_count) = if rest.0.is_empty() {
        let max = sum.checked_sub(min).filter(|max| count == 2 && *max > min)?;
        (max, i64::from(min == 0))
    } else {
        let max = min.checked_add(rest.integer()?)?;
        (max, if min == 0 { rest.integer()?.checked_add(1)? } else { 0 })
    };
    let (first, last) = (first_index(min), first_index(max));
    if min > 0 {
        held.push((first, 1));
    }
    rest.read_between(first, last, held)?;
    if max > 0 {
        count_more(held, last, 1);
    }
    Some(Outline { count, sum, min, max, scale: SCALE, zero_count })
}

/// Adds to the last bucket if it is this one, else the bucket.
#[inline]
fn count_more(held: &mut Vec<Bucket>, index: i64, count: i64) {
    match held.last_mut() {
        Some((last, counted)) if *last == index => *counted = counted.saturating_add(count),
        _ => held.push((index, count)),
    }
}

/// Where the buckets of values begin of which this is the least.
fn first_index(value: i64) -> i64 {
    if value > 0 { bucket_index(value) } else { INDEX_OF_ONE }
}

/// Writes the buckets of a histogram that has values.
pub(super) fn encode(histogram: &Histogram, out: &mut Vec<u8>) {
    let h = histogram;
    let is_read_back = h.min == h.max && h.sum / h.count == h.min;
    if is_read_back && *h == Histogram::of_equal(h.min, h.count) {
        return;
    }
    if encode_measured(h, out) {
        return;
    }
    out.clear();
    for value in [h.scale, h.min, h.max, h.zero_count] {
        push_signed(out, value);
    }
    let mut next: Option<i64> = None;
    for (index, count) in (h.offset..).zip(&h.counts).filter(|(_, count)| **count > 0) {
        match next {
            None => push_signed(out, index),
            Some(next) => push(out, (index - next).cast_unsigned()),
        }
        push(out, count.cast_unsigned());
        next = Some(index + 1);
    }
}

/// The shorter form. Says whether the histogram has it; else what was written is of no use.
fn encode_measured(h: &Histogram, out: &mut Vec<u8>) -> bool {
    if h.scale != SCALE || h.min < 0 || h.min >= h.max || (h.min == 0) != (h.zero_count > 0) {
        return false;
    }
    let (first, last) = (first_index(h.min), bucket_index(h.max));
    out.push(MEASURED);
    push(out, h.min.cast_unsigned());
    let between = out.len();
    push(out, (h.max - h.min).cast_unsigned());
    if h.min == 0 {
        push(out, (h.zero_count - 1).cast_unsigned());
    }
    let before_buckets = out.len();
    let (mut has_min, mut has_max) = (h.min == 0, false);
    let mut next = first;
    // As good as all take a byte or two.
    out.reserve(2 * h.counts.len());
    for (index, count) in (h.offset..).zip(&h.counts).filter(|(_, count)| **count != 0) {
        let mut left = *count;
        // Nearly all lie between the two.
        if index <= first || index >= last {
            let is_min = h.min > 0 && index == first;
            let is_max = index == last;
            (has_min, has_max) = (has_min || is_min, has_max || is_max);
            left -= i64::from(is_min) + i64::from(is_max);
            if index < first || index > last {
                return false;
            }
        }
        if left < 0 {
            return false;
        }
        if left == 0 {
            continue;
        }
        let distance = (index - next).cast_unsigned() << 1;
        push(out, distance | u64::from(left > 1));
        if left > 1 {
            push(out, (left - 2).cast_unsigned());
        }
        next = index + 1;
    }
    let is_pair = h.count == 2 && h.zero_count <= 1 && out.len() == before_buckets;
    if is_pair && h.max.checked_add(h.min) == Some(h.sum) {
        out.truncate(between);
    }
    has_min && has_max
}

fn push_signed(out: &mut Vec<u8>, value: i64) {
    push(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

#[inline]
fn push(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Reads varints.
struct Varints<'a>(&'a [u8]);

impl Varints<'_> {
    /// `None` at the end, and where a number is cut off or has more than 64 bits.
    #[inline]
    fn unsigned(&mut self) -> Option<u64> {
        // As good as all distances and counts.
        if let [first @ ..0x80, rest @ ..] = self.0 {
            self.0 = rest;
            return Some(u64::from(*first));
        }
        self.unsigned_of_many_bytes()
    }

    fn unsigned_of_many_bytes(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(first & 0x7F);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if *first < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// A number that is not negative.
    #[inline]
    fn integer(&mut self) -> Option<i64> {
        i64::try_from(self.unsigned()?).ok()
    }

    fn signed(&mut self) -> Option<i64> {
        let value = self.unsigned()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Reads all that is left: buckets of indices that there are.
    fn read_buckets(mut self, held: &mut Vec<Bucket>) -> Option<()> {
        let mut next = None;
        while !self.0.is_empty() {
            let index = match next {
                None => self.signed()?,
                Some(next) => self.integer()?.checked_add(next)?,
            };
            let count = self.integer()?;
            if !(-INDEX_MAX..=INDEX_MAX).contains(&index) {
                return None;
            }
            held.push((index, count));
            next = Some(index + 1);
        }
        Some(())
    }

    /// Reads all that is left: buckets from one index to another.
    fn read_between(mut self, first: i64, last: i64, held: &mut Vec<Bucket>) -> Option<()> {
        let mut next = first;
        while !self.0.is_empty() {
            let head = self.integer()?;
            let index = next.checked_add(head >> 1).filter(|index| *index <= last)?;
            let count = if head & 1 == 1 { self.integer()?.checked_add(2)? } else { 1 };
            // Only the first can be the minimum's, so no other has to be read back.
            if index == first {
                count_more(held, index, count);
            } else {
                held.push((index, count));
            }
            next = index + 1;
        }
        Some(())
    }
}
