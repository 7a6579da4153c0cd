//! Rows of minutes from rows of spans, bodies and samples: pure functions of the set of rows. Metrics of body
//! sizes add to edges too; where they are cumulative, the order of the rows counts.
//!
//! What comes out is additive: two parts of a minute may lie in two rows, and [`merge_partials`]
//! puts them together when files are compacted.

mod edges;
mod hours;
mod merge;
mod operations;
mod profiles;
mod size_metrics;

pub use edges::edge_minutes;
pub use hours::{HOUR_MICROS, hours};
pub use merge::merge_partials;
pub use operations::operation_minutes;
pub use profiles::profile_minutes;
pub use size_metrics::{SizeMetrics, has_sizes};

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use foldhash::fast::RandomState;

use crate::histogram::{Histogram, HistogramBuilder};
use crate::schema::{Kind, Table};
use crate::time::UnixNanos;

/// The columns of spans that minutes are made of.
pub(crate) const OF_SPANS: [&str; 22] = [
    "start_unix_nano",
    "service_name",
    "span_name",
    "span_kind",
    "operation",
    "status_code",
    "service_version",
    "deployment_environment_name",
    "parent_service",
    "callee_service",
    "callee_operation",
    "peer_service",
    "server_address",
    "duration_ns",
    "self_time_ns",
    "adjusted_count_micros",
    "request_wire_bytes",
    "request_uncompressed_bytes",
    "response_wire_bytes",
    "response_uncompressed_bytes",
    "time",
    "date",
];
/// The rows of a table of minutes that spans come to; none of a table that is not made of spans.
pub(crate) fn minutes_of_spans(minutes: Table, spans: &[RecordBatch]) -> RecordBatch {
    match minutes {
        Table::OperationMinutes => operation_minutes(spans),
        Table::EdgeMinutes => edge_minutes(spans, &[]),
        _ => RecordBatch::new_empty(minutes.schema()),
    }
}

/// What is added up, by key. A commit looks a key up for every span.
type Sums<K, V> = HashMap<K, V, RandomState>;

/// The sums in the order of their keys, which is the table's.
fn in_order<K: Copy + Ord, V>(sums: &Sums<K, V>) -> Vec<(&K, &V)> {
    let mut sorted: Vec<_> = sums.iter().collect();
    sorted.sort_unstable_by_key(|(key, _)| **key);
    sorted
}

/// One value of a rollup row, in the order of the table's columns.
enum Value<'a> {
    Text(Option<&'a str>),
    Int(i64),
    Minute(UnixNanos),
    Histogram(&'a Histogram),
    Date(UnixNanos),
}

/// Builds rows of a rollup table value by value.
struct RowBuilder {
    table: Table,
    columns: Vec<ColumnBuilder>,
}

#[expect(clippy::large_enum_variant, reason = "one for each column of a batch")]
enum ColumnBuilder {
    Text(StringBuilder),
    Int(Int64Builder),
    Time(TimestampMicrosecondBuilder),
    Histogram(HistogramBuilder),
    Date(Date32Builder),
}

impl RowBuilder {
    fn new(table: Table) -> Self {
        let builder = |kind| match kind {
            Kind::Int => ColumnBuilder::Int(Int64Builder::new()),
            Kind::Time => ColumnBuilder::Time(
                TimestampMicrosecondBuilder::new().with_data_type(Kind::Time.data_type()),
            ),
            Kind::Histogram => ColumnBuilder::Histogram(HistogramBuilder::default()),
            Kind::Date => ColumnBuilder::Date(Date32Builder::new()),
            _ => ColumnBuilder::Text(StringBuilder::new()),
        };
        Self { table, columns: table.columns().iter().map(|c| builder(c.kind)).collect() }
    }

    fn append<const N: usize>(&mut self, values: [Value<'_>; N]) {
        debug_assert_eq!(N, self.columns.len(), "{}", self.table.name());
        for (column, value) in self.columns.iter_mut().zip(values) {
            match (column, value) {
                (ColumnBuilder::Text(b), Value::Text(text)) => b.append_option(text),
                (ColumnBuilder::Int(b), Value::Int(value)) => b.append_value(value),
                (ColumnBuilder::Time(b), Value::Minute(time)) => b.append_value(time.micros()),
                (ColumnBuilder::Histogram(b), Value::Histogram(value)) => b.append(value),
                (ColumnBuilder::Date(b), Value::Date(time)) => b.append_value(time.date()),
                _ => debug_assert!(false, "a value of {} is of another kind", self.table.name()),
            }
        }
    }

    fn finish(self) -> RecordBatch {
        let columns = self.columns.into_iter().map(|column| match column {
            ColumnBuilder::Text(mut b) => Arc::new(b.finish()) as ArrayRef,
            ColumnBuilder::Int(mut b) => Arc::new(b.finish()),
            ColumnBuilder::Time(mut b) => Arc::new(b.finish()),
            ColumnBuilder::Histogram(mut b) => Arc::new(b.finish()),
            ColumnBuilder::Date(mut b) => Arc::new(b.finish()),
        });
        let schema = self.table.schema();
        RecordBatch::try_new(schema, columns.collect())
            .expect("every builder follows the table's columns")
    }
}
