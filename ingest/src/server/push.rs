//! Pyroscope's `Push`, as a unary call of the Connect protocol, protobuf or JSON: what pyroscope-rs,
//! the Python client and Alloy speak. And Parca's `WriteRaw`, over HTTP as its gateway takes it; over
//! gRPC it has its place among the calls.
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

use super::counters::Door;
use super::inflate::Encoding;
use super::refusal::Refusal;
use super::{Acknowledged, Arrival, Receiver, Upload, body, reply};
use crate::pprof::raw_series::{self, ParcaWriteRaw, PyroscopePush};

const PROTO: &str = "application/proto";

/// The routes of `Push` and `WriteRaw`.
pub(super) fn routes() -> Router<Receiver> {
    Router::new()
        .route("/push.v1.PusherService/Push", any(push))
        .route("/profiles/writeraw", any(write_raw))
}

async fn push(State(receiver): State<Receiver>, request: Request) -> Response {
    if let Err(refusal) = reply::only_post(request.method()) {
        return reply::api_refusal(&refusal);
    }
    let is_json = reply::media_type(request.headers()) == reply::JSON;
    let read = async |arrival| read_push(&receiver, request, arrival).await;
    // PushResponse has no fields.
    let (content_type, nothing) =
        if is_json { (reply::JSON, Bytes::from_static(b"{}")) } else { (PROTO, Bytes::new()) };
    answer(receiver.receive(Door::PyroscopePush, read).await, content_type, nothing)
}

async fn write_raw(State(receiver): State<Receiver>, request: Request) -> Response {
    if let Err(refusal) = reply::only_post(request.method()) {
        return reply::api_refusal(&refusal);
    }
    let read = async |arrival| read_write_raw(&receiver, request, arrival).await;
    let outcome = receiver.receive(Door::ParcaWriteRaw, read).await;
    answer(outcome, reply::JSON, Bytes::from_static(b"{}"))
}

fn answer(
    outcome: Result<Acknowledged, Refusal>,
    content_type: &'static str,
    body: Bytes,
) -> Response {
    match outcome {
        Ok(acknowledged) => {
            let answer = reply::respond(StatusCode::OK, content_type, body);
            reply::noting(answer, acknowledged.items)
        }
        Err(refusal) => reply::api_refusal(&refusal),
    }
}

async fn read_push(
    receiver: &Receiver,
    request: Request,
    arrival: Arrival,
) -> Result<Upload, Refusal> {
    let media_type = reply::media_type(request.headers());
    if media_type != PROTO && media_type != reply::JSON {
        return Err(Refusal::media_type(format!(
            "{} is not taken; call Push as a unary Connect call with {PROTO} or {}",
            reply::named(&media_type),
            reply::JSON
        )));
    }
    let encoding = Encoding::of(request.headers(), &CONTENT_ENCODING)?;
    let Arrival { received, charge } = arrival;
    let read = body::read(request.into_body(), encoding, charge, receiver.limits()).await?;
    let records = if media_type == PROTO {
        raw_series::from_protobuf::<PyroscopePush>(read.bytes, received)?
    } else {
        raw_series::from_json::<PyroscopePush>(&read.bytes, received)?
    };
    Ok(Upload { records, charge: read.charge })
}

async fn read_write_raw(
    receiver: &Receiver,
    request: Request,
    arrival: Arrival,
) -> Result<Upload, Refusal> {
    let media_type = reply::media_type(request.headers());
    if media_type != reply::JSON {
        return Err(Refusal::media_type(format!(
            "{} is not taken; send the WriteRawRequest as {}",
            reply::named(&media_type),
            reply::JSON
        )));
    }
    let encoding = Encoding::of(request.headers(), &CONTENT_ENCODING)?;
    let Arrival { received, charge } = arrival;
    let read = body::read(request.into_body(), encoding, charge, receiver.limits()).await?;
    let records = raw_series::from_json::<ParcaWriteRaw>(&read.bytes, received)?;
    Ok(Upload { records, charge: read.charge })
}
