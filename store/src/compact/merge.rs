//! Sorted files into one sorted sequence of rows, without all of them in memory.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fs::File;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Date32Array, RecordBatch, RecordBatchOptions};
use arrow::compute::{SortOptions, cast, interleave_record_batch};
use arrow::datatypes::{Schema, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::row::{Row, RowConverter, Rows, SortField};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::columns::Source;
use crate::parquet_writer::WriteError;
use crate::rollup::merge_partials;
use crate::schema::Table;
use crate::snapshot::DataFile;

/// Rows that come out at a time.
const CHUNK_ROWS: usize = 8_192;
/// Rows of all files together that are read ahead. (Eight times as many, of spans, took 300 MB more and as much
/// time.)
const READ_AHEAD_ROWS: usize = 16_384;
/// Rows of a file that are read at once, however many files there are.
const READ_ROWS_MIN: usize = 512;

/// Chunks of rows in the table's order, in its schema. Rows of a rollup that have the same key come
/// out as one. Other tables are merged by [`order`]; tests compare the two.
pub(super) struct Merge {
    table: Table,
    runs: Vec<Run>,
}

impl Merge {
    /// Of these files, all of one date.
    pub(super) fn of(
        table: Table,
        date: i32,
        files: Vec<(DataFile, File)>,
    ) -> Result<Self, WriteError> {
        let read_rows = (READ_AHEAD_ROWS / files.len().max(1)).clamp(READ_ROWS_MIN, CHUNK_ROWS);
        let runs = files.into_iter().map(|(file, content)| {
            let builder = ParquetRecordBatchReaderBuilder::try_new(content)?;
            let reader = builder.with_batch_size(read_rows).build()?;
            Run::start((table, table.schema()), date, file.path, reader)
        });
        let mut runs = runs.collect::<Result<Vec<_>, _>>()?;
        runs.retain(|run| run.head().is_some());
        Ok(Self { table, runs })
    }

    /// The next rows, at most about [`CHUNK_ROWS`]. A chunk of a rollup ends between two minutes,
    /// so that all parts of a row are in it.
    fn chunk(&mut self) -> Result<Option<RecordBatch>, WriteError> {
        let is_rollup = self.table.is_rollup();
        let mut chunk = Chunk::default();
        while let Some(first) = self.first() {
            let end = self.end_of(first);
            let slot = chunk.slot_of(first, &self.runs[first].rows);
            let run = &self.runs[first];
            let end = if is_rollup { end } else { end.min(run.at + CHUNK_ROWS - chunk.len()) };
            // Of rows that are equal in order one is taken, or this would not go on.
            let end = end.max(run.at + 1);
            chunk.rows.extend((run.at..end).map(|row| (slot, row)));
            let minute = run.time_of(end - 1);
            if self.runs[first].advance_to(end)? {
                chunk.forget(first);
                if self.runs[first].head().is_none() {
                    self.runs.swap_remove(first);
                    chunk.forget_all();
                }
            }
            if chunk.len() >= CHUNK_ROWS {
                let goes_on = |run: &Run| run.head().is_some() && run.time_of(run.at) == minute;
                if !is_rollup || !self.runs.iter().any(goes_on) {
                    break;
                }
            }
        }
        if chunk.rows.is_empty() {
            return Ok(None);
        }
        let sources: Vec<_> = chunk.sources.iter().collect();
        let rows = interleave_record_batch(&sources, &chunk.rows)?;
        Ok(Some(if is_rollup { merge_partials(self.table, rows) } else { rows }))
    }

    /// Where the rows of a run end that come before those of every other.
    fn end_of(&self, first: usize) -> usize {
        let run = &self.runs[first];
        match self.second(first) {
            // As many as come before the rows of every other file.
            Some(other) => run.end_before(self.runs[other].head()),
            None => run.rows.num_rows(),
        }
    }

    /// The run whose next row comes first.
    fn first(&self) -> Option<usize> {
        (0..self.runs.len()).min_by(|a, b| self.runs[*a].head().cmp(&self.runs[*b].head()))
    }

    /// The run whose next row comes first among the others.
    fn second(&self, first: usize) -> Option<usize> {
        let others = (0..self.runs.len()).filter(|run| *run != first);
        others.min_by(|a, b| self.runs[*a].head().cmp(&self.runs[*b].head()))
    }
}

/// Of each row of the merged files, in the table's order, from which of them it is.
pub(super) fn order(table: Table, files: &[Source]) -> Result<Vec<u8>, WriteError> {
    let columns = table.sort_columns();
    let of = |name: &&str| table.schema().field_with_name(name).cloned();
    let schema = Arc::new(Schema::new(columns.iter().map(of).collect::<Result<Vec<_>, _>>()?));
    let runs = files.iter().map(|source| {
        let DataFile { path, date, .. } = &source.file;
        Run::start((table, Arc::clone(&schema)), *date, path.clone(), source.reader(columns)?)
    });
    let mut merge = Merge { table, runs: runs.collect::<Result<Vec<_>, _>>()? };
    let mut numbers: Vec<u8> = (0..=u8::MAX).take(files.len()).collect();
    let mut order = Vec::new();
    while let Some(first) = merge.first() {
        let end = merge.end_of(first).max(merge.runs[first].at + 1);
        let run = &mut merge.runs[first];
        order.extend(std::iter::repeat_n(numbers[first], end - run.at));
        if run.advance_to(end)? && run.head().is_none() {
            merge.runs.swap_remove(first);
            numbers.swap_remove(first);
        }
    }
    Ok(order)
}

/// The rows of one file in the table's schema; an error where they are not in its order.
pub(crate) fn rows_in_order(
    table: Table,
    file: &DataFile,
    content: File,
) -> Result<impl Iterator<Item = Result<RecordBatch, WriteError>>, WriteError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(content)?;
    let reader = builder.with_batch_size(CHUNK_ROWS).build()?;
    let mut run = Run::start((table, table.schema()), file.date, file.path.clone(), reader)?;
    let mut is_over = false;
    Ok(std::iter::from_fn(move || {
        if is_over || run.head().is_none() {
            return None;
        }
        let rows = run.rows.clone();
        match run.advance_to(rows.num_rows()) {
            Ok(_) => Some(Ok(rows)),
            Err(error) => {
                is_over = true;
                Some(Err(error))
            }
        }
    }))
}

impl Iterator for Merge {
    type Item = Result<RecordBatch, WriteError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.chunk().transpose()
    }
}

/// Rows on their way out: where each is, among the batches that they come from.
#[derive(Default)]
struct Chunk {
    sources: Vec<RecordBatch>,
    rows: Vec<(usize, usize)>,
    /// Which source holds the current batch of a run.
    slots: Vec<(usize, usize)>,
}

impl Chunk {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn slot_of(&mut self, run: usize, rows: &RecordBatch) -> usize {
        if let Some((_, slot)) = self.slots.iter().find(|(known, _)| *known == run) {
            return *slot;
        }
        let slot = self.sources.len();
        self.sources.push(rows.clone());
        self.slots.push((run, slot));
        slot
    }

    /// The run has another batch.
    fn forget(&mut self, run: usize) {
        self.slots.retain(|(known, _)| *known != run);
    }

    /// The runs have other numbers.
    fn forget_all(&mut self) {
        self.slots.clear();
    }
}

/// A file that is read from its start to its end.
struct Run {
    table: Table,
    /// Its columns that are read.
    schema: SchemaRef,
    date: i32,
    path: String,
    reader: ParquetRecordBatchReader,
    converter: RowConverter,
    rows: RecordBatch,
    keys: Rows,
    at: usize,
}

impl Run {
    fn start(
        (table, schema): (Table, SchemaRef),
        date: i32,
        path: String,
        reader: ParquetRecordBatchReader,
    ) -> Result<Self, WriteError> {
        let options = SortOptions { descending: false, nulls_first: true };
        let fields = table.sort_columns().iter().map(|name| {
            let field = schema.field_with_name(name)?;
            Ok(SortField::new_with_options(field.data_type().clone(), options))
        });
        let converter = RowConverter::new(fields.collect::<Result<Vec<_>, ArrowError>>()?)?;
        let keys = converter.empty_rows(0, 0);
        let rows = RecordBatch::new_empty(Arc::clone(&schema));
        let mut run = Self { table, schema, date, path, reader, converter, rows, keys, at: 0 };
        run.read()?;
        Ok(run)
    }

    /// The key of the next row.
    fn head(&self) -> Option<Row<'_>> {
        (self.at < self.rows.num_rows()).then(|| self.keys.row(self.at))
    }

    /// `time` of a row of the batch.
    fn time_of(&self, row: usize) -> Option<i64> {
        let times = self.rows.column_by_name("time")?;
        times.as_primitive_opt::<TimestampMicrosecondType>().map(|times| times.value(row))
    }

    /// The first of the rows that does not come before this key.
    fn end_before(&self, key: Option<Row<'_>>) -> usize {
        let Some(key) = key else { return self.rows.num_rows() };
        let (mut low, mut high) = (self.at, self.rows.num_rows());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.keys.row(middle) <= key { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Goes on to a row; reads more where there are no more. Says whether the batch is another.
    fn advance_to(&mut self, row: usize) -> Result<bool, WriteError> {
        self.at = row;
        if self.at < self.rows.num_rows() {
            return Ok(false);
        }
        self.read()?;
        Ok(true)
    }

    /// The next batch that has rows; none at the end of the file.
    fn read(&mut self) -> Result<(), WriteError> {
        let last = self.rows.num_rows().checked_sub(1).map(|last| self.keys.row(last).owned());
        self.at = 0;
        loop {
            let Some(rows) = self.reader.next() else {
                self.rows = RecordBatch::new_empty(Arc::clone(&self.schema));
                return Ok(());
            };
            self.rows = in_schema(&self.schema, &rows?, self.date)?;
            if self.rows.num_rows() > 0 {
                break;
            }
        }
        let columns = self.table.sort_columns().iter().map(|name| {
            let missing = || ArrowError::SchemaError(format!("no column {name}"));
            self.rows.column_by_name(name).cloned().ok_or_else(missing)
        });
        self.keys = self.converter.convert_columns(&columns.collect::<Result<Vec<_>, _>>()?)?;
        let mut before = last.as_ref().map(arrow::row::OwnedRow::row);
        for key in &self.keys {
            if before.is_some_and(|before| before.cmp(&key) == Ordering::Greater) {
                return Err(WriteError::Unsorted(self.path.clone()));
            }
            before = Some(key);
        }
        Ok(())
    }
}

/// Rows of a file in the table's schema of today, or columns of it: the date comes back, a column that the
/// file does not have is null.
fn in_schema(schema: &SchemaRef, rows: &RecordBatch, date: i32) -> Result<RecordBatch, ArrowError> {
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
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}
