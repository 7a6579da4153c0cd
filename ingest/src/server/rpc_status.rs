//! `google.rpc.Status` and its details, the error body of OTLP over HTTP and the error details of
//! gRPC. Message definitions: googleapis `google/rpc/status.proto` and `error_details.proto`.

use std::time::Duration;

use prost::Message;
use serde_json::{Value, json};

use super::refusal::{Class, Refusal};

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    field_violations: Vec<FieldViolation>,
}

#[derive(Clone, PartialEq, Message)]
struct FieldViolation {
    #[prost(string, tag = "1")]
    field: String,
    #[prost(string, tag = "2")]
    description: String,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<ProtoDuration>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ProtoDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// What the violated field of a `BadRequest` is called: the body as a whole.
const BODY_FIELD: &str = "body";

impl Status {
    pub(super) fn of(refusal: &Refusal) -> Self {
        let mut details = Vec::new();
        if refusal.class == Class::Invalid {
            let violation =
                FieldViolation { field: BODY_FIELD.into(), description: refusal.message.clone() };
            details.push(any(BAD_REQUEST, &BadRequest { field_violations: vec![violation] }));
        }
        if let Some(delay) = refusal.retry_after() {
            let retry_delay = Some(ProtoDuration {
                seconds: i64::try_from(delay.as_secs()).unwrap_or(i64::MAX),
                nanos: i32::try_from(delay.subsec_nanos()).unwrap_or(0),
            });
            details.push(any(RETRY_INFO, &RetryInfo { retry_delay }));
        }
        let code = refusal.grpc_code() as i32;
        Self { code, message: refusal.message.clone(), details }
    }
}

/// The status in the JSON mapping of protobuf.
pub(super) fn json(refusal: &Refusal) -> Value {
    let mut details = Vec::new();
    if refusal.class == Class::Invalid {
        let violation = json!({"field": BODY_FIELD, "description": refusal.message});
        details.push(json!({"@type": BAD_REQUEST, "fieldViolations": [violation]}));
    }
    if let Some(delay) = refusal.retry_after() {
        details.push(json!({"@type": RETRY_INFO, "retryDelay": seconds_text(delay)}));
    }
    json!({
        "code": refusal.grpc_code() as i32,
        "message": refusal.message,
        "details": details,
    })
}

/// The details header of gRPC needs the whole status as bytes.
pub(super) fn grpc(refusal: &Refusal) -> tonic::Status {
    let status = Status::of(refusal);
    if status.details.is_empty() {
        return tonic::Status::new(refusal.grpc_code(), status.message);
    }
    let details = status.encode_to_vec().into();
    tonic::Status::with_details(refusal.grpc_code(), status.message, details)
}

fn any(type_url: &str, message: &impl Message) -> Any {
    Any { type_url: type_url.into(), value: message.encode_to_vec() }
}

/// The JSON form of a protobuf duration, such as `1s` or `0.500s`.
fn seconds_text(delay: Duration) -> String {
    match delay.subsec_millis() {
        0 => format!("{}s", delay.as_secs()),
        millis => format!("{}.{millis:03}s", delay.as_secs()),
    }
}
