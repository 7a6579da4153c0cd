//! Profiles by plain HTTP: Pyroscope's `POST /ingest` and `POST /api/v1/profiles`.
//!
//! Both take a pprof profile, gzip or raw, or stacks as text, with parameters in the query. `/ingest` also takes the
//! multipart form of older clients, whose field `profile` is the body.

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::access::Scope;
use super::counters::Door;
use super::guard::Listener;
use super::inflate::Encoding;
use super::refusal::Refusal;
use super::{Acknowledged, Arrival, Receiver, Upload, body, push, reply};
use crate::DecodeError;
use crate::pprof::{Folding, PprofUpload, multipart};

/// Content types of a bare body. `curl --data-binary` says the second one by itself.
const BARE: [&str; 5] = [
    "application/octet-stream",
    "application/x-www-form-urlencoded",
    "application/x-protobuf",
    "application/protobuf",
    "application/gzip",
];
const MULTIPART: &str = "multipart/form-data";

/// Formats that Pyroscope tells apart by content type.
const OTHER_FORMATS: [(&str, &str); 2] = [
    ("binary/octet-stream+trie", "the trie format"),
    ("binary/octet-stream+tree", "the tree format"),
];
const LINES: &str = "binary/octet-stream+lines";

impl Receiver {
    /// The routes for profiles.
    pub fn profile_routes(&self) -> Router {
        let routes = Router::new()
            .route("/ingest", any(ingest))
            .route("/api/v1/profiles", any(upload))
            .merge(push::routes());
        let scope = Some(Scope::Telemetry);
        self.shared.access.limit(Listener::Api, scope, routes).with_state(self.clone())
    }
}

/// Pyroscope's clients look at the status alone.
async fn ingest(State(receiver): State<Receiver>, request: Request) -> Response {
    match take(&receiver, Door::PyroscopeIngest, request).await {
        Ok(acknowledged) => reply::noting(Response::default(), acknowledged.items),
        Err(refusal) => reply::api_refusal(&refusal),
    }
}

async fn upload(State(receiver): State<Receiver>, request: Request) -> Response {
    match take(&receiver, Door::PprofUpload, request).await {
        Ok(acknowledged) => {
            let warning =
                acknowledged.message.map(|message| ("warning".to_owned(), message.into()));
            let body = std::iter::once(("status".to_owned(), json!("stored"))).chain(warning);
            let answer = reply::document(StatusCode::OK, &body.collect());
            reply::noting(answer, acknowledged.items)
        }
        Err(refusal) => reply::api_refusal(&refusal),
    }
}

async fn take(receiver: &Receiver, door: Door, request: Request) -> Result<Acknowledged, Refusal> {
    reply::only_post(request.method())?;
    let read = async |arrival| read(receiver, request, arrival).await;
    receiver.receive(door, read).await
}

async fn read(receiver: &Receiver, request: Request, arrival: Arrival) -> Result<Upload, Refusal> {
    let mut upload = PprofUpload::from_query(query_pairs(request.uri().query().unwrap_or("")))?;
    if reply::media_type(request.headers()) == LINES {
        upload.folding = Some(Folding::Lines);
    }
    let form = form_boundary(&request)?;
    let encoding = Encoding::of(request.headers(), &CONTENT_ENCODING)?;
    let Arrival { received, charge } = arrival;
    let read = body::read(request.into_body(), encoding, charge, receiver.limits()).await?;
    let profile = match form {
        Some(boundary) => profile_field(&read.bytes, &boundary)?,
        None => read.bytes,
    };
    let bytes = profile.len();
    let record = receiver.beside(bytes, move || {
        let profile = upload.to_pprof(profile)?;
        Ok::<_, DecodeError>(upload.into_record(profile, received))
    });
    Ok(Upload { records: vec![record.await??], charge: read.charge })
}

/// The boundary of a form; none for a bare body. A missing content type is one too: scripts.
fn form_boundary(request: &Request) -> Result<Option<String>, Refusal> {
    let media_type = reply::media_type(request.headers());
    if media_type == MULTIPART {
        let value = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        return Ok(Some(multipart::boundary(value.unwrap_or_default())?));
    }
    if media_type.is_empty() || media_type == LINES || BARE.contains(&media_type.as_str()) {
        return Ok(None);
    }
    let other = OTHER_FORMATS.iter().find(|(known, _)| *known == media_type);
    let what = other.map_or_else(|| reply::named(&media_type), |(_, format)| (*format).to_owned());
    Err(Refusal::media_type(format!(
        "{what} is not taken; send a pprof profile or folded stacks as application/octet-stream, or as the field \"profile\" of multipart/form-data"
    )))
}

fn profile_field(body: &Bytes, boundary: &str) -> Result<Bytes, Refusal> {
    let fields = multipart::fields(body, boundary)?;
    let names: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
    if names.contains(&"jfr") {
        return Err(Refusal::media_type(
            "JFR (Java Flight Recorder) is not supported: convert it with async-profiler's `jfrconv -o pprof` and send it with `format=pprof`",
        ));
    }
    let found = format!("the form has no field \"profile\"; it has {names:?}");
    let profile = fields.into_iter().find(|field| field.name == "profile");
    profile.map(|field| field.content).ok_or_else(|| Refusal::invalid(found))
}

/// The parameters of a query in order, decoded; a plus sign is a space.
pub(super) fn query_pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key), decoded(value))
    })
}

fn decoded(text: &str) -> String {
    let spaces = text.replace('+', " ");
    percent_decode_str(&spaces).decode_utf8_lossy().into_owned()
}
