//! Builders of record batches: one struct per table, one field per column, by the column's name.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub(crate) mod texts;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryBuilder, BooleanBuilder, Float64Builder, Int64Builder, ListArray,
    ListBuilder, PrimitiveArray, RecordBatch, StringBuilder, StructArray, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Field, Float64Type, Int64Type,
    TimestampMicrosecondType,
};
use upriver_store::batch::TableBatch;
use upriver_store::schema::{Kind, Table, link_fields};
use upriver_store::sparse::SparseValues;
use upriver_store::text_column::FoldedTextBuilder;
use upriver_store::time::UnixNanos;

/// Rows that a builder makes room for at once. A request may announce any number of them.
pub(crate) const ROOM_ROWS_MAX: usize = 4_096;
/// Bytes of a value that room is made for; the first one of a column stands for all.
const ROOM_VALUE_BYTES_MAX: usize = 64;

/// Builds one column.
pub(crate) trait ColumnBuilder: Default {
    /// No rows yet, of which about so many will come.
    fn with_rows(_rows: usize) -> Self {
        Self::default()
    }

    /// The finished column.
    fn column(&mut self) -> ArrayRef;
}

/// Wraps a builder of Arrow so that it has room for the rows that will come (Arrow's own make room for
/// a thousand in each of a hundred columns, for requests of a dozen), and so that a column of nulls, as
/// most are, costs a counter.
macro_rules! sparse_builder {
    (
        $(#[$doc:meta])*
        $name:ident of $builder:ty, $type:expr, $value:ty, $first:ident => $bytes:expr, $new:expr
    ) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(crate) struct $name {
            values: Option<$builder>,
            /// Nulls at the end that are not in `values` yet.
            nulls: usize,
            /// Rows to make room for with the first value.
            rows: usize,
        }

        impl $name {
            #[inline]
            pub(crate) fn append_value(&mut self, value: $value) {
                if let (Some(values), 0) = (&mut self.values, self.nulls) {
                    values.append_value(value);
                } else {
                    let $first = &value;
                    let bytes: usize = $bytes;
                    self.begin(bytes).append_value(value);
                }
            }

            #[inline]
            pub(crate) fn append_null(&mut self) {
                self.append_nulls(1);
            }

            #[inline]
            pub(crate) fn append_nulls(&mut self, rows: usize) {
                self.nulls = self.nulls.saturating_add(rows);
            }

            #[inline]
            pub(crate) fn append_option(&mut self, value: Option<$value>) {
                match value {
                    Some(value) => self.append_value(value),
                    None => self.append_null(),
                }
            }

            /// The values, with the nulls before them; one of so many bytes comes next.
            fn begin(&mut self, bytes: usize) -> &mut $builder {
                let new: fn(usize, usize) -> $builder = $new;
                let rows = self.rows;
                let room = rows.saturating_mul(bytes.min(ROOM_VALUE_BYTES_MAX));
                let values = self.values.get_or_insert_with(|| new(rows, room));
                values.append_nulls(std::mem::take(&mut self.nulls));
                values
            }
        }

        impl ColumnBuilder for $name {
            fn with_rows(rows: usize) -> Self {
                Self { rows: rows.min(ROOM_ROWS_MAX), ..Self::default() }
            }

            fn column(&mut self) -> ArrayRef {
                let nulls = std::mem::take(&mut self.nulls);
                let Some(mut values) = self.values.take() else {
                    return new_null_array(&$type, nulls);
                };
                values.append_nulls(nulls);
                Arc::new(values.finish())
            }
        }
    };
}

sparse_builder! {
    /// Builds a column of texts.
    TextBuilder of StringBuilder, DataType::Utf8, impl AsRef<str>, text => text.as_ref().len(),
    StringBuilder::with_capacity
}
sparse_builder! {
    /// Builds a column of truth values.
    BoolBuilder of BooleanBuilder, DataType::Boolean, bool, _value => 0,
    |rows, _bytes| BooleanBuilder::with_capacity(rows)
}
sparse_builder! {
    /// Builds a column of bytes.
    BytesBuilder of BinaryBuilder, DataType::Binary, impl AsRef<[u8]>, bytes => bytes.as_ref().len(),
    BinaryBuilder::with_capacity
}

impl ColumnBuilder for FoldedTextBuilder {
    fn with_rows(rows: usize) -> Self {
        Self::with_rows(rows.min(ROOM_ROWS_MAX))
    }

    fn column(&mut self) -> ArrayRef {
        Arc::new(std::mem::take(self).finish())
    }
}

/// Builds a column of numbers.
#[derive(Debug)]
pub(crate) struct NumberBuilder<T: ArrowPrimitiveType>(SparseValues<T::Native>);

/// Builds a column of integers.
pub(crate) type IntBuilder = NumberBuilder<Int64Type>;
/// Builds a column of floats.
pub(crate) type FloatBuilder = NumberBuilder<Float64Type>;
/// Builds a `date` column.
pub(crate) type DateBuilder = NumberBuilder<Date32Type>;

impl<T: ArrowPrimitiveType> Default for NumberBuilder<T> {
    fn default() -> Self {
        Self::with_rows(0)
    }
}

impl<T: ArrowPrimitiveType> NumberBuilder<T> {
    #[inline]
    pub(crate) fn append_value(&mut self, value: T::Native) {
        self.0.push(value);
    }

    #[inline]
    pub(crate) fn append_null(&mut self) {
        self.append_nulls(1);
    }

    #[inline]
    pub(crate) fn append_nulls(&mut self, rows: usize) {
        self.0.push_nulls(rows);
    }

    #[inline]
    pub(crate) fn append_option(&mut self, value: Option<T::Native>) {
        match value {
            Some(value) => self.append_value(value),
            None => self.append_null(),
        }
    }

    fn finish(&mut self) -> PrimitiveArray<T> {
        let (values, nulls) = std::mem::take(&mut self.0).finish();
        PrimitiveArray::new(values.into(), nulls)
    }
}

impl<T: ArrowPrimitiveType> ColumnBuilder for NumberBuilder<T> {
    fn with_rows(rows: usize) -> Self {
        Self(SparseValues::with_rows(rows.min(ROOM_ROWS_MAX)))
    }

    fn column(&mut self) -> ArrayRef {
        Arc::new(self.finish())
    }
}

/// Builds a `time` column.
#[derive(Debug, Default)]
pub(crate) struct TimeBuilder(NumberBuilder<TimestampMicrosecondType>);

impl TimeBuilder {
    #[inline]
    pub(crate) fn append_value(&mut self, time: UnixNanos) {
        self.0.append_value(time.micros());
    }
}

impl ColumnBuilder for TimeBuilder {
    fn with_rows(rows: usize) -> Self {
        Self(NumberBuilder::with_rows(rows))
    }

    fn column(&mut self) -> ArrayRef {
        Arc::new(self.0.finish().with_timezone("UTC"))
    }
}

/// Builds a column of lists of integers.
#[derive(Debug)]
pub(crate) struct IntListBuilder(ListBuilder<Int64Builder>);

impl Default for IntListBuilder {
    fn default() -> Self {
        Self(
            ListBuilder::with_capacity(Int64Builder::with_capacity(0), 0)
                .with_field(element(Kind::IntList)),
        )
    }
}

impl IntListBuilder {
    /// Adds a row.
    pub(crate) fn append_option(&mut self, values: Option<&[i64]>) {
        if let Some(values) = values {
            self.0.values().append_slice(values);
        }
        self.0.append(values.is_some());
    }
}

impl ColumnBuilder for IntListBuilder {
    fn column(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

/// Builds a column of lists of floats.
#[derive(Debug)]
pub(crate) struct FloatListBuilder(ListBuilder<Float64Builder>);

impl Default for FloatListBuilder {
    fn default() -> Self {
        Self(
            ListBuilder::with_capacity(Float64Builder::with_capacity(0), 0)
                .with_field(element(Kind::FloatList)),
        )
    }
}

impl FloatListBuilder {
    /// Adds a row.
    pub(crate) fn append_option(&mut self, values: Option<&[f64]>) {
        if let Some(values) = values {
            self.0.values().append_slice(values);
        }
        self.0.append(values.is_some());
    }
}

impl ColumnBuilder for FloatListBuilder {
    fn column(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

/// Builds a column of span links.
#[derive(Debug, Default)]
pub(crate) struct LinksBuilder {
    trace_ids: BytesBuilder,
    span_ids: IntBuilder,
    lengths: Vec<usize>,
    open: usize,
}

impl LinksBuilder {
    /// Adds a link to the current row.
    pub(crate) fn push(&mut self, trace_id: &[u8], span_id: i64) {
        self.trace_ids.append_value(trace_id);
        self.span_ids.append_value(span_id);
        self.open = self.open.saturating_add(1);
    }

    /// Ends the row.
    pub(crate) fn finish_row(&mut self) {
        self.lengths.push(std::mem::take(&mut self.open));
    }
}

impl ColumnBuilder for LinksBuilder {
    fn column(&mut self) -> ArrayRef {
        let columns = vec![self.trace_ids.column(), self.span_ids.column()];
        let links = StructArray::new(link_fields(), columns, None);
        let offsets = OffsetBuffer::from_lengths(std::mem::take(&mut self.lengths));
        Arc::new(ListArray::new(element(Kind::Links), offsets, Arc::new(links), None))
    }
}

/// The element field of a list column, as the schema has it.
pub(crate) fn element(kind: Kind) -> Arc<Field> {
    match kind.data_type() {
        DataType::List(element) => element,
        other => Arc::new(Field::new("element", other, true)),
    }
}

/// The finished columns as a batch of the table, in the order of its schema; `None` without rows. Rows
/// may wait long for their commit, so the columns give back the room that they do not need.
pub(crate) fn batch(table: Table, columns: &mut [(&'static str, ArrayRef)]) -> Option<TableBatch> {
    for (_, column) in columns.iter_mut() {
        Array::shrink_to_fit(column);
    }
    let schema = table.arriving_schema();
    let in_order = schema.fields().iter().map(|field| {
        let found = columns.iter().find(|(name, _)| name == field.name());
        found.map(|(_, column)| Arc::clone(column)).expect("every column has a builder")
    });
    let rows = RecordBatch::try_new(Arc::clone(&schema), in_order.collect())
        .expect("each row appends to every builder");
    (rows.num_rows() > 0).then(|| TableBatch::new(table, rows))
}

/// Declares the rows of a table: a struct with a builder per column, and `finish`.
macro_rules! table_rows {
    ($(#[$doc:meta])* $name:ident of $table:expr, { $($column:ident: $builder:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name { $($column: $builder),* }

        impl Default for $name {
            fn default() -> Self {
                Self::with_rows(0)
            }
        }

        impl $name {
            /// No rows yet, of which about so many will come.
            pub(crate) fn with_rows(rows: usize) -> Self {
                Self { $($column: $crate::rows::ColumnBuilder::with_rows(rows)),* }
            }

            /// The rows as a batch; `None` without rows.
            pub(crate) fn finish(mut self) -> Option<::upriver_store::batch::TableBatch> {
                let mut columns = [
                    $((stringify!($column), $crate::rows::ColumnBuilder::column(&mut self.$column))),*
                ];
                $crate::rows::batch($table, &mut columns)
            }
        }
    };
}
pub(crate) use table_rows;

#[cfg(test)]
pub(crate) mod tests;
