//! What can go wrong in the store, and which of it a sender should try again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::delta::TableError;
use crate::schema::Table;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process writes to the folder.
    #[error(
        "{folder} is in use by another `upriver serve` or `upriver import`, and a folder has one writer; stop it, or send to it instead"
    )]
    Locked {
        /// The folder with the lock.
        folder: PathBuf,
    },
    /// A folder or file could not be read or written.
    #[error("cannot {action} {path}; check that the folder exists and is writable")]
    Folder {
        /// What was tried, such as `create`.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A location that cannot be opened.
    #[error("cannot open {location}: {reason}")]
    Location {
        /// The folder or bucket.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Tables in a bucket, and no local log.
    #[error(
        "{location} is in a bucket, and what senders are told is stored has to be on a local disk first; give a folder for the log: `storage.wal` or `--wal DIR`"
    )]
    NoLog {
        /// The bucket.
        location: String,
    },
    /// A name that cannot be a folder.
    #[error("the tenant name {name:?} is not usable; {why}")]
    Tenant {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The log was written for other tables.
    #[error(
        "the log in {folder} belongs to tenant {found:?}, not {asked:?}; give each tenant its own log folder"
    )]
    ForeignLog {
        /// The log's folder.
        folder: PathBuf,
        /// The tenant that the log belongs to.
        found: String,
        /// The tenant that was asked for.
        asked: String,
    },
    /// The node id is missing or unreadable although there is a log.
    #[error(
        "{path} is {what}, but without the node id nobody can tell which logged rows are in the tables already; restore the file, or move the log away to start without it"
    )]
    Node {
        /// The file that holds the node id.
        path: PathBuf,
        /// `missing` or what is wrong with it.
        what: String,
    },
    /// A frame that had been acknowledged can no longer be read.
    #[error(
        "the log is damaged: {path} at byte {offset}: {reason}; restore the file, or start with log repair to go on without what cannot be read"
    )]
    LogDamaged {
        /// The segment.
        path: PathBuf,
        /// Where the first unreadable byte is.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// A logged request that no longer decodes.
    #[error(
        "logged record {sequence} of kind {kind} cannot be decoded: {reason}; start the version that wrote it, or start with log repair to leave it out"
    )]
    Undecodable {
        /// Its sequence.
        sequence: u64,
        /// Its kind.
        kind: u8,
        /// What the decoder said.
        reason: String,
    },
    /// A request that is too large for the log.
    #[error("a record of {bytes} bytes is over the log's limit of {limit}; send smaller requests")]
    RecordTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Writing to the log failed; nothing was stored.
    #[error("cannot write to the log in {folder}; free disk space, then send again")]
    LogWrite {
        /// The log's folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// A sync of the log failed: what the disk holds is unknown, so nothing more is acknowledged.
    #[error(
        "the log in {folder} could not be synced and takes nothing more until a restart; check the disk"
    )]
    LogPoisoned {
        /// The log's folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// More rows wait for their commit than the limit allows.
    #[error(
        "{bytes} bytes of rows wait for their commit, more than the limit of {limit}; send again later"
    )]
    HotBufferFull {
        /// What waits.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The store is shutting down.
    #[error("the store is shutting down; send again once it is back")]
    Closed,
    /// A table could not be read or committed to.
    #[error("cannot {action} the table {}", .table.name())]
    Table {
        /// What was tried.
        action: &'static str,
        /// The table.
        table: Table,
        /// What went wrong.
        #[source]
        source: TableError,
    },
    /// Who keeps a table could not be found out.
    #[error("cannot take the lease of the table {}", .table.name())]
    Lease {
        /// The table.
        table: Table,
        /// What the bucket said.
        #[source]
        source: object_store::Error,
    },
    /// The minutes that a repair touches could not be noted, or not be read.
    #[error("cannot read or write the note of a repair, `spans/_upriver/repair.json`")]
    Note {
        /// What the folder or bucket said.
        #[source]
        source: object_store::Error,
    },
    /// Rows do not fit together.
    #[error("cannot prepare rows of the table {}", .table.name())]
    Rows {
        /// The table.
        table: Table,
        /// What went wrong.
        #[source]
        source: arrow::error::ArrowError,
    },
    /// A part of the store stopped because of a defect.
    #[error("{0} stopped unexpectedly; this is a defect, please report it with the log output")]
    Stopped(&'static str),
}

impl StoreError {
    /// Whether the sender loses nothing by sending the same again later.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::LogWrite { .. }
                | Self::LogPoisoned { .. }
                | Self::HotBufferFull { .. }
                | Self::Closed
                | Self::Stopped(_)
        )
    }

    /// Whether somebody else writes to the folder.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Locked { .. })
    }

    /// Turns an I/O error into one that says what was tried and where.
    pub(crate) fn folder(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Folder { action, path, source }
    }
}
