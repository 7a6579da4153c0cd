//! Rows that are durable in the log and in no table yet, in the order of their sequences.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow::array::RecordBatch;

use crate::batch::TableBatch;
use crate::time::UnixNanos;

#[cfg(test)]
mod tests;

/// The rows of one logged record.
#[derive(Debug)]
pub(crate) struct HotBatch {
    pub(crate) sequence: u64,
    pub(crate) received: UnixNanos,
    pub(crate) rows: Vec<TableBatch>,
    /// What its metrics of body sizes add to `edge_minutes`, once that was worked out. It depends on
    /// the batches before, so it is worked out once and kept as long as the batch.
    pub(crate) size_minutes: OnceLock<RecordBatch>,
    bytes: usize,
}

impl HotBatch {
    /// The rows of the record with this sequence.
    pub(crate) fn new(sequence: u64, received: UnixNanos, rows: Vec<TableBatch>) -> Self {
        let bytes = rows.iter().map(|batch| batch.rows.get_array_memory_size()).sum();
        Self { sequence, received, rows, size_minutes: OnceLock::new(), bytes }
    }

    fn row_count(&self) -> u64 {
        self.rows.iter().map(|batch| batch.rows.num_rows() as u64).sum()
    }
}

/// Rows that wait for their commit.
#[derive(Debug, Default)]
pub(crate) struct HotBuffer {
    batches: VecDeque<Arc<HotBatch>>,
    bytes: usize,
    rows: u64,
}

impl HotBuffer {
    /// Adds the rows of the next record.
    pub(crate) fn push(&mut self, batch: HotBatch) {
        debug_assert!(self.newest().is_none_or(|newest| newest < batch.sequence));
        self.bytes += batch.bytes;
        self.rows += batch.row_count();
        self.batches.push_back(Arc::new(batch));
    }

    /// All batches, oldest first.
    pub(crate) fn batches(&self) -> Vec<Arc<HotBatch>> {
        self.batches.iter().map(Arc::clone).collect()
    }

    /// The sequence of the newest batch.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.batches.back().map(|batch| batch.sequence)
    }

    /// The newest sequence up to which every batch arrived at least `settle` before `now`. One from
    /// after `now` counts as old, so that a clock that was set back holds nothing up.
    pub(crate) fn settled(&self, now: UnixNanos, settle: Duration) -> Option<u64> {
        let settle = i64::try_from(settle.as_nanos()).unwrap_or(i64::MAX);
        let is_settled = |batch: &&Arc<HotBatch>| {
            let age = now.0.saturating_sub(batch.received.0);
            age >= settle || age < 0
        };
        self.batches.iter().take_while(is_settled).last().map(|batch| batch.sequence)
    }

    /// The sequence up to which batches have to go so that the others take no more than `bytes`.
    pub(crate) fn leaving(&self, bytes: usize) -> Option<u64> {
        let mut left = self.bytes;
        let goes = |batch: &&Arc<HotBatch>| {
            let is_too_much = left > bytes;
            left = left.saturating_sub(batch.bytes);
            is_too_much
        };
        self.batches.iter().take_while(goes).last().map(|batch| batch.sequence)
    }

    /// Forgets the batches up to this sequence.
    pub(crate) fn remove_up_to(&mut self, sequence: u64) {
        while let Some(oldest) = self.batches.front()
            && oldest.sequence <= sequence
        {
            self.bytes -= oldest.bytes;
            self.rows -= oldest.row_count();
            self.batches.pop_front();
        }
    }

    /// Memory of the rows.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of rows, over all tables.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }
}
