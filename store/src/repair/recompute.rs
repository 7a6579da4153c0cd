//! The rollups of some minutes made again from the rows.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch, not};
use arrow::error::ArrowError;

use super::completion::Completion;
use super::rows::{Minutes, OpenFile, Wanted, minutes_of, overlaps, row_minutes};
use super::{FORMER, OnStep, RepairReport, RepairStep, Tables, open, working};
use crate::compact::rows_in_order;
use crate::delta::TableHandle;
use crate::error::StoreError;
use crate::parquet_writer::{FileWriter, WriteError, Writing, WrittenFile, write_partitions};
use crate::place::Place;
use crate::rollup::{OF_SPANS, edge_minutes, merge_partials, operation_minutes};
use crate::schema::Table;
use crate::snapshot::DataFile;
use crate::store::commit::table_error;
use crate::trace_index::texts;

/// Parts of rollups that are put together at a time.
const PARTS_MAX: usize = 64;

/// What minutes of edges are made of beside spans.
const OF_FORMER: [&str; 11] = [
    "time_unix_nano",
    "client_service",
    "server_service",
    "operation",
    "direction",
    "reporter",
    "service_version",
    "deployment_environment_name",
    "wire_bytes",
    "uncompressed_bytes",
    "date",
];

/// Makes the rollups of the noted minutes again, of tables that were just read. Minutes that a commit
/// is adding to wait for the next run.
pub(crate) async fn recompute(
    tables: &mut Tables,
    on_step: OnStep<'_>,
) -> Result<RepairReport, StoreError> {
    let waiting = waiting(tables).await?;
    let noted = std::mem::take(&mut tables.noted);
    let mut ready: Minutes = noted.difference(&waiting).copied().collect();
    let done = ready.len() as u64;
    // Of minutes past their retention the rollups stay as they are.
    let spans = tables.files(Table::Spans);
    ready.retain(|minute| spans.iter().any(|file| counts_in(file, &Minutes::from([*minute]))));
    let (mut operations, mut edges) =
        (Parts::of(Table::OperationMinutes), Parts::of(Table::EdgeMinutes));
    for table in [Table::Spans, FORMER] {
        for file in tables.files(table).iter().filter(|file| counts_in(file, &ready)) {
            let opened = open(tables, table, vec![file.clone()]).await?;
            let wanted = Wanted::all_of(&ready);
            (operations, edges) = working(table, move || {
                opened
                    .iter()
                    .try_for_each(|file| add(file, &wanted, &mut operations, &mut edges))?;
                Ok((operations, edges))
            })
            .await?;
        }
    }
    for parts in [operations, edges] {
        let table = parts.table;
        let done = replacement(tables, &ready, parts).await?;
        tables.replace(table, done, on_step).await?;
    }
    tables.note(&waiting).await?;
    on_step(RepairStep::Cleared)?;
    let waiting = waiting.len() as u64;
    Ok(RepairReport {
        minutes_recomputed: done,
        minutes_waiting: waiting,
        ..RepairReport::default()
    })
}

/// Whether stored minutes, of these, may have rows of the file.
fn counts_in(file: &DataFile, minutes: &Minutes) -> bool {
    !file.without_minutes && overlaps(file, minutes)
}

/// The noted minutes of which rows are in the tables and not rolled up yet, or may be.
async fn waiting(tables: &mut Tables) -> Result<Minutes, StoreError> {
    let mut waiting = Minutes::new();
    for table in [Table::Spans, FORMER] {
        for file in tables.files(table).iter() {
            if !counts_in(file, &tables.noted) {
                continue;
            }
            if tables.foreign.contains(&file.path) || !tables.is_rolled_up(file).await? {
                let (first, last) = minutes_of(file);
                waiting.extend(tables.noted.range(first..=last));
            }
        }
    }
    Ok(waiting)
}

/// Adds what the rows of a file come to.
fn add(
    file: &OpenFile,
    wanted: &Wanted,
    operations: &mut Parts,
    edges: &mut Parts,
) -> Result<(), WriteError> {
    let is_spans = file.table == Table::Spans;
    for rows in file.wanted(if is_spans { &OF_SPANS[..] } else { &OF_FORMER }, wanted)? {
        let rows = [rows?];
        if is_spans {
            operations.push(operation_minutes(&rows))?;
            edges.push(edge_minutes(&rows, &[]))?;
        } else {
            edges.push(edge_minutes(&[], &rows))?;
        }
    }
    Ok(())
}

/// Rows of a rollup that are put together before there are too many.
#[derive(Debug)]
struct Parts {
    table: Table,
    parts: Vec<RecordBatch>,
}

impl Parts {
    fn of(table: Table) -> Self {
        Self { table, parts: Vec::new() }
    }

    fn push(&mut self, part: RecordBatch) -> Result<(), ArrowError> {
        self.parts.push(part);
        if self.parts.len() >= PARTS_MAX {
            self.parts = vec![self.merged()?];
        }
        Ok(())
    }

    fn merged(&self) -> Result<RecordBatch, ArrowError> {
        let all = concat_batches(&self.table.schema(), &self.parts)?;
        Ok(merge_partials(self.table, all))
    }
}

/// The files of a rollup without its rows of these minutes, and one with other rows for them; nothing
/// where the rows are the same.
async fn replacement(
    tables: &Tables,
    minutes: &Minutes,
    parts: Parts,
) -> Result<Completion, StoreError> {
    let table = parts.table;
    let files = tables.files(table);
    let files = files.iter().filter(|file| overlaps(file, minutes)).cloned().collect();
    let files = open(tables, table, files).await?;
    let wanted = Wanted::all_of(minutes);
    let (files, rows) = working(table, move || {
        let rows = parts.merged()?;
        let mut known = Parts::of(table);
        let mut concerned = Vec::new();
        for file in files {
            let mut has_some = false;
            for rows in file.wanted(&names(table), &wanted)? {
                let rows = rows?;
                let of_rows = filter_record_batch(&rows, &is_of_rows(&rows))?;
                has_some |= of_rows.num_rows() > 0;
                known.push(of_rows)?;
            }
            concerned.extend(has_some.then_some(file));
        }
        let is_same = known.merged()? == rows;
        Ok((if is_same { Vec::new() } else { concerned }, (!is_same).then_some(rows)))
    })
    .await?;
    let Some(rows) = rows else { return Ok(Completion::default()) };
    let removed = files.iter().map(|file| file.data.path.clone()).collect();
    let written = write(tables.of(table), files, minutes.clone(), rows).await?;
    Ok(Completion { removed, written, ..Completion::default() })
}

async fn write(
    handle: &TableHandle,
    files: Vec<OpenFile>,
    minutes: Minutes,
    rows: RecordBatch,
) -> Result<Vec<WrittenFile>, StoreError> {
    let table = handle.table();
    let work = move |place: Place| {
        let mut written = write_partitions(&place, table, &[rows])?;
        let newest = files.iter().map(|file| file.data.written_unix_ms).max();
        for copy in &mut written {
            copy.data.written_unix_ms = newest.unwrap_or(copy.data.written_unix_ms);
        }
        for file in files {
            written.extend(write_others(&place, &file, &minutes)?);
        }
        Ok(written)
    };
    handle.write_with(work).await.map_err(table_error("repair", table))
}

/// The file without the rows of these minutes that come from rows.
fn write_others(
    place: &Place,
    file: &OpenFile,
    minutes: &Minutes,
) -> Result<Option<WrittenFile>, WriteError> {
    let (table, data) = (file.table, &file.data);
    let mut writer = None;
    for rows in rows_in_order(table, data, file.content()?)? {
        let rows = rows?;
        let row_minutes = row_minutes(&rows).unwrap_or_default();
        let is_in: BooleanArray =
            row_minutes.iter().map(|minute| Some(minutes.contains(minute))).collect();
        let goes = arrow::compute::and(&is_in, &is_of_rows(&rows))?;
        let stays = filter_record_batch(&rows, &not(&goes)?)?;
        if stays.num_rows() == 0 {
            continue;
        }
        let room = usize::try_from(data.rows).unwrap_or(usize::MAX);
        let writer = match &mut writer {
            Some(writer) => writer,
            None => writer.insert(FileWriter::create(
                place,
                table,
                data.date,
                (room, Writing::Compaction),
            )?),
        };
        writer.write(&stays)?;
    }
    let mut written = writer.map(FileWriter::finish).transpose()?;
    if let Some(copy) = &mut written {
        copy.data.written_unix_ms = data.written_unix_ms;
    }
    Ok(written)
}

/// Which rows of a rollup come from rows of spans and bodies: all but those of metrics.
fn is_of_rows(rows: &RecordBatch) -> BooleanArray {
    let source = texts(rows, "source");
    let is_of = |row| source.is_none_or(|source| source.value_or_none(row) != Some("metrics"));
    (0..rows.num_rows()).map(|row| Some(is_of(row))).collect()
}

fn names(table: Table) -> Vec<&'static str> {
    table.columns().iter().map(|column| column.name).collect()
}
