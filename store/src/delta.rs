//! One Delta table: its committed files, and commits that carry a sequence.
//!
//! A commit is one entry of the Delta log with the added files, full statistics, and the application
//! transactions that say up to which sequence of which source the table now goes. Replay compares
//! with them, so a batch is in the table once or not at all. Tables stay at reader version 1 and
//! writer version 2: any engine can read them.

pub(crate) mod statistics;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use chrono::TimeDelta;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, Add, StructField, StructType, Transaction};
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::operations::vacuum::{Clock, VacuumMode};
use deltalake_core::protocol::checkpoints::cleanup_expired_logs_for;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, DeltaTableError};
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path as ObjectPath;

use crate::parquet_writer::{WriteError, WrittenFile, upload, write_partitions};
use crate::place::Place;
use crate::schema::Table;
use crate::snapshot::DataFile;
use crate::time::UnixNanos;

/// Commits after which the handle is opened anew: a held one replays every commit since it was
/// opened (measured linear growth, 33 to 309 ms over 500 commits), a fresh one reads the checkpoint.
const COMMITS_PER_HANDLE: u32 = 50;

/// Why a table could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The Delta log refused.
    #[error("table `{table}`: the Delta log could not be {doing}")]
    Log {
        /// Name of the table.
        table: &'static str,
        /// `read` or `written`.
        doing: &'static str,
        /// What the log says.
        #[source]
        source: Box<DeltaTableError>,
    },
    /// A Parquet file could not be written.
    #[error("table `{table}`: a file could not be written")]
    Write {
        /// Name of the table.
        table: &'static str,
        /// What failed.
        #[source]
        source: WriteError,
    },
    /// The table was made by a version with which this one does not get along.
    #[error(
        "table `{table}`: its column `{column}` is {found}, not {expected}; open it with the version that wrote it, or choose another folder"
    )]
    OtherColumn {
        /// Name of the table.
        table: &'static str,
        /// Name of the column.
        column: String,
        /// Its type in the table.
        found: String,
        /// Its type in this version.
        expected: String,
    },
    /// A task of this process was ended.
    #[error("table `{table}`: the task that wrote was ended")]
    Interrupted {
        /// Name of the table.
        table: &'static str,
    },
}

/// Up to which version of which source a commit brings the table.
pub type SourceVersion = (String, i64);

/// What a commit does to the files of a table.
struct Change<'a> {
    actions: Vec<Action>,
    operation: DeltaOperation,
    removed: Option<&'a BTreeSet<String>>,
    written: Vec<WrittenFile>,
}

/// An open table.
#[derive(Debug)]
pub struct TableHandle {
    table: Table,
    place: Place,
    handle: DeltaTable,
    commits: u32,
    files: Arc<Vec<DataFile>>,
}

impl TableHandle {
    /// Opens the table in this place, or makes an empty one.
    pub async fn open_or_create(place: &Place, table: Table) -> Result<Self, TableError> {
        if !Self::exists(place, table).await? {
            let created = create(place, table).await;
            // Another node may have been first.
            if created.is_err() && !Self::exists(place, table).await? {
                created?;
            }
        }
        let mut opened = Self::open(place, table).await?;
        if opened.add_missing_columns().await.is_err() {
            // Another node of the same version may have added them.
            opened.refresh().await?;
            opened.add_missing_columns().await?;
        }
        Ok(opened)
    }

    /// Adds the columns that came with a newer version to a table of an older one.
    async fn add_missing_columns(&mut self) -> Result<(), TableError> {
        let wanted = columns(self.table)?;
        let state = self.handle.snapshot().map_err(|e| self.unreadable(e))?;
        let found = state.schema();
        let mut missing = Vec::new();
        for column in wanted.fields() {
            match found.field(column.name()) {
                None => {
                    missing.push(StructField::nullable(column.name(), column.data_type().clone()));
                }
                Some(known) if known.data_type() != column.data_type() => {
                    return Err(TableError::OtherColumn {
                        table: self.table.name(),
                        column: column.name().clone(),
                        found: known.data_type().to_string(),
                        expected: column.data_type().to_string(),
                    });
                }
                Some(_) => {}
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let properties = CommitProperties::default().with_cleanup_expired_logs(Some(false));
        let changed = self.handle.clone().add_columns().with_fields(missing);
        let changed = changed.with_commit_properties(properties).await;
        self.handle = changed.map_err(|source| log_error(self.table, "written", source))?;
        Ok(())
    }

    /// Opens the table in this place; it must exist.
    pub async fn open(place: &Place, table: Table) -> Result<Self, TableError> {
        let handle = load(place, table).await?;
        let files = Arc::new(list_files(&handle, table)?);
        Ok(Self { table, place: place.clone(), handle, commits: 0, files })
    }

    /// Opens the table in this place, where there is one.
    pub async fn open_existing(place: &Place, table: Table) -> Result<Option<Self>, TableError> {
        if Self::exists(place, table).await? {
            return Self::open(place, table).await.map(Some);
        }
        Ok(None)
    }

    /// Whether the place holds a table. A crash while the table was made can leave a log without
    /// its first entry.
    pub async fn exists(place: &Place, table: Table) -> Result<bool, TableError> {
        let is_entry = |path: &ObjectPath| {
            path.extension().is_some_and(|extension| extension == "json" || extension == "parquet")
        };
        let objects = place.objects();
        let mut entries = objects.list(Some(&ObjectPath::from(LOG_FOLDER)));
        loop {
            let entry = entries.try_next().await.map_err(|source| {
                log_error(table, "read", DeltaTableError::ObjectStore { source })
            })?;
            match entry {
                Some(entry) if is_entry(&entry.location) => return Ok(true),
                Some(_) => {}
                None => return Ok(false),
            }
        }
    }

    /// The committed files.
    pub fn files(&self) -> Arc<Vec<DataFile>> {
        Arc::clone(&self.files)
    }

    /// Which table it is.
    pub fn table(&self) -> Table {
        self.table
    }

    /// Where the table is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Version of the Delta log.
    pub fn version(&self) -> i64 {
        self.handle.version().and_then(|v| i64::try_from(v).ok()).unwrap_or(-1)
    }

    /// Up to which version of this source the table goes.
    pub async fn committed_version(&self, source: &str) -> Result<Option<i64>, TableError> {
        let state = self.handle.snapshot().map_err(|e| self.unreadable(e))?;
        let log_store = self.handle.log_store();
        state.transaction_version(log_store.as_ref(), source).await.map_err(|e| self.unreadable(e))
    }

    /// Commits rows (possibly none) and source versions together. The rows are in the table's schema;
    /// they are split by date and sorted.
    pub async fn commit(
        &mut self,
        rows: Vec<RecordBatch>,
        sources: &[SourceVersion],
    ) -> Result<(), TableError> {
        let written = self.write(rows).await?;
        self.commit_written(written, sources).await
    }

    /// Writes rows as files that no reader sees yet.
    pub async fn write(&self, rows: Vec<RecordBatch>) -> Result<Vec<WrittenFile>, TableError> {
        let table = self.table;
        self.write_with(move |place| write_partitions(&place, table, &rows)).await
    }

    /// Runs work that writes files of the table, and brings them to where the table is.
    pub(crate) async fn write_with(
        &self,
        work: impl FnOnce(Place) -> Result<Vec<WrittenFile>, WriteError> + Send + 'static,
    ) -> Result<Vec<WrittenFile>, TableError> {
        let table = self.table.name();
        let failed = |source| TableError::Write { table, source };
        let place = self.place.clone();
        let task = tokio::task::spawn_blocking(move || work(place));
        let mut written =
            task.await.map_err(|_ended| TableError::Interrupted { table })?.map_err(failed)?;
        for file in &mut written {
            upload(&self.place, file).await.map_err(failed)?;
        }
        Ok(written)
    }

    /// Makes written files part of the table, together with source versions.
    pub async fn commit_written(
        &mut self,
        mut written: Vec<WrittenFile>,
        sources: &[SourceVersion],
    ) -> Result<(), TableError> {
        for file in &mut written {
            file.data.committed_as = sources.first().cloned();
        }
        let actions = written.iter().map(|file| Action::Add(add_action(file, true))).collect();
        let mode = SaveMode::Append;
        let operation = DeltaOperation::Write {
            mode,
            partition_by: Some(vec!["date".to_owned()]),
            predicate: None,
        };
        self.commit_change(Change { actions, operation, removed: None, written }, sources).await
    }

    /// Puts files that hold the same rows in place of others.
    pub async fn replace(
        &mut self,
        removed: &BTreeSet<String>,
        written: Vec<WrittenFile>,
    ) -> Result<(), TableError> {
        let operation =
            DeltaOperation::Optimize { predicate: None, target_size: COMPACTED_FILE_BYTES };
        self.replace_files(removed, written, operation).await
    }

    /// Puts files with other rows in place of others.
    pub(crate) async fn replace_rows(
        &mut self,
        removed: &BTreeSet<String>,
        written: Vec<WrittenFile>,
    ) -> Result<(), TableError> {
        let operation = DeltaOperation::Write {
            mode: SaveMode::Overwrite,
            partition_by: Some(vec!["date".to_owned()]),
            predicate: None,
        };
        self.replace_files(removed, written, operation).await
    }

    async fn replace_files(
        &mut self,
        removed: &BTreeSet<String>,
        written: Vec<WrittenFile>,
        operation: DeltaOperation,
    ) -> Result<(), TableError> {
        let is_other = !matches!(operation, DeltaOperation::Optimize { .. });
        let mut actions: Vec<_> =
            written.iter().map(|file| Action::Add(add_action(file, is_other))).collect();
        actions.extend(self.remove_actions(removed, is_other)?);
        let once = self.upkeep_transaction();
        let removed = Some(removed);
        self.commit_change(Change { actions, operation, removed, written }, &once).await
    }

    /// Says other things of files that stay as they are.
    pub(crate) async fn describe(&mut self, files: Vec<DataFile>) -> Result<(), TableError> {
        let described = |data| WrittenFile::in_place(self.table, data);
        let written: Vec<_> = files.into_iter().map(described).collect();
        let actions = written.iter().map(|file| Action::Add(add_action(file, false))).collect();
        let removed = written.iter().map(|file| file.data.path.clone()).collect();
        let operation =
            DeltaOperation::Optimize { predicate: None, target_size: COMPACTED_FILE_BYTES };
        let once = self.upkeep_transaction();
        let removed = Some(&removed);
        self.commit_change(Change { actions, operation, removed, written }, &once).await
    }

    /// Delta lets two commits remove the same file where the rows stay: then the rows that took its
    /// place would be there twice. Of two commits with a transaction of the same name, which read the
    /// same version, the second is refused.
    fn upkeep_transaction(&self) -> [SourceVersion; 1] {
        [("upkeep".to_owned(), self.version().saturating_add(1))]
    }

    /// Takes files out of the table, with their rows.
    pub(crate) async fn drop_files(&mut self, files: &[DataFile]) -> Result<(), TableError> {
        let removed = files.iter().map(|file| file.path.clone()).collect();
        let actions = self.remove_actions(&removed, true)?;
        let operation = DeltaOperation::Delete { predicate: None };
        let once = self.upkeep_transaction();
        let (removed, written) = (Some(&removed), Vec::new());
        self.commit_change(Change { actions, operation, removed, written }, &once).await
    }

    /// Deletes files that left the table, or never became part of it, longer ago than `keep`. Gives
    /// their number.
    pub(crate) async fn delete_removed(
        &mut self,
        keep: Duration,
        now: UnixNanos,
    ) -> Result<u64, TableError> {
        let unwritable = |source| log_error(self.table, "written", source);
        let keep = TimeDelta::from_std(keep).unwrap_or(TimeDelta::MAX);
        let vacuum = self.handle.clone().vacuum();
        let vacuum = vacuum
            .with_mode(VacuumMode::Full)
            .with_retention_period(keep)
            .with_enforce_retention_duration(false)
            .with_clock(Arc::new(Instant(now)))
            .with_commit_properties(
                CommitProperties::default().with_cleanup_expired_logs(Some(false)),
            );
        let (handle, deleted) = vacuum.await.map_err(unwritable)?;
        self.handle = handle;
        Ok(deleted.files_deleted.len() as u64)
    }

    /// Deletes entries of the log that are older than `keep` and that no reader needs: those before a
    /// checkpoint. Gives their number.
    pub(crate) async fn shorten_log(
        &self,
        keep: Duration,
        now: UnixNanos,
    ) -> Result<u64, TableError> {
        let unwritable = |source| log_error(self.table, "written", source);
        let Some(version) = self.handle.version() else { return Ok(0) };
        let log_store = self.handle.log_store();
        let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let oldest = (now.0 / 1_000_000).saturating_sub(keep);
        let deleted = cleanup_expired_logs_for(version, log_store.as_ref(), oldest, None).await;
        Ok(deleted.map_err(unwritable)? as u64)
    }

    fn remove_actions(
        &self,
        removed: &BTreeSet<String>,
        data_change: bool,
    ) -> Result<Vec<Action>, TableError> {
        let state = self.handle.snapshot().map_err(|e| self.unreadable(e))?;
        let log = state.log_data();
        let gone = log.iter().filter(|view| removed.contains(view.path().as_ref()));
        Ok(gone.map(|view| Action::Remove(view.remove_action(data_change))).collect())
    }

    /// Reads the log from its newest checkpoint on.
    pub async fn refresh(&mut self) -> Result<(), TableError> {
        self.handle = load(&self.place, self.table).await?;
        self.files = Arc::new(list_files(&self.handle, self.table)?);
        self.commits = 0;
        Ok(())
    }

    /// Reads what other writers have committed since, if anything. Says whether there was something.
    pub async fn refresh_if_behind(&mut self) -> Result<bool, TableError> {
        let known = self.handle.version().unwrap_or(0);
        let newest = self.handle.log_store().get_latest_version(known).await;
        if newest.map_err(|e| self.unreadable(e))? <= known {
            return Ok(false);
        }
        self.refresh().await?;
        Ok(true)
    }

    async fn commit_change(
        &mut self,
        change: Change<'_>,
        sources: &[SourceVersion],
    ) -> Result<(), TableError> {
        let Change { actions, operation, removed, written } = change;
        if self.commits >= COMMITS_PER_HANDLE {
            self.refresh().await?;
        }
        let known = self.handle.version();
        let transactions = sources.iter().map(|(id, version)| Transaction::new(id, *version));
        let properties = CommitProperties::default()
            .with_application_transactions(transactions.collect())
            .with_cleanup_expired_logs(Some(false));
        let unwritable = |source| log_error(self.table, "written", source);
        let state = self.handle.snapshot().map_err(unwritable)?;
        let commit = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(Some(state), self.handle.log_store(), operation)
            .await
            .map_err(unwritable)?;
        let is_next = known.is_some_and(|known| commit.version() == known + 1);
        self.handle.state = Some(commit.snapshot());
        self.commits += 1;
        if is_next {
            self.change_files(removed, written);
        } else {
            // Other nodes committed in between.
            self.files = Arc::new(list_files(&self.handle, self.table)?);
        }
        Ok(())
    }

    fn change_files(&mut self, removed: Option<&BTreeSet<String>>, written: Vec<WrittenFile>) {
        let is_removed = |path: &String| removed.is_some_and(|removed| removed.contains(path));
        let kept = self.files.iter().filter(|file| !is_removed(&file.path)).cloned();
        let files: Vec<_> = kept.chain(written.into_iter().map(|file| file.data)).collect();
        self.files = Arc::new(files);
    }

    fn unreadable(&self, source: DeltaTableError) -> TableError {
        log_error(self.table, "read", source)
    }
}

/// Where Delta keeps a table's log.
pub(crate) const LOG_FOLDER: &str = "_delta_log";

/// Size from which a file is left alone; compaction makes files of this to twice this size.
pub(crate) const COMPACTED_FILE_BYTES: i64 = 128 << 20;

/// The columns of this version's table, in Delta's terms.
fn columns(table: Table) -> Result<StructType, TableError> {
    let columns = table.schema().as_ref().try_into_kernel();
    columns.map_err(|e| log_error(table, "written", DeltaTableError::Arrow { source: e }))
}

async fn create(place: &Place, table: Table) -> Result<(), TableError> {
    CreateBuilder::new()
        .with_log_store(log_store(place))
        .with_table_name(table.name())
        .with_columns(columns(table)?.fields().cloned())
        .with_partition_columns(["date"])
        .with_save_mode(SaveMode::Ignore)
        .await
        .map_err(|source| log_error(table, "written", source))?;
    Ok(())
}

async fn load(place: &Place, table: Table) -> Result<DeltaTable, TableError> {
    let mut handle = DeltaTable::new(log_store(place));
    handle.load().await.map_err(|source| log_error(table, "read", source))?;
    Ok(handle)
}

fn log_store(place: &Place) -> LogStoreRef {
    let options = StorageConfig::default();
    default_logstore(place.objects(), place.root(), place.url(), &options)
}

/// The instant of a round, for deltalake's own upkeep.
#[derive(Debug)]
struct Instant(UnixNanos);

impl Clock for Instant {
    fn current_timestamp_millis(&self) -> i64 {
        self.0.0 / 1_000_000
    }
}

fn list_files(handle: &DeltaTable, table: Table) -> Result<Vec<DataFile>, TableError> {
    let state = handle.snapshot().map_err(|source| log_error(table, "read", source))?;
    let log = state.log_data();
    let files = log.iter().map(|view| {
        let (rows, statistics) = statistics::from_json(view.stats().as_deref().unwrap_or("{}"));
        let partition = view.partition_values_map().remove("date").flatten();
        #[expect(deprecated, reason = "the only way to a file's tags")]
        let tags = view.add_action().tags.unwrap_or_default();
        DataFile {
            path: view.path().into_owned(),
            size_bytes: u64::try_from(view.size()).unwrap_or(0),
            rows,
            date: partition.as_deref().and_then(statistics::date_from_text).unwrap_or(0),
            written_unix_ms: view.modification_time(),
            committed_as: committed_as(&tags),
            without_minutes: tag(&tags, MINUTES_TAG) == Some(NO_MINUTES),
            statistics: Arc::new(statistics),
        }
    });
    let mut files: Vec<_> = files.collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// The tags of a file that came straight from a commit: whose it was, and up to which sequence.
const SOURCE_TAG: &str = "upriver.source";
const VERSION_TAG: &str = "upriver.version";
/// The tag of a file of spans that are in no table of minutes.
const MINUTES_TAG: &str = "upriver.minutes";
const NO_MINUTES: &str = "none";

/// What the log says of a file beside what Delta knows.
type Tags = HashMap<String, Option<String>>;

fn tag<'a>(tags: &'a Tags, name: &str) -> Option<&'a str> {
    tags.get(name)?.as_deref()
}

fn committed_as(tags: &Tags) -> Option<SourceVersion> {
    Some((tag(tags, SOURCE_TAG)?.to_owned(), tag(tags, VERSION_TAG)?.parse().ok()?))
}

fn tags_of(file: &DataFile) -> Option<Tags> {
    let source = file.committed_as.iter().flat_map(|(source, version)| {
        [(SOURCE_TAG, source.clone()), (VERSION_TAG, version.to_string())]
    });
    let minutes = file.without_minutes.then(|| (MINUTES_TAG, NO_MINUTES.to_owned()));
    let tags: Tags =
        source.chain(minutes).map(|(name, value)| (name.to_owned(), Some(value))).collect();
    (!tags.is_empty()).then_some(tags)
}

fn add_action(file: &WrittenFile, data_change: bool) -> Add {
    let date = statistics::date_text(file.data.date);
    Add {
        path: file.data.path.clone(),
        partition_values: HashMap::from([("date".to_owned(), Some(date))]),
        size: i64::try_from(file.data.size_bytes).unwrap_or(i64::MAX),
        modification_time: file.data.written_unix_ms,
        data_change,
        stats: Some(statistics::to_json(&file.data, file.table)),
        tags: tags_of(&file.data),
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
        clustering_provider: None,
    }
}

fn log_error(table: Table, doing: &'static str, source: DeltaTableError) -> TableError {
    TableError::Log { table: table.name(), doing, source: Box::new(source) }
}
