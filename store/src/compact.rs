//! Compaction: the small files of a date become one sorted file with the same rows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::error::ArrowError;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::delta::{COMPACTED_FILE_BYTES, TableError, TableHandle};
use crate::parquet_writer::{WriteError, WrittenFile, write_partitions};
use crate::rollup::merge_partials;
use crate::schema::Table;
use crate::snapshot::DataFile;

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactReport {
    /// Files that were read and left the table.
    pub files_removed: u64,
    /// Files that took their place.
    pub files_added: u64,
}

impl std::fmt::Display for CompactReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} files became {}", self.files_removed, self.files_added)
    }
}

impl std::ops::AddAssign for CompactReport {
    fn add_assign(&mut self, other: Self) {
        self.files_removed += other.files_removed;
        self.files_added += other.files_added;
    }
}

/// Compacts every date of the table that has more than one small file.
pub(crate) async fn compact(
    table: Table,
    handle: &mut TableHandle,
) -> Result<CompactReport, TableError> {
    let mut report = CompactReport::default();
    for group in groups(&handle.files()) {
        let folder = handle.folder().to_path_buf();
        let removed: BTreeSet<_> = group.iter().map(|file| file.path.clone()).collect();
        let task = tokio::task::spawn_blocking(move || rewrite(&folder, table, &group));
        let written =
            task.await.map_err(|_ended| TableError::Interrupted { table: table.name() })?;
        let written =
            written.map_err(|source| TableError::Write { table: table.name(), source })?;
        report += CompactReport {
            files_removed: removed.len() as u64,
            files_added: written.len() as u64,
        };
        handle.replace(&removed, written).await?;
    }
    Ok(report)
}

/// Files of one date that together stay below the size of a compacted file: what one step reads into
/// memory.
fn groups(files: &[DataFile]) -> Vec<Vec<DataFile>> {
    let mut by_date = BTreeMap::<i32, Vec<&DataFile>>::new();
    for file in files.iter().filter(|file| bytes(file) < COMPACTED_FILE_BYTES) {
        by_date.entry(file.date).or_default().push(file);
    }
    let mut groups = Vec::new();
    for mut candidates in by_date.into_values() {
        candidates.sort_by(|a, b| a.path.cmp(&b.path));
        let mut group = Vec::new();
        let mut group_bytes = 0;
        for file in candidates {
            if group_bytes + bytes(file) > COMPACTED_FILE_BYTES {
                groups.push(std::mem::take(&mut group));
                group_bytes = 0;
            }
            group_bytes += bytes(file);
            group.push(file.clone());
        }
        groups.push(group);
    }
    groups.retain(|group| group.len() > 1);
    groups
}

fn bytes(file: &DataFile) -> i64 {
    i64::try_from(file.size_bytes).unwrap_or(i64::MAX)
}

fn rewrite(
    folder: &Path,
    table: Table,
    files: &[DataFile],
) -> Result<Vec<WrittenFile>, WriteError> {
    let mut batches = Vec::new();
    for file in files {
        let input = File::open(folder.join(&file.path))?;
        for rows in ParquetRecordBatchReaderBuilder::try_new(input)?.build()? {
            batches.push(in_schema(table, &rows?, file.date)?);
        }
    }
    let rows = arrow::compute::concat_batches(&table.schema(), &batches)?;
    write_partitions(folder, table, &[merge_partials(table, rows)])
}

/// Rows of a file in the table's schema of today: the date comes back, a column that the file does
/// not have is null.
fn in_schema(table: Table, rows: &RecordBatch, date: i32) -> Result<RecordBatch, ArrowError> {
    let schema = table.schema();
    let columns = schema.fields().iter().map(|field| -> Result<ArrayRef, ArrowError> {
        if field.name() == "date" {
            return Ok(Arc::new(Date32Array::from_value(date, rows.num_rows())));
        }
        match rows.column_by_name(field.name()) {
            Some(column) => cast(column, field.data_type()),
            None => Ok(arrow::array::new_null_array(field.data_type(), rows.num_rows())),
        }
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)
}
