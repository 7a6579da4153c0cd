//! Files from elsewhere, straight into the tables: they can be read again, so they need no log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::commit::{CommitStep, Writers, table_error};
use super::prepare::{Rows, derived};
use super::{Core, check_rows};
use crate::batch::TableBatch;
use crate::blocking;
use crate::error::StoreError;
use crate::schema::Table;

/// The table that notes that all of a source is in.
const MARKED_TABLE: Table = Table::Spans;
/// The transaction version that says so.
const FINISHED: i64 = i64::MAX;

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
        chunk: i64,
        is_last: bool,
        batches: Vec<TableBatch>,
    ) -> Result<ImportOutcome, StoreError> {
        check_rows(&batches)?;
        let mut writers = self.writers.lock().await;
        self.resolve_doubts(&mut writers).await?;
        let is_finished = is_finished(&writers, source).await?;
        let concerned = concerned(&batches);
        let mut lacking = BTreeSet::new();
        for table in concerned.iter().filter(|_| !is_finished) {
            let Some(writer) = writers.get(table) else { continue };
            let version = writer.handle.committed_version(source).await;
            if version.map_err(table_error("read", *table))? < Some(chunk) {
                lacking.insert(*table);
            }
        }
        let skipped = concerned.difference(&lacking).copied().collect();
        let (core, source_name) = (Arc::clone(self), source.to_owned());
        let work = move || {
            let mut enricher = core.shared.enricher();
            // Also where nothing is added: the next chunk's spans may have their parents here, and
            // its points the ones before.
            let size_minutes = enricher.learn_import(&source_name, &batches);
            enricher.rows_for(&batches, size_minutes, |table| lacking.contains(&table))
        };
        let rows = blocking::run("preparing an import", work).await??;
        let added = self.add(&mut writers, rows, (source, chunk)).await?;
        if is_last && !is_finished {
            let mark = Rows::from([(MARKED_TABLE, Vec::new())]);
            self.add(&mut writers, mark, (source, FINISHED)).await?;
        }
        Ok(ImportOutcome { added, skipped })
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
            let count: usize = batches.iter().map(arrow::array::RecordBatch::num_rows).sum();
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

/// The tables that get rows from these, derived ones included.
fn concerned(batches: &[TableBatch]) -> BTreeSet<Table> {
    let filled = batches.iter().filter(|batch| batch.rows.num_rows() > 0);
    filled.flat_map(|batch| derived(batch).iter().copied().chain([batch.table])).collect()
}
