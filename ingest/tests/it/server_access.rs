//! Who is let in, and how often.

use upriver_ingest::server::{
    AccessOptions, ApiKey, KeyHash, MemoryLimits, RateLimits, Scope, Sizer,
};
use upriver_store::schema::Table;

use crate::harness::{Answer, Request, Server, Setup, traces};

const ELSEWHERE: &str = "192.0.2.7";

fn key(name: &str, scopes: &[Scope]) -> ApiKey {
    ApiKey {
        name: name.to_owned(),
        hash: KeyHash::of(&format!("secret of {name}")),
        scopes: scopes.to_vec(),
        tenant: "default".to_owned(),
        other_tenants: Vec::new(),
    }
}

async fn with_keys() -> Server {
    let keys = vec![
        key("sender", &[Scope::Telemetry]),
        key("pipeline", &[Scope::Deploys]),
        key("reader", &[Scope::Read]),
    ];
    let access = AccessOptions { keys, ..AccessOptions::default() };
    Server::with(Setup { access, ..Setup::default() }).await
}

fn export() -> Request {
    Request::post("/v1/traces").header("content-type", "application/x-protobuf").body(&traces(1))
}

fn deploy() -> Request {
    Request::post("/api/v1/deploys")
        .header("content-type", "application/json")
        .body(br#"{"service":"checkout","version":"2"}"#)
}

fn bearer(request: Request, name: &str) -> Request {
    request.header("authorization", &format!("Bearer secret of {name}"))
}

#[tokio::test]
async fn with_keys_nobody_comes_in_without_one() {
    let server = with_keys().await;
    let answer = export().send(server.http).await;
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    for request in
        [bearer(export(), "nobody"), export().header("authorization", "secret of sender")]
    {
        let answer = request.send(server.http).await;
        assert_eq!(answer.status, 401);
        assert!(!answer.text().contains("secret of"), "{}", answer.text());
    }
    assert_eq!(server.all_rows(), 0);
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/metrics", 401)] {
        assert_eq!(Request::get(path).send(server.api).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_key_is_taken_from_each_usual_place() {
    let server = with_keys().await;
    // base64 of "user:secret of sender"
    let basic = "Basic dXNlcjpzZWNyZXQgb2Ygc2VuZGVy";
    for (name, value) in [
        ("authorization", "Bearer secret of sender"),
        ("authorization", "bearer  secret of sender"),
        ("authorization", basic),
        ("x-api-key", "secret of sender"),
    ] {
        let answer = export().header(name, value).send(server.http).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    }
    assert_eq!(server.rows(Table::Spans), 4);
    let both = bearer(export(), "sender").header("x-api-key", "secret of sender");
    assert_eq!(both.send(server.http).await.status, 401);
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say_and_nothing_else() {
    let server = with_keys().await;
    let status = async |request: Request, address| request.send(address).await.status;
    assert_eq!(status(bearer(export(), "sender"), server.http).await, 200);
    assert_eq!(status(bearer(export(), "pipeline"), server.http).await, 403);
    assert_eq!(status(bearer(export(), "reader"), server.http).await, 403);
    assert_eq!(status(bearer(deploy(), "pipeline"), server.api).await, 201);
    assert_eq!(status(bearer(deploy(), "sender"), server.api).await, 403);
    assert_eq!(status(deploy(), server.api).await, 401);
    let metrics = || Request::get("/metrics");
    assert_eq!(status(bearer(metrics(), "reader"), server.api).await, 200);
    assert_eq!(status(bearer(metrics(), "sender"), server.api).await, 403);
    assert_eq!((server.rows(Table::Spans), server.rows(Table::Deploys)), (1, 1));
}

#[tokio::test]
async fn a_tenant_that_the_key_may_not_name_is_refused() {
    let server = with_keys().await;
    let of = async |tenant: &str| {
        let request = bearer(export(), "sender").header("x-scope-orgid", tenant);
        request.send(server.http).await.status
    };
    assert_eq!(of("default").await, 200);
    assert_eq!(of("").await, 200);
    assert_eq!(of("other").await, 403);
    // Without keys there is one tenant, and the header means nothing.
    let open = Server::start().await;
    let answer = export().header("x-scope-orgid", "other").send(open.http).await;
    assert_eq!(answer.status, 200);
}

fn limited(rates: RateLimits) -> Setup {
    let access = AccessOptions { rates, ..AccessOptions::default() };
    Setup { access, peer: Some(ELSEWHERE.parse().unwrap()), ..Setup::default() }
}

fn retry_after(answer: &Answer) -> u64 {
    answer.header("retry-after").unwrap().parse().unwrap()
}

#[tokio::test]
async fn who_sends_too_often_is_told_when_to_come_back() {
    let rates = RateLimits { per_address: 1, burst: 3, ..RateLimits::default() };
    let server = Server::with(limited(rates)).await;
    for left in [2, 1, 0] {
        let answer = export().send(server.http).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let limit = answer.header("ratelimit").unwrap();
        assert!(limit.starts_with(&format!("\"default\";r={left};t=")), "{limit}");
        assert_eq!(answer.header("ratelimit-policy"), Some("\"default\";q=3;w=3"));
    }
    let answer = export().send(server.http).await;
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert_eq!(retry_after(&answer), 1);
    assert_eq!(server.rows(Table::Spans), 3);
    // Health is not limited, and the limiter counts.
    assert_eq!(Request::get("/readyz").send(server.api).await.status, 200);
    let metrics = Request::get("/metrics").send(server.api).await.text();
    for line in [
        "upriver_limiter_requests_total{outcome=\"admitted\"} 3",
        "upriver_limiter_requests_total{outcome=\"limited\"} 1",
        "upriver_limiter_buckets 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn senders_on_this_machine_are_limited_only_when_asked() {
    for (loopback, last) in [(false, 200), (true, 429)] {
        let rates = RateLimits { per_address: 1, burst: 1, loopback, ..RateLimits::default() };
        let setup = Setup { peer: None, ..limited(rates) };
        let server = Server::with(setup).await;
        assert_eq!(export().send(server.http).await.status, 200);
        assert_eq!(export().send(server.http).await.status, last, "loopback: {loopback}");
    }
}

#[tokio::test]
async fn spans_and_bytes_can_be_counted_instead_of_requests() {
    for (sizer, burst) in [(Sizer::Items, 10), (Sizer::Bytes, 1_000)] {
        let rates = RateLimits { per_address: 1, burst, sizer, ..RateLimits::default() };
        let server = Server::with(limited(rates)).await;
        let many = Request::post("/v1/traces")
            .header("content-type", "application/x-protobuf")
            .body(&traces(100));
        // What it costs is known only then, so the first is taken and the second has to wait.
        assert_eq!(many.clone().send(server.http).await.status, 200, "{sizer:?}");
        let answer = many.send(server.http).await;
        assert_eq!(answer.status, 429, "{sizer:?}");
        assert!(retry_after(&answer) > 60, "{sizer:?}: {}", retry_after(&answer));
        assert_eq!(server.rows(Table::Spans), 100);
    }
}

#[tokio::test]
async fn scarce_memory_refuses_with_the_advice_to_retry() {
    let memory = MemoryLimits { soft: 1 << 30, hard: 2 << 30 };
    let server = Server::with(Setup { memory, ..Setup::default() }).await;
    server.memory.set_used((1 << 30) + 1);
    let answer = export().send(server.http).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(retry_after(&answer) >= 1);
    assert_eq!(Request::get("/readyz").send(server.api).await.status, 200);
    server.memory.set_used((2 << 30) + 1);
    let ready = Request::get("/readyz").send(server.api).await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("memory"), "{}", ready.text());
    server.memory.set_used(1 << 20);
    server.assert_alive().await;
}
