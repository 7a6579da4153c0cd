//! `edge_minutes` from metrics of body sizes: the instrumentation measured every call, sampled or not.
//!
//! | metric | is |
//! |---|---|
//! | `http.{client,server}.{request,response}.body.size` | bodies as transferred |
//! | `http.{client,server}.{request,response}.size` | the same under the older name |
//! | `rpc.{client,server}.{request,response}.size` | messages before compression |
//!
//! A delta point adds as it is. A cumulative point adds what came since the series' previous point
//! ([`series`]), so points are taken in the order in which they were logged, each once. A point adds
//! to the minute of its time, which is the end of its interval. Rows carry source `metrics`.

mod columns;
mod series;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::hash::BuildHasher;

use arrow::array::RecordBatch;
use foldhash::fast::RandomState;

use self::columns::SizeColumns;
use self::series::Series;
use super::Sums;
use super::edges::{EdgeKey, EdgeSums, rows_of};
use crate::histogram::Histogram;
use crate::time::UnixNanos;
use crate::trace_index::texts;

/// Senders of current names that are remembered: as many services, instances and scopes as there
/// can be series of one request and one response.
const SENDERS_MAX: usize = series::SERIES_MAX;
/// Units of bytes: that of the conventions and what older SDKs sent.
const BYTES: [&str; 4] = ["By", "bytes", "B", ""];

/// What is remembered between the points of size metrics.
#[derive(Debug, Default)]
pub struct SizeMetrics {
    series: Series,
    /// Who sends the current name of a metric: the older one would count the same calls again.
    current: Senders,
}

/// Whether any of these rows of `metric_histograms` is a size that belongs to an edge.
pub fn has_sizes(rows: &RecordBatch) -> bool {
    texts(rows, "metric_name").is_some_and(|names| names.iter().flatten().any(is_size))
}

fn is_size(name: &str) -> bool {
    SizeMetric::of(name).is_some()
}

impl SizeMetrics {
    /// All records received from this instant on are shown. The first instant counts.
    pub fn watch_from(&mut self, received: UnixNanos) {
        self.series.watch_from(received);
    }

    /// The rows of `edge_minutes` that these rows of `metric_histograms` add.
    pub fn edge_minutes(&mut self, histograms: &[&RecordBatch]) -> RecordBatch {
        let batches: Vec<_> = histograms.iter().filter_map(|rows| SizeColumns::new(rows)).collect();
        for columns in &batches {
            self.note_current_names(columns);
        }
        let measured: Vec<_> = batches.iter().map(|columns| self.measured(columns)).collect();
        let mut sums = Sums::<EdgeKey<'_>, EdgeSums>::default();
        for (columns, measured) in batches.iter().zip(&measured) {
            for size in measured {
                let key = columns.key(size.row, &size.call);
                sums.entry(key).or_default().bytes[size.metric.column()].merge(&size.sizes);
            }
        }
        rows_of(sums.iter())
    }

    fn note_current_names(&mut self, columns: &SizeColumns<'_>) {
        for row in 0..columns.rows() {
            let metric = SizeMetric::of(columns.name(row));
            let Some(metric) = metric.filter(|metric| !metric.is_older) else { continue };
            self.current.insert(&Sender::of(columns, row, metric));
        }
    }

    fn measured(&mut self, columns: &SizeColumns<'_>) -> Vec<Measured> {
        let mut measured = Vec::new();
        for row in 0..columns.rows() {
            let Some(metric) = SizeMetric::of(columns.name(row)) else { continue };
            let is_repeated =
                metric.is_older && self.current.contains(&Sender::of(columns, row, metric));
            if is_repeated || !BYTES.contains(&columns.unit(row)) {
                continue;
            }
            let Some(call) = columns.call(row, metric.side) else { continue };
            let Some(point) = columns.point(row) else { continue };
            let interval = match columns.temporality(row) {
                Some("delta") => Some(point),
                Some("cumulative") => self.series.interval(columns.series(row), point),
                _ => None,
            };
            if let Some(sizes) = interval.map(|interval| interval.to_histogram())
                && sizes.count > 0
            {
                measured.push(Measured { row, metric, call, sizes });
            }
        }
        measured
    }
}

/// What a row of `metric_histograms` adds.
#[derive(Debug)]
struct Measured {
    row: usize,
    metric: SizeMetric,
    call: Call,
    sizes: Histogram,
}

/// The operation of a call, and the peer where the client measured.
#[derive(Debug)]
struct Call {
    operation: String,
    peer: Option<String>,
}

/// A metric of sizes by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SizeMetric {
    side: Side,
    direction: Direction,
    /// Measured before compression.
    is_uncompressed: bool,
    is_older: bool,
}

/// The side of a call that measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Side {
    Client,
    Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Direction {
    Request,
    Response,
}

impl SizeMetric {
    fn of(name: &str) -> Option<Self> {
        let (is_rpc, rest) = match name.split_once('.')? {
            ("http", rest) => (false, rest),
            ("rpc", rest) => (true, rest),
            _ => return None,
        };
        let (side, rest) = match rest.split_once('.')? {
            ("client", rest) => (Side::Client, rest),
            ("server", rest) => (Side::Server, rest),
            _ => return None,
        };
        let (direction, rest) = match rest.split_once('.')? {
            ("request", rest) => (Direction::Request, rest),
            ("response", rest) => (Direction::Response, rest),
            _ => return None,
        };
        let is_older = match rest {
            "body.size" if !is_rpc => false,
            "size" => !is_rpc,
            _ => return None,
        };
        Some(Self { side, direction, is_uncompressed: is_rpc, is_older })
    }

    /// The position in [`EdgeSums::bytes`].
    fn column(self) -> usize {
        let response = usize::from(self.direction == Direction::Response);
        if self.is_uncompressed { 2 + response } else { response }
    }
}

/// Who measures a direction of its calls.
#[derive(Clone, Copy, Debug, Hash)]
struct Sender<'a> {
    service: &'a str,
    instance: Option<&'a str>,
    scope: Option<&'a str>,
    side: Side,
    direction: Direction,
}

impl<'a> Sender<'a> {
    fn of(columns: &'a SizeColumns<'_>, row: usize, metric: SizeMetric) -> Self {
        let (service, instance, scope) = columns.sender(row);
        Self { service, instance, scope, side: metric.side, direction: metric.direction }
    }
}

/// A set of senders by their hashes: names may be long.
#[derive(Debug, Default)]
struct Senders {
    hashes: HashSet<u64>,
    hasher: RandomState,
}

impl Senders {
    /// Over the limit all are forgotten; each comes back with its next point.
    fn insert(&mut self, sender: &Sender<'_>) {
        if self.hashes.len() >= SENDERS_MAX {
            self.hashes.clear();
        }
        self.hashes.insert(self.hasher.hash_one(sender));
    }

    fn contains(&self, sender: &Sender<'_>) -> bool {
        self.hashes.contains(&self.hasher.hash_one(sender))
    }
}
