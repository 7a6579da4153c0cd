//! Cumulative series: what came since the previous point of each.
//!
//! A point counts from its start, so points of one start are one stream; a restarted process is
//! another. The previous point is the newest one that was taken before. What gives nothing:
//!
//! - a point that is not newer than the one before: late or repeated;
//! - a point whose count went down, or with other buckets than before;
//! - a point after a gap of more than [`INTERVAL_MAX`]: its sizes belong to no minute;
//! - the first point of a stream, unless the stream started after everything began to be watched,
//!   and no longer than [`INTERVAL_MAX`] before the point: then all of it is new.
//!
//! Nothing is kept on disk. After a start the log's records are shown again, so the memory is that of
//! the log; the first point after what the log had is a first point.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

use crate::histogram::Received;
use crate::time::{NANOS_PER_MINUTE, NANOS_PER_SECOND, UnixNanos};

/// Streams that are remembered, the ones with the oldest news go first. Enough for 1,000 instances
/// with 50 pairs of route and status; with the 16 buckets of SDKs 20 MB, with the most buckets 200 MB.
pub(super) const SERIES_MAX: usize = 50_000;
/// SDKs export every minute unless told otherwise; after a longer gap nobody knows when it was.
const INTERVAL_MAX: i64 = 10 * NANOS_PER_MINUTE;
/// How far a sender's clock may be ahead of the receiver's: ten times what NTP leaves.
const CLOCK_SKEW_MAX: i64 = NANOS_PER_SECOND;

/// A series and the instant of its point.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeriesPoint {
    pub(super) series_id: i64,
    /// Start of the interval; `None` where the sender does not know it.
    pub(super) start: Option<UnixNanos>,
    pub(super) time: UnixNanos,
}

/// Series and start.
type Stream = (i64, Option<UnixNanos>);

/// The newest point of a stream.
#[derive(Debug)]
struct Newest {
    time: UnixNanos,
    point: Received,
    /// When it was taken: a key of `order`.
    taken: u64,
}

/// The streams of cumulative points.
#[derive(Debug)]
pub(super) struct Series {
    newest: HashMap<Stream, Newest, RandomState>,
    /// Streams by when their newest point was taken.
    order: BTreeMap<u64, Stream>,
    taken: u64,
    /// Points of all streams that started later were shown.
    watched_from: Option<UnixNanos>,
    capacity: usize,
}

impl Default for Series {
    fn default() -> Self {
        Self::with_capacity(SERIES_MAX)
    }
}

impl Series {
    /// Remembers this many streams.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            newest: HashMap::default(),
            order: BTreeMap::new(),
            taken: 0,
            watched_from: None,
            capacity: capacity.max(1),
        }
    }

    /// All records received from this instant on are shown. The first instant counts.
    pub(super) fn watch_from(&mut self, received: UnixNanos) {
        self.watched_from.get_or_insert(received);
    }

    /// What the point measured since the previous one of its stream, if that is known.
    pub(super) fn interval(&mut self, at: SeriesPoint, point: Received) -> Option<Received> {
        let stream = (at.series_id, at.start);
        let interval = match self.newest.get(&stream) {
            Some(newest) if at.time <= newest.time => return None,
            Some(newest) if is_short(newest.time, at.time) => point.since(&newest.point),
            Some(_) => None,
            None => self.is_all_new(at).then(|| point.clone()),
        };
        self.remember(stream, at.time, point);
        interval
    }

    fn is_all_new(&self, at: SeriesPoint) -> bool {
        let Some((start, watched_from)) = at.start.zip(self.watched_from) else { return false };
        let watched_from = watched_from.0.saturating_add(CLOCK_SKEW_MAX);
        start.0 > watched_from && start < at.time && is_short(start, at.time)
    }

    fn remember(&mut self, stream: Stream, time: UnixNanos, point: Received) {
        self.taken += 1;
        let newest = Newest { time, point, taken: self.taken };
        if let Some(earlier) = self.newest.insert(stream, newest) {
            self.order.remove(&earlier.taken);
        }
        self.order.insert(self.taken, stream);
        while self.newest.len() > self.capacity {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            let Some(forgotten) = self.newest.remove(&oldest) else { continue };
            // Should it come back, it must not seem new.
            self.watched_from = self.watched_from.map(|from| from.max(forgotten.time));
        }
    }
}

fn is_short(from: UnixNanos, to: UnixNanos) -> bool {
    to.0.saturating_sub(from.0) <= INTERVAL_MAX
}
