//! Did the rollback bring every named signal back?
//!
//! Recovery is equivalence with the baseline, shown, not a difference that was not found (two
//! one-sided tests: margins of 10 % for times and sizes, 2 points for shares). After the rollback and
//! a settling time three windows follow, five minutes long or longer if there is more data. A signal
//!
//! - has recovered when the 95 % bound of the three windows together lies within its margin, and no
//!   single window shows otherwise;
//! - has not when a window shows it outside: its 95 % bound towards the baseline is still beyond;
//! - is undecided in between: nothing was seen that is wrong, with too few observations to say that
//!   nothing is. Five minutes of a 99th percentile have an interval wider than the margin.

mod document;
mod signals;

#[cfg(test)]
mod tests;

use std::time::Duration;

use upriver_analyze::{Session, UnixNanos};

pub use document::{Recovery, SignalState, Verification};

use document::{Change as ChangeReference, SCHEMA, VerifiedSignal};

use crate::audit::find_change;
use crate::diagnosis::document::Diagnosis;
use crate::diagnosis::{
    Change, DiagnoseRequest, Graph, Inquiry, Scope, load_changes, within_scope,
};
use crate::error::RulesError;
use crate::time::{HOUR, MINUTE, SECOND, Time, Window};

/// Caches are cold, heaps still large and connections drain right after a rollback.
const SETTLE: i64 = 5 * MINUTE;
/// Consecutive windows that a signal must be back in.
const WINDOWS: i64 = 3;
/// Each is this long at least,
const WINDOW_MIN: i64 = 5 * MINUTE;
/// and at most: what comes later tells more of the hour of the day.
const WINDOW_MAX: i64 = 15 * MINUTE;
/// The window of the diagnosis as of the rollback.
const DIAGNOSIS_WINDOW: Duration = Duration::from_mins(15);

/// What is to be verified.
#[derive(Clone, Debug)]
pub enum VerifyTarget {
    /// The id of a change, or `SERVICE@VERSION`: the latest deploy of that version.
    Deploy(String),
    /// The signals of a document, after the rollback of the change that it blames.
    Diagnosis(Box<Diagnosis>),
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct VerifyRequest {
    /// What is to be verified.
    pub target: VerifyTarget,
    /// Nothing that ended or was recorded at or after this instant is read.
    pub at: UnixNanos,
}

/// Tests every signal that the diagnosis names for equivalence with its baseline.
pub async fn verify(
    session: &Session,
    request: &VerifyRequest,
) -> Result<Verification, RulesError> {
    let inquiry = Inquiry::new(session, Time(request.at).whole_micros());
    let changes = load_changes(&inquiry, Window::new(Time::of(0), inquiry.at)).await?;
    let deploy = match &request.target {
        VerifyTarget::Deploy(name) => find_change(&changes, name, inquiry.at)?,
        VerifyTarget::Diagnosis(diagnosis) => match blamed(diagnosis, &changes) {
            Some(deploy) => deploy,
            None => return nothing_blamed(&inquiry, diagnosis),
        },
    };
    let Some(rollback) = first_rollback(&changes, deploy) else {
        return no_rollback(&inquiry, deploy);
    };
    let diagnosis = match &request.target {
        VerifyTarget::Deploy(_) => diagnose_at(session, deploy, rollback).await?,
        VerifyTarget::Diagnosis(diagnosis) => (**diagnosis).clone(),
    };
    let windows = windows_after(rollback.start, inquiry.at);
    let signals = signals::test_all(&inquiry, &diagnosis, &windows).await?;
    let (outcome, summary) = judge(&signals, &deploy.name(), diagnosis.symptom.is_some());
    Verification {
        outcome,
        summary,
        rollback: Some(ChangeReference::of(rollback)),
        diagnosis: Some(diagnosis.id),
        baseline: Some(diagnosis.baseline),
        windows,
        signals,
        ..empty(&inquiry, Some(deploy))
    }
    .with_id()
}

/// As of the rollback's start, among the service and all that call it.
async fn diagnose_at(
    session: &Session,
    deploy: &Change,
    rollback: &Change,
) -> Result<Diagnosis, RulesError> {
    let at = rollback.start;
    let before = Inquiry::new(session, at);
    let graph = Graph::load(&before, Window::new(deploy.start - HOUR, at)).await?;
    let scope = Scope::Services(graph.upstream(&deploy.service).into_keys().collect());
    let request = DiagnoseRequest { window: DIAGNOSIS_WINDOW, ..DiagnoseRequest::new(at.0) };
    within_scope(session, &request, scope).await
}

fn blamed<'a>(diagnosis: &Diagnosis, changes: &'a [Change]) -> Option<&'a Change> {
    let id = &diagnosis.root_cause.as_ref()?.deploy.as_ref()?.id;
    changes.iter().find(|change| change.id == *id)
}

fn first_rollback<'a>(changes: &'a [Change], deploy: &Change) -> Option<&'a Change> {
    changes.iter().find(|change| {
        change.kind == "rollback" && change.service == deploy.service && change.start > deploy.start
    })
}

fn windows_after(rollback: Time, at: Time) -> Vec<Window> {
    let seconds = (at.nanos() - rollback.nanos() - SETTLE).div_euclid(WINDOWS * SECOND);
    let length = (seconds * SECOND).clamp(WINDOW_MIN, WINDOW_MAX);
    let start = |i: i64| rollback + SETTLE + i * length;
    (0..WINDOWS).map(|i| Window::new(start(i), start(i + 1))).collect()
}

/// Recovered when everything named is back; not when nothing is; partly in between. Insufficient
/// where nothing is known to be left and the symptom, or everything, is not known to be back.
fn judge(signals: &[VerifiedSignal], name: &str, had_regressed: bool) -> (Recovery, String) {
    let count = |state| signals.iter().filter(|signal| signal.state == state).count();
    let recovered = count(SignalState::Recovered);
    let remaining = count(SignalState::NotRecovered);
    if !had_regressed {
        let why = format!(
            "nothing had regressed when {name} was rolled back: there is nothing to verify"
        );
        return (Recovery::Insufficient, why);
    }
    let is_known = |signal: &VerifiedSignal| {
        matches!(signal.state, SignalState::Recovered | SignalState::NotRecovered)
    };
    let open = signals.len() - recovered - remaining;
    if remaining == 0
        && (recovered == 0 || signals.iter().any(|signal| signal.is_symptom && !is_known(signal)))
    {
        let why = format!(
            "{open} of {} signals have too little data after the rollback, the symptom among them",
            signals.len()
        );
        return (Recovery::Insufficient, why);
    }
    let decided = recovered + remaining;
    let rest = if open > 0 { format!(", {open} could not be decided") } else { String::new() };
    let (outcome, count) = match (recovered, remaining) {
        (_, 0) => {
            (Recovery::Recovered, format!("all {decided} signals are back at their baseline"))
        }
        (0, _) => (Recovery::Not, format!("none of {decided} signals came back")),
        _ => (Recovery::Partly, format!("{recovered} of {decided} signals came back")),
    };
    (outcome, format!("{count} after {name} was rolled back{rest}"))
}

fn nothing_blamed(
    inquiry: &Inquiry<'_>,
    diagnosis: &Diagnosis,
) -> Result<Verification, RulesError> {
    let summary = "the diagnosis blames no change that is known: there is no rollback to verify";
    Verification {
        summary: summary.to_owned(),
        diagnosis: Some(diagnosis.id.clone()),
        ..empty(inquiry, None)
    }
    .with_id()
}

fn no_rollback(inquiry: &Inquiry<'_>, deploy: &Change) -> Result<Verification, RulesError> {
    let summary = format!(
        "no rollback of {} after {} was seen before {}",
        deploy.service,
        deploy.name(),
        inquiry.at
    );
    Verification { summary, ..empty(inquiry, Some(deploy)) }.with_id()
}

fn empty(inquiry: &Inquiry<'_>, deploy: Option<&Change>) -> Verification {
    Verification {
        schema: SCHEMA.to_owned(),
        id: String::new(),
        outcome: Recovery::Insufficient,
        summary: String::new(),
        at: inquiry.at,
        deploy: deploy.map(ChangeReference::of),
        rollback: None,
        diagnosis: None,
        baseline: None,
        windows: Vec::new(),
        signals: Vec::new(),
    }
}
