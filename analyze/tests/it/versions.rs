//! Services whose version changes: deploys, rollbacks, canaries, and what only looks like one.

use serde_json::{Value, json};
use upriver_store::batch::TableBatch;
use upriver_store::ids::deploy_id;
use upriver_store::schema::Table;

use crate::fixtures::derived;
use crate::rows::{nanos, rows, text};

const START: &str = "2026-02-01T00:00:00Z";
const MINUTE: i64 = 60_000_000_000;

pub(crate) fn batches() -> Vec<TableBatch> {
    let mut batches = Vec::new();
    // A deploy, its rollback, and a newer version: nobody sent anything.
    batches.push(seen(
        "plain",
        "prod",
        &[("1", 0..60), ("2", 60..120), ("1", 120..180), ("3", 180..200)],
    ));
    // The version that was rolled back comes again.
    batches.push(seen(
        "again",
        "prod",
        &[("1", 0..60), ("2", 60..120), ("1", 120..180), ("2", 180..240)],
    ));
    // Side by side for an hour, with quiet minutes of the canary: inferred once.
    let canary = [("1", 0..120), ("2", 60..70), ("2", 80..90), ("2", 95..120)];
    batches.push(seen("canary", "prod", &canary));
    // Two versions from the start on are no change.
    batches.push(seen("twins", "prod", &[("a", 0..60), ("b", 0..60)]));
    // The same service in two environments.
    batches.push(seen("two", "prod", &[("1", 0..60), ("2", 60..90)]));
    batches.push(seen("two", "staging", &[("1", 0..30), ("2", 30..90)]));
    // Sent by somebody: the first with its predecessor, the second without, the third without its
    // environment; all are seen in the spans a little later.
    batches.push(seen(
        "told",
        "prod",
        &[("1", 0..60), ("2", 62..120), ("3", 125..180), ("4", 183..200)],
    ));
    let told = json!({ "service_name": "told" });
    let silent = json!({ "service_name": "silent" });
    let nowhere = json!({ "service_name": "told", "deployment_environment_name": null });
    let first = json!({ "service_name": "told", "previous_version": "1" });
    let setting =
        json!({ "service_name": "told", "kind": "config", "url": "https://example.org/7" });
    batches.push(rows(
        Table::Deploys,
        [
            sent(60, "2", &first),
            sent(120, "3", &told),
            sent(180, "4", &nowhere),
            sent(190, "rev-7", &setting),
            // No spans of it at all.
            sent(10, "1", &silent),
            sent(20, "2", &silent),
        ],
    ));
    // The same event again, finished now.
    let finished = json!({
        "service_name": "told", "previous_version": "1", "received_unix_nano": 2,
        "end_unix_nano": nanos(START) + 65 * MINUTE, "commit": "abc",
    });
    batches.push(rows(Table::Deploys, [sent(60, "2", &finished)]));
    batches.push(rows(Table::Deploys, returns()));
    batches.push(rows(Table::Deploys, halves()));
    derived(batches)
}

/// Versions that come back, sent as a deploy.
fn returns() -> Vec<Value> {
    let back = json!({ "service_name": "back" });
    let staging = json!({ "service_name": "elsewhere", "deployment_environment_name": "staging" });
    let elsewhere = json!({ "service_name": "elsewhere" });
    let kept = json!({ "service_name": "kept" });
    let rollback = json!({ "service_name": "kept", "kind": "rollback" });
    vec![
        // The third is a rollback, the fourth rolls forward again.
        sent(10, "1", &back),
        sent(20, "2", &back),
        sent(30, "1", &back),
        sent(40, "2", &back),
        // Staging had it before production: no rollback there.
        sent(10, "2", &staging),
        sent(20, "1", &elsewhere),
        sent(30, "2", &elsewhere),
        // A rollback by the event itself, to a version that nobody saw.
        sent(10, "1", &kept),
        sent(20, "0.9", &rollback),
    ]
}

/// Starts and ends of rollouts that were sent apart.
fn halves() -> Vec<Value> {
    let minute = |minute: i64| nanos(START) + minute * MINUTE;
    let start = json!({ "service_name": "halves", "url": "https://ci/1" });
    let end =
        |at: i64| json!({ "service_name": "halves", "commit": "abc", "end_unix_nano": minute(at) });
    let alone = json!({
        "service_name": "halves", "deployment_environment_name": "staging",
        "end_unix_nano": minute(12),
    });
    let ended = json!({ "service_name": "swapped", "end_unix_nano": minute(15) });
    let started = json!({
        "service_name": "swapped", "previous_version": "1", "received_unix_nano": 2,
    });
    vec![
        sent(10, "2", &start),
        sent(14, "2", &end(14)),
        // The end of the next day is not of this start.
        sent(20, "3", &start),
        sent(20 + 1441, "3", &end(20 + 1441)),
        // An end without a start.
        sent(12, "2", &alone),
        // One id; the end arrived first.
        sent(10, "2", &ended),
        sent(10, "2", &started),
    ]
}

fn seen(service: &str, environment: &str, versions: &[(&str, std::ops::Range<i64>)]) -> TableBatch {
    let spans = versions.iter().flat_map(|(version, minutes)| {
        minutes.clone().map(move |minute| {
            json!({
                "time": text(nanos(START) + minute * MINUTE + 7_000_000_000), "duration_ns": 1_000,
                "service_name": service, "deployment_environment_name": environment,
                "service_version": version, "span_name": "GET /", "operation": "GET /",
                "span_kind": "SERVER", "span_id": minute, "adjusted_count_micros": 1_000_000,
            })
        })
    });
    rows(Table::Spans, spans)
}

/// A deploy to production at a minute, unless `more` says otherwise.
fn sent(minute: i64, version: &str, more: &Value) -> Value {
    let start = nanos(START) + minute * MINUTE;
    let mut row = json!({
        "time": text(start), "kind": "deploy", "source": "explicit", "service_version": version,
        "deployment_environment_name": "prod", "received_unix_nano": 1,
    });
    row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let part = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let (service, environment) = (part("service_name"), part("deployment_environment_name"));
    let id = deploy_id(&service, &environment, &part("kind"), version, start);
    row["id"] = json!(id);
    row
}
