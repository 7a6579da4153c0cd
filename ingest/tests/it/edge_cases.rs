//! Edge cases of OTLP, each with its expected answer. Where the answer leaves a choice, it is fixed here.
#![expect(clippy::panic, reason = "helpers of tests fail by panicking")]

use upriver_ingest::otlp::{decode_traces, json};
use upriver_ingest::{DecodeErrorKind, Decoded};
use upriver_store::schema::Table;

use crate::support::{cells, expectations, fixtures, read};

/// What a request must lead to.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// Taken, with this many spans.
    Accept(u64),
    /// Taken without this many spans.
    Reject(u64),
    /// Refused with a message that has this text.
    Refuse(&'static str),
}
use Answer::{Accept, Refuse, Reject};

fn check(name: &str, result: Result<Decoded, upriver_ingest::DecodeError>, answer: Answer) {
    match (answer, result) {
        (Accept(spans), Ok(decoded)) => {
            assert_eq!((decoded.accepted, decoded.rejected), (spans, 0), "{name}");
        }
        (Reject(spans), Ok(decoded)) => {
            assert_eq!(decoded.rejected, spans, "{name}");
            assert!(decoded.message.is_some(), "{name}");
        }
        (Refuse(text), Err(error)) => {
            assert_eq!(error.kind(), DecodeErrorKind::InvalidArgument, "{name}");
            assert!(error.to_string().contains(text), "{name}: {error}");
        }
        (answer, result) => panic!("{name}: {answer:?} expected, got {result:?}"),
    }
}

const JSON: [(&str, Answer); 30] = [
    ("ids-upper-hex.json", Accept(1)),
    ("ids-mixed-case-hex.json", Accept(1)),
    ("ids-base64.json", Refuse("is not 32 hexadecimal digits")),
    ("ids-short.json", Refuse("\"5b8efff7\" is not 32 hexadecimal digits")),
    ("ids-odd-hex.json", Refuse("is not 16 hexadecimal digits")),
    ("ids-zero.json", Reject(1)),
    ("ids-empty.json", Reject(1)),
    ("int64-as-number.json", Accept(1)),
    ("int64-as-string.json", Accept(1)),
    ("int64-overflow.json", Refuse("9223372036854775808 is not a signed 64-bit integer")),
    ("int64-exponent.json", Accept(1)),
    ("enum-as-name.json", Refuse("OTLP JSON forbids names")),
    ("enum-unknown-number.json", Accept(1)),
    ("unknown-fields.json", Accept(1)),
    ("snake-case-keys.json", Accept(0)),
    ("null-fields.json", Accept(1)),
    ("anyvalue-empty.json", Accept(1)),
    ("anyvalue-nested.json", Accept(1)),
    ("duplicate-attribute-keys.json", Accept(1)),
    ("end-before-start.json", Accept(1)),
    ("empty-object.json", Accept(0)),
    ("empty-envelopes.json", Accept(0)),
    ("not-json.json", Refuse("the JSON is not valid: EOF")),
    ("array-top.json", Refuse("expected a JSON object")),
    ("utf8-bom.json", Accept(1)),
    ("invalid-utf8.json", Refuse("the JSON is not UTF-8")),
    ("lone-surrogate.json", Refuse("hex escape")),
    ("duplicate-json-keys.json", Refuse("duplicate field `resourceSpans`")),
    ("deep-nesting-10000.json", Refuse("expected a JSON object")),
    ("deep-anyvalue-3000.json", Refuse("recursion limit exceeded")),
];

#[test]
fn json_edge_cases_are_answered() {
    let Some(folder) = fixtures("otlp/json-edge") else { return };
    let expected = expectations(&folder.join("expected.json"));
    assert!(
        expected.keys().all(|name| JSON.iter().any(|(known, _)| known == name)),
        "{expected:?}"
    );
    for (name, answer) in JSON {
        assert!(expected.contains_key(name), "{name}");
        let protobuf = json::traces_to_protobuf(&read(&folder.join(name)));
        check(name, protobuf.and_then(|body| decode_traces(&body)), answer);
    }
}

#[test]
fn json_values_arrive_as_sent() {
    let Some(folder) = fixtures("otlp/json-edge") else { return };
    for (name, column, expected) in [
        ("ids-upper-hex.json", "trace_id", "5b8efff798038103d269b633813fc60c"),
        ("ids-mixed-case-hex.json", "trace_id", "5b8efff798038103d269b633813fc60c"),
        ("int64-as-number.json", "attributes", "{a: 20894}"),
        ("int64-as-string.json", "attributes", "{a: 9223372036854775807, b: -9223372036854775808}"),
        ("int64-exponent.json", "attributes", "{a: 1000}"),
        ("enum-unknown-number.json", "span_kind", "UNSPECIFIED"),
        ("anyvalue-empty.json", "attributes", "{a: ∅, b: ∅}"),
        ("anyvalue-nested.json", "attributes", r#"{a: {"k":["AAEC","NaN","-Infinity"]}}"#),
        ("duplicate-attribute-keys.json", "attributes", "{a: 1}"),
        ("end-before-start.json", "duration_ns", "0"),
        ("null-fields.json", "parent_span_id", "∅"),
    ] {
        let body = json::traces_to_protobuf(&read(&folder.join(name))).unwrap();
        let decoded = decode_traces(&body).unwrap();
        assert_eq!(cells(&decoded, Table::Spans, &[column]), [expected], "{name}");
    }
}

/// Those that arrive compressed are the receiver's business.
const PROTOBUF: [(&str, Answer); 10] = [
    ("empty.bin", Accept(0)),
    ("garbage.bin", Refuse("cannot read OTLP traces: ")),
    ("html.bin", Refuse("cannot read OTLP traces: ")),
    ("truncated-len.bin", Refuse("a length goes past the end of the message")),
    ("traceid-15-bytes.bin", Reject(1)),
    ("spanid-9-bytes.bin", Reject(1)),
    ("spans-1-good-1-bad-id.bin", Reject(1)),
    ("invalid-utf8-name.bin", Refuse("Span.name: the text is not UTF-8")),
    ("anyvalue-depth-200.bin", Refuse("nested too deeply")),
    ("unknown-fields.bin", Accept(0)),
];
const COMPRESSED: [&str; 4] = [
    "bomb-64MiB-zeros.gz",
    "bomb-strings-96MiB.gz",
    "gzip-truncated.gz",
    "not-gzip-but-header-says-so.bin",
];

#[test]
fn protobuf_edge_cases_are_answered() {
    let Some(folder) = fixtures("otlp/proto-edge") else { return };
    let expected = expectations(&folder.join("expected.json"));
    let known = |name: &str| PROTOBUF.iter().any(|(n, _)| *n == name) || COMPRESSED.contains(&name);
    assert!(expected.keys().all(|name| known(name)), "{expected:?}");
    for (name, answer) in PROTOBUF {
        check(name, decode_traces(&read(&folder.join(name))), answer);
    }
    let decoded = decode_traces(&read(&folder.join("spans-1-good-1-bad-id.bin"))).unwrap();
    assert_eq!((decoded.accepted, decoded.rejected), (1, 1));
    // What is inside the bombs is refused as well, and without holding more than its size.
    let zeros = decode_traces(&read(&folder.join("bomb-64MiB-zeros.gz")));
    check("bomb-64MiB-zeros", zeros, Refuse("a field number is out of range"));
}
