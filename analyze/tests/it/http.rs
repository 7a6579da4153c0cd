//! The route as clients see it.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use arrow::ipc::reader::StreamReader;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use tower::ServiceExt;
use upriver_analyze::SessionOptions;
use upriver_analyze::http::{QueryService, routes};
use upriver_store::snapshot::{Snapshot, SnapshotSource};

use crate::shop;

struct Rows(Snapshot);

impl SnapshotSource for Rows {
    fn snapshot(&self) -> Snapshot {
        self.0.clone()
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

fn service(options: SessionOptions) -> Router {
    let source = Rows(Snapshot::in_memory(shop::batches()));
    let handle = tokio::runtime::Handle::current();
    routes(QueryService::new(Arc::new(source), options, handle).unwrap())
}

async fn ask(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec();
    Answer { status, headers, body }
}

fn get(query: &str) -> Request<Body> {
    Request::get(format!("/api/v1/query?{query}")).body(Body::empty()).unwrap()
}

fn post(kind: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post("/api/v1/query").header("content-type", kind).body(body.into()).unwrap()
}

#[tokio::test]
async fn rows_come_in_every_format() {
    let router = service(SessionOptions::default());
    let sql = "SELECT service_name, span_id, trace_id, time FROM span_events";
    let check = async |format: &str, media_type: &str, expected: Option<&str>| {
        let body = json!({ "q": sql, "format": format }).to_string();
        let answer = ask(&router, post("application/json", body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(answer.header("content-type"), media_type);
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        if let Some(expected) = expected {
            assert_eq!(answer.text(), expected);
        }
        answer
    };
    let row = r#"{"service_name":"checkout","span_id":9007199254740993,"trace_id":"b338013354bf9101000000000000003c","time":"2026-01-08T10:00:00Z"}"#;
    check("json", "application/json", Some(&format!("[{row}]"))).await;
    check("jsonl", "application/x-ndjson", Some(&format!("{row}\n"))).await;
    let csv = "service_name,span_id,trace_id,time\ncheckout,9007199254740993,b338013354bf9101000000000000003c,2026-01-08T10:00:00Z\n";
    check("csv", "text/csv; charset=utf-8", Some(csv)).await;
    let arrow = check("arrow", "application/vnd.apache.arrow.stream", None).await;
    let batches: Vec<_> =
        StreamReader::try_new(Cursor::new(arrow.body), None).unwrap().map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 1);
    assert_eq!(batches[0].schema().field(2).data_type().to_string(), "Utf8");
    let parquet = check("parquet", "application/vnd.apache.parquet", None).await;
    let parquet = bytes::Bytes::from(parquet.body);
    let reader = ParquetRecordBatchReaderBuilder::try_new(parquet).unwrap().build().unwrap();
    assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 1);
}

#[tokio::test]
async fn a_query_is_asked_by_get_form_or_json() {
    let router = service(SessionOptions::default());
    let check = async |request: Request<Body>, expected: &str| {
        let answer = ask(&router, request).await;
        assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, expected));
        assert!(answer.header("x-query-id").starts_with('q'));
    };
    check(get("q=SELECT%201%20AS%20n"), r#"[{"n":1}]"#).await;
    check(get("q=SELECT+1+AS+n&format=csv"), "n\n1\n").await;
    check(post("application/json", r#"{"q":"SELECT 1 AS n"}"#), r#"[{"n":1}]"#).await;
    check(post("application/json; charset=utf-8", r#"{"q":"SELECT 1 AS n"}"#), r#"[{"n":1}]"#)
        .await;
    check(post("application/x-www-form-urlencoded", "q=SELECT+1+AS+n&format=jsonl"), "{\"n\":1}\n")
        .await;
    let accept = |media_type: &str| {
        Request::get("/api/v1/query?q=SELECT%201%20AS%20n")
            .header("accept", media_type)
            .body(Body::empty())
            .unwrap()
    };
    check(accept("text/csv"), "n\n1\n").await;
    check(accept("text/html, text/csv;q=0.9"), "n\n1\n").await;
    check(accept("*/*"), r#"[{"n":1}]"#).await;
    let answer = ask(&router, accept("application/vnd.apache.arrow.stream")).await;
    assert_eq!(answer.header("content-type"), "application/vnd.apache.arrow.stream");
}

#[tokio::test]
async fn mistakes_are_told_as_json() {
    let router = service(SessionOptions { rows_max: 5, ..SessionOptions::default() });
    let check = async |request: Request<Body>, status: u16, code: &str, part: &str| {
        let answer = ask(&router, request).await;
        let document = answer.json();
        assert_eq!(
            (answer.status.as_u16(), document["code"].as_str()),
            (status, Some(code)),
            "{document}"
        );
        assert!(document["message"].as_str().unwrap().contains(part), "{document}");
        assert_eq!(document["query_id"], answer.header("x-query-id"));
    };
    check(get("q=SELEC"), 400, "invalid_query", "SELEC").await;
    check(get("q=DROP+TABLE+spans"), 400, "refused", "DROP is refused").await;
    check(get("format=json"), 400, "invalid_request", "the query is missing").await;
    check(get("q=SELECT+1&format=xml"), 400, "invalid_request", "use one of json, jsonl").await;
    check(get("q=SELECT+1&query=x"), 400, "invalid_request", "unknown parameter \"query\"").await;
    check(get("q=SELECT+*+FROM+spans"), 413, "too_large", "more than 5 rows").await;
    check(post("application/json", "{"), 400, "invalid_request", "no JSON object").await;
    check(
        post("application/json", r#"{"q":"SELECT 1","x":1}"#),
        400,
        "invalid_request",
        "unknown field",
    )
    .await;
    check(
        post("application/json", vec![b' '; 3 << 20]),
        413,
        "too_large",
        "the body has more than",
    )
    .await;
    check(post("text/plain", "SELECT 1"), 415, "unsupported_media_type", "\"text/plain\"").await;
    check(post("application/jsonx", "{}"), 415, "unsupported_media_type", "application/jsonx")
        .await;
    let bare = Request::post("/api/v1/query").body(Body::from("q=SELECT+1")).unwrap();
    check(bare, 415, "unsupported_media_type", "send application/json").await;
    let answer = ask(&router, Request::delete("/api/v1/query").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_and_large_queries_end() {
    let router = service(SessionOptions {
        timeout: Duration::from_millis(100),
        ..SessionOptions::default()
    });
    let endless = "q=SELECT+count(*)+FROM+generate_series(1,9000000)+a,generate_series(1,9000000)+b+WHERE+a.value%3Cb.value";
    let answer = ask(&router, get(endless)).await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT, "{}", answer.text());
    assert_eq!(answer.json()["code"], "timeout");
}
