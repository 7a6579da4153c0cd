//! Rows of a table as a Parquet file outside of the table: what exports write and imports read.
//!
//! A file has all columns of the table, `date` included, in its types. What is read is held to what the
//! rows of tables are ([`check`](TableFileReader)), since anybody can write such a file.

mod check;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::EnabledStatistics;
use parquet::schema::types::ColumnPath;

use crate::parquet_writer::{ROW_GROUP_ROWS, Writing, properties};
use crate::schema::{Kind, Table};

/// Encoded bytes of an open row group, which are in memory, before it is written: attributes may be long.
const OPEN_GROUP_BYTES_MAX: usize = 128 << 20;
/// Rows that are read at a time: of texts of a megabyte each these are as much as a column can hold.
const READ_ROWS: usize = 1_024;
/// What a row group may unpack to. Ours hold [`OPEN_GROUP_BYTES_MAX`] before compression, or little more.
const ROW_GROUP_BYTES_MAX: i64 = 2 << 30;

/// Why a file is not rows of a table.
#[derive(Debug, thiserror::Error)]
pub enum TableFileError {
    /// It is cut off, damaged, or something else.
    #[error("it is not a whole Parquet file")]
    Parquet(#[from] ParquetError),
    /// A page does not hold what its header says; the library gave up on it.
    #[error("it is damaged, so that it cannot be read")]
    Damaged,
    /// The rows do not fit together.
    #[error("its rows are not rows of the table")]
    Arrow(#[from] ArrowError),
    /// A column that every row must have.
    #[error("it has no column `{column}`, which every row of the table has")]
    MissingColumn {
        /// Name of the column.
        column: &'static str,
    },
    /// A column that this version does not know; what is in it would be lost.
    #[error(
        "it has a column `{column}` that the table does not have; a newer version may have written it"
    )]
    UnknownColumn {
        /// Name of the column.
        column: String,
    },
    /// A column of another type.
    #[error("its column `{column}` is {found}, not {expected}")]
    OtherType {
        /// Name of the column.
        column: String,
        /// Its type in the file.
        found: DataType,
        /// Its type in the table.
        expected: DataType,
    },
    /// A row that no decoder gives.
    #[error("row {row}: {what}")]
    Row {
        /// Which row, from 1.
        row: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// More than is held in memory.
    #[error("a row group unpacks to {bytes} bytes, and at most {ROW_GROUP_BYTES_MAX} are read")]
    TooLarge {
        /// What the file says.
        bytes: i64,
    },
}

/// Writes a file.
pub struct TableFileWriter<W: Write + Send> {
    writer: ArrowWriter<W>,
    rows: u64,
}

impl<W: Write + Send> TableFileWriter<W> {
    /// Begins a file of a table.
    pub fn create(output: W, table: Table) -> Result<Self, ParquetError> {
        let properties = properties(table, ROW_GROUP_ROWS, Writing::Compaction)?;
        let mut properties = properties.into_builder();
        for column in table.columns().iter().filter(|column| column.kind == Kind::Float) {
            // Bounds leave out what is no number, and DuckDB then takes it that there is none.
            let path = ColumnPath::from(column.name);
            properties = properties.set_column_statistics_enabled(path, EnabledStatistics::None);
        }
        let writer = ArrowWriter::try_new(output, table.schema(), Some(properties.build()))?;
        Ok(Self { writer, rows: 0 })
    }

    /// Adds rows in the table's schema.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<(), ParquetError> {
        self.writer.write(rows)?;
        self.rows += rows.num_rows() as u64;
        if self.writer.in_progress_size() > OPEN_GROUP_BYTES_MAX {
            self.writer.flush()?;
        }
        Ok(())
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes so far; those of the open row group are an estimate.
    pub fn bytes(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    /// Ends the file, and gives what it was written to.
    pub fn finish(self) -> Result<W, ParquetError> {
        self.writer.into_inner()
    }
}

impl<W: Write + Send> std::fmt::Debug for TableFileWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableFileWriter").field("rows", &self.rows).finish_non_exhaustive()
    }
}

/// Reads a file: its rows in the table's schema, some at a time, or what is wrong with it.
#[derive(Debug)]
pub struct TableFileReader {
    table: Table,
    reader: ParquetRecordBatchReader,
    rows: u64,
    failed: bool,
}

impl TableFileReader {
    /// Opens a file of a table. Columns that came with later versions may be missing.
    pub fn open(file: File, table: Table) -> Result<Self, TableFileError> {
        let reader = guarded(|| Ok(builder(file, table)?.build()?))?;
        Ok(Self { table, reader, rows: 0, failed: false })
    }

    fn checked(&self, rows: &RecordBatch) -> Result<RecordBatch, TableFileError> {
        let rows = in_schema(self.table, rows)?;
        check::rows(self.table, &rows)
            .map_err(|(row, what)| TableFileError::Row { row: self.rows + row as u64 + 1, what })?;
        Ok(rows)
    }
}

impl Iterator for TableFileReader {
    type Item = Result<RecordBatch, TableFileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let rows = match next(&mut self.reader)? {
            Ok(rows) => self.checked(&rows),
            Err(error) => Err(error),
        };
        match &rows {
            Ok(rows) => self.rows += rows.num_rows() as u64,
            Err(_) => self.failed = true,
        }
        Some(rows)
    }
}

/// Some columns of a file of a table, of all rows, without a look at the others.
pub fn read_columns(
    file: File,
    table: Table,
    columns: &[&str],
) -> Result<impl Iterator<Item = Result<RecordBatch, TableFileError>>, TableFileError> {
    let mut reader = guarded(|| {
        let builder = builder(file, table)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        Ok(builder.with_projection(mask).build()?)
    })?;
    let mut failed = false;
    Ok(std::iter::from_fn(move || {
        let rows = if failed { None } else { next(&mut reader) };
        failed |= matches!(rows, Some(Err(_)));
        rows
    }))
}

fn builder(
    file: File,
    table: Table,
) -> Result<ParquetRecordBatchReaderBuilder<File>, TableFileError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
    check_size(builder.metadata())?;
    check_columns(builder.schema(), table)?;
    Ok(builder.with_batch_size(READ_ROWS))
}

fn next(reader: &mut ParquetRecordBatchReader) -> Option<Result<RecordBatch, TableFileError>> {
    guarded(|| Ok(reader.next().transpose()?)).transpose()
}

/// The library trusts offsets, lengths and dictionaries, and panics where they lie.
fn guarded<T>(read: impl FnOnce() -> Result<T, TableFileError>) -> Result<T, TableFileError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or(Err(TableFileError::Damaged))
}

fn check_size(metadata: &ParquetMetaData) -> Result<(), TableFileError> {
    let sizes = metadata.row_groups().iter().map(|group| {
        group
            .columns()
            .iter()
            .fold(0, |sum: i64, column| sum.saturating_add(column.uncompressed_size().max(0)))
    });
    match sizes.max().filter(|bytes| *bytes > ROW_GROUP_BYTES_MAX) {
        Some(bytes) => Err(TableFileError::TooLarge { bytes }),
        None => Ok(()),
    }
}

fn check_columns(found: &Schema, table: Table) -> Result<(), TableFileError> {
    let schema = table.schema();
    for (column, field) in table.columns().iter().zip(schema.fields()) {
        match found.field_with_name(column.name) {
            Ok(found) if !found.data_type().equals_datatype(field.data_type()) => {
                return Err(TableFileError::OtherType {
                    column: column.name.to_owned(),
                    found: found.data_type().clone(),
                    expected: field.data_type().clone(),
                });
            }
            Err(_) if !column.nullable => {
                return Err(TableFileError::MissingColumn { column: column.name });
            }
            _ => {}
        }
    }
    let is_known =
        |name: &str| schema.index_of(name).is_ok() || table.former_columns().contains(&name);
    let unknown = found.fields().iter().find(|field| !is_known(field.name()));
    match unknown {
        Some(field) => Err(TableFileError::UnknownColumn { column: field.name().clone() }),
        None => Ok(()),
    }
}

fn in_schema(table: Table, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = table.schema();
    let columns = schema.fields().iter().map(|field| -> Result<ArrayRef, ArrowError> {
        match rows.column_by_name(field.name()) {
            Some(column) => cast(column, field.data_type()),
            None => Ok(new_null_array(field.data_type(), rows.num_rows())),
        }
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect::<Result<Vec<_>, _>>()?)
}
