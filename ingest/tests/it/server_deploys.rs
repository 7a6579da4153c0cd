//! `POST /api/v1/deploys`.

use upriver_store::ids::deploy_id;
use upriver_store::schema::Table;

use crate::harness::{NOW, Request, Server};

fn post(body: &str) -> Request {
    Request::post("/api/v1/deploys")
        .header("Content-Type", "application/json")
        .body(body.as_bytes())
}

#[tokio::test]
async fn a_deploy_is_stored_and_its_id_told() {
    let server = Server::start().await;
    let request = post(r#"{"service": "inventory", "version": "2", "environment": "production"}"#);
    let answer = request.clone().send(server.api).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let id = deploy_id("inventory", "production", "deploy", "2", NOW.0);
    assert_eq!(answer.json()["ids"], serde_json::json!([id]));
    assert_eq!(server.rows(Table::Deploys), 1);
    let two = r#"[{"service":"a","version":"1"},{"service":"b","version":"1"}]"#;
    let answer = post(two).send(server.api).await;
    assert_eq!(answer.json()["ids"].as_array().unwrap().len(), 2);
    assert_eq!(server.rows(Table::Deploys), 3);
}

#[tokio::test]
async fn what_is_not_a_deploy_is_refused() {
    let server = Server::start().await;
    let plain = |content_type: &str| {
        Request::post("/api/v1/deploys")
            .header("content-type", content_type)
            .body(br#"{"service":"a","version":"1"}"#)
    };
    for (request, status, message) in [
        (post(r#"{"version": "2"}"#), 400, "service"),
        (post("not json"), 400, "JSON"),
        (post(""), 400, "empty"),
        // A page may send these without asking first, so they are not taken for JSON.
        (plain("text/plain"), 415, "application/json"),
        (plain("application/x-www-form-urlencoded"), 415, "application/json"),
        (plain("multipart/form-data"), 415, "application/json"),
        (Request::post("/api/v1/deploys").body(b"{}"), 415, "a missing content type"),
        (Request::get("/api/v1/deploys"), 405, "use POST"),
        (Request::post("/api/v1/deploy"), 404, "/api/v1/deploys"),
    ] {
        let answer = request.clone().send(server.api).await;
        assert_eq!(answer.status, status, "{request:?}: {answer:?}");
        let text = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(text.contains(message), "{request:?}: {text}");
    }
    assert_eq!(server.all_rows(), 0);
    server.assert_alive().await;
}
