//! The checkout incident and what is like it, from a case folder through the binary to the verdict.

use serde_json::Value;
use upriver_testdata::scenario::Variant;

use crate::binary::{Imported, text, time, upriver, with_input};

const MINUTE: i64 = 60_000_000_000;

#[test]
fn the_checkout_incident() {
    let incident = Imported::checkout();
    let document = incident.diagnose(&["--objective", "200ms", "--format", "json"]).json(1);
    blames_what_the_label_says(&incident, &document);
    has_its_figures(&document);
    rules_out_the_rest(&document);
    reads_well(&incident);
    every_finding_is_its_query(&incident, &document);
    says_the_same_again(&incident);
    looks_at_the_window_that_it_is_told(&incident);
    reads_nothing_later(&incident);
    names_the_nearest_that_is_known(&incident);
    lists_changes_by_id(&incident);
    verifies_the_rollback(&incident);
    imports_a_file_once(&incident);
}

fn finding<'a>(document: &'a Value, rule: &str, subject: &str) -> &'a Value {
    let findings = document["findings"].as_array().unwrap();
    let found = findings.iter().find(|f| f["rule"] == rule && f["subject"] == subject);
    found.unwrap_or_else(|| panic!("no {rule} of {subject} in {findings:#?}"))
}

#[track_caller]
fn near(what: &str, value: &Value, wanted: f64, tolerance: f64) {
    let value = value.as_f64().unwrap_or_else(|| panic!("{what}: {value}"));
    assert!((value - wanted).abs() <= tolerance, "{what}: {value}, wanted {wanted} +- {tolerance}");
}

fn blames_what_the_label_says(incident: &Imported, document: &Value) {
    let expected = &incident.label.expected;
    let verdict = document["verdict"].as_str().unwrap();
    assert!(expected.verdict.iter().any(|allowed| allowed == verdict), "{verdict}");
    let cause = &document["root_cause"];
    if let Some(expected) = &expected.root_cause {
        assert_eq!(cause["kind"], *expected.kind);
        assert_eq!(cause["service"], *expected.service);
        assert_eq!(cause["mechanism"], *expected.mechanism[0]);
        assert_eq!(cause["deploy"]["id"].as_str(), expected.deploy_id.as_deref());
    }
    if let Some(blamed) = cause["deploy"]["id"].as_str() {
        assert!(!expected.no_deploy_blame, "{cause}");
        assert!(!expected.must_not_blame.iter().any(|id| id == blamed), "{cause}");
    }
    if cause.is_object() {
        assert!(cause["confidence"].as_f64().unwrap() <= 0.95, "{cause}");
    }
    match &incident.label.symptom {
        Some(symptom) if document["symptom"].is_object() => {
            assert_eq!(document["symptom"]["service"], *symptom.service);
            assert_eq!(document["symptom"]["operation"], *symptom.operation);
        }
        _ => assert!(document["symptom"].is_null() || verdict == "inconclusive", "{document}"),
    }
}

fn has_its_figures(document: &Value) {
    let symptom = &document["symptom"];
    near("p99 before", &symptom["baseline"], 240.0, 24.0);
    near("p99 now", &symptom["current"], 1_400.0, 140.0);
    assert_eq!(symptom["onset"], "2026-03-11T10:31:00Z");
    let medians = [
        ("order_query", 12.0, 340.0),
        ("inventory_check", 80.0, 850.0),
        ("payment_call", 90.0, 280.0),
        ("serialise_response", 8.0, 340.0),
    ];
    for (part, before, now) in medians {
        let found = finding(document, "span_inflation", &format!("checkout {part}"));
        near(part, &found["baseline"], before, before / 10.0);
        near(part, &found["observed"], now, now / 10.0);
    }
    let auth = finding(document, "span_unaffected", "checkout auth_check");
    near("auth_check", &auth["baseline"], 5.0, 0.5);
    near("auth_check", &auth["observed"], 5.0, 0.5);
    let body = "inventory-service GET /inventory/items to checkout";
    let body = finding(document, "payload_growth", body);
    near("bytes before", &body["baseline"], 8_000.0, 400.0);
    near("bytes now", &body["observed"], 85_000.0, 4_250.0);
    let families = [
        ("gc + allocation", 6.0, 31.0, 1.5),
        ("gc", 4.0, 22.0, 1.5),
        ("allocation", 2.0, 9.0, 1.5),
        ("serialization", 4.0, 24.0, 1.5),
        ("gc + allocation + serialization", 10.0, 55.0, 2.0),
    ];
    for (family, before, now, points) in families {
        let found = finding(document, "frame_family_rise", &format!("checkout {family}"));
        near(family, &found["baseline"], before, points);
        near(family, &found["observed"], now, points);
    }
    for (function, before, now) in
        [("runtime.scanobject", 4.0, 22.0), ("runtime.mallocgc", 2.0, 9.0)]
    {
        let found = finding(document, "frame_rise", &format!("checkout {function}"));
        near(function, &found["baseline"], before, 1.5);
        near(function, &found["observed"], now, 1.5);
    }
}

fn rules_out_the_rest(document: &Value) {
    let ruled_out = document["ruled_out"].to_string();
    for what in ["request rate", "error rate", "client side", "deploys of checkout"] {
        assert!(ruled_out.contains(what), "{what}: {ruled_out}");
    }
    for decoy in ["search@3.9.0", "recommendation@1.15.0", "auth@1.9.4", "payment@5.12.1"] {
        assert!(ruled_out.contains(decoy), "{decoy}: {ruled_out}");
    }
    let for_it = document["hypotheses"][0]["for"].to_string();
    let auth = finding(document, "span_unaffected", "checkout auth_check");
    assert!(for_it.contains(auth["id"].as_str().unwrap()), "auth_check is evidence: {for_it}");
}

fn reads_well(incident: &Imported) {
    let run = incident.diagnose(&["--objective", "200ms"]);
    run.ended(1);
    let page = run.out.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "deploy of inventory-service 2.4.0 at 10:31 made checkout POST /checkout slow",
        "broad and not uniform: 4 of 5 parts",
        "auth_check is unaffected",
        "removing all 55 % of the CPU in them gives at most 2.22x",
        "-> 630 ms, still over the objective of 200 ms",
        "unless the CPU was more than 80 % utilised",
    ] {
        assert!(page.contains(words), "{words:?} is not in: {page}");
    }
    assert!(!page.contains("636 ms"), "{page}");
    let widest = run.out.lines().filter(|line| !line.trim_start().starts_with('$'));
    let widest = widest.map(|line| line.chars().count()).max();
    assert!(widest <= Some(100), "a line of {widest:?} characters");
}

/// The figures of a finding are what its query returns: on this data, and others on other data.
fn every_finding_is_its_query(incident: &Imported, document: &Value) {
    let findings = document["findings"].as_array().unwrap();
    assert!(findings.len() > 30, "{} findings", findings.len());
    let same = requeried(incident, findings);
    for (finding, row) in findings.iter().zip(&same) {
        for figure in ["observed", "baseline", "n"] {
            assert_eq!(finding[figure].as_f64(), row[figure].as_f64(), "{finding:#}");
        }
        let sql = finding["sql"].as_str().unwrap();
        assert!(sql.contains("FROM "), "{sql}");
    }
    let calm = Imported::new(Variant::DeployWithoutInflation);
    let healthy = calm.diagnose(&["--format", "json"]).json(0);
    assert_eq!(healthy["verdict"], "healthy");
    assert!(healthy["symptom"].is_null() && healthy["root_cause"].is_null());
    let other = requeried(&calm, findings);
    let inflated = ["latency", "mean_latency", "span_inflation", "call_gap", "payload_growth"];
    let inflated = [&inflated[..], &["frame_family_rise", "frame_rise", "span_breadth"]].concat();
    let mut changed = 0;
    for (finding, row) in findings.iter().zip(&other) {
        if inflated.contains(&finding["rule"].as_str().unwrap()) {
            let (there, here) = (row["observed"].as_f64(), finding["observed"].as_f64());
            assert!(there.unwrap_or(0.0) < here.unwrap() / 1.5, "{there:?}: {finding:#}");
            changed += 1;
        }
    }
    assert!(changed > 15, "{changed} findings of the inflation");
}

/// The rows of the findings' queries, each of which returns one.
fn requeried(incident: &Imported, findings: &[Value]) -> Vec<Value> {
    let queries: Vec<_> = findings.iter().map(|f| f["sql"].as_str().unwrap()).collect();
    let data = incident.data();
    let input = queries.join(";\n");
    let run = with_input(&["sql", "--format", "jsonl", "--data", text(&data)], &input);
    run.ended(0);
    let rows: Vec<Value> = run.out.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    assert_eq!(rows.len(), queries.len());
    rows
}

fn says_the_same_again(incident: &Imported) {
    let run = |partitions| incident.diagnose(&["--format", "json", "--partitions", partitions]);
    let first = run("2");
    assert_eq!(run("2").out, first.out);
    assert_eq!(run("1").out, first.out);
    incident.upriver(&["storage", "compact"]).ended(0);
    assert_eq!(run("2").out, first.out, "after compaction");
}

fn looks_at_the_window_that_it_is_told(incident: &Imported) {
    let document = incident.diagnose(&["--window", "5m", "--format", "json"]).json(1);
    assert_eq!(document["window"]["start"], "2026-03-11T10:42:00Z");
    assert_eq!(document["window"]["end"], "2026-03-11T10:47:00Z");
    assert_eq!(document["root_cause"]["deploy"]["version"], "2.4.0");
    let wide = incident.diagnose(&["--window", "2h", "--format", "json"]).json(1);
    assert_eq!(wide["window"]["start"], wide["symptom"]["onset"], "{}", wide["window"]);
    incident.diagnose(&["--window", "0s"]).failed(&["window"]);
}

/// As of an earlier instant, nothing that came later is in any answer.
fn reads_nothing_later(incident: &Imported) {
    let onset = incident.label.onset_unix_nano.unwrap();
    let before = incident.upriver(&["diagnose", "--at", &time(onset), "--format", "json"]).json(0);
    assert_eq!(before["verdict"], "healthy");
    let later = ["2.4.0", "3.9.0", "8.31.0"];
    for words in later {
        assert!(!before["findings"].to_string().contains(words), "{words}: {before:#}");
        assert!(!before["hypotheses"].to_string().contains(words), "{words}: {before:#}");
    }
    let early = incident
        .upriver(&["diagnose", "--at", &time(onset + 8 * MINUTE), "--format", "json"])
        .json(1);
    assert_eq!(early["root_cause"]["deploy"]["version"], "2.4.0");
    assert!(!early.to_string().contains("8.31.0"), "the frontend's deploy at 10:41 is later");
    // Without `--at` it is the end of the data, when all is over.
    let last = incident.rows("SELECT max(start_unix_nano + duration_ns) AS last FROM spans");
    let over = incident.upriver(&["diagnose", "--format", "json"]).json(0);
    let at: jiff::Timestamp = over["at"].as_str().unwrap().parse().unwrap();
    let late = at.as_nanosecond() - i128::from(last[0]["last"].as_i64().unwrap());
    assert!((1..=1_000).contains(&late), "{late} ns after the last span");
}

fn names_the_nearest_that_is_known(incident: &Imported) {
    incident.diagnose(&["--service", "chekout"]).failed(&["chekout", "did you mean `checkout`"]);
    let operation = ["--service", "checkout", "--operation", "POST /chekout"];
    incident.diagnose(&operation).failed(&["POST /chekout", "did you mean `POST /checkout`"]);
    let named = ["--service", "checkout", "--operation", "POST /checkout", "--format", "json"];
    let document = incident.diagnose(&named).json(1);
    assert_eq!(document["root_cause"]["service"], "inventory-service");
    incident.upriver(&["diagnose", "--at", "soon"]).failed(&["soon"]);
}

fn lists_changes_by_id(incident: &Imported) {
    let list = incident.upriver(&["deploy", "list", "--format", "json"]).json(0);
    let list = list.as_array().unwrap();
    let mut keys: Vec<_> = list[0].as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let mut expected = ["id", "service", "version", "previous_version", "environment", "kind"]
        .into_iter()
        .chain(["time", "end_time", "source", "commit", "url"])
        .collect::<Vec<_>>();
    expected.sort_unstable();
    assert_eq!(keys, expected);
    let known = &incident.label.expected;
    let guilty = known.root_cause.as_ref().unwrap().deploy_id.clone().unwrap();
    let explicit: Vec<_> = list.iter().filter(|change| change["source"] == "explicit").collect();
    assert_eq!(explicit.len(), known.must_not_blame.len() + 1);
    for id in known.must_not_blame.iter().chain([&guilty]) {
        assert!(explicit.iter().any(|change| change["id"] == **id), "{id} in {list:#?}");
    }
}

fn verifies_the_rollback(incident: &Imported) {
    let verify = |arguments: &[&str]| {
        incident.upriver(&[&["verify", "--format", "json"], arguments].concat())
    };
    let document = verify(&["inventory-service@2.4.0"]).json(0);
    assert_eq!(document["outcome"], "recovered");
    assert_eq!(document["schema"], "upriver.verification/v1");
    let id = incident.label.expected.root_cause.as_ref().unwrap().deploy_id.clone().unwrap();
    assert_eq!(verify(&[&id]).json(0), document);
    // Five minutes after the rollback there is no window yet; before it, no rollback.
    for at in ["2026-03-11T11:00:00Z", "2026-03-11T10:54:00Z"] {
        let document = verify(&["inventory-service@2.4.0", "--at", at]).json(3);
        assert_eq!(document["outcome"], "insufficient", "{at}");
    }
    // A deploy that nobody rolled back.
    assert_eq!(verify(&["auth@1.9.4"]).json(3)["outcome"], "insufficient");
    verify(&["inventory-service@9"]).failed(&["inventory-service@9"]);
}

fn imports_a_file_once(incident: &Imported) {
    let count = "SELECT (SELECT count(*) FROM spans) AS spans, (SELECT count(*) FROM metrics) AS \
                 metrics, (SELECT count(*) FROM profiles) AS profiles, (SELECT count(*) FROM deploys) \
                 AS deploys, (SELECT sum(span_count) FROM edge_minutes) AS calls";
    let before = incident.rows(count);
    assert!(before[0]["spans"].as_i64() > Some(100_000), "{before:?}");
    let again = incident.import();
    again.ended(0);
    assert_eq!(again.err.matches("already in").count(), 4, "{}", again.err);
    assert_eq!(incident.rows(count), before);
}

#[test]
fn allocations_inside_the_serialiser_count_once() {
    let incident = Imported::new(Variant::NestedAllocation);
    let document = incident.diagnose(&["--objective", "200ms", "--format", "json"]).json(1);
    blames_what_the_label_says(&incident, &document);
    for (family, now) in [
        ("gc + allocation", 31.0),
        ("serialization", 24.0),
        ("gc + allocation + serialization", 47.0),
    ] {
        let found = finding(&document, "frame_family_rise", &format!("checkout {family}"));
        near(family, &found["observed"], now, 1.5);
    }
    let page = incident.diagnose(&["--objective", "200ms"]).out;
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(page.contains("removing all 47 % of the CPU in them gives at most 1.89x"), "{page}");
}

#[test]
fn an_inflation_before_the_deploy_is_not_the_deploys() {
    let incident = Imported::new(Variant::InflationBeforeDeploy);
    let run = incident.diagnose(&["--format", "json"]);
    let document = run.json(run.code.unwrap());
    blames_what_the_label_says(&incident, &document);
    assert!(document["symptom"].is_object(), "{document:#}");
}

#[test]
fn an_inflation_without_a_deploy_blames_none() {
    let incident = Imported::new(Variant::InflationWithoutDeploy);
    let run = incident.diagnose(&["--format", "json"]);
    let document = run.json(run.code.unwrap());
    blames_what_the_label_says(&incident, &document);
    assert!(document["symptom"].is_object(), "{document:#}");
}

#[test]
fn hostile_names_change_nothing() {
    let incident = Imported::new(Variant::HostileNames);
    let document = incident.diagnose(&["--format", "json"]).json(1);
    blames_what_the_label_says(&incident, &document);
    for form in ["text", "markdown"] {
        let run = incident.diagnose(&["--format", form]);
        run.ended(1);
        let control = run.out.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(control, None, "{form}: {}", run.out);
    }
    let findings = document["findings"].as_array().unwrap();
    for (finding, row) in findings.iter().zip(requeried(&incident, findings)) {
        assert_eq!(finding["observed"].as_f64(), row["observed"].as_f64(), "{finding:#}");
    }
    let service = &incident.label.symptom.as_ref().unwrap().service;
    let named = incident.diagnose(&["--service", service, "--format", "json"]).json(1);
    assert_eq!(named["root_cause"], document["root_cause"]);
    let id = document["root_cause"]["deploy"]["id"].as_str().unwrap();
    incident.upriver(&["verify", id]).ended(0);
}

#[test]
fn a_folder_without_spans_has_no_newest() {
    let folder = tempfile::TempDir::new().unwrap();
    let data = folder.path().join("data");
    upriver(&["diagnose", "--data", text(&data)]).failed(&["there is no data folder"]);
}
