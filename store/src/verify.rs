//! Whether tables are what they should be: every file is read again and compared with what the table's
//! log says of it, minutes are compared with the rows that they were rolled up from, and hours with minutes.

mod pages;

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};

use self::pages::PageCheck;
use crate::compact::{local_copy, rows_in_order};
use crate::delta::TableHandle;
use crate::delta::statistics::{RowStatistics, date_text, order};
use crate::error::StoreError;
use crate::folder::DataFolder;
use crate::maintenance::hours::{Minutes, hours_before, made_until};
use crate::parquet_writer::WriteError;
use crate::place::Place;
use crate::repair::lacks_callees;
use crate::rollup::{edge_minutes, merge_partials, minutes_of_spans, operation_minutes};
use crate::schema::Table;
use crate::snapshot::{Bound, ColumnStatistics, DataFile};
use crate::store::StoreOptions;
use crate::store::open::open_existing;
use crate::trace_index::{integers, texts};

/// Problems of a table that are named; further ones are counted.
const NAMED_MAX: usize = 20;
/// Parts of rollups that are put together at a time.
const PARTS_MAX: usize = 64;

/// What was found in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The table.
    pub table: Table,
    /// Files that were read.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// What is wrong, a sentence each.
    pub problems: Vec<String>,
    /// Problems that are not named.
    pub further: u64,
}

impl Verified {
    fn of(table: Table) -> Self {
        Self { table, files: 0, rows: 0, problems: Vec::new(), further: 0 }
    }

    fn problem(&mut self, problem: String) {
        if self.problems.len() < NAMED_MAX {
            self.problems.push(problem);
        } else {
            self.further += 1;
        }
    }
}

/// Verifies the tables that exist. `progress` is told of every file that was read, and how many there
/// are in all.
pub async fn verify(
    options: &StoreOptions,
    progress: impl Fn(u64, u64),
) -> Result<Vec<Verified>, StoreError> {
    let folder = DataFolder::new(options)?;
    let tables = open_existing(&folder).await?;
    let all: u64 = tables.values().map(|handle| handle.files().len() as u64).sum();
    let mut read = 0;
    let mut sums = Sums { hours_until: hours_until(&tables), ..Sums::default() };
    let mut verified = Vec::new();
    for (table, handle) in &tables {
        let mut found = Verified::of(*table);
        for file in handle.files().iter() {
            let hours = sums.hours_of(*table, file);
            let taken = match read_file(handle.place(), (*table, hours), file).await {
                Ok(content) => sums.take(&mut found, file, content),
                Err(error) => Err(error),
            };
            if let Err(error) = taken {
                found.problem(format!("{}: {}", file.path, chain(&error)));
            }
            read += 1;
            progress(read, all);
        }
        verified.push(found);
    }
    for found in &mut verified {
        if let Err(error) = sums.compare(found) {
            found.problem(chain(&error));
        }
    }
    Ok(verified)
}

/// Up to when hours were made, by table of minutes and date. Minutes that came since wait for upkeep.
fn hours_until(tables: &BTreeMap<Table, TableHandle>) -> BTreeMap<(Table, i32), i64> {
    let mut found = BTreeMap::new();
    for (table, hours) in tables {
        let Some(minutes) = table.minutes() else { continue };
        let Some(stored) = tables.get(&minutes) else { continue };
        let files = Minutes { stored, spans: tables.get(&Table::Spans) }.files();
        for file in hours.files().iter() {
            if let Some(until) = made_until(file, (minutes, &files)) {
                found.insert((minutes, file.date), until);
            }
        }
    }
    found
}

/// What a file holds.
#[derive(Default)]
struct Content {
    rows: u64,
    statistics: BTreeMap<String, ColumnStatistics>,
    /// The minutes of operations that its spans come to.
    minutes: Vec<RecordBatch>,
    /// The minutes of edges that its spans or its bodies come to.
    edges: Vec<RecordBatch>,
    /// Rows of `operation_minutes`, or of `edge_minutes` without those of metrics, as they are.
    parts: Vec<RecordBatch>,
    /// By table of minutes the hours that its rows come to, or rows of hours as they are.
    hours: BTreeMap<Table, Vec<RecordBatch>>,
    /// Calls that were served, by its spans or its rows of `edge_minutes`.
    served: i64,
    /// Samples and the sum of their values, by rows of `profile_samples` or `profile_minutes`.
    samples: (i64, i128),
    /// Spans that a lookup of their trace would not find.
    not_found: u64,
}

/// Reads a file; that its rows are in order is found out on the way.
async fn read_file(
    place: &Place,
    (table, hours): (Table, Vec<(Table, i64)>),
    file: &DataFile,
) -> Result<Content, WriteError> {
    let input = local_copy(place, file).await?;
    let file = file.clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut content = Content::default();
        let mut statistics = RowStatistics::new(table);
        let mut pages = PageCheck::of(&input)?;
        for rows in rows_in_order(table, &file, input)? {
            let rows = rows?;
            content.rows += rows.num_rows() as u64;
            statistics.add(&rows);
            pages.iter_mut().try_for_each(|pages| pages.add(&rows))?;
            for (minutes, until) in &hours {
                let of_spans = (table == Table::Spans)
                    .then(|| minutes_of_spans(*minutes, std::slice::from_ref(&rows)));
                let hours = hours_before(*minutes, of_spans.as_ref().unwrap_or(&rows), *until)?;
                add(content.hours.entry(*minutes).or_default(), *minutes, hours)?;
            }
            match table {
                Table::Spans if file.without_minutes => {}
                Table::Spans => {
                    content.served += served_spans(&rows);
                    let minutes = operation_minutes(std::slice::from_ref(&rows));
                    add(&mut content.minutes, Table::OperationMinutes, minutes)?;
                    let edges = edge_minutes(std::slice::from_ref(&rows), &[]);
                    add(&mut content.edges, Table::EdgeMinutes, edges)?;
                }
                Table::FormerPayloadSizes => {
                    let edges = edge_minutes(&[], std::slice::from_ref(&rows));
                    add(&mut content.edges, Table::EdgeMinutes, edges)?;
                }
                Table::OperationMinutes => add(&mut content.parts, table, rows)?,
                Table::EdgeMinutes => {
                    content.served += served_calls(&rows);
                    add(&mut content.parts, table, without_metrics(&rows)?)?;
                }
                Table::ProfileSamples => {
                    content.samples.0 += i64::try_from(rows.num_rows()).unwrap_or(i64::MAX);
                    content.samples.1 += sum(&rows, "value");
                }
                Table::ProfileMinutes => {
                    content.samples.0 +=
                        i64::try_from(sum(&rows, "sample_count")).unwrap_or(i64::MAX);
                    content.samples.1 += sum(&rows, "value");
                }
                Table::OperationHours | Table::EdgeHours | Table::ProfileHours => {
                    add(content.hours.entry(table).or_default(), table, rows)?;
                }
                _ => {}
            }
        }
        content.statistics = statistics.finish();
        content.not_found = pages.map_or(0, |pages| pages.missing());
        Ok(content)
    });
    read.await.map_err(|_ended| WriteError::GivenUp)?
}

/// Adds a part, and puts parts together before there are too many.
fn add(parts: &mut Vec<RecordBatch>, table: Table, part: RecordBatch) -> Result<(), WriteError> {
    parts.push(part);
    if parts.len() >= PARTS_MAX {
        let all = concat_batches(&table.schema(), parts.iter())?;
        *parts = vec![merge_partials(table, all)];
    }
    Ok(())
}

/// Spans that answered a call.
fn served_spans(rows: &RecordBatch) -> i64 {
    let kinds = texts(rows, "span_kind").into_iter().flat_map(|kinds| kinds.iter()).flatten();
    kinds.filter(|kind| matches!(*kind, "SERVER" | "CONSUMER")).map(|_| 1).sum()
}

/// Calls that servers reported in their spans.
fn served_calls(rows: &RecordBatch) -> i64 {
    let (Some(reporters), Some(counts)) = (texts(rows, "reporter"), integers(rows, "span_count"))
    else {
        return 0;
    };
    let reported = reporters.iter().zip(counts).filter(|(reporter, _)| *reporter == Some("server"));
    reported.filter_map(|(_, count)| count).sum()
}

/// The rows of `edge_minutes` that come from spans and bodies.
fn without_metrics(rows: &RecordBatch) -> Result<RecordBatch, WriteError> {
    let source = texts(rows, "source");
    let is_of = |row| source.is_none_or(|source| source.value_or_none(row) != Some("metrics"));
    let is_of: BooleanArray = (0..rows.num_rows()).map(|row| Some(is_of(row))).collect();
    Ok(filter_record_batch(rows, &is_of)?)
}

fn sum(rows: &RecordBatch, column: &str) -> i128 {
    integers(rows, column).into_iter().flatten().flatten().map(i128::from).sum()
}

/// What tables come to, by date, to be compared with each other.
#[derive(Default)]
struct Sums {
    minutes_of_spans: BTreeMap<i32, Vec<RecordBatch>>,
    minutes: BTreeMap<i32, Vec<RecordBatch>>,
    edges_of_rows: BTreeMap<i32, Vec<RecordBatch>>,
    edges: BTreeMap<i32, Vec<RecordBatch>>,
    /// Dates of which not every row says who answered a call: their edges are counted alone.
    without_callees: BTreeSet<i32>,
    served_by_spans: BTreeMap<i32, i64>,
    served_by_edges: BTreeMap<i32, i64>,
    hours_until: BTreeMap<(Table, i32), i64>,
    /// By date, of tables of hours as they are and of tables of minutes what they come to.
    hours: BTreeMap<Table, BTreeMap<i32, Vec<RecordBatch>>>,
    samples: BTreeMap<i32, (i64, i128)>,
    samples_of_minutes: BTreeMap<i32, (i64, i128)>,
}

impl Sums {
    /// The tables of minutes that a file has minutes of, and up to when hours were made of them.
    fn hours_of(&self, table: Table, file: &DataFile) -> Vec<(Table, i64)> {
        let is_of = |minutes: &Table| {
            *minutes == table || file.without_minutes && minutes.is_made_of_spans()
        };
        let minutes = Table::ALL.into_iter().filter(is_of);
        minutes
            .filter_map(|minutes| Some((minutes, *self.hours_until.get(&(minutes, file.date))?)))
            .collect()
    }

    fn take(
        &mut self,
        found: &mut Verified,
        file: &DataFile,
        read: Content,
    ) -> Result<(), WriteError> {
        found.files += 1;
        found.rows += read.rows;
        if read.rows != file.rows {
            let (path, rows, logged) = (&file.path, read.rows, file.rows);
            found.problem(format!("{path} holds {rows} rows where the log says {logged}"));
        }
        if read.not_found > 0 {
            let (path, rows) = (&file.path, read.not_found);
            found.problem(format!("{path}: a lookup by trace would miss {rows} of its rows"));
        }
        let table = found.table;
        let is_read = |column: &str| !table.former_columns().contains(&column);
        for (column, logged) in file.statistics.iter().filter(|(column, _)| is_read(column)) {
            let actual = read.statistics.get(column).cloned().unwrap_or_default();
            if !holds(logged, &actual, read.rows) {
                let path = &file.path;
                found.problem(format!(
                    "{path}: the log's bounds of `{column}` are {logged:?}, the rows' {actual:?}"
                ));
            }
        }
        let minutes = self.minutes_of_spans.entry(file.date).or_default();
        for part in read.minutes {
            add(minutes, Table::OperationMinutes, part)?;
        }
        for part in read.edges {
            add(self.edges_of_rows.entry(file.date).or_default(), Table::EdgeMinutes, part)?;
        }
        let parts =
            if found.table == Table::EdgeMinutes { &mut self.edges } else { &mut self.minutes };
        for part in read.parts {
            add(parts.entry(file.date).or_default(), found.table, part)?;
        }
        for (table, parts) in read.hours {
            let of_table = self.hours.entry(table).or_default();
            for part in parts {
                add(of_table.entry(file.date).or_default(), table, part)?;
            }
        }
        if found.table == Table::Spans && lacks_callees(file) {
            self.without_callees.insert(file.date);
        }
        match found.table {
            Table::Spans => *self.served_by_spans.entry(file.date).or_default() += read.served,
            Table::EdgeMinutes => {
                *self.served_by_edges.entry(file.date).or_default() += read.served;
            }
            Table::ProfileSamples => add_pair(&mut self.samples, file.date, read.samples),
            Table::ProfileMinutes => {
                add_pair(&mut self.samples_of_minutes, file.date, read.samples);
            }
            _ => {}
        }
        Ok(())
    }

    /// Compares rollups with their rows, of dates whose spans are not past their retention.
    fn compare(&self, found: &mut Verified) -> Result<(), WriteError> {
        if found.table == Table::ProfileMinutes {
            self.compare_samples(found);
        }
        if let Some(minutes) = found.table.minutes() {
            self.compare_hours(found, minutes)?;
        }
        for (date, served) in &self.served_by_spans {
            let day = date_text(*date);
            match found.table {
                Table::OperationMinutes => {
                    let stored = merged(found.table, &self.minutes, *date)?;
                    let expected = merged(found.table, &self.minutes_of_spans, *date)?;
                    if stored != expected {
                        let (has, wants) = (stored.num_rows(), expected.num_rows());
                        found.problem(format!(
                            "{day}: its {has} minutes of operations are not the {wants} that its spans come to; {HINT}"
                        ));
                    }
                }
                Table::EdgeMinutes if !self.without_callees.contains(date) => {
                    let stored = merged(found.table, &self.edges, *date)?;
                    let expected = merged(found.table, &self.edges_of_rows, *date)?;
                    if stored != expected {
                        let (has, wants) = (stored.num_rows(), expected.num_rows());
                        found.problem(format!(
                            "{day}: its {has} minutes of edges are not the {wants} that its spans and bodies come to; {HINT}"
                        ));
                    }
                }
                Table::EdgeMinutes => {
                    let calls = self.served_by_edges.get(date).copied().unwrap_or(0);
                    if calls != *served {
                        found.problem(format!(
                            "{day}: its edges count {calls} calls that were served, its spans {served}; {HINT}"
                        ));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn compare_hours(&self, found: &mut Verified, minutes: Table) -> Result<(), WriteError> {
        let none = BTreeMap::new();
        let of = |table| self.hours.get(&table).unwrap_or(&none);
        for (_, date) in self.hours_until.keys().filter(|(table, _)| *table == minutes) {
            let stored = merged(found.table, of(found.table), *date)?;
            let expected = merged(found.table, of(minutes), *date)?;
            if stored != expected {
                let (has, wants) = (stored.num_rows(), expected.num_rows());
                found.problem(format!(
                    "{}: its {has} rows of hours are not the {wants} that its minutes come to",
                    date_text(*date)
                ));
            }
        }
        Ok(())
    }

    fn compare_samples(&self, found: &mut Verified) {
        for (date, expected) in &self.samples {
            let stored = self.samples_of_minutes.get(date).copied().unwrap_or_default();
            // Sums that do not fit are cut off at the largest value.
            let fits = i64::try_from(expected.1).is_ok();
            if stored.0 != expected.0 || fits && stored.1 != expected.1 {
                let ((has, has_value), (wants, wants_value)) = (stored, *expected);
                found.problem(format!(
                    "{}: its minutes of profiles count {has} samples of {has_value} in all, its profiles {wants} of {wants_value}; {HINT}",
                    date_text(*date)
                ));
            }
        }
    }
}

/// The parts of a date put together.
fn merged(
    table: Table,
    parts: &BTreeMap<i32, Vec<RecordBatch>>,
    date: i32,
) -> Result<RecordBatch, WriteError> {
    let parts = parts.get(&date).map_or(&[][..], Vec::as_slice);
    Ok(merge_partials(table, concat_batches(&table.schema(), parts)?))
}

fn add_pair(sums: &mut BTreeMap<i32, (i64, i128)>, date: i32, more: (i64, i128)) {
    let sum = sums.entry(date).or_default();
    *sum = (sum.0 + more.0, sum.1 + more.1);
}

/// A commit goes table by table.
const HINT: &str = "a server that was killed in a commit completes it when it starts, so start it once before you look again";

/// Whether bounds of a log hold for rows: they may be wider, and a column may have none.
fn holds(logged: &ColumnStatistics, actual: &ColumnStatistics, rows: u64) -> bool {
    let is_below = |low: &Option<Bound>, high: &Option<Bound>| match (low, high) {
        // The last digit of a float may be lost where the log is read.
        (Some(Bound::Float(low)), Some(Bound::Float(high))) => {
            *low <= high + 2.0 * f64::EPSILON * high.abs()
        }
        (Some(low), Some(high)) => order(low, high).is_some_and(std::cmp::Ordering::is_le),
        // No bound is said, or there is nothing to bound.
        _ => true,
    };
    let nulls = logged.null_count.is_none_or(|nulls| Some(nulls) == actual.null_count || rows == 0);
    let is_bound_lost =
        logged.min.is_some() && actual.min.is_none() && actual.null_count != Some(rows);
    nulls
        && !is_bound_lost
        && is_below(&logged.min, &actual.min)
        && is_below(&actual.max, &logged.max)
}

/// An error with its causes.
fn chain(error: &WriteError) -> String {
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}

#[cfg(test)]
mod tests;
