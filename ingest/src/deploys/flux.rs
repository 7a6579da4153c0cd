//! Notifications of Flux, as its `generic` and `generic-hmac` providers send them.
//!
//! What counts is a revision that reached the cluster: an event of a `Kustomization` or a
//! `HelmRelease` with a revision in its metadata. A Kustomization that applied changes is the start
//! of a change, one whose health checks passed is its end, and so is a release that was installed,
//! upgraded or rolled back; the view `changes` makes one change of start and end. The service is
//! `service` in the alert's `eventMetadata`, else the one in the provider's address, else the name of
//! the object; `environment` and `version` are read from `eventMetadata` as well.
//!
//! Layouts: <https://fluxcd.io/flux/components/notification/providers/#generic-webhook>, and the
//! reasons in the kustomize and helm controllers.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use upriver_store::time::UnixNanos;

use super::place::Place;
use super::translation::{Outcome, attributes, is_version, one_event};
use super::{DESCRIPTION_BYTES_MAX, Deploy, Hints, NAME_BYTES_MAX, Refusal, Translated};
use crate::DecodeError;

const WHAT: &str = "the Flux notification";

/// Reads one notification. `received` is the time of an event that does not say its own.
pub fn translate(
    body: &[u8],
    hints: &Hints,
    received: UnixNanos,
) -> Result<Translated, DecodeError> {
    one_event(WHAT, body, |root| of_event(root, hints, received))
}

fn of_event(root: &Place<'_>, hints: &Hints, received: UnixNanos) -> Result<Outcome, Refusal> {
    let object = root.required_object("involvedObject")?;
    let kind = object.required_text("kind", NAME_BYTES_MAX)?;
    let reason = root.required_text("reason", NAME_BYTES_MAX)?;
    let metadata = root.object("metadata")?;
    let metadata = Metadata(metadata.as_ref());
    let subject = format!("{} of {}", crate::otlp::shown(&reason), crate::otlp::shown(&kind));
    if !matches!(kind.as_str(), "Kustomization" | "HelmRelease") {
        return Ok(Outcome::Ignored(format!(
            "{subject}: only a Kustomization or a HelmRelease changes a service"
        )));
    }
    if root.text("severity", NAME_BYTES_MAX)?.as_deref() == Some("error") {
        return Ok(Outcome::Ignored(format!("{subject}: it failed, the revision did not arrive")));
    }
    let Some(revision) = metadata.text("revision")? else {
        return Ok(Outcome::Ignored(format!("{subject}: the event has no revision")));
    };
    // Sent at every reconciliation, meant for the status of a commit.
    if metadata.text("commit_status")?.as_deref() == Some("update") {
        return Ok(Outcome::Ignored(format!("{subject}: it repeats the revision that is there")));
    }
    let message = root.prose("message", DESCRIPTION_BYTES_MAX);
    let Some(step) = Step::of(&reason, message.as_deref().unwrap_or_default()) else {
        return Ok(Outcome::Ignored(format!("{subject}: no revision reached the cluster")));
    };
    let start = root.instant("timestamp")?.unwrap_or(received);
    let names = Names { kind, reason, revision };
    let mut deploy = names.read(&object, &metadata, hints)?;
    deploy.kind = if step == Step::RolledBack { "rollback" } else { "deploy" };
    deploy.start = start;
    deploy.end = (step != Step::Started).then_some(start);
    deploy.description = message;
    Ok(Outcome::Change(Box::new(deploy)))
}

/// What an event says of the rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Changed objects were applied.
    Started,
    /// The new revision is there.
    Done,
    /// The release before is there again.
    RolledBack,
}

impl Step {
    /// While a Kustomization is applied, all its events have the reason `Progressing`; the message
    /// tells them apart. Changed objects are a line each: `Deployment/apps/webapp configured`.
    fn of(reason: &str, message: &str) -> Option<Self> {
        let is_applied = |line: &str| {
            let line = line.trim_end();
            line.ends_with(" configured") || line.ends_with(" created")
        };
        match reason {
            "ReconciliationSucceeded" | "InstallSucceeded" | "UpgradeSucceeded" => Some(Self::Done),
            "RollbackSucceeded" => Some(Self::RolledBack),
            "Progressing" if message.starts_with("Health check passed") => Some(Self::Done),
            "Progressing" if message.lines().any(is_applied) => Some(Self::Started),
            _ => None,
        }
    }
}

/// The metadata of an event: keys of the involved object's group come with or without the group
/// (`kustomize.toolkit.fluxcd.io/revision`, `revision`), depending on Flux's version.
#[derive(Debug)]
struct Metadata<'a>(Option<&'a Place<'a>>);

impl Metadata<'_> {
    fn text(&self, name: &str) -> Result<Option<String>, String> {
        let Some(place) = self.0 else { return Ok(None) };
        if let Some(text) = place.text(name, NAME_BYTES_MAX)? {
            return Ok(Some(text));
        }
        let mut keys = place.fields().into_iter().flat_map(serde_json::Map::keys);
        let key = keys.find(|key| key.rsplit_once('/').is_some_and(|(_, last)| last == name));
        key.map_or(Ok(None), |key| place.text(key, NAME_BYTES_MAX))
    }

    /// The first of these that is there.
    fn any(&self, names: &[&str]) -> Result<Option<String>, String> {
        for name in names {
            if let Some(text) = self.text(name)? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }
}

/// What the event is about.
#[derive(Debug)]
struct Names {
    kind: String,
    reason: String,
    revision: String,
}

impl Names {
    fn read(
        &self,
        object: &Place<'_>,
        metadata: &Metadata<'_>,
        hints: &Hints,
    ) -> Result<Deploy, String> {
        let name = object.text("name", NAME_BYTES_MAX)?;
        let told = metadata.any(&["service", "service.name", "service_name"])?;
        let service = told.or_else(|| hints.service.clone()).or(name);
        let environment = metadata.any(&["environment", "env", "deployment.environment.name"])?;
        let revision = Revision::of(&self.revision);
        let version = match metadata.any(&["version", "service.version", "app-version"])? {
            None => revision.version,
            version => version,
        };
        Ok(Deploy {
            service: service.ok_or(NO_SERVICE)?,
            version,
            previous_version: None,
            environment: environment.or_else(|| hints.environment.clone()),
            kind: "deploy",
            start: UnixNanos(0),
            end: None,
            commit: match revision.commit {
                None => commit_of_origin(metadata)?,
                commit => commit,
            },
            url: None,
            description: None,
            attributes: attributes([
                ("flux.kind", Some(self.kind.clone())),
                ("flux.name", object.text("name", NAME_BYTES_MAX)?),
                ("flux.namespace", object.text("namespace", NAME_BYTES_MAX)?),
                ("flux.reason", Some(self.reason.clone())),
                ("flux.revision", Some(self.revision.clone())),
            ]),
        })
    }
}

const NO_SERVICE: &str = "`involvedObject.name` is missing: a text is expected; or put `service` into the alert's eventMetadata";

/// Artifacts that are built from a repository name its revision too.
fn commit_of_origin(metadata: &Metadata<'_>) -> Result<Option<String>, String> {
    Ok(metadata.text("originRevision")?.and_then(|revision| Revision::of(&revision).commit))
}

/// A revision in its parts: `main@sha1:731f7e`, `v1.2.3@sha1:731f7e`, `6.5.0@sha256:0b31`,
/// `main/731f7e` of older versions, `6.5.0` of a chart.
#[derive(Debug, PartialEq, Eq)]
struct Revision {
    version: Option<String>,
    commit: Option<String>,
}

impl Revision {
    fn of(text: &str) -> Self {
        let is_hash = |hash: &str| hash.len() >= 7 && hash.bytes().all(|b| b.is_ascii_hexdigit());
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let (name, digest) = match text.rsplit_once('@') {
            Some((name, digest)) => (name, digest),
            None if text.contains(':') => ("", text),
            None => match text.rsplit_once('/') {
                Some((name, hash)) if is_hash(hash) => {
                    let version = if is_version(name) { name } else { hash };
                    return Self { version: some(version), commit: some(hash) };
                }
                _ => return Self { version: some(text), commit: None },
            },
        };
        let commit = digest.strip_prefix("sha1:");
        let version = if is_version(name) { name } else { commit.unwrap_or(digest) };
        Self { version: some(version), commit: commit.and_then(some) }
    }
}

#[cfg(test)]
mod tests;
