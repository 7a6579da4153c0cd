//! OTLP over gRPC, called by tonic's client with bodies as bytes.

use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tonic::client::Grpc;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tower::ServiceExt;
use upriver_store::schema::Table;

use crate::harness::{
    Request, RpcStatus, Server, Setup, gzip, logs, metrics, otlp_profiles, traces,
};

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const PROFILES: &str =
    "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";

/// How a message is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sent {
    Plain,
    Gzip,
    Zstd,
}

/// Calls a method with these bytes as the message.
pub(crate) async fn call(
    address: SocketAddr,
    path: &str,
    body: Vec<u8>,
    sent: Sent,
) -> Result<Vec<u8>, Status> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = Grpc::new(endpoint.connect().await.unwrap());
    client = match sent {
        Sent::Plain => client,
        Sent::Gzip => client.send_compressed(CompressionEncoding::Gzip),
        Sent::Zstd => client.send_compressed(CompressionEncoding::Zstd),
    };
    client.ready().await.unwrap();
    let path = PathAndQuery::try_from(path).unwrap();
    let request = tonic::Request::new(Bytes::from(body));
    client.unary(request, path, BytesCodec).await.map(|response| response.into_inner().to_vec())
}

/// Messages as they are.
pub(crate) struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

#[tokio::test]
async fn exports_are_taken_in_any_compression() {
    let server = Server::start().await;
    for sent in [Sent::Plain, Sent::Gzip, Sent::Zstd] {
        let answer = call(server.grpc, TRACES, traces(2), sent).await.unwrap();
        let response = ExportTraceServiceResponse::decode(&answer[..]).unwrap();
        assert_eq!(response.partial_success, None, "{sent:?}");
        let answer = call(server.grpc, METRICS, metrics(), sent).await.unwrap();
        let response = ExportMetricsServiceResponse::decode(&answer[..]).unwrap();
        assert_eq!(response.partial_success, None, "{sent:?}");
        assert_eq!(call(server.grpc, LOGS, logs(2), sent).await.unwrap(), b"", "{sent:?}");
        let answer = call(server.grpc, PROFILES, otlp_profiles(&[0]), sent).await.unwrap();
        assert_eq!(answer, b"", "{sent:?}");
    }
    assert_eq!((server.rows(Table::Spans), server.rows(Table::Metrics)), (6, 3));
    assert_eq!((server.rows(Table::Logs), server.rows(Table::ProfileSamples)), (6, 3));
}

#[tokio::test]
async fn an_empty_export_succeeds() {
    let server = Server::start().await;
    assert_eq!(call(server.grpc, TRACES, Vec::new(), Sent::Plain).await.unwrap(), b"");
    assert_eq!(call(server.grpc, METRICS, Vec::new(), Sent::Gzip).await.unwrap(), b"");
    assert_eq!(server.all_rows(), 0);
}

#[tokio::test]
async fn partial_success_counts_and_explains() {
    let server = Server::start().await;
    let mut body = traces(2);
    // The second span's trace id becomes zeros.
    let id = body.windows(16).position(|window| window == [2; 16]).unwrap();
    body[id..id + 16].fill(0);
    let answer = call(server.grpc, TRACES, body, Sent::Plain).await.unwrap();
    let response = ExportTraceServiceResponse::decode(&answer[..]).unwrap();
    let partial = response.partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 1);
    assert!(!partial.error_message.is_empty());
    assert_eq!(server.rows(Table::Spans), 1);
}

#[tokio::test]
async fn rejected_profiles_are_counted_as_profiles() {
    let server = Server::start().await;
    let answer = call(server.grpc, PROFILES, otlp_profiles(&[9, 0, 8]), Sent::Plain).await.unwrap();
    let response = ExportProfilesServiceResponse::decode(&answer[..]).unwrap();
    let partial = response.partial_success.unwrap();
    assert_eq!(partial.rejected_profiles, 2);
    assert!(partial.error_message.contains("stack 9"), "{partial:?}");
    assert_eq!((server.rows(Table::Profiles), server.rows(Table::ProfileSamples)), (1, 1));
}

#[tokio::test]
async fn a_log_record_without_a_usable_id_is_kept_with_a_warning() {
    let server = Server::start().await;
    let mut body = logs(1);
    // The field of the span id now has a span id of 7 bytes and an empty field after it.
    let id = body.windows(10).position(|window| window[..2] == [0x52, 8]).unwrap();
    body[id + 1] = 6;
    body[id + 8..id + 10].copy_from_slice(&[0x52 | 0x20, 0]);
    let answer = call(server.grpc, LOGS, body, Sent::Plain).await.unwrap();
    let response = ExportLogsServiceResponse::decode(&answer[..]).unwrap();
    let partial = response.partial_success.unwrap();
    assert_eq!(partial.rejected_log_records, 0);
    assert!(partial.error_message.contains("its span id has 6 bytes"), "{partial:?}");
    assert_eq!(server.rows(Table::Logs), 1);
}

#[tokio::test]
async fn garbage_is_an_invalid_argument() {
    let server = Server::start().await;
    for path in [METRICS, LOGS, PROFILES] {
        let status = call(server.grpc, path, b"<html>".to_vec(), Sent::Plain).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{path}");
    }
    let status = call(server.grpc, TRACES, b"<html>".to_vec(), Sent::Plain).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("cannot read OTLP traces"), "{status}");
    let details = RpcStatus::decode(status.details()).unwrap();
    assert_eq!(details.details[0].type_url, "type.googleapis.com/google.rpc.BadRequest");
    assert_eq!(server.all_rows(), 0);
    server.assert_alive().await;
}

#[tokio::test]
async fn a_message_over_the_limit_is_exhaustion_without_retry_advice() {
    let mut setup = Setup::default();
    setup.limits.grpc_message_bytes_max = 1000;
    let server = Server::with(setup).await;
    for sent in [Sent::Plain, Sent::Gzip, Sent::Zstd] {
        let status = call(server.grpc, TRACES, vec![0; 2000], sent).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{sent:?}");
        assert!(status.message().contains("limit of 1000 bytes"), "{status}");
        assert!(status.details().is_empty(), "{status:?}");
    }
    assert_eq!(server.all_rows(), 0);
    call(server.grpc, TRACES, traces(1), Sent::Plain).await.unwrap();
}

#[tokio::test]
async fn a_full_store_is_unavailable_with_retry_advice() {
    let server = Server::with(Setup { hot_bytes_max: Some(1), ..Setup::default() }).await;
    let mut last = Ok(Vec::new());
    for _ in 0..3 {
        last = call(server.grpc, TRACES, traces(1), Sent::Plain).await;
    }
    assert_unavailable(&last.unwrap_err());
    let server = Server::with(Setup { replaying: true, ..Setup::default() }).await;
    let status = call(server.grpc, TRACES, traces(1), Sent::Plain).await.unwrap_err();
    assert_unavailable(&status);
    assert!(status.message().contains("replaying the log"), "{status}");
}

fn assert_unavailable(status: &Status) {
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let details = RpcStatus::decode(status.details()).unwrap();
    assert_eq!(details.code, Code::Unavailable as i32);
    assert_eq!(details.details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
    // RetryInfo{retry_delay: Duration{seconds: 1}}
    assert_eq!(details.details[0].value, [0x0a, 0x02, 0x08, 0x01]);
}

#[tokio::test]
async fn unknown_methods_name_the_known_ones() {
    let server = Server::start().await;
    for path in [
        "/opentelemetry.proto.collector.profiles.v1experimental.ProfilesService/Export",
        "/grpc.health.v1.Health/Check",
    ] {
        let status = call(server.grpc, path, Vec::new(), Sent::Plain).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
        for known in
            ["TraceService", "MetricsService", "LogsService", "v1development ProfilesService"]
        {
            assert!(status.message().contains(known), "{status}");
        }
    }
}

#[tokio::test]
async fn plain_http_on_the_grpc_port_is_told_where_to_go() {
    let server = Server::start().await;
    let request = Request::post("/v1/traces").header("content-type", "application/x-protobuf");
    let answer = request.body(&traces(1)).send(server.grpc).await;
    assert_eq!(answer.status, 415);
    assert!(answer.text().contains("4318"), "{}", answer.text());
}

/// A call whose body is exactly these bytes, without a client that would make them right.
async fn raw_call(server: &Server, encoding: Option<&str>, body: Vec<u8>) -> Status {
    let routes = server.grpc_routes.clone();
    let mut request = http::Request::post(TRACES)
        .header("host", "localhost")
        .header("content-type", "application/grpc");
    if let Some(encoding) = encoding {
        request = request.header("grpc-encoding", encoding);
    }
    let request = request.body(axum::body::Body::from(body)).unwrap();
    let response = routes.oneshot(request).await.unwrap();
    Status::from_header_map(response.headers()).unwrap_or_else(|| Status::ok(""))
}

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![flag];
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.extend_from_slice(message);
    frame
}

#[tokio::test]
async fn broken_frames_are_refused() {
    let server = Server::start().await;
    let cut = framed(0, &traces(1));
    let cut = cut[..cut.len() - 3].to_vec();
    let cut_gzip = gzip(&traces(1));
    let cut_gzip = framed(1, &cut_gzip[..cut_gzip.len() - 4]);
    for (encoding, body, code, message) in [
        (None, Vec::new(), Code::Internal, "without a message"),
        (None, vec![0, 0, 0], Code::Internal, "without a message"),
        (None, cut, Code::Internal, "the message ended too early"),
        (None, framed(1, &gzip(&traces(1))), Code::Internal, "grpc-encoding is missing"),
        (None, framed(7, &traces(1)), Code::Internal, "the compressed flag is 7"),
        (
            None,
            [framed(0, &traces(1)), framed(0, &traces(1))].concat(),
            Code::Internal,
            "more than one",
        ),
        (Some("snappy"), framed(1, b"x"), Code::Unimplemented, "\"snappy\" is not supported"),
        (Some("gzip"), framed(1, b"not gzip"), Code::InvalidArgument, "cannot decompress the gzip"),
        (Some("gzip"), cut_gzip, Code::InvalidArgument, "cannot decompress the gzip"),
        (None, vec![0, 255, 255, 255, 255], Code::ResourceExhausted, "larger than the limit"),
    ] {
        let status = raw_call(&server, encoding, body.clone()).await;
        assert_eq!(status.code(), code, "{encoding:?} {}: {status}", body.escape_ascii());
        assert!(status.message().contains(message), "{status}");
    }
    assert_eq!(server.all_rows(), 0);
    // An uncompressed message is fine where compression was announced.
    let status = raw_call(&server, Some("gzip"), framed(0, &traces(1))).await;
    assert_eq!(status.code(), Code::Ok, "{status}");
}
