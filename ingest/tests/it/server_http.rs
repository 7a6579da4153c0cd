//! OTLP over HTTP: what is taken and what is refused, with status, content type and body.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use upriver_store::schema::Table;

use crate::harness::{Request, Server, gzip, logs, metrics, otlp_profiles, traces};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const TRACES_JSON: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","name":"GET /cart","startTimeUnixNano":"1777896000000000000","endTimeUnixNano":"1777896000010000000"}]}]}]}"#;
const LOGS_JSON: &str = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1777896000000000000","severityNumber":9,"body":{"stringValue":"ready"}}]}]}]}"#;
const PROFILES_JSON: &str = r#"{"resourceProfiles":[{"scopeProfiles":[{"profiles":[{"sampleType":{"typeStrindex":1,"unitStrindex":2},"timeUnixNano":"1777896000000000000","samples":[{"values":["7"]}]}]}]}],"dictionary":{"stringTable":["","samples","count"],"stackTable":[{}]}}"#;

fn post(path: &str, content_type: &str, body: &[u8]) -> Request {
    Request::post(path).header("Content-Type", content_type).body(body)
}

#[tokio::test]
async fn a_success_says_nothing_more() {
    let server = Server::start().await;
    let answer = post("/v1/traces", PROTOBUF, &traces(3)).send(server.http).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(PROTOBUF)));
    let response = ExportTraceServiceResponse::decode(&answer.body[..]).unwrap();
    assert_eq!(response.partial_success, None);
    assert_eq!(server.rows(Table::Spans), 3);

    let answer = post("/v1/metrics", PROTOBUF, &metrics()).send(server.http).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(PROTOBUF)));
    let response = ExportMetricsServiceResponse::decode(&answer.body[..]).unwrap();
    assert_eq!(response.partial_success, None);
    assert_eq!(server.rows(Table::Metrics), 1);

    for (path, body, table) in [
        ("/v1/logs", logs(1), Table::Logs),
        ("/v1development/profiles", otlp_profiles(&[0]), Table::Profiles),
    ] {
        let answer = post(path, PROTOBUF, &body).send(server.http).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(PROTOBUF)));
        assert_eq!(answer.body, b"", "{path}");
        assert_eq!(server.rows(table), 1, "{path}");
    }
}

#[tokio::test]
async fn json_is_answered_with_json() {
    let server = Server::start().await;
    let answer = post("/v1/traces", JSON, TRACES_JSON.as_bytes()).send(server.http).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(JSON)));
    assert_eq!(answer.text(), "{}");
    assert_eq!(server.rows(Table::Spans), 1);

    for (path, body, table) in [
        ("/v1/logs", LOGS_JSON, Table::Logs),
        ("/v1development/profiles", PROFILES_JSON, Table::ProfileSamples),
    ] {
        let answer = post(path, JSON, body.as_bytes()).send(server.http).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(JSON)));
        assert_eq!(answer.text(), "{}", "{path}");
        assert_eq!(server.rows(table), 1, "{path}");
    }
}

#[tokio::test]
async fn content_types_may_have_parameters_and_any_case() {
    let server = Server::start().await;
    for (content_type, body) in [
        ("Application/JSON; charset=utf-8", TRACES_JSON.as_bytes()),
        ("APPLICATION/X-PROTOBUF", &traces(1)),
        ("application/x-protobuf ;v=1", &traces(1)),
    ] {
        let answer = post("/v1/traces", content_type, body).send(server.http).await;
        assert_eq!(answer.status, 200, "{content_type}: {answer:?}");
    }
    assert_eq!(server.rows(Table::Spans), 3);
}

#[tokio::test]
async fn bodies_may_be_compressed_and_chunked() {
    let server = Server::start().await;
    let zstd = zstd::encode_all(&traces(1)[..], 3).unwrap();
    let members = [gzip(&traces(1)), gzip(&[])].concat();
    for (encoding, body) in [
        ("gzip", gzip(&traces(1))),
        ("GZIP", gzip(&traces(1))),
        ("gzip", members),
        ("zstd", zstd),
        ("identity", traces(1)),
    ] {
        let request =
            post("/v1/traces", PROTOBUF, &body).header("Content-Encoding", encoding).chunked();
        let answer = request.send(server.http).await;
        assert_eq!(answer.status, 200, "{encoding}: {answer:?}");
    }
    assert_eq!(server.rows(Table::Spans), 5);
    for (path, body) in [("/v1/logs", logs(1)), ("/v1development/profiles", otlp_profiles(&[0]))] {
        let zstd = zstd::encode_all(&body[..], 3).unwrap();
        for (encoding, body) in [("gzip", gzip(&body)), ("zstd", zstd)] {
            let request = post(path, PROTOBUF, &body).header("Content-Encoding", encoding);
            assert_eq!(request.send(server.http).await.status, 200, "{path} {encoding}");
        }
    }
    assert_eq!((server.rows(Table::Logs), server.rows(Table::Profiles)), (2, 2));
}

#[tokio::test]
async fn empty_requests_succeed() {
    let server = Server::start().await;
    for (path, content_type, body) in [
        ("/v1/traces", PROTOBUF, ""),
        ("/v1/metrics", PROTOBUF, ""),
        ("/v1/logs", PROTOBUF, ""),
        ("/v1development/profiles", PROTOBUF, ""),
        ("/v1/logs", JSON, "{}"),
        ("/v1development/profiles", JSON, "{}"),
        ("/v1/traces", JSON, "{}"),
        ("/v1/metrics", JSON, "{}"),
    ] {
        let answer = post(path, content_type, body.as_bytes()).send(server.http).await;
        assert_eq!(answer.status, 200, "{path} {content_type}: {answer:?}");
    }
    let request = post("/v1/traces", PROTOBUF, b"").header("Content-Encoding", "gzip");
    assert_eq!(request.send(server.http).await.status, 200);
    assert_eq!(server.all_rows(), 0);
}

#[tokio::test]
async fn partial_success_counts_and_explains() {
    let server = Server::start().await;
    let bad_id = TRACES_JSON.replace("EEE19B7EC3C1B174", "0000000000000000");
    let answer = post("/v1/traces", JSON, bad_id.as_bytes()).send(server.http).await;
    assert_eq!(answer.status, 200);
    let partial = &answer.json()["partialSuccess"];
    assert_eq!(partial["rejectedSpans"], "1", "64-bit integers are texts in protobuf's JSON");
    assert!(!partial["errorMessage"].as_str().unwrap().is_empty());
    assert_eq!(server.all_rows(), 0);
}

#[tokio::test]
async fn rejected_profiles_are_counted_as_profiles() {
    let server = Server::start().await;
    let bad_stack = PROFILES_JSON.replace(r#""values""#, r#""stackIndex":9,"values""#);
    let answer =
        post("/v1development/profiles", JSON, bad_stack.as_bytes()).send(server.http).await;
    assert_eq!(answer.status, 200);
    let partial = &answer.json()["partialSuccess"];
    assert_eq!(partial["rejectedProfiles"], "1");
    assert!(partial["errorMessage"].as_str().unwrap().contains("stack 9"), "{partial}");
    assert_eq!(server.all_rows(), 0);
    let page = Request::get("/metrics").send(server.api).await.text();
    let refused =
        r#"upriver_receiver_refused_profile_samples_total{receiver="otlp",transport="http"} 1"#;
    assert!(page.contains(refused), "{page}");
}

#[tokio::test]
async fn log_records_are_counted() {
    let server = Server::start().await;
    assert_eq!(post("/v1/logs", PROTOBUF, &logs(3)).send(server.http).await.status, 200);
    let page = Request::get("/metrics").send(server.api).await.text();
    let accepted =
        r#"upriver_receiver_accepted_log_records_total{receiver="otlp",transport="http"} 3"#;
    assert!(page.contains(accepted), "{page}");
}

/// Status, `google.rpc.Code` and a part of the message.
type Expected = (u16, i32, &'static str);

#[tokio::test]
async fn refusals_have_a_status_in_the_encoding_of_the_request() {
    let server = Server::start().await;
    let cases: [(Request, &str, Expected); 13] = [
        (post("/v1/traces", PROTOBUF, b"<html>"), PROTOBUF, (400, 3, "cannot read OTLP traces")),
        (post("/v1/metrics", PROTOBUF, b"<html>"), PROTOBUF, (400, 3, "cannot read OTLP metrics")),
        (post("/v1/traces", JSON, b"[]"), JSON, (400, 3, "expected a JSON object")),
        (post("/v1/traces", "text/plain", b"{}"), JSON, (415, 12, "\"text/plain\" is not taken")),
        (Request::post("/v1/traces").body(b"x"), JSON, (415, 12, "a missing content type")),
        (
            post("/v1/traces", PROTOBUF, b"x").header("Content-Encoding", "br"),
            PROTOBUF,
            (415, 12, "\"br\" is not supported; send one of gzip, zstd, identity"),
        ),
        (
            post("/v1/traces", JSON, b"{}").header("Content-Encoding", "gzip"),
            JSON,
            (400, 3, "cannot decompress the gzip body"),
        ),
        (
            post("/v1/traces", PROTOBUF, b"{}").header("Content-Encoding", "zstd"),
            PROTOBUF,
            (400, 3, "cannot decompress the zstd body"),
        ),
        (Request::get("/v1/traces"), JSON, (405, 12, "the method GET is not taken here; use POST")),
        (post("/v1/logs", PROTOBUF, b"<html>"), PROTOBUF, (400, 3, "cannot read OTLP logs")),
        (post("/v1/logs", JSON, b"[]"), JSON, (400, 3, "expected a JSON object")),
        (
            post("/v1development/profiles", PROTOBUF, b"<html>"),
            PROTOBUF,
            (400, 3, "cannot read OTLP profiles"),
        ),
        (
            post("/v1/trace", PROTOBUF, b""),
            PROTOBUF,
            (404, 12, "takes /v1/traces, /v1/metrics, /v1/logs, /v1development/profiles"),
        ),
    ];
    for (request, content_type, (status, code, message)) in cases {
        let answer = request.clone().send(server.http).await;
        assert_eq!(answer.status, status, "{request:?}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some(content_type), "{request:?}");
        let rpc = answer.rpc_status();
        assert_eq!(rpc.code, code, "{request:?}: {rpc:?}");
        assert!(rpc.message.contains(message), "{request:?}: {rpc:?}");
    }
    assert_eq!(server.all_rows(), 0);
    server.assert_alive().await;
}

#[tokio::test]
async fn a_bad_request_has_its_violation_in_the_details() {
    let server = Server::start().await;
    let answer = post("/v1/traces", PROTOBUF, b"<html>").send(server.http).await;
    let details = answer.rpc_status().details;
    assert_eq!(details[0].type_url, "type.googleapis.com/google.rpc.BadRequest");
    let answer = post("/v1/traces", JSON, b"[]").send(server.http).await;
    let details = &answer.json()["details"][0];
    assert_eq!(details["@type"], "type.googleapis.com/google.rpc.BadRequest");
    assert_eq!(details["fieldViolations"][0]["field"], "body");
}

#[tokio::test]
async fn a_wrong_method_names_the_right_one() {
    let server = Server::start().await;
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let answer = Request::new(method, "/v1/metrics").send(server.http).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
    }
}
