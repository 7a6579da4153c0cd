//! `edge_minutes` from completed spans and bodies.

use arrow::array::{Array, Int64Array, RecordBatch, StringArray};

use super::{RowBuilder, Sums, Value, in_order};
use crate::histogram::Histogram;
use crate::schema::Table;
use crate::time::UnixNanos;
use crate::trace_index::{ValueOrNone, integers, texts};

/// The text of `source` where spans and their bodies are counted.
pub(super) const SPANS: &str = "spans";
/// The text of `source` where the instrumentation's own histograms are.
pub(super) const METRICS: &str = "metrics";

/// What makes two calls count in the same row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct EdgeKey<'a> {
    pub(super) reporter: &'a str,
    pub(super) minute: UnixNanos,
    pub(super) client: &'a str,
    pub(super) server: &'a str,
    pub(super) operation: &'a str,
    pub(super) version: Option<&'a str>,
    pub(super) environment: Option<&'a str>,
    pub(super) source: &'a str,
}

/// What is added up.
#[derive(Clone, Debug, Default)]
pub(super) struct EdgeSums {
    pub(super) spans: i64,
    pub(super) errors: i64,
    pub(super) adjusted_micros: i64,
    pub(super) duration: Histogram,
    /// Request and response bodies as transferred, then the same before compression.
    pub(super) bytes: [Histogram; 4],
}

/// One row per minute, client, server, operation, reporter, version and environment, in the table's
/// order, with source `spans`.
pub fn edge_minutes(spans: &[RecordBatch], payload_sizes: &[RecordBatch]) -> RecordBatch {
    let mut sums = Sums::<EdgeKey<'_>, EdgeSums>::default();
    for rows in spans {
        let Some(columns) = CallColumns::new(rows) else { continue };
        for row in 0..rows.num_rows() {
            if let Some(key) = columns.key(row) {
                columns.add(row, sums.entry(key).or_default());
            }
        }
    }
    for rows in payload_sizes {
        let Some(columns) = BodyColumns::new(rows) else { continue };
        for row in 0..rows.num_rows() {
            if let Some(key) = columns.key(row) {
                columns.add(row, sums.entry(key).or_default());
            }
        }
    }
    rows_of(&sums)
}

pub(super) fn rows_of(sums: &Sums<EdgeKey<'_>, EdgeSums>) -> RecordBatch {
    let mut rows = RowBuilder::new(Table::EdgeMinutes);
    for (key, sum) in in_order(sums) {
        let [request_wire, response_wire, request_uncompressed, response_uncompressed] = &sum.bytes;
        rows.append([
            Value::Minute(key.minute),
            Value::Text(Some(key.client)),
            Value::Text(Some(key.server)),
            Value::Text(Some(key.operation)),
            Value::Text(Some(key.reporter)),
            Value::Text(key.version),
            Value::Text(key.environment),
            Value::Text(Some(key.source)),
            Value::Int(sum.spans),
            Value::Int(sum.errors),
            Value::Int(sum.adjusted_micros),
            Value::Histogram(&sum.duration),
            Value::Histogram(request_wire),
            Value::Histogram(response_wire),
            Value::Histogram(request_uncompressed),
            Value::Histogram(response_uncompressed),
            Value::Date(key.minute),
        ]);
    }
    rows.finish()
}

/// The columns of `spans` that make an edge.
struct CallColumns<'a> {
    start: &'a Int64Array,
    service: &'a StringArray,
    kind: &'a StringArray,
    operation: &'a StringArray,
    status: &'a StringArray,
    version: &'a StringArray,
    environment: &'a StringArray,
    parent_service: &'a StringArray,
    peer_service: &'a StringArray,
    server_address: &'a StringArray,
    duration: &'a Int64Array,
    adjusted: &'a Int64Array,
    callee_service: &'a StringArray,
    callee_operation: &'a StringArray,
}

impl<'a> CallColumns<'a> {
    fn new(rows: &'a RecordBatch) -> Option<Self> {
        Some(Self {
            start: integers(rows, "start_unix_nano")?,
            service: texts(rows, "service_name")?,
            kind: texts(rows, "span_kind")?,
            operation: texts(rows, "operation")?,
            status: texts(rows, "status_code")?,
            version: texts(rows, "service_version")?,
            environment: texts(rows, "deployment_environment_name")?,
            parent_service: texts(rows, "parent_service")?,
            peer_service: texts(rows, "peer_service")?,
            server_address: texts(rows, "server_address")?,
            duration: integers(rows, "duration_ns")?,
            adjusted: integers(rows, "adjusted_count_micros")?,
            callee_service: texts(rows, "callee_service")?,
            callee_operation: texts(rows, "callee_operation")?,
        })
    }

    /// The edge that the span is one side of; none for internal spans and for calls to nobody known.
    fn key(&self, row: usize) -> Option<EdgeKey<'a>> {
        let service = self.service.value(row);
        let operation = self.operation.value(row);
        let (client, server, operation, reporter) = match self.kind.value(row) {
            "SERVER" | "CONSUMER" => {
                let client = self.parent_service.value_or_none(row).unwrap_or("");
                (client, service, operation, "server")
            }
            "CLIENT" | "PRODUCER" => {
                if let Some(callee) = self.callee_service.value_or_none(row) {
                    let answered = self.callee_operation.value_or_none(row);
                    (service, callee, answered.unwrap_or(operation), "client")
                } else {
                    let peer = self.peer_service.value_or_none(row);
                    let named = peer.or_else(|| self.server_address.value_or_none(row))?;
                    (service, named, operation, "client")
                }
            }
            _ => return None,
        };
        Some(EdgeKey {
            client,
            server,
            operation,
            minute: UnixNanos(self.start.value(row)).minute(),
            reporter,
            version: self.version.value_or_none(row),
            environment: self.environment.value_or_none(row),
            source: SPANS,
        })
    }

    fn add(&self, row: usize, sums: &mut EdgeSums) {
        sums.spans += 1;
        sums.errors += i64::from(self.status.value(row) == "ERROR");
        sums.adjusted_micros = sums.adjusted_micros.saturating_add(self.adjusted.value(row));
        sums.duration.record(self.duration.value(row));
    }
}

/// The columns of `payload_sizes`.
struct BodyColumns<'a> {
    time: &'a Int64Array,
    client: &'a StringArray,
    server: &'a StringArray,
    operation: &'a StringArray,
    direction: &'a StringArray,
    reporter: &'a StringArray,
    version: &'a StringArray,
    environment: &'a StringArray,
    wire: &'a Int64Array,
    uncompressed: &'a Int64Array,
}

impl<'a> BodyColumns<'a> {
    fn new(rows: &'a RecordBatch) -> Option<Self> {
        Some(Self {
            time: integers(rows, "time_unix_nano")?,
            client: texts(rows, "client_service")?,
            server: texts(rows, "server_service")?,
            operation: texts(rows, "operation")?,
            direction: texts(rows, "direction")?,
            reporter: texts(rows, "reporter")?,
            version: texts(rows, "service_version")?,
            environment: texts(rows, "deployment_environment_name")?,
            wire: integers(rows, "wire_bytes")?,
            uncompressed: integers(rows, "uncompressed_bytes")?,
        })
    }

    fn key(&self, row: usize) -> Option<EdgeKey<'a>> {
        Some(EdgeKey {
            client: self.client.value_or_none(row).unwrap_or(""),
            server: self.server.value_or_none(row)?,
            operation: self.operation.value(row),
            minute: UnixNanos(self.time.value(row)).minute(),
            reporter: self.reporter.value(row),
            version: self.version.value_or_none(row),
            environment: self.environment.value_or_none(row),
            source: SPANS,
        })
    }

    fn add(&self, row: usize, sums: &mut EdgeSums) {
        let response = usize::from(self.direction.value(row) == "response");
        if self.wire.is_valid(row) {
            sums.bytes[response].record(self.wire.value(row));
        }
        if self.uncompressed.is_valid(row) {
            sums.bytes[2 + response].record(self.uncompressed.value(row));
        }
    }
}
