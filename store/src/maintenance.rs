//! The upkeep of tables: small files put together, partitions past their retention dropped, files and
//! log entries that nobody reads any more removed.
//!
//! One node at a time keeps a table, by a lease; tables that are derived from each other are kept
//! together. Should two do it all the same (a clock that is off, a pause longer than the lease), Delta's
//! commits refuse the second of two that remove the same files, so nothing is lost or doubled.

pub(crate) mod hours;
pub(crate) mod lease;
mod retention;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

pub use self::retention::Retention;
pub(crate) use self::retention::expired;
use crate::compact::{CompactReport, MayGo, Selection, compact};
use crate::delta::{TableError, TableHandle};
use crate::place::Place;
use crate::schema::Table;
use crate::time::UnixNanos;

/// Between two rounds: a commit every ten seconds leaves a dozen files, few enough to read.
const INTERVAL: Duration = Duration::from_mins(2);
/// Removed files are kept for queries and copies that began before: a query ends within a minute.
const KEEP_REMOVED_LOCAL: Duration = Duration::from_hours(1);
/// In a bucket, clocks of nodes differ, and copies take longer.
const KEEP_REMOVED_BUCKET: Duration = Duration::from_hours(24);
/// Entries of a table's log older than this, before a checkpoint.
const KEEP_LOG: Duration = Duration::from_hours(48);
/// How often removed files and old log entries are looked for: both list all objects of a table.
const CLEANUP_INTERVAL: Duration = Duration::from_hours(1);

/// How tables are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaintenanceOptions {
    /// Between two rounds; none while it is zero.
    pub interval: Duration,
    /// How long rows are kept.
    pub retention: Retention,
    /// How long files stay after they left the table; by default an hour in a folder and a day in a
    /// bucket.
    pub keep_removed: Option<Duration>,
    /// How long entries of the tables' logs stay.
    pub keep_log: Duration,
}

impl Default for MaintenanceOptions {
    fn default() -> Self {
        Self {
            interval: INTERVAL,
            retention: Retention::default(),
            keep_removed: None,
            keep_log: KEEP_LOG,
        }
    }
}

/// What was done to a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableUpkeep {
    /// Rounds in which this node kept the table.
    pub rounds: u64,
    /// Rounds that failed; each is tried again.
    pub failures: u64,
    /// Files put together.
    pub compacted: CompactReport,
    /// Dates of which hours were made of minutes.
    pub dates_rolled_up: u64,
    /// Files of partitions past their retention that left the table.
    pub files_expired: u64,
    /// Their rows.
    pub rows_expired: u64,
    /// Files that nobody reads any more and that were removed.
    pub files_deleted: u64,
    /// Entries of the log that were removed.
    pub log_entries_deleted: u64,
}

impl AddAssign for TableUpkeep {
    fn add_assign(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.failures += other.failures;
        self.compacted += other.compacted;
        self.dates_rolled_up += other.dates_rolled_up;
        self.files_expired += other.files_expired;
        self.rows_expired += other.rows_expired;
        self.files_deleted += other.files_deleted;
        self.log_entries_deleted += other.log_entries_deleted;
    }
}

/// The table whose lease a table is kept by: a repair of spans writes what is derived from them.
pub(crate) fn kept_with(table: Table) -> Table {
    match table {
        Table::FormerPayloadSizes | Table::OperationMinutes | Table::EdgeMinutes => Table::Spans,
        _ => table,
    }
}

/// Keeps tables, round by round.
#[derive(Debug, Default)]
pub(crate) struct Maintainer {
    /// When each table was last cleaned up.
    cleaned: BTreeMap<Table, UnixNanos>,
    /// When the hours of each date were last made.
    rolled_up: BTreeMap<(Table, i32), UnixNanos>,
}

impl Maintainer {
    /// One round over a table that this node may keep.
    pub(crate) async fn keep(
        &mut self,
        (tables, table): (&Place, Table),
        may_go: MayGo<'_>,
        options: &MaintenanceOptions,
        now: UnixNanos,
    ) -> Result<TableUpkeep, TableError> {
        let mut done = TableUpkeep { rounds: 1, ..TableUpkeep::default() };
        // A handle of its own, so that commits go on meanwhile.
        let place = &tables.child(table.folder());
        let mut handle = TableHandle::open(place, table).await?;
        let mut gone = expired(&handle.files(), options.retention.of(table), now);
        // Minutes are stored of these first, in a repair.
        gone.retain(|file| !file.without_minutes);
        if !gone.is_empty() {
            done.files_expired = gone.len() as u64;
            done.rows_expired = gone.iter().map(|file| file.rows).sum();
            handle.drop_files(&gone).await?;
        }
        if let Some(minutes) = table.minutes() {
            let stored = TableHandle::open(&tables.child(minutes.folder()), minutes).await?;
            let spans = Table::Spans;
            let spans = TableHandle::open_existing(&tables.child(spans.folder()), spans).await?;
            let minutes = hours::Minutes { stored: &stored, spans: spans.as_ref() };
            done.dates_rolled_up = self.roll_up(minutes, &mut handle, now).await?;
        }
        done.compacted = compact(&mut handle, Selection::Balanced, may_go).await?;
        let cleaned = self.cleaned.get(&table).copied();
        if cleaned.is_none_or(|last| since(last, now) >= CLEANUP_INTERVAL) {
            let is_local = place.local().is_some();
            let usual = if is_local { KEEP_REMOVED_LOCAL } else { KEEP_REMOVED_BUCKET };
            let keep_removed = options.keep_removed.unwrap_or(usual);
            done.files_deleted = handle.delete_removed(keep_removed, now).await?;
            done.log_entries_deleted = handle.shorten_log(options.keep_log, now).await?;
            self.cleaned.insert(table, now);
        }
        Ok(done)
    }
}

impl Maintainer {
    /// Makes the hours that are due. Late minutes come one by one; their dates are rolled up again at
    /// intervals.
    async fn roll_up(
        &mut self,
        minutes: hours::Minutes<'_>,
        handle: &mut TableHandle,
        now: UnixNanos,
    ) -> Result<u64, TableError> {
        let table = handle.table();
        let known = &self.rolled_up;
        let is_due = |date| {
            let last = known.get(&(table, date));
            last.is_none_or(|last| since(*last, now) >= hours::INTERVAL)
        };
        let dates = hours::roll_up(minutes, handle, now, &is_due).await?;
        self.rolled_up.retain(|_, last| since(*last, now) < hours::INTERVAL);
        self.rolled_up.extend(dates.iter().map(|date| ((table, *date), now)));
        Ok(dates.len() as u64)
    }
}

/// The time between two instants; none where the clock was set back.
fn since(then: UnixNanos, now: UnixNanos) -> Duration {
    Duration::from_nanos(u64::try_from(now.0.saturating_sub(then.0)).unwrap_or(0))
}
