//! The document `upriver.verification/v1`. Fields are written in the order in which they stand here.

use serde::{Deserialize, Serialize};
use upriver_analyze::content_id;

use crate::diagnosis;
use crate::error::RulesError;
use crate::time::{Time, Window};

/// Value of [`Verification::schema`].
pub(crate) const SCHEMA: &str = "upriver.verification/v1";

/// Whether a rollback brought every named signal back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// `upriver.verification/v1`.
    pub schema: String,
    /// Hash of the document without its id.
    pub id: String,
    /// What came of the rollback.
    pub outcome: Recovery,
    /// The outcome as a sentence.
    pub summary: String,
    /// Nothing that ended or was recorded at or after this instant was read.
    pub at: Time,
    /// The change that was rolled back.
    pub deploy: Option<Change>,
    /// The rollback; none if none was seen.
    pub rollback: Option<Change>,
    /// Id of the diagnosis whose signals were tested.
    pub diagnosis: Option<String>,
    /// The time that the signals are held against.
    pub baseline: Option<Window>,
    /// The windows after the rollback.
    pub windows: Vec<Window>,
    /// Every signal that the diagnosis named as changed.
    pub signals: Vec<VerifiedSignal>,
}

impl Verification {
    /// Sets the id to the hash of everything else.
    pub(crate) fn with_id(mut self) -> Result<Self, RulesError> {
        self.id.clear();
        let text = serde_json::to_string(&self)?;
        self.id = content_id([text.as_str()]);
        Ok(self)
    }
}

/// What came of a rollback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recovery {
    /// Every measured signal is equivalent to its baseline.
    Recovered,
    /// Some are.
    Partly,
    /// None is.
    Not,
    /// There was no rollback, nothing to verify, or too little data.
    Insufficient,
}

impl Recovery {
    /// The words on a page.
    pub fn words(self) -> &'static str {
        match self {
            Self::Recovered => "recovered",
            Self::Partly => "partly recovered",
            Self::Not => "not recovered",
            Self::Insufficient => "insufficient data",
        }
    }
}

/// A change that a verification names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its id.
    pub id: String,
    /// The service.
    pub service: String,
    /// The version that it brought.
    pub version: String,
    /// Start of the rollout.
    pub time: Time,
    /// `explicit` or `inferred`.
    pub source: String,
}

impl Change {
    pub(super) fn of(change: &diagnosis::Change) -> Self {
        Self {
            id: change.id.clone(),
            service: change.service.clone(),
            version: change.version.clone(),
            time: change.start,
            source: change.source.clone(),
        }
    }
}

/// A signal after the rollback.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerifiedSignal {
    /// What was measured: the rule of the finding.
    pub rule: String,
    /// What it is about.
    pub subject: String,
    /// Unit of the figures.
    pub unit: String,
    /// Whether it is the symptom itself.
    pub is_symptom: bool,
    /// Before the incident.
    pub baseline: Option<f64>,
    /// In the incident.
    pub incident: Option<f64>,
    /// In each window after the rollback.
    pub after: Vec<Option<f64>>,
    /// In all windows together.
    pub together: Option<f64>,
    /// The 95 % bound of `together` that is further from the baseline.
    pub bound: Option<f64>,
    /// The value that the bound may reach at most, on the side of the incident.
    pub limit: Option<f64>,
    /// Observations in the windows.
    pub n: i64,
    /// What came of it.
    pub state: SignalState,
    /// The query for `together`.
    pub sql: String,
}

/// What came of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalState {
    /// Equivalent to its baseline.
    Recovered,
    /// Shown to be outside of its margin in some window.
    NotRecovered,
    /// Neither was shown: there are too few observations.
    Undecided,
    /// Too little data.
    Insufficient,
}
