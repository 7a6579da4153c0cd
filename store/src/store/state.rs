//! What snapshots are made of: the hot rows and, per table, its files and the sequence that they
//! reach. Both change together under one lock, so a snapshot misses no row and has none twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::prepare::{Commit, Enricher, Passed, Rows, StoredMinutes};
use crate::batch;
use crate::error::StoreError;
use crate::folder::DataFolder;
use crate::hot_buffer::{HotBatch, HotBuffer};
use crate::schema::Table;
use crate::snapshot::{DataFile, Snapshot, TableSnapshot};
use crate::wal::Delivery;

/// The committed files of a table, as a snapshot shares them.
type Files = Arc<Vec<DataFile>>;

/// The changing part of a store.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) hot: HotBuffer,
    pub(crate) passed: Passed,
    files: BTreeMap<Table, Files>,
    /// Counts changes, so that equal generations are equal views.
    generation: u64,
}

impl State {
    /// No rows and no files yet; the tables have passed this much.
    pub(crate) fn new(passed: Passed) -> Self {
        Self { passed, ..Self::default() }
    }

    /// Rows of stored records become visible.
    pub(crate) fn deliver(&mut self, deliveries: Vec<Delivery>) {
        for Delivery { sequence, received, rows } in deliveries {
            self.hot.push(HotBatch::new(sequence, received, rows));
        }
        self.generation += 1;
    }

    /// The table's files now reach this sequence.
    pub(crate) fn committed(&mut self, table: Table, files: Files, sequence: u64) {
        self.passed.advance(table, sequence);
        self.replaced(table, files);
    }

    /// The table has other files with the same or imported rows.
    pub(crate) fn replaced(&mut self, table: Table, files: Files) {
        self.files.insert(table, files);
        self.generation += 1;
    }

    /// Number and bytes of the committed files, by table.
    pub(crate) fn file_figures(&self) -> BTreeMap<Table, (u64, u64)> {
        let bytes = |files: &Files| files.iter().map(|file| file.size_bytes).sum();
        let figures = |files: &Files| (files.len() as u64, bytes(files));
        self.files.iter().map(|(table, files)| (*table, figures(files))).collect()
    }

    /// Every table has passed this sequence: its rows need not be kept.
    pub(crate) fn all_passed(&mut self, sequence: u64) {
        for table in Table::ALL {
            self.passed.advance(table, sequence);
        }
        self.hot.remove_up_to(sequence);
        self.generation += 1;
    }

    fn view(&self) -> View {
        View {
            generation: self.generation,
            batches: self.hot.batches(),
            passed: self.passed.clone(),
            files: self.files.clone(),
        }
    }
}

/// The state at one instant.
struct View {
    generation: u64,
    batches: Vec<Arc<HotBatch>>,
    passed: Passed,
    files: BTreeMap<Table, Files>,
}

/// The state with what is computed from it.
#[derive(Debug)]
pub(crate) struct SharedState {
    folder: DataFolder,
    state: Mutex<State>,
    enricher: Mutex<Enricher>,
    /// The newest snapshot and its generation: repeated queries do not fill in rows again.
    newest: Mutex<Option<(u64, Snapshot)>>,
}

impl SharedState {
    pub(crate) fn new(folder: DataFolder, state: State, enricher: Enricher) -> Self {
        Self {
            folder,
            state: Mutex::new(state),
            enricher: Mutex::new(enricher),
            newest: Mutex::new(None),
        }
    }

    /// Held for moments only: rows are filled in outside.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index of spans, to be taken before rows are filled in. Blocks while others fill in rows.
    pub(crate) fn enricher(&self) -> MutexGuard<'_, Enricher> {
        self.enricher.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows up to this sequence that tables have not passed. Blocks.
    pub(crate) fn rows_up_to(
        &self,
        sequence: u64,
        minutes: StoredMinutes,
    ) -> Result<Commit, StoreError> {
        let view = self.lock().view();
        let mut enricher = self.enricher();
        enricher.learn(&view.batches);
        let due = view.batches.partition_point(|batch| batch.sequence <= sequence);
        enricher.rows_to_commit(&view.batches[..due], &view.passed, minutes)
    }

    /// The newest snapshot. Blocks while rows are filled in, once per generation.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken under the lock, so that a later caller never gets an older view.
        let view = self.lock().view();
        if let Some((generation, snapshot)) = &*newest
            && *generation == view.generation
        {
            return snapshot.clone();
        }
        let generation = view.generation;
        let snapshot = self.compute(view);
        *newest = Some((generation, snapshot.clone()));
        snapshot
    }

    /// Gives up the memory of a snapshot that nobody may ask for again.
    pub(crate) fn forget_snapshot(&self) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn compute(&self, view: View) -> Snapshot {
        let View { batches, passed, mut files, .. } = view;
        let mut hot = self.hot_rows(&batches, &passed).unwrap_or_else(|error| {
            tracing::error!(%error, "rows could not be prepared; they are shown as they came");
            rows_as_they_came(&batches, &passed)
        });
        Snapshot::new(Table::ALL.map(|table| {
            let place = Some(self.folder.tables().clone());
            let files = files.remove(&table).unwrap_or_default();
            let hot = hot.remove(&table).unwrap_or_default();
            (table, TableSnapshot { place, files, hot })
        }))
    }

    fn hot_rows(&self, batches: &[Arc<HotBatch>], passed: &Passed) -> Result<Rows, StoreError> {
        let mut enricher = self.enricher();
        enricher.learn(batches);
        let mut rows = enricher.rows(batches, passed)?;
        for (table, batches) in &mut rows {
            for rows in batches {
                let unfolded = batch::unfolded(*table, rows);
                *rows = unfolded.map_err(|source| StoreError::Rows { table: *table, source })?;
            }
        }
        Ok(rows)
    }
}

fn rows_as_they_came(batches: &[Arc<HotBatch>], passed: &Passed) -> Rows {
    let mut rows = Rows::new();
    for batch in batches {
        for table_batch in &batch.rows {
            if batch.sequence > passed.of(table_batch.table) {
                let unfolded = table_batch.unfolded();
                let shown = unfolded.unwrap_or_else(|_| table_batch.rows.clone());
                rows.entry(table_batch.table).or_default().push(shown);
            }
        }
    }
    rows
}
