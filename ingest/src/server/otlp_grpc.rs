//! OTLP over gRPC: the method `Export` of each signal.
//!
//! Messages are taken as bytes, because bytes are what is logged: a generated service would decode
//! them into structures first. A unary call is five bytes of prefix and the message (gRPC over
//! HTTP/2, "Length-Prefixed-Message"), read here under the same limits as an HTTP body; OTLP also
//! wants `RESOURCE_EXHAUSTED` for a message over the limit, where tonic's reader says
//! `OUT_OF_RANGE`, which exporters would retry for ever.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tokio::time::timeout;
use upriver_store::record::LogRecord;

use super::access::Scope;
use super::admission::Charge;
use super::body::{self, next_piece};
use super::guard::Listener;
use super::inflate::{Encoding, Inflater};
use super::refusal::{Class, Refusal};
use super::reply;
use super::signal::Signal;
use super::{Arrival, Receiver, Upload, parca_grpc, rpc_status};

const GRPC: &str = "application/grpc";
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
/// Compressed flag and length.
const PREFIX_BYTES: usize = 5;

impl Receiver {
    /// The routes of the OTLP/gRPC listener.
    pub fn grpc_routes(&self) -> Router {
        let routes = Signal::ALL.into_iter().fold(Router::new(), |routes, signal| {
            let handler = async move |State(receiver): State<Self>, request: Request| {
                export(&receiver, signal, request).await
            };
            routes.route(signal.grpc_path(), any(handler))
        });
        let routes = routes.route(parca_grpc::PATH, any(parca_grpc::write_raw));
        let routes = self.shared.access.limit(Listener::OtlpGrpc, Some(Scope::Telemetry), routes);
        routes.fallback(unknown_method).with_state(self.clone())
    }
}

async fn export(receiver: &Receiver, signal: Signal, request: Request) -> Response {
    if !is_grpc(request.headers()) {
        return not_grpc();
    }
    let read = async |arrival| read(receiver, signal, request, arrival).await;
    match receiver.receive(signal.grpc_door(), read).await {
        Ok(acknowledged) => {
            reply::noting(respond(&signal.response(&acknowledged)), acknowledged.items)
        }
        Err(refusal) => refuse(&refusal),
    }
}

async fn read(
    receiver: &Receiver,
    signal: Signal,
    request: Request,
    arrival: Arrival,
) -> Result<Upload, Refusal> {
    let Arrival { received, charge } = arrival;
    let (message, charge) = read_call(receiver, request, charge).await?;
    let record = LogRecord { kind: signal.record_kind(), received, payload: message };
    Ok(Upload { records: vec![record], charge })
}

/// The one message of a unary call, read under the limits.
pub(super) async fn read_call(
    receiver: &Receiver,
    request: Request,
    charge: Charge,
) -> Result<(Bytes, Charge), Refusal> {
    let encoding = Encoding::of(request.headers(), &GRPC_ENCODING)?;
    let limits = receiver.limits();
    let mut body = request.into_body();
    let reading = read_message(&mut body, encoding, limits.grpc_message_bytes_max, charge);
    let reading = timeout(limits.body_timeout, reading).await;
    let (message, charge) = reading.unwrap_or_else(|_| Err(body::too_slow(limits)))?;
    Ok((message.into(), charge))
}

/// The one message of a unary call.
async fn read_message(
    body: &mut Body,
    encoding: Encoding,
    limit: usize,
    charge: Charge,
) -> Result<(Vec<u8>, Charge), Refusal> {
    let mut input = BytesMut::new();
    while input.len() < PREFIX_BYTES {
        let Some(piece) = next_piece(body).await? else {
            return Err(protocol("the call ended without a message"));
        };
        input.extend_from_slice(&piece);
    }
    let encoding = match (input.get_u8(), encoding) {
        (0, _) => Encoding::Identity,
        (1, Encoding::Identity) => {
            return Err(protocol(
                "the message is flagged compressed, but grpc-encoding is missing",
            ));
        }
        (1, encoding) => encoding,
        (flag, _) => return Err(protocol(format!("the compressed flag is {flag}, not 0 or 1"))),
    };
    let mut missing = usize::try_from(input.get_u32()).unwrap_or(usize::MAX);
    if missing > limit {
        return Err(body::too_large(limit));
    }
    if missing == 0 {
        expect_end(body, &input).await?;
        return Ok((Vec::new(), charge));
    }
    let mut inflater = Inflater::new(encoding, limit, charge)?;
    inflater.announce(missing)?;
    let mut piece = input.freeze();
    loop {
        let taken = piece.split_to(missing.min(piece.len()));
        missing -= taken.len();
        inflater.write(&taken)?;
        if missing == 0 {
            break;
        }
        piece = next_piece(body).await?.ok_or_else(|| protocol("the message ended too early"))?;
    }
    expect_end(body, &piece).await?;
    inflater.finish()
}

async fn expect_end(body: &mut Body, rest: &[u8]) -> Result<(), Refusal> {
    if rest.is_empty() && next_piece(body).await?.is_none() {
        return Ok(());
    }
    Err(protocol("the call has more than one message"))
}

fn protocol(message: impl Into<String>) -> Refusal {
    Refusal::new(Class::Protocol, message)
}

pub(super) fn respond(message: &[u8]) -> Response {
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    let mut trailers = HeaderMap::new();
    trailers.insert(tonic::Status::GRPC_STATUS, HeaderValue::from_static("0"));
    let body: Full<Bytes> = Full::new(frame.freeze());
    let body = body.with_trailers(async { Some(Ok(trailers)) });
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
    response
}

/// A refusal as a response of trailers alone.
pub(super) fn refuse(refusal: &Refusal) -> Response {
    let mut response: Response = rpc_status::grpc(refusal).into_http();
    if refusal.class == Class::MediaType {
        let accepted = HeaderValue::from_static("gzip,zstd,identity");
        response.headers_mut().insert(GRPC_ACCEPT_ENCODING, accepted);
    }
    response
}

pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let media_type = reply::media_type(headers);
    media_type == GRPC || media_type == "application/grpc+proto"
}

/// People send OTLP/HTTP to the gRPC port; they read HTTP.
pub(super) fn not_grpc() -> Response {
    let message = "this port speaks OTLP/gRPC (application/grpc over HTTP/2); OTLP/HTTP has its own port, 4318 by default\n";
    reply::respond(StatusCode::UNSUPPORTED_MEDIA_TYPE, "text/plain; charset=utf-8", message.into())
}

async fn unknown_method(request: Request) -> Response {
    if !is_grpc(request.headers()) {
        return not_grpc();
    }
    let message = format!(
        "the method {} is not taken; this server takes traces (TraceService), metrics (MetricsService), logs (LogsService) and profiles (v1development ProfilesService)",
        request.uri().path()
    );
    refuse(&Refusal::new(Class::NotTaken, message))
}
