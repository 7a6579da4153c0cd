//! Pyroscope's `Push`, as a unary call of the Connect protocol: what pyroscope-rs, the Python
//! client and Alloy speak.
//!
//! Messages: `push.v1` of Pyroscope's public API. Errors: Connect protocol, "Unary-Response": JSON
//! with a code and a message, and the HTTP status of the code.

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_ENCODING;
use prost::Message;

use super::counters::Door;
use super::inflate::Encoding;
use super::refusal::Refusal;
use super::{Arrival, Receiver, Upload, body, reply};
use crate::pprof::PprofUpload;

const PROTO: &str = "application/proto";

/// Most profiles in one call. Agents send one per process and type.
const PROFILES_MAX: usize = 10_000;

/// Service of a series that names none, as in OTLP.
const UNKNOWN_SERVICE: &str = "unknown_service";

#[derive(Clone, PartialEq, Message)]
struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    series: Vec<Series>,
}

#[derive(Clone, PartialEq, Message)]
struct Series {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<LabelPair>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<RawSample>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct RawSample {
    #[prost(bytes = "bytes", tag = "1")]
    raw_profile: Bytes,
}

/// The route of `Push`.
pub(super) fn routes() -> Router<Receiver> {
    Router::new().route("/push.v1.PusherService/Push", any(push))
}

async fn push(State(receiver): State<Receiver>, request: Request) -> Response {
    if let Err(refusal) = reply::only_post(request.method()) {
        return reply::api_refusal(&refusal);
    }
    let read = async |arrival| read(&receiver, request, arrival).await;
    match receiver.receive(Door::PyroscopePush, read).await {
        // PushResponse has no fields.
        Ok(_) => reply::respond(StatusCode::OK, PROTO, Bytes::new()),
        Err(refusal) => reply::api_refusal(&refusal),
    }
}

async fn read(receiver: &Receiver, request: Request, arrival: Arrival) -> Result<Upload, Refusal> {
    let media_type = reply::media_type(request.headers());
    if media_type != PROTO {
        return Err(Refusal::media_type(format!(
            "{} is not taken; call Push as a unary Connect call with {PROTO}",
            reply::named(&media_type)
        )));
    }
    let encoding = Encoding::of(request.headers(), &CONTENT_ENCODING)?;
    let Arrival { received, charge } = arrival;
    let read = body::read(request.into_body(), encoding, charge, receiver.limits()).await?;
    let push = PushRequest::decode(read.bytes).map_err(|error| {
        Refusal::invalid(format!("cannot read the push.v1.PushRequest: {error}"))
    })?;
    let profiles: usize = push.series.iter().map(|series| series.samples.len()).sum();
    if profiles > PROFILES_MAX {
        return Err(Refusal::invalid(format!(
            "{profiles} profiles in one call, at most {PROFILES_MAX}; send fewer at once"
        )));
    }
    let mut records = Vec::with_capacity(profiles);
    for series in push.series {
        let mut upload = PprofUpload::new(UNKNOWN_SERVICE);
        for label in series.labels {
            upload.set_label(&label.name, label.value);
        }
        for sample in series.samples {
            records.push(upload.clone().into_record(sample.raw_profile, received));
        }
    }
    Ok(Upload { records, charge: read.charge })
}
