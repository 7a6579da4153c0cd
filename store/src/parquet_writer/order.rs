//! Rows in the table's order.
//!
//! Most tables are sorted by a few texts with few distinct values and then by time. The texts are ranked,
//! and rows are compared by two numbers; a comparison of rows by their columns, as Arrow does it, takes ten
//! times as long.

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch, UInt32Array};
use arrow::compute::{SortColumn, SortOptions, concat, lexsort_to_indices};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;

use super::RowAt;
use crate::schema::Table;
use crate::text_column::{Distinct, Numbered, TextColumn};

/// The places of all rows in the table's order. Missing values come first.
pub(super) fn sorted(table: Table, batches: &[RecordBatch]) -> Result<Vec<RowAt>, ArrowError> {
    let places: Vec<RowAt> = batches
        .iter()
        .enumerate()
        .flat_map(|(batch, rows)| (0..rows.num_rows()).map(move |row| (batch, row)))
        .collect();
    let indices = sorted_indices(table, batches)?;
    Ok(indices.values().iter().map(|index| places[*index as usize]).collect())
}

/// The rows' numbers in the table's order, counted over all batches.
pub(crate) fn sorted_indices(
    table: Table,
    batches: &[RecordBatch],
) -> Result<UInt32Array, ArrowError> {
    if batches.iter().all(|rows| rows.num_rows() == 0) {
        return Ok(UInt32Array::from(Vec::<u32>::new()));
    }
    let columns = table.sort_columns().iter().map(|name| parts(batches, name));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    match ranked(&columns) {
        Some(mut keys) => {
            keys.sort_unstable();
            Ok(keys.into_iter().map(|(_, _, row)| row).collect::<Vec<_>>().into())
        }
        None => sorted_by_columns(&columns),
    }
}

/// A column, batch by batch.
type Parts<'a> = Vec<&'a ArrayRef>;

fn parts<'a>(batches: &'a [RecordBatch], name: &str) -> Result<Parts<'a>, ArrowError> {
    let missing = || ArrowError::SchemaError(format!("no column {name}"));
    batches.iter().map(|rows| rows.column_by_name(name).ok_or_else(missing)).collect()
}

/// Texts as one number, the last column as another, and the row's own; `None` where the columns are others
/// than texts before an instant, or their values too many for a number.
fn ranked(columns: &[Parts<'_>]) -> Option<Vec<(u64, u64, u32)>> {
    let (last, texts) = columns.split_last()?;
    let mut keys: Vec<(u64, u64, u32)> = Vec::new();
    for (row, last) in (0_u32..).zip(last.iter().flat_map(|part| numbers(part))) {
        keys.push((0, last?, row));
    }
    for parts in texts {
        let parts = parts.iter().map(|part| TextColumn::of(part)).collect::<Option<Vec<_>>>()?;
        let (ranks, count) = ranks(&parts);
        for (key, rank) in keys.iter_mut().zip(ranks) {
            key.0 = key.0.checked_mul(count)?.checked_add(rank)?;
        }
    }
    Some(keys)
}

/// The values of a column as numbers in the same order; none at all of a column of another type.
fn numbers(part: &ArrayRef) -> Box<dyn Iterator<Item = Option<u64>> + '_> {
    match part.data_type() {
        DataType::Int64 => Box::new(rising(part.as_primitive::<Int64Type>())),
        DataType::Timestamp(..) => match part.as_primitive_opt::<TimestampMicrosecondType>() {
            Some(times) => Box::new(rising(times)),
            None => Box::new(std::iter::once(None)),
        },
        _ => Box::new(std::iter::once(None)),
    }
}

fn rising<T: ArrowPrimitiveType<Native = i64>>(
    values: &PrimitiveArray<T>,
) -> impl Iterator<Item = Option<u64>> {
    const SIGN: u64 = 1 << 63;
    values.iter().map(|value| value.map(|value| value.cast_unsigned() ^ SIGN))
}

/// For each row the rank of its text, missing ones first; and how many ranks there are.
fn ranks(parts: &[TextColumn<'_>]) -> (Vec<u64>, u64) {
    let mut distinct = Distinct::default();
    let mut codes = Vec::new();
    for part in parts {
        let mut numbered = Numbered::new(*part);
        codes.extend((0..part.len()).map(|row| numbered.code(row, &mut distinct)));
    }
    let texts = distinct.texts;
    let mut in_order: Vec<usize> = (0..texts.len()).collect();
    in_order.sort_unstable_by_key(|code| texts[*code]);
    let mut rank_of = vec![0; texts.len()];
    for (rank, code) in (1..).zip(in_order) {
        rank_of[code] = rank;
    }
    let rank = |code: u32| rank_of.get(code as usize).copied().unwrap_or(0);
    (codes.into_iter().map(rank).collect(), texts.len() as u64 + 1)
}

fn sorted_by_columns(columns: &[Parts<'_>]) -> Result<UInt32Array, ArrowError> {
    let options = SortOptions { descending: false, nulls_first: true };
    let columns = columns.iter().map(|parts| {
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        Ok(SortColumn { values: concat(&parts)?, options: Some(options) })
    });
    lexsort_to_indices(&columns.collect::<Result<Vec<_>, ArrowError>>()?, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Span, spans};

    #[test]
    fn ranks_give_the_order_of_the_columns() {
        let batches: Vec<_> = (0..7)
            .map(|batch| {
                let span = |row: i64| {
                    let mut span = Span::new(1, batch * 100 + row, (row * 7_919 + batch) % 50);
                    span.service = ["b", "a", "c", "ab", ""][usize::try_from(row % 5).unwrap()];
                    span
                };
                spans(&(0..50).map(span).collect::<Vec<_>>())
            })
            .collect();
        let columns: Vec<_> =
            ["service_name", "time"].map(|name| parts(&batches, name).unwrap()).into();
        let by_columns = sorted_by_columns(&columns).unwrap();
        let by_rank = sorted_indices(Table::Spans, &batches).unwrap();
        let value = |index: u32| {
            let (batch, row) = (index as usize / 50, index as usize % 50);
            let services = columns[0][batch].as_string::<i32>();
            let times = columns[1][batch].as_primitive::<TimestampMicrosecondType>();
            (services.value(row), times.value(row))
        };
        let values = |indices: &UInt32Array| -> Vec<_> {
            indices.values().iter().map(|index| value(*index)).collect()
        };
        assert!(ranked(&columns).is_some());
        assert_eq!(values(&by_rank), values(&by_columns));
    }

    #[test]
    fn missing_values_come_first_and_other_columns_are_compared() {
        let texts: ArrayRef =
            std::sync::Arc::new(arrow::array::StringArray::from(vec![Some("a"), None, Some("")]));
        let times: ArrayRef = std::sync::Arc::new(arrow::array::Int64Array::from(vec![-1, 0, 1]));
        let mut keys = ranked(&[vec![&texts], vec![&times]]).unwrap();
        keys.sort_unstable();
        assert_eq!(keys.iter().map(|key| key.2).collect::<Vec<_>>(), [1, 2, 0]);
        let mut keys = ranked(&[vec![&times]]).unwrap();
        keys.sort_unstable();
        assert_eq!(keys.iter().map(|key| key.2).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(ranked(&[vec![&times], vec![&texts]]), None);
        assert_eq!(ranked(&[vec![&times], vec![&times]]), None);
    }
}
