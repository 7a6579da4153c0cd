//! Two services, ten minutes a week apart: checkout calls inventory six times a minute, and from the
//! third minute of the second week on inventory answers ten times as much, ten times as slowly.

use serde_json::{Value, json};
use upriver_store::batch::TableBatch;
use upriver_store::schema::Table;

use crate::fixtures::derived;
use crate::rows::{nanos, rows, text};

pub(crate) const BEFORE: &str = "2026-01-01T10:00:00Z";
pub(crate) const NOW: &str = "2026-01-08T10:00:00Z";
/// A service name as an attacker would choose it.
pub(crate) const HOSTILE: &str = "it's \"x\"; DROP TABLE spans; --\u{1b}[31m\nnext $service";

const MINUTES: i64 = 10;
const PER_MINUTE: i64 = 6;
const MS: i64 = 1_000_000;

/// What is stored, with all that the store derives.
pub(crate) fn batches() -> Vec<TableBatch> {
    derived(received())
}

/// What was received.
pub(crate) fn received() -> Vec<TableBatch> {
    let mut batches = Vec::new();
    for (week, start) in [(0, BEFORE), (1, NOW)] {
        for minute in 0..MINUTES {
            let mut spans = Vec::new();
            for call in 0..PER_MINUTE {
                let number = (week * MINUTES + minute) * PER_MINUTE + call;
                let at = nanos(start) + minute * 60_000 * MS + call * 10_000 * MS;
                request(number, at, week == 1 && minute >= 3, &mut spans);
            }
            batches.push(rows(Table::Spans, spans));
        }
    }
    batches.push(rows(Table::Spans, [hostile()]));
    batches.push(rows(Table::SpanEvents, [event()]));
    batches
}

pub(crate) fn trace_id(number: i64) -> String {
    // Spread over the whole range, as random ids are, so that minima and maxima say nothing.
    let high = u64::try_from(number + 1).unwrap().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{high:016x}{number:016x}")
}

fn request(number: i64, at: i64, slow: bool, spans: &mut Vec<Value>) {
    let factor = if slow { 10 } else { 1 };
    let trace = trace_id(number);
    let id = number * 10;
    let span = |service: &str, id: i64, parent: Option<i64>, at: i64, duration: i64| {
        json!({
            "time": text(at), "duration_ns": duration, "service_name": service, "span_id": id,
            "parent_span_id": parent, "trace_id": trace, "status_code": "UNSET",
            "deployment_environment_name": "prod", "adjusted_count_micros": 1_000_000,
            "service_instance_id": format!("{service}-1"),
            "attributes": { "k": "v", "number": number.to_string() },
        })
    };
    let with = |mut row: Value, more: Value| {
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row
    };
    let inventory_ms = (80 + number % 7) * factor;
    let bytes = (8_000 + number) * factor;
    spans.push(with(
        span("checkout", id + 1, None, at, (100 + inventory_ms) * MS),
        json!({
            "span_name": "POST /checkout", "span_kind": "SERVER", "operation": "POST /checkout",
            "service_version": "3.0", "http_response_status_code": 200,
            "status_code": if number % 10 == 9 { "ERROR" } else { "UNSET" },
        }),
    ));
    spans.push(with(
        span("checkout", id + 2, Some(id + 1), at + 10 * MS, (inventory_ms + 2) * MS),
        json!({
            "span_name": "GET", "span_kind": "CLIENT", "operation": "GET", "service_version": "3.0",
            "server_address": "inventory.local",
            "request_wire_bytes": 100 + number % 3, "request_size_attribute": "http.request.body.size",
            "response_wire_bytes": bytes + 300, "response_size_attribute": "http.response.body.size",
        }),
    ));
    spans.push(with(
        span("inventory", id + 3, Some(id + 2), at + 11 * MS, inventory_ms * MS),
        json!({
            "span_name": "GET /stock", "span_kind": "SERVER", "operation": "GET /stock",
            "service_version": if slow { "2.0" } else { "1.0" },
            "response_wire_bytes": bytes, "response_size_attribute": "http.response.body.size",
        }),
    ));
}

fn hostile() -> Value {
    json!({
        "time": NOW, "duration_ns": 5 * MS, "service_name": HOSTILE, "span_name": HOSTILE,
        "operation": HOSTILE, "span_kind": "SERVER", "span_id": -2, "status_code": "UNSET",
        "trace_id": "ffffffffffffffffffffffffffffffff", "adjusted_count_micros": 1_000_000,
        "links": [{ "trace_id": trace_id(0), "span_id": 1 }],
    })
}

fn event() -> Value {
    json!({
        "time": NOW, "service_name": "checkout", "span_name": "POST /checkout",
        "event_name": "exception", "exception_type": "Timeout", "span_id": 9_007_199_254_740_993_i64,
        "trace_id": trace_id(60),
    })
}
