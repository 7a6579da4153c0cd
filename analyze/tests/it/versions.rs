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
    derived(batches)
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
