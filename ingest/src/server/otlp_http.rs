//! OTLP over HTTP: `POST /v1/traces` and `/v1/metrics`, protobuf or JSON.
//!
//! Requirements: opentelemetry-proto `docs/specification.md`, section OTLP/HTTP.

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use http::StatusCode;
use http::header::CONTENT_ENCODING;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message as _;
use serde_json::json;
use upriver_store::record::LogRecord;

use super::counters::Door;
use super::inflate::Encoding;
use super::refusal::{Class, Refusal};
use super::reply::{self, OtlpEncoding};
use super::{Acknowledged, Arrival, Receiver, Upload, beside, body};
use crate::{otlp, record_kind};

/// A signal that OTLP carries and this service takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    pub(super) fn record_kind(self) -> u8 {
        match self {
            Self::Traces => record_kind::OTLP_TRACES,
            Self::Metrics => record_kind::OTLP_METRICS,
        }
    }

    /// The protobuf response: `partial_success` is set only when there is something to say.
    pub(super) fn response(self, acknowledged: &Acknowledged) -> Vec<u8> {
        let rejected = i64::try_from(acknowledged.rejected).unwrap_or(i64::MAX);
        let error_message = acknowledged.message.clone().unwrap_or_default();
        let partial = rejected > 0 || !error_message.is_empty();
        match self {
            Self::Traces => ExportTraceServiceResponse {
                partial_success: partial.then_some(ExportTracePartialSuccess {
                    rejected_spans: rejected,
                    error_message,
                }),
            }
            .encode_to_vec(),
            Self::Metrics => ExportMetricsServiceResponse {
                partial_success: partial.then_some(ExportMetricsPartialSuccess {
                    rejected_data_points: rejected,
                    error_message,
                }),
            }
            .encode_to_vec(),
        }
    }

    /// The same in protobuf's JSON mapping, where 64-bit integers are texts.
    fn json_response(self, acknowledged: &Acknowledged) -> String {
        let rejected = acknowledged.rejected.to_string();
        let message = acknowledged.message.as_deref().unwrap_or_default();
        if acknowledged.rejected == 0 && message.is_empty() {
            return "{}".to_owned();
        }
        let partial = match self {
            Self::Traces => json!({"rejectedSpans": rejected, "errorMessage": message}),
            Self::Metrics => json!({"rejectedDataPoints": rejected, "errorMessage": message}),
        };
        json!({"partialSuccess": partial}).to_string()
    }
}

impl Receiver {
    /// The routes of the OTLP/HTTP listener.
    pub fn otlp_http_routes(&self) -> Router {
        Router::new()
            .route("/v1/traces", any(traces))
            .route("/v1/metrics", any(metrics))
            .route("/v1/logs", any(async |request| not_taken("logs", &request)))
            .route(
                "/v1development/profiles",
                any(async |request| not_taken("profiles over OTLP", &request)),
            )
            .fallback(unknown_path)
            .with_state(self.clone())
    }
}

async fn traces(State(receiver): State<Receiver>, request: Request) -> Response {
    export(&receiver, Signal::Traces, request).await
}

async fn metrics(State(receiver): State<Receiver>, request: Request) -> Response {
    export(&receiver, Signal::Metrics, request).await
}

async fn export(receiver: &Receiver, signal: Signal, request: Request) -> Response {
    let encoding = OtlpEncoding::of(request.headers());
    if let Err(refusal) = reply::only_post(request.method()) {
        return reply::otlp_refusal(encoding, &refusal);
    }
    let door = match signal {
        Signal::Traces => Door::OtlpHttpTraces,
        Signal::Metrics => Door::OtlpHttpMetrics,
    };
    let read = async |arrival| read(receiver, signal, request, arrival).await;
    match receiver.receive(door, read).await {
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
            beside(json.len(), move || match signal {
                Signal::Traces => otlp::json::traces_to_protobuf(&json),
                Signal::Metrics => otlp::json::metrics_to_protobuf(&json),
            })
            .await??
            .into()
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
    reply::respond(StatusCode::OK, content_type, body)
}

fn not_taken(what: &str, request: &Request) -> Response {
    let message = format!(
        "{what} are not taken yet; this server takes traces on /v1/traces and metrics on /v1/metrics"
    );
    reply::otlp_refusal(
        OtlpEncoding::of(request.headers()),
        &Refusal::new(Class::NotTaken, message),
    )
}

async fn unknown_path(request: Request) -> Response {
    let message = format!(
        "the path {:?} is unknown; this port takes /v1/traces and /v1/metrics",
        request.uri().path()
    );
    reply::otlp_refusal(OtlpEncoding::of(request.headers()), &Refusal::new(Class::Path, message))
}
