//! Changes to services, and what was found and concluded about them.

use super::Kind::{Attributes, Float, Int, Text, Time};
use super::{DATE, Definition, column, optional};

pub(super) const DEPLOYS: Definition = Definition {
    name: "deploys",
    row: "a received change: a deploy, rollback, configuration or feature-flag change. The SQL view `changes` adds the ones inferred from `service.version`",
    sort: &["service_name", "time"],
    columns: &[
        column("time", Time, "Start of the rollout."),
        column("start_unix_nano", Int, "Start, exact."),
        column("service_name", Text, "Service that changed."),
        column("id", Text, "Hash of service, environment, kind, version and start."),
        column("kind", Text, "`deploy`, `rollback`, `config` or `feature_flag`."),
        column(
            "source",
            Text,
            "`explicit`: somebody sent it; `inferred`: seen in `service.version`.",
        ),
        optional(
            "end_unix_nano",
            Int,
            "End of the rollout; null while it goes on or when unknown.",
        ),
        optional(
            "service_version",
            Text,
            "Version after the change; the revision of a configuration or flag.",
        ),
        optional("previous_version", Text, "Version before, as sent."),
        optional("deployment_environment_name", Text, "Environment."),
        optional("commit", Text, "Commit of the version."),
        optional("url", Text, "Where the change can be looked up."),
        optional("description", Text, "What the sender says of it."),
        column("received_unix_nano", Int, "When the event was received."),
        column("attributes", Attributes, "Further fields of the event."),
        DATE,
    ],
};

pub(super) const FINDINGS: Definition = Definition {
    name: "findings",
    row: "something that a rule or a diagnosis found, with the SQL that shows it",
    sort: &["time"],
    columns: &[
        column("time", Time, "Instant as of which it was found."),
        column("id", Text, "Hash of rule, subject, instant and figures."),
        column("rule", Text, "Rule or step of the diagnosis."),
        column("subject", Text, "What it is about, such as `service operation`."),
        optional("diagnosis_id", Text, "Diagnosis that it belongs to."),
        optional("observed", Float, "Figure now."),
        optional("baseline", Float, "Figure before."),
        optional("change", Float, "Observed divided by baseline, or their difference for shares."),
        optional("n", Int, "Number of observations behind `observed`."),
        optional("unit", Text, "Unit of the figures."),
        column("statement", Text, "The finding as a sentence."),
        column("sql", Text, "The query that returns observed, baseline and n."),
        column("labels", Attributes, "Labels of the rule."),
        DATE,
    ],
};

pub(super) const DIAGNOSES: Definition = Definition {
    name: "diagnoses",
    row: "a concluded diagnosis",
    sort: &["time"],
    columns: &[
        column("time", Time, "Instant as of which it was made."),
        column("id", Text, "Hash of the document."),
        column("verdict", Text, "`confirmed`, `likely`, `inconclusive` or `healthy`."),
        optional("symptom_service", Text, "Service with the symptom."),
        optional("symptom_operation", Text, "Its operation."),
        optional("root_cause_kind", Text, "`deploy`, `traffic`, `dependency` and so on."),
        optional("root_cause_service", Text, "Service of the root cause."),
        optional("mechanism", Text, "`response_payload_growth` and so on."),
        optional("deploy_id", Text, "The change blamed."),
        optional("confidence", Float, "Confidence in the root cause, 0 to 1."),
        column("document", Text, "The document `upriver.diagnosis/v1`."),
        DATE,
    ],
};
