//! Histograms as a column: `struct(count, sum, buckets)`.
//!
//! Counts and sums are columns of their own, which SQL reads and which compress well. The rest is bytes
//! ([`super::encoding`]).

use std::cell::RefCell;
use std::sync::Arc;

use arrow::array::{
    Array, AsArray, BinaryArray, BinaryBuilder, Int64Array, Int64Builder, NullBufferBuilder,
    StructArray,
};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int64Type};

use super::encoding::{encode, read};
use super::{Bucket, Histogram, Outline};

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

/// A histogram of each value, null where it is: what [`HistogramBuilder`] makes of values recorded one by
/// one. One value needs no buckets.
pub fn of_each(values: &Int64Array) -> StructArray {
    let values = values.unary::<_, Int64Type>(|value| value.max(0));
    let validity = values.nulls().cloned();
    let count = Int64Array::new(vec![1; values.len()].into(), validity.clone());
    let no_buckets = OffsetBuffer::new_zeroed(values.len());
    let buckets = BinaryArray::new(no_buckets, Buffer::default(), validity.clone());
    StructArray::new(fields(), vec![Arc::new(count), Arc::new(values), Arc::new(buckets)], validity)
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
        let outline = self.read(row, &mut held)?;
        let mut histogram = Histogram { scale: outline.scale, ..Histogram::default() };
        histogram.add(outline, &held);
        Some(histogram)
    }

    /// Adds the histogram of a row to another; a row that is null or malformed adds nothing.
    pub fn merge_into(&self, row: usize, other: &mut Histogram) {
        let mut held = self.held.borrow_mut();
        if let Some(outline) = self.read(row, &mut held) {
            other.add(outline, &held);
        }
    }

    /// The same as [`Histogram::quantile`] of [`Self::get`], without putting the buckets in their places.
    pub fn quantile(&self, row: usize, q: f64) -> Option<f64> {
        let mut held = self.held.borrow_mut();
        self.read(row, &mut held)?.quantile(held.iter().copied(), q)
    }

    fn read(&self, row: usize, held: &mut Vec<Bucket>) -> Option<Outline> {
        if self.array.is_null(row) || self.count.is_null(row) || self.sum.is_null(row) {
            return None;
        }
        let bytes = if self.buckets.is_null(row) { &[] } else { self.buckets.value(row) };
        read(self.count.value(row), self.sum.value(row), bytes, held)
    }
}
