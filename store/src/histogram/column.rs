//! Histograms as a column: `struct(count, sum, buckets)`.
//!
//! Counts and sums are columns of their own, which SQL reads and which compress well. The rest is bytes,
//! since nearly all of a list of buckets is zeros and most minutes of most operations hold one span.
//! `buckets` is empty where all values are equal: they are `sum / count` then. Else it holds LEB128
//! varints, of which there are two forms.
//!
//! - Of values that were recorded one by one ([`MEASURED`]): the minimum; no more where there are two
//!   values, of which the other is the maximum. Else what is to be added to it for the maximum, the number of
//!   further zeros where the minimum is one, and the buckets, where the minimum and the maximum are left out:
//!   of each that is left its distance to the one after the last (the first to the minimum's) doubled,
//!   plus 1 where its count follows, less 2; else its count is 1.
//! - Of any: signed numbers (zigzag) scale, minimum, maximum, number of zeros, then for each bucket that is
//!   not empty its index (the first as it is, others as the distance to the one after the last) and its count.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::array::{
    Array, AsArray, BinaryArray, BinaryBuilder, Int64Array, Int64Builder, NullBufferBuilder,
    StructArray,
};
use arrow::datatypes::{DataType, Field, Fields, Int64Type};

use super::{Histogram, SCALE, bucket_index};

/// Coarser scales than this have less than a bucket for each power of ten.
const SCALE_MIN: i64 = -10;
/// Buckets are of positive 64-bit integers, and those at [`SCALE`] are the finest.
const INDEX_MAX: i64 = 64 << SCALE;
/// The first byte of what was recorded at [`SCALE`], minimum and maximum in their buckets. In the other form
/// it would be a scale that there is not.
const MEASURED: u8 = 0x7F;
/// Index of the bucket of 1, the least that is not a zero.
const INDEX_OF_ONE: i64 = -1;

/// The Arrow type of a histogram column.
pub fn data_type() -> DataType {
    DataType::Struct(fields())
}

fn fields() -> Fields {
    let field = |name, kind| Field::new(name, kind, true);
    Fields::from(vec![
        field("count", DataType::Int64),
        field("sum", DataType::Int64),
        field("buckets", DataType::Binary),
    ])
}

/// Builds a histogram column.
#[derive(Debug, Default)]
pub struct HistogramBuilder {
    count: Int64Builder,
    sum: Int64Builder,
    buckets: BinaryBuilder,
    validity: Validity,
    encoded: Vec<u8>,
}

#[derive(Debug)]
struct Validity(NullBufferBuilder);

impl Default for Validity {
    fn default() -> Self {
        Self(NullBufferBuilder::new(0))
    }
}

impl HistogramBuilder {
    /// Adds a row; an empty histogram becomes null.
    pub fn append(&mut self, histogram: &Histogram) {
        if histogram.count == 0 {
            return self.append_null();
        }
        self.count.append_value(histogram.count);
        self.sum.append_value(histogram.sum);
        self.encoded.clear();
        encode(histogram, &mut self.encoded);
        self.buckets.append_value(&self.encoded);
        self.validity.0.append_non_null();
    }

    /// Adds a null row.
    pub fn append_null(&mut self) {
        self.count.append_null();
        self.sum.append_null();
        self.buckets.append_null();
        self.validity.0.append_null();
    }

    /// The finished column.
    pub fn finish(&mut self) -> StructArray {
        let validity = self.validity.0.finish();
        let (count, sum) = (self.count.finish(), self.sum.finish());
        let buckets = self.buckets.finish();
        StructArray::new(
            fields(),
            vec![Arc::new(count), Arc::new(sum), Arc::new(buckets)],
            validity,
        )
    }
}

/// Reads a histogram column row by row.
#[derive(Debug)]
pub struct HistogramColumn<'a> {
    array: &'a StructArray,
    count: &'a Int64Array,
    sum: &'a Int64Array,
    buckets: &'a BinaryArray,
    /// The buckets of the row that is read: they are checked before any is counted.
    held: RefCell<Vec<Bucket>>,
}

/// Index and count.
type Bucket = (i64, i64);

impl<'a> HistogramColumn<'a> {
    /// Takes a column of [`data_type`]; `None` for any other type.
    pub fn new(array: &'a dyn Array) -> Option<Self> {
        if *array.data_type() != data_type() {
            return None;
        }
        let array = array.as_struct_opt()?;
        Some(Self {
            array,
            count: array.column(0).as_primitive::<Int64Type>(),
            sum: array.column(1).as_primitive::<Int64Type>(),
            buckets: array.column(2).as_binary(),
            held: RefCell::default(),
        })
    }

    /// The histogram of a row; `None` where it is null or malformed.
    pub fn get(&self, row: usize) -> Option<Histogram> {
        let mut held = self.held.borrow_mut();
        let encoded = self.encoded(row, &mut held)?;
        let mut histogram = Histogram { scale: encoded.scale, ..Histogram::default() };
        encoded.add_to(&mut histogram, &held);
        Some(histogram)
    }

    /// Adds the histogram of a row to another; a row that is null or malformed adds nothing.
    pub fn merge_into(&self, row: usize, other: &mut Histogram) {
        let mut held = self.held.borrow_mut();
        if let Some(encoded) = self.encoded(row, &mut held) {
            encoded.add_to(other, &held);
        }
    }

    fn encoded(&self, row: usize, held: &mut Vec<Bucket>) -> Option<Encoded> {
        if self.array.is_null(row) || self.count.is_null(row) || self.sum.is_null(row) {
            return None;
        }
        let bytes = if self.buckets.is_null(row) { &[] } else { self.buckets.value(row) };
        held.clear();
        Encoded::read(self.count.value(row), self.sum.value(row), bytes, held)
    }
}

/// A histogram as it is stored, checked; its buckets are held beside it.
#[derive(Clone, Copy, Debug)]
struct Encoded {
    count: i64,
    sum: i64,
    scale: i64,
    min: i64,
    max: i64,
    zeros: i64,
    form: Form,
}

/// What its buckets are.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// None: all values are equal.
    Equal,
    /// All.
    Each,
    /// From the minimum's to the maximum's, these two values left out.
    Between { first: i64, last: i64 },
}

impl Encoded {
    fn read(count: i64, sum: i64, bytes: &[u8], held: &mut Vec<Bucket>) -> Option<Self> {
        if count <= 0 {
            return None;
        }
        if bytes.is_empty() {
            let value = (sum / count).max(0);
            let zeros = if value == 0 { count } else { 0 };
            let (scale, form) = (SCALE, Form::Equal);
            return Some(Self { count, sum, scale, min: value, max: value, zeros, form });
        }
        if let Some(rest) = bytes.strip_prefix(&[MEASURED]) {
            return Self::read_measured(count, sum, Varints(rest), held);
        }
        let mut rest = Varints(bytes);
        let (scale, min) = (rest.signed()?, rest.signed()?);
        let (max, zeros) = (rest.signed()?, rest.signed()?);
        let is_sane = (SCALE_MIN..=SCALE).contains(&scale) && zeros >= 0;
        rest.read_buckets(held).filter(|()| is_sane)?;
        Some(Self { count, sum, scale, min, max, zeros, form: Form::Each })
    }

    fn read_measured(
        count: i64,
        sum: i64,
        mut rest: Varints<'_>,
        held: &mut Vec<Bucket>,
    ) -> Option<Self> {
        let min = rest.integer()?;
        let (max, zeros) = if rest.0.is_empty() {
            let max = sum.checked_sub(min).filter(|max| count == 2 && *max > min)?;
            (max, i64::from(min == 0))
        } else {
            let max = min.checked_add(rest.integer()?)?;
            (max, if min == 0 { rest.integer()?.checked_add(1)? } else { 0 })
        };
        let (first, last) = (first_index(min), first_index(max));
        rest.read_between(first, last, held)?;
        let form = Form::Between { first, last };
        Some(Self { count, sum, scale: SCALE, min, max, zeros, form })
    }

    fn add_to(self, other: &mut Histogram, held: &[Bucket]) {
        let Self { count, sum, scale, min, max, zeros, form } = self;
        other.count = other.count.saturating_add(count);
        other.sum = other.sum.saturating_add(sum);
        other.min = other.min.min(min);
        other.max = other.max.max(max);
        match form {
            Form::Equal => other.add_to_bucket(min, count),
            Form::Each => {
                other.zero_count = other.zero_count.saturating_add(zeros);
                other.downscale_to(scale);
                let shift = scale - other.scale;
                for (index, count) in held {
                    let counter = other.bucket(*index >> shift);
                    *counter = counter.saturating_add(*count);
                }
            }
            Form::Between { first, last } => {
                other.zero_count = other.zero_count.saturating_add(zeros);
                let lowest =
                    if min > 0 { first } else { held.first().map_or(last, |(index, _)| *index) };
                let shift = SCALE - other.scale;
                let low = lowest >> shift;
                let counters = other.counters(low, last >> shift);
                // All lie between the two, or it would not have been read.
                let mut add = |index: i64, count: i64| {
                    let place = usize::try_from((index >> shift) - low).ok();
                    if let Some(counter) = place.and_then(|place| counters.get_mut(place)) {
                        *counter = counter.saturating_add(count);
                    }
                };
                if min > 0 {
                    add(first, 1);
                }
                if max > 0 {
                    add(last, 1);
                }
                for (index, count) in held {
                    add(*index, *count);
                }
            }
        }
    }
}

/// Where the buckets of values begin of which this is the least.
fn first_index(value: i64) -> i64 {
    if value > 0 { bucket_index(value) } else { INDEX_OF_ONE }
}

fn encode(histogram: &Histogram, out: &mut Vec<u8>) {
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
            held.push((index, count));
            next = index + 1;
        }
        Some(())
    }
}
