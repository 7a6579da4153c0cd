//! Answers in the encodings of OTLP over HTTP and of the API.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use prost::Message as _;
use serde_json::{Value, json};

use super::refusal::{Class, Refusal};
use super::rpc_status::{self, Status};

pub(super) const PROTOBUF: &str = "application/x-protobuf";
pub(super) const JSON: &str = "application/json";

/// The two encodings of OTLP over HTTP. An answer has the encoding of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OtlpEncoding {
    Protobuf,
    Json,
}

impl OtlpEncoding {
    /// The encoding that the content type names: parameters and case do not matter.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        match media_type(headers).as_str() {
            PROTOBUF => Some(Self::Protobuf),
            JSON => Some(Self::Json),
            _ => None,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => PROTOBUF,
            Self::Json => JSON,
        }
    }
}

/// The content type in lower case without its parameters; empty when missing.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    value.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

/// How a content type is called in messages.
pub(super) fn named(media_type: &str) -> String {
    if media_type.is_empty() {
        "a missing content type".to_owned()
    } else {
        format!("the content type {media_type:?}")
    }
}

/// What a request held, noted beside its answer: the sender may be charged for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// Spans, data points, log records, samples, changes.
    pub(super) items: u64,
}

/// Notes what the request of this answer held.
pub(super) fn noting(mut response: Response, items: u64) -> Response {
    response.extensions_mut().insert(Taken { items });
    response
}

/// An answer with a body.
pub(super) fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A JSON answer.
pub(super) fn document(status: StatusCode, value: &Value) -> Response {
    respond(status, JSON, value.to_string().into())
}

/// A `google.rpc.Status` in the encoding of the request; JSON where it has none of OTLP's.
pub(super) fn otlp_refusal(encoding: Option<OtlpEncoding>, refusal: &Refusal) -> Response {
    let encoding = encoding.unwrap_or(OtlpEncoding::Json);
    let body = match encoding {
        OtlpEncoding::Protobuf => Status::of(refusal).encode_to_vec().into(),
        OtlpEncoding::Json => rpc_status::json(refusal).to_string().into(),
    };
    with_advice(respond(refusal.http_status(), encoding.content_type(), body), refusal)
}

/// A refusal of the API, in the shape of the Connect protocol's errors: a code in words and a
/// message.
pub(super) fn api_refusal(refusal: &Refusal) -> Response {
    let body = json!({"code": refusal.connect_code(), "message": refusal.message});
    with_advice(document(refusal.http_status(), &body), refusal)
}

/// Adds the headers that say when or how to ask again.
fn with_advice(mut response: Response, refusal: &Refusal) -> Response {
    if let Some(delay) = refusal.retry_after() {
        let seconds = HeaderValue::from(
            delay.as_secs().saturating_add(u64::from(delay.subsec_nanos() > 0)).max(1),
        );
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    if refusal.class == Class::Unauthenticated {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if refusal.class == Class::Method {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// Refuses any method but POST.
pub(super) fn only_post(method: &http::Method) -> Result<(), Refusal> {
    if method == http::Method::POST {
        return Ok(());
    }
    Err(Refusal::new(Class::Method, format!("the method {method} is not taken here; use POST")))
}
