//! The log on its way back into the hot buffer, when a folder is opened.
//!
//! A store keeps no more of it in memory than it may while it runs: over the limit the older rows are
//! committed while the rest of the log is read. A reader, which commits nothing, keeps all of it.

use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::prepare::{Enricher, Passed};
use super::state::State;
use super::{Core, local_rows};
use crate::batch::TableBatch;
use crate::error::StoreError;
use crate::hot_buffer::HotBatch;
use crate::record::{Decode, DecodeFailure, LogRecord};
use crate::wal::{self, Recovered};

/// What a record of the log becomes.
struct Decoding {
    decode: Decode,
    passed: Passed,
    /// Whether what cannot be decoded is left out.
    repair: bool,
}

/// The rows of a record, and whether some table lacks them.
enum Replayed {
    Needed(HotBatch),
    /// All spans may be somebody's parent.
    Known(HotBatch),
    LeftOut,
}

impl Decoding {
    fn batch(
        &self,
        sequence: u64,
        kind: u8,
        record: Result<LogRecord, String>,
    ) -> Result<Replayed, StoreError> {
        let decoded = record.and_then(|record| {
            let rows = decode_record(&self.decode, &record).map_err(|failure| failure.0)?;
            Ok(HotBatch::new(sequence, record.received, rows))
        });
        match decoded {
            Ok(batch) if self.passed.needs(&batch) => Ok(Replayed::Needed(batch)),
            Ok(batch) => Ok(Replayed::Known(batch)),
            Err(reason) if self.repair => {
                tracing::error!(sequence, kind, reason, "leaving out a record of the log");
                Ok(Replayed::LeftOut)
            }
            Err(reason) => Err(StoreError::Undecodable { sequence, kind, reason }),
        }
    }
}

fn decode_record(decode: &Decode, record: &LogRecord) -> Result<Vec<TableBatch>, DecodeFailure> {
    if record.kind == local_rows::KIND {
        local_rows::decode(&record.payload)
    } else {
        decode(record)
    }
}

/// The log as a reader sees it.
pub(crate) struct Replay {
    decoding: Decoding,
    pub(crate) state: State,
    pub(crate) enricher: Enricher,
}

impl Replay {
    pub(crate) fn new(decode: Decode, passed: Passed, repair: bool) -> Self {
        let state = State::new(passed.clone());
        Self { decoding: Decoding { decode, passed, repair }, state, enricher: Enricher::default() }
    }

    /// Keeps the rows that some table lacks.
    pub(crate) fn add(
        &mut self,
        sequence: u64,
        kind: u8,
        record: Result<LogRecord, String>,
    ) -> Result<(), StoreError> {
        match self.decoding.batch(sequence, kind, record)? {
            Replayed::Needed(batch) => self.state.hot.push(batch),
            Replayed::Known(batch) => self.enricher.learn_batch(&batch),
            Replayed::LeftOut => {}
        }
        Ok(())
    }
}

/// The log on its way back into a store.
pub(super) struct StoreReplay {
    core: Arc<Core>,
    decoding: Decoding,
    runtime: Handle,
    /// A commit failed: what is left stays in memory, as when the store runs.
    has_failed: bool,
}

impl StoreReplay {
    /// Into a store whose tables have passed this much; `runtime` is where it runs.
    pub(super) fn new(core: Arc<Core>, decode: Decode, passed: Passed, runtime: Handle) -> Self {
        let repair = core.options.wal_repair;
        let decoding = Decoding { decode, passed, repair };
        Self { core, decoding, runtime, has_failed: false }
    }

    /// Reads the log. Blocks.
    pub(super) fn recover(mut self, wal_folder: &Path) -> Result<Recovered, StoreError> {
        let repair = self.decoding.repair;
        wal::recover(wal_folder, repair, |frame| {
            let record = frame.record().map_err(|error| error.to_string());
            match self.decoding.batch(frame.sequence, frame.kind, record)? {
                Replayed::Needed(batch) => self.show(batch),
                Replayed::Known(batch) => self.core.shared.enricher().learn_batch(&batch),
                Replayed::LeftOut => {}
            }
            Ok(())
        })
    }

    fn show(&mut self, batch: HotBatch) {
        let options = &self.core.options;
        let due = {
            let mut state = self.core.shared.lock();
            state.hot.push(batch);
            let is_too_much = state.hot.bytes() > options.hot_bytes_early();
            let due = is_too_much.then(|| state.hot.leaving(options.hot_bytes_max / 3));
            due.flatten().filter(|_| !self.has_failed)
        };
        let Some(sequence) = due else { return };
        if let Err(error) = self.runtime.block_on(self.core.commit_replayed(sequence)) {
            self.has_failed = true;
            let error: &dyn std::error::Error = &error;
            tracing::error!(
                error,
                "a commit of replayed rows failed; the log is read into memory, and it is tried again"
            );
        }
    }
}
