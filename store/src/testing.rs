//! Rows for the tests of this crate: a span is what a case says of it, the rest is plain.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Date32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::DataType;

use crate::schema::{Kind, Table};
use crate::time::UnixNanos;

/// A span of a test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span<'a> {
    pub(crate) trace: i64,
    pub(crate) id: i64,
    pub(crate) parent: Option<i64>,
    pub(crate) start: i64,
    pub(crate) duration: i64,
    pub(crate) service: &'a str,
    pub(crate) name: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) instance: Option<&'a str>,
    pub(crate) status: &'a str,
}

impl Span<'_> {
    /// A span of 10 ns of service `shop`.
    pub(crate) fn new(trace: i64, id: i64, start: i64) -> Self {
        Self {
            trace,
            id,
            parent: None,
            start,
            duration: 10,
            service: "shop",
            name: "work",
            kind: "INTERNAL",
            instance: None,
            status: "UNSET",
        }
    }
}

/// The spans as rows, the way a decoder gives them.
pub(crate) fn spans(spans: &[Span<'_>]) -> RecordBatch {
    let columns = Table::Spans.columns().iter().map(|column| -> ArrayRef {
        let texts = |of: &dyn Fn(&Span<'_>) -> Option<String>| -> ArrayRef {
            Arc::new(spans.iter().map(of).collect::<StringArray>())
        };
        let integers = |of: &dyn Fn(&Span<'_>) -> Option<i64>| -> ArrayRef {
            Arc::new(spans.iter().map(of).collect::<Int64Array>())
        };
        match column.name {
            "time" => {
                let micros = spans.iter().map(|span| UnixNanos(span.start).micros());
                let times = TimestampMicrosecondArray::from_iter_values(micros);
                Arc::new(times.with_timezone("UTC"))
            }
            "start_unix_nano" => integers(&|span| Some(span.start)),
            "duration_ns" => integers(&|span| Some(span.duration)),
            "span_id" => integers(&|span| Some(span.id)),
            "parent_span_id" => integers(&|span| span.parent),
            "adjusted_count_micros" => integers(&|_| Some(1_000_000)),
            "service_name" => texts(&|span| Some(span.service.to_owned())),
            "span_name" | "operation" => texts(&|span| Some(span.name.to_owned())),
            "span_kind" => texts(&|span| Some(span.kind.to_owned())),
            "status_code" => texts(&|span| Some(span.status.to_owned())),
            "service_instance_id" => texts(&|span| span.instance.map(str::to_owned)),
            "trace_id" => {
                let ids: Vec<_> =
                    spans.iter().map(|span| i128::from(span.trace).to_be_bytes()).collect();
                Arc::new(BinaryArray::from_iter_values(ids))
            }
            "date" => {
                let dates = spans.iter().map(|span| UnixNanos(span.start).date());
                Arc::new(Date32Array::from_iter_values(dates))
            }
            _ => plain(column.kind, column.nullable, spans.len()),
        }
    });
    RecordBatch::try_new(Table::Spans.schema(), columns.collect()).unwrap()
}

/// Rows of any table: the columns that are given, plain values in the others.
pub(crate) fn rows(table: Table, count: usize, given: &[(&str, ArrayRef)]) -> RecordBatch {
    let columns = table.columns().iter().map(|column| {
        let found = given.iter().find(|(name, _)| *name == column.name);
        found.map_or_else(
            || plain(column.kind, column.nullable, count),
            |(_, values)| Arc::clone(values),
        )
    });
    RecordBatch::try_new(table.schema(), columns.collect()).unwrap()
}

fn plain(kind: Kind, nullable: bool, rows: usize) -> ArrayRef {
    if nullable {
        return new_null_array(&kind.data_type(), rows);
    }
    match kind {
        Kind::Int => Arc::new(Int64Array::from(vec![0; rows])),
        Kind::Text => Arc::new(StringArray::from(vec![""; rows])),
        other => empty(&other.data_type(), rows),
    }
}

/// Empty maps and lists.
fn empty(kind: &DataType, rows: usize) -> ArrayRef {
    let nulls = new_null_array(kind, rows).to_data();
    let data = nulls.into_builder().nulls(None).build().unwrap();
    arrow::array::make_array(data)
}
