//! From the hot buffer into the tables.
//!
//! A commit takes the rows up to a sequence, prepares them, and writes one Delta transaction per
//! table that carries `(node, sequence)`. Whatever step it stops at: the next commit, or the replay
//! of the next start, gives each table what it lacks and nothing else. The log forgets rows only
//! when every table has them on disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::Core;
use super::prepare::Commit;
use crate::blocking;
use crate::delta::{SourceVersion, TableError, TableHandle};
use crate::error::StoreError;
use crate::parquet_writer::{WrittenFile, discard};
use crate::repair::RepairStep;
use crate::schema::Table;
use crate::wal::Wal;

/// A table as the one writer holds it.
#[derive(Debug)]
pub(super) struct TableWriter {
    pub(super) handle: TableHandle,
    /// A commit failed or was given up while it ran, so whether it is in the table has to be looked
    /// up.
    pub(super) is_doubtful: bool,
    /// Files of commits that failed, and up to where these would have brought the table.
    unsure: Vec<(SourceVersion, Vec<WrittenFile>)>,
}

/// All tables. Whoever holds them is the only one who commits.
pub(super) type Writers = BTreeMap<Table, TableWriter>;

/// Where a commit, an import or a repair may stop; tests stop it at each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommitStep {
    Prepared,
    FilesWritten(Table),
    Written(Table),
    Published(Table),
    AllPassed,
    LogShortened,
    Imported(Table),
    Repair(RepairStep),
}

impl CommitStep {
    /// Its name among [`crate::faults::STEPS`] and [`crate::faults::REPAIR_STEPS`].
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::FilesWritten(_) => "files-written",
            Self::Written(_) | Self::Imported(_) => "committed",
            Self::Published(_) => "shown",
            Self::AllPassed => "all-passed",
            Self::LogShortened => "log-shortened",
            Self::Repair(step) => step.name(),
        }
    }
}

impl Core {
    /// Commits everything up to this sequence.
    pub(super) async fn commit_up_to(
        self: &Arc<Self>,
        wal: &Wal,
        sequence: u64,
    ) -> Result<(), StoreError> {
        let mut writers = self.writers.lock().await;
        self.commit_rows(&mut writers, sequence).await?;
        wal.passed(sequence).await?;
        self.reached(CommitStep::LogShortened)?;
        self.count_commits().commits += 1;
        Ok(())
    }

    /// Commits everything up to this sequence while the rest of the log is still read. The log is
    /// shortened by the first commit after that.
    pub(super) async fn commit_replayed(self: &Arc<Self>, sequence: u64) -> Result<(), StoreError> {
        let mut writers = self.writers.lock().await;
        self.commit_rows(&mut writers, sequence).await?;
        self.count_commits().commits += 1;
        Ok(())
    }

    async fn commit_rows(
        self: &Arc<Self>,
        writers: &mut Writers,
        sequence: u64,
    ) -> Result<(), StoreError> {
        self.resolve_doubts(writers).await?;
        let core = Arc::clone(self);
        let minutes = self.options.minutes;
        let prepared = move || core.shared.rows_up_to(sequence, minutes);
        let prepared = blocking::run("preparing a commit", prepared).await??;
        self.reached(CommitStep::Prepared)?;
        self.write(writers, prepared, sequence).await?;
        self.shared.lock().all_passed(sequence);
        self.shared.forget_snapshot();
        self.reached(CommitStep::AllPassed)
    }

    async fn write(
        &self,
        writers: &mut Writers,
        Commit { mut rows, without_minutes }: Commit,
        sequence: u64,
    ) -> Result<(), StoreError> {
        let version = signed(sequence);
        for (table, writer) in writers {
            let Some(batches) = rows.remove(table) else { continue };
            let parents = parents(*table, &batches);
            let mut written = writer.write(*table, batches).await?;
            for file in &mut written {
                file.data.without_minutes = without_minutes && *table == Table::Spans;
            }
            self.reached(CommitStep::FilesWritten(*table))?;
            writer.commit(*table, written, &[(self.node.clone(), version)]).await?;
            self.reached(CommitStep::Written(*table))?;
            self.committed(*table, &writer.handle, sequence);
            writer.is_doubtful = false;
            let mut counts = self.count_commits();
            counts.spans_with_parent += parents.0;
            counts.parents_resolved += parents.1;
            drop(counts);
            self.reached(CommitStep::Published(*table))?;
        }
        Ok(())
    }

    /// Looks up what became of commits that failed: some are in the table all the same.
    pub(super) async fn resolve_doubts(&self, writers: &mut Writers) -> Result<(), StoreError> {
        for (table, writer) in writers.iter_mut().filter(|(_, writer)| writer.is_doubtful) {
            let refreshed = writer.handle.refresh().await;
            refreshed.map_err(table_error("read", *table))?;
            writer.discard_unsure(*table).await?;
            let sequence = committed(*table, &writer.handle, &self.node).await?;
            self.committed(*table, &writer.handle, sequence);
            writer.is_doubtful = false;
        }
        Ok(())
    }

    /// Shows that the table now goes up to this sequence.
    fn committed(&self, table: Table, handle: &TableHandle, sequence: u64) {
        let files = handle.files();
        let mut state = self.shared.lock();
        if table == Table::Spans {
            state.passed.learn_from_spans(&files, &self.node);
        }
        state.committed(table, files, sequence);
    }
}

impl TableWriter {
    pub(super) fn new(handle: TableHandle) -> Self {
        Self { handle, is_doubtful: false, unsure: Vec::new() }
    }

    /// Deletes the files of commits that are not in the table, so that commits to a full disk which are
    /// tried again and again do not fill it further. In a bucket a commit that seemed to fail may still
    /// be carried out; files that nobody refers to are left to upkeep there.
    async fn discard_unsure(&mut self, table: Table) -> Result<(), StoreError> {
        for ((source, version), files) in std::mem::take(&mut self.unsure) {
            let reached = self.handle.committed_version(&source).await;
            if reached.map_err(table_error("read", table))? < Some(version) {
                discard(self.handle.place(), &files);
            }
        }
        Ok(())
    }

    /// Writes rows as files that nobody sees yet.
    pub(super) async fn write(
        &self,
        table: Table,
        batches: Vec<RecordBatch>,
    ) -> Result<Vec<WrittenFile>, StoreError> {
        self.handle.write(batches).await.map_err(table_error("write files of", table))
    }

    /// Commits files. The table stays doubtful until they are shown.
    pub(super) async fn commit(
        &mut self,
        table: Table,
        written: Vec<WrittenFile>,
        transactions: &[SourceVersion],
    ) -> Result<(), StoreError> {
        self.is_doubtful = true;
        self.unsure.extend(transactions.first().map(|first| (first.clone(), written.clone())));
        let committed = self.handle.commit_written(written, transactions).await;
        if committed.is_ok() {
            self.unsure.clear();
        }
        committed.map_err(table_error("commit to", table))
    }
}

/// Spans that name a parent, and those of them whose parent was known.
fn parents(table: Table, batches: &[RecordBatch]) -> (u64, u64) {
    let values = |name| {
        let columns = batches.iter().filter_map(|rows| rows.column_by_name(name));
        columns.map(|column| (column.len() - column.null_count()) as u64).sum()
    };
    if table == Table::Spans {
        (values("parent_span_id"), values("parent_service"))
    } else {
        (0, 0)
    }
}

/// The sequence that a table has from this node; 0 if none.
pub(crate) async fn committed(
    table: Table,
    handle: &TableHandle,
    node: &str,
) -> Result<u64, StoreError> {
    let version = handle.committed_version(node).await.map_err(table_error("read", table))?;
    Ok(version.and_then(|version| u64::try_from(version).ok()).unwrap_or(0))
}

pub(crate) fn table_error(
    action: &'static str,
    table: Table,
) -> impl FnOnce(TableError) -> StoreError {
    move |source| StoreError::Table { action, table, source }
}

/// Delta's transaction versions are signed.
fn signed(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}
