//! Tables of hours: sums of minutes that have ended, made by upkeep and not by commits.
//!
//! A date has one file of hours. It says of which files of minutes it was made and up to which hour; when these
//! are others (minutes that came late, a repair, a compaction), it is made again from all minutes of the
//! date. Spans whose minutes are not stored count as minutes. So hours are a function of the minutes at some instant: whatever a round stops at, the next
//! one ends it, and none is counted twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::TimestampMicrosecondType;

use crate::compact::{local_copy, rows_in_order};
use crate::delta::{SourceVersion, TableError, TableHandle};
use crate::parquet_writer::{WriteError, WrittenFile, write_partitions};
use crate::place::Place;
use crate::repair::OpenFile;
use crate::rollup::{HOUR_MICROS, OF_SPANS, hours, merge_partials, minutes_of_spans};
use crate::schema::Table;
use crate::snapshot::{Bound, DataFile};
use crate::time::UnixNanos;

/// Minutes that come later than this after their hour make it be rolled up again.
const GRACE: Duration = Duration::from_mins(10);
/// Between two times that a date is rolled up: some minute is late in every commit.
pub(super) const INTERVAL: Duration = Duration::from_mins(10);
/// Parts of hours that are put together at a time.
const PARTS_MAX: usize = 64;
const DAY_MICROS: i64 = 24 * HOUR_MICROS;

/// What hours are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Minutes<'a> {
    /// The table of minutes.
    pub(crate) stored: &'a TableHandle,
    /// The table of spans, some of which may have no minutes there.
    pub(crate) spans: Option<&'a TableHandle>,
}

impl Minutes<'_> {
    fn table(&self) -> Table {
        self.stored.table()
    }

    /// The files that have minutes, or spans in place of them.
    pub(crate) fn files(&self) -> Vec<DataFile> {
        let spans = self.spans.filter(|_| self.table().is_made_of_spans()).map(TableHandle::files);
        let spans = spans.iter().flat_map(|files| files.iter()).filter(|file| file.without_minutes);
        self.stored.files().iter().chain(spans).cloned().collect()
    }

    /// The table that a file is of.
    fn of(&self, file: &DataFile) -> &TableHandle {
        self.spans.filter(|_| file.without_minutes).unwrap_or(self.stored)
    }
}

/// Makes the hours of every date whose minutes are others than those that its hours were made of. Gives
/// these dates.
pub(crate) async fn roll_up(
    minutes: Minutes<'_>,
    handle: &mut TableHandle,
    now: UnixNanos,
    is_due: &(dyn Fn(i32) -> bool + Sync),
) -> Result<Vec<i32>, TableError> {
    let mut by_date = BTreeMap::<i32, Vec<DataFile>>::new();
    for file in minutes.files() {
        by_date.entry(file.date).or_default().push(file);
    }
    let mut made = Vec::new();
    for (date, files) in by_date {
        let until = ended(date, now);
        let files = before(files, until);
        let made_of = made_of(minutes.table(), &files, until);
        let known: Vec<_> =
            handle.files().iter().filter(|file| file.date == date).cloned().collect();
        let is_known = matches!(&known[..], [file] if file.committed_as.as_ref() == Some(&made_of));
        if files.is_empty() || is_known || !is_due(date) {
            continue;
        }
        match of_date(minutes, handle, files, until).await {
            Ok(written) if written.is_empty() && known.is_empty() => {}
            Ok(mut written) => {
                for file in &mut written {
                    file.data.committed_as = Some(made_of.clone());
                }
                let removed = known.into_iter().map(|file| file.path).collect();
                handle.replace_rows(&removed, written).await?;
                made.push(date);
            }
            Err(TableError::Write { table, source: WriteError::Unsorted(path) }) => {
                tracing::warn!(table, %path, "a file is not in the table's order; its date has no hours");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(made)
}

/// The end of the last hour of a date that is over, in microseconds.
fn ended(date: i32, now: UnixNanos) -> i64 {
    let grace = i64::try_from(GRACE.as_micros()).unwrap_or(i64::MAX);
    let settled = now.micros().saturating_sub(grace);
    let end = (i64::from(date) + 1).saturating_mul(DAY_MICROS);
    end.min(settled - settled.rem_euclid(HOUR_MICROS))
}

/// The files that have minutes before an instant.
fn before(mut files: Vec<DataFile>, until: i64) -> Vec<DataFile> {
    let first = |file: &DataFile| match file.statistics.get("time")?.min {
        Some(Bound::Int(micros)) => Some(micros),
        _ => None,
    };
    files.retain(|file| first(file).is_none_or(|micros| micros < until));
    files
}

/// What hours up to an instant are made of: the table of minutes, and a number that tells the instant and
/// the files.
fn made_of(minutes: Table, files: &[DataFile], until: i64) -> SourceVersion {
    let paths: BTreeSet<_> = files.iter().map(|file| file.path.as_str()).collect();
    let sum = paths.iter().fold(0, |sum, path| {
        crc32c::crc32c_append(crc32c::crc32c_append(sum, path.as_bytes()), b"\n")
    });
    (minutes.name().to_owned(), ((until / HOUR_MICROS) << 32) | i64::from(sum))
}

/// Up to which instant a file of hours goes, in microseconds; `None` where its minutes are others by now,
/// and it waits to be made again.
pub(crate) fn made_until(hours: &DataFile, minutes: (Table, &[DataFile])) -> Option<i64> {
    let (table, files) = minutes;
    let known = hours.committed_as.as_ref()?;
    let until = (known.1 >> 32) * HOUR_MICROS;
    let of_date = files.iter().filter(|file| file.date == hours.date).cloned().collect();
    (*known == made_of(table, &before(of_date, until), until)).then_some(until)
}

/// Writes the hours of a date, up to an instant.
async fn of_date(
    minutes: Minutes<'_>,
    handle: &TableHandle,
    files: Vec<DataFile>,
    until: i64,
) -> Result<Vec<WrittenFile>, TableError> {
    let table = minutes.table();
    let failed = |source| TableError::Write { table: table.name(), source };
    let mut inputs = Vec::with_capacity(files.len());
    for file in files {
        let of = minutes.of(&file);
        let content = local_copy(of.place(), &file).await.map_err(failed)?;
        inputs.push(OpenFile::new(of.table(), file, content));
    }
    let of_hours = handle.table();
    let work = move |place: Place| {
        let written_unix_ms = inputs.iter().map(|file| file.data.written_unix_ms).max();
        let rows = sums(table, inputs, until)?;
        let mut written = write_partitions(&place, of_hours, &[rows])?;
        for file in &mut written {
            // Hours go when their minutes go.
            file.data.written_unix_ms = written_unix_ms.unwrap_or(file.data.written_unix_ms);
        }
        Ok(written)
    };
    handle.write_with(work).await
}

fn sums(minutes: Table, inputs: Vec<OpenFile>, until: i64) -> Result<RecordBatch, WriteError> {
    let mut parts = Vec::new();
    let mut add = |rows: &RecordBatch| -> Result<(), WriteError> {
        parts.push(hours_before(minutes, rows, until)?);
        if parts.len() >= PARTS_MAX {
            parts = vec![merge_partials(minutes, concat_batches(&minutes.schema(), &parts)?)];
        }
        Ok(())
    };
    for file in inputs {
        if file.table == minutes {
            for rows in rows_in_order(minutes, &file.data, file.content()?)? {
                add(&rows?)?;
            }
        } else {
            for rows in file.columns(&OF_SPANS)? {
                add(&minutes_of_spans(minutes, &[rows?]))?;
            }
        }
    }
    Ok(merge_partials(minutes, concat_batches(&minutes.schema(), &parts)?))
}

/// The hours before an instant that rows of minutes come to.
pub(crate) fn hours_before(
    minutes: Table,
    rows: &RecordBatch,
    until: i64,
) -> Result<RecordBatch, WriteError> {
    let times = rows.column_by_name("time");
    let times = times.and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
    let is_before: BooleanArray = match times {
        Some(times) => {
            times.iter().map(|time| Some(time.is_some_and(|time| time < until))).collect()
        }
        None => BooleanArray::from(vec![false; rows.num_rows()]),
    };
    Ok(hours(minutes, &filter_record_batch(rows, &is_before)?)?)
}

#[cfg(test)]
mod tests;
