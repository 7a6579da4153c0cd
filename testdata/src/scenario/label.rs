//! What is true in a scenario: the label of its case.

use super::Variant;
use super::deploys::Deploy;
use super::fleet::Service;
use super::names::Names;
use super::timeline::{MINUTE, Timeline};
use serde::{Deserialize, Serialize};

/// The window that a diagnosis of the case should look at.
const WINDOW_MINUTES: i64 = 15;

/// `label.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// What kind of case this is.
    pub family: String,
    /// Which of the scenario's variants.
    pub variant: String,
    /// What a diagnosis must find.
    pub expected: Expected,
    /// Where the symptom shows; none where there is none.
    pub symptom: Option<Symptom>,
    /// When the inflation begins.
    pub onset_unix_nano: Option<i64>,
    /// As of when to diagnose.
    pub diagnose_at_unix_nano: i64,
    /// The window to look at, in the command line's words and in minutes.
    pub window: String,
    /// The same in minutes.
    pub window_minutes: i64,
    /// Dense and healthy traffic before the onset.
    pub baseline_window_unix_nano: [i64; 2],
    /// Start of the rollback, where there is one.
    pub rollback_unix_nano: Option<i64>,
    /// Whether the profiles show it.
    pub profile_evidence: bool,
    /// Whether body sizes show it.
    pub payload_evidence: bool,
    /// What to know about the case.
    pub notes: String,
    /// Where the case is from.
    pub source: String,
}

/// What a diagnosis must find.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// Verdicts that are right.
    pub verdict: Vec<String>,
    /// The cause; none where there is none, or where none can be known.
    pub root_cause: Option<Cause>,
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
    /// Service that caused it.
    pub service: String,
    /// Mechanisms that are right.
    pub mechanism: Vec<String>,
    /// Id of the change.
    pub deploy_id: Option<String>,
}

/// An operation that suffers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symptom {
    /// Its service.
    pub service: String,
    /// Name of its server spans.
    pub operation: String,
}

impl Label {
    pub(crate) fn of(
        variant: Variant,
        timeline: &Timeline,
        names: &Names,
        deploys: &[Deploy],
    ) -> Self {
        let onset = timeline.inflation.map(|inflation| inflation.start);
        let healthy_until = onset.unwrap_or(timeline.rollout.start);
        Self {
            family: "checkout_incident".to_owned(),
            variant: variant.name().to_owned(),
            expected: expected(variant, timeline, names, deploys),
            symptom: onset.map(|_| Symptom {
                service: names.service(Service::Checkout).to_owned(),
                operation: names.checkout.clone(),
            }),
            onset_unix_nano: onset,
            diagnose_at_unix_nano: timeline.alert,
            window: format!("{WINDOW_MINUTES}m"),
            window_minutes: WINDOW_MINUTES,
            baseline_window_unix_nano: [
                timeline.busy_start.max(healthy_until - 60 * MINUTE),
                healthy_until,
            ],
            rollback_unix_nano: timeline.rollback.map(|rollback| rollback.start),
            profile_evidence: onset.is_some(),
            payload_evidence: onset.is_some(),
            notes: notes(variant).to_owned(),
            source: "generated".to_owned(),
        }
    }
}

fn expected(variant: Variant, timeline: &Timeline, names: &Names, deploys: &[Deploy]) -> Expected {
    let inventory = names.service(Service::Inventory);
    let blamed = match variant {
        Variant::Checkout | Variant::NestedAllocation | Variant::HostileNames => deploys
            .iter()
            .find(|d| d.service == inventory && d.time_unix_nano == timeline.rollout.start),
        Variant::InflationBeforeDeploy
        | Variant::DeployWithoutInflation
        | Variant::InflationWithoutDeploy => None,
    };
    let verdict: &[&str] = match variant {
        Variant::Checkout | Variant::NestedAllocation | Variant::HostileNames => {
            &["confirmed", "likely"]
        }
        Variant::DeployWithoutInflation => &["healthy"],
        Variant::InflationBeforeDeploy | Variant::InflationWithoutDeploy => {
            &["confirmed", "likely", "inconclusive"]
        }
    };
    Expected {
        verdict: verdict.iter().map(|word| (*word).to_owned()).collect(),
        root_cause: blamed.map(|deploy| Cause {
            kind: "deploy".to_owned(),
            service: inventory.to_owned(),
            mechanism: vec!["response_payload_growth".to_owned()],
            deploy_id: Some(deploy.id()),
        }),
        must_not_blame: deploys
            .iter()
            .filter(|deploy| Some(*deploy) != blamed)
            .map(Deploy::id)
            .collect(),
        no_deploy_blame: blamed.is_none(),
    }
}

fn notes(variant: Variant) -> &'static str {
    match variant {
        Variant::Checkout => {
            "inventory's responses grow from 8 to 85 KB with its rollout; POST /checkout p99 240 to 1400 ms; rollback after 24 minutes"
        }
        Variant::NestedAllocation => {
            "the same, but mallocgc runs under Marshal: the union of gc, allocation and serialization is 47 %, Amdahl 1.89x"
        }
        Variant::InflationBeforeDeploy => {
            "the inflation begins 60 minutes before inventory's rollout, so no recorded change explains it"
        }
        Variant::DeployWithoutInflation => "inventory rolls out and nothing else happens",
        Variant::InflationWithoutDeploy => {
            "inventory's responses grow without a deploy and without a change of its version"
        }
        Variant::HostileNames => {
            "the incident; names carry quotes, newlines, terminal escapes, shell, SQL, HTML and Markdown syntax"
        }
    }
}
