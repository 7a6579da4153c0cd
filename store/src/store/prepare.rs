//! From logged rows to the rows of the tables: parents and self times filled in, minutes rolled up,
//! repeated stacks removed. Commits and snapshots use the same function, so that a row looks the
//! same before and after its commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

use super::stacks;
use crate::batch::TableBatch;
use crate::error::StoreError;
use crate::hot_buffer::HotBatch;
use crate::rollup::{self, SizeMetrics};
use crate::schema::Table;
use crate::snapshot::DataFile;
use crate::trace_index::TraceIndex;

/// Rows by table. A derived table that nothing came out for has no batches, but is there: it has
/// passed the rows that it derives from.
pub(crate) type Rows = BTreeMap<Table, Vec<RecordBatch>>;

/// The sequence that each table has passed: what is at or below it is committed, or was no row of
/// that table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    tables: BTreeMap<Table, u64>,
    /// Sequences above the first and up to the second number.
    without_minutes: Vec<(u64, u64)>,
}

impl Passed {
    /// The sequence that the table has passed.
    pub(crate) fn of(&self, table: Table) -> u64 {
        self.tables.get(&table).copied().unwrap_or(0)
    }

    /// The table has passed this sequence too.
    pub(crate) fn advance(&mut self, table: Table, sequence: u64) {
        let passed = self.tables.entry(table).or_default();
        *passed = sequence.max(*passed);
    }

    /// What a node's files of spans say of its newest commits. Where a table of minutes has not passed spans
    /// that were committed without minutes, it does so without rows of them. Upkeep keeps what a file says of
    /// its commit until every table has passed that.
    pub(crate) fn learn_from_spans(&mut self, files: &[DataFile], node: &str) {
        let version = |file: &DataFile| {
            let (source, version) = file.committed_as.as_ref()?;
            u64::try_from(*version).ok().filter(|_| source == node)
        };
        let commits: BTreeMap<_, _> =
            files.iter().filter_map(|file| Some((version(file)?, file.without_minutes))).collect();
        let before = [0].into_iter().chain(commits.keys().copied());
        let ranges = before.zip(&commits).filter(|(_, (_, is_without))| **is_without);
        self.without_minutes = ranges.map(|(before, (up_to, _))| (before, *up_to)).collect();
    }

    /// Whether minutes of the spans of this batch are not to be stored.
    fn leaves_minutes(&self, sequence: u64) -> bool {
        self.without_minutes.iter().any(|(above, up_to)| (above + 1..=*up_to).contains(&sequence))
    }

    /// Whether some table, derived ones included, still needs rows of this batch.
    pub(crate) fn needs(&self, batch: &HotBatch) -> bool {
        let lacks = |table: &Table| batch.sequence > self.of(*table);
        batch.rows.iter().any(|rows| lacks(&rows.table) || derived(rows).iter().any(lacks))
    }
}

/// The tables that are derived from these rows.
pub(crate) fn derived(batch: &TableBatch) -> &'static [Table] {
    match batch.table {
        Table::Spans => &[Table::OperationMinutes, Table::EdgeMinutes],
        Table::FormerPayloadSizes => &[Table::EdgeMinutes],
        // The functions say which families a sample counts for.
        Table::ProfileSamples | Table::ProfileStackFrames => &[Table::ProfileMinutes],
        Table::MetricHistograms if rollup::has_sizes(&batch.rows) => &[Table::EdgeMinutes],
        _ => &[],
    }
}

/// Fills in what a row alone does not say: its parent, its children, the point of its series before.
#[derive(Debug, Default)]
pub(crate) struct Enricher {
    index: TraceIndex,
    sizes: SizeMetrics,
    /// The source that was imported last, and the same of its rows: a file tells of another time.
    imported: (String, SizeMetrics),
    /// The newest logged batch that the index knows.
    indexed: u64,
}

impl Enricher {
    /// Learns batches that it has not seen. Batches come in the order of their sequences, none left
    /// out.
    pub(crate) fn learn(&mut self, batches: &[Arc<HotBatch>]) {
        let new = batches.partition_point(|batch| batch.sequence <= self.indexed);
        for batch in &batches[new..] {
            self.learn_batch(batch);
            self.indexed = batch.sequence;
        }
    }

    /// Lets the index know the spans of the next batch, and works out what its metrics of body sizes
    /// add to edges: the difference to the batches before.
    pub(crate) fn learn_batch(&mut self, batch: &HotBatch) {
        self.learn_spans(&batch.rows);
        self.sizes.watch_from(batch.received);
        if let Some(minutes) = size_minutes(&mut self.sizes, &batch.rows) {
            batch.size_minutes.get_or_init(|| minutes);
        }
    }

    /// Learns the next rows of an import; gives what their metrics of body sizes add to edges.
    pub(crate) fn learn_import(
        &mut self,
        source: &str,
        rows: &[TableBatch],
    ) -> Option<RecordBatch> {
        self.learn_spans(rows);
        if self.imported.0 != source {
            self.imported = (source.to_owned(), SizeMetrics::default());
        }
        size_minutes(&mut self.imported.1, rows)
    }

    fn learn_spans(&mut self, rows: &[TableBatch]) {
        for TableBatch { rows, .. } in rows.iter().filter(|rows| rows.table == Table::Spans) {
            self.index.insert(rows);
        }
    }

    /// The rows that tables have not passed yet.
    pub(crate) fn rows(
        &self,
        batches: &[Arc<HotBatch>],
        passed: &Passed,
    ) -> Result<Rows, StoreError> {
        distinct_stacks(self.sorted(batches, passed).finish()?)
    }

    /// The rows that a commit of these batches brings to tables.
    pub(crate) fn rows_to_commit(
        &self,
        batches: &[Arc<HotBatch>],
        passed: &Passed,
        minutes: StoredMinutes,
    ) -> Result<Commit, StoreError> {
        let mut sorter = self.sorted(batches, passed);
        let without_minutes = minutes == StoredMinutes::Dense && sorter.leave_sparse_minutes();
        Ok(Commit { rows: distinct_stacks(sorter.finish()?)?, without_minutes })
    }

    fn sorted(&self, batches: &[Arc<HotBatch>], passed: &Passed) -> Sorter {
        let mut sorter = Sorter::default();
        for batch in batches {
            let lacks = |table: Table| batch.sequence > passed.of(table);
            sorter.leaves_minutes = passed.leaves_minutes(batch.sequence);
            for rows in &batch.rows {
                sorter.add(rows, lacks, |batch| completed(&self.index, batch));
            }
            if lacks(Table::EdgeMinutes) {
                sorter.size_minutes.extend(batch.size_minutes.get().cloned());
            }
        }
        sorter
    }

    /// The rows of an import, for the tables that lack them.
    pub(crate) fn rows_for(
        &self,
        batches: &[TableBatch],
        size_minutes: Option<RecordBatch>,
        lacks: impl Fn(Table) -> bool,
    ) -> Result<Rows, StoreError> {
        let mut sorter = Sorter::default();
        sorter.size_minutes.extend(size_minutes.filter(|_| lacks(Table::EdgeMinutes)));
        for batch in batches {
            sorter.add(batch, &lacks, |batch| completed(&self.index, batch));
        }
        distinct_stacks(sorter.finish()?)
    }
}

/// What a commit brings to the tables.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) rows: Rows,
    /// Its spans are not in the tables of minutes.
    pub(crate) without_minutes: bool,
}

/// Of which spans minutes are stored; those of others are made when somebody asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoredMinutes {
    /// Of all.
    #[default]
    All,
    /// Of commits whose minutes have few rows beside their spans.
    Dense,
}

/// Spans for each row of `operation_minutes` from which on a commit stores its minutes. A row of both tables of
/// minutes takes as much room as two thirds of a span and as much time to read as one to two spans
/// (`docs/storage.md`): with fewer spans to a row it saves next to nothing.
const SPANS_PER_ROW_MIN: usize = 3;

/// Rows that were rows of tables already, for the tables that lack them: they stay as they are, and
/// minutes are rolled up from them. `frames` say of which families the functions of their stacks are.
pub(crate) fn stored_rows(
    batches: &[TableBatch],
    frames: &[RecordBatch],
    lacks: impl Fn(Table) -> bool,
) -> Result<Rows, StoreError> {
    let mut sorter = Sorter::default();
    sorter.profile_frames.extend_from_slice(frames);
    for batch in batches {
        sorter.add(batch, &lacks, |batch| batch.rows.clone());
    }
    sorter.finish()
}

/// The tables that get rows from [`stored_rows`] beside their own. Sizes of metrics come as minutes.
pub(crate) fn derived_of_stored(batch: &TableBatch) -> &'static [Table] {
    match batch.table {
        Table::Spans | Table::FormerPayloadSizes | Table::ProfileSamples => derived(batch),
        _ => &[],
    }
}

/// Rows with what the index knows filled in.
fn completed(index: &TraceIndex, batch: &TableBatch) -> RecordBatch {
    if batch.table == Table::Spans { index.enrich_spans(&batch.rows) } else { batch.rows.clone() }
}

/// Every stack once a day.
fn distinct_stacks(mut all: Rows) -> Result<Rows, StoreError> {
    for (table, rows) in &mut all {
        let distinct = stacks::distinct(*table, std::mem::take(rows));
        *rows = distinct.map_err(|source| StoreError::Rows { table: *table, source })?;
    }
    Ok(all)
}

/// What metrics of body sizes add to edges; `None` where there is none of them.
fn size_minutes(sizes: &mut SizeMetrics, batches: &[TableBatch]) -> Option<RecordBatch> {
    let histograms = batches.iter().filter(|batch| batch.table == Table::MetricHistograms);
    let histograms: Vec<_> = histograms.map(|batch| &batch.rows).collect();
    let is_any = histograms.iter().any(|rows| rollup::has_sizes(rows));
    is_any.then(|| sizes.edge_minutes(&histograms))
}

/// Rows on their way to the tables and to what is derived from them.
#[derive(Default)]
struct Sorter {
    rows: Rows,
    operation_spans: Vec<RecordBatch>,
    edge_spans: Vec<RecordBatch>,
    edge_former_sizes: Vec<RecordBatch>,
    /// Rows of `edge_minutes` already.
    size_minutes: Vec<RecordBatch>,
    profile_samples: Vec<RecordBatch>,
    profile_frames: Vec<RecordBatch>,
    /// Whether spans that are added now were committed without minutes.
    leaves_minutes: bool,
    /// The minutes of the operations, once they were worked out.
    operations: Option<RecordBatch>,
}

impl Sorter {
    fn add(
        &mut self,
        batch: &TableBatch,
        lacks: impl Fn(Table) -> bool,
        complete: impl FnOnce(&TableBatch) -> RecordBatch,
    ) {
        let table = batch.table;
        let is_wanted = lacks(table) || derived(batch).iter().any(|derived| lacks(*derived));
        if !is_wanted || batch.rows.num_rows() == 0 {
            return;
        }
        let rows = complete(batch);
        for (minutes, spans) in [
            (Table::OperationMinutes, &mut self.operation_spans),
            (Table::EdgeMinutes, &mut self.edge_spans),
        ] {
            if table == Table::Spans && lacks(minutes) {
                self.rows.entry(minutes).or_default();
                spans.extend((!self.leaves_minutes).then(|| rows.clone()));
            }
        }
        if table == Table::FormerPayloadSizes && lacks(Table::EdgeMinutes) {
            self.edge_former_sizes.push(rows.clone());
        }
        if table == Table::ProfileSamples && lacks(Table::ProfileMinutes) {
            self.profile_samples.push(rows.clone());
        }
        if table == Table::ProfileStackFrames && lacks(Table::ProfileMinutes) {
            self.profile_frames.push(rows.clone());
        }
        if lacks(table) {
            self.rows.entry(table).or_default().push(rows);
        }
    }

    /// Leaves out the minutes of spans that are all new to every table, where they would have nearly as many
    /// rows. Says whether it did.
    fn leave_sparse_minutes(&mut self) -> bool {
        let spans = self.rows.get(&Table::Spans).map_or(&[][..], Vec::as_slice);
        let is_new = !spans.is_empty()
            && [&self.operation_spans, &self.edge_spans].iter().all(|of| of.len() == spans.len());
        if !is_new {
            return false;
        }
        let count: usize = spans.iter().map(RecordBatch::num_rows).sum();
        let operations = rollup::operation_minutes(&self.operation_spans);
        let is_sparse = operations.num_rows().saturating_mul(SPANS_PER_ROW_MIN) > count;
        if is_sparse {
            self.operation_spans.clear();
            self.edge_spans.clear();
        } else {
            self.operations = Some(operations);
        }
        is_sparse
    }

    fn finish(self) -> Result<Rows, StoreError> {
        let mut all = self.rows;
        let mut add = |table, rows| all.entry(table).or_default().extend(rows);
        if !self.operation_spans.is_empty() {
            let rows =
                self.operations.unwrap_or_else(|| rollup::operation_minutes(&self.operation_spans));
            add(Table::OperationMinutes, non_empty(rows));
        }
        let has_calls = !self.edge_spans.is_empty() || !self.edge_former_sizes.is_empty();
        if has_calls || !self.size_minutes.is_empty() {
            let rows = rollup::edge_minutes(&self.edge_spans, &self.edge_former_sizes);
            let mut edges = non_empty(rows);
            edges.extend(non_empty(merged(Table::EdgeMinutes, &self.size_minutes)?));
            add(Table::EdgeMinutes, edges);
        }
        if !self.profile_samples.is_empty() {
            let rows = rollup::profile_minutes(&self.profile_samples, &self.profile_frames);
            add(Table::ProfileMinutes, non_empty(rows));
        }
        Ok(all)
    }
}

/// Parts of minutes put together.
fn merged(table: Table, parts: &[RecordBatch]) -> Result<RecordBatch, StoreError> {
    let rows = concat_batches(&table.schema(), parts);
    let rows = rows.map_err(|source| StoreError::Rows { table, source })?;
    Ok(rollup::merge_partials(table, rows))
}

fn non_empty(rows: RecordBatch) -> Vec<RecordBatch> {
    if rows.num_rows() == 0 { Vec::new() } else { vec![rows] }
}
