//! `POST /api/v1/deploys`: changes from pipelines and people.
//!
//! The address takes plain JSON, and the events of other tools by the headers that those send:
//! CDEvents, GitHub, GitLab, Flux. Below it, each of these has an address of its own, for proxies that
//! let in one sender alone; what comes there is taken for nothing else. What other tools send is
//! turned into plain JSON before it is logged.

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};
use upriver_store::record::LogRecord;
use upriver_store::time::UnixNanos;

use super::access::{self, Scope};
use super::counters::Door;
use super::guard::Listener;
use super::inflate::Encoding;
use super::profiles::query_pairs;
use super::refusal::Refusal;
use super::webhook_secrets::DeploySecrets;
use super::{Arrival, Receiver, Upload, body, reply};
use crate::deploys::{Hints, Translated, cdevents, flux, github, gitlab};
use crate::record_kind;

const PATH: &str = "/api/v1/deploys";

impl Receiver {
    /// The routes for deploy events.
    pub fn deploy_routes(&self) -> Router {
        let mut routes = Router::new().route(PATH, any(record));
        for (name, _) in Sender::NAMED {
            routes = routes.route(&format!("{PATH}/{name}"), any(record));
        }
        // Webhooks show a secret instead of a key, and which one is known once the event was read.
        self.shared.access.limit(Listener::Api, None, routes).with_state(self.clone())
    }
}

async fn record(State(receiver): State<Receiver>, request: Request) -> Response {
    if let Err(refusal) = reply::only_post(request.method()) {
        return reply::api_refusal(&refusal);
    }
    let mut ignored = Vec::new();
    let read = async |arrival| read(&receiver, request, arrival, &mut ignored).await;
    match receiver.receive(Door::Deploys, read).await {
        Ok(acknowledged) => {
            reply::noting(stored(&acknowledged.change_ids, &ignored), acknowledged.items)
        }
        Err(refusal) => reply::api_refusal(&refusal),
    }
}

/// The ids of the changes, and why events were left out.
fn stored(ids: &[String], ignored: &[String]) -> Response {
    let mut answer = Map::new();
    answer.insert("ids".to_owned(), json!(ids));
    if !ignored.is_empty() {
        answer.insert("ignored".to_owned(), json!(ignored));
    }
    let status = if ids.is_empty() { StatusCode::OK } else { StatusCode::CREATED };
    reply::document(status, &Value::Object(answer))
}

async fn read(
    receiver: &Receiver,
    request: Request,
    arrival: Arrival,
    ignored: &mut Vec<String>,
) -> Result<Upload, Refusal> {
    let (head, body) = request.into_parts();
    let sender = Sender::of(head.uri.path(), &head.headers);
    if !sender.has_secret(receiver.deploy_secrets()) {
        access::of(&head.extensions)?.check(Scope::Deploys)?;
    }
    sender.check_media_type(&reply::media_type(&head.headers))?;
    let hints = sender.hints(head.uri.query().unwrap_or_default())?;
    let encoding = Encoding::of(&head.headers, &CONTENT_ENCODING)?;
    let Arrival { received, charge } = arrival;
    let read = body::read(body, encoding, charge, receiver.limits()).await?;
    let (body, charge) = (read.bytes, read.charge);
    let record = |payload| LogRecord { kind: record_kind::DEPLOYS, received, payload };
    if sender == Sender::Plain {
        return Ok(Upload { records: vec![record(body)], charge });
    }
    let event = Event { sender, headers: head.headers, hints, body, received };
    let secrets = receiver.deploy_secrets().clone();
    let bytes = event.body.len();
    let translated = receiver.beside(bytes, move || event.translate(&secrets)).await??;
    *ignored = translated.ignored;
    let records = match translated.changes {
        0 => Vec::new(),
        _ => vec![record(Bytes::from(translated.body))],
    };
    Ok(Upload { records, charge })
}

/// Who sends, and so what a body means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    Plain,
    CdEvents,
    GitHub,
    GitLab,
    Flux,
}

const CLOUDEVENTS: &str = "application/cloudevents+json";
const CLOUDEVENTS_BATCH: &str = "application/cloudevents-batch+json";

impl Sender {
    /// Those with an address of their own.
    const NAMED: [(&str, Self); 4] = [
        ("cdevents", Self::CdEvents),
        ("github", Self::GitHub),
        ("gitlab", Self::GitLab),
        ("flux", Self::Flux),
    ];

    /// By the address; where that is the common one, by the headers that each sender sets.
    fn of(path: &str, headers: &HeaderMap) -> Self {
        let own = path.strip_prefix(PATH).and_then(|rest| rest.strip_prefix('/'));
        if let Some((_, sender)) = Self::NAMED.into_iter().find(|(name, _)| Some(*name) == own) {
            return sender;
        }
        let has = |name| headers.contains_key(name);
        if has("x-github-event") {
            Self::GitHub
        } else if has("x-gitlab-event") {
            Self::GitLab
        } else if has("gotk-component") {
            Self::Flux
        } else if has("ce-type")
            || reply::media_type(headers).starts_with("application/cloudevents")
        {
            Self::CdEvents
        } else {
            Self::Plain
        }
    }

    /// Whether its events are only taken with the sender's own secret.
    fn has_secret(self, secrets: &DeploySecrets) -> bool {
        match self {
            Self::Plain | Self::CdEvents => false,
            Self::GitHub => secrets.github.is_some(),
            Self::GitLab => secrets.gitlab.is_some(),
            Self::Flux => secrets.flux.is_some(),
        }
    }

    /// Forms and plain text may be sent by a web page that asks nobody, so they are not taken.
    fn check_media_type(self, media_type: &str) -> Result<(), Refusal> {
        let is_taken = match self {
            Self::CdEvents => [reply::JSON, CLOUDEVENTS, CLOUDEVENTS_BATCH].contains(&media_type),
            Self::Plain | Self::GitHub | Self::GitLab | Self::Flux => media_type == reply::JSON,
        };
        if is_taken {
            return Ok(());
        }
        let advice = match self {
            Self::Plain => "send the deploy as application/json".to_owned(),
            Self::GitHub => {
                "choose the content type application/json in the webhook's settings".to_owned()
            }
            Self::CdEvents => {
                format!("send the event as {}, {CLOUDEVENTS} or {CLOUDEVENTS_BATCH}", reply::JSON)
            }
            Self::GitLab | Self::Flux => "send the event as application/json".to_owned(),
        };
        let named = reply::named(media_type);
        Err(Refusal::media_type(format!("{named} is not taken; {advice}")))
    }

    /// What the address tells of the service, for those whose events may not.
    fn hints(self, query: &str) -> Result<Hints, Refusal> {
        let mut hints = Hints::default();
        if matches!(self, Self::GitHub | Self::GitLab | Self::Flux) {
            for (name, value) in query_pairs(query) {
                hints.set(&name, &value).map_err(|why| {
                    Refusal::invalid(format!("the address of the webhook: {why}"))
                })?;
            }
        }
        Ok(hints)
    }
}

/// An event of another tool as it came.
struct Event {
    sender: Sender,
    headers: HeaderMap,
    hints: Hints,
    body: Bytes,
    received: UnixNanos,
}

impl Event {
    /// Checks who sent it, then reads it.
    fn translate(&self, secrets: &DeploySecrets) -> Result<Translated, Refusal> {
        let (body, hints, received) = (self.body.as_ref(), &self.hints, self.received);
        let translated = match self.sender {
            Sender::Plain => Ok(Translated::default()),
            Sender::CdEvents => cdevents::translate(body, self.envelope()?, received),
            Sender::GitHub => {
                secrets.check_github(&self.headers, body)?;
                let event = self.required("x-github-event", "the webhook's event")?;
                github::translate(event, body, hints, received)
            }
            Sender::GitLab => {
                secrets.check_gitlab(&self.headers)?;
                gitlab::translate(body, hints, received)
            }
            Sender::Flux => {
                secrets.check_flux(&self.headers, body)?;
                flux::translate(body, hints, received)
            }
        };
        Ok(translated?)
    }

    /// In binary mode the attributes of a CloudEvent are headers.
    fn envelope(&self) -> Result<cdevents::Envelope<'_>, Refusal> {
        if !self.headers.contains_key("ce-type") || reply::media_type(&self.headers) != reply::JSON
        {
            return Ok(cdevents::Envelope::Body);
        }
        let event_type = self.required("ce-type", "the event's type")?;
        let version = self.required("ce-specversion", "the version of CloudEvents")?;
        if !version.starts_with("1.") {
            let shown = crate::otlp::shown(version);
            let message = format!("CloudEvents {shown} is not supported: send CloudEvents 1.0");
            return Err(Refusal::media_type(message));
        }
        Ok(cdevents::Envelope::Binary { event_type })
    }

    fn required(&self, name: &str, what: &str) -> Result<&str, Refusal> {
        let value = self.headers.get(name).map(|value| value.to_str());
        match value {
            Some(Ok(text)) => Ok(text),
            Some(Err(_)) => Err(Refusal::invalid(format!("the header {name} is not text"))),
            None => Err(Refusal::invalid(format!("the header {name} is missing: {what}"))),
        }
    }
}
