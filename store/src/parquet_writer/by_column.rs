//! A sorted file of rows that wait in memory, written column by column: what a commit does.
//!
//! Files have the same rows, encodings and statistics as those that [`FileWriter`] makes.
//!
//! [`FileWriter`]: super::FileWriter

use std::sync::Arc;

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;

use super::column::{ColumnRows, Encoded};
use super::distinct::Order;
use super::{RowAt, Target, WriteError, Writing, WrittenFile, group_rows, properties};
use crate::delta::statistics::RowStatistics;
use crate::place::Place;
use crate::schema::Table;

/// Writes the rows at these places, which are in the table's order, as one file.
pub(super) fn write_file(
    place: &Place,
    table: Table,
    date: i32,
    batches: &[RecordBatch],
    rows: &[RowAt],
) -> Result<WrittenFile, WriteError> {
    let (target, file) = Target::create(place, table, date)?;
    let properties = properties(table, rows.len(), Writing::Commit)?;
    let schema = super::file_schema(table)?;
    let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))?;
    let (mut writer, factory) = writer.into_serialized_writer()?;
    let leaves = super::leaves(table)?;
    let mut statistics = RowStatistics::new(table);
    for (number, rows) in rows.chunks(group_rows(table)).enumerate() {
        let order = Order::new(rows, batches.iter().map(RecordBatch::num_rows));
        let mut writers = factory.create_column_writers(number)?.into_iter();
        let mut out = writer.next_row_group()?;
        for (position, leaves) in leaves.iter().enumerate() {
            let column = &table.columns()[position];
            let arrays: Vec<_> =
                batches.iter().map(|rows| Arc::clone(rows.column(position))).collect();
            let rows = ColumnRows { column, arrays: &arrays, order: &order };
            let mut writers: Vec<_> = writers.by_ref().take(leaves.len()).collect();
            if column.kind.is_texts() {
                for encoded in rows.encode_texts(leaves, Writing::Commit, &mut statistics)? {
                    encoded.append(&mut out)?;
                }
            } else {
                rows.write(schema.field(position), &mut writers, &mut statistics)?;
                for writer in writers {
                    Encoded::Other(writer.close()?).append(&mut out)?;
                }
            }
        }
        out.close()?;
    }
    let file = writer.into_inner()?;
    target.finish(file, rows.len() as u64, statistics)
}

#[cfg(test)]
mod tests;
