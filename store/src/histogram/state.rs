//! Histograms between the steps of one query: a column of bytes that is quick to write and to read, and
//! never stored.
//!
//! Seven numbers of 64 bits (count, sum, minimum, maximum, scale, zeros, index of the first bucket), the
//! number of bytes of a counter, and the counters, each of as many bytes as the largest needs. All are
//! little-endian.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, LargeBinaryArray, LargeBinaryBuilder};
use arrow::datatypes::DataType;

use super::{Histogram, Outline};

/// Bytes of a number.
const NUMBER: usize = size_of::<i64>();
/// Numbers before the counters.
const NUMBERS: usize = 7;

/// Builds a column of states.
#[derive(Debug, Default)]
pub struct StateBuilder {
    column: LargeBinaryBuilder,
    state: Vec<u8>,
}

impl StateBuilder {
    /// Adds a row; an empty histogram becomes null.
    pub fn append(&mut self, histogram: &Histogram) {
        if histogram.count == 0 {
            return self.column.append_null();
        }
        self.state.clear();
        write(histogram, &mut self.state);
        self.column.append_value(&self.state);
    }

    /// The finished column.
    pub fn finish(&mut self) -> ArrayRef {
        Arc::new(self.column.finish())
    }
}

/// Reads a column of states.
#[derive(Debug)]
pub struct StateColumn<'a> {
    column: &'a LargeBinaryArray,
    /// What the row that is read holds.
    held: Histogram,
}

impl<'a> StateColumn<'a> {
    /// The Arrow type of the column.
    pub const TYPE: DataType = DataType::LargeBinary;

    /// Takes a column of [`Self::TYPE`]; `None` for any other type.
    pub fn new(array: &'a dyn Array) -> Option<Self> {
        Some(Self { column: array.as_binary_opt()?, held: Histogram::default() })
    }

    /// Adds the histogram of a row to another; a row that is null adds nothing. `None` where it is
    /// malformed.
    pub fn merge_into(&mut self, row: usize, other: &mut Histogram) -> Option<()> {
        if self.column.is_valid(row) {
            read(self.column.value(row), &mut self.held)?;
            other.merge(&self.held);
        }
        Some(())
    }
}

fn write(histogram: &Histogram, out: &mut Vec<u8>) {
    let Outline { count, sum, min, max, scale, zero_count } = histogram.outline();
    for number in [count, sum, min, max, scale, zero_count, histogram.offset] {
        out.extend(number.to_le_bytes());
    }
    let bits = histogram.counts.iter().fold(0, |all, count| all | *count).cast_unsigned();
    let (width, write): (u8, WriteCounters) = match bits {
        ..0x100 => (1, write_counters::<1>),
        0x100..0x1_0000 => (2, write_counters::<2>),
        0x1_0000..0x1_0000_0000 => (4, write_counters::<4>),
        _ => (8, write_counters::<8>),
    };
    out.push(width);
    write(&histogram.counts, out);
}

/// Writes counters of some width.
type WriteCounters = fn(&[i64], &mut Vec<u8>);

fn write_counters<const WIDTH: usize>(counts: &[i64], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + counts.len() * WIDTH, 0);
    for (place, count) in out[start..].chunks_exact_mut(WIDTH).zip(counts) {
        place.copy_from_slice(&count.to_le_bytes()[..WIDTH]);
    }
}

fn read(state: &[u8], histogram: &mut Histogram) -> Option<()> {
    let (numbers, rest) = state.split_at_checked(NUMBERS * NUMBER)?;
    let (width, counters) = rest.split_first()?;
    let numbers: &[_; NUMBERS] = numbers.as_chunks().0.try_into().ok()?;
    let [count, sum, min, max, scale, zero_count, offset] = numbers.map(i64::from_le_bytes);
    let counts = std::mem::take(&mut histogram.counts);
    *histogram = Histogram { count, sum, min, max, scale, zero_count, offset, counts };
    match width {
        1 => read_counters::<1>(counters, &mut histogram.counts),
        2 => read_counters::<2>(counters, &mut histogram.counts),
        4 => read_counters::<4>(counters, &mut histogram.counts),
        8 => read_counters::<8>(counters, &mut histogram.counts),
        _ => return None,
    }
    Some(())
}

fn read_counters<const WIDTH: usize>(counters: &[u8], counts: &mut Vec<i64>) {
    counts.clear();
    counts.extend(counters.as_chunks::<WIDTH>().0.iter().map(|counter| {
        let mut number = [0; NUMBER];
        number[..WIDTH].copy_from_slice(counter);
        i64::from_le_bytes(number)
    }));
}
