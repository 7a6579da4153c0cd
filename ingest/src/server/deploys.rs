//! `POST /api/v1/deploys`: changes as JSON, from pipelines and people.

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use http::StatusCode;
use http::header::CONTENT_ENCODING;
use serde_json::json;
use upriver_store::record::LogRecord;

use super::counters::Door;
use super::inflate::Encoding;
use super::refusal::Refusal;
use super::{Arrival, Receiver, Upload, body, reply};
use crate::record_kind;

impl Receiver {
    /// The route for deploy events.
    pub fn deploy_routes(&self) -> Router {
        Router::new().route("/api/v1/deploys", any(record)).with_state(self.clone())
    }
}

async fn record(State(receiver): State<Receiver>, request: Request) -> Response {
    if let Err(refusal) = reply::only_post(request.method()) {
        return reply::api_refusal(&refusal);
    }
    let read = async |arrival| read(&receiver, request, arrival).await;
    match receiver.receive(Door::Deploys, read).await {
        Ok(acknowledged) => {
            reply::document(StatusCode::CREATED, &json!({"ids": acknowledged.change_ids}))
        }
        Err(refusal) => reply::api_refusal(&refusal),
    }
}

async fn read(receiver: &Receiver, request: Request, arrival: Arrival) -> Result<Upload, Refusal> {
    let media_type = reply::media_type(request.headers());
    if media_type != reply::JSON {
        return Err(Refusal::media_type(format!(
            "{} is not taken; send the deploy as application/json",
            reply::named(&media_type)
        )));
    }
    let encoding = Encoding::of(request.headers(), &CONTENT_ENCODING)?;
    let Arrival { received, charge } = arrival;
    let read = body::read(request.into_body(), encoding, charge, receiver.limits()).await?;
    let record = LogRecord { kind: record_kind::DEPLOYS, received, payload: read.bytes };
    Ok(Upload { records: vec![record], charge: read.charge })
}
