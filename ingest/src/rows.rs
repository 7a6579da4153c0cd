//! Builders of record batches: one struct per table, one field per column, by the column's name.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder,
    ListArray, ListBuilder, RecordBatch, StringBuilder, StructArray, TimestampMicrosecondBuilder,
    new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use upriver_store::batch::TableBatch;
use upriver_store::schema::{Kind, Table, link_fields};
use upriver_store::time::UnixNanos;

/// Builds one column.
pub(crate) trait ColumnBuilder {
    /// The finished column.
    fn column(&mut self) -> ArrayRef;
}

/// Wraps a builder of Arrow so that it starts without room (Arrow's own make room for a thousand rows
/// in each of a hundred columns, for requests of a dozen), and so that a column of nulls, as most are,
/// costs a counter.
macro_rules! sparse_builder {
    ($(#[$doc:meta])* $name:ident of $builder:ty, $new:expr, $type:expr, $value:ty) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(crate) struct $name {
            values: Option<$builder>,
            /// Nulls at the end that are not in `values` yet.
            nulls: usize,
        }

        impl $name {
            pub(crate) fn append_value(&mut self, value: $value) {
                self.values().append_value(value);
            }

            pub(crate) fn append_null(&mut self) {
                self.nulls = self.nulls.saturating_add(1);
            }

            pub(crate) fn append_option(&mut self, value: Option<$value>) {
                match value {
                    Some(value) => self.append_value(value),
                    None => self.append_null(),
                }
            }

            fn values(&mut self) -> &mut $builder {
                let values = self.values.get_or_insert_with(|| $new);
                if self.nulls > 0 {
                    values.append_nulls(std::mem::take(&mut self.nulls));
                }
                values
            }
        }

        impl ColumnBuilder for $name {
            fn column(&mut self) -> ArrayRef {
                if self.values.is_none() {
                    return new_null_array(&$type, std::mem::take(&mut self.nulls));
                }
                Arc::new(self.values().finish())
            }
        }
    };
}

sparse_builder! {
    /// Builds a column of texts.
    TextBuilder of StringBuilder, StringBuilder::with_capacity(0, 0), DataType::Utf8, impl AsRef<str>
}
sparse_builder! {
    /// Builds a column of integers.
    IntBuilder of Int64Builder, Int64Builder::with_capacity(0), DataType::Int64, i64
}
sparse_builder! {
    /// Builds a column of floats.
    FloatBuilder of Float64Builder, Float64Builder::with_capacity(0), DataType::Float64, f64
}
sparse_builder! {
    /// Builds a column of truth values.
    BoolBuilder of BooleanBuilder, BooleanBuilder::with_capacity(0), DataType::Boolean, bool
}
sparse_builder! {
    /// Builds a column of bytes.
    BytesBuilder of BinaryBuilder, BinaryBuilder::with_capacity(0, 0), DataType::Binary, impl AsRef<[u8]>
}
/// Builds a `date` column.
#[derive(Debug)]
pub(crate) struct DateBuilder(Date32Builder);

impl Default for DateBuilder {
    fn default() -> Self {
        Self(Date32Builder::with_capacity(0))
    }
}

impl DateBuilder {
    pub(crate) fn append_value(&mut self, date: i32) {
        self.0.append_value(date);
    }
}

impl ColumnBuilder for DateBuilder {
    fn column(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

/// Builds a `time` column.
#[derive(Debug)]
pub(crate) struct TimeBuilder(TimestampMicrosecondBuilder);

impl Default for TimeBuilder {
    fn default() -> Self {
        Self(TimestampMicrosecondBuilder::with_capacity(0))
    }
}

impl TimeBuilder {
    pub(crate) fn append_value(&mut self, time: UnixNanos) {
        self.0.append_value(time.micros());
    }
}

impl ColumnBuilder for TimeBuilder {
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
    let schema = table.schema();
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
        #[derive(Debug, Default)]
        pub(crate) struct $name { $($column: $builder),* }

        impl $name {
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
