//! The write-ahead log: what a sender was told is stored is in here, synced, before it was told.
//!
//! Segment files `wal-<first sequence>.log` hold frames ([`frame`]) with rising sequences. One thread
//! ([`writer`]) writes: many waiters share one write and one sync. At start [`mod@recover`] reads all of
//! it; [`segment`] reads without changing anything.
//!
//! Architecture invariant: only the last segment can end in an unfinished write. Anything else that
//! does not read back had been acknowledged, and the store does not start over it in silence.

mod frame;
mod group;
mod recover;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, oneshot};

use self::frame::{PAYLOAD_BYTES_MAX, StoredPayload};
pub(crate) use self::recover::{Recovered, read_only, recover, sync_folder};
pub(crate) use self::writer::Disk;
use self::writer::{Append, Request, Writer};
use crate::batch::TableBatch;
use crate::blocking;
use crate::error::StoreError;
use crate::record::LogRecord;
use crate::time::UnixNanos;

/// Size at which a segment is full: large enough that creating files costs nothing, small enough
/// that committed records do not hold much disk.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Once all of its rows are committed, a segment of at least this size is removed although it has
/// room left, so that a restart decodes little that is committed already.
const CLOSE_FROM_BYTES: u64 = 8 << 20;
/// Payloads that may wait for the disk at once; over it, senders wait. It is what a slow disk
/// (50 MB/s) takes in about a second.
const QUEUE_BYTES_MAX: u32 = 64 << 20;
/// What a waiting record takes besides its payload.
const RECORD_OVERHEAD_BYTES: usize = 1 << 10;
/// Up to this size a payload is compressed where it is (about 0.1 ms), above on another thread.
const COMPRESS_INLINE_BYTES_MAX: usize = 64 << 10;

/// When a record counts as stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// After a sync: survives a loss of power.
    #[default]
    Fsync,
    /// After the write, synced at least this often: survives a crash of the process, and a loss of
    /// power but for the last interval.
    Interval(Duration),
    /// After the write; the system syncs when it likes.
    None,
}

/// How payloads lie in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// As they came: about 650 bytes a span for the seconds until it is committed.
    #[default]
    None,
    /// zstd, at its fastest: fewer bytes for more processor time. For disks that are slow or wear.
    Zstd,
}

/// How the log is kept.
#[derive(Clone)]
pub(crate) struct WalOptions {
    pub(crate) folder: PathBuf,
    pub(crate) durability: Durability,
    pub(crate) compression: Compression,
    pub(crate) segment_bytes_max: u64,
    pub(crate) disk: Disk,
}

/// Rows whose record is in the log.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) sequence: u64,
    pub(crate) received: UnixNanos,
    pub(crate) rows: Vec<TableBatch>,
}

/// The log of a running store.
pub(crate) struct Wal {
    requests: Mutex<Option<Sender<Request>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    room: Arc<Semaphore>,
    bytes: Arc<AtomicU64>,
    compression: Compression,
}

impl Wal {
    /// Starts the writer behind what was recovered. `deliver` gets the rows of stored records in the
    /// order of their sequences, on the writer's thread.
    pub(crate) fn start(
        options: WalOptions,
        recovered: Recovered,
        deliver: impl FnMut(Vec<Delivery>) + Send + 'static,
    ) -> Result<Self, StoreError> {
        let folder = options.folder.clone();
        let compression = options.compression;
        let Recovered { closed, next_sequence, .. } = recovered;
        let writer = Writer::new(options, next_sequence, closed, Box::new(deliver));
        let bytes = writer.bytes();
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("upriver-wal".to_owned())
            .spawn(move || writer.run(&receiver))
            .map_err(StoreError::folder("start the writer of", &folder))?;
        Ok(Self {
            requests: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
            room: Arc::new(Semaphore::new(QUEUE_BYTES_MAX as usize)),
            bytes,
            compression,
        })
    }

    /// Stores a record and makes its rows visible. Gives its sequence.
    pub(crate) async fn append(
        &self,
        record: LogRecord,
        rows: Vec<TableBatch>,
    ) -> Result<u64, StoreError> {
        let LogRecord { kind, received, payload } = record;
        if payload.len() > PAYLOAD_BYTES_MAX {
            let (bytes, limit) = (payload.len(), PAYLOAD_BYTES_MAX);
            return Err(StoreError::RecordTooLarge { bytes, limit });
        }
        let cost = u32::try_from(payload.len() + RECORD_OVERHEAD_BYTES).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(cost.min(QUEUE_BYTES_MAX)).await;
        let room = room.map_err(|_closed| StoreError::Closed)?;
        let payload = match self.compression {
            Compression::None => StoredPayload::plain(payload),
            Compression::Zstd => compress(payload).await?,
        };
        let (answer, answered) = oneshot::channel();
        self.send(Request::Append(Append { kind, received, payload, rows, answer, room }))?;
        answered.await.map_err(|_gone| StoreError::Closed)?
    }

    /// Removes the segments up to this sequence, which every table has passed.
    pub(crate) async fn passed(&self, sequence: u64) -> Result<(), StoreError> {
        self.remove(sequence, CLOSE_FROM_BYTES).await
    }

    /// Removes the segments up to this sequence, the one in use included, whatever its size.
    pub(crate) async fn clear(&self, sequence: u64) -> Result<(), StoreError> {
        self.remove(sequence, 0).await
    }

    async fn remove(&self, sequence: u64, close_from_bytes: u64) -> Result<(), StoreError> {
        let (done, answered) = oneshot::channel();
        self.send(Request::Passed { sequence, close_from_bytes, done })?;
        answered.await.map_err(|_gone| StoreError::Closed)
    }

    /// Bytes of the log on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Serves what was sent before, then stops. Later appends are refused.
    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        let (done, answered) = oneshot::channel();
        let sender = self.requests.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(sender) = sender else { return Ok(()) };
        let sent = sender.send(Request::Close(done)).is_ok();
        if sent {
            // An error means that the thread has stopped already.
            drop(answered.await);
        }
        self.room.close();
        self.join();
        Ok(())
    }

    fn send(&self, request: Request) -> Result<(), StoreError> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = requests.as_ref().ok_or(StoreError::Closed)?;
        sender.send(request).map_err(|_gone| StoreError::Closed)
    }

    fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the writer of the log stopped unexpectedly; this is a defect");
        }
    }
}

impl Drop for Wal {
    /// Waits for the writer, so that whoever opens the folder next finds it at rest.
    fn drop(&mut self) {
        drop(self.requests.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.join();
    }
}

impl fmt::Debug for Wal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wal").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

/// Whether the folder holds a log.
pub(crate) fn has_segments(folder: &Path) -> Result<bool, StoreError> {
    Ok(!segment::list(folder)?.is_empty())
}

async fn compress(payload: Bytes) -> Result<StoredPayload, StoreError> {
    if payload.len() <= COMPRESS_INLINE_BYTES_MAX {
        return Ok(StoredPayload::compressed(payload));
    }
    blocking::run("compressing a record", move || StoredPayload::compressed(payload)).await
}
