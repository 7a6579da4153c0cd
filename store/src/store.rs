//! The one writer of a data folder: log, hot buffer and tables together.
//!
//! A request is logged and synced, then its rows join the hot buffer and are visible ([`append`]);
//! later they are committed to their tables ([`run`], [`flush`]), each table with its own sequence.
//! [`SnapshotSource::snapshot`] shows both, each row once.
//!
//! [`append`]: Store::append
//! [`run`]: Store::run
//! [`flush`]: Store::flush

pub(crate) mod commit;
mod import;
mod local_rows;
pub(crate) mod open;
pub(crate) mod prepare;
mod repairs;
pub(crate) mod replay;
mod stacks;
pub(crate) mod state;
#[cfg(test)]
mod tests;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::error::ArrowError;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use self::commit::{CommitStep, Writers, table_error};
pub use self::import::{Chunk, ImportOutcome, ImportedRows};
pub use self::prepare::StoredMinutes;
use self::state::SharedState;
use crate::batch::{self, TableBatch};
use crate::compact::{self, CompactReport, Selection};
use crate::error::StoreError;
use crate::faults::Faults;
use crate::folder::{self, DataFolder, FolderLock};
use crate::maintenance::{MaintenanceOptions, TableUpkeep};
use crate::place::{BucketOptions, Location};
use crate::record::LogRecord;
use crate::repair::{RepairReport, Repairer};
use crate::schema::Table;
use crate::snapshot::{DataFile, Snapshot, SnapshotSource};
use crate::time::UnixNanos;
pub use crate::wal::{Compression, Durability};
use crate::wal::{Delivery, Wal};

/// Memory that rows may take. A span with its events and sizes takes some 0.8 KB: this is ten seconds at
/// 8,000 spans a second, and at any rate the newest 25,000 spans wait for the rest of their traces.
const HOT_BYTES_MAX: usize = 64 << 20;
/// A commit costs a file and a log entry per table; ten seconds keep both few and restarts quick.
const COMMIT_INTERVAL: Duration = Duration::from_secs(10);
/// Services export every 5 seconds by default (OpenTelemetry's batch span processor), so within
/// this the spans of a trace have met.
const SETTLE: Duration = Duration::from_secs(10);

/// Listing the newest entries of sixteen logs every ten seconds is 4 million requests a month: 20 dollars on
/// S3, at 5 dollars per million.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10);

/// How a store is kept.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Where the tables are.
    pub data: Location,
    /// How a bucket is reached.
    pub bucket: BucketOptions,
    /// The log's folder; `<data>/wal` unless given. It has to be given where the tables are in a bucket.
    pub wal: Option<PathBuf>,
    /// Whose tables these are: a folder below `data`.
    pub tenant: String,
    /// When an appended record counts as stored.
    pub durability: Durability,
    /// How payloads lie in the log.
    pub wal_compression: Compression,
    /// Of which spans minutes are stored.
    pub minutes: StoredMinutes,
    /// How often [`Store::run`] commits.
    pub commit_interval: Duration,
    /// How long rows wait for the other spans of their traces before they are committed.
    pub settle: Duration,
    /// Memory that uncommitted rows may take: over three quarters of it the older ones are committed
    /// early, until a third of it is left; at all of it appends are refused.
    pub hot_bytes_max: usize,
    /// Whether to go on without what cannot be read of a damaged log.
    pub wal_repair: bool,
    /// How the tables are kept.
    pub maintenance: MaintenanceOptions,
    /// How often what other nodes committed to a bucket is looked for.
    pub refresh_interval: Duration,
    /// What tests let go wrong.
    pub faults: Faults,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            data: PathBuf::from("upriver-data").into(),
            bucket: BucketOptions::default(),
            wal: None,
            tenant: "default".to_owned(),
            durability: Durability::default(),
            wal_compression: Compression::default(),
            minutes: StoredMinutes::default(),
            commit_interval: COMMIT_INTERVAL,
            settle: SETTLE,
            hot_bytes_max: HOT_BYTES_MAX,
            wal_repair: false,
            maintenance: MaintenanceOptions::default(),
            refresh_interval: REFRESH_INTERVAL,
            faults: Faults::default(),
        }
    }
}

impl StoreOptions {
    /// The same for a tenant. The default tenant's log is the log's folder itself; those of others are
    /// folders in it.
    pub fn for_tenant(mut self, tenant: &str) -> Self {
        if tenant != self.tenant {
            self.wal = folder::wal(&self.data, self.wal.as_deref()).map(|wal| wal.join(tenant));
            tenant.clone_into(&mut self.tenant);
        }
        self
    }

    /// Memory of uncommitted rows over which the older ones are committed early. The rest is for what
    /// arrives until they are.
    fn hot_bytes_early(&self) -> usize {
        self.hot_bytes_max / 4 * 3
    }

    pub(crate) fn folder(&self) -> Result<DataFolder, StoreError> {
        DataFolder::new(self)
    }
}

/// The one writer of a data folder.
pub struct Store {
    core: Arc<Core>,
    /// Dropped before the lock, which waits for its thread.
    wal: Wal,
    _lock: FolderLock,
}

/// What the log's thread, commits and snapshots share.
struct Core {
    options: StoreOptions,
    folder: DataFolder,
    /// The application id of this node's transactions.
    node: String,
    shared: SharedState,
    writers: tokio::sync::Mutex<Writers>,
    /// Told when the hot buffer is near its limit.
    over_limit: Notify,
    commits: Mutex<CommitCounts>,
    upkeep: Mutex<BTreeMap<Table, TableUpkeep>>,
    /// The tables whose leases this node took.
    leases: Mutex<BTreeSet<Table>>,
    /// Held by the one repair that runs.
    repairer: tokio::sync::Mutex<Repairer>,
    repaired: Mutex<RepairReport>,
    #[cfg(test)]
    stop_at: Mutex<Option<CommitStep>>,
}

/// What was committed since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitCounts {
    /// Commits.
    pub commits: u64,
    /// Commits that failed; their rows stay in the log, and are committed with the next.
    pub failures: u64,
    /// Spans that name a parent.
    pub spans_with_parent: u64,
    /// Those of them whose parent was known.
    pub parents_resolved: u64,
}

/// Figures about a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStatistics {
    /// Bytes of the log on disk.
    pub wal_bytes: u64,
    /// Rows that are durable and not committed yet.
    pub hot_rows: u64,
    /// Their memory.
    pub hot_bytes: usize,
    /// What was committed since the start.
    pub committed: CommitCounts,
    /// The sequence up to which each table has all rows.
    pub passed: BTreeMap<Table, u64>,
    /// Committed files and their bytes, by table.
    pub files: BTreeMap<Table, (u64, u64)>,
    /// What this node did to keep the tables.
    pub upkeep: BTreeMap<Table, TableUpkeep>,
    /// What this node did about traces that came apart.
    pub repaired: RepairReport,
}

impl Store {
    /// Whether there is room for another request. Asked before one is read, it spares the work.
    pub fn admit(&self) -> Result<(), StoreError> {
        self.core.admit()
    }

    /// Stores a request and shows its rows, which are what the request decodes to. When this
    /// returns, the sender may be told. Gives the record's sequence.
    pub async fn append(
        &self,
        record: LogRecord,
        batches: Vec<TableBatch>,
    ) -> Result<u64, StoreError> {
        check_rows(&batches)?;
        self.core.admit()?;
        self.wal.append(record, batches).await
    }

    /// Stores rows that the service itself made, such as findings.
    pub async fn append_rows(
        &self,
        received: UnixNanos,
        batches: Vec<TableBatch>,
    ) -> Result<u64, StoreError> {
        let table = batches.first().map_or(Table::Findings, |batch| batch.table);
        let payload = local_rows::encode(&batches);
        let payload = payload.map_err(|source| StoreError::Rows { table, source })?;
        self.append(LogRecord { kind: local_rows::KIND, received, payload }, batches).await
    }

    /// Adds a chunk of a source, such as `import:<hash of a file>`, straight to the tables. What a
    /// table has already is skipped, so an interrupted import is simply run again.
    pub async fn import(
        &self,
        source: &str,
        chunk: Chunk,
        rows: ImportedRows,
    ) -> Result<ImportOutcome, StoreError> {
        self.core.import(source, chunk, rows).await
    }

    /// Whether all of the source is in the tables.
    pub async fn import_finished(&self, source: &str) -> Result<bool, StoreError> {
        import::is_finished(&*self.core.writers.lock().await, source).await
    }

    /// Commits everything that was acknowledged so far.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let newest = self.core.shared.lock().hot.newest();
        self.commit(newest).await
    }

    /// Commits the rows that have waited for their traces as of `now`; where rows are about to take
    /// more memory than they may, the older ones, down to a third of it.
    pub async fn commit_settled(&self, now: UnixNanos) -> Result<(), StoreError> {
        let options = &self.core.options;
        let due = {
            let state = self.core.shared.lock();
            let settled = state.hot.settled(now, options.settle);
            if state.hot.bytes() > options.hot_bytes_early() {
                settled.max(state.hot.leaving(options.hot_bytes_max / 3))
            } else {
                settled
            }
        };
        self.commit(due).await
    }

    async fn commit(&self, due: Option<u64>) -> Result<(), StoreError> {
        let Some(sequence) = due else { return Ok(()) };
        let committed = self.core.commit_up_to(&self.wal, sequence).await;
        if committed.is_err() {
            self.core.count_commits().failures += 1;
        }
        committed
    }

    /// Commits at every interval, and when the hot buffer is near its limit, until `stop` is ready.
    /// A failed commit is logged and tried again at the next interval.
    pub async fn run(
        &self,
        clock: impl Fn() -> UnixNanos + Send,
        stop: impl Future<Output = ()> + Send,
    ) {
        let mut stop = pin!(stop);
        // A zero interval is no interval to tokio.
        let interval = self.core.options.commit_interval.max(Duration::from_millis(1));
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return,
                _ = ticks.tick() => {}
                () = self.core.over_limit.notified() => {}
            }
            if let Err(error) = self.commit_settled(clock()).await {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "a commit failed; it is tried again");
            }
        }
    }

    /// Merges small files of every table. Files of spans that no repair has looked at stay.
    pub async fn compact(&self) -> Result<CompactReport, StoreError> {
        let mut report = CompactReport::default();
        let repairer = self.core.repairer.lock().await;
        let mut writers = self.core.writers.lock().await;
        self.core.resolve_doubts(&mut writers).await?;
        for (table, writer) in writers.iter_mut() {
            writer.is_doubtful = true;
            let may_go = |file: &DataFile| repairer.has_seen(*table, file);
            let merged = compact::compact(&mut writer.handle, Selection::All, &may_go).await;
            report += merged.map_err(table_error("compact", *table))?;
            self.core.shared.lock().replaced(*table, writer.handle.files());
            writer.is_doubtful = false;
        }
        Ok(report)
    }

    /// Figures for metrics and tests.
    pub fn statistics(&self) -> StoreStatistics {
        let state = self.core.shared.lock();
        StoreStatistics {
            wal_bytes: self.wal.bytes(),
            hot_rows: state.hot.rows(),
            hot_bytes: state.hot.bytes(),
            committed: *self.core.commits.lock().unwrap_or_else(PoisonError::into_inner),
            passed: Table::ALL.map(|table| (table, state.passed.of(table))).into(),
            files: state.file_figures(),
            upkeep: self.core.upkeep.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            repaired: *self.core.repaired.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Commits everything, stops the log and gives up the leases of tables. Later appends are refused.
    pub async fn close(&self) -> Result<(), StoreError> {
        // Appends that come meanwhile are logged, and replayed at the next start.
        let flushed = self.flush().await;
        let passed = {
            let state = self.core.shared.lock();
            state.hot.newest().is_none().then(|| state.passed.of(Table::Spans))
        };
        if let (Ok(()), Some(passed)) = (&flushed, passed) {
            self.wal.clear(passed).await?;
        }
        self.wal.close().await?;
        self.core.release_leases().await;
        flushed
    }
}

impl SnapshotSource for Store {
    /// Blocks while parents and rollups of new hot rows are filled in, once per change.
    fn snapshot(&self) -> Snapshot {
        self.core.shared.snapshot()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("options", &self.core.options).finish_non_exhaustive()
    }
}

impl Core {
    fn admit(&self) -> Result<(), StoreError> {
        let bytes = self.shared.lock().hot.bytes();
        let limit = self.options.hot_bytes_max;
        if bytes < limit { Ok(()) } else { Err(StoreError::HotBufferFull { bytes, limit }) }
    }

    /// Called on the log's thread: rows become visible.
    fn deliver(&self, deliveries: Vec<Delivery>) {
        let mut state = self.shared.lock();
        state.deliver(deliveries);
        if state.hot.bytes() > self.options.hot_bytes_early() {
            self.over_limit.notify_one();
        }
    }

    fn count_commits(&self) -> MutexGuard<'_, CommitCounts> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails at the step that a test asked for, as if the process ended there; or ends it there.
    #[cfg_attr(not(test), expect(clippy::unnecessary_wraps, reason = "a place for tests to stop"))]
    fn reached(&self, step: CommitStep) -> Result<(), StoreError> {
        self.options.faults.reached(step.name());
        #[cfg(test)]
        if *self.stop_at.lock().unwrap_or_else(PoisonError::into_inner) == Some(step) {
            return Err(StoreError::Stopped("the commit, by a test"));
        }
        Ok(())
    }
}

/// Rows that do not fit their table would fail every commit, so they are refused here.
fn check_rows(batches: &[TableBatch]) -> Result<(), StoreError> {
    match batches.iter().find(|batch| batch.table.is_rollup()) {
        Some(batch) => Err(unfit(batch.table, "its rows are derived from others")),
        None => check_columns(batches),
    }
}

/// Rows have the columns of their tables.
fn check_columns(batches: &[TableBatch]) -> Result<(), StoreError> {
    match batches.iter().find(|batch| !batch::is_of(batch.table, &batch.rows)) {
        Some(batch) => Err(unfit(batch.table, "the rows have other columns")),
        None => Ok(()),
    }
}

fn unfit(table: Table, problem: &str) -> StoreError {
    StoreError::Rows { table, source: ArrowError::SchemaError(problem.to_owned()) }
}
