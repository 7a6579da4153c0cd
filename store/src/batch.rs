//! Rows on their way into a table.

use arrow::array::RecordBatch;

use crate::schema::Table;

/// Rows of one table, in its schema.
#[derive(Clone, Debug)]
pub struct TableBatch {
    /// Where the rows belong.
    pub table: Table,
    /// The rows; the schema is `table.schema()`.
    pub rows: RecordBatch,
}

impl TableBatch {
    /// Takes rows whose schema is the table's.
    pub fn new(table: Table, rows: RecordBatch) -> Self {
        debug_assert_eq!(rows.schema().fields(), table.schema().fields(), "{}", table.name());
        Self { table, rows }
    }
}
