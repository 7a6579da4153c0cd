//! Webhooks of GitHub deployments: the event `deployment_status`.
//!
//! All statuses of a deployment say when the deployment was created, which is taken for the start of
//! the change, so that they are one change with one id: `in_progress` is its start, `success`,
//! `failure` and `error` are its end. A deployment names no service and no version; they are read
//! from its payload (`{"service": "cart", "version": "2.4.0"}`, which who creates the deployment
//! chooses), else the service is the one in the webhook's address or the repository's name, and the
//! version is the ref where it reads as one, else the commit.
//!
//! Layouts: <https://docs.github.com/en/webhooks/webhook-events-and-payloads#deployment_status>.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use serde_json::Value;
use upriver_store::time::UnixNanos;

use super::fields::shown;
use super::place::{Place, cut};
use super::translation::{Outcome, attributes, is_version, one_event};
use super::{
    DESCRIPTION_BYTES_MAX, Deploy, Hints, KINDS, NAME_BYTES_MAX, Refusal, Translated, URL_BYTES_MAX,
};
use crate::DecodeError;

const WHAT: &str = "the GitHub webhook";

/// Reads one delivery. `event` is the header `X-GitHub-Event`; `received` is the time of a status
/// that does not say its own.
pub fn translate(
    event: &str,
    body: &[u8],
    hints: &Hints,
    received: UnixNanos,
) -> Result<Translated, DecodeError> {
    one_event(WHAT, body, |root| {
        let why = match event {
            "deployment_status" => return of_status(root, hints, received),
            "ping" => "`ping`: the webhook reaches this server".to_owned(),
            "deployment" => "`deployment`: its statuses tell when it is rolled out; \
                choose `Deployment statuses` in the webhook's settings"
                .to_owned(),
            other => format!(
                "{}: the event says nothing of a rollout; choose `Deployment statuses` alone in the webhook's settings",
                crate::otlp::shown(other)
            ),
        };
        Ok(Outcome::Ignored(why))
    })
}

fn of_status(root: &Place<'_>, hints: &Hints, received: UnixNanos) -> Result<Outcome, Refusal> {
    let status = root.required_object("deployment_status")?;
    let state = status.required_text("state", NAME_BYTES_MAX)?;
    let is_end = match state.as_str() {
        "in_progress" => false,
        "success" | "failure" | "error" => true,
        "queued" | "pending" | "waiting" => {
            return Ok(Outcome::Ignored(format!("`{state}`: nothing is rolled out yet")));
        }
        "inactive" => {
            return Ok(Outcome::ignored(
                "`inactive`: a later deployment took this one's place, and tells it itself",
            ));
        }
        other => {
            let other = crate::otlp::shown(other);
            return Ok(Outcome::Ignored(format!("the state {other} is not known")));
        }
    };
    let at = status.instant("created_at")?.unwrap_or(received);
    let deploy = read(root, hints, &Moment { state, at, is_end })?;
    Ok(Outcome::Change(Box::new(deploy)))
}

/// What a status says of the rollout.
#[derive(Debug)]
struct Moment {
    state: String,
    at: UnixNanos,
    is_end: bool,
}

fn read(root: &Place<'_>, hints: &Hints, moment: &Moment) -> Result<Deploy, String> {
    let status = root.required_object("deployment_status")?;
    let deployment = root.required_object("deployment")?;
    let repository = root.object("repository")?;
    let payload = payload(&deployment);
    let payload = payload.as_ref().map(Place::root);
    let told = |key: &str| match &payload {
        Some(payload) => payload
            .text(key, NAME_BYTES_MAX)
            .map_err(|why| format!("in `deployment.payload`, {why}")),
        None => Ok(None),
    };
    let of_repository = |key: &str, bytes_max| match &repository {
        Some(repository) => repository.text(key, bytes_max),
        None => Ok(None),
    };

    let commit = deployment.text("sha", NAME_BYTES_MAX)?;
    let task = deployment.text("task", NAME_BYTES_MAX)?;
    let kind = match told("kind")? {
        Some(kind) => *KINDS.iter().find(|known| **known == kind).ok_or_else(|| {
            let (kind, kinds) = (crate::otlp::shown(&kind), KINDS.join(", "));
            format!("in `deployment.payload`, `kind` is {kind}: expected {kinds}")
        })?,
        None if task.as_deref() == Some("rollback") => "rollback",
        None => "deploy",
    };
    let service = match told("service")?.or_else(|| hints.service.clone()) {
        Some(service) => Some(service),
        None => of_repository("name", NAME_BYTES_MAX)?,
    };
    let environment = match status.text("environment", NAME_BYTES_MAX)? {
        None => deployment.text("environment", NAME_BYTES_MAX)?,
        environment => environment,
    };
    let start = deployment.instant("created_at")?.unwrap_or(moment.at).min(moment.at);
    Ok(Deploy {
        service: service.ok_or(NO_SERVICE)?,
        version: match told("version")? {
            None => version_of_ref(&deployment)?.or_else(|| commit.clone()),
            version => version,
        },
        previous_version: told("previous_version")?,
        environment: environment.or_else(|| hints.environment.clone()),
        kind,
        start,
        end: moment.is_end.then_some(moment.at),
        url: url(&status, of_repository("html_url", URL_BYTES_MAX)?, commit.as_deref())?,
        commit,
        description: ["description", "message"]
            .iter()
            .find_map(|key| deployment.prose(key, DESCRIPTION_BYTES_MAX))
            .or_else(|| status.prose("description", DESCRIPTION_BYTES_MAX)),
        attributes: attributes([
            ("github.creator", creator(&deployment)?),
            ("github.deployment_id", deployment.text("id", NAME_BYTES_MAX)?),
            ("github.repository", of_repository("full_name", NAME_BYTES_MAX)?),
            ("github.state", Some(moment.state.clone())),
            ("github.task", task),
        ]),
    })
}

const NO_SERVICE: &str = "the service is not known: put `service` into the deployment's payload, \
    or `?service=NAME` at the end of the webhook's address";

/// The payload is an object, or one as text.
fn payload(deployment: &Place<'_>) -> Option<Value> {
    let payload = deployment.get("payload")?;
    match payload.value() {
        Value::String(text) => serde_json::from_str(text).ok().filter(Value::is_object),
        Value::Object(_) => Some(payload.value().clone()),
        _ => None,
    }
}

/// The ref, where it is a tag that reads as a version.
fn version_of_ref(deployment: &Place<'_>) -> Result<Option<String>, String> {
    let name = deployment.text("ref", NAME_BYTES_MAX)?;
    let name = name.map(|name| name.trim_start_matches("refs/tags/").to_owned());
    Ok(name.filter(|name| is_version(name)))
}

/// The log of the rollout, else the commit.
fn url(
    status: &Place<'_>,
    repository: Option<String>,
    commit: Option<&str>,
) -> Result<Option<String>, String> {
    for key in ["log_url", "target_url", "environment_url"] {
        if let Some(url) = status.text(key, URL_BYTES_MAX)? {
            return Ok(Some(url));
        }
    }
    let page = repository.zip(commit);
    Ok(page
        .map(|(repository, commit)| cut(&format!("{repository}/commit/{commit}"), URL_BYTES_MAX)))
}

fn creator(deployment: &Place<'_>) -> Result<Option<String>, String> {
    match deployment.get("creator") {
        None => Ok(None),
        Some(creator) if creator.fields().is_some() => creator.text("login", NAME_BYTES_MAX),
        Some(creator) => Err(format!(
            "`deployment.creator` is {}: an object is expected",
            shown(creator.value())
        )),
    }
}

#[cfg(test)]
mod tests;
