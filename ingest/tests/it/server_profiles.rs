//! Profiles: Pyroscope's two ways and plain uploads.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use tower::ServiceExt as _;
use upriver_ingest::pprof::message::{Function, Line, Location, Profile, Sample, ValueType};
use upriver_store::schema::Table;

use crate::harness::{Request, Server, Setup, gzip};
use crate::support::fixtures;

/// A profile with one sample of `main`.
fn profile() -> Vec<u8> {
    Profile {
        sample_type: vec![ValueType { r#type: 1, unit: 2 }],
        sample: vec![Sample { location_id: vec![1], value: vec![7], label: Vec::new() }],
        location: vec![Location {
            id: 1,
            line: vec![Line { function_id: 1, ..Line::default() }],
            ..Location::default()
        }],
        function: vec![Function { id: 1, name: 3, ..Function::default() }],
        string_table: ["", "cpu", "nanoseconds", "main"].map(Into::into).to_vec(),
        time_nanos: 1_777_896_000_000_000_000,
        ..Profile::default()
    }
    .encode_to_vec()
}

fn ingest(query: &str, content_type: &str, body: &[u8]) -> Request {
    Request::post(&format!("/ingest?{query}")).header("Content-Type", content_type).body(body)
}

/// A form with one file, as HTTP clients write it.
fn form(field: &str, content: &[u8]) -> Vec<u8> {
    let mut body = b"--x-boundary\r\nContent-Disposition: form-data; name=\"".to_vec();
    body.extend_from_slice(field.as_bytes());
    body.extend_from_slice(
        b"\"; filename=\"cpu.pprof\"\r\nContent-Type: application/octet-stream\r\n\r\n",
    );
    body.extend_from_slice(content);
    body.extend_from_slice(b"\r\n--x-boundary--\r\n");
    body
}

const BINARY: &str = "application/octet-stream";
const NODE: &str = "format=pprof&from=1777896000000&until=1777896010000&name=cart%7Bversion%3D1%2Cregion%3Deu%7D&spyName=nodespy&sampleRate=100";

#[tokio::test]
async fn ingest_takes_raw_gzip_and_forms() {
    let server = Server::start().await;
    let multipart = "multipart/form-data; boundary=x-boundary";
    for (i, request) in [
        ingest(NODE, BINARY, &gzip(&profile())),
        ingest(NODE, BINARY, &profile()),
        ingest(NODE, BINARY, &gzip(&profile())).header("Content-Encoding", "gzip"),
        ingest(NODE, multipart, &form("profile", &gzip(&profile()))),
        ingest(
            "name=cart",
            "Multipart/Form-Data; Boundary=\"x-boundary\"",
            &form("profile", &profile()),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = request.send(server.api).await;
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b""[..]), "{i}: {answer:?}");
        assert_eq!(server.rows(Table::Profiles), i + 1);
    }
    let rows = server.slot_rows(Table::Profiles);
    assert!(rows[0].contains("cart") && rows[0].contains("nodespy"), "{rows:?}");
}

#[tokio::test]
async fn a_plain_upload_needs_no_headers() {
    let server = Server::start().await;
    let path = "/api/v1/profiles?service=checkout&version=1";
    for request in [
        // curl --data-binary names this type by itself.
        Request::post(path).header("Content-Type", "application/x-www-form-urlencoded"),
        Request::post(path),
    ] {
        let answer = request.body(&gzip(&profile())).send(server.api).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["status"], "stored");
    }
    assert_eq!(server.rows(Table::Profiles), 2);
}

#[tokio::test]
async fn other_formats_are_refused_by_name() {
    let server = Server::start().await;
    let multipart = "multipart/form-data; boundary=x-boundary";
    for (request, status, message) in [
        (ingest("name=a&format=jfr", BINARY, b"FLR\0"), 415, "JFR"),
        (ingest("name=a&format=speedscope", BINARY, b"{}"), 415, "speedscope"),
        (ingest("name=a", BINARY, b"FLR\0\0\0"), 415, "JFR"),
        (ingest("name=a", "binary/octet-stream+trie", b"x"), 415, "trie"),
        (ingest("name=a", "text/plain", b"main 1"), 415, "\"text/plain\""),
        (ingest("name=a", multipart, &form("jfr", b"FLR\0")), 415, "JFR"),
        (ingest("name=a", multipart, &form("labels", b"x")), 400, "no field \"profile\""),
        (ingest("name=a", multipart, b"no boundary"), 400, "boundary does not occur"),
        (ingest("name=a", "multipart/form-data", b"x"), 400, "no usable boundary"),
        (ingest("name=a", BINARY, b""), 400, "empty"),
        (ingest("name=a", BINARY, &gzip(&profile())[..30]), 400, "gzip"),
        (ingest("", BINARY, &profile()), 400, "service=checkout"),
        (ingest("name=a%7Bb", BINARY, &profile()), 400, "name=\"a{b\""),
        (Request::get("/ingest?name=a"), 405, "use POST"),
        (Request::post("/api/v1/profiles").body(&profile()), 400, "service=checkout"),
    ] {
        let answer = request.clone().send(server.api).await;
        assert_eq!(answer.status, status, "{request:?}: {answer:?}");
        let text = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(text.contains(message), "{request:?}: {text}");
    }
    assert_eq!(server.all_rows(), 0);
    server.assert_alive().await;
}

#[tokio::test]
async fn a_profile_may_not_unpack_beyond_the_limit() {
    let mut setup = Setup::default();
    setup.limits.http_body_bytes_max = 100_000;
    let server = Server::with(setup).await;
    let bomb = gzip(&vec![0; 200_000]);
    let answer = ingest("name=a", BINARY, &bomb).send(server.api).await;
    assert_eq!(answer.status, 413, "{answer:?}");
    assert_eq!(server.all_rows(), 0);
}

#[tokio::test]
async fn real_profiles_are_taken_and_real_rubbish_is_not() {
    let Some(folder) = fixtures("pprof") else { return };
    let mut sent = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let refused = name.starts_with("legacy-") || name.starts_with("corrupt-");
        if !refused && !name.contains(".pb.gz") && !name.contains(".pprof") {
            continue;
        }
        let server = Server::start().await;
        let body = std::fs::read(&path).unwrap();
        let request = Request::post("/api/v1/profiles?service=checkout").body(&body);
        let answer = request.send(server.api).await;
        if refused {
            assert!(matches!(answer.status, 400 | 415), "{name}: {answer:?}");
            assert_eq!(server.all_rows(), 0, "{name}");
        } else {
            assert_eq!(answer.status, 200, "{name}: {answer:?}");
            assert_eq!(server.rows(Table::Profiles), 1, "{name}");
        }
        sent += 1;
    }
    assert!(sent > 15, "{sent}");
}

/// `push.v1.PushRequest` as pyroscope-rs writes it, by hand: field 1 series, of labels (1) and
/// samples (2); a sample is raw_profile (1) and an id (2).
fn push_request(labels: &[(&str, &str)], profiles: &[&[u8]]) -> Vec<u8> {
    let mut series = Vec::new();
    for (name, value) in labels {
        let pair = [field(1, name.as_bytes()), field(2, value.as_bytes())].concat();
        series.extend(field(1, &pair));
    }
    for profile in profiles {
        let sample = [field(1, profile), field(2, b"6f9a7c1e")].concat();
        series.extend(field(2, &sample));
    }
    field(1, &series)
}

fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(u64::from(number << 3 | 2), &mut bytes);
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

fn push(body: &[u8]) -> Request {
    Request::post("/push.v1.PusherService/Push")
        .header("content-type", "application/proto")
        .header("connect-protocol-version", "1")
        .body(body)
}

#[tokio::test]
async fn push_takes_what_pyroscope_s_agents_send() {
    let server = Server::start().await;
    let labels =
        [("__name__", "process_cpu"), ("service_name", "checkout"), ("service_version", "2")];
    let body = push_request(&labels, &[&profile(), &gzip(&profile())]);
    let request = push(&gzip(&body)).header("content-encoding", "gzip");
    let answer = request.send(server.api).await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b""[..]), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/proto"));
    assert_eq!(server.rows(Table::Profiles), 2);
    let rows = server.slot_rows(Table::Profiles);
    assert!(rows[0].contains("checkout"), "{rows:?}");
    let answer = push(b"").send(server.api).await;
    assert_eq!(answer.status, 200, "an empty push succeeds: {answer:?}");
}

fn push_json(body: &str) -> Request {
    Request::post("/push.v1.PusherService/Push")
        .header("content-type", "application/json")
        .body(body.as_bytes())
}

/// A series as the JSON of protobuf: names in camel case, bytes in base64.
fn series_json(labels: &str) -> String {
    let profile = STANDARD.encode(profile());
    format!("{{\"labels\":{labels},\"samples\":[{{\"rawProfile\":\"{profile}\"}}]}}")
}

#[tokio::test]
async fn push_takes_the_same_as_json() {
    let server = Server::start().await;
    let labels = r#"[{"name":"service_name","value":"checkout"}]"#;
    let body = format!("{{\"series\":[{}]}}", series_json(labels));
    let answer = push_json(&body).send(server.api).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let rows = server.slot_rows(Table::Profiles);
    assert!(rows[0].contains("checkout"), "{rows:?}");
    assert_eq!(push_json("{}").send(server.api).await.status, 200);
}

#[tokio::test]
async fn write_raw_takes_what_parca_s_agents_send() {
    let server = Server::start().await;
    let labels = r#"{"labels":[{"name":"job","value":"checkout"},{"name":"node","value":"a"}]}"#;
    let body = format!("{{\"series\":[{}],\"normalized\":true}}", series_json(labels));
    let request = Request::post("/profiles/writeraw").header("content-type", "application/json");
    let answer = request.body(body.as_bytes()).send(server.api).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));

    // The same as a gRPC message: series are field 2, their labels are in a message of their own.
    let pair = [field(1, b"job"), field(2, b"inventory")].concat();
    let series = [field(1, &field(1, &pair)), field(2, &field(1, &gzip(&profile())))].concat();
    let message = field(2, &series);
    let mut call = vec![0];
    call.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    call.extend_from_slice(&message);
    let path = "/parca.profilestore.v1alpha1.ProfileStoreService/WriteRaw";
    let request = http::Request::post(path)
        .header("host", "localhost")
        .header("content-type", "application/grpc")
        .body(axum::body::Body::from(call))
        .unwrap();
    let answer = server.grpc_routes.clone().oneshot(request).await.unwrap();
    assert!(answer.headers().get("grpc-status").is_none(), "{answer:?}");
    let rows = server.slot_rows(Table::Profiles);
    for service in ["checkout", "inventory"] {
        assert!(rows.iter().any(|row| row.contains(service)), "{service}: {rows:?}");
    }
    assert_eq!(rows.len(), 3, "two rows and the frame: {rows:?}");
}

#[tokio::test]
async fn stacks_as_text_are_profiles_too() {
    let server = Server::start().await;
    let folded = b"main;work;encoding/json.Marshal 12\nmain;work 3\n";
    let lines = b"main;work\nmain;work\n";
    for (query, content_type, body) in [
        ("name=cart&format=folded&sampleRate=100", BINARY, &folded[..]),
        ("name=cart&format=lines", BINARY, &lines[..]),
        ("name=cart", "binary/octet-stream+lines", &lines[..]),
    ] {
        let answer = ingest(query, content_type, body).send(server.api).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    }
    assert_eq!(server.rows(Table::Profiles), 3);
    // Each of two stacks as samples and as CPU time, and twice two equal samples.
    assert_eq!(server.rows(Table::ProfileSamples), 8);
    let frames = server.slot_rows(Table::ProfileStackFrames);
    assert!(frames.iter().any(|row| row.contains("serialization")), "{frames:?}");
    let answer = ingest("name=cart&format=folded", BINARY, b"main;work\n").send(server.api).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("line 1"), "{}", answer.text());
}

#[tokio::test]
async fn push_refuses_in_connect_s_terms_and_stores_nothing_of_a_bad_call() {
    let server = Server::start().await;
    let labels = [("service_name", "checkout")];
    let half_bad = push_request(&labels, &[&profile(), b"\x0a\x05\xff"]);
    let text = Request::post("/push.v1.PusherService/Push").header("content-type", "text/plain");
    for (request, status, code) in [
        (push(&half_bad), 400, "invalid_argument"),
        (push(b"<html>"), 400, "invalid_argument"),
        (push(&push_request(&labels, &[b"FLR\0"])), 415, "unimplemented"),
        (text.body(b"{}"), 415, "unimplemented"),
        (
            push_json("{\"series\":[{\"samples\":[{\"rawProfile\":\"?\"}]}]}"),
            400,
            "invalid_argument",
        ),
        (push_json("[]"), 400, "invalid_argument"),
        (push(b"x").header("content-encoding", "gzip"), 400, "invalid_argument"),
        (Request::get("/push.v1.PusherService/Push"), 405, "unimplemented"),
    ] {
        let answer = request.clone().send(server.api).await;
        assert_eq!(answer.status, status, "{request:?}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.json()["code"], code, "{request:?}");
    }
    assert_eq!(server.all_rows(), 0);
    let server = Server::with(Setup { replaying: true, ..Setup::default() }).await;
    let answer = push(&push_request(&labels, &[&profile()])).send(server.api).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(answer.json()["code"], "unavailable");
}
