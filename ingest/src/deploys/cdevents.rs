//! CDEvents of services: `dev.cdevents.service.{deployed,upgraded,rolledback,removed}`, of the
//! specification's versions 0.3 to 0.6, bare or in CloudEvents, one or a batch.
//!
//! The service is the subject's id, the version stands in the artifact id (`artifact` below). These
//! events say that a rollout is over: start and end of the change are the event's time, and the view
//! `changes` completes a change of the same service and version whose start somebody sent.
//!
//! Layouts: <https://github.com/cdevents/spec> (`schemas/`, `conformance/`, `cloudevents-binding.md`).
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use upriver_store::time::UnixNanos;

use super::fields::kind_of;
use super::place::Place;
use super::translation::{Outcome, attributes, document};
use super::{Deploy, ENTRIES_MAX, NAME_BYTES_MAX, Refusal, Translated, URL_BYTES_MAX};
use crate::DecodeError;

mod artifact;

const WHAT: &str = "CDEvents";

/// The one major version of events and of the specification.
const MAJOR: u64 = 0;

/// How the events come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope<'a> {
    /// The body is the event, its type also stands in the header `ce-type`: CloudEvents in binary
    /// mode.
    Binary {
        /// `ce-type`
        event_type: &'a str,
    },
    /// The body is a CloudEvents document, a list of them, or the bare event.
    Body,
}

/// Reads one request. `received` is the time of an event that does not say its own.
pub fn translate(
    body: &[u8],
    envelope: Envelope<'_>,
    received: UnixNanos,
) -> Result<Translated, DecodeError> {
    let document = document(WHAT, body)?;
    let events = match (&document, envelope) {
        (Value::Array(events), Envelope::Body) => events.as_slice(),
        (document, _) => std::slice::from_ref(document),
    };
    if events.len() > ENTRIES_MAX {
        let why = format!("{} events, at most {ENTRIES_MAX}; send fewer at once", events.len());
        return Err(DecodeError::too_large(WHAT, why));
    }
    let outcomes = events.iter().map(|event| match envelope {
        Envelope::Binary { event_type } => of_binary(event, event_type, received),
        Envelope::Body => of_body(event, received),
    });
    Translated::collect(WHAT, outcomes)
}

fn of_binary(event: &Value, header: &str, received: UnixNanos) -> Result<Outcome, Refusal> {
    if !header.starts_with(PREFIX) {
        return Ok(foreign(header));
    }
    let root = root(event)?;
    let own = root.required_object("context")?.required_text("type", NAME_BYTES_MAX)?;
    if own != header {
        let (header, own) = (crate::otlp::shown(header), crate::otlp::shown(&own));
        return Err(format!("the header ce-type is {header}, `context.type` is {own}").into());
    }
    of_event(&root, received)
}

/// A CloudEvents document has the event in `data`; without one the event is bare.
fn of_body(event: &Value, received: UnixNanos) -> Result<Outcome, Refusal> {
    let outer = root(event)?;
    if outer.get("specversion").is_none() {
        return of_event(&outer, received);
    }
    let envelope = outer.required_text("specversion", NAME_BYTES_MAX)?;
    if !envelope.starts_with("1.") {
        return Err(Refusal::Unsupported {
            format: format!("CloudEvents {}", crate::otlp::shown(&envelope)),
            hint: "send CloudEvents 1.0".to_owned(),
        });
    }
    let event_type = outer.required_text("type", NAME_BYTES_MAX)?;
    if !event_type.starts_with(PREFIX) {
        return Ok(foreign(&event_type));
    }
    let received = outer.instant("time")?.unwrap_or(received);
    if let Some(data) = outer.get("data") {
        return of_event(&inner(data.value())?, received);
    }
    let Some(encoded) = outer.get("data_base64") else {
        return Err(outer.missing("data", "the CDEvents event").into());
    };
    let data = decoded(encoded.value())?;
    of_event(&inner(&data)?, received)
}

fn decoded(encoded: &Value) -> Result<Value, String> {
    let wrong = || "`data_base64` is not a JSON document in base64".to_owned();
    let bytes = encoded.as_str().and_then(|text| BASE64_STANDARD.decode(text).ok());
    let bytes = bytes.ok_or_else(wrong)?;
    serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", wrong()))
}

fn root(event: &Value) -> Result<Place<'_>, String> {
    match event {
        Value::Object(_) => Ok(Place::root(event)),
        other => Err(format!("found {}: an event is an object", kind_of(other))),
    }
}

fn inner(data: &Value) -> Result<Place<'_>, String> {
    match data {
        Value::Object(_) => Ok(Place::root(data)),
        other => Err(format!("`data` is {}: the CDEvents event is expected", kind_of(other))),
    }
}

fn foreign(event_type: &str) -> Outcome {
    let shown = crate::otlp::shown(event_type);
    Outcome::ignored(if event_type.starts_with("dev.cdeventsx.") {
        format!("{shown} is a custom event of a tool: what it means is not known")
    } else {
        format!("{shown} is not an event of CDEvents")
    })
}

/// What all types begin with.
const PREFIX: &str = "dev.cdevents.";

/// A type in its parts: `dev.cdevents.service.deployed.0.3.0`.
#[derive(Debug)]
struct EventType<'a> {
    subject: &'a str,
    predicate: &'a str,
    version: &'a str,
}

impl<'a> EventType<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.strip_prefix(PREFIX)?.splitn(3, '.');
        let (subject, predicate) = (parts.next()?, parts.next()?);
        let version = parts.next()?;
        (!subject.is_empty() && !predicate.is_empty()).then_some(Self {
            subject,
            predicate,
            version,
        })
    }
}

/// The number before the first dot.
fn major(version: &str) -> Option<u64> {
    version.split('.').next()?.parse().ok()
}

fn of_event(event: &Place<'_>, received: UnixNanos) -> Result<Outcome, Refusal> {
    let context = event.required_object("context")?;
    let type_text = context.required_text("type", NAME_BYTES_MAX)?;
    if !type_text.starts_with(PREFIX) {
        return Ok(foreign(&type_text));
    }
    let shown = crate::otlp::shown(&type_text);
    let wrong = || {
        format!(
            "`context.type` is {shown}: a type such as \"dev.cdevents.service.deployed.0.3.0\" is expected"
        )
    };
    let event_type = EventType::parse(&type_text).ok_or_else(wrong)?;
    let EventType { subject, predicate, version } = event_type;
    let found = major(version).ok_or_else(wrong)?;
    check_major(&format!("CDEvents {subject}.{predicate}"), version, found)?;
    // `version` until 0.5 of the specification, `specversion` since.
    for key in ["specversion", "version"] {
        if let Some(version) = context.text(key, NAME_BYTES_MAX)? {
            let wrong = || {
                format!(
                    "`context.{key}` is {}: a version such as \"0.5.0\" is expected",
                    crate::otlp::shown(&version)
                )
            };
            check_major("CDEvents", &version, major(&version).ok_or_else(wrong)?)?;
        }
    }
    let kind = match (subject, predicate) {
        ("service", "deployed" | "upgraded" | "removed") => "deploy",
        ("service", "rolledback") => "rollback",
        _ => return Ok(Outcome::Ignored(reason(subject, predicate))),
    };
    let start = context.instant("timestamp")?.unwrap_or(received);
    let change = Change { kind, is_removal: predicate == "removed", start, event_type: &type_text };
    Ok(Outcome::Change(Box::new(change.read(event, &context)?)))
}

fn check_major(what: &str, version: &str, found: u64) -> Result<(), Refusal> {
    if found == MAJOR {
        return Ok(());
    }
    Err(Refusal::Unsupported {
        format: format!("{what} of version {}", crate::otlp::shown(version)),
        hint: format!("versions {MAJOR}.x are known; send one of them, or update Upriver"),
    })
}

/// Why an event says nothing of a change.
fn reason(subject: &str, predicate: &str) -> String {
    let why = match subject {
        "service" => "it says nothing of a version; service.deployed does",
        "environment" => "it names no service; service.deployed and its kin do",
        "change" | "repository" | "branch" => "source code does not change a running service",
        "incident" => "incidents are found here, not taken",
        _ => "only service.deployed, upgraded, rolledback and removed are changes of a service",
    };
    format!("{}: {why}", crate::otlp::shown(&format!("{subject}.{predicate}")))
}

/// What is known of a change before its subject is read.
#[derive(Debug)]
struct Change<'a> {
    kind: &'static str,
    is_removal: bool,
    start: UnixNanos,
    event_type: &'a str,
}

impl Change<'_> {
    fn read(&self, event: &Place<'_>, context: &Place<'_>) -> Result<Deploy, String> {
        let subject = event.required_object("subject")?;
        let service = subject.required_text("id", NAME_BYTES_MAX)?;
        let content = subject.object("content")?;
        let (mut environment, mut artifact_id) = (None, None);
        if let Some(content) = &content {
            environment = match content.object("environment")? {
                Some(environment) => environment.text("id", NAME_BYTES_MAX)?,
                None => None,
            };
            artifact_id = content.text("artifactId", URL_BYTES_MAX)?;
        }
        let version = match artifact_id.as_deref().filter(|_| !self.is_removal) {
            Some(id) => artifact::version(id)?,
            None => None,
        };
        let text = |key| context.text(key, URL_BYTES_MAX);
        Ok(Deploy {
            service,
            version,
            previous_version: None,
            environment,
            kind: self.kind,
            start: self.start,
            end: Some(self.start),
            commit: None,
            url: None,
            description: self.is_removal.then(|| "the service was removed".to_owned()),
            attributes: attributes([
                ("cdevents.artifact_id", artifact_id),
                ("cdevents.chain_id", text("chainId")?),
                ("cdevents.id", text("id")?),
                ("cdevents.source", text("source")?),
                ("cdevents.type", Some(self.event_type.to_owned())),
            ]),
        })
    }
}

#[cfg(test)]
mod tests;
