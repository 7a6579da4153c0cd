//! Rows completed from the spans around them, and their files written again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::or;
use arrow::error::ArrowError;

use super::rows::{Minutes, OpenFile, Wanted, row_minutes};
use crate::compact::rows_in_order;
use crate::delta::TableHandle;
use crate::error::StoreError;
use crate::parquet_writer::{FileWriter, WriteError, Writing, WrittenFile};
use crate::place::Place;
use crate::store::commit::table_error;
use crate::trace_index::{SPANS_FILLED, TraceIndex};

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
    /// Minutes that are stored and have to be made again.
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
    index: TraceIndex,
) -> Result<Completion, StoreError> {
    let table = handle.table();
    let done = Arc::new(Mutex::new(Completion::default()));
    let (wanted, noted) = (wanted.clone(), Arc::clone(&done));
    let work = move |place: Place| {
        let (mut written, mut removed, mut counts) =
            (Vec::new(), BTreeSet::new(), Counts::default());
        for file in files {
            if can_complete(&file, &wanted, &index)? {
                written.push(write_again(&place, &file, &index, &mut counts)?);
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
    for rows in file.wanted(&OF_SPANS, wanted)? {
        let rows = rows?;
        if says_more(&rows, &index.enrich_spans(&rows))?.true_count() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The file as the index completes it. What is filled in does not say where a row stands.
fn write_again(
    place: &Place,
    file: &OpenFile,
    index: &TraceIndex,
    counts: &mut Counts,
) -> Result<WrittenFile, WriteError> {
    let (table, data) = (file.table, &file.data);
    let rows = usize::try_from(data.rows).unwrap_or(usize::MAX);
    let mut writer = FileWriter::create(place, table, data.date, (rows, Writing::Compaction))?;
    for rows in rows_in_order(table, data, file.content()?)? {
        let before = rows?;
        let after = index.enrich_spans(&before);
        let minutes = counts.add(&before, &after, &says_more(&before, &after)?)?;
        if !data.without_minutes {
            counts.minutes.extend(minutes);
        }
        writer.write(&after)?;
    }
    let mut copy = writer.finish()?;
    // Retention goes by when rows came.
    copy.data.written_unix_ms = data.written_unix_ms;
    copy.data.without_minutes = data.without_minutes;
    Ok(copy)
}

/// Which rows differ in what was filled in.
fn says_more(before: &RecordBatch, after: &RecordBatch) -> Result<BooleanArray, ArrowError> {
    let mut differs = BooleanArray::from(vec![false; before.num_rows()]);
    for name in SPANS_FILLED {
        if let (Some(before), Some(after)) =
            (before.column_by_name(name), after.column_by_name(name))
        {
            differs = or(&differs, &distinct(before, after)?)?;
        }
    }
    Ok(differs)
}

impl Counts {
    /// Counts rows that say more; gives their minutes.
    fn add(
        &mut self,
        before: &RecordBatch,
        after: &RecordBatch,
        is_more: &BooleanArray,
    ) -> Result<Minutes, WriteError> {
        if is_more.true_count() == 0 {
            return Ok(Minutes::new());
        }
        let unknown = |rows: &RecordBatch| {
            rows.column_by_name("parent_service").map_or(0, |column| column.null_count() as u64)
        };
        self.rows += is_more.true_count() as u64;
        self.parents += unknown(before).saturating_sub(unknown(after));
        let no_time = || ArrowError::SchemaError("no column time".to_owned());
        let minutes = row_minutes(before).ok_or_else(no_time)?;
        let of_changed = minutes.iter().zip(is_more).filter(|(_, is_more)| *is_more == Some(true));
        Ok(of_changed.map(|(minute, _)| *minute).collect())
    }
}
