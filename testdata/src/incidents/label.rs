//! What is true in a case: `label.json`.

use super::changes::Change;
use serde::{Deserialize, Serialize};

/// `label.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// Kind of case.
    pub family: String,
    /// Seed of the topology and of everything else.
    pub seed: u64,
    /// What a diagnosis must find.
    pub expected: Expected,
    /// Where it shows; none where it shows nowhere.
    pub symptom: Option<Symptom>,
    /// When it begins.
    pub onset_unix_nano: Option<i64>,
    /// As of when to diagnose.
    pub diagnose_at_unix_nano: i64,
    /// Instants at which nothing is wrong yet.
    pub healthy_at_unix_nano: Vec<i64>,
    /// The window to look at, in the command line's words.
    pub window: String,
    /// The same in minutes.
    pub window_minutes: i64,
    /// Healthy traffic before the onset.
    pub baseline_window_unix_nano: [i64; 2],
    /// How much slower requests with the symptom really are.
    pub effect: Option<Effect>,
    /// Service whose own time was made longer, where that is what was done.
    pub slowed_service: Option<String>,
    /// Services that send spans.
    pub services: usize,
    /// What the case is made of.
    pub setting: Setting,
    /// Whether profiles show it.
    pub profile_evidence: bool,
    /// Whether body sizes show it.
    pub payload_evidence: bool,
    /// Where the case is from.
    pub source: String,
}

/// What a diagnosis must find.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// Verdicts that are right.
    pub verdict: Vec<String>,
    /// The cause; none where there is none.
    pub root_cause: Option<Cause>,
    /// Causes that may be named in its place.
    pub also_acceptable: Vec<Cause>,
    /// Ids of changes that must not be blamed.
    pub must_not_blame: Vec<String>,
    /// Whether blaming any change is wrong.
    pub no_deploy_blame: bool,
}

/// A cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Kind of cause.
    pub kind: String,
    /// Service, host or address that caused it.
    pub service: String,
    /// Mechanisms that are right; `any` for all.
    pub mechanism: Vec<String>,
    /// Id of the change, where a pipeline reported it.
    pub deploy_id: Option<String>,
    /// Version or revision of the change.
    pub deploy_version: Option<String>,
}

impl Cause {
    pub(crate) fn new(kind: &str, service: String, mechanisms: &[&str]) -> Self {
        Self {
            kind: kind.to_owned(),
            service,
            mechanism: mechanisms.iter().map(|word| (*word).to_owned()).collect(),
            deploy_id: None,
            deploy_version: None,
        }
    }

    pub(crate) fn of_change(self, change: Option<&Change>) -> Self {
        Self {
            deploy_id: change.filter(|change| change.is_recorded).map(|c| c.deploy().id()),
            deploy_version: change.map(|change| change.version.clone()),
            ..self
        }
    }
}

/// An operation that suffers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symptom {
    /// Its service.
    pub service: String,
    /// Name of its server spans.
    pub operation: String,
}

/// How much slower requests are, in truth: of all requests, sampled or not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// The larger factor of median and 90th percentile.
    pub ratio: f64,
    /// What that quantile grew by.
    pub delta_ms: f64,
    /// Which quantile it is.
    pub quantile: f64,
    /// Requests with the symptom in the window.
    pub requests: usize,
}

/// What the case is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Layers of services.
    pub depth: usize,
    /// Services, with those that send no spans.
    pub services: usize,
    /// Spans in all.
    pub spans: usize,
    /// Harmless deploys per hour.
    pub deploys_per_hour: f64,
    /// Share of the traces that is kept.
    pub sampled: f64,
    /// Largest error of a host's clock, in milliseconds.
    pub clock_skew_ms: f64,
    /// Spread of a minute's own times, as a sigma of the logarithm.
    pub minute_sigma: f64,
}
