//! Stacks repeat in every profile; within one commit each is written once a day.

use std::collections::HashSet;
use std::hash::Hash;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Date32Type, Int64Type};
use arrow::error::ArrowError;
use xxhash_rust::xxh3::Xxh3Default;

use crate::schema::Table;

/// Removes repeated stacks (by date and stack) and their functions (also by function and file);
/// other tables' rows are left as they are. The first of equal rows stays.
pub(crate) fn distinct(
    table: Table,
    batches: Vec<RecordBatch>,
) -> Result<Vec<RecordBatch>, ArrowError> {
    let more_keys: &[&str] = match table {
        Table::ProfileStacks => &[],
        Table::ProfileStackFrames => &["function", "file"],
        _ => return Ok(batches),
    };
    let mut seen = HashSet::new();
    let mut kept = Vec::with_capacity(batches.len());
    for batch in batches {
        let keys = keys(&batch, more_keys)?;
        let is_first: BooleanArray = keys.into_iter().map(|key| Some(seen.insert(key))).collect();
        if is_first.true_count() > 0 {
            kept.push(filter_record_batch(&batch, &is_first)?);
        }
    }
    Ok(kept)
}

/// Date, stack, and a 128-bit hash of the further columns: equal ones by accident do not occur.
fn keys(batch: &RecordBatch, more: &[&str]) -> Result<Vec<(i32, i64, u128)>, ArrowError> {
    let column = |name: &str| {
        let missing = || ArrowError::SchemaError(format!("no column {name}"));
        batch.column_by_name(name).ok_or_else(missing)
    };
    let dates = column("date")?.as_primitive::<Date32Type>();
    let stacks = column("stack_id")?.as_primitive::<Int64Type>();
    let more = more.iter().map(|name| Ok(column(name)?.as_string::<i32>()));
    let more = more.collect::<Result<Vec<_>, ArrowError>>()?;
    let hash = |row: usize| {
        let mut hasher = Xxh3Default::new();
        for texts in &more {
            let text = texts.is_valid(row).then(|| texts.value(row));
            text.hash(&mut hasher);
        }
        hasher.digest128()
    };
    Ok((0..batch.num_rows()).map(|row| (dates.value(row), stacks.value(row), hash(row))).collect())
}
