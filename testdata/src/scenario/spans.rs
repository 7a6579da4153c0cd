//! Spans as the SDKs and instrumentation libraries of the services send them.

use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::{Span, Status, status::StatusCode};

/// Span flags: sampled, and that "the parent is remote" is known.
const FLAGS_LOCAL_PARENT: u32 = 0x101;
/// The same with a remote parent.
const FLAGS_REMOTE_PARENT: u32 = 0x301;

/// The library that made a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    OtelHttp,
    OtelPgx,
    OtelGrpc,
    Checkout,
    JavaServlet,
    NodeHttp,
}

impl Scope {
    pub(crate) fn proto(self) -> InstrumentationScope {
        let (name, version) = match self {
            Self::OtelHttp => {
                ("go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp", "0.63.0")
            }
            Self::OtelPgx => ("github.com/exaring/otelpgx", "0.9.3"),
            Self::OtelGrpc => (
                "go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc",
                "0.63.0",
            ),
            Self::Checkout => ("checkout", ""),
            Self::JavaServlet => ("io.opentelemetry.servlet-5.0", "2.21.0-alpha"),
            Self::NodeHttp => ("@opentelemetry/instrumentation-http", "0.207.0"),
        };
        InstrumentationScope {
            name: name.to_owned(),
            version: version.to_owned(),
            ..InstrumentationScope::default()
        }
    }
}

/// Where a span stands in its trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: [u8; 8],
    pub(crate) parent: Parent,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Parent {
    None,
    Local([u8; 8]),
    Remote([u8; 8]),
}

/// A span without attributes.
pub(crate) fn span(place: Place, name: &str, kind: SpanKind, time: (i64, i64)) -> Span {
    let (parent_span_id, flags) = match place.parent {
        Parent::None => (Vec::new(), FLAGS_LOCAL_PARENT),
        Parent::Local(parent) => (parent.to_vec(), FLAGS_LOCAL_PARENT),
        Parent::Remote(parent) => (parent.to_vec(), FLAGS_REMOTE_PARENT),
    };
    Span {
        trace_id: place.trace_id.to_vec(),
        span_id: place.span_id.to_vec(),
        parent_span_id,
        flags,
        name: name.to_owned(),
        kind: kind as i32,
        start_time_unix_nano: time.0.cast_unsigned(),
        end_time_unix_nano: (time.0 + time.1).cast_unsigned(),
        status: Some(Status::default()),
        ..Span::default()
    }
}

/// Marks a span as failed.
pub(crate) fn fail(span: &mut Span, error_type: &str) {
    span.attributes.push(text("error.type", error_type));
    span.status = Some(Status { code: StatusCode::Error as i32, message: String::new() });
}

/// The event of an exception at the end of a span.
pub(crate) fn exception(span: &mut Span, kind: &str, message: &str) {
    span.events.push(Event {
        time_unix_nano: span.end_time_unix_nano,
        name: "exception".to_owned(),
        attributes: vec![text("exception.type", kind), text("exception.message", message)],
        ..Event::default()
    });
}

/// `POST /checkout` and the cheap operation beside it, as otelhttp's handler sends them.
pub(crate) fn checkout_attributes(method: &str, route: &str, status: i64) -> Vec<KeyValue> {
    vec![
        text("http.request.method", method),
        text("http.route", route),
        text("url.scheme", "https"),
        text("url.path", route),
        text("server.address", "shop.example"),
        text("network.protocol.version", "2"),
        text("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64; rv:147.0) Firefox/147.0"),
        int("http.response.status_code", status),
    ]
}

/// The query for the lines of the order, as otelpgx sends it.
pub(crate) fn order_query_attributes() -> Vec<KeyValue> {
    vec![
        text("db.system.name", "postgresql"),
        text("db.namespace", "orders"),
        text("db.operation.name", "SELECT"),
        text("db.collection.name", "order_lines"),
        text("db.query.text", "SELECT sku, quantity, price FROM order_lines WHERE order_id = $1"),
        text("server.address", "orders-db"),
        int("server.port", 5432),
    ]
}

/// An HTTP call of checkout, as otelhttp's transport sends it.
pub(crate) fn http_client_attributes(method: &str, host: &str, status: i64) -> Vec<KeyValue> {
    vec![
        text("http.request.method", method),
        text("url.full", &format!("http://{host}:8080/")),
        text("server.address", host),
        int("server.port", 8080),
        text("network.protocol.version", "1.1"),
        int("http.response.status_code", status),
    ]
}

/// The other side of it, in Java or Node.
pub(crate) fn http_server_attributes(method: &str, route: &str, status: i64) -> Vec<KeyValue> {
    vec![
        text("http.request.method", method),
        text("http.route", route),
        text("url.scheme", "http"),
        text("url.path", route),
        int("server.port", 8080),
        text("network.protocol.version", "1.1"),
        text("user_agent.original", "Go-http-client/1.1"),
        int("http.response.status_code", status),
    ]
}

/// The call to the auth service, on both sides, as otelgrpc sends it.
pub(crate) fn rpc_attributes(service: &str, method: &str, host: &str) -> Vec<KeyValue> {
    vec![
        text("rpc.system", "grpc"),
        text("rpc.service", service),
        text("rpc.method", method),
        int("rpc.grpc.status_code", 0),
        text("server.address", host),
        int("server.port", 9090),
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
