//! The table of `docs/limits.md`: extreme input, and what becomes of it. Each row is a test.

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use upriver_ingest::otlp::decode_traces;
use upriver_store::schema::Table;

use crate::harness::{Answer, Request, Server, gzip};
use crate::support::cells;

const START: u64 = 1_777_896_000_000_000_000;

fn span() -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "GET /cart".into(),
        start_time_unix_nano: START,
        end_time_unix_nano: START + 1,
        ..Span::default()
    }
}

fn request(spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

/// The columns of the only span.
fn columns(span: Span, columns: &[&str]) -> String {
    let decoded = decode_traces(&request(vec![span])).unwrap();
    cells(&decoded, Table::Spans, columns).join("\n")
}

fn protobuf(body: &[u8]) -> Request {
    Request::post("/v1/traces").header("content-type", "application/x-protobuf").body(body)
}

fn json(body: &str) -> Request {
    Request::post("/v1/traces").header("content-type", "application/json").body(body.as_bytes())
}

/// Refused with this status and words, nothing stored, the server as before.
async fn refused(server: &Server, request: Request, status: u16, words: &str) {
    let answer = request.send(server.http).await;
    assert_eq!(answer.status, status, "{answer:?}");
    let message = answer.rpc_status().message;
    assert!(message.contains(words), "{message}");
    assert_eq!(answer.header("retry-after"), None, "sending it again would not help");
    assert_eq!(server.all_rows(), 0);
    server.assert_alive().await;
}

fn rejected(answer: &Answer) -> (i64, String) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let response = ExportTraceServiceResponse::decode(&answer.body[..]).unwrap();
    let partial = response.partial_success.unwrap();
    (partial.rejected_spans, partial.error_message)
}

#[tokio::test]
async fn a_gzip_bomb_is_413() {
    let server = Server::start().await;
    let bomb = gzip(&vec![0; 256 << 20]);
    assert!(bomb.len() < 4 << 20);
    let request = protobuf(&bomb).header("content-encoding", "gzip");
    refused(&server, request, 413, "67108864 bytes").await;
}

#[tokio::test]
async fn json_10000_deep_is_400() {
    let server = Server::start().await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let request = json(&format!("{{\"resourceSpans\":{deep}}}"));
    refused(&server, request, 400, "the JSON is not valid").await;
    let server = Server::start().await;
    let list = r#"{"arrayValue":{"values":["#.repeat(10_000) + &"]}}".repeat(10_000);
    let attribute = format!("{{\"key\":\"k\",\"value\":{list}}}");
    let spans = format!("[{{\"scopeSpans\":[{{\"spans\":[{{\"attributes\":[{attribute}]}}]}}]}}]");
    let request = json(&format!("{{\"resourceSpans\":{spans}}}"));
    refused(&server, request, 400, "recursion limit").await;
}

#[tokio::test]
async fn json_10000_deep_under_an_unknown_name_is_passed_over() {
    let server = Server::start().await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let answer = json(&format!("{{\"nobodyKnowsThis\":{deep}}}")).send(server.http).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
}

#[tokio::test]
async fn lists_10000_deep_are_400() {
    let server = Server::start().await;
    let list = |inner: Vec<u8>| {
        // AnyValue.array_value, ArrayValue.values.
        let mut outer = Vec::new();
        for tag in [0x0a, 0x2a] {
            let inner = if outer.is_empty() { &inner } else { &outer };
            let mut message = vec![tag];
            prost::encoding::encode_varint(inner.len() as u64, &mut message);
            message.extend_from_slice(inner);
            outer = message;
        }
        outer
    };
    let mut value = AnyValue { value: Some(Value::IntValue(1)) }.encode_to_vec();
    for _ in 0..10_000 {
        value = list(value);
    }
    let mut key_value = vec![0x0a, 1, b'k'];
    prost::encoding::encode_key(2, prost::encoding::WireType::LengthDelimited, &mut key_value);
    prost::encoding::encode_varint(value.len() as u64, &mut key_value);
    key_value.extend_from_slice(&value);
    let body = nested(&[(9, key_value)], &span().encode_to_vec());
    refused(&server, protobuf(&body), 400, "nested too deeply").await;
}

/// A request whose only span has these further fields.
fn nested(fields: &[(u32, Vec<u8>)], span: &[u8]) -> Vec<u8> {
    let wrap = |tag: u32, message: &[u8]| {
        let mut bytes = Vec::new();
        prost::encoding::encode_key(tag, prost::encoding::WireType::LengthDelimited, &mut bytes);
        prost::encoding::encode_varint(message.len() as u64, &mut bytes);
        bytes.extend_from_slice(message);
        bytes
    };
    let mut span = span.to_vec();
    for (tag, field) in fields {
        span.extend_from_slice(&wrap(*tag, field));
    }
    wrap(1, &wrap(2, &wrap(2, &span)))
}

#[tokio::test]
async fn ten_million_attributes_are_413() {
    let server = Server::start().await;
    // The shortest that differ: three letters or fewer.
    let mut many = span().encode_to_vec();
    for number in 0..10_000_000_u32 {
        let key = number.to_be_bytes();
        let key = key.map(|byte| byte & 0x7f);
        many.extend_from_slice(&[0x4a, 6, 0x0a, 4]);
        many.extend_from_slice(&key);
    }
    assert!(many.len() > 64 << 20);
    refused(&server, protobuf(&nested(&[], &many)), 413, "67108864 bytes").await;
    // As many as fit into a body, in one span.
    many.truncate(60 << 20);
    let whole = (many.len() - span().encoded_len()) / 8 * 8;
    many.truncate(span().encoded_len() + whole);
    let server = Server::start().await;
    refused(&server, protobuf(&nested(&[], &many)), 413, "more than 65536 attributes").await;
}

#[tokio::test]
async fn an_attribute_value_of_a_mebibyte_is_kept_whole() {
    let long = "é".repeat(1 << 19);
    let decoded = decode_traces(&request(vec![Span {
        attributes: vec![text("db.query.text", &long)],
        ..span()
    }]));
    let found = cells(&decoded.unwrap(), Table::Spans, &["attributes"]);
    assert_eq!(found, [format!("{{db.query.text: {long}}}")]);
}

#[tokio::test]
async fn of_equal_keys_the_first_counts() {
    let repeated = |key, first, second| [text(key, first), text(key, second)];
    let attributes = [repeated("http.route", "/a", "/b"), repeated("x", "1", "2")].concat();
    let found = columns(Span { attributes, ..span() }, &["http_route", "attributes"]);
    assert_eq!(found, "/a | {x: 1}");
}

#[tokio::test]
async fn a_span_with_an_id_of_the_wrong_length_is_left_out_alone() {
    let server = Server::start().await;
    let short = Span { trace_id: vec![1; 15], ..span() };
    let long = Span { span_id: vec![1; 9], ..span() };
    let none = Span { span_id: Vec::new(), ..span() };
    let zeros = Span { trace_id: vec![0; 16], ..span() };
    let answer = protobuf(&request(vec![short, long, none, zeros, span()])).send(server.http).await;
    let (count, message) = rejected(&answer);
    assert_eq!(count, 4);
    assert!(message.contains("its trace id has 15 bytes instead of 16"), "{message}");
    assert_eq!(server.rows(Table::Spans), 1);
}

#[tokio::test]
async fn in_json_an_id_of_the_wrong_length_is_400() {
    let server = Server::start().await;
    let body = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"0102","spanId":"0102030405060708","name":"x"}]}]}]}"#;
    refused(&server, json(body), 400, "id \"0102\" is not 32 hexadecimal digits").await;
}

#[tokio::test]
async fn times_from_1970_to_2262_are_kept_and_later_ones_are_the_latest() {
    let at = |start: u64, end: u64| {
        let odd = Span { start_time_unix_nano: start, end_time_unix_nano: end, ..span() };
        columns(odd, &["start_unix_nano", "duration_ns", "date"])
    };
    assert_eq!(at(0, 10), "0 | 10 | 1970-01-01");
    assert_eq!(at(1, 10), "1 | 9 | 1970-01-01");
    let latest = i64::MAX.cast_unsigned();
    assert_eq!(at(latest - 1, latest), format!("{} | 1 | 2262-04-11", latest - 1));
    assert_eq!(at(u64::MAX, u64::MAX), format!("{latest} | 0 | 2262-04-11"));
}

#[tokio::test]
async fn the_longest_duration_is_the_longest_that_is_stored() {
    let odd = Span { start_time_unix_nano: 0, end_time_unix_nano: u64::MAX, ..span() };
    assert_eq!(columns(odd, &["duration_ns"]), i64::MAX.to_string());
    let backwards = Span { end_time_unix_nano: START - 1, ..span() };
    assert_eq!(columns(backwards, &["duration_ns"]), "0");
}

#[tokio::test]
async fn a_value_of_any_type_is_kept_as_text() {
    let values = [
        ("bool", Value::BoolValue(true), "true"),
        ("bytes", Value::BytesValue(vec![255, 0]), "/wA="),
        ("nan", Value::DoubleValue(f64::NAN), "NaN"),
        ("smallest", Value::IntValue(i64::MIN), "-9223372036854775808"),
        ("empty list", Value::ArrayValue(ArrayValue::default()), "[]"),
    ];
    for (key, value, expected) in values {
        let attributes = vec![attribute(key, value)];
        let found = columns(Span { attributes, ..span() }, &["attributes"]);
        assert_eq!(found, format!("{{{key}: {expected}}}"));
    }
}
