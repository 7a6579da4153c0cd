//! Rows completed from the spans around them, and their files written again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{filter_record_batch, not, or};
use arrow::error::ArrowError;

use super::rows::{Minutes, OpenFile, Wanted, row_minutes};
use crate::compact::rows_in_order;
use crate::delta::TableHandle;
use crate::error::StoreError;
use crate::parquet_writer::{FileWriter, WriteError, Writing, WrittenFile, write_partitions};
use crate::place::Place;
use crate::schema::Table;
use crate::store::commit::table_error;
use crate::trace_index::{PAYLOAD_SIZES_FILLED, SPANS_FILLED, TraceIndex};

/// Rows that have to be put in order again are kept up to this number, some 150 MB of body sizes.
const MOVED_ROWS: usize = 131_072;

/// What the index reads of `spans`, and what it fills in.
const OF_SPANS: [&str; 15] = [
    "trace_id",
    "span_id",
    "parent_span_id",
    "service_name",
    "span_name",
    "span_kind",
    "operation",
    "service_instance_id",
    "start_unix_nano",
    "duration_ns",
    "parent_service",
    "parent_name",
    "self_time_ns",
    "callee_service",
    "callee_operation",
];
/// The same of `payload_sizes`.
const OF_SIZES: [&str; 6] =
    ["trace_id", "span_id", "client_service", "server_service", "operation", "reporter"];

/// Files that take the place of others.
#[derive(Debug, Default)]
pub(super) struct Completion {
    pub(super) removed: BTreeSet<String>,
    pub(super) written: Vec<WrittenFile>,
    pub(super) counts: Counts,
}

/// What was completed.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// Rows that say more than before.
    pub(super) rows: u64,
    /// Those that got to know their parent.
    pub(super) parents: u64,
    /// Their minutes.
    pub(super) minutes: Minutes,
}

/// An index of the spans that are wanted.
pub(super) fn index(files: &[OpenFile], wanted: &Wanted) -> Result<TraceIndex, WriteError> {
    let mut index = TraceIndex::default();
    // In an order that does not depend on when they were found: of a span that was sent twice the first counts.
    let mut files: Vec<_> = files.iter().collect();
    files.sort_by_key(|file| &file.data.path);
    for file in files {
        for rows in file.wanted(&OF_SPANS, wanted)? {
            index.insert(&rows?);
        }
    }
    Ok(index)
}

/// Writes those files again in which the index completes rows.
pub(super) async fn complete(
    handle: &TableHandle,
    files: Vec<OpenFile>,
    wanted: &Wanted,
    index: &Arc<TraceIndex>,
) -> Result<Completion, StoreError> {
    let table = handle.table();
    let done = Arc::new(Mutex::new(Completion::default()));
    let (wanted, index, noted) = (wanted.clone(), Arc::clone(index), Arc::clone(&done));
    let work = move |place: Place| {
        let (mut written, mut removed, mut counts) =
            (Vec::new(), BTreeSet::new(), Counts::default());
        for file in files {
            if can_complete(&file, &wanted, &index)? {
                written.extend(write_again(&place, &file, &index, &mut counts)?);
                removed.insert(file.data.path);
            }
        }
        let mut done = noted.lock().unwrap_or_else(PoisonError::into_inner);
        (done.removed, done.counts) = (removed, counts);
        Ok(written)
    };
    let written = handle.write_with(work).await.map_err(table_error("repair", table))?;
    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Completion { written, ..std::mem::take(&mut *done) })
}

fn can_complete(file: &OpenFile, wanted: &Wanted, index: &TraceIndex) -> Result<bool, WriteError> {
    let columns = if file.table == Table::Spans { &OF_SPANS[..] } else { &OF_SIZES };
    for rows in file.wanted(columns, wanted)? {
        let rows = rows?;
        if says_more(file.table, &rows, &completed(file.table, &rows, index))?.true_count() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn write_again(
    place: &Place,
    file: &OpenFile,
    index: &TraceIndex,
    counts: &mut Counts,
) -> Result<Vec<WrittenFile>, WriteError> {
    let (table, data) = (file.table, &file.data);
    let mut copy = Copy::of(place, table, data.date, data.rows);
    for rows in rows_in_order(table, data, file.content()?)? {
        let before = rows?;
        let after = completed(table, &before, index);
        let is_more = says_more(table, &before, &after)?;
        counts.add(&before, &after, &is_more)?;
        copy.write(&after, &is_more)?;
    }
    let mut written = copy.finish()?;
    for copy in &mut written {
        // Retention goes by when rows came.
        copy.data.written_unix_ms = data.written_unix_ms;
    }
    Ok(written)
}

fn filled(table: Table) -> &'static [&'static str] {
    if table == Table::Spans { &SPANS_FILLED } else { &PAYLOAD_SIZES_FILLED }
}

fn completed(table: Table, rows: &RecordBatch, index: &TraceIndex) -> RecordBatch {
    if table == Table::Spans { index.enrich_spans(rows) } else { index.enrich_payload_sizes(rows) }
}

/// Which rows differ in what was filled in.
fn says_more(
    table: Table,
    before: &RecordBatch,
    after: &RecordBatch,
) -> Result<BooleanArray, ArrowError> {
    let mut differs = BooleanArray::from(vec![false; before.num_rows()]);
    for name in filled(table) {
        if let (Some(before), Some(after)) =
            (before.column_by_name(name), after.column_by_name(name))
        {
            differs = or(&differs, &distinct(before, after)?)?;
        }
    }
    Ok(differs)
}

impl Counts {
    fn add(
        &mut self,
        before: &RecordBatch,
        after: &RecordBatch,
        is_more: &BooleanArray,
    ) -> Result<(), WriteError> {
        if is_more.true_count() == 0 {
            return Ok(());
        }
        let unknown = |rows: &RecordBatch| {
            rows.column_by_name("parent_service").map_or(0, |column| column.null_count() as u64)
        };
        self.rows += is_more.true_count() as u64;
        self.parents += unknown(before).saturating_sub(unknown(after));
        let no_time = || ArrowError::SchemaError("no column time".to_owned());
        let minutes = row_minutes(before).ok_or_else(no_time)?;
        let of_changed = minutes.iter().zip(is_more).filter(|(_, is_more)| *is_more == Some(true));
        self.minutes.extend(of_changed.map(|(minute, _)| *minute));
        Ok(())
    }
}

/// A file of a table in the making, of rows that were in order before some of them changed.
struct Copy<'a> {
    place: &'a Place,
    table: Table,
    date: i32,
    rows: usize,
    /// Whether what is filled in says where a row stands.
    is_order_kept: bool,
    writer: Option<FileWriter>,
    moved: Vec<RecordBatch>,
    written: Vec<WrittenFile>,
}

impl<'a> Copy<'a> {
    fn of(place: &'a Place, table: Table, date: i32, rows: u64) -> Self {
        let is_order_kept =
            !table.sort_columns().iter().any(|column| filled(table).contains(column));
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        let (writer, moved, written) = (None, Vec::new(), Vec::new());
        Self { place, table, date, rows, is_order_kept, writer, moved, written }
    }

    fn write(&mut self, rows: &RecordBatch, has_changed: &BooleanArray) -> Result<(), WriteError> {
        if self.is_order_kept || has_changed.true_count() == 0 {
            return self.write_in_order(rows);
        }
        self.write_in_order(&filter_record_batch(rows, &not(has_changed)?)?)?;
        self.moved.push(filter_record_batch(rows, has_changed)?);
        if self.moved.iter().map(RecordBatch::num_rows).sum::<usize>() >= MOVED_ROWS {
            self.write_moved()?;
        }
        Ok(())
    }

    fn write_in_order(&mut self, rows: &RecordBatch) -> Result<(), WriteError> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => self.writer.insert(FileWriter::create(
                self.place,
                self.table,
                self.date,
                (self.rows, Writing::Compaction),
            )?),
        };
        writer.write(rows)
    }

    fn write_moved(&mut self) -> Result<(), WriteError> {
        let moved = std::mem::take(&mut self.moved);
        self.written.extend(write_partitions(self.place, self.table, &moved)?);
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<WrittenFile>, WriteError> {
        self.write_moved()?;
        self.written.extend(self.writer.map(FileWriter::finish).transpose()?);
        Ok(self.written)
    }
}
