//! Makes commits durable before the log forgets their rows.
//!
//! Parquet files are synced when they are written, but the entries of the Delta log go through the
//! object store's local implementation, which leaves that to the system. An entry that a loss of
//! power takes back would be a commit whose rows are in no log any more, so the store syncs them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::StoreError;
use crate::wal::sync_folder;

/// Where Delta keeps a table's log.
const LOG_FOLDER: &str = "_delta_log";
/// Delta's pointer to the newest checkpoint: the one entry that is overwritten.
const CHECKPOINT_POINTER: &str = "_last_checkpoint";

/// The entries of a table's log that are known to be on disk.
#[derive(Debug, Default)]
pub(crate) struct SyncedLog(BTreeSet<String>);

impl SyncedLog {
    /// Syncs what is new since the last time. Blocks.
    pub(crate) fn sync(&mut self, table_folder: &Path) -> Result<(), StoreError> {
        let folder = table_folder.join(LOG_FOLDER);
        let entries = entries(&folder)?;
        let is_new = |entry: &&String| !self.0.contains(*entry);
        let mut new: Vec<_> = entries.iter().filter(is_new).collect();
        if new.is_empty() {
            return Ok(());
        }
        let pointer = CHECKPOINT_POINTER.to_owned();
        new.extend((!new.contains(&&pointer) && entries.contains(&pointer)).then_some(&pointer));
        for entry in new {
            sync_file(&folder.join(entry))?;
        }
        let is_first = self.0.is_empty();
        let above = if is_first { 3 } else { 1 };
        // At first the folders above may be new as well: the table's, the tenant's.
        for folder in folder.ancestors().take(above).map(PathBuf::from) {
            sync_folder(&folder).map_err(StoreError::folder("sync", &folder))?;
        }
        self.0 = entries;
        Ok(())
    }
}

fn entries(folder: &Path) -> Result<BTreeSet<String>, StoreError> {
    let listed = fs::read_dir(folder).map_err(StoreError::folder("list", folder))?;
    let mut names = BTreeSet::new();
    for entry in listed {
        let entry = entry.map_err(StoreError::folder("list", folder))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

fn sync_file(path: &Path) -> Result<(), StoreError> {
    match File::open(path).and_then(|file| file.sync_all()) {
        // Delta's clean-up removes old entries, and passing names of its own.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(StoreError::folder("sync", path)),
    }
}
