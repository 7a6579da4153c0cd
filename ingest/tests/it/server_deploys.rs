//! `POST /api/v1/deploys`, in plain JSON and as other tools send it.

use serde_json::{Value, json};
use upriver_ingest::server::{DeploySecrets, WebhookSecret};
use upriver_store::ids::deploy_id;
use upriver_store::schema::Table;

use crate::harness::{Answer, NOW, Request, Server, Setup, gzip};
use crate::support::{fixtures, read};

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
    assert_eq!(answer.json()["ids"], json!([id]));
    assert_eq!(server.rows(Table::Deploys), 1);
    let two = r#"[{"service":"a","version":"1"},{"service":"b","version":"1"}]"#;
    let answer = post(two).send(server.api).await;
    assert_eq!(answer.json()["ids"].as_array().unwrap().len(), 2);
    assert_eq!(server.rows(Table::Deploys), 3);
    let answer = post("[]").send(server.api).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"ids": []})));
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
        (Request::get("/api/v1/deploys/github"), 405, "use POST"),
        (Request::post("/api/v1/deploy"), 404, "/api/v1/deploys"),
        (Request::post("/api/v1/deploys/jenkins"), 404, "/api/v1/deploys"),
        (post(r#"{"involvedObject": {}}"#), 415, "send it to /api/v1/deploys/flux"),
    ] {
        assert_refused(&server, request, status, message).await;
    }
    assert_eq!(server.all_rows(), 0);
    server.assert_alive().await;
}

async fn assert_refused(server: &Server, request: Request, status: u16, message: &str) {
    let answer = request.clone().send(server.api).await;
    assert_eq!(answer.status, status, "{request:?}: {answer:?}");
    let text = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(text.contains(message), "{request:?}: {text}");
}

/// What was stored, and what was left out.
fn told(answer: &Answer) -> (u16, usize, String) {
    let json = answer.json();
    let ids = json["ids"].as_array().unwrap().len();
    (answer.status, ids, json["ignored"][0].as_str().unwrap_or_default().to_owned())
}

const SHA: &str = "f95f852bd8fca8fcc58a9a2d6c842781e32a215e";

fn of_github(state: &str) -> String {
    json!({
        "action": "created",
        "deployment_status": {
            "id": 2, "state": state, "environment": "production",
            "created_at": "2026-05-04T11:59:00Z",
        },
        "deployment": {
            "id": 1, "sha": SHA, "ref": "v2.4.0", "task": "deploy", "payload": {},
            "environment": "production", "created_at": "2026-05-04T11:50:00Z",
        },
        "repository": {"name": "cart", "full_name": "acme/cart"},
    })
    .to_string()
}

fn github(path: &str, event: &str, body: &str) -> Request {
    Request::post(path)
        .header("Content-Type", "application/json")
        .header("X-GitHub-Event", event)
        .header("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
        .body(body.as_bytes())
}

#[tokio::test]
async fn statuses_of_github_complete_each_other() {
    let server = Server::start().await;
    let path = "/api/v1/deploys";
    let mut ids = Vec::new();
    for state in ["in_progress", "success"] {
        let answer = github(path, "deployment_status", &of_github(state)).send(server.api).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        ids.push(answer.json()["ids"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    assert_eq!(server.rows(Table::Deploys), 2);
    for (event, body, reason) in [
        ("ping", "{\"zen\": \"x\"}".to_owned(), "`ping`: the webhook reaches this server"),
        ("deployment_status", of_github("inactive"), "`inactive`: a later deployment"),
        ("push", "{}".to_owned(), "\"push\": the event says nothing"),
    ] {
        let answer = github(path, event, &body).send(server.api).await;
        let (status, ids, ignored) = told(&answer);
        assert_eq!((status, ids), (200, 0), "{answer:?}");
        assert!(ignored.starts_with(reason), "{answer:?}");
    }
    assert_eq!(server.rows(Table::Deploys), 2);
}

#[tokio::test]
async fn the_address_tells_the_service_of_a_webhook() {
    let server = Server::start().await;
    let path = "/api/v1/deploys/github?service=basket%2Fapi&environment=eu+west";
    let answer = github(path, "deployment_status", &of_github("success")).send(server.api).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let rows = server.slot_rows(Table::Deploys);
    assert!(rows[0].contains(" basket/api ") && rows[0].contains(" v2.4.0 "), "{rows:?}");
    for (query, message) in [
        ("?sevrice=x", "unknown parameter \"sevrice\": expected service or environment"),
        ("?service=a&service=b", "`service` is given twice"),
    ] {
        let path = format!("/api/v1/deploys/github{query}");
        let request = github(&path, "deployment_status", &of_github("success"));
        assert_refused(&server, request, 400, message).await;
    }
    assert_eq!(server.rows(Table::Deploys), 1);
}

fn secret(text: &str) -> Option<WebhookSecret> {
    WebhookSecret::new(text.to_owned())
}

async fn guarded() -> Server {
    let deploy_secrets = DeploySecrets {
        github: secret("It's a Secret to Everybody"),
        gitlab: secret("gitlab's"),
        flux: secret("flux's"),
    };
    Server::with(Setup { deploy_secrets, ..Setup::default() }).await
}

/// `sha256=` and the HMAC by the definition of RFC 2104.
fn signature(secret: &str, body: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    let mut key = [0_u8; 64];
    key[..secret.len()].copy_from_slice(secret.as_bytes());
    let inner = Sha256::new().chain_update(key.map(|b| b ^ 0x36)).chain_update(body).finalize();
    let outer = Sha256::new().chain_update(key.map(|b| b ^ 0x5c)).chain_update(inner).finalize();
    let digits: String = outer.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

#[tokio::test]
async fn with_a_secret_only_signed_webhooks_of_github_are_taken() {
    let server = guarded().await;
    let body = of_github("success");
    let right = signature("It's a Secret to Everybody", body.as_bytes());
    for path in ["/api/v1/deploys", "/api/v1/deploys/github"] {
        let request = github(path, "deployment_status", &body);
        for (signature, message) in [
            (
                None,
                "the header x-hub-signature-256 is missing; set the webhook's secret to api.webhooks.github_secret",
            ),
            (Some(signature("another", body.as_bytes())), "does not match the body"),
            (Some(signature("It's a Secret to Everybody", b"{}")), "does not match the body"),
            (Some("sha256=".to_owned()), "is not sha256= and 64 hexadecimal digits"),
        ] {
            let mut request = request.clone();
            if let Some(signature) = signature {
                request = request.header("X-Hub-Signature-256", &signature);
            }
            let answer = request.send(server.api).await;
            assert_eq!(answer.status, 401, "{answer:?}");
            assert_eq!(answer.json()["code"], "unauthenticated");
            assert!(answer.text().contains(message), "{answer:?}");
        }
        assert_eq!(server.all_rows(), 0);
    }
    // Not even the ping.
    let ping = github("/api/v1/deploys/github", "ping", "{}");
    assert_eq!(ping.clone().send(server.api).await.status, 401);
    let signed =
        ping.header("X-Hub-Signature-256", &signature("It's a Secret to Everybody", b"{}"));
    assert_eq!(signed.send(server.api).await.status, 200);

    let request = github("/api/v1/deploys/github", "deployment_status", &body);
    let answer = request.header("X-Hub-Signature-256", &right).send(server.api).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    // Others do not know GitHub's secret, and need not.
    assert_eq!(post(r#"{"service": "a"}"#).send(server.api).await.status, 201);
    server.assert_alive().await;
}

#[tokio::test]
async fn the_addresses_of_senders_take_nothing_else() {
    let server = guarded().await;
    let json = |path: &str, body: &str| {
        Request::post(path).header("Content-Type", "application/json").body(body.as_bytes())
    };
    let plain = r#"{"service": "a", "version": "1"}"#;
    for (path, status, message) in [
        ("/api/v1/deploys/github", 401, "x-hub-signature-256"),
        ("/api/v1/deploys/gitlab", 401, "x-gitlab-token"),
        ("/api/v1/deploys/flux", 401, "x-signature"),
        ("/api/v1/deploys/cdevents", 400, "`context` is missing"),
    ] {
        assert_refused(&server, json(path, plain), status, message).await;
    }
    let open = Server::start().await;
    for (path, message) in [
        ("/api/v1/deploys/github", "the header x-github-event is missing"),
        ("/api/v1/deploys/gitlab", "`object_kind` is missing"),
        ("/api/v1/deploys/flux", "`involvedObject` is missing"),
    ] {
        assert_refused(&open, json(path, plain), 400, message).await;
    }
    let form = Request::post("/api/v1/deploys/github")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("X-GitHub-Event", "ping")
        .body(b"payload=%7B%7D");
    assert_refused(&open, form, 415, "choose the content type application/json").await;
    assert_eq!(server.all_rows() + open.all_rows(), 0);
}

#[tokio::test]
async fn deployments_of_gitlab_are_taken_with_the_token() {
    let server = guarded().await;
    let body = json!({
        "object_kind": "deployment", "status": "success",
        "status_changed_at": "2026-05-04 11:50:00 UTC", "environment": "production",
        "short_sha": "279484c0", "project": {"name": "cart"},
    })
    .to_string();
    for path in ["/api/v1/deploys", "/api/v1/deploys/gitlab"] {
        let request = Request::post(path)
            .header("Content-Type", "application/json")
            .header("X-Gitlab-Event", "Deployment Hook")
            .body(body.as_bytes());
        assert_refused(&server, request.clone(), 401, "x-gitlab-token is missing").await;
        let wrong = request.clone().header("X-Gitlab-Token", "gitlab");
        assert_refused(&server, wrong, 401, "is not the configured one").await;
        let answer = request.header("X-Gitlab-Token", "gitlab's").send(server.api).await;
        assert_eq!(told(&answer), (201, 1, String::new()), "{answer:?}");
    }
    assert_eq!(server.rows(Table::Deploys), 2);
}

#[tokio::test]
async fn notifications_of_flux_are_taken_with_the_signature() {
    let server = guarded().await;
    let body = json!({
        "involvedObject": {"kind": "Kustomization", "name": "webapp", "namespace": "apps"},
        "metadata": {"revision": "main@sha1:731f7eaddfb6af01cb2173e18f0f75b0ba780ef1"},
        "severity": "info", "reason": "ReconciliationSucceeded", "message": "m",
        "timestamp": "2026-05-04T11:50:00Z",
    })
    .to_string();
    for path in ["/api/v1/deploys", "/api/v1/deploys/flux?environment=production"] {
        let request = Request::post(path)
            .header("Content-Type", "application/json")
            .header("Gotk-Component", "kustomize-controller")
            .body(body.as_bytes());
        assert_refused(&server, request.clone(), 401, "use the provider generic-hmac").await;
        let signature = signature("flux's", body.as_bytes());
        let answer = request.header("X-Signature", &signature).send(server.api).await;
        assert_eq!(told(&answer), (201, 1, String::new()), "{answer:?}");
    }
}

fn cdevent(predicate: &str) -> Value {
    json!({
        "context": {
            "specversion": "0.5.1", "id": "1", "source": "/ci",
            "type": format!("dev.cdevents.service.{predicate}.0.3.0"),
            "timestamp": "2026-05-04T11:50:00Z",
        },
        "subject": {
            "id": "cart",
            "content": {
                "environment": {"id": "production"},
                "artifactId": "pkg:oci/cart@sha256%3A0b31?tag=2.4.0",
            },
        },
    })
}

#[tokio::test]
async fn cloud_events_are_taken_in_all_three_modes() {
    let server = Server::start().await;
    let structured = |predicate: &str| {
        json!({
            "specversion": "1.0", "id": "1", "source": "/ci",
            "type": format!("dev.cdevents.service.{predicate}.0.3.0"), "data": cdevent(predicate),
        })
    };
    let send = |path: &str, content_type: &str, body: &Value| {
        Request::post(path)
            .header("Content-Type", content_type)
            .body(body.to_string().as_bytes())
            .send(server.api)
    };
    for path in ["/api/v1/deploys", "/api/v1/deploys/cdevents"] {
        let one = structured("deployed");
        let answer = send(path, "application/cloudevents+json; charset=utf-8", &one).await;
        assert_eq!(told(&answer), (201, 1, String::new()), "{answer:?}");
        let batch =
            json!([structured("deployed"), structured("published"), structured("rolledback")]);
        let answer = send(path, "application/cloudevents-batch+json", &batch).await;
        let (status, ids, ignored) = told(&answer);
        assert_eq!((status, ids), (201, 2), "{answer:?}");
        assert!(ignored.starts_with("\"service.published\": "), "{answer:?}");
    }
    let answer = send("/api/v1/deploys/cdevents", "application/json", &cdevent("removed")).await;
    assert_eq!(told(&answer), (201, 1, String::new()), "{answer:?}");
    assert_eq!(server.rows(Table::Deploys), 7);
}

fn binary(event_type: &str) -> Request {
    Request::post("/api/v1/deploys")
        .header("Content-Type", "application/json; charset=utf-8")
        .header("ce-id", "1")
        .header("ce-source", "/ci")
        .header("ce-type", event_type)
}

#[tokio::test]
async fn in_binary_mode_the_headers_are_the_envelope() {
    let server = Server::start().await;
    let deployed = "dev.cdevents.service.deployed.0.3.0";
    let body = cdevent("deployed").to_string();
    let request = binary(deployed).header("ce-specversion", "1.0");
    let answer = request.clone().body(body.as_bytes()).send(server.api).await;
    assert_eq!(told(&answer), (201, 1, String::new()), "{answer:?}");
    let zipped = request.header("Content-Encoding", "gzip").body(&gzip(body.as_bytes()));
    assert_eq!(zipped.send(server.api).await.status, 201);
    for (request, body, status, message) in [
        (binary(deployed), body.clone(), 400, "the header ce-specversion is missing"),
        (
            binary(deployed).header("ce-specversion", "0.3"),
            body.clone(),
            415,
            "CloudEvents \"0.3\"",
        ),
        (
            binary(deployed).header("ce-specversion", "1.0"),
            cdevent("removed").to_string(),
            400,
            "the header ce-type is",
        ),
        (
            binary("dev.cdevents.service.deployed.1.0.0").header("ce-specversion", "1.0"),
            body.replace("deployed.0.3.0", "deployed.1.0.0"),
            415,
            "CDEvents service.deployed of version \"1.0.0\" is not supported",
        ),
    ] {
        assert_refused(&server, request.body(body.as_bytes()), status, message).await;
    }
    let other = binary("com.example.order").header("ce-specversion", "1.0").body(b"{}");
    let answer = other.send(server.api).await;
    assert_eq!(told(&answer).0, 200, "{answer:?}");
    assert_eq!(server.rows(Table::Deploys), 2);
}

#[tokio::test]
async fn the_recorded_binary_request_is_taken() {
    let Some(folder) = fixtures("deploys/cdevents") else { return };
    let text = String::from_utf8(read(&folder.join("binary.service_deployed.http"))).unwrap();
    let text = text.replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap();
    let mut request = Request::post("/api/v1/deploys").body(body.as_bytes());
    for line in head.lines().skip(1) {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    let server = Server::start().await;
    let answer = request.send(server.api).await;
    assert_eq!(told(&answer), (201, 1, String::new()), "{answer:?}");
}
