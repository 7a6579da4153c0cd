//! Requests of real clients, sent as they were recorded.

use serde_json::Value;
use upriver_store::schema::Table;

use crate::harness::{Request, Server};
use crate::server_grpc::{self, Sent};
use crate::support::fixtures;

#[tokio::test]
async fn recorded_requests_are_taken() {
    let Some(folder) = fixtures("otlp/captured") else { return };
    let index = std::fs::read(folder.join("index.json")).unwrap();
    let index: Vec<Value> = serde_json::from_slice(&index).unwrap();
    let mut taken = 0;
    for entry in index {
        let file = entry["file"].as_str().unwrap();
        let body = std::fs::read(folder.join(file)).unwrap();
        let server = Server::start().await;
        if entry["proto"] == "grpc" {
            check_grpc(&server, &entry, body).await;
        } else {
            check_http(&server, &entry, &body).await;
        }
        taken += server.all_rows();
    }
    assert!(taken > 100, "{taken}");
}

#[tokio::test]
async fn recorded_profiles_are_taken_through_both_doors() {
    let Some(folder) = fixtures("otlp") else { return };
    let server = Server::start().await;
    let body = std::fs::read(folder.join("captured/py-otlp-profiles.1.body")).unwrap();
    let request = Request::post("/v1development/profiles")
        .header("content-type", "application/x-protobuf")
        .header("content-encoding", "gzip");
    let answer = request.body(&body).send(server.http).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b""[..]), "{answer:?}");
    assert_eq!(server.rows(Table::ProfileSamples), 930);

    let body = std::fs::read(folder.join("otel-ebpf-profile.pb.bin")).unwrap();
    let path = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";
    let answer = server_grpc::call(server.grpc, path, body, Sent::Gzip).await.unwrap();
    assert_eq!(answer, b"");
    assert_eq!(server.rows(Table::ProfileSamples), 930 + 5321);

    let body = std::fs::read(folder.join("old-otel-ebpf-profiler-unsymbolized-otlp1.5.0.pb.bin"));
    let status = server_grpc::call(server.grpc, path, body.unwrap(), Sent::Gzip).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert!(status.message().contains("version 1.7 or earlier"), "{status}");
}

async fn check_http(server: &Server, entry: &Value, body: &[u8]) {
    let path = entry["path"].as_str().unwrap();
    let mut request = Request::post(path).body(body);
    for (name, value) in entry["headers"].as_object().unwrap() {
        let value = value.as_str().unwrap();
        request = match name.to_ascii_lowercase().as_str() {
            "host" => request.host(Some(value)),
            "transfer-encoding" => request.chunked(),
            "content-length" | "connection" => request,
            _ => request.header(name, value),
        };
    }
    let answer = request.send(server.http).await;
    assert_eq!(answer.status, 200, "{entry}: {answer:?}");
    let sent = entry["headers"].as_object().unwrap();
    let sent = sent.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    assert_eq!(answer.header("content-type"), sent.and_then(|(_, value)| value.as_str()));
    assert!(answer.body.is_empty() || answer.text() == "{}", "{entry}: {answer:?}");
    check_rows(server, path);
}

async fn check_grpc(server: &Server, entry: &Value, body: Vec<u8>) {
    let path = entry["path"].as_str().unwrap();
    let result = server_grpc::call(server.grpc, path, body, Sent::Plain).await;
    assert_eq!(result.unwrap(), b"", "{entry}");
    check_rows(server, path);
}

fn check_rows(server: &Server, path: &str) {
    if path.to_lowercase().contains("trace") {
        assert!(server.rows(Table::Spans) > 0, "{path}");
    } else if path.to_lowercase().contains("logs") {
        assert!(server.rows(Table::Logs) > 0, "{path}");
    } else {
        assert!(server.rows(Table::Metrics) > 0, "{path}");
    }
}
