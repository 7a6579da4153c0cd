//! Webhooks of GitLab deployments: `object_kind: deployment`.
//!
//! A deployment that starts (`running`) is the start of a change; one that succeeds, fails or is
//! canceled is its end. GitLab does not say in the second event when the first was, so start and end
//! of the second are its own time, and the view `changes` makes one change of the two. The service is
//! the one in the webhook's address, else the project's name; the version is the ref where it reads
//! as one, else the commit.
//!
//! Layouts: <https://docs.gitlab.com/user/project/integrations/webhook_events/#deployment-events>.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use upriver_store::time::UnixNanos;

use super::place::Place;
use super::translation::{Outcome, attributes, is_version, one_event};
use super::{
    DESCRIPTION_BYTES_MAX, Deploy, Hints, NAME_BYTES_MAX, Refusal, Translated, URL_BYTES_MAX,
};
use crate::DecodeError;

const WHAT: &str = "the GitLab webhook";

/// Reads one delivery. `received` is the time of an event that does not say its own.
pub fn translate(
    body: &[u8],
    hints: &Hints,
    received: UnixNanos,
) -> Result<Translated, DecodeError> {
    one_event(WHAT, body, |root| of_event(root, hints, received))
}

fn of_event(root: &Place<'_>, hints: &Hints, received: UnixNanos) -> Result<Outcome, Refusal> {
    let kind = root.required_text("object_kind", NAME_BYTES_MAX)?;
    if kind != "deployment" {
        let kind = crate::otlp::shown(&kind);
        return Ok(Outcome::Ignored(format!(
            "{kind}: the event says nothing of a deployment; choose `Deployment events` alone in the webhook's settings"
        )));
    }
    let status = root.required_text("status", NAME_BYTES_MAX)?;
    let is_end = match status.as_str() {
        "running" => false,
        "success" | "failed" | "canceled" => true,
        "created" | "blocked" | "skipped" => {
            return Ok(Outcome::Ignored(format!("`{status}`: nothing is rolled out")));
        }
        other => {
            let other = crate::otlp::shown(other);
            return Ok(Outcome::Ignored(format!("the status {other} is not known")));
        }
    };
    let at = root.instant("status_changed_at")?.unwrap_or(received);
    let deploy = read(root, hints, &Moment { status, at, is_end })?;
    Ok(Outcome::Change(Box::new(deploy)))
}

/// What an event says of the rollout.
#[derive(Debug)]
struct Moment {
    status: String,
    at: UnixNanos,
    is_end: bool,
}

fn read(root: &Place<'_>, hints: &Hints, moment: &Moment) -> Result<Deploy, String> {
    let project = root.object("project")?;
    let of_project = |key: &str| match &project {
        Some(project) => project.text(key, NAME_BYTES_MAX),
        None => Ok(None),
    };
    let service = match &hints.service {
        Some(service) => Some(service.clone()),
        None => of_project("name")?,
    };
    let user = match root.object("user")? {
        Some(user) => user.text("username", NAME_BYTES_MAX)?,
        None => None,
    };
    let name = root.text("ref", NAME_BYTES_MAX)?;
    let commit = commit(root)?;
    let environment = root.text("environment", NAME_BYTES_MAX)?;
    Ok(Deploy {
        service: service.ok_or(NO_SERVICE)?,
        version: name.filter(|name| is_version(name)).or_else(|| commit.clone()),
        previous_version: None,
        environment: environment.or_else(|| hints.environment.clone()),
        kind: "deploy",
        start: moment.at,
        end: moment.is_end.then_some(moment.at),
        commit,
        url: root.text("deployable_url", URL_BYTES_MAX)?,
        description: root.prose("commit_title", DESCRIPTION_BYTES_MAX),
        attributes: attributes([
            ("gitlab.deployment_id", root.text("deployment_id", NAME_BYTES_MAX)?),
            ("gitlab.environment_tier", root.text("environment_tier", NAME_BYTES_MAX)?),
            ("gitlab.project", of_project("path_with_namespace")?),
            ("gitlab.status", Some(moment.status.clone())),
            ("gitlab.user", user),
        ]),
    })
}

const NO_SERVICE: &str = "the service is not known: `project.name` is missing; \
    put `?service=NAME` at the end of the webhook's address";

/// The whole hash stands at the end of the commit's address alone.
fn commit(root: &Place<'_>) -> Result<Option<String>, String> {
    let url = root.text("commit_url", URL_BYTES_MAX)?;
    let last = url.as_deref().and_then(|url| url.rsplit('/').next());
    let is_hash = |text: &&str| text.len() >= 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
    match last.filter(is_hash).filter(|hash| hash.len() <= NAME_BYTES_MAX) {
        Some(hash) => Ok(Some(hash.to_owned())),
        None => root.text("short_sha", NAME_BYTES_MAX),
    }
}

#[cfg(test)]
mod tests;
