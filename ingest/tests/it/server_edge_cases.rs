//! The edge cases of OTLP at the HTTP level, each answered as its `expected.json` says.

use crate::harness::{Answer, Request, Server};
use crate::support::{expectations, fixtures};

/// What must come back.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// 200, nothing left out.
    Taken,
    /// 200 with this many spans left out.
    Partly(u64),
    /// This status.
    Refused(u16),
}
use Expected::{Partly, Refused, Taken};

fn check(name: &str, answer: &Answer, expected: Expected, content_type: &str) {
    assert_eq!(answer.header("content-type"), Some(content_type), "{name}");
    match expected {
        Taken => {
            assert_eq!(answer.status, 200, "{name}: {answer:?}");
            assert!(answer.body.is_empty() || answer.body == b"{}", "{name}: {answer:?}");
        }
        Partly(spans) => {
            assert_eq!((answer.status, rejected(answer)), (200, spans), "{name}: {answer:?}");
        }
        Refused(status) => {
            assert_eq!(answer.status, status, "{name}: {answer:?}");
            let rpc = answer.rpc_status();
            assert!(!rpc.message.is_empty(), "{name}");
        }
    }
}

fn rejected(answer: &Answer) -> u64 {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
    use prost::Message;
    if answer.header("content-type") == Some("application/json") {
        let text = answer.json()["partialSuccess"]["rejectedSpans"].as_str().unwrap().to_owned();
        return text.parse().unwrap();
    }
    let response = ExportTraceServiceResponse::decode(&answer.body[..]).unwrap();
    u64::try_from(response.partial_success.unwrap().rejected_spans).unwrap()
}

const JSON: [(&str, Expected); 30] = [
    ("ids-upper-hex.json", Taken),
    ("ids-mixed-case-hex.json", Taken),
    ("ids-base64.json", Refused(400)),
    ("ids-short.json", Refused(400)),
    ("ids-odd-hex.json", Refused(400)),
    ("ids-zero.json", Partly(1)),
    ("ids-empty.json", Partly(1)),
    ("int64-as-number.json", Taken),
    ("int64-as-string.json", Taken),
    ("int64-overflow.json", Refused(400)),
    ("int64-exponent.json", Taken),
    ("enum-as-name.json", Refused(400)),
    ("enum-unknown-number.json", Taken),
    ("unknown-fields.json", Taken),
    ("snake-case-keys.json", Taken),
    ("null-fields.json", Taken),
    ("anyvalue-empty.json", Taken),
    ("anyvalue-nested.json", Taken),
    ("duplicate-attribute-keys.json", Taken),
    ("end-before-start.json", Taken),
    ("empty-object.json", Taken),
    ("empty-envelopes.json", Taken),
    ("not-json.json", Refused(400)),
    ("array-top.json", Refused(400)),
    ("utf8-bom.json", Taken),
    ("invalid-utf8.json", Refused(400)),
    ("lone-surrogate.json", Refused(400)),
    ("duplicate-json-keys.json", Refused(400)),
    ("deep-nesting-10000.json", Refused(400)),
    ("deep-anyvalue-3000.json", Refused(400)),
];

#[tokio::test]
async fn json_edge_cases_are_answered() {
    let Some(folder) = fixtures("otlp/json-edge") else { return };
    let listed = expectations(&folder.join("expected.json"));
    assert!(listed.keys().all(|name| JSON.iter().any(|(known, _)| known == name)), "{listed:?}");
    let server = Server::start().await;
    for (name, expected) in JSON {
        let body = std::fs::read(folder.join(name)).unwrap();
        let request = Request::post("/v1/traces").header("content-type", "application/json");
        let before = server.all_rows();
        let answer = request.body(&body).send(server.http).await;
        check(name, &answer, expected, "application/json");
        if !matches!(expected, Taken) {
            assert_eq!(server.all_rows(), before, "{name}");
        }
    }
    server.assert_alive().await;
}

const PROTOBUF: [(&str, Option<&str>, Expected); 14] = [
    ("empty.bin", None, Taken),
    ("garbage.bin", None, Refused(400)),
    ("html.bin", None, Refused(400)),
    ("truncated-len.bin", None, Refused(400)),
    ("traceid-15-bytes.bin", None, Partly(1)),
    ("spanid-9-bytes.bin", None, Partly(1)),
    ("spans-1-good-1-bad-id.bin", None, Partly(1)),
    ("invalid-utf8-name.bin", None, Refused(400)),
    ("anyvalue-depth-200.bin", None, Refused(400)),
    ("unknown-fields.bin", None, Taken),
    ("bomb-64MiB-zeros.gz", Some("gzip"), Refused(400)),
    ("bomb-strings-96MiB.gz", Some("gzip"), Refused(413)),
    ("gzip-truncated.gz", Some("gzip"), Refused(400)),
    ("not-gzip-but-header-says-so.bin", Some("gzip"), Refused(400)),
];

#[tokio::test]
async fn protobuf_edge_cases_are_answered() {
    let Some(folder) = fixtures("otlp/proto-edge") else { return };
    let listed = expectations(&folder.join("expected.json"));
    let known = |name: &String| PROTOBUF.iter().any(|(known, ..)| known == name);
    assert!(listed.keys().all(known), "{listed:?}");
    let server = Server::start().await;
    for (name, encoding, expected) in PROTOBUF {
        let body = std::fs::read(folder.join(name)).unwrap();
        let mut request =
            Request::post("/v1/traces").header("content-type", "application/x-protobuf");
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        let before = server.all_rows();
        let answer = request.body(&body).send(server.http).await;
        check(name, &answer, expected, "application/x-protobuf");
        if matches!(expected, Refused(_)) {
            assert_eq!(server.all_rows(), before, "{name}");
        }
    }
    server.assert_alive().await;
}
