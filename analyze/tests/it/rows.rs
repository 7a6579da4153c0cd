//! Rows of tables from JSON: a case names the columns that it is about, the rest is plain.

use std::io::Cursor;

use arrow::array::RecordBatch;
use arrow::json::ReaderBuilder;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use upriver_store::batch::TableBatch;
use upriver_store::schema::{Column, Kind, Table};
use upriver_store::time::UnixNanos;

/// Rows of a table. Instants are RFC 3339 in `time`; the exact nanoseconds and `date` follow from it.
pub(crate) fn rows(table: Table, rows: impl IntoIterator<Item = Value>) -> TableBatch {
    TableBatch::new(table, batch(table, rows))
}

pub(crate) fn batch(table: Table, rows: impl IntoIterator<Item = Value>) -> RecordBatch {
    let mut lines = String::new();
    let mut count = 0;
    for row in rows {
        lines.push_str(&complete(table, row).to_string());
        lines.push('\n');
        count += 1;
    }
    let reader = ReaderBuilder::new(table.schema()).with_batch_size(count.max(1));
    let mut batches = reader.build(Cursor::new(lines)).unwrap();
    batches.next().map_or_else(|| RecordBatch::new_empty(table.schema()), Result::unwrap)
}

/// Nanoseconds of an instant.
pub(crate) fn nanos(instant: &str) -> i64 {
    let time: Timestamp = instant.parse().unwrap();
    i64::try_from(time.as_nanosecond()).unwrap()
}

/// The instant as RFC 3339.
pub(crate) fn text(nanos: i64) -> String {
    Timestamp::from_nanosecond(i128::from(nanos)).unwrap().to_string()
}

fn complete(table: Table, row: Value) -> Value {
    let Value::Object(mut row) = row else { panic!("a row is an object") };
    let known: Vec<_> = table.columns().iter().map(|column| column.name).collect();
    for name in row.keys() {
        assert!(known.contains(&name.as_str()), "{} has no column {name}", table.name());
    }
    let instant = nanos(row["time"].as_str().expect("every row has a time"));
    for exact in ["start_unix_nano", "time_unix_nano", "first_unix_nano", "last_unix_nano"] {
        if known.contains(&exact) && !(table == Table::Metrics && exact == "start_unix_nano") {
            row.entry(exact).or_insert(json!(instant));
        }
    }
    row.insert("date".to_owned(), json!(UnixNanos(instant).date()));
    for column in table.columns() {
        fill(&mut row, column);
    }
    Value::Object(row)
}

fn fill(row: &mut Map<String, Value>, column: &Column) {
    let missing = match column.kind {
        _ if column.nullable => return,
        Kind::Text => json!(""),
        Kind::Int => json!(0),
        Kind::Float => json!(0.0),
        Kind::Bool => json!(false),
        Kind::TraceId => json!("00000000000000000000000000000000"),
        Kind::Attributes => json!({}),
        Kind::TextList | Kind::IntList | Kind::FloatList | Kind::Frames | Kind::Links => json!([]),
        Kind::Time | Kind::Date | Kind::Histogram => return,
    };
    row.entry(column.name).or_insert(missing);
}
