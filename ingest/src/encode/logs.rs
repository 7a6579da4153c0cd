//! Log records as `ExportLogsServiceRequest`.

use serde::Serialize;
use upriver_store::batch::TableBatch;

use super::attributes::{self, AnyValue, KeyValue};
use super::lines::{Encoded, Signal, by_sender};
use super::rows::{Hex, Rows, SpanId, Unsigned, int, span, text, trace};

const LOGS: Signal = Signal { resources: "resourceLogs", scopes: "scopeLogs", items: "logRecords" };

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LogRecord<'a> {
    time_unix_nano: Unsigned,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_time_unix_nano: Option<Unsigned>,
    severity_number: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity_text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<AnyValue<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<KeyValue<'a>>,
    dropped_attributes_count: i64,
    flags: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<Hex<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<SpanId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_name: Option<&'a str>,
}

/// Rows of `logs` as lines.
pub fn logs(logs: &TableBatch) -> Encoded {
    let rows = Rows::new(logs);
    let mut encoded = Encoded { items: rows.count() as u64, ..Encoded::default() };
    for (sender, of_sender) in by_sender(rows, None) {
        encoded.push(LOGS, &sender, of_sender.iter().map(|row| record(rows, *row)));
    }
    encoded
}

fn record(rows: Rows<'_>, row: usize) -> LogRecord<'_> {
    LogRecord {
        time_unix_nano: Unsigned(rows.ints("time_unix_nano").value(row)),
        observed_time_unix_nano: int(rows.ints("observed_unix_nano"), row).map(Unsigned),
        severity_number: rows.ints("severity_number").value(row),
        severity_text: text(rows.texts("severity_text"), row),
        body: text(rows.texts("body"), row).map(AnyValue::StringValue),
        attributes: attributes::of_row(rows.maps("attributes"), row),
        dropped_attributes_count: rows.ints("dropped_attributes_count").value(row),
        flags: rows.ints("flags").value(row),
        trace_id: trace(rows.bytes("trace_id"), row),
        span_id: span(rows.ints("span_id"), row),
        event_name: text(rows.texts("event_name"), row),
    }
}
