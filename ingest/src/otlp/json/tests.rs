use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use super::*;

/// The same request by prost and by the JSON reader of opentelemetry-proto must be what we write.
const TRACES_JSON: &str = r#"{"resourceSpans": [{
  "resource": {"attributes": [
    {"key": "service.name", "value": {"stringValue": "s"}},
    {"key": "empty", "value": {"stringValue": ""}},
    {"key": "zero", "value": {"intValue": "0"}}, {"key": "no", "value": {"boolValue": false}},
    {"key": "list", "value": {"arrayValue": {"values": [{"intValue": -5}, {"doubleValue": -0.0}, {}]}}},
    {"key": "map", "value": {"kvlistValue": {"values": [{"key": "k", "value": {"bytesValue": "AAEC"}}]}}}
  ], "droppedAttributesCount": 1},
  "scopeSpans": [{
    "scope": {"name": "n", "version": "v", "attributes": [{"key": "a", "value": {"doubleValue": 1.5}}], "droppedAttributesCount": 2},
    "spans": [{
      "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "eee19b7ec3c1b174", "parentSpanId": "eee19b7ec3c1b173",
      "traceState": "a=b", "flags": 769, "name": "span", "kind": 99,
      "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": 1544712661000000000,
      "attributes": [{"key": "x", "value": {"intValue": "9223372036854775807"}}], "droppedAttributesCount": 3,
      "events": [{"timeUnixNano": "1", "name": "e", "attributes": [{"key": "y", "value": {"stringValue": "\u00fc"}}], "droppedAttributesCount": 4}],
      "droppedEventsCount": 5,
      "links": [{"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "traceState": "t",
                 "attributes": [{"key": "z", "value": {"boolValue": true}}], "droppedAttributesCount": 6, "flags": 7}],
      "droppedLinksCount": 8,
      "status": {"message": "m", "code": 2}
    }], "schemaUrl": "u1"}], "schemaUrl": "u2"}]}"#;

#[test]
fn traces_are_what_another_reader_reads() {
    let ours = traces_to_protobuf(TRACES_JSON.as_bytes()).unwrap();
    let theirs: ExportTraceServiceRequest = serde_json::from_str(TRACES_JSON).unwrap();
    assert_eq!(ExportTraceServiceRequest::decode(&ours[..]).unwrap(), theirs);
    assert_eq!(ours, theirs.encode_to_vec());
}

const METRICS_JSON: &str = r#"{"resourceMetrics": [{"resource": {}, "scopeMetrics": [{"scope": {"name": "n"}, "metrics": [
  {"name": "g", "description": "d", "unit": "1", "gauge": {"dataPoints": [
    {"attributes": [{"key": "a", "value": {"stringValue": "b"}}], "startTimeUnixNano": "1", "timeUnixNano": "2", "asInt": "-7", "flags": 1,
     "exemplars": [{"timeUnixNano": "3", "asDouble": 2.5, "spanId": "eee19b7ec3c1b174", "traceId": "5b8efff798038103d269b633813fc60c",
                    "filteredAttributes": [{"key": "f", "value": {"intValue": "1"}}]},
                   {"timeUnixNano": "3", "asInt": "4"}]},
    {"timeUnixNano": "2", "asDouble": 0.1}]}},
  {"name": "s", "sum": {"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [{"asDouble": 1e-7}]}},
  {"name": "h", "histogram": {"aggregationTemporality": 1, "dataPoints": [
    {"timeUnixNano": "2", "count": "3", "sum": 0, "bucketCounts": ["1", 2], "explicitBounds": [0.5], "min": -1.5, "max": 7, "flags": 1}]}},
  {"name": "e", "exponentialHistogram": {"aggregationTemporality": 1, "dataPoints": [
    {"count": "3", "sum": 10, "scale": -4, "zeroCount": "1", "positive": {"offset": -3, "bucketCounts": ["0", "300"]},
     "negative": {"offset": 2, "bucketCounts": ["1"]}, "min": 0, "max": 5, "zeroThreshold": 0.25, "exemplars": [{"asInt": "1"}]}]}},
  {"name": "q", "summary": {"dataPoints": [{"count": "2", "sum": 1.5, "quantileValues": [{"quantile": 0.5, "value": 3}, {"quantile": 1}]}]}}
], "schemaUrl": "u"}]}]}"#;

#[test]
fn metrics_are_what_another_reader_reads() {
    let ours = metrics_to_protobuf(METRICS_JSON.as_bytes()).unwrap();
    let theirs: ExportMetricsServiceRequest = serde_json::from_str(METRICS_JSON).unwrap();
    assert_eq!(ExportMetricsServiceRequest::decode(&ours[..]).unwrap(), theirs);
}

const LOGS_JSON: &str = r#"{"resourceLogs": [{
  "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "s"}}]},
  "scopeLogs": [{"scope": {"name": "n"}, "schemaUrl": "u1", "logRecords": [
    {"timeUnixNano": "1544712660300000000", "observedTimeUnixNano": 1544712660300000001, "severityNumber": 10,
     "severityText": "Information", "body": {"stringValue": "b"}, "flags": 1, "droppedAttributesCount": 2,
     "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "eee19b7ec3c1b174", "eventName": "e",
     "attributes": [{"key": "x", "value": {"intValue": "9223372036854775807"}}]},
    {"body": {"kvlistValue": {"values": [{"key": "k", "value": {"arrayValue": {"values": [{"bytesValue": "AAEC"}]}}}]}}},
    {"body": {}, "severityNumber": 99}, {}
  ]}], "schemaUrl": "u2"}]}"#;

#[test]
fn logs_are_what_another_reader_reads() {
    let ours = logs_to_protobuf(LOGS_JSON.as_bytes()).unwrap();
    let theirs: ExportLogsServiceRequest = serde_json::from_str(LOGS_JSON).unwrap();
    assert_eq!(ExportLogsServiceRequest::decode(&ours[..]).unwrap(), theirs);
    assert_eq!(ours, theirs.encode_to_vec());
}

fn span_with(field: &str) -> Result<Vec<u8>, String> {
    let body = format!(r#"{{"resourceSpans": [{{"scopeSpans": [{{"spans": [{{{field}}}]}}]}}]}}"#);
    traces_to_protobuf(body.as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn refusals_say_what_is_expected() {
    for (field, expected) in [
        (
            r#""traceId": "W47/95gDgQPSabYzgT/GDA==""#,
            r#"id "W47/95gDgQPSabYzgT/GDA==" is not 32 hexadecimal digits"#,
        ),
        (r#""spanId": "eee19b7ec3c1b17""#, r#"id "eee19b7ec3c1b17" is not 16 hexadecimal digits"#),
        (r#""traceId": "5b8efff7""#, r#"id "5b8efff7" is not 32 hexadecimal digits"#),
        (r#""traceId": [1]"#, "invalid type: sequence, expected 32 hexadecimal digits"),
        (r#""kind": "SPAN_KIND_SERVER""#, "expected an enum as a number (OTLP JSON forbids names)"),
        (r#""startTimeUnixNano": "1.5""#, r#""1.5" is not an unsigned 64-bit integer"#),
        (r#""startTimeUnixNano": -1"#, "-1 is not an unsigned 64-bit integer"),
        (r#""startTimeUnixNano": 1e300"#, "is not an unsigned 64-bit integer"),
        (r#""flags": 4294967296"#, "4294967296 is not an unsigned 32-bit integer"),
        (r#""name": 5"#, "invalid type: integer `5`, expected a text"),
        (r#""events": {}"#, "invalid type: map, expected a list of JSON objects"),
        (r#""events": [[]]"#, "invalid type: sequence, expected a JSON object"),
        (r#""name": "a", "name": "b""#, "duplicate field `name`"),
        (r#""attributes": [{"key": "a", "value": {"bytesValue": "*"}}]"#, "not base64"),
        (
            r#""attributes": [{"key": "a", "value": {"doubleValue": "x"}}]"#,
            r#""x" is not a number, NaN or Infinity"#,
        ),
        (r#""attributes": [{"key": "a", "value": {"doubleValue": 1e999}}]"#, "is not a number"),
    ] {
        let error = span_with(field).unwrap_err();
        assert!(error.contains(expected), "{field}: {error}");
        assert!(error.starts_with("cannot read OTLP traces: the JSON is not valid: "), "{error}");
        assert!(error.contains(" at line 1 column "), "{error}");
    }
}

#[test]
fn proto3_forms_are_taken() {
    for (one, other) in [
        (
            r#""traceId": null, "name": null, "kind": null, "events": null, "status": null, "flags": null"#,
            "",
        ),
        (r#""startTimeUnixNano": 1e3"#, r#""startTimeUnixNano": "1000""#),
        (
            r#""attributes": [{"key": "a", "value": {"intValue": 1e3}}]"#,
            r#""attributes": [{"key": "a", "value": {"intValue": "1000"}}]"#,
        ),
        (
            r#""attributes": [{"key": "a", "value": {"bytesValue": "-_8"}}]"#,
            r#""attributes": [{"key": "a", "value": {"bytesValue": "+/8="}}]"#,
        ),
        (
            r#""attributes": [{"key": "a", "value": {"doubleValue": "0.30000000000000004"}}]"#,
            r#""attributes": [{"key": "a", "value": {"doubleValue": 0.30000000000000004}}]"#,
        ),
        (
            r#""attributes": [{"key": "a", "value": {"future": [1], "stringValue": "s"}}]"#,
            r#""attributes": [{"key": "a", "value": {"stringValue": "s"}}]"#,
        ),
    ] {
        assert_eq!(span_with(one), span_with(other), "{one}");
        assert!(span_with(one).is_ok());
    }
}

#[test]
fn doubles_are_read_to_the_last_bit() {
    for number in ["0.30000000000000004", "5e-324", "1.7976931348623157e308", "123456789.12345679"]
    {
        let field =
            format!(r#""attributes": [{{"key": "a", "value": {{"doubleValue": {number}}}}}]"#);
        let expected: f64 = number.parse().unwrap();
        let bytes = span_with(&field).unwrap();
        assert!(bytes.windows(8).any(|window| window == expected.to_le_bytes()), "{number}");
    }
}

#[test]
fn other_documents_are_refused() {
    for (body, expected) in [
        (&b"[]"[..], "expected a JSON object"),
        (b"null", "expected a JSON object, found null"),
        (b"5", "expected a JSON object"),
        (b"", "EOF while parsing"),
        (b"{} {}", "trailing characters"),
        (b"{\"a\": \"\xff\"}", "the JSON is not UTF-8"),
    ] {
        let error = traces_to_protobuf(body).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(metrics_to_protobuf(b"\xef\xbb\xbf {}"), Ok(Vec::new()));
}
