//! The document `upriver.diagnosis/v1`: what a diagnosis says, for programs. Fields are written in
//! the order in which they stand here; new ones may be added.

use serde::{Deserialize, Serialize};
use upriver_analyze::content_id;

use super::signal::Signal;
use crate::error::RulesError;
use crate::time::{Time, Window};

/// Value of [`Diagnosis::schema`].
pub const SCHEMA: &str = "upriver.diagnosis/v1";

/// What changed and made an operation slow, with the queries that show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// [`SCHEMA`].
    pub schema: String,
    /// Hash of the document without its id.
    pub id: String,
    /// How sure the diagnosis is.
    pub verdict: Verdict,
    /// The verdict as a sentence.
    pub summary: String,
    /// The question, as it was asked; what became of it is in `at`, `window` and `symptom`. Documents of
    /// earlier versions have none.
    #[serde(default)]
    pub request: Option<Request>,
    /// Nothing that ended or was recorded at or after this instant was read.
    pub at: Time,
    /// The time in question.
    pub window: Window,
    /// The time it is held against.
    pub baseline: Window,
    /// Operations that regressed too, and not because of the symptom.
    pub other_symptoms: Vec<Symptom>,
    /// The regressed operation; none when healthy.
    pub symptom: Option<Symptom>,
    /// The cause; none when healthy or inconclusive.
    pub root_cause: Option<RootCause>,
    /// What could have been the cause, the likeliest first.
    pub hypotheses: Vec<Hypothesis>,
    /// Every statement with its figures and the query that returns them.
    pub findings: Vec<Finding>,
    /// Where the added time of a mean request is, by self time on the critical path: these add up.
    pub delta_budget: Vec<BudgetLine>,
    /// Change of the mean that the sampled traces do not account for.
    pub unexplained_ms: Option<f64>,
    /// What `delta_budget` was computed from.
    pub budget_sample: Option<BudgetSample>,
    /// What removing the grown frames would bring, at most.
    pub amdahl: Option<Amdahl>,
    /// What it was not.
    pub ruled_out: Vec<RuledOut>,
    /// What could not be measured, and why.
    pub not_measured: Vec<NotMeasured>,
    /// What to do.
    pub actions: Vec<Action>,
}

impl Diagnosis {
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
}

/// What a diagnosis was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The service; none where all were to be looked at.
    pub service: Option<String>,
    /// Its operation; none for all of them.
    pub operation: Option<String>,
    /// Services among which the symptom was sought, where a verification asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub among: Vec<String>,
    /// The instant, where one was given; without it `at` is when it was asked or, of data at rest, when
    /// its newest span ended.
    pub at: Option<Time>,
    /// Length of the time in question.
    pub window_seconds: f64,
    /// Latency that was agreed, if one was.
    pub objective_ms: Option<f64>,
}

/// How sure a diagnosis is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The cause is named and every link from it to the symptom was measured.
    Confirmed,
    /// The cause is named.
    Likely,
    /// Something regressed, or too little was there to see; no cause is named.
    Inconclusive,
    /// Nothing regressed.
    Healthy,
}

impl Verdict {
    /// The word in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Likely => "likely",
            Self::Inconclusive => "inconclusive",
            Self::Healthy => "healthy",
        }
    }
}

/// A regressed operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Symptom {
    /// Its service.
    pub service: String,
    /// Name of its server spans.
    pub operation: String,
    /// What got worse: `p50_ms`, `p90_ms` or `p99_ms`.
    pub measure: String,
    /// Before.
    pub baseline: Option<f64>,
    /// Now.
    pub current: Option<f64>,
    /// `current` divided by `baseline`.
    pub ratio: Option<f64>,
    /// When it began.
    pub onset: Time,
    /// The earliest and latest instant at which it can have begun.
    pub onset_interval: Window,
    /// How the onset was found.
    pub onset_method: String,
    /// The finding with these figures.
    pub findings: Vec<String>,
}

/// The cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RootCause {
    /// What sort of cause.
    pub kind: CauseKind,
    /// The service that caused it.
    pub service: String,
    /// Its operation that carries the mechanism, if one is known.
    pub operation: Option<String>,
    /// How the cause became the symptom.
    pub mechanism: Mechanism,
    /// The change, for kinds `deploy` and `config_change`.
    pub deploy: Option<DeployReference>,
    /// Probability, from 0 to 1.
    pub confidence: f64,
    /// How the probability was computed.
    pub formula: String,
    /// The findings that it rests on.
    pub findings: Vec<String>,
}

/// A change that is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployReference {
    /// Its id.
    pub id: String,
    /// The version that it brought; the revision of a configuration.
    pub version: String,
    /// Start of the rollout.
    pub time: Time,
    /// `explicit` or `inferred`.
    pub source: String,
}

/// What sort of cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    /// A deploy or rollback of a service.
    Deploy,
    /// A change of configuration or of a feature flag.
    ConfigChange,
    /// More requests.
    Traffic,
    /// A resource at its limit.
    Saturation,
    /// A service that behaves differently, without a recorded change.
    Dependency,
    /// A machine.
    Host,
    /// Retries that multiply requests.
    RetryStorm,
    /// A change of the telemetry, not of the services.
    TelemetryArtefact,
    /// None of the above is supported.
    Unknown,
}

impl CauseKind {
    /// The word in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::ConfigChange => "config_change",
            Self::Traffic => "traffic",
            Self::Saturation => "saturation",
            Self::Dependency => "dependency",
            Self::Host => "host",
            Self::RetryStorm => "retry_storm",
            Self::TelemetryArtefact => "telemetry_artefact",
            Self::Unknown => "unknown",
        }
    }
}

/// How a cause becomes a symptom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mechanism {
    /// Responses of the service grew.
    ResponsePayloadGrowth,
    /// Requests of the service grew.
    RequestPayloadGrowth,
    /// The service itself takes longer.
    SlowerCode,
    /// Garbage collection takes over.
    GcPressure,
    /// Threads wait for locks.
    LockContention,
    /// Retries multiply.
    RetryAmplification,
    /// Many calls where there was one.
    NPlusOne,
    /// Errors.
    ErrorBurst,
    /// Misses where there were hits.
    CacheMiss,
    /// Requests wait.
    Queueing,
    /// None was seen.
    None,
}

impl Mechanism {
    /// The word in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::ResponsePayloadGrowth => "response_payload_growth",
            Self::RequestPayloadGrowth => "request_payload_growth",
            Self::SlowerCode => "slower_code",
            Self::GcPressure => "gc_pressure",
            Self::LockContention => "lock_contention",
            Self::RetryAmplification => "retry_amplification",
            Self::NPlusOne => "n_plus_one",
            Self::ErrorBurst => "error_burst",
            Self::CacheMiss => "cache_miss",
            Self::Queueing => "queueing",
            Self::None => "none",
        }
    }

    /// The words in sentences.
    pub fn words(self) -> String {
        match self {
            Self::None => "no mechanism is shown".to_owned(),
            _ => self.name().replace('_', " "),
        }
    }
}

/// A possible cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hypothesis {
    /// 1 for the likeliest. Equal confidence is an equal rank.
    pub rank: usize,
    /// What sort of cause.
    pub kind: CauseKind,
    /// The service, where there is one.
    pub service: Option<String>,
    /// How it would have become the symptom.
    pub mechanism: Mechanism,
    /// The change.
    pub deploy: Option<DeployReference>,
    /// Probability, from 0 to 1.
    pub confidence: f64,
    /// The log-odds that it was computed from, by sort of evidence.
    pub evidence: Vec<Evidence>,
    /// Findings that speak for it.
    #[serde(rename = "for")]
    pub supporting: Vec<String>,
    /// Findings that speak against it.
    pub against: Vec<String>,
}

/// A term of a hypothesis' log-odds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// `time`, `topology`, `own_signals`, `mechanism`, `prior`.
    pub term: String,
    /// Natural logarithm of the likelihood ratio.
    pub log_odds: f64,
    /// Why.
    pub reason: String,
}

/// A statement with its figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Hash of rule, subject, instant and figures.
    pub id: String,
    /// Which step or rule.
    pub rule: String,
    /// What it is about.
    pub subject: String,
    /// Figure now.
    pub observed: Option<f64>,
    /// Figure before.
    pub baseline: Option<f64>,
    /// Observed divided by baseline; their difference for shares in `%`.
    pub change: Option<f64>,
    /// Number of observations behind `observed`.
    pub n: Option<i64>,
    /// Unit of the figures.
    pub unit: String,
    /// The finding as a sentence.
    pub statement: String,
    /// The query that returns `observed`, `baseline` and `n`.
    pub sql: String,
    /// What was measured, for verification in another window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
}

/// Where added time is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetLine {
    /// Service whose own time it is.
    pub service: String,
    /// Name of its spans.
    pub operation: String,
    /// Change of the mean self time on the critical path.
    pub delta_ms: f64,
    /// Share of the whole change.
    pub share: f64,
}

/// What a delta budget was computed from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetSample {
    /// Sampled traces now.
    pub traces_now: usize,
    /// Sampled traces before.
    pub traces_before: usize,
    /// Change of the mean duration in the sample.
    pub delta_ms: f64,
    /// The query for the spans of the sample now.
    pub sql_now: String,
    /// The query for the spans of the sample before.
    pub sql_before: String,
}

/// Amdahl's law for the grown frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Amdahl {
    /// Share of processor time in the grown frames, `f`.
    pub fraction: f64,
    /// `1 / (1 - f)`.
    pub speedup: f64,
    /// The symptom's figure now.
    pub current_ms: f64,
    /// `current_ms * (1 - f)`.
    pub resulting_ms: f64,
    /// What it should be.
    pub target_ms: f64,
    /// `objective` or `baseline`.
    pub target: String,
    /// Whether `resulting_ms` would reach the target.
    pub is_enough: bool,
    /// Utilisation of the processor above which `is_enough: false` would no longer hold, since
    /// waiting shrinks faster than work (M/M/1).
    pub threshold_utilisation: Option<f64>,
    /// Utilisation in the window, where the service reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilisation: Option<f64>,
    /// How the figures were computed.
    pub formula: String,
    /// What limits the conclusion.
    pub caveat: String,
    /// The findings with the figures.
    pub findings: Vec<String>,
}

/// Something that was not the cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuledOut {
    /// What.
    pub what: String,
    /// Why not.
    pub reason: String,
    /// The findings that show it.
    pub findings: Vec<String>,
}

/// Something that could not be measured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NotMeasured {
    /// What.
    pub what: String,
    /// Why not, and what to send so that it can be next time.
    pub why: String,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// `roll_back`, `limit`, `gate`, `alert`, `runbook`, `verify`, `investigate`.
    pub kind: String,
    /// What to do, as a sentence.
    pub title: String,
    /// Where.
    pub service: Option<String>,
    /// A command for a shell, its words quoted.
    pub command: Option<String>,
    /// What else to know.
    pub detail: Option<String>,
    /// The modes that a limit can have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modes: Vec<String>,
}
