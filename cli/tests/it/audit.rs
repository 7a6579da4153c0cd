//! `upriver deploy audit`: changes judged on their service and on those that call it.

use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;
use upriver_testdata::incidents::{Family, Incident, Label, Options};

use crate::binary::{Imported, Run, text, time, upriver, with_input};
use crate::server::Serve;

/// A generated case in a data folder.
struct Case {
    folder: TempDir,
    label: Label,
}

impl Case {
    fn new(options: Options) -> Self {
        let folder = TempDir::new().unwrap();
        let case = folder.path().join("case");
        let (_, label) = Incident::new(options).write_case(&case).unwrap();
        let this = Self { folder, label };
        upriver(&["import", text(&case), "--data", text(&this.data())]).ended(0);
        this
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn audit(&self, arguments: &[&str]) -> Run {
        let (data, at) = (self.data(), time(self.label.diagnose_at_unix_nano));
        let audit = ["deploy", "audit", "--data", text(&data), "--format", "json", "--at", &at];
        upriver(&[&audit, arguments].concat())
    }

    /// The change that did it.
    fn guilty(&self) -> String {
        self.label.expected.root_cause.as_ref().unwrap().deploy_id.clone().unwrap()
    }

    /// Outcomes of all other changes that were reported.
    fn outcomes_of_others(&self) -> Vec<(String, String)> {
        let ids = self.label.expected.must_not_blame.iter();
        let outcomes = ids.filter_map(|id| {
            let run = self.audit(&[id]);
            // What is deployed after the instant is not known at it.
            (run.code != Some(2)).then(|| {
                let document: Value = serde_json::from_str(&run.out).unwrap();
                let outcome = document["outcome"].as_str().unwrap().to_owned();
                (outcome, document["summary"].as_str().unwrap().to_owned())
            })
        });
        outcomes.collect()
    }
}

fn signals<'a>(document: &'a Value, state: &str) -> Vec<&'a Value> {
    let signals = document["signals"].as_array().unwrap();
    signals.iter().filter(|signal| signal["state"] == state).collect()
}

#[track_caller]
fn has(document: &Value, state: &str, (role, rule, subject): (&str, &str, &str)) {
    let found = signals(document, state).into_iter().any(|signal| {
        signal["role"] == role
            && signal["rule"] == rule
            && signal["subject"].as_str().unwrap().contains(subject)
    });
    assert!(found, "no {state} {role} {rule} of {subject} in {document:#}");
}

#[test]
fn the_deploy_that_made_its_callers_slow() {
    let incident = Imported::checkout();
    let at = incident.at();
    let audit = |arguments: &[&str]| {
        incident.upriver(&[&["deploy", "audit", "--at", &at], arguments].concat())
    };
    let json = audit(&["inventory-service@2.4.0", "--format", "json"]);
    let document = json.json(1);
    assert_eq!(document["schema"], "upriver.audit/v1");
    assert_eq!(document["outcome"], "regression");
    for signal in [
        ("own", "response_size", "inventory-service GET /inventory/items to checkout"),
        ("consumer", "latency", "checkout POST /checkout"),
        ("consumer", "garbage_collection_share", "checkout"),
    ] {
        has(&document, "regressed", signal);
    }
    every_finding_is_its_query(&incident, &document);
    same_bytes(&incident, &json.out);
    reads_well(&audit(&["inventory-service@2.4.0"]));
    let by_id = incident.label.expected.root_cause.as_ref().unwrap().deploy_id.clone().unwrap();
    assert_eq!(audit(&[&by_id, "--format", "json"]).out, json.out);
    audit(&["inventory-servise@2.4.0"]).failed(&["did you mean `inventory-service@2.4.0`"]);
    audit(&[&by_id, "--window", "10s"]).failed(&["at least a minute"]);
    // The others that were deployed around the same time.
    for decoy in &incident.label.expected.must_not_blame {
        let run = audit(&[decoy, "--format", "json"]);
        assert!(matches!(run.code, Some(0 | 2 | 3)), "{decoy}: {}", run.out);
    }
    // Before it, nothing is known of it; just after it, too little.
    let before = ["--at", "2026-03-11T10:31:00Z", "inventory-service@2.4.0"];
    incident.upriver(&[&["deploy", "audit"], &before[..]].concat()).failed(&["there is no change"]);
    let early = ["--at", "2026-03-11T10:33:30Z", "inventory-service@2.4.0", "--format", "json"];
    let early = incident.upriver(&[&["deploy", "audit"], &early[..]].concat());
    assert_eq!(early.json(3)["requests"]["after"], 0);
    // The rollback made nothing worse.
    let rollback = incident.rows("SELECT id FROM changes WHERE kind = 'rollback' LIMIT 1");
    let id = rollback[0]["id"].as_str().unwrap();
    let rolled_back = incident.upriver(&["deploy", "audit", id, "--format", "json"]);
    assert_eq!(rolled_back.json(0)["outcome"], "pass");
}

fn every_finding_is_its_query(incident: &Imported, document: &Value) {
    let findings = document["findings"].as_array().unwrap();
    assert!(findings.len() > 10, "{} findings", findings.len());
    let queries: Vec<_> = findings.iter().map(|f| f["sql"].as_str().unwrap()).collect();
    let data = incident.data();
    let sql = ["sql", "--format", "jsonl", "--data", text(&data)];
    let run = with_input(&sql, &queries.join(";\n"));
    run.ended(0);
    let rows: Vec<Value> = run.out.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    assert_eq!(rows.len(), findings.len());
    for (finding, row) in findings.iter().zip(&rows) {
        for figure in ["observed", "baseline", "n"] {
            assert_eq!(finding[figure].as_f64(), row[figure].as_f64(), "{finding:#}");
        }
    }
    for signal in document["signals"].as_array().unwrap() {
        assert!(findings.iter().any(|finding| finding["id"] == signal["finding"]), "{signal}");
    }
}

/// On any number of partitions, after compaction and from a server.
fn same_bytes(incident: &Imported, expected: &str) {
    let at = incident.at();
    let audit = ["deploy", "audit", "inventory-service@2.4.0", "--format", "json", "--at", &at];
    let alone = incident.upriver(&[&audit[..], &["--partitions", "1"]].concat());
    assert_eq!(alone.out, expected);
    incident.upriver(&["storage", "compact"]).ended(0);
    assert_eq!(incident.upriver(&audit).out, expected, "after compaction");
    let serve = Serve::start(&incident.data());
    let from_server = upriver(&[&audit[..], &["--server", &serve.api]].concat());
    assert_eq!(from_server.out, expected, "from a server");
    let unknown = ["deploy", "audit", "nobody@1", "--server", &serve.api];
    upriver(&unknown).failed(&["there is no change `nobody@1`"]);
    assert_eq!(serve.end("-TERM").0.code(), Some(0));
}

fn reads_well(run: &Run) {
    run.ended(1);
    let page = run.out.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "REGRESSION: worse since the deploy of inventory-service@2.4.0",
        "Worse since",
        "of the response of inventory-service GET /inventory/items to checkout went from",
        "garbage collection and allocation went from",
        "Not shown to be worse",
    ] {
        assert!(page.contains(words), "{words:?} is not in: {page}");
    }
    assert!(run.out.lines().all(|line| line.chars().count() <= 100), "{}", run.out);
}

#[test]
fn a_slow_callee_is_a_regression_for_itself_and_its_callers() {
    let case = Case::new(Options::new(Family::SlowCallee, 1));
    let document = case.audit(&[&case.guilty()]).json(1);
    let service = case.label.expected.root_cause.as_ref().unwrap().service.clone();
    has(&document, "regressed", ("own", "latency", &service));
    let symptom = case.label.symptom.as_ref().unwrap();
    has(&document, "regressed", ("consumer", "latency", &symptom.service));
    for (outcome, summary) in case.outcomes_of_others() {
        assert_ne!(outcome, "regression", "{summary}");
    }
}

#[test]
fn larger_responses_cost_the_callers_and_not_the_service() {
    let case = Case::new(Options::new(Family::PayloadGrowth, 1));
    let document = case.audit(&[&case.guilty()]).json(1);
    let service = case.label.expected.root_cause.as_ref().unwrap().service.clone();
    has(&document, "regressed", ("own", "response_size", &service));
    has(&document, "unchanged", ("own", "latency", &service));
    let symptom = case.label.symptom.as_ref().unwrap();
    has(&document, "regressed", ("consumer", "latency", &symptom.service));
}

#[test]
fn a_canary_is_held_against_the_other_instances_in_the_same_minutes() {
    let case = Case::new(Options::new(Family::Canary, 1));
    let document = case.audit(&[&case.guilty()]).json(1);
    let service = case.label.expected.root_cause.as_ref().unwrap().service.clone();
    has(&document, "regressed", ("own", "latency_by_version", &service));
}

#[test]
fn a_deploy_whose_callee_or_database_is_slow_is_not_blamed_for_it() {
    for (family, seed) in [(Family::CoincidentDeploy, 1), (Family::CoincidentDeploy, 2)] {
        let case = Case::new(Options::new(family, seed));
        for (outcome, summary) in case.outcomes_of_others() {
            assert_ne!(outcome, "regression", "{family:?} {seed}: {summary}");
        }
    }
}

#[test]
fn what_was_slow_before_the_deploy_is_not_through_it() {
    let case = Case::new(Options::new(Family::DeployAfterOnset, 1));
    let outcomes = case.outcomes_of_others();
    assert!(!outcomes.is_empty());
    for (outcome, summary) in outcomes {
        assert_ne!(outcome, "regression", "{summary}");
    }
}

#[test]
fn good_deploys_pass_and_too_little_traffic_is_said() {
    let case = Case::new(Options { history_hours: 4, ..Options::new(Family::HealthyBusy, 1) });
    let outcomes = case.outcomes_of_others();
    let count = |wanted: &str| outcomes.iter().filter(|(outcome, _)| outcome == wanted).count();
    assert_eq!(count("regression"), 0, "{outcomes:#?}");
    assert!(count("pass") > 0, "{outcomes:#?}");
    // The same with a minute of it: too few requests, and how many are needed.
    let id = case.label.expected.must_not_blame.iter().find(|id| case.audit(&[id]).code == Some(0));
    let document = case.audit(&[id.unwrap(), "--window", "1m"]).json(3);
    assert_eq!(document["outcome"], "inconclusive");
    assert!(document["requests"]["after"].as_i64() < document["requests"]["needed"].as_i64());
    assert!(document["summary"].as_str().unwrap().contains("are needed"), "{document:#}");
}
