use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord as ProtoRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use prost::Message;

use super::*;
use crate::rows::tests::cells;

const TIME: u64 = 1_795_226_603_510_000_123;
const RECEIVED: UnixNanos = UnixNanos(1_795_226_700_000_000_000);

fn any(value: Any) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn entry(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(any(value)), key_strindex: 0 }
}

fn request(records: Vec<ProtoRecord>) -> Vec<u8> {
    let texts = [
        ("service.name", "shop"),
        ("service.version", "1.4.2"),
        ("deployment.environment", "production"),
        ("host.name", "h1"),
        ("process.pid", "7"),
    ];
    let attributes = texts.map(|(key, value)| entry(key, Any::StringValue(value.to_owned())));
    let resource = ProtoResource { attributes: attributes.into(), ..ProtoResource::default() };
    let scope =
        InstrumentationScope { name: "shop.cart".into(), ..InstrumentationScope::default() };
    let scope_logs =
        ScopeLogs { scope: Some(scope), log_records: records, schema_url: String::new() };
    let resource_logs = ResourceLogs {
        resource: Some(resource),
        scope_logs: vec![scope_logs],
        schema_url: String::new(),
    };
    ExportLogsServiceRequest { resource_logs: vec![resource_logs] }.encode_to_vec()
}

fn rows(record: ProtoRecord, columns: &[&str]) -> String {
    let decoded = decode(&request(vec![record]), RECEIVED).unwrap();
    let mut rows = cells(&decoded, Table::Logs, columns);
    assert_eq!((rows.len(), decoded.accepted, decoded.rejected), (1, 1, 0), "{decoded:?}");
    rows.remove(0)
}

#[test]
fn fields_land_in_their_columns() {
    let full = ProtoRecord {
        time_unix_nano: TIME,
        observed_time_unix_nano: TIME + 5,
        severity_number: 17,
        severity_text: "ERROR".into(),
        body: Some(any(Any::StringValue("cart is empty".into()))),
        attributes: vec![entry("code.line.number", Any::IntValue(12))],
        dropped_attributes_count: 3,
        flags: 1,
        trace_id: (1..=16).collect(),
        span_id: vec![255; 8],
        event_name: "cart.empty".into(),
    };
    let columns: Vec<_> = Table::Logs.columns().iter().map(|column| column.name).collect();
    assert_eq!(
        rows(full, &columns),
        "2026-11-21T02:03:23.510Z | 1795226603510000123 | 1795226603510000128 | shop | 17 | ERROR \
         | cart is empty | cart.empty | 1.4.2 | production | h1/7 | -1 \
         | 0102030405060708090a0b0c0d0e0f10 | 1 | shop.cart | 3 | {code.line.number: 12} \
         | {service.name: shop, service.version: 1.4.2, deployment.environment: production, \
         host.name: h1, process.pid: 7} | 2026-11-21"
    );
}

#[test]
fn what_is_missing_is_null() {
    let columns = [
        "time_unix_nano",
        "observed_unix_nano",
        "severity_number",
        "severity_text",
        "body",
        "event_name",
        "span_id",
        "trace_id",
        "flags",
        "dropped_attributes_count",
        "attributes",
    ];
    assert_eq!(
        rows(ProtoRecord::default(), &columns),
        "1795226700000000000 | ∅ | 0 | ∅ | ∅ | ∅ | ∅ | ∅ | 0 | 0 | {}"
    );
    let empty = decode(&[], RECEIVED).unwrap();
    assert_eq!((empty.batches.len(), empty.accepted, empty.message), (0, 0, None));
}

#[test]
fn the_instant_is_the_first_that_is_known() {
    for (time, observed, expected) in [
        (TIME, 5, TIME.to_string()),
        (0, TIME, TIME.to_string()),
        (0, 0, RECEIVED.0.to_string()),
        (u64::MAX, 0, i64::MAX.to_string()),
    ] {
        let record = ProtoRecord {
            time_unix_nano: time,
            observed_time_unix_nano: observed,
            ..ProtoRecord::default()
        };
        assert_eq!(rows(record, &["time_unix_nano"]), expected);
    }
}

#[test]
fn bodies_are_text() {
    let list = vec![AnyValue { value: Some(Any::IntValue(1)) }, AnyValue { value: None }];
    let map =
        vec![entry("url", Any::StringValue("/\"x\"".into())), entry("ms", Any::DoubleValue(1.5))];
    for (body, expected) in [
        (Any::StringValue("a | b\n".into()), "a | b\n"),
        (Any::StringValue(String::new()), ""),
        (Any::IntValue(-3), "-3"),
        (Any::BoolValue(true), "true"),
        (Any::BytesValue(vec![0, 1, 2]), "AAEC"),
        (Any::ArrayValue(ArrayValue { values: list }), "[1,null]"),
        (Any::KvlistValue(KeyValueList { values: map }), r#"{"url":"/\"x\"","ms":1.5}"#),
    ] {
        let record = ProtoRecord { body: Some(any(body)), ..ProtoRecord::default() };
        assert_eq!(rows(record, &["body"]), expected);
    }
}

#[test]
fn the_older_attribute_names_an_event_too() {
    let older = vec![entry("event.name", Any::StringValue("older".into()))];
    let record = ProtoRecord { attributes: older, ..ProtoRecord::default() };
    assert_eq!(rows(record.clone(), &["event_name"]), "older");
    let both = ProtoRecord { event_name: "newer".into(), ..record };
    assert_eq!(rows(both, &["event_name"]), "newer");
}

#[test]
fn a_record_with_a_broken_id_is_kept_without_it_and_the_sender_is_told() {
    let record = |trace: Vec<u8>, span: Vec<u8>| ProtoRecord {
        trace_id: trace,
        span_id: span,
        ..ProtoRecord::default()
    };
    let records = vec![
        record(vec![1; 15], vec![1; 8]),
        record(vec![1; 16], vec![1; 9]),
        record(vec![0; 16], vec![0; 8]),
        record(Vec::new(), Vec::new()),
    ];
    let decoded = decode(&request(records), RECEIVED).unwrap();
    assert_eq!((decoded.accepted, decoded.rejected), (4, 0));
    assert_eq!(
        decoded.message.as_deref(),
        Some(
            "2 log records were kept without their spans, the first: \
             its trace id has 15 bytes instead of 16 (service \"shop\")"
        )
    );
    let ids = cells(&decoded, Table::Logs, &["trace_id", "span_id"]);
    let span = "72340172838076673";
    assert_eq!(
        ids,
        [
            format!("∅ | {span}"),
            "01010101010101010101010101010101 | ∅".to_owned(),
            "∅ | ∅".to_owned(),
            "∅ | ∅".to_owned(),
        ]
    );
}

#[test]
fn broken_requests_are_refused_by_the_name_of_the_field() {
    // resource_logs { scope_logs { log_records { ... } } }
    let within = |record: &[u8]| {
        let mut bytes = record.to_vec();
        for tag in [0x12, 0x12, 0x0a] {
            bytes.insert(0, u8::try_from(bytes.len()).unwrap());
            bytes.insert(0, tag);
        }
        bytes
    };
    for (record, expected) in [
        (&[0x1a, 1, 0xff][..], "LogRecord.severity_text: the text is not UTF-8"),
        (&[0x62, 1, 0xff], "LogRecord.event_name: the text is not UTF-8"),
        (&[0x08, 1], "LogRecord.time_unix_nano: the field has the wrong wire type"),
        (&[0x2a, 3, 0x0a, 9, 9], "AnyValue: a length goes past the end of the message"),
        (&[0x2a], "LogRecord: the message ends inside a field"),
    ] {
        let error = super::super::decode_logs(&within(record), RECEIVED).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot read OTLP logs: {expected}"));
    }
    let mut deep = any(Any::IntValue(1));
    for _ in 0..100 {
        deep = AnyValue { value: Some(Any::ArrayValue(ArrayValue { values: vec![deep] })) };
    }
    let record = ProtoRecord { body: Some(deep), ..ProtoRecord::default() };
    let error = super::super::decode_logs(&request(vec![record]), RECEIVED).unwrap_err();
    assert!(error.to_string().contains("nested too deeply"), "{error}");
}

#[test]
fn rows_beyond_the_limit_are_refused() {
    // A small request whose resource is repeated on each of its records.
    let attributes = vec![entry("k", Any::StringValue("x".repeat(8 << 10)))];
    let resource_logs = ResourceLogs {
        resource: Some(ProtoResource { attributes, ..ProtoResource::default() }),
        scope_logs: vec![ScopeLogs {
            log_records: vec![ProtoRecord::default(); 200_000],
            ..ScopeLogs::default()
        }],
        schema_url: String::new(),
    };
    let body = ExportLogsServiceRequest { resource_logs: vec![resource_logs] }.encode_to_vec();
    assert!(body.len() < 1 << 20);
    assert_eq!(decode(&body, RECEIVED).unwrap_err(), Fault::TooLarge);
}
