//! Rows to sorted Parquet files, one per date, durable before anyone refers to them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{
    SortColumn, SortOptions, concat_batches, lexsort_to_indices, take_record_batch,
};
use arrow::datatypes::{Date32Type, SchemaRef};
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use uuid::Uuid;

use crate::delta::statistics;
use crate::schema::{Kind, Table};
use crate::snapshot::DataFile;

/// Rows of a row group: large enough to compress, small enough that a page index prunes.
const ROW_GROUP_ROWS: usize = 131_072;
/// False positives of the bloom filter on trace ids.
const BLOOM_FPP: f64 = 0.01;
/// Level of the files that commits write; a higher one costs more time than it saves space.
const ZSTD_LEVEL: i32 = 1;

/// Why rows could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file system refused.
    #[error("the file system refused")]
    Io(#[from] io::Error),
    /// The rows do not fit together.
    #[error("the rows could not be sorted")]
    Arrow(#[from] ArrowError),
    /// The Parquet writer refused.
    #[error("the Parquet writer refused")]
    Parquet(#[from] ParquetError),
}

/// A file that is durable and not yet part of its table.
#[derive(Clone, Debug)]
pub struct WrittenFile {
    pub(crate) table: Table,
    pub(crate) data: DataFile,
    pub(crate) modified_unix_ms: i64,
}

/// Writes rows of a table, one sorted file per date, and syncs files and folders.
pub(crate) fn write_partitions(
    folder: &Path,
    table: Table,
    batches: &[RecordBatch],
) -> Result<Vec<WrittenFile>, WriteError> {
    let schema = table.schema();
    let rows = concat_batches(&schema, batches)?;
    if rows.num_rows() == 0 {
        return Ok(Vec::new());
    }
    let mut written = Vec::new();
    for (date, indices) in rows_by_date(&rows, &schema)? {
        let partition = take_record_batch(&rows, &indices)?;
        let sorted = sort(table, &partition)?;
        written.push(write_file(folder, table, date, &sorted)?);
    }
    Ok(written)
}

/// Rows in the table's order.
pub(crate) fn sort(table: Table, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let options = SortOptions { descending: false, nulls_first: true };
    let columns = table.sort_columns().iter().filter_map(|name| rows.column_by_name(name));
    let columns: Vec<_> = columns
        .map(|values| SortColumn { values: Arc::clone(values), options: Some(options) })
        .collect();
    take_record_batch(rows, &lexsort_to_indices(&columns, None)?)
}

fn rows_by_date(
    rows: &RecordBatch,
    schema: &SchemaRef,
) -> Result<BTreeMap<i32, UInt32Array>, ArrowError> {
    let dates = rows.column(schema.index_of("date")?).as_primitive::<Date32Type>();
    let mut found = BTreeMap::<i32, Vec<u32>>::new();
    for (row, date) in dates.values().iter().enumerate() {
        found.entry(*date).or_default().push(u32::try_from(row).unwrap_or(u32::MAX));
    }
    Ok(found.into_iter().map(|(date, rows)| (date, UInt32Array::from(rows))).collect())
}

fn write_file(
    folder: &Path,
    table: Table,
    date: i32,
    rows: &RecordBatch,
) -> Result<WrittenFile, WriteError> {
    let statistics = statistics::of_rows(table, rows);
    let without_date = rows.project(&(0..rows.num_columns() - 1).collect::<Vec<_>>())?;
    let name = format!("date={}", statistics::date_text(date));
    let path = format!("{name}/part-{}.parquet", Uuid::new_v4());
    let partition = folder.join(&name);
    let is_new = !partition.is_dir();
    std::fs::create_dir_all(&partition)?;

    let file = File::create_new(folder.join(&path))?;
    let properties = properties(table, rows);
    let mut writer = ArrowWriter::try_new(file, without_date.schema(), Some(properties))?;
    writer.write(&without_date)?;
    let file = writer.into_inner()?;
    file.sync_all()?;
    File::open(&partition)?.sync_all()?;
    if is_new {
        File::open(folder)?.sync_all()?;
    }
    let metadata = file.metadata()?;
    let modified = metadata.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(WrittenFile {
        table,
        data: DataFile {
            path,
            size_bytes: metadata.len(),
            rows: rows.num_rows() as u64,
            date,
            statistics,
        },
        modified_unix_ms: i64::try_from(modified.as_millis()).unwrap_or(i64::MAX),
    })
}

fn properties(table: Table, rows: &RecordBatch) -> WriterProperties {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).unwrap_or_default();
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_created_by(concat!("upriver ", env!("CARGO_PKG_VERSION")).to_owned());
    let has_trace_id = table.columns().iter().any(|c| c.kind == Kind::TraceId);
    if has_trace_id && rows.column_by_name("trace_id").is_some_and(|ids| !ids.is_empty()) {
        let column = ColumnPath::from("trace_id");
        let distinct = rows.num_rows().min(ROW_GROUP_ROWS) as u64;
        properties = properties
            .set_column_bloom_filter_enabled(column.clone(), true)
            .set_column_bloom_filter_fpp(column.clone(), BLOOM_FPP)
            .set_column_bloom_filter_max_ndv(column, distinct);
    }
    properties.build()
}
