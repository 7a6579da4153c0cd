//! Rows on their way into a table.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MapArray, RecordBatch, StructArray};
use arrow::compute::take;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use crate::schema::{Kind, Table};

/// Rows of one table, in its schema or as they arrive.
#[derive(Clone, Debug)]
pub struct TableBatch {
    /// Where the rows belong.
    pub table: Table,
    /// The rows; the schema is `table.schema()` or `table.arriving_schema()`.
    pub rows: RecordBatch,
}

impl TableBatch {
    /// Takes rows whose schema is one of the table's.
    pub fn new(table: Table, rows: RecordBatch) -> Self {
        debug_assert!(is_of(table, &rows), "{}", table.name());
        Self { table, rows }
    }

    /// The rows in the table's schema.
    pub fn unfolded(&self) -> Result<RecordBatch, ArrowError> {
        unfolded(self.table, &self.rows)
    }
}

/// Whether the rows are in a schema of the table.
pub(crate) fn is_of(table: Table, rows: &RecordBatch) -> bool {
    let schema = rows.schema();
    [table.schema(), table.arriving_schema()].iter().any(|known| known.fields() == schema.fields())
}

/// The rows in the table's schema: what was there once is there in each row.
pub(crate) fn unfolded(table: Table, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = table.schema();
    if rows.schema().fields() == schema.fields() {
        return Ok(rows.clone());
    }
    let columns = rows.columns().iter().map(|column| match column.as_map_opt() {
        Some(map) => unfolded_attributes(map),
        None => unfolded_column(column),
    });
    RecordBatch::try_new(schema, columns.collect::<Result<_, _>>()?)
}

fn unfolded_column(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.as_any_dictionary_opt() {
        Some(folded) => take(folded.values(), folded.keys(), None),
        None => Ok(Arc::clone(column)),
    }
}

fn unfolded_attributes(map: &MapArray) -> Result<ArrayRef, ArrowError> {
    let DataType::Map(entry, _) = Kind::Attributes.data_type() else {
        unreachable!("attributes are a map");
    };
    let keys = unfolded_column(map.keys())?;
    let columns = vec![keys, Arc::clone(map.values())];
    let DataType::Struct(fields) = entry.data_type() else {
        unreachable!("a map has entries of key and value");
    };
    let entries = StructArray::try_new(fields.clone(), columns, None)?;
    let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
    Ok(Arc::new(MapArray::try_new(entry, offsets, entries, nulls, false)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Span, arriving, spans};
    use crate::text_column::TextColumn;

    #[test]
    fn rows_that_arrive_unfold_to_rows_of_the_table() {
        let plain = spans(&[1, 2, 3, 4].map(|id| Span::new(id, id, id)));
        let folded = arriving(Table::Spans, &plain);
        assert!(is_of(Table::Spans, &folded) && is_of(Table::Spans, &plain));
        assert!(!is_of(Table::Logs, &folded) && folded.schema() != plain.schema());
        let unfolded = TableBatch::new(Table::Spans, folded.clone()).unfolded().unwrap();
        assert_eq!(unfolded.schema(), Table::Spans.schema());
        for column in Table::Spans.columns() {
            let [before, after] = [&folded, &unfolded].map(|rows| {
                let texts = TextColumn::named(rows, column.name);
                texts.map(|texts| texts.iter().collect::<Vec<_>>())
            });
            assert_eq!(before, after, "{}", column.name);
            if before.is_none() {
                let [before, after] =
                    [&plain, &unfolded].map(|rows| rows.column_by_name(column.name));
                assert_eq!(before, after, "{}", column.name);
            }
        }
    }
}
