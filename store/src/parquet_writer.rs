//! Rows to sorted Parquet files, one per date, durable before anyone refers to them.

mod by_column;
mod chunk;
mod column;
mod distinct;
mod hybrid;
mod merged;
mod order;
mod spool;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, SchemaRef};
use arrow::error::ArrowError;
use object_store::buffered::BufWriter;
use object_store::path::Path as ObjectPath;
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::{ColumnDescPtr, ColumnPath};
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

pub(crate) use self::merged::{ColumnPart, MergedFile};
#[cfg(test)]
pub(crate) use self::order::sorted_indices;
use crate::delta::statistics::{self, RowStatistics};
use crate::faults::DiskRoom;
use crate::place::Place;
use crate::schema::{Kind, Table};
use crate::snapshot::DataFile;
use crate::wal::sync_folder;

/// Rows of a row group: large enough to compress, small enough that a page index prunes.
pub(crate) const ROW_GROUP_ROWS: usize = 131_072;
/// The same of rollups, whose first columns are their time: a window reads little beside it, and
/// histograms are most of what it reads.
const ROLLUP_GROUP_ROWS: usize = 16_384;
/// Rows of a page: what is read of each column for one row, and kept of each file while files are merged.
pub(crate) const PAGE_ROWS: usize = 4_096;
/// Rows of a column that are put in order at a time.
const CHUNK_ROWS: usize = 8_192;
/// False positives of the bloom filter on trace ids.
const BLOOM_FPP: f64 = 0.01;
/// Level of the files that commits write: they are soon written again, and senders wait for memory.
const COMMIT_ZSTD_LEVEL: i32 = 1;
/// Level of the files that compaction writes, which are kept: a ninth less of spans and a fifth less of
/// their attributes than level 1, for 2 to 3 us of processor time a row. Level 3 saves a hundredth, 12 a
/// fiftieth more at half as much time again. Compaction writes a row once where many come, and a few times where few do.
const COMPACTION_ZSTD_LEVEL: i32 = 8;

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
    /// A file that others wrote, or that was changed.
    #[error("the rows of {0} are not in the table's order, so it cannot be merged")]
    Unsorted(String),
    /// Whoever asked for the files has stopped.
    #[error("the files are not wanted any more")]
    GivenUp,
    /// A table in a bucket was opened for reading only.
    #[error("the table was opened for reading: there is no local folder for unfinished files")]
    ReadOnly,
}

/// Who writes a file, and so what time its compression may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    /// A commit of rows that wait in memory.
    Commit,
    /// Upkeep, of files that were committed: compaction and repair.
    Compaction,
}

impl Writing {
    fn zstd_level(self) -> i32 {
        match self {
            Self::Commit => COMMIT_ZSTD_LEVEL,
            Self::Compaction => COMPACTION_ZSTD_LEVEL,
        }
    }

    fn compression(self) -> Compression {
        Compression::ZSTD(ZstdLevel::try_new(self.zstd_level()).unwrap_or_default())
    }
}

/// A file that is durable and not yet part of its table.
#[derive(Clone, Debug)]
pub struct WrittenFile {
    pub(crate) table: Table,
    pub(crate) data: DataFile,
    /// Its content, while it is not where the table is.
    draft: Option<Arc<File>>,
}

impl WrittenFile {
    /// A file that is where the table is already.
    pub(crate) fn in_place(table: Table, data: DataFile) -> Self {
        Self { table, data, draft: None }
    }
}

/// Parts of a file on its way to a bucket: S3 takes none below 5 MiB, and two of these are in memory.
const UPLOAD_PART_BYTES: usize = 8 << 20;

/// Brings a file to the bucket of its table; one of a local table is in its place already.
pub(crate) async fn upload(place: &Place, file: &mut WrittenFile) -> Result<(), WriteError> {
    let Some(draft) = file.draft.take() else { return Ok(()) };
    let path = ObjectPath::from(file.data.path.as_str());
    let mut content = tokio::fs::File::from_std(draft.try_clone()?);
    let mut object = BufWriter::with_capacity(place.objects(), path, UPLOAD_PART_BYTES);
    if let Err(error) = tokio::io::copy(&mut content, &mut object).await {
        object.abort().await.map_err(io::Error::from)?;
        return Err(error.into());
    }
    Ok(object.shutdown().await?)
}

/// Writes rows of a table, one sorted file per date, and syncs files and folders. Beside the rows
/// themselves it keeps a column of them in order. Files of a table in a bucket are drafts on the
/// local disk until they are brought there with [`upload`].
pub(crate) fn write_partitions(
    place: &Place,
    table: Table,
    batches: &[RecordBatch],
) -> Result<Vec<WrittenFile>, WriteError> {
    let mut written = Vec::new();
    for (date, rows) in partitions(table, batches)? {
        match by_column::write_file(place, table, date, batches, &rows) {
            Ok(file) => written.push(file),
            Err(error) => {
                // On a full disk what nobody will refer to must not stay.
                discard(place, &written);
                return Err(error);
            }
        }
    }
    Ok(written)
}

/// Deletes files of a local table that will not become part of it. What cannot be deleted is left to
/// the table's upkeep.
pub(crate) fn discard(place: &Place, written: &[WrittenFile]) {
    let Some(folder) = place.local() else { return };
    for file in written {
        drop(std::fs::remove_file(folder.join(&file.data.path)));
    }
}

/// Where a row is: its batch, and its place there.
pub(crate) type RowAt = (usize, usize);

/// The places of all rows by date, in the table's order.
fn partitions(
    table: Table,
    batches: &[RecordBatch],
) -> Result<BTreeMap<i32, Vec<RowAt>>, ArrowError> {
    let mut found = BTreeMap::<i32, Vec<RowAt>>::new();
    let missing = || ArrowError::SchemaError("no column date".to_owned());
    let dates = batches.iter().map(|rows| {
        let dates = rows.column_by_name("date").ok_or_else(missing)?;
        dates.as_primitive_opt::<Date32Type>().ok_or_else(missing)
    });
    let dates = dates.collect::<Result<Vec<_>, _>>()?;
    for (batch, row) in order::sorted(table, batches)? {
        found.entry(dates[batch].value(row)).or_default().push((batch, row));
    }
    Ok(found)
}

/// A file of a table on its way.
struct Target {
    table: Table,
    date: i32,
    path: String,
    /// Folders whose names have to be synced, where the table is on this machine.
    new_names: Option<Vec<PathBuf>>,
    unfinished: Unfinished,
}

impl Target {
    fn create(place: &Place, table: Table, date: i32) -> Result<(Self, TableFile), WriteError> {
        let partition = format!("date={}", statistics::date_text(date));
        let path = format!("{partition}/part-{}.parquet", Uuid::new_v4());
        let (file, new_names) = match (place.local(), place.drafts()) {
            (Some(folder), _) => {
                let partition = folder.join(partition);
                let mut new_names = vec![partition.clone()];
                new_names.extend((!partition.is_dir()).then(|| folder.to_owned()));
                std::fs::create_dir_all(&partition)?;
                (File::create_new(folder.join(&path))?, Some(new_names))
            }
            (None, Some(drafts)) => (tempfile::tempfile_in(drafts)?, None),
            (None, None) => return Err(WriteError::ReadOnly),
        };
        let unfinished = Unfinished(place.local().map(|folder| folder.join(&path)));
        let file = TableFile { file, room: place.room().clone() };
        Ok((Self { table, date, path, new_names, unfinished }, file))
    }

    /// Syncs the file, which is complete.
    fn finish(
        mut self,
        TableFile { mut file, .. }: TableFile,
        rows: u64,
        statistics: RowStatistics,
    ) -> Result<WrittenFile, WriteError> {
        let is_draft = self.new_names.is_none();
        if let Some(folders) = self.new_names {
            file.sync_all()?;
            folders.iter().try_for_each(|folder| sync_folder(folder))?;
        }
        file.rewind()?;
        let metadata = file.metadata()?;
        self.unfinished.0 = None;
        let modified =
            metadata.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Ok(WrittenFile {
            table: self.table,
            data: DataFile {
                path: self.path,
                size_bytes: metadata.len(),
                rows,
                date: self.date,
                written_unix_ms: i64::try_from(modified.as_millis()).unwrap_or(i64::MAX),
                committed_as: None,
                without_minutes: false,
                statistics: Arc::new(statistics.finish()),
            },
            draft: is_draft.then(|| Arc::new(file)),
        })
    }
}

/// The columns of a file: all but the date, which is the name of its folder.
fn file_schema(table: Table) -> Result<SchemaRef, ArrowError> {
    let schema = table.schema();
    let columns: Vec<_> = (0..schema.fields().len() - 1).collect();
    Ok(Arc::new(schema.project(&columns)?))
}

/// The columns of Parquet that each column of a file is made of.
fn leaves(table: Table) -> Result<Vec<Vec<ColumnDescPtr>>, WriteError> {
    let schema = file_schema(table)?;
    let descriptor = ArrowSchemaConverter::new().convert(&schema)?;
    let mut leaves = vec![Vec::new(); schema.fields().len()];
    for leaf in 0..descriptor.num_columns() {
        leaves[descriptor.get_column_root_idx(leaf)].push(descriptor.column(leaf));
    }
    Ok(leaves)
}

/// Writes one file of a table, of rows in the table's order.
pub(crate) struct FileWriter {
    target: Target,
    writer: ArrowWriter<TableFile>,
    statistics: RowStatistics,
    columns: Vec<usize>,
    rows: u64,
}

impl FileWriter {
    /// Begins a file that will have about so many rows.
    pub(crate) fn create(
        place: &Place,
        table: Table,
        date: i32,
        (rows, writing): (usize, Writing),
    ) -> Result<Self, WriteError> {
        let (target, file) = Target::create(place, table, date)?;
        let schema = file_schema(table)?;
        let columns = (0..schema.fields().len()).collect();
        let writer = ArrowWriter::try_new(file, schema, Some(properties(table, rows, writing)?))?;
        Ok(Self { target, writer, statistics: RowStatistics::new(table), columns, rows: 0 })
    }

    /// Adds rows in the table's schema.
    pub(crate) fn write(&mut self, rows: &RecordBatch) -> Result<(), WriteError> {
        self.statistics.add(rows);
        self.rows += rows.num_rows() as u64;
        Ok(self.writer.write(&rows.project(&self.columns)?)?)
    }

    /// Bytes that were written so far; those of the open row group are an estimate.
    pub(crate) fn bytes(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    /// Ends the file and syncs it.
    pub(crate) fn finish(self) -> Result<WrittenFile, WriteError> {
        self.target.finish(self.writer.into_inner()?, self.rows, self.statistics)
    }
}

/// A file on its way to the disk.
struct TableFile {
    file: File,
    room: DiskRoom,
}

impl Write for TableFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.room.take(bytes.len())?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The path of a file that is deleted unless it is finished: what a full disk cut off must not fill it further.
struct Unfinished(Option<PathBuf>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            drop(std::fs::remove_file(path));
        }
    }
}

fn group_rows(table: Table) -> usize {
    if table.is_rollup() { ROLLUP_GROUP_ROWS } else { ROW_GROUP_ROWS }
}

/// How a file of a table is written, of so many rows.
pub(crate) fn properties(
    table: Table,
    rows: usize,
    writing: Writing,
) -> Result<WriterProperties, ParquetError> {
    let group_rows = group_rows(table);
    let mut properties = WriterProperties::builder()
        .set_compression(writing.compression())
        .set_max_row_group_row_count(Some(group_rows))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_created_by(concat!("upriver ", env!("CARGO_PKG_VERSION")).to_owned());
    let schema = ArrowSchemaConverter::new().convert(&table.schema())?;
    for leaf in schema.columns() {
        let path = leaf.path().clone();
        properties = match LeafKind::of(table, &path) {
            LeafKind::Rising => properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
            LeafKind::Sum => properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED)
                .set_column_statistics_enabled(path, EnabledStatistics::None),
            LeafKind::Buckets => properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_statistics_enabled(path, EnabledStatistics::None),
            LeafKind::Id => properties.set_column_dictionary_enabled(path, false),
            LeafKind::OwnId => properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_compression(path, Compression::UNCOMPRESSED),
            LeafKind::Few => properties.set_column_compression(path, Compression::UNCOMPRESSED),
            LeafKind::Link => properties
                .set_column_statistics_enabled(path.clone(), EnabledStatistics::None)
                .set_column_compression(path, Compression::UNCOMPRESSED),
            LeafKind::Nested => {
                properties.set_column_statistics_enabled(path, EnabledStatistics::None)
            }
            LeafKind::Other => properties,
        };
    }
    let has_trace_id = table.columns().iter().any(|c| c.kind == Kind::TraceId);
    if has_trace_id {
        let column = ColumnPath::from("trace_id");
        let distinct = rows.min(group_rows) as u64;
        properties = properties
            .set_column_bloom_filter_enabled(column.clone(), true)
            .set_column_bloom_filter_fpp(column.clone(), BLOOM_FPP)
            .set_column_bloom_filter_max_ndv(column, distinct);
    }
    Ok(properties.build())
}

/// What is known of the values of a column of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeafKind {
    /// Instants and durations: hardly one twice, and each near the one before. As differences they
    /// take a tenth less and are written in three quarters of the time (measured with pyarrow on spans).
    Rising,
    /// Sums of histograms: hardly one twice. As differences they take 3.9 bytes for 5.5 with a dictionary
    /// (measured on minutes that mostly hold one span).
    Sum,
    /// Buckets of histograms: none, or hardly the same twice.
    Buckets,
    /// As good as random: a dictionary of them would be larger than they are.
    Id,
    /// That, and in one row only: what does not get smaller is not compressed, see `chunk`.
    OwnId,
    /// Of a span, and hardly ever another than before.
    Few,
    /// Of a link: hardly any, and random.
    Link,
    /// Inside of a map, list or histogram: no query prunes by the least and the greatest of them.
    Nested,
    Other,
}

impl LeafKind {
    fn of(table: Table, path: &ColumnPath) -> Self {
        let name = match path.parts() {
            [name] => name,
            [links, ..] if links == "links" => return Self::Link,
            [_, part] if part == "sum" => return Self::Sum,
            [_, part] if part == "buckets" => return Self::Buckets,
            _ => return Self::Nested,
        };
        match (table, name.as_str()) {
            (_, "time") => Self::Rising,
            (Table::Spans, "span_id") => Self::OwnId,
            (_, "trace_id" | "span_id" | "parent_span_id") => Self::Id,
            (_, name) if name.ends_with("_unix_nano") || name.ends_with("_ns") => Self::Rising,
            (Table::Spans, "flags" | "event_count" | "http_response_status_code") => Self::Few,
            (Table::Spans, "adjusted_count_micros") => Self::Few,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use parquet::file::metadata::ColumnChunkMetaData;
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use super::*;
    use crate::rollup::operation_minutes;
    use crate::testing::{Span, spans};

    /// The footer of the one file that rows become.
    fn written(table: Table, rows: RecordBatch) -> SerializedFileReader<File> {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::folder(folder.path(), true).unwrap();
        let files = write_partitions(&place, table, &[rows]).unwrap();
        let [WrittenFile { data, .. }] = &files[..] else { panic!("{files:?}") };
        SerializedFileReader::new(File::open(folder.path().join(&data.path)).unwrap()).unwrap()
    }

    fn column<'a>(file: &'a SerializedFileReader<File>, path: &str) -> &'a ColumnChunkMetaData {
        let path = ColumnPath::from(path.split('.').map(str::to_owned).collect::<Vec<_>>());
        let columns = file.metadata().row_group(0).columns();
        columns.iter().find(|column| *column.column_path() == path).unwrap()
    }

    #[test]
    fn columns_are_written_as_what_they_hold() {
        let file = written(Table::Spans, spans(&[Span::new(1, 1, 10), Span::new(1, 2, 20)]));
        let of = |path| column(&file, path);
        let has = |path, encoding| of(path).encodings().any(|known| known == encoding);
        assert!(has("duration_ns", Encoding::DELTA_BINARY_PACKED));
        assert!(has("time", Encoding::DELTA_BINARY_PACKED));
        assert!(!has("trace_id", Encoding::RLE_DICTIONARY));
        assert!(has("service_name", Encoding::RLE_DICTIONARY));
        assert!(of("trace_id").statistics().is_some(), "pages without a trace are passed over");
        assert!(of("time").statistics().is_some());
        assert!(of("attributes.key_value.value").statistics().is_none());
    }

    #[test]
    fn columns_that_do_not_get_smaller_are_not_compressed() {
        let names: Vec<_> = (0..500).map(|name| format!("GET /items/{name}")).collect();
        let all = (1..).zip(&names).map(|(id, name)| Span { name, ..Span::new(1, id, 10 * id) });
        let all: Vec<_> = all.collect();
        let file = written(Table::Spans, spans(&all));
        let is_plain = |path| column(&file, path).compression() == Compression::UNCOMPRESSED;
        for path in ["rpc_system", "service_name", "span_id", "flags", "links.list.element.span_id"]
        {
            assert!(is_plain(path), "{path}");
        }
        for path in ["span_name", "trace_id", "start_unix_nano", "duration_ns"] {
            assert!(!is_plain(path), "{path}");
        }
    }

    #[test]
    fn sums_of_histograms_are_differences_and_buckets_as_they_are() {
        let rows = spans(&[Span::new(1, 1, 10), Span { duration: 7, ..Span::new(1, 2, 20) }]);
        let file = written(Table::OperationMinutes, operation_minutes(&[rows]));
        let has = |path, encoding| column(&file, path).encodings().any(|known| known == encoding);
        assert!(has("duration.sum", Encoding::DELTA_BINARY_PACKED));
        assert!(!has("duration.buckets", Encoding::RLE_DICTIONARY));
        assert!(has("duration.count", Encoding::RLE_DICTIONARY));
        assert!(column(&file, "duration.sum").statistics().is_none());
    }

    #[test]
    fn what_is_kept_takes_less_than_what_was_committed() {
        // Words in an order that repeats only in parts.
        let words = ["cart", "checkout", "stock", "price", "item", "user", "quote"];
        let name = |n: usize| -> String {
            (1..9).map(|k| words[(n * n * k + n / 3) % words.len()]).collect::<Vec<_>>().join("/")
        };
        let names: Vec<_> = (0..3_000).map(|n| format!("{}/{n}", name(n))).collect();
        let of = names.iter().zip(1..).map(|(name, id)| Span { name, ..Span::new(id, id, id) });
        let rows = spans(&of.collect::<Vec<_>>());
        let folder = tempfile::tempdir().unwrap();
        let place = Place::folder(folder.path(), true).unwrap();
        let size = |writing| {
            let many = (rows.num_rows(), writing);
            let mut writer = FileWriter::create(&place, Table::Spans, 0, many).unwrap();
            writer.write(&rows).unwrap();
            writer.finish().unwrap().data.size_bytes
        };
        let (committed, kept) = (size(Writing::Commit), size(Writing::Compaction));
        assert!(kept < committed, "{kept} of {committed}");
    }
}
