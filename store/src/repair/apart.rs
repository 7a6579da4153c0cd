//! Which traces came apart: spans that name a parent in another file, and spans in other files that
//! lacked a parent that is here.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray, Int64Array, RecordBatch};
use foldhash::fast::RandomState;

use super::rows::{Minutes, OpenFile, Traces, Wanted, minute_of, minutes_of, overlaps};
use crate::parquet_writer::WriteError;
use crate::snapshot::DataFile;
use crate::time::NANOS_PER_MINUTE;
use crate::trace_index::{integers, trace_key};

/// How far before and after a span others of its trace are looked for, in minutes. Services send what they
/// have every few seconds; what comes later than this was held up, or answers a message that waited in
/// a queue.
const AROUND_MINUTES: i64 = 5;
/// Of a span that runs longer than this, the children of its first hour are looked for.
const LONGEST_MINUTES: i64 = 60;

const OF_FAMILIES: [&str; 5] =
    ["trace_id", "span_id", "parent_span_id", "start_unix_nano", "duration_ns"];
const OF_CHILDREN: [&str; 3] = ["trace_id", "parent_span_id", "parent_service"];

type SpanIds = HashSet<(u128, i64), RandomState>;

/// What was found in a group of files.
#[derive(Debug, Default)]
pub(super) struct Apart {
    /// Traces that have spans elsewhere, or may have.
    pub(super) traces: Traces,
    /// The minutes in which those may be.
    pub(super) minutes: Minutes,
    spans: SpanIds,
}

/// Whether no span of a file names a parent, by the log.
pub(super) fn has_no_parents(file: &DataFile) -> bool {
    nulls(file, "parent_span_id") == Some(file.rows)
}

/// Whether spans of a file name a parent and do not know it, by the log.
pub(super) fn has_lost_parents(file: &DataFile) -> bool {
    let (named, known) = (nulls(file, "parent_span_id"), nulls(file, "parent_service"));
    named.zip(known).is_none_or(|(unnamed, unknown)| unknown > unnamed)
}

/// Whether a file was written before answers were noted in rows: without them, edges that clients
/// reported cannot be made again.
pub(crate) fn lacks_callees(file: &DataFile) -> bool {
    nulls(file, "callee_service").is_none()
}

fn nulls(file: &DataFile, column: &str) -> Option<u64> {
    file.statistics.get(column)?.null_count
}

/// Looks at all spans of files.
pub(super) fn in_files(files: &[OpenFile]) -> Result<Apart, WriteError> {
    let mut found = Apart::default();
    for file in files {
        let (mut ids, mut children) = (SpanIds::default(), Vec::new());
        let mut lengths = HashSet::<(i64, i64), RandomState>::default();
        for rows in file.columns(&OF_FAMILIES)? {
            let rows = rows?;
            let Some(columns) = Families::new(&rows) else { continue };
            for row in 0..rows.num_rows() {
                let trace = trace_key(columns.traces.value(row));
                ids.insert((trace, columns.ids.value(row)));
                if columns.parents.is_valid(row) {
                    children.push((trace, columns.parents.value(row)));
                }
                let start = columns.starts.value(row);
                let length = columns.durations.value(row);
                let length = length.clamp(0, LONGEST_MINUTES * NANOS_PER_MINUTE);
                lengths.insert((minute_of(start), minute_of(start.saturating_add(length))));
            }
        }
        let is_elsewhere = |child: &&(u128, i64)| !ids.contains(*child);
        found.traces.extend(children.iter().filter(is_elsewhere).map(|(trace, _)| *trace));
        for (first, last) in lengths {
            found.minutes.extend(first - AROUND_MINUTES..=last + AROUND_MINUTES);
        }
        found.spans.extend(ids);
    }
    Ok(found)
}

impl Apart {
    /// Adds the traces of spans in other files that did not know a parent which is here.
    pub(super) fn add_children(&mut self, others: &[OpenFile]) -> Result<(), WriteError> {
        let wanted = Wanted { minutes: Arc::new(self.minutes.clone()), traces: None };
        for file in others.iter().filter(|file| has_lost_parents(&file.data)) {
            for rows in file.wanted(&OF_CHILDREN, &wanted)? {
                let rows = rows?;
                let (Some(traces), Some(parents)) =
                    (traces(&rows), integers(&rows, "parent_span_id"))
                else {
                    continue;
                };
                let Some(known) = rows.column_by_name("parent_service") else { continue };
                let is_lost = |row: &usize| parents.is_valid(*row) && known.is_null(*row);
                for row in (0..rows.num_rows()).filter(is_lost) {
                    let trace = trace_key(traces.value(row));
                    if self.spans.contains(&(trace, parents.value(row))) {
                        self.traces.insert(trace);
                    }
                }
            }
        }
        Ok(())
    }

    /// Leaves out the minutes of files for which nothing can be made again.
    pub(super) fn leave_out<'a>(&mut self, files: impl Iterator<Item = &'a DataFile>) {
        for file in files.filter(|file| overlaps(file, &self.minutes)).collect::<Vec<_>>() {
            let (first, last) = minutes_of(file);
            self.minutes.retain(|minute| !(first..=last).contains(minute));
        }
    }
}

struct Families<'a> {
    traces: &'a BinaryArray,
    ids: &'a Int64Array,
    parents: &'a Int64Array,
    starts: &'a Int64Array,
    durations: &'a Int64Array,
}

impl<'a> Families<'a> {
    fn new(rows: &'a RecordBatch) -> Option<Self> {
        Some(Self {
            traces: traces(rows)?,
            ids: integers(rows, "span_id")?,
            parents: integers(rows, "parent_span_id")?,
            starts: integers(rows, "start_unix_nano")?,
            durations: integers(rows, "duration_ns")?,
        })
    }
}

fn traces(rows: &RecordBatch) -> Option<&BinaryArray> {
    rows.column_by_name("trace_id")?.as_binary_opt()
}
