//! `Host` and `Origin` on every listener.

use crate::harness::{Request, Server, Setup, traces};

fn export(host: Option<&str>) -> Request {
    Request::post("/v1/traces")
        .header("content-type", "application/x-protobuf")
        .host(host)
        .body(&traces(1))
}

#[tokio::test]
async fn only_known_hosts_are_served() {
    let hosts = vec!["upriver.internal".to_owned()];
    let server = Server::with(Setup { hosts, ..Setup::default() }).await;
    for (host, status) in [
        (Some("localhost"), 200),
        (Some("LOCALHOST:4318"), 200),
        (Some("localhost.:1"), 200),
        (Some("127.0.0.1:4318"), 200),
        (Some("127.8.9.10"), 200),
        (Some("[::1]:4318"), 200),
        (Some("[::ffff:127.0.0.1]"), 200),
        (Some("upriver.internal:4318"), 200),
        (Some("Upriver.Internal"), 200),
        (Some("evil.example"), 403),
        (Some("localhost.evil.example"), 403),
        (Some("127.0.0.1.evil.example"), 403),
        (Some("10.0.0.1:4318"), 403),
        (Some("0.0.0.0"), 403),
        (Some("[::2]:4318"), 403),
        (Some("evil@localhost"), 400),
        (Some("local host"), 400),
        (None, 400),
    ] {
        let answer = export(host).send(server.http).await;
        assert_eq!(answer.status, status, "{host:?}: {answer:?}");
    }
    let answer = export(Some("evil.example")).send(server.http).await;
    let refusal = answer.rpc_status();
    assert_eq!(refusal.code, 7, "PERMISSION_DENIED");
    assert!(refusal.message.contains("service.allowed_hosts"), "{refusal:?}");
    let two = export(Some("localhost")).header("Host", "evil.example");
    assert_eq!(two.send(server.http).await.status, 400);
}

#[tokio::test]
async fn an_open_listener_is_reached_by_address_but_not_by_any_name() {
    let server = Server::with(Setup { any_address: true, ..Setup::default() }).await;
    for (host, status) in [("10.0.0.1:4318", 200), ("[fd00::1]:4318", 200), ("evil.example", 403)] {
        assert_eq!(export(Some(host)).send(server.http).await.status, status, "{host}");
    }
}

#[tokio::test]
async fn foreign_pages_are_refused() {
    let origins = vec!["https://shop.example".to_owned()];
    let server = Server::with(Setup { origins, ..Setup::default() }).await;
    for (origin, status) in [
        ("http://localhost", 200),
        ("https://shop.example", 200),
        ("HTTPS://SHOP.EXAMPLE", 200),
        ("http://localhost:3000", 403),
        ("http://shop.example", 403),
        ("https://shop.example.evil.example", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("", 403),
    ] {
        let answer = export(Some("localhost")).header("Origin", origin).send(server.http).await;
        assert_eq!(answer.status, status, "{origin}: {answer:?}");
    }
    let request = export(Some("localhost")).header("Origin", "https://evil.example");
    let refusal = request.send(server.http).await.rpc_status();
    assert!(refusal.message.contains("receivers.otlp.protocols.http.cors.allowed_origins"));
}

#[tokio::test]
async fn a_configured_page_passes_the_browser_s_checks() {
    let origins = vec!["https://shop.example".to_owned()];
    let server = Server::with(Setup { origins, ..Setup::default() }).await;
    let preflight = Request::new("OPTIONS", "/v1/traces")
        .header("Origin", "https://shop.example")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "content-type");
    let answer = preflight.send(server.http).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://shop.example"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("content-type"));
    let request = export(Some("localhost")).header("Origin", "https://shop.example");
    let answer = request.send(server.http).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://shop.example"));
    assert_eq!(answer.header("vary"), Some("Origin"));
}

#[tokio::test]
async fn hidden_cross_site_reads_are_refused_and_links_are_not() {
    let server = Server::start().await;
    let get = |mode: &str| {
        Request::get("/readyz")
            .header("Sec-Fetch-Site", "cross-site")
            .header("Sec-Fetch-Mode", mode)
    };
    assert_eq!(get("no-cors").send(server.api).await.status, 403);
    assert_eq!(get("navigate").send(server.api).await.status, 200);
    let same = Request::get("/readyz").header("Sec-Fetch-Site", "same-origin");
    assert_eq!(same.send(server.api).await.status, 200);
}

#[tokio::test]
async fn every_listener_is_guarded() {
    let server = Server::start().await;
    for (address, path) in [
        (server.http, "/v1/traces"),
        (server.http, "/unknown"),
        (server.api, "/ingest"),
        (server.api, "/push.v1.PusherService/Push"),
        (server.api, "/api/v1/profiles"),
        (server.api, "/api/v1/deploys"),
        (server.api, "/api/v1/deploys/github"),
        (server.api, "/healthz"),
        (server.api, "/metrics"),
        (server.api, "/unknown"),
        (server.grpc, "/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
    ] {
        let answer = Request::post(path).host(Some("evil.example")).send(address).await;
        assert_eq!(answer.status, 403, "{path}: {answer:?}");
        let answer =
            Request::post(path).header("Origin", "http://evil.example").send(address).await;
        assert_eq!(answer.status, 403, "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn grpc_hosts_are_told_in_grpc() {
    use tonic::transport::Endpoint;
    let server = Server::start().await;
    let endpoint = Endpoint::from_shared(format!("http://{}", server.grpc)).unwrap();
    let endpoint = endpoint.origin("http://evil.example".parse().unwrap());
    let mut client = tonic::client::Grpc::new(endpoint.connect().await.unwrap());
    client.ready().await.unwrap();
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let request = tonic::Request::new(traces(1).into());
    let result = client
        .unary(request, http::uri::PathAndQuery::from_static(path), crate::server_grpc::BytesCodec)
        .await;
    let status = result.unwrap_err();
    assert_eq!(status.code(), tonic::Code::PermissionDenied, "{status}");
    assert!(status.message().contains("service.allowed_hosts"), "{status}");
    assert_eq!(server.all_rows(), 0);
}
