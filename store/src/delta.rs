//! One Delta table on disk: its committed files, and commits that carry a sequence.
//!
//! A commit is one entry of the Delta log with the added files, full statistics, and the application
//! transactions that say up to which sequence of which source the table now goes. Replay compares
//! with them, so a batch is in the table once or not at all. Tables stay at reader version 1 and
//! writer version 2: any engine can read them.

pub(crate) mod statistics;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, Add, Remove, StructType, Transaction};
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use url::Url;

use crate::parquet_writer::{WriteError, WrittenFile, write_partitions};
use crate::schema::Table;
use crate::snapshot::DataFile;

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
    /// A task of this process was ended.
    #[error("table `{table}`: the task that wrote was ended")]
    Interrupted {
        /// Name of the table.
        table: &'static str,
    },
    /// The folder's name cannot be a location.
    #[error("`{0}` cannot be the folder of a table: it is not an absolute path")]
    Folder(PathBuf),
}

/// Up to which version of which source a commit brings the table.
pub type SourceVersion = (String, i64);

/// An open table.
#[derive(Debug)]
pub struct TableHandle {
    table: Table,
    folder: PathBuf,
    handle: DeltaTable,
    commits: u32,
    files: Arc<Vec<DataFile>>,
}

impl TableHandle {
    /// Opens the table in this folder, or makes an empty one.
    pub async fn open_or_create(folder: &Path, table: Table) -> Result<Self, TableError> {
        if !Self::exists(folder) {
            std::fs::create_dir_all(folder).map_err(|source| TableError::Write {
                table: table.name(),
                source: source.into(),
            })?;
            create(folder, table).await?;
        }
        Self::open(folder, table).await
    }

    /// Opens the table in this folder; it must exist.
    pub async fn open(folder: &Path, table: Table) -> Result<Self, TableError> {
        let handle = load(folder, table).await?;
        let files = Arc::new(list_files(&handle, table)?);
        Ok(Self { table, folder: folder.to_path_buf(), handle, commits: 0, files })
    }

    /// Whether the folder holds a table. A crash while the table was made can leave a log without
    /// its first entry.
    pub fn exists(folder: &Path) -> bool {
        let is_entry = |name: &std::ffi::OsStr| {
            let extension = Path::new(name).extension();
            extension.is_some_and(|extension| extension == "json" || extension == "parquet")
        };
        std::fs::read_dir(folder.join("_delta_log"))
            .is_ok_and(|entries| entries.flatten().any(|entry| is_entry(&entry.file_name())))
    }

    /// The committed files.
    pub fn files(&self) -> Arc<Vec<DataFile>> {
        Arc::clone(&self.files)
    }

    /// The table's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
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
        let (table, folder) = (self.table, self.folder.clone());
        let task = tokio::task::spawn_blocking(move || write_partitions(&folder, table, &rows));
        let written =
            task.await.map_err(|_source| TableError::Interrupted { table: table.name() })?;
        written.map_err(|source| TableError::Write { table: table.name(), source })
    }

    /// Makes written files part of the table, together with source versions.
    pub async fn commit_written(
        &mut self,
        written: Vec<WrittenFile>,
        sources: &[SourceVersion],
    ) -> Result<(), TableError> {
        let actions = written.iter().map(|file| Action::Add(add_action(file, true))).collect();
        let mode = SaveMode::Append;
        let operation = DeltaOperation::Write {
            mode,
            partition_by: Some(vec!["date".to_owned()]),
            predicate: None,
        };
        self.commit_actions(actions, operation, sources).await?;
        self.change_files(&BTreeSet::new(), written);
        Ok(())
    }

    /// Puts files that hold the same rows in place of others.
    pub async fn replace(
        &mut self,
        removed: &BTreeSet<String>,
        written: Vec<WrittenFile>,
    ) -> Result<(), TableError> {
        let mut actions: Vec<_> =
            written.iter().map(|file| Action::Add(add_action(file, false))).collect();
        let state = self.handle.snapshot().map_err(|e| self.unreadable(e))?;
        let gone: Vec<Remove> = state
            .log_data()
            .iter()
            .filter(|view| removed.contains(view.path().as_ref()))
            .map(|view| view.remove_action(false))
            .collect();
        actions.extend(gone.into_iter().map(Action::Remove));
        let operation =
            DeltaOperation::Optimize { predicate: None, target_size: COMPACTED_FILE_BYTES };
        self.commit_actions(actions, operation, &[]).await?;
        self.change_files(removed, written);
        Ok(())
    }

    /// Reads what other writers committed since.
    pub async fn refresh(&mut self) -> Result<(), TableError> {
        self.handle = load(&self.folder, self.table).await?;
        self.files = Arc::new(list_files(&self.handle, self.table)?);
        self.commits = 0;
        Ok(())
    }

    async fn commit_actions(
        &mut self,
        actions: Vec<Action>,
        operation: DeltaOperation,
        sources: &[SourceVersion],
    ) -> Result<(), TableError> {
        if self.commits >= COMMITS_PER_HANDLE {
            self.handle = load(&self.folder, self.table).await?;
            self.commits = 0;
        }
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
        self.handle.state = Some(commit.snapshot());
        self.commits += 1;
        Ok(())
    }

    fn change_files(&mut self, removed: &BTreeSet<String>, written: Vec<WrittenFile>) {
        let kept = self.files.iter().filter(|file| !removed.contains(&file.path)).cloned();
        let files: Vec<_> = kept.chain(written.into_iter().map(|file| file.data)).collect();
        self.files = Arc::new(files);
    }

    fn unreadable(&self, source: DeltaTableError) -> TableError {
        log_error(self.table, "read", source)
    }
}

/// Size that compaction aims at, as Delta's own OPTIMIZE does by default for small tables.
pub(crate) const COMPACTED_FILE_BYTES: i64 = 128 << 20;

async fn create(folder: &Path, table: Table) -> Result<(), TableError> {
    let schema: StructType = table
        .schema()
        .as_ref()
        .try_into_kernel()
        .map_err(|e| log_error(table, "written", DeltaTableError::Arrow { source: e }))?;
    let location = location(folder)?;
    CreateBuilder::new()
        .with_location(location.as_str())
        .with_table_name(table.name())
        .with_columns(schema.fields().cloned())
        .with_partition_columns(["date"])
        .with_save_mode(SaveMode::Ignore)
        .await
        .map_err(|source| log_error(table, "written", source))?;
    Ok(())
}

async fn load(folder: &Path, table: Table) -> Result<DeltaTable, TableError> {
    let builder = DeltaTableBuilder::from_url(location(folder)?);
    let opened = match builder {
        Ok(builder) => builder.load().await,
        Err(source) => Err(source),
    };
    opened.map_err(|source| log_error(table, "read", source))
}

fn location(folder: &Path) -> Result<Url, TableError> {
    let absolute =
        std::path::absolute(folder).map_err(|_source| TableError::Folder(folder.into()))?;
    Url::from_directory_path(absolute).map_err(|()| TableError::Folder(folder.into()))
}

fn list_files(handle: &DeltaTable, table: Table) -> Result<Vec<DataFile>, TableError> {
    let state = handle.snapshot().map_err(|source| log_error(table, "read", source))?;
    let log = state.log_data();
    let files = log.iter().map(|view| {
        let (rows, statistics) = statistics::from_json(view.stats().as_deref().unwrap_or("{}"));
        let partition = view.partition_values_map().remove("date").flatten();
        DataFile {
            path: view.path().into_owned(),
            size_bytes: u64::try_from(view.size()).unwrap_or(0),
            rows,
            date: partition.as_deref().and_then(statistics::date_from_text).unwrap_or(0),
            statistics,
        }
    });
    let mut files: Vec<_> = files.collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn add_action(file: &WrittenFile, data_change: bool) -> Add {
    let date = statistics::date_text(file.data.date);
    Add {
        path: file.data.path.clone(),
        partition_values: HashMap::from([("date".to_owned(), Some(date))]),
        size: i64::try_from(file.data.size_bytes).unwrap_or(i64::MAX),
        modification_time: file.modified_unix_ms,
        data_change,
        stats: Some(statistics::to_json(&file.data, file.table)),
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
        clustering_provider: None,
    }
}

fn log_error(table: Table, doing: &'static str, source: DeltaTableError) -> TableError {
    TableError::Log { table: table.name(), doing, source: Box::new(source) }
}
