//! Rows on their way into a table.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::take;
use arrow::error::ArrowError;

use crate::schema::Table;

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
    let columns = rows.columns().iter().map(|column| -> Result<ArrayRef, ArrowError> {
        match column.as_any_dictionary_opt() {
            Some(folded) => take(folded.values(), folded.keys(), None),
            None => Ok(Arc::clone(column)),
        }
    });
    RecordBatch::try_new(schema, columns.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{DictionaryArray, Int32Array};
    use arrow::compute::concat_batches;
    use arrow::datatypes::Int32Type;

    use super::*;
    use crate::testing::{Span, spans};

    #[test]
    fn rows_that_arrive_unfold_to_rows_of_the_table() {
        let one = spans(&[Span::new(1, 1, 0)]);
        let three = concat_batches(&one.schema(), [&one, &one, &one]).unwrap();
        let position = one.schema().index_of("resource_attributes").unwrap();
        let mut columns = three.columns().to_vec();
        columns[position] = Arc::new(DictionaryArray::<Int32Type>::new(
            Int32Array::from(vec![0, 0, 0]),
            Arc::clone(one.column(position)),
        ));
        let arriving = RecordBatch::try_new(Table::Spans.arriving_schema(), columns).unwrap();
        assert!(is_of(Table::Spans, &arriving) && is_of(Table::Spans, &three));
        assert!(!is_of(Table::Logs, &arriving));
        let batch = TableBatch::new(Table::Spans, arriving);
        assert_eq!(batch.unfolded().unwrap(), three);
    }
}
