//! A data folder as it is now, for whoever only reads: the committed files and the log's tail,
//! without a lock and without writing anything, while a server may be writing.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::blocking;
use crate::error::StoreError;
use crate::folder::DataFolder;
use crate::record::{Decode, LogRecord};
use crate::snapshot::{Snapshot, SnapshotSource};
use crate::store::StoreOptions;
use crate::store::open::{open_existing, passed};
use crate::store::prepare::Passed;
use crate::store::replay::Replay;
use crate::store::state::SharedState;
use crate::wal;

/// A reader of a data folder that somebody else may be writing.
pub struct Reader {
    folder: DataFolder,
    decode: Decode,
    /// Whether to read past what is damaged in the log.
    wal_repair: bool,
    newest: Mutex<Snapshot>,
}

/// A record of the log's tail.
struct Logged {
    sequence: u64,
    kind: u8,
    record: Result<LogRecord, String>,
}

impl Reader {
    /// Reads the folder once. A folder without tables is empty.
    pub async fn open(options: StoreOptions, decode: Decode) -> Result<Self, StoreError> {
        let folder = options.folder()?;
        let wal_repair = options.wal_repair;
        let reader = Self { folder, decode, wal_repair, newest: Mutex::default() };
        reader.refresh().await?;
        Ok(reader)
    }

    /// Reads the folder again.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        // First the log, then the tables: what is committed and removed from the log in between is
        // in the tables, and what is in both is dropped by its sequence.
        let (folder, repair) = (self.folder.clone(), self.wal_repair);
        let read = move || Ok::<_, StoreError>((folder.node()?, read_log(&folder, repair)?));
        let (node, logged) = blocking::run("reading the log", read).await??;
        let tables = open_existing(&self.folder).await?;
        let passed = match &node {
            Some(node) => passed(&tables, node).await?,
            None => Passed::default(),
        };
        let mut replay = Replay::new(Arc::clone(&self.decode), passed, self.wal_repair);
        let folder = self.folder.clone();
        let show = move || {
            for Logged { sequence, kind, record } in logged {
                replay.add(sequence, kind, record)?;
            }
            let Replay { mut state, enricher, .. } = replay;
            for (table, handle) in tables {
                state.replaced(table, handle.files());
            }
            Ok::<_, StoreError>(SharedState::new(folder, state, enricher).snapshot())
        };
        let snapshot = blocking::run("reading the folder", show).await??;
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
        Ok(())
    }
}

impl SnapshotSource for Reader {
    /// What the folder held when it was last read.
    fn snapshot(&self) -> Snapshot {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("folder", &self.folder).finish_non_exhaustive()
    }
}

fn read_log(folder: &DataFolder, repair: bool) -> Result<Vec<Logged>, StoreError> {
    let mut logged = Vec::new();
    let Some(wal_folder) = folder.wal_if_any() else { return Ok(logged) };
    wal::read_only(wal_folder, repair, |frame| {
        let record = frame.record().map_err(|error| error.to_string());
        logged.push(Logged { sequence: frame.sequence, kind: frame.kind, record });
        Ok(())
    })?;
    Ok(logged)
}
