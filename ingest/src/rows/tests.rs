use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::*;
use crate::Decoded;

/// The cells of a table's columns as text, `∅` for null: a row per line, columns divided by ` | `.
pub(crate) fn cells(decoded: &Decoded, table: Table, columns: &[&str]) -> Vec<String> {
    let options = FormatOptions::default().with_null("∅");
    let Some(batch) = decoded.batches.iter().find(|batch| batch.table == table) else {
        return Vec::new();
    };
    let columns: Vec<_> =
        columns.iter().map(|c| by_offset(batch.rows.column_by_name(c).unwrap())).collect();
    let formatters: Vec<_> =
        columns.iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    (0..batch.rows.num_rows())
        .map(|row| {
            let cells: Vec<_> = formatters.iter().map(|f| f.value(row).to_string()).collect();
            cells.join(" | ")
        })
        .collect()
}

/// Instants with an offset instead of the name `UTC`, which Arrow cannot look up in every build.
fn by_offset(column: &ArrayRef) -> ArrayRef {
    match column.as_any().downcast_ref::<arrow::array::TimestampMicrosecondArray>() {
        Some(times) => Arc::new(times.clone().with_timezone("+00:00")),
        None => Arc::clone(column),
    }
}

#[test]
fn a_table_without_rows_gives_no_batch() {
    let mut columns: Vec<(&'static str, ArrayRef)> = Table::Deploys
        .columns()
        .iter()
        .map(|column| (column.name, arrow::array::new_empty_array(&column.kind.data_type())))
        .collect();
    assert!(batch(Table::Deploys, &mut columns).is_none());
}

#[test]
fn few_rows_take_little_memory() {
    let body = br#"{"service": "checkout", "version": "1"}"#;
    let decoded = crate::deploys::decode(body, UnixNanos(1)).unwrap();
    let bytes: usize = decoded.batches.iter().map(|b| b.rows.get_array_memory_size()).sum();
    assert!(bytes < 16 << 10, "{bytes} bytes for one deploy");
}
