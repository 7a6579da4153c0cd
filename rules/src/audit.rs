//! Is everybody as well off since a change as before: the service itself, and those that call it?
//!
//! What the service does is held against the hour before: how long requests take, how many fail, how
//! large bodies are, how often it calls others, its own work and processor time per request, its share
//! of garbage collection. The same is asked of its callers, and of theirs, since a change can cost
//! others what it does not cost the service itself. What got worse is counted against the change only
//!
//! - if it began at or after the change;
//! - of the service itself: if no callee that is slower by its own account explains it;
//! - of a caller: if what it gets from the service got worse: slower, larger or failing answers.
//!
//! The rest is named with its reason. Too few requests are said to be too few, never a pass.

mod conclude;
pub mod document;
mod judge;
mod measure;
mod queries;
mod series;
mod windows;

#[cfg(test)]
mod tests;

use std::time::Duration;

use upriver_analyze::{Session, UnixNanos};

pub use document::Audit;

use document::{AuditOutcome, AuditedChange, Requests, SCHEMA, SETTLED};
use judge::REQUESTS_MIN;
use windows::Windows;

use crate::diagnosis::{Change, Graph, Inquiry, load_changes};
use crate::error::RulesError;
use crate::escape;
use crate::spelling;
use crate::time::{HOUR, MINUTE, Periods, Time, Window, nanos};

/// Rule of the finding that says what came of a change.
pub const AUDIT_RULE: &str = "deploy_audit";
/// What is looked at after a change at most, unless something else is asked for.
const WINDOW: Duration = Duration::from_hours(1);
/// Changes this long before the one in question may still be taking effect.
const RECENT: i64 = 15 * MINUTE;

/// What is asked.
#[derive(Clone, Debug)]
pub struct AuditRequest {
    /// The id of a change, or `SERVICE@VERSION`: the latest deploy of that version.
    pub target: String,
    /// Nothing that was recorded at or after this instant is read.
    pub at: UnixNanos,
    /// How long after the change is looked at, at most.
    pub window: Duration,
}

impl AuditRequest {
    /// The first hour after a change, or as much of it as there is.
    pub fn new(target: impl Into<String>, at: UnixNanos) -> Self {
        Self { target: target.into(), at, window: WINDOW }
    }
}

/// Judges a change.
pub async fn audit(session: &Session, request: &AuditRequest) -> Result<Audit, RulesError> {
    let mut inquiry = Inquiry::new(session, Time(request.at).whole_micros());
    let changes = load_changes(&inquiry, Window::new(Time::of(0), inquiry.at)).await?;
    let change = find_change(&changes, &request.target, inquiry.at)?;
    let windows = Windows::of(change, &changes, (inquiry.at, nanos(request.window)));
    let graph = Graph::load(&inquiry, Window::new(windows.before.start, windows.after.end)).await?;
    let measured = measure::all(&mut inquiry, change, (&windows, &graph)).await?;
    let others = others(&changes, change, (&windows, &graph));
    let conclusion = conclude::conclude(change, measured.signals, &others, measured.requests);
    note(&mut inquiry, change, (&windows, &conclusion.summary)).await?;
    let requests = Requests {
        before: measured.requests.0,
        after: measured.requests.1,
        needed: REQUESTS_MIN,
        enough_at: enough_at(&windows, measured.requests.1)
            .filter(|_| conclusion.outcome == AuditOutcome::Inconclusive),
    };
    Audit {
        schema: SCHEMA.to_owned(),
        id: String::new(),
        outcome: conclusion.outcome,
        summary: conclusion.summary,
        at: inquiry.at,
        change: AuditedChange::of(change),
        before: windows.before,
        after: windows.after,
        requests,
        signals: conclusion.signals,
        other_changes: others.iter().map(|change| AuditedChange::of(change)).collect(),
        findings: inquiry.findings,
        not_measured: inquiry.not_measured,
        formula: judge::FORMULA.to_owned(),
    }
    .with_id()
}

/// The requests that the audit rests on, with what came of it.
async fn note(
    inquiry: &mut Inquiry<'_>,
    change: &Change,
    (windows, summary): (&Windows, &str),
) -> Result<(), RulesError> {
    let periods = Periods { now: windows.after, before: windows.before, at: inquiry.at };
    let sql = queries::requests(&change.service, &periods);
    let reading = inquiry.read_sql(sql, "requests").await?;
    inquiry.note(AUDIT_RULE, &change.name(), reading, summary.to_owned());
    Ok(())
}

/// The change with an id, or the latest deploy of `SERVICE@VERSION`.
pub(crate) fn find_change<'a>(
    changes: &'a [Change],
    target: &str,
    at: Time,
) -> Result<&'a Change, RulesError> {
    let by_id = changes.iter().find(|change| change.id == target);
    let by_name = || {
        let (service, version) = target.rsplit_once('@')?;
        let is_it = |change: &&Change| {
            change.service == service && change.version == version && change.kind != "rollback"
        };
        changes.iter().rev().find(is_it)
    };
    by_id.or_else(by_name).ok_or_else(|| {
        let names: Vec<String> = changes.iter().map(Change::name).collect();
        let names = names.iter().map(String::as_str);
        let known = names.chain(changes.iter().map(|change| change.id.as_str()));
        RulesError::UnknownChange {
            target: escape::terminal(target),
            before: at.to_string(),
            nearest: spelling::nearest(target, known).map(escape::terminal),
        }
    })
}

/// Other changes of services around this one that may be taking effect in the same time.
fn others<'a>(
    changes: &'a [Change],
    change: &Change,
    (windows, graph): (&Windows, &Graph),
) -> Vec<&'a Change> {
    let (up, down) = (graph.upstream(&change.service), graph.downstream(&change.service));
    let near = Window::new(change.start - RECENT, windows.after.end);
    let is_near = |other: &&Change| {
        other.id != change.id
            && (near.start..near.end).contains(&other.start)
            && (up.contains_key(&other.service) || down.contains_key(&other.service))
    };
    changes.iter().filter(is_near).collect()
}

/// When there will be requests enough at the rate so far.
fn enough_at(windows: &Windows, requests: i64) -> Option<Time> {
    let length = windows.after.nanos();
    if requests <= 0 || requests >= REQUESTS_MIN || length <= 0 {
        return None;
    }
    let needed = i128::from(length) * i128::from(REQUESTS_MIN) / i128::from(requests);
    let needed = i64::try_from(needed).ok().filter(|needed| *needed < 24 * HOUR)?;
    Some(windows.after.start + needed.div_euclid(MINUTE) * MINUTE + SETTLED + MINUTE)
}
