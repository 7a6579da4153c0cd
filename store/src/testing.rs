//! Rows for the tests of this crate: a span is what a case says of it, the rest is plain.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Date32Array, DictionaryArray, Float64Array,
    Float64Builder, Int32Array, Int64Array, Int64Builder, ListBuilder, MapArray, MapBuilder,
    MapFieldNames, RecordBatch, StringArray, StringBuilder, StructArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type};

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
    /// Bytes of its response.
    pub(crate) response: Option<i64>,
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
            response: None,
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
            "response_wire_bytes" => integers(&|span| span.response),
            "response_size_attribute" => {
                texts(&|span| span.response.map(|_| "http.response.body.size".to_owned()))
            }
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

/// A data point of an explicit histogram with the bounds 100 and 1,000.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SizePoint<'a> {
    pub(crate) metric: &'a str,
    pub(crate) service: &'a str,
    pub(crate) scope: &'a str,
    pub(crate) unit: &'a str,
    pub(crate) temporality: &'a str,
    pub(crate) start: i64,
    pub(crate) time: i64,
    pub(crate) counts: [i64; 3],
    pub(crate) sum: f64,
    pub(crate) attributes: &'a [(&'a str, &'a str)],
}

impl SizePoint<'_> {
    /// Three delta responses of 50 bytes to `GET /sku`, as the service `stock` measured them.
    pub(crate) fn new(time: i64) -> Self {
        Self {
            metric: "http.server.response.body.size",
            service: "stock",
            scope: "",
            unit: "By",
            temporality: "delta",
            start: 0,
            time,
            counts: [3, 0, 0],
            sum: 150.0,
            attributes: &[("http.request.method", "GET"), ("http.route", "/sku")],
        }
    }
}

/// The points as rows of `metric_histograms`, the way a decoder gives them.
pub(crate) fn size_points(points: &[SizePoint<'_>]) -> RecordBatch {
    let texts = |of: &dyn Fn(&SizePoint<'_>) -> String| -> ArrayRef {
        Arc::new(points.iter().map(|point| Some(of(point))).collect::<StringArray>())
    };
    let integers = |of: &dyn Fn(&SizePoint<'_>) -> i64| -> ArrayRef {
        Arc::new(points.iter().map(of).collect::<Int64Array>())
    };
    let element = |kind| Arc::new(Field::new("element", kind, true));
    let mut bounds = ListBuilder::new(Float64Builder::new()).with_field(element(DataType::Float64));
    let mut counts = ListBuilder::new(Int64Builder::new()).with_field(element(DataType::Int64));
    let names = MapFieldNames {
        entry: "key_value".to_owned(),
        key: "key".to_owned(),
        value: "value".to_owned(),
    };
    let mut attributes = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for point in points {
        bounds.append_value([Some(100.0), Some(1_000.0)]);
        counts.append_value(point.counts.map(Some));
        for (key, value) in point.attributes {
            attributes.keys().append_value(key);
            attributes.values().append_value(value);
        }
        attributes.append(true).unwrap();
    }
    // A series is what its texts are.
    let series = |point: &SizePoint<'_>| {
        let texts = format!("{}{}{:?}", point.metric, point.service, point.attributes);
        texts.bytes().fold(7i64, |hash, byte| hash.wrapping_mul(31) + i64::from(byte))
    };
    let micros = points.iter().map(|point| UnixNanos(point.time).micros());
    let dates = points.iter().map(|point| UnixNanos(point.time).date());
    let given: [(&str, ArrayRef); 15] = [
        (
            "time",
            Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC")),
        ),
        ("time_unix_nano", integers(&|point| point.time)),
        ("start_unix_nano", integers(&|point| point.start)),
        ("metric_name", texts(&|point| point.metric.to_owned())),
        ("service_name", texts(&|point| point.service.to_owned())),
        ("scope_name", texts(&|point| point.scope.to_owned())),
        ("unit", texts(&|point| point.unit.to_owned())),
        ("temporality", texts(&|point| point.temporality.to_owned())),
        ("series_id", integers(&series)),
        ("count", integers(&|point| point.counts.iter().sum())),
        ("sum", Arc::new(points.iter().map(|point| Some(point.sum)).collect::<Float64Array>())),
        ("explicit_bounds", Arc::new(bounds.finish())),
        ("bucket_counts", Arc::new(counts.finish())),
        ("attributes", Arc::new(attributes.finish())),
        ("date", Arc::new(Date32Array::from_iter_values(dates))),
    ];
    rows(Table::MetricHistograms, points.len(), &given)
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

pub(crate) fn plain(kind: Kind, nullable: bool, rows: usize) -> ArrayRef {
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

/// The rows as they arrive: texts, names of attributes and sets of attributes that rows have in common are
/// there once. Of sets of attributes and of some texts the rows get others than they had.
pub(crate) fn arriving(table: Table, rows: &RecordBatch) -> RecordBatch {
    let schema = table.arriving_schema();
    let columns = rows.columns().iter().zip(schema.fields()).map(|(column, field)| -> ArrayRef {
        match field.data_type() {
            data_type if column.data_type() == data_type => Arc::clone(column),
            DataType::Map(entry, _) => {
                let DataType::Struct(fields) = entry.data_type() else { panic!("{entry:?}") };
                let map = column.as_map();
                let keys = cast(map.keys(), fields[0].data_type()).unwrap();
                let columns = vec![keys, Arc::clone(map.values())];
                let entries = StructArray::new(fields.clone(), columns, None);
                let offsets = map.offsets().clone();
                Arc::new(MapArray::new(Arc::clone(entry), offsets, entries, None, false))
            }
            _ => {
                let count = i32::try_from(column.len()).unwrap();
                let set = |row: i32| {
                    (!field.is_nullable() || row % 4 < 3).then_some(row * 7 % count.min(5))
                };
                let sets: Int32Array = (0..count).map(set).collect();
                // Some have as many texts as rows, some fewer.
                let kept = if field.name().len() % 2 == 0 { 5 } else { column.len() };
                let kept = column.slice(0, kept.min(column.len()));
                Arc::new(DictionaryArray::<Int32Type>::new(sets, kept))
            }
        }
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
}
