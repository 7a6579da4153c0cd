//! Spans as instrumentation libraries send them: names and attributes of the stable HTTP and database
//! conventions.

use super::clock::whole;
use super::topology::{Operation, Store};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{Span, Status, status::StatusCode};

/// Span flags: sampled, and that "the parent is remote" is known.
const FLAGS_LOCAL_PARENT: u32 = 0x101;
/// The same with a remote parent.
const FLAGS_REMOTE_PARENT: u32 = 0x301;

/// Where a span stands in its trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: [u8; 8],
    pub(crate) parent: Option<[u8; 8]>,
}

/// A body size that the instrumentation reports, if it does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bodies {
    pub(crate) request: f64,
    pub(crate) response: f64,
    pub(crate) are_reported: bool,
}

pub(crate) fn span(place: Place, name: &str, kind: SpanKind, time: (i64, i64)) -> Span {
    let is_remote = kind == SpanKind::Server && place.parent.is_some();
    Span {
        trace_id: place.trace_id.to_vec(),
        span_id: place.span_id.to_vec(),
        parent_span_id: place.parent.map_or_else(Vec::new, |parent| parent.to_vec()),
        flags: if is_remote { FLAGS_REMOTE_PARENT } else { FLAGS_LOCAL_PARENT },
        name: name.to_owned(),
        kind: kind as i32,
        start_time_unix_nano: time.0.cast_unsigned(),
        end_time_unix_nano: time.1.max(time.0).cast_unsigned(),
        status: Some(Status::default()),
        ..Span::default()
    }
}

pub(crate) fn fail(span: &mut Span) {
    span.attributes.push(text("error.type", "503"));
    span.status = Some(Status { code: StatusCode::Error as i32, message: String::new() });
}

/// Attributes of the server's side of a call.
pub(crate) fn server_attributes(
    operation: &Operation,
    has_failed: bool,
    bodies: Bodies,
) -> Vec<KeyValue> {
    let mut attributes = vec![
        text("http.request.method", operation.method),
        text("http.route", &operation.route),
        text("url.scheme", "http"),
        int("http.response.status_code", status(has_failed)),
    ];
    attributes.extend(sizes(bodies));
    attributes
}

/// Attributes of the client's side.
pub(crate) fn client_attributes(
    (operation, host): (&Operation, &str),
    has_failed: bool,
    bodies: Bodies,
) -> Vec<KeyValue> {
    let mut attributes = vec![
        text("http.request.method", operation.method),
        text("url.full", &format!("http://{host}:8080{}", operation.route)),
        text("server.address", host),
        int("server.port", 8080),
        int("http.response.status_code", status(has_failed)),
    ];
    attributes.extend(sizes(bodies));
    attributes
}

/// Attributes of a query or a lookup.
pub(crate) fn store_attributes(store: &Store) -> Vec<KeyValue> {
    let is_cache = store.system == "redis";
    vec![
        text("db.system.name", store.system),
        text("db.operation.name", if is_cache { "GET" } else { "SELECT" }),
        text("server.address", &store.address),
        int("server.port", if is_cache { 6379 } else { 5432 }),
    ]
}

/// Name of the span of a query or a lookup.
pub(crate) fn store_span_name(store: &Store) -> String {
    if store.system == "redis" {
        return "GET".to_owned();
    }
    let table = store.address.trim_end_matches("-db");
    format!("SELECT {table}")
}

fn status(has_failed: bool) -> i64 {
    if has_failed { 503 } else { 200 }
}

fn sizes(bodies: Bodies) -> Vec<KeyValue> {
    if !bodies.are_reported {
        return Vec::new();
    }
    vec![
        int("http.request.body.size", whole(bodies.request)),
        int("http.response.body.size", whole(bodies.response)),
    ]
}

pub(crate) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, any_value::Value::StringValue(value.to_owned()))
}

pub(crate) fn int(key: &str, value: i64) -> KeyValue {
    attribute(key, any_value::Value::IntValue(value))
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
