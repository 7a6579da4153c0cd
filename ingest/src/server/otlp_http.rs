//! OTLP over HTTP: `POST /v1/traces`, `/v1/metrics`, `/v1/logs` and `/v1development/profiles`,
//! protobuf or JSON.
//!
//! Requirements: opentelemetry-proto `docs/specification.md`, section OTLP/HTTP.

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use http::StatusCode;
use http::header::CONTENT_ENCODING;
use upriver_store::record::LogRecord;

use super::access::Scope;
use super::guard::Listener;
use super::inflate::Encoding;
use super::refusal::{Class, Refusal};
use super::reply::{self, OtlpEncoding};
use super::signal::Signal;
use super::{Acknowledged, Arrival, Receiver, Upload, body};

impl Receiver {
    /// The routes of the OTLP/HTTP listener.
    pub fn otlp_http_routes(&self) -> Router {
        let routes = Signal::ALL.into_iter().fold(Router::new(), |routes, signal| {
            let handler = async move |State(receiver): State<Self>, request: Request| {
                export(&receiver, signal, request).await
            };
            routes.route(signal.http_path(), any(handler))
        });
        let routes = self.shared.access.limit(Listener::OtlpHttp, Some(Scope::Telemetry), routes);
        routes.fallback(unknown_path).with_state(self.clone())
    }
}

async fn export(receiver: &Receiver, signal: Signal, request: Request) -> Response {
    let encoding = OtlpEncoding::of(request.headers());
    if let Err(refusal) = reply::only_post(request.method()) {
        return reply::otlp_refusal(encoding, &refusal);
    }
    let read = async |arrival| read(receiver, signal, request, arrival).await;
    match receiver.receive(signal.http_door(), read).await {
        Ok(acknowledged) => respond(encoding, signal, &acknowledged),
        Err(refusal) => reply::otlp_refusal(encoding, &refusal),
    }
}

async fn read(
    receiver: &Receiver,
    signal: Signal,
    request: Request,
    arrival: Arrival,
) -> Result<Upload, Refusal> {
    let Some(encoding) = OtlpEncoding::of(request.headers()) else {
        let media_type = reply::media_type(request.headers());
        return Err(Refusal::media_type(format!(
            "{} is not taken; use application/x-protobuf or application/json",
            reply::named(&media_type)
        )));
    };
    let compression = Encoding::of(request.headers(), &CONTENT_ENCODING)?;
    let Arrival { received, charge } = arrival;
    let read = body::read(request.into_body(), compression, charge, receiver.limits()).await?;
    let payload = match encoding {
        OtlpEncoding::Protobuf => read.bytes,
        OtlpEncoding::Json => {
            let json = read.bytes;
            let bytes = json.len();
            let convert = move || signal.json_to_protobuf(&json);
            receiver.beside(bytes, convert).await??.into()
        }
    };
    let record = LogRecord { kind: signal.record_kind(), received, payload };
    Ok(Upload { records: vec![record], charge: read.charge })
}

fn respond(
    encoding: Option<OtlpEncoding>,
    signal: Signal,
    acknowledged: &Acknowledged,
) -> Response {
    let body = match encoding {
        Some(OtlpEncoding::Json) => signal.json_response(acknowledged).into(),
        _ => signal.response(acknowledged).into(),
    };
    let content_type = encoding.unwrap_or(OtlpEncoding::Protobuf).content_type();
    reply::noting(reply::respond(StatusCode::OK, content_type, body), acknowledged.items)
}

async fn unknown_path(request: Request) -> Response {
    let message = format!(
        "the path {:?} is unknown; this port takes {}",
        request.uri().path(),
        Signal::ALL.map(Signal::http_path).join(", ")
    );
    reply::otlp_refusal(OtlpEncoding::of(request.headers()), &Refusal::new(Class::Path, message))
}
