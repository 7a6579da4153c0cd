use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as ProtoSpan, Status};
use prost::Message;

use super::*;
use crate::rows::tests::cells;

const START: u64 = 1_795_226_603_510_000_123;

fn attributes(pairs: &[(&str, &str)]) -> Vec<KeyValue> {
    let entry = |(key, value): &(&str, &str)| {
        let value = match value.parse() {
            Ok(number) => Value::IntValue(number),
            Err(_) => Value::StringValue((*value).to_owned()),
        };
        let value = Some(AnyValue { value: Some(value) });
        KeyValue { key: (*key).to_owned(), value, key_strindex: 0 }
    };
    pairs.iter().map(entry).collect()
}

fn span(kind: i32, pairs: &[(&str, &str)]) -> ProtoSpan {
    ProtoSpan {
        trace_id: (1..=16).collect(),
        span_id: vec![0, 0, 0, 0, 0, 0, 0, 7],
        name: "a span".into(),
        kind,
        start_time_unix_nano: START,
        end_time_unix_nano: START + 1_500,
        attributes: attributes(pairs),
        ..ProtoSpan::default()
    }
}

fn request(resource: &[(&str, &str)], spans: Vec<ProtoSpan>) -> Vec<u8> {
    let scope = InstrumentationScope {
        name: "scope".into(),
        version: "1.2".into(),
        ..InstrumentationScope::default()
    };
    let scope_spans = ScopeSpans { scope: Some(scope), spans, schema_url: String::new() };
    let resource = ProtoResource { attributes: attributes(resource), ..ProtoResource::default() };
    let resource_spans = ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![scope_spans],
        schema_url: String::new(),
    };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }.encode_to_vec()
}

fn spans(resource: &[(&str, &str)], span: ProtoSpan, columns: &[&str]) -> String {
    let decoded = decode(&request(resource, vec![span])).unwrap();
    let mut rows = cells(&decoded, Table::Spans, columns);
    assert_eq!(rows.len(), 1, "{decoded:?}");
    rows.remove(0)
}

#[test]
fn fields_land_in_their_columns() {
    let full = ProtoSpan {
        parent_span_id: vec![255; 8],
        trace_state: "ot=th:8".into(),
        flags: 0x301,
        status: Some(Status { message: "it broke".into(), code: 2 }),
        links: vec![
            Link {
                trace_id: vec![9; 16],
                span_id: vec![0, 0, 0, 0, 0, 0, 1, 0],
                ..Link::default()
            },
            Link { trace_id: vec![9; 3], span_id: vec![1; 8], ..Link::default() },
        ],
        ..span(2, &[("k", "v")])
    };
    let columns = [
        "time",
        "start_unix_nano",
        "duration_ns",
        "service_name",
        "span_name",
        "span_kind",
        "status_code",
        "span_id",
        "parent_span_id",
        "adjusted_count_micros",
        "trace_id",
        "trace_state",
        "flags",
        "status_message",
        "scope_name",
        "scope_version",
        "event_count",
        "links",
        "attributes",
        "resource_attributes",
        "date",
        "parent_service",
        "self_time_ns",
    ];
    let row = spans(&[("service.name", "shop"), ("host.name", "h1")], full, &columns);
    assert_eq!(
        row,
        "2026-11-21T02:03:23.510Z | 1795226603510000123 | 1500 | shop | a span | SERVER | ERROR | 7 | -1 \
         | 2000000 | 0102030405060708090a0b0c0d0e0f10 | ot=th:8 | 769 | it broke | scope | 1.2 | 0 \
         | [{trace_id: 09090909090909090909090909090909, span_id: 256}] | {k: v} \
         | {service.name: shop, host.name: h1} | 2026-11-21 | ∅ | ∅"
    );
}

#[test]
fn the_resource_fills_its_columns() {
    let columns = [
        "service_name",
        "service_version",
        "deployment_environment_name",
        "service_namespace",
        "service_instance_id",
        "host_name",
    ];
    for (resource, expected) in [
        (&[][..], "unknown_service | ∅ | ∅ | ∅ | ∅ | ∅"),
        (&[("service.name", "")], "unknown_service | ∅ | ∅ | ∅ | ∅ | ∅"),
        (
            &[
                ("service.name", "s"),
                ("service.version", "1.0.1"),
                ("service.namespace", "n"),
                ("deployment.environment", "old"),
                ("deployment.environment.name", "new"),
                ("host.name", "h"),
                ("process.pid", "42"),
                ("k8s.pod.name", "pod"),
            ],
            "s | 1.0.1 | new | n | h/42 | h",
        ),
        (
            &[
                ("service.instance.id", "i"),
                ("host.name", "h"),
                ("process.pid", "1"),
                ("deployment.environment", "old"),
            ],
            "unknown_service | ∅ | old | ∅ | i | h",
        ),
        (&[("k8s.pod.name", "pod"), ("process.pid", "1")], "unknown_service | ∅ | ∅ | ∅ | ∅ | pod"),
    ] {
        assert_eq!(spans(resource, span(1, &[]), &columns), expected, "{resource:?}");
    }
}

#[test]
fn current_names_win_over_older_ones_in_any_order() {
    let columns = [
        "http_request_method",
        "http_response_status_code",
        "rpc_system",
        "db_system_name",
        "db_namespace",
        "db_operation_name",
        "messaging_destination_name",
        "peer_service",
        "server_address",
        "operation",
    ];
    let older = [
        ("http.method", "PUT"),
        ("http.status_code", "404"),
        ("rpc.system", "grpc"),
        ("db.system", "mysql"),
        ("db.name", "shop"),
        ("db.operation", "SELECT"),
        ("messaging.destination", "q"),
        ("peer.service", "p"),
        ("net.peer.name", "h"),
        ("http.route", "/a"),
    ];
    let current = [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("rpc.system.name", "dubbo"),
        ("db.system.name", "postgresql"),
        ("db.namespace", "new"),
        ("db.operation.name", "INSERT"),
        ("messaging.destination.name", "t"),
        ("service.peer.name", "sp"),
        ("server.address", "sa"),
    ];
    let old_row = "PUT | 404 | grpc | mysql | shop | SELECT | q | p | h | PUT /a";
    let new_row = "GET | 200 | dubbo | postgresql | new | INSERT | t | sp | sa | GET /a";
    assert_eq!(spans(&[], span(3, &older), &columns), old_row);
    let both = [&current[..], &older].concat();
    assert_eq!(spans(&[], span(3, &both), &columns), new_row);
    let both = [&older[..], &current].concat();
    assert_eq!(spans(&[], span(3, &both), &columns), new_row);
    // On a server span `net.peer.name` is the caller.
    assert_eq!(spans(&[], span(2, &older), &["server_address"]), "∅");
}

#[test]
fn what_a_column_says_is_not_in_the_map_again() {
    for known in Table::Spans.attribute_columns() {
        let is_number = known.column == "http_response_status_code" || known.named_by.is_some();
        let value = if is_number { "7" } else { "v" };
        let columns = [known.column, "attributes"];
        let row = spans(&[], span(3, &[(known.attribute, value), ("k", "x")]), &columns);
        assert_eq!(row, format!("{value} | {{k: x}}"), "{known:?}");
        if let Some(older) = known.older {
            // The map tells by which name it came, and what lost.
            let row = spans(&[], span(3, &[(older, value)]), &columns);
            assert_eq!(row, format!("{value} | {{{older}: {value}}}"), "{known:?}");
            let both = [(older, "3"), (known.attribute, value)];
            let row = spans(&[], span(3, &both), &columns);
            assert_eq!(row, format!("{value} | {{{older}: 3}}"), "{known:?}");
        }
    }
    // Of another type than the column has.
    let columns = ["http_route", "http_response_status_code", "attributes"];
    let odd = [("http.route", "12"), ("http.response.status_code", "2xx")];
    let row = "12 | ∅ | {http.route: 12, http.response.status_code: 2xx}";
    assert_eq!(spans(&[], span(3, &odd), &columns), row);
    // A size that another attribute may have said, or that is of no call.
    let columns = ["response_wire_bytes", "response_size_attribute", "attributes"];
    let (now, header) = ("http.response.body.size", "http.response.header.content-length");
    for (kind, sent, row) in [
        (
            3,
            &[(header, "8"), (now, "7")][..],
            "7 | http.response.body.size | {http.response.header.content-length: 8}",
        ),
        (
            3,
            &[(header, "8")],
            "8 | http.response.header.content-length | {http.response.header.content-length: 8}",
        ),
        (
            3,
            &[(now, "many"), (header, "8")],
            "8 | http.response.header.content-length | {http.response.body.size: many, http.response.header.content-length: 8}",
        ),
        (3, &[(now, "-7")], "∅ | ∅ | {http.response.body.size: -7}"),
        (1, &[(now, "7")], "∅ | ∅ | {http.response.body.size: 7}"),
    ] {
        assert_eq!(spans(&[], span(kind, sent), &columns), row, "{kind} {sent:?}");
    }
}

#[test]
fn odd_times_are_kept_in_range() {
    let at = |start, end| {
        let odd =
            ProtoSpan { start_time_unix_nano: start, end_time_unix_nano: end, ..span(1, &[]) };
        spans(&[], odd, &["start_unix_nano", "duration_ns"])
    };
    assert_eq!(at(2, 1), "2 | 0");
    assert_eq!(at(5, 0), "5 | 0");
    assert_eq!(at(0, u64::MAX), format!("0 | {}", i64::MAX));
    assert_eq!(at(u64::MAX, u64::MAX), format!("{} | 0", i64::MAX));
}

#[test]
fn a_span_with_an_invalid_id_is_rejected_alone() {
    let with = |trace: &[u8], id: &[u8], parent: &[u8]| ProtoSpan {
        trace_id: trace.into(),
        span_id: id.into(),
        parent_span_id: parent.into(),
        ..span(1, &[])
    };
    for (bad, why) in [
        (with(&[1; 15], &[1; 8], &[]), "trace id has 15 bytes instead of 16"),
        (with(&[], &[1; 8], &[]), "trace id is missing"),
        (with(&[0; 16], &[1; 8], &[]), "trace id is all zeros"),
        (with(&[1; 16], &[1; 9], &[]), "span id has 9 bytes instead of 8"),
        (with(&[1; 16], &[0; 8], &[]), "span id is all zeros"),
        (with(&[1; 16], &[1; 8], &[1; 7]), "parent span id has 7 bytes instead of 8"),
    ] {
        let body = request(&[("service.name", "s\n")], vec![bad.clone(), span(1, &[]), bad]);
        let decoded = decode(&body).unwrap();
        assert_eq!((decoded.accepted, decoded.rejected), (1, 2));
        assert_eq!(cells(&decoded, Table::Spans, &["span_id"]), ["7"]);
        let expected = format!(
            "2 spans rejected, the first because its {why} (span \"a span\" of service \"s\\n\")"
        );
        assert_eq!(decoded.message, Some(expected));
    }
    assert_eq!(spans(&[], with(&[1; 16], &[1; 8], &[0; 8]), &["parent_span_id"]), "∅");
}

#[test]
fn events_become_rows() {
    let exception = [
        ("exception.type", "IOError"),
        ("exception.message", "m"),
        ("exception.stacktrace", "a\nb"),
        ("exception.escaped", "1"),
    ];
    assert_eq!(
        EXCEPTION.to_vec(),
        Table::SpanEvents
            .attribute_columns()
            .iter()
            .map(|known| known.attribute)
            .collect::<Vec<_>>()
    );
    let with_events = ProtoSpan {
        events: vec![
            Event { time_unix_nano: START, name: "e1".into(), ..Event::default() },
            Event {
                time_unix_nano: u64::MAX,
                name: "exception".into(),
                attributes: attributes(&exception),
                dropped_attributes_count: 0,
            },
        ],
        ..span(2, &[])
    };
    let decoded = decode(&request(&[("service.name", "s")], vec![with_events])).unwrap();
    let columns = [
        "time_unix_nano",
        "service_name",
        "span_name",
        "event_name",
        "exception_type",
        "exception_message",
        "exception_stacktrace",
        "span_id",
        "attributes",
    ];
    assert_eq!(
        cells(&decoded, Table::SpanEvents, &columns),
        [
            format!("{START} | s | a span | e1 | ∅ | ∅ | ∅ | 7 | {{}}"),
            format!(
                "{} | s | a span | exception | IOError | m | a\nb | 7 | {{exception.escaped: 1}}",
                i64::MAX
            ),
        ]
    );
    assert_eq!(cells(&decoded, Table::Spans, &["event_count"]), ["2"]);
    assert_eq!((decoded.accepted, decoded.rejected), (1, 0));
}

/// Direction, bytes as transferred and before compression, and the attribute: of the bodies of each span.
fn bodies(decoded: &Decoded) -> Vec<String> {
    let of = |direction: &str| {
        let columns = ["wire_bytes", "uncompressed_bytes", "size_attribute"];
        let columns = columns.map(|column| format!("{direction}_{column}"));
        cells(decoded, Table::Spans, &columns.each_ref().map(String::as_str))
            .into_iter()
            .map(|size| format!("{direction} | {size}"))
            .collect::<Vec<_>>()
    };
    let both = of("request").into_iter().zip(of("response")).flat_map(|(a, b)| [a, b]);
    both.filter(|body| !body.ends_with("∅ | ∅ | ∅")).collect()
}

#[test]
fn sizes_become_columns() {
    let http =
        [("http.request.method", "GET"), ("http.route", "/i"), ("server.address", "inv.local")];
    for (kind, sizes, expected) in [
        (
            2,
            &[("http.response.body.size", "8192"), ("http.request.body.size", "17")][..],
            &[
                "request | 17 | ∅ | http.request.body.size",
                "response | 8192 | ∅ | http.response.body.size",
            ][..],
        ),
        (
            3,
            &[
                ("http.response_content_length", "10"),
                ("http.response_content_length_uncompressed", "80"),
                ("http.response.header.content_length", "11"),
                ("service.peer.name", "inventory"),
            ],
            &["response | 10 | 80 | http.response_content_length"],
        ),
        (
            3,
            &[("http.request_content_length_uncompressed", "5")],
            &["request | ∅ | 5 | http.request_content_length_uncompressed"],
        ),
        (
            4,
            &[("messaging.message.body.size", "99")],
            &["request | 99 | ∅ | messaging.message.body.size"],
        ),
        (
            5,
            &[("messaging.message.payload_size_bytes", "98")],
            &["request | 98 | ∅ | messaging.message.payload_size_bytes"],
        ),
        (1, &[("http.response.body.size", "8192")], &[]),
        (2, &[("http.response.body.size", "-1"), ("http.request.body.size", "many")], &[]),
    ] {
        let pairs = [&http[..], sizes].concat();
        let decoded =
            decode(&request(&[("service.name", "me")], vec![span(kind, &pairs)])).unwrap();
        assert_eq!(bodies(&decoded), expected, "{kind} {sizes:?}");
    }
}

#[test]
fn less_exact_sizes_count_where_nothing_better_is_there() {
    for (kind, sizes, expected) in [
        (
            2,
            &[("http.request.size", "300"), ("http.response.size", "400")][..],
            &["request | 300 | ∅ | http.request.size", "response | 400 | ∅ | http.response.size"][..],
        ),
        (
            2,
            &[("http.response.size", "400"), ("http.response.header.content-length", "250")],
            &["response | 250 | ∅ | http.response.header.content-length"],
        ),
        (
            4,
            &[("messaging.message.envelope.size", "120")],
            &["request | 120 | ∅ | messaging.message.envelope.size"],
        ),
        (
            4,
            &[("messaging.message.envelope.size", "120"), ("messaging.message.body.size", "99")],
            &["request | 99 | ∅ | messaging.message.body.size"],
        ),
        (
            3,
            &[("azure.cosmosdb.request.body.size", "7")],
            &["request | 7 | ∅ | azure.cosmosdb.request.body.size"],
        ),
    ] {
        let decoded = decode(&request(&[], vec![span(kind, sizes)])).unwrap();
        assert_eq!(bodies(&decoded), expected, "{sizes:?}");
    }
}

/// Type, compressed and uncompressed size of a message.
type Sent<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

const SERVER: i32 = 2;
const CLIENT: i32 = 3;

/// A span with these messages as events of this name.
fn call(kind: i32, name: &str, messages: &[Sent<'_>]) -> ProtoSpan {
    let prefix = if name == "rpc.message" { "rpc.message" } else { "message" };
    let events = messages.iter().zip(1..).map(|((kind, compressed, uncompressed), id)| {
        let mut pairs = vec![
            (format!("{prefix}.type"), (*kind).to_owned()),
            (format!("{prefix}.id"), i32::to_string(&id)),
        ];
        for (key, value) in [("compressed_size", compressed), ("uncompressed_size", uncompressed)] {
            pairs.extend(value.map(|value| (format!("{prefix}.{key}"), value.to_owned())));
        }
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        Event { name: name.to_owned(), attributes: attributes(&pairs), ..Event::default() }
    });
    ProtoSpan { events: events.collect(), ..span(kind, &[]) }
}

fn sizes_of(call: ProtoSpan) -> Vec<String> {
    bodies(&decode(&request(&[], vec![call])).unwrap())
}

#[test]
fn messages_of_a_call_add_up_by_direction() {
    let huge = i64::MAX.to_string();
    for (kind, name, messages, expected) in [
        (
            CLIENT,
            "rpc.message",
            &[("SENT", Some("10"), Some("80")), ("RECEIVED", Some("20"), Some("160"))][..],
            &[
                "request | 10 | 80 | rpc.message.compressed_size",
                "response | 20 | 160 | rpc.message.compressed_size",
            ][..],
        ),
        // A server sends the response.
        (
            SERVER,
            "rpc.message",
            &[("RECEIVED", None, Some("7")), ("SENT", None, Some("9"))],
            &[
                "request | ∅ | 7 | rpc.message.uncompressed_size",
                "response | ∅ | 9 | rpc.message.uncompressed_size",
            ],
        ),
        // A stream: the sum. The older event.
        (
            SERVER,
            "message",
            &[("SENT", Some("1"), None), ("SENT", Some("2"), None), ("SENT", Some("4"), None)],
            &["response | 7 | ∅ | message.compressed_size"],
        ),
        (
            CLIENT,
            "message",
            &[("SENT", Some(huge.as_str()), None), ("SENT", Some("1"), None)],
            &["request | 9223372036854775807 | ∅ | message.compressed_size"],
        ),
    ] {
        assert_eq!(sizes_of(call(kind, name, messages)), expected, "{messages:?}");
    }
}

#[test]
fn a_part_of_the_messages_is_no_size() {
    for (kind, name, messages) in [
        (SERVER, "message", &[("SENT", Some("1"), None), ("SENT", None, None)][..]),
        (SERVER, "message", &[("SENT", Some("1"), None), ("SENT", Some("-1"), None)]),
        (CLIENT, "message", &[("LOST", Some("1"), None)]),
        (CLIENT, "exception", &[("SENT", Some("1"), None)]),
        // A span inside a service is no call.
        (1, "message", &[("SENT", Some("1"), None)]),
    ] {
        assert_eq!(sizes_of(call(kind, name, messages)), Vec::<String>::new(), "{messages:?}");
    }
    let one = call(SERVER, "message", &[("SENT", Some("1"), None)]);
    assert_eq!(sizes_of(one.clone()).len(), 1);
    let cut = ProtoSpan { dropped_events_count: 1, ..one };
    assert_eq!(sizes_of(cut), Vec::<String>::new());
}

#[test]
fn an_attribute_of_the_span_counts_before_its_messages() {
    let own = attributes(&[("http.response.size", "42")]);
    let messages = call(SERVER, "message", &[("SENT", Some("1"), Some("5"))]);
    let both = ProtoSpan { attributes: own, ..messages };
    assert_eq!(sizes_of(both), ["response | 42 | 5 | http.response.size"]);
}

#[test]
fn what_a_request_repeats_is_paid_for() {
    // A megabyte of resource on each of 4,000 spans would be 8 GB of rows.
    let large = "x".repeat(1 << 20);
    let body = request(&[("large", &large)], vec![span(1, &[]); 4_000]);
    assert!(matches!(decode(&body), Err(Fault::TooLarge)));
    // The same for a long span name on many events.
    let named = ProtoSpan { name: large, events: vec![Event::default(); 4_000], ..span(1, &[]) };
    assert!(matches!(decode(&request(&[], vec![named])), Err(Fault::TooLarge)));
}

#[test]
fn tiny_elements_are_counted_one_by_one() {
    // Two bytes each, without ids: materialised they would take a hundred times as much.
    const COUNT: usize = 1 << 19;
    let (mut resource_spans, mut body) = (Vec::new(), Vec::new());
    prost::encoding::bytes::encode(2, &[0x12, 0x00].repeat(COUNT), &mut resource_spans);
    prost::encoding::bytes::encode(1, &resource_spans, &mut body);
    let decoded = decode(&body).unwrap();
    assert_eq!((decoded.accepted, decoded.rejected), (0, COUNT as u64));
    assert!(decoded.batches.is_empty());
}
