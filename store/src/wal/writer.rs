//! The one thread that writes the log: it gathers what waits, writes it at once, syncs once, hands
//! the rows on and answers all waiters.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::frame::{Frame, HEADER_BYTES, StoredPayload};
use super::group::{Group, write_all};
use super::recover::{ClosedSegment, sync_folder};
use super::segment::Segment;
use super::{Delivery, Durability, WalOptions};
use crate::batch::TableBatch;
use crate::error::StoreError;
use crate::faults::Faults;
use crate::time::UnixNanos;

/// One write carries at most this much more than its first record, so that the first waiter of a
/// group is not kept for long: about 30 ms on a disk that takes 250 MB/s.
const GROUP_BYTES_MAX: usize = 8 << 20;

/// What the thread is asked to do.
pub(super) enum Request {
    Append(Append),
    /// Every table has passed this sequence: segments up to it may go. The segment in use goes too
    /// if it has at least `close_from_bytes`.
    Passed {
        sequence: u64,
        close_from_bytes: u64,
        done: oneshot::Sender<()>,
    },
    /// Sync and stop.
    Close(oneshot::Sender<()>),
}

/// A record that waits for the disk.
pub(super) struct Append {
    pub(super) kind: u8,
    pub(super) received: UnixNanos,
    pub(super) payload: StoredPayload,
    pub(super) rows: Vec<TableBatch>,
    pub(super) answer: oneshot::Sender<Result<u64, StoreError>>,
    /// Room in the queue, given back when this is dropped.
    pub(super) room: OwnedSemaphorePermit,
}

/// The segment in use.
struct Current {
    file: File,
    segment: Segment,
    bytes: u64,
    last_sequence: u64,
}

/// The state of the thread.
pub(super) struct Writer {
    options: WalOptions,
    deliver: Box<dyn FnMut(Vec<Delivery>) + Send>,
    current: Option<Current>,
    closed: Vec<ClosedSegment>,
    next_sequence: u64,
    /// Frames written since the last sync.
    unsynced: u32,
    /// When they have to be synced, if by time.
    sync_due: Option<Instant>,
    /// The sync that failed.
    poison: Option<Arc<io::Error>>,
    bytes: Arc<AtomicU64>,
    /// Kept from group to group for its room.
    group: Group,
}

/// How a group failed: nothing of it is in the log, or nobody knows.
enum Failure {
    Written(Arc<io::Error>),
    Poisoned(Arc<io::Error>),
}

impl Writer {
    pub(super) fn new(
        options: WalOptions,
        next_sequence: u64,
        closed: Vec<ClosedSegment>,
        deliver: Box<dyn FnMut(Vec<Delivery>) + Send>,
    ) -> Self {
        let bytes = closed.iter().map(|segment| segment.bytes).sum();
        Self {
            options,
            deliver,
            current: None,
            closed,
            next_sequence,
            unsynced: 0,
            sync_due: None,
            poison: None,
            bytes: Arc::new(AtomicU64::new(bytes)),
            group: Group::default(),
        }
    }

    /// Bytes of the log, kept up to date by the thread.
    pub(super) fn bytes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.bytes)
    }

    /// Serves requests until it is told to close or nobody can send any more.
    pub(super) fn run(mut self, requests: &Receiver<Request>) {
        let mut next = None;
        loop {
            let request = match next.take() {
                Some(request) => request,
                None => match self.wait(requests) {
                    Ok(request) => request,
                    Err(RecvTimeoutError::Timeout) => {
                        self.sync_late();
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                },
            };
            match request {
                Request::Append(first) => {
                    let (group, rest) = gather(first, requests);
                    next = rest;
                    self.append(group);
                }
                Request::Passed { sequence, close_from_bytes, done } => {
                    self.remove_passed(sequence, close_from_bytes);
                    // Whoever asked may have gone.
                    done.send(()).unwrap_or_default();
                }
                Request::Close(done) => {
                    self.sync_late();
                    // Whoever asked may have gone.
                    done.send(()).unwrap_or_default();
                    return;
                }
            }
        }
        self.sync_late();
    }

    fn wait(&self, requests: &Receiver<Request>) -> Result<Request, RecvTimeoutError> {
        match self.sync_due {
            Some(due) => requests.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => requests.recv().map_err(RecvTimeoutError::from),
        }
    }

    fn append(&mut self, group: Vec<Append>) {
        match self.write_group(&group) {
            Ok(()) => self.hand_on(group),
            Err(failure) => {
                let folder = &self.options.folder;
                tracing::error!(
                    folder = %folder.display(),
                    error = %failure.cause(),
                    records = group.len(),
                    "the log could not be written"
                );
                for append in group {
                    drop(append.answer.send(Err(failure.error(folder.clone()))));
                }
            }
        }
    }

    /// Rows become visible in the order of their sequences, before anybody is answered.
    fn hand_on(&mut self, group: Vec<Append>) {
        let mut deliveries = Vec::with_capacity(group.len());
        let mut answers = Vec::with_capacity(group.len());
        for append in group {
            let Append { received, rows, answer, room, .. } = append;
            let sequence = self.next_sequence;
            self.next_sequence += 1;
            deliveries.push(Delivery { sequence, received, rows });
            answers.push((answer, sequence, room));
        }
        (self.deliver)(deliveries);
        for (answer, sequence, _room) in answers {
            // The sender may have gone; its rows are in all the same.
            drop(answer.send(Ok(sequence)));
        }
    }

    fn write_group(&mut self, group: &[Append]) -> Result<(), Failure> {
        if let Some(cause) = &self.poison {
            return Err(Failure::Poisoned(Arc::clone(cause)));
        }
        let mut frames = std::mem::take(&mut self.group);
        for (append, position) in group.iter().zip(0_u32..) {
            frames.push(&Frame {
                sequence: self.next_sequence + u64::from(position),
                unsynced_before: self.unsynced.saturating_add(position),
                kind: append.kind,
                received: append.received,
                payload: append.payload.clone(),
            });
        }
        let last_sequence = self.next_sequence + group.len() as u64 - 1;
        let result = self.write(&frames, last_sequence);
        frames.clear(GROUP_BYTES_MAX);
        self.group = frames;
        result?;
        self.unsynced =
            self.unsynced.saturating_add(u32::try_from(group.len()).unwrap_or(u32::MAX));
        self.sync_if_due()
    }

    fn write(&mut self, frames: &Group, last_sequence: u64) -> Result<(), Failure> {
        let bytes = frames.bytes() as u64;
        self.open_segment(bytes)?;
        let Some(current) = &mut self.current else { return Ok(()) };
        if let Err(error) = (self.options.disk.write)(&current.file, &mut frames.parts()) {
            let error = Arc::new(error);
            // Without the half-written frames the log is as before, and the next write may succeed.
            if current.file.set_len(current.bytes).is_err() {
                self.poison = Some(Arc::clone(&error));
            }
            return Err(Failure::Written(error));
        }
        current.bytes += bytes;
        current.last_sequence = last_sequence;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Begins a new segment if there is none or the one in use is full.
    fn open_segment(&mut self, more: u64) -> Result<(), Failure> {
        let full = self.options.segment_bytes_max;
        if self.current.as_ref().is_some_and(|c| c.bytes > 0 && c.bytes + more > full) {
            // Only the last segment may end in an unfinished write, so this one is synced first.
            self.sync()?;
            self.close_current();
        }
        if self.current.is_none() {
            let segment = Segment::new(&self.options.folder, self.next_sequence);
            let file = OpenOptions::new().append(true).create_new(true).open(&segment.path);
            let file = file.map_err(|error| Failure::Written(Arc::new(error)))?;
            self.current =
                Some(Current { file, segment, bytes: 0, last_sequence: self.next_sequence });
            if let Err(error) = sync_folder(&self.options.folder) {
                return Err(self.poisoned(error));
            }
        }
        Ok(())
    }

    fn close_current(&mut self) {
        if let Some(Current { segment, bytes, last_sequence, .. }) = self.current.take() {
            self.closed.push(ClosedSegment { segment, last_sequence, bytes });
        }
    }

    fn sync_if_due(&mut self) -> Result<(), Failure> {
        match self.options.durability {
            Durability::Fsync => self.sync(),
            Durability::Interval(interval) => {
                let now = Instant::now();
                let due = *self.sync_due.get_or_insert(now + interval);
                if now >= due { self.sync() } else { Ok(()) }
            }
            Durability::None => Ok(()),
        }
    }

    fn sync(&mut self) -> Result<(), Failure> {
        self.sync_due = None;
        if self.unsynced == 0 {
            return Ok(());
        }
        if let Some(current) = &self.current
            && let Err(error) = (self.options.disk.sync)(&current.file)
        {
            return Err(self.poisoned(error));
        }
        self.unsynced = 0;
        Ok(())
    }

    /// A sync by time, whose waiters have been answered already.
    fn sync_late(&mut self) {
        if self.poison.is_none()
            && let Err(failure) = self.sync()
        {
            let cause = failure.cause();
            tracing::error!(%cause, "the log could not be synced and takes nothing more");
        }
    }

    /// After a failed sync the system may have dropped the pages and would report success next time
    /// (the lesson of PostgreSQL's "fsyncgate"), so nothing is tried again.
    fn poisoned(&mut self, error: io::Error) -> Failure {
        let error = Arc::new(error);
        self.poison = Some(Arc::clone(&error));
        Failure::Poisoned(error)
    }

    fn remove_passed(&mut self, sequence: u64, close_from_bytes: u64) {
        let closes = |current: &Current| {
            current.last_sequence <= sequence
                && current.bytes > 0
                && current.bytes >= close_from_bytes
        };
        if self.poison.is_none() && self.current.as_ref().is_some_and(closes) {
            self.unsynced = 0;
            self.sync_due = None;
            self.close_current();
        }
        // Oldest first, so that what is left has no hole.
        while let Some(oldest) = self.closed.first()
            && oldest.last_sequence <= sequence
        {
            if let Err(error) = fs::remove_file(&oldest.segment.path)
                && error.kind() != io::ErrorKind::NotFound
            {
                let path = oldest.segment.path.display();
                tracing::warn!(%path, %error, "a segment of the log could not be removed yet");
                return;
            }
            self.bytes.fetch_sub(oldest.bytes, Ordering::Relaxed);
            self.closed.remove(0);
        }
    }
}

impl Failure {
    fn cause(&self) -> &io::Error {
        match self {
            Self::Written(error) | Self::Poisoned(error) => error,
        }
    }

    fn error(&self, folder: std::path::PathBuf) -> StoreError {
        match self {
            Self::Written(error) => StoreError::LogWrite { folder, source: Arc::clone(error) },
            Self::Poisoned(error) => StoreError::LogPoisoned { folder, source: Arc::clone(error) },
        }
    }
}

/// Takes what already waits, up to the size of a group.
fn gather(first: Append, requests: &Receiver<Request>) -> (Vec<Append>, Option<Request>) {
    let mut bytes = 0;
    let mut group = vec![first];
    while bytes < GROUP_BYTES_MAX {
        match requests.try_recv() {
            Ok(Request::Append(append)) => {
                bytes += HEADER_BYTES + append.payload.bytes.len();
                group.push(append);
            }
            Ok(other) => return (group, Some(other)),
            Err(_) => break,
        }
    }
    (group, None)
}

/// How bytes reach the disk; tests put failures here.
#[derive(Clone)]
pub(crate) struct Disk {
    pub(crate) write: WriteCall,
    pub(crate) sync: SyncCall,
}

type WriteCall = Arc<dyn Fn(&File, &mut [IoSlice<'_>]) -> io::Result<()> + Send + Sync>;
type SyncCall = Arc<dyn Fn(&File) -> io::Result<()> + Send + Sync>;

impl Disk {
    /// The disk, with its faults.
    pub(crate) fn with(faults: &Faults) -> Self {
        let disk = Self::default();
        let delay = faults.sync_delay;
        if delay.is_zero() {
            return disk;
        }
        let sync = Arc::clone(&disk.sync);
        #[expect(clippy::disallowed_methods, reason = "the log's thread has no runtime")]
        let slow = move |file: &File| {
            std::thread::sleep(delay);
            sync(file)
        };
        Self { sync: Arc::new(slow), ..disk }
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            write: Arc::new(|mut file, parts| write_all(&mut file, parts)),
            sync: Arc::new(File::sync_data),
        }
    }
}
