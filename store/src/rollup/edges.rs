//! `edge_minutes` from completed spans.

use arrow::array::{Array, Int64Array, RecordBatch};

use super::{RowBuilder, Sums, Value};
use crate::histogram::Histogram;
use crate::schema::Table;
use crate::text_column::{Distinct, NULL, Numbered, TextColumn};
use crate::time::UnixNanos;
use crate::trace_index::{integers, texts};

/// The text of `source` where spans and their bodies are counted.
pub(super) const SPANS: &str = "spans";
/// The text of `source` where the instrumentation's own histograms are.
pub(super) const METRICS: &str = "metrics";

/// The text of `reporter` where the calling side counts.
const CLIENT: &str = "client";
/// The text of `reporter` where the answering side counts.
const SERVER: &str = "server";

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
/// order, with source `spans`. `former_sizes` are rows of the table of that name.
pub fn edge_minutes(spans: &[RecordBatch], former_sizes: &[RecordBatch]) -> RecordBatch {
    let mut edges = Edges::default();
    for rows in spans {
        let Some(columns) = CallColumns::new(rows) else { continue };
        let mut texts = columns.texts.map(Numbered::new);
        for row in 0..rows.num_rows() {
            if let Some(key) = columns.key(row, &mut texts, &mut edges.distinct) {
                columns.add(row, edges.sum(key));
            }
        }
    }
    for rows in former_sizes {
        let Some(columns) = BodyColumns::new(rows) else { continue };
        let mut texts = columns.texts.map(Numbered::new);
        for row in 0..rows.num_rows() {
            if let Some(key) = columns.key(row, &mut texts, &mut edges.distinct) {
                columns.add(row, edges.sum(key));
            }
        }
    }
    rows_of(edges.sums.iter().map(|(key, sum)| (key, sum)))
}

/// A key of an edge, each text by its number: found in a third of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct NumberedKey {
    minute: UnixNanos,
    reporter: &'static str,
    client: u32,
    server: u32,
    operation: u32,
    version: u32,
    environment: u32,
}

/// The sums of all edges so far.
#[derive(Default)]
struct Edges<'a> {
    distinct: Distinct<'a>,
    places: Sums<NumberedKey, usize>,
    sums: Vec<(EdgeKey<'a>, EdgeSums)>,
}

impl Edges<'_> {
    fn sum(&mut self, key: NumberedKey) -> &mut EdgeSums {
        let Self { distinct, places, sums } = self;
        let place = *places.entry(key).or_insert_with(|| {
            let text = |code: u32| distinct.texts.get(code as usize).copied();
            let key = EdgeKey {
                reporter: key.reporter,
                minute: key.minute,
                client: text(key.client).unwrap_or_default(),
                server: text(key.server).unwrap_or_default(),
                operation: text(key.operation).unwrap_or_default(),
                version: text(key.version),
                environment: text(key.environment),
                source: SPANS,
            };
            sums.push((key, EdgeSums::default()));
            sums.len() - 1
        });
        &mut sums[place].1
    }
}

pub(super) fn rows_of<'s, 'a: 's>(
    sums: impl Iterator<Item = (&'s EdgeKey<'a>, &'s EdgeSums)>,
) -> RecordBatch {
    let mut rows = RowBuilder::new(Table::EdgeMinutes);
    let mut sorted: Vec<_> = sums.collect();
    sorted.sort_unstable_by_key(|(key, _)| **key);
    for (key, sum) in sorted {
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
    kind: TextColumn<'a>,
    status: TextColumn<'a>,
    duration: &'a Int64Array,
    adjusted: &'a Int64Array,
    /// Service, operation, version, environment, calling service; of who answered the service and the
    /// operation; as the call names it the service and the address.
    texts: [TextColumn<'a>; 9],
    /// As [`EdgeSums::bytes`]; none in rows of earlier builds.
    bytes: [Option<&'a Int64Array>; 4],
}

impl<'a> CallColumns<'a> {
    fn new(rows: &'a RecordBatch) -> Option<Self> {
        Some(Self {
            start: integers(rows, "start_unix_nano")?,
            kind: texts(rows, "span_kind")?,
            status: texts(rows, "status_code")?,
            duration: integers(rows, "duration_ns")?,
            adjusted: integers(rows, "adjusted_count_micros")?,
            texts: [
                texts(rows, "service_name")?,
                texts(rows, "operation")?,
                texts(rows, "service_version")?,
                texts(rows, "deployment_environment_name")?,
                texts(rows, "parent_service")?,
                texts(rows, "callee_service")?,
                texts(rows, "callee_operation")?,
                texts(rows, "peer_service")?,
                texts(rows, "server_address")?,
            ],
            bytes: [
                "request_wire_bytes",
                "response_wire_bytes",
                "request_uncompressed_bytes",
                "response_uncompressed_bytes",
            ]
            .map(|column| integers(rows, column).filter(|bytes| bytes.null_count() < bytes.len())),
        })
    }

    /// The edge that the span is one side of; none for internal spans and for calls to nobody known.
    fn key(
        &self,
        row: usize,
        texts: &mut [Numbered<'a>; 9],
        distinct: &mut Distinct<'a>,
    ) -> Option<NumberedKey> {
        let [
            service,
            operation,
            version,
            environment,
            caller,
            answered_by,
            answered,
            peer,
            address,
        ] = texts;
        let mut code = |column: &mut Numbered<'a>| column.code(row, distinct);
        let (client, server, operation, reporter) = match self.kind.value(row) {
            "SERVER" | "CONSUMER" => (code(caller), code(service), code(operation), SERVER),
            "CLIENT" | "PRODUCER" => {
                let (callee, operation) = match code(answered_by) {
                    NULL => (given(code(peer)).or_else(|| given(code(address)))?, code(operation)),
                    callee => (callee, given(code(answered)).unwrap_or_else(|| code(operation))),
                };
                (code(service), callee, operation, CLIENT)
            }
            _ => return None,
        };
        let (version, environment) = (code(version), code(environment));
        Some(NumberedKey {
            minute: UnixNanos(self.start.value(row)).minute(),
            reporter,
            // Who does not say its name and whose name is empty are the same.
            client: given(client).unwrap_or_else(|| distinct.code("")),
            server,
            operation,
            version,
            environment,
        })
    }

    fn add(&self, row: usize, sums: &mut EdgeSums) {
        sums.spans += 1;
        sums.errors += i64::from(self.status.value(row) == "ERROR");
        sums.adjusted_micros = sums.adjusted_micros.saturating_add(self.adjusted.value(row));
        sums.duration.record(self.duration.value(row));
        for (bytes, sum) in self.bytes.iter().zip(&mut sums.bytes) {
            if let Some(bytes) = bytes.filter(|bytes| bytes.is_valid(row)) {
                sum.record(bytes.value(row));
            }
        }
    }
}

/// The number of a text, where there is one.
fn given(code: u32) -> Option<u32> {
    (code != NULL).then_some(code)
}

/// The columns of `former_payload_sizes`.
struct BodyColumns<'a> {
    time: &'a Int64Array,
    direction: TextColumn<'a>,
    reporter: TextColumn<'a>,
    wire: &'a Int64Array,
    uncompressed: &'a Int64Array,
    /// Client, server, operation, version and environment.
    texts: [TextColumn<'a>; 5],
}

impl<'a> BodyColumns<'a> {
    fn new(rows: &'a RecordBatch) -> Option<Self> {
        Some(Self {
            time: integers(rows, "time_unix_nano")?,
            direction: texts(rows, "direction")?,
            reporter: texts(rows, "reporter")?,
            wire: integers(rows, "wire_bytes")?,
            uncompressed: integers(rows, "uncompressed_bytes")?,
            texts: [
                texts(rows, "client_service")?,
                texts(rows, "server_service")?,
                texts(rows, "operation")?,
                texts(rows, "service_version")?,
                texts(rows, "deployment_environment_name")?,
            ],
        })
    }

    /// The edge of the body; none where nobody knows who answered.
    fn key(
        &self,
        row: usize,
        texts: &mut [Numbered<'a>; 5],
        distinct: &mut Distinct<'a>,
    ) -> Option<NumberedKey> {
        let codes = texts.each_mut().map(|column| column.code(row, distinct));
        let [client, server, operation, version, environment] = codes;
        Some(NumberedKey {
            minute: UnixNanos(self.time.value(row)).minute(),
            reporter: if self.reporter.value(row) == CLIENT { CLIENT } else { SERVER },
            client: given(client).unwrap_or_else(|| distinct.code("")),
            server: given(server)?,
            operation,
            version,
            environment,
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
