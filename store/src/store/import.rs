//! Files from elsewhere, straight into the tables: they can be read again, so they need no log.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::commit::{CommitStep, TableWriter, Writers, table_error};
use super::prepare::{Rows, derived, derived_of_stored, stored_rows};
use super::state::SharedState;
use super::{Core, check_columns, check_rows};
use crate::batch::TableBatch;
use crate::blocking;
use crate::delta::TableHandle;
use crate::error::StoreError;
use crate::schema::Table;

/// The table that notes that all of a source is in.
const MARKED_TABLE: Table = Table::Spans;
/// The transaction version that says so.
const FINISHED: i64 = i64::MAX;

/// A part of a source. Parts come in rising order and are the same each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its number, from 0.
    pub number: i64,
    /// Whether the source is complete with it.
    pub is_last: bool,
}

/// The rows of a chunk.
#[derive(Clone, Debug)]
pub enum ImportedRows {
    /// As they were received: completed from each other and rolled up, as those of a request.
    Received(Vec<TableBatch>),
    /// As they were in tables: spans, bodies and samples are rolled up, and nothing is changed.
    Stored {
        /// The rows; those of rollups are added as they are.
        rows: Vec<TableBatch>,
        /// `stack_id` and `family` of the functions of the samples' stacks.
        frames: Arc<Vec<RecordBatch>>,
    },
}

impl ImportedRows {
    fn batches(&self) -> &[TableBatch] {
        match self {
            Self::Received(rows) | Self::Stored { rows, .. } => rows,
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        match self {
            Self::Received(rows) => check_rows(rows),
            Self::Stored { rows, .. } => check_columns(rows),
        }
    }

    /// The tables that get rows from these, derived ones included.
    fn concerned(&self) -> BTreeSet<Table> {
        let derived = match self {
            Self::Received(_) => derived,
            Self::Stored { .. } => derived_of_stored,
        };
        let filled = self.batches().iter().filter(|batch| batch.rows.num_rows() > 0);
        filled.flat_map(|batch| derived(batch).iter().copied().chain([batch.table])).collect()
    }

    /// The rows of the tables that lack them.
    fn prepare(
        &self,
        shared: &SharedState,
        source: &str,
        lacking: &BTreeSet<Table>,
    ) -> Result<Rows, StoreError> {
        let lacks = |table| lacking.contains(&table);
        match self {
            Self::Received(batches) => {
                let mut enricher = shared.enricher();
                // Also where nothing is added: the next chunk's spans may have their parents here, and
                // its points the ones before.
                let size_minutes = enricher.learn_import(source, batches);
                enricher.rows_for(batches, size_minutes, lacks)
            }
            Self::Stored { rows, frames } => stored_rows(rows, frames, lacks),
        }
    }
}

/// What an import of one chunk did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportOutcome {
    /// Rows that were added, by table, derived tables included.
    pub added: BTreeMap<Table, u64>,
    /// Tables that had the chunk's rows already.
    pub skipped: Vec<Table>,
}

impl Core {
    /// Adds a chunk's rows to the tables that lack them.
    pub(super) async fn import(
        self: &Arc<Self>,
        source: &str,
        chunk: Chunk,
        rows: ImportedRows,
    ) -> Result<ImportOutcome, StoreError> {
        rows.check()?;
        let mut writers = self.writers.lock().await;
        self.resolve_doubts(&mut writers).await?;
        let is_finished = is_finished(&writers, source).await?;
        let concerned = rows.concerned();
        for table in concerned.iter().filter(|table| table.is_former()) {
            self.make_former(&mut writers, *table).await?;
        }
        let mut lacking = BTreeSet::new();
        for table in concerned.iter().filter(|_| !is_finished) {
            let Some(writer) = writers.get(table) else { continue };
            let version = writer.handle.committed_version(source).await;
            if version.map_err(table_error("read", *table))? < Some(chunk.number) {
                lacking.insert(*table);
            }
        }
        let skipped = concerned.difference(&lacking).copied().collect();
        let (core, source_name) = (Arc::clone(self), source.to_owned());
        let work = move || rows.prepare(&core.shared, &source_name, &lacking);
        let rows = blocking::run("preparing an import", work).await??;
        let added = self.add(&mut writers, rows, (source, chunk.number)).await?;
        if chunk.is_last && !is_finished {
            let mark = Rows::from([(MARKED_TABLE, Vec::new())]);
            self.add(&mut writers, mark, (source, FINISHED)).await?;
        }
        Ok(ImportOutcome { added, skipped })
    }

    /// Rows that an earlier build exported have a table again.
    async fn make_former(&self, writers: &mut Writers, table: Table) -> Result<(), StoreError> {
        if let Entry::Vacant(vacant) = writers.entry(table) {
            let made = TableHandle::open_or_create(&self.folder.table(table), table).await;
            vacant.insert(TableWriter::new(made.map_err(table_error("open", table))?));
        }
        Ok(())
    }

    async fn add(
        &self,
        writers: &mut Writers,
        rows: Rows,
        (source, version): (&str, i64),
    ) -> Result<BTreeMap<Table, u64>, StoreError> {
        let mut added = BTreeMap::new();
        for (table, batches) in rows {
            let Some(writer) = writers.get_mut(&table) else { continue };
            let count: usize = batches.iter().map(RecordBatch::num_rows).sum();
            let written = writer.write(table, batches).await?;
            self.reached(CommitStep::FilesWritten(table))?;
            writer.commit(table, written, &[(source.to_owned(), version)]).await?;
            self.shared.lock().replaced(table, writer.handle.files());
            writer.is_doubtful = false;
            self.reached(CommitStep::Imported(table))?;
            added.insert(table, count as u64);
        }
        added.retain(|_, count| *count > 0);
        Ok(added)
    }
}

/// Whether all of the source is in the tables.
pub(super) async fn is_finished(writers: &Writers, source: &str) -> Result<bool, StoreError> {
    let Some(writer) = writers.get(&MARKED_TABLE) else { return Ok(false) };
    let version = writer.handle.committed_version(source).await;
    Ok(version.map_err(table_error("read", MARKED_TABLE))? == Some(FINISHED))
}
