//! The document `upriver.audit/v1`. Fields are written in the order in which they stand here; new
//! ones may be added.

use serde::{Deserialize, Serialize};
use upriver_analyze::content_id;

use super::AUDIT_RULE;
use crate::diagnosis;
use crate::diagnosis::document::{Finding, NotMeasured};
use crate::error::RulesError;
use crate::time::{MINUTE, Time, Window};

/// Spans that began longer ago than this have ended and arrived, in nanoseconds: only minutes that are as
/// old are read.
pub const SETTLED: i64 = 2 * MINUTE;

/// Value of [`Audit::schema`].
pub(crate) const SCHEMA: &str = "upriver.audit/v1";

/// Whether a change made something worse, for its service or for those that call it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// `upriver.audit/v1`.
    pub schema: String,
    /// Hash of the document without its id.
    pub id: String,
    /// What came of the change.
    pub outcome: AuditOutcome,
    /// The outcome as a sentence.
    pub summary: String,
    /// Nothing that was recorded at or after this instant was read.
    pub at: Time,
    /// The change that is judged.
    pub change: AuditedChange,
    /// What it is held against.
    pub before: Window,
    /// The time after it.
    pub after: Window,
    /// Requests to the service.
    pub requests: Requests,
    /// Every signal that was measured: what speaks against the change first.
    pub signals: Vec<AuditedSignal>,
    /// Other changes around the service that may be taking effect at the same time.
    pub other_changes: Vec<AuditedChange>,
    /// Every statement with its figures and the query that returns them.
    pub findings: Vec<Finding>,
    /// What could not be measured, and why.
    pub not_measured: Vec<NotMeasured>,
    /// How a signal is judged.
    pub formula: String,
}

impl Audit {
    /// Sets the id to the hash of everything else.
    pub(crate) fn with_id(mut self) -> Result<Self, RulesError> {
        self.id.clear();
        let text = serde_json::to_string(&self)?;
        self.id = content_id([text.as_str()]);
        Ok(self)
    }

    /// The finding with an id.
    pub fn finding(&self, id: &str) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.id == id)
    }

    /// The finding of the audit itself, then those of what got worse through the change.
    pub fn verdict_findings(&self) -> impl Iterator<Item = &Finding> {
        let whole = self.findings.iter().filter(|finding| finding.rule == AUDIT_RULE);
        let regressed = self.signals_in(AuditState::Regressed);
        whole.chain(regressed.filter_map(|signal| self.finding(&signal.finding)))
    }

    /// The signals in a state.
    pub fn signals_in(&self, state: AuditState) -> impl Iterator<Item = &AuditedSignal> {
        self.signals.iter().filter(move |signal| signal.state == state)
    }
}

/// What came of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditOutcome {
    /// Nothing is shown to be worse, with requests enough to show it.
    Pass,
    /// Something is worse since, and through the change as far as can be seen.
    Regression,
    /// Too few requests, or what is worse has another explanation that is as good.
    Inconclusive,
}

impl AuditOutcome {
    /// The word in documents, tables and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Regression => "regression",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// A change that an audit names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditedChange {
    /// Its id.
    pub id: String,
    /// `deploy`, `rollback`, `config` or `feature_flag`.
    pub kind: String,
    /// The service.
    pub service: String,
    /// The version or revision that it brought.
    pub version: String,
    /// The one before, where it is known.
    pub previous_version: Option<String>,
    /// Start of the rollout.
    pub time: Time,
    /// `explicit` or `inferred`.
    pub source: String,
}

impl AuditedChange {
    pub(super) fn of(change: &diagnosis::Change) -> Self {
        Self {
            id: change.id.clone(),
            kind: change.kind.clone(),
            service: change.service.clone(),
            version: change.version.clone(),
            previous_version: change.previous_version.clone(),
            time: change.start,
            source: change.source.clone(),
        }
    }
}

/// Requests to the service, which decide whether anything can be said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// In the time before.
    pub before: i64,
    /// In the time after.
    pub after: i64,
    /// So many are needed on each side for a pass.
    pub needed: i64,
    /// When there will be so many at the rate so far, where that is known and not yet so.
    pub enough_at: Option<Time>,
}

/// Whose signal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The service that was changed: what it does.
    Own,
    /// Somebody who calls it, directly or not.
    Consumer,
    /// What the service gets from those that it calls, or from its callers: not its doing.
    Surroundings,
}

/// A signal before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditedSignal {
    /// Whose it is.
    pub role: Role,
    /// The service.
    pub service: String,
    /// What was measured: the rule of the finding.
    pub rule: String,
    /// What it is about.
    pub subject: String,
    /// What came of it.
    pub state: AuditState,
    /// Why, where the figures alone do not say it.
    pub reason: Option<String>,
    /// Standard errors between before and after, divided by the scatter of the placebo windows.
    pub z: f64,
    /// Earlier windows of the same length that were compared in the same way.
    pub placebo_windows: usize,
    /// When it got worse: the earliest and the latest instant.
    pub since: Option<Window>,
    /// The finding with the figures.
    pub finding: String,
}

/// What came of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditState {
    /// Worse since the change, and nothing else explains it.
    Regressed,
    /// Worse, and something else explains it as well.
    Elsewhere,
    /// Worse, since before the change.
    BeganEarlier,
    /// Worse by the figures, which chance alone may do.
    Undecided,
    /// Not shown to be worse, with observations enough.
    Unchanged,
    /// Too few observations.
    Insufficient,
}
