//! Limits: sizes, memory in flight, time, and a store that takes nothing.

use std::time::Duration;

use upriver_store::schema::Table;

use crate::harness::{Request, Server, Setup, gzip, traces};

fn post(body: &[u8]) -> Request {
    Request::post("/v1/traces").header("content-type", "application/x-protobuf").body(body)
}

#[tokio::test]
async fn bodies_over_the_limit_are_413_however_they_come() {
    let mut setup = Setup::default();
    setup.limits.http_body_bytes_max = 10_000;
    let server = Server::with(setup).await;
    let zeros = vec![0; 20_000];
    let zstd = zstd::encode_all(&zeros[..], 3).unwrap();
    for request in [
        post(&zeros),
        post(&zeros).chunked(),
        post(&gzip(&zeros)).header("content-encoding", "gzip"),
        post(&zstd).header("content-encoding", "zstd").chunked(),
    ] {
        let answer = request.send(server.http).await;
        assert_eq!(answer.status, 413, "{answer:?}");
        let status = answer.rpc_status();
        assert_eq!(status.code, 8, "RESOURCE_EXHAUSTED");
        assert!(status.message.contains("limit of 10000 bytes"), "{status:?}");
        assert_eq!(answer.header("retry-after"), None);
    }
    assert_eq!(server.all_rows(), 0);
    server.assert_alive().await;
}

#[tokio::test]
async fn a_large_body_that_is_refused_is_read_to_its_end() {
    let mut setup = Setup::default();
    setup.limits.http_body_bytes_max = 10_000;
    let server = Server::with(setup).await;
    let answer = post(&vec![0; 8 << 20]).send(server.http).await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn a_bomb_is_never_held_beyond_the_limit() {
    let mut setup = Setup::default();
    setup.limits.http_body_bytes_max = 1 << 20;
    // Were more of the bomb held than the limit of a body, this would answer 503.
    setup.limits.in_flight_bytes_max = 1 << 20;
    let server = Server::with(setup).await;
    let bomb = gzip(&vec![0; 32 << 20]);
    let answer = post(&bomb).header("content-encoding", "gzip").send(server.http).await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn requests_over_the_limit_are_told_to_come_back() {
    let mut full = Setup::default();
    full.limits.requests_max = 0;
    let mut no_memory = Setup::default();
    no_memory.limits.in_flight_bytes_max = 10;
    let hot = Setup { hot_bytes_max: Some(1), ..Setup::default() };
    let replaying = Setup { replaying: true, ..Setup::default() };
    for (setup, message) in [
        (full, "0 requests are in progress, which is the limit"),
        (no_memory, "the limit of 10 bytes"),
        (hot, "wait for their commit"),
        (replaying, "replaying the log"),
    ] {
        let server = Server::with(setup).await;
        let mut answer = post(&traces(1)).send(server.http).await;
        for _ in 0..2 {
            answer = post(&traces(1)).send(server.http).await;
        }
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
        let status = answer.rpc_status();
        assert_eq!(status.code, 14, "UNAVAILABLE");
        assert!(status.message.contains(message), "{status:?}");
        assert_eq!(status.details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
    }
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up() {
    let mut setup = Setup::default();
    setup.limits.body_timeout = Duration::from_millis(20);
    let server = Server::with(setup).await;
    let answer = post(b"half").content_length(1000).send(server.http).await;
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(answer.rpc_status().message.contains("did not arrive within"));
    assert_eq!(server.all_rows(), 0);
}

#[tokio::test]
async fn large_requests_are_decoded_beside_the_connections() {
    let server = Server::start().await;
    // Over INLINE_BYTES_MAX: a request with a long unknown field, which is skipped.
    let mut body = traces(1);
    let filler = 600 << 10;
    body.extend_from_slice(&[0xfa, 0x01]);
    prost::encoding::encode_varint(filler as u64, &mut body);
    body.resize(body.len() + filler, b'x');
    let answer = post(&body).send(server.http).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(server.rows(Table::Spans), 1);
}

#[tokio::test]
async fn health_readiness_and_metrics_are_told() {
    let server = Server::with(Setup { replaying: true, ..Setup::default() }).await;
    assert_eq!(Request::get("/healthz").send(server.api).await.status, 200);
    let answer = Request::get("/readyz").send(server.api).await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("replaying the log"), "{}", answer.text());
    let page = Request::get("/metrics").send(server.api).await.text();
    assert!(page.contains("\nupriver_ready 0\n"), "{page}");

    let server = Server::start().await;
    let answer = Request::get("/readyz").send(server.api).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ready\n"));
    post(&traces(3)).send(server.http).await;
    post(b"<html>").send(server.http).await;
    let answer = Request::get("/metrics").send(server.api).await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let page = answer.text();
    for line in [
        "# TYPE upriver_receiver_accepted_spans_total counter",
        "upriver_receiver_accepted_spans_total{receiver=\"otlp\",transport=\"http\"} 3",
        "upriver_receiver_accepted_spans_total{receiver=\"otlp\",transport=\"grpc\"} 0",
        "upriver_receiver_requests_total{receiver=\"otlp\",transport=\"http\",signal=\"spans\",outcome=\"ok\"} 1",
        "upriver_receiver_requests_total{receiver=\"otlp\",transport=\"http\",signal=\"spans\",outcome=\"refused\"} 1",
        "upriver_receiver_inflight_bytes 0",
        "upriver_ready 1",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
}

#[tokio::test]
async fn stopping_refuses_and_says_so() {
    let server = Server::start().await;
    assert!(server.slot.stop().is_some());
    let answer = post(&traces(1)).send(server.http).await;
    assert_eq!(answer.status, 503);
    assert!(answer.rpc_status().message.contains("shutting down"));
    assert_eq!(Request::get("/readyz").send(server.api).await.status, 503);
}
