//! Profiles of a service, of which garbage collection takes more and more.

use serde_json::{Value, json};
use upriver_store::batch::TableBatch;
use upriver_store::schema::Table;

use crate::rows::rows;

/// Names of functions and their families, leaf first.
type Functions = &'static [(&'static str, Option<&'static str>)];

/// Stacks by id.
const STACKS: [(i64, Functions); 4] = [
    (1, &[("runtime.scanobject", Some("gc")), ("runtime.gcDrain", Some("gc"))]),
    (
        2,
        &[
            ("runtime.mallocgc", Some("allocation")),
            ("encoding/json.Marshal", Some("serialization")),
            ("handlers.Checkout", None),
        ],
    ),
    (3, &[("encoding/json.Marshal", Some("serialization")), ("handlers.Checkout", None)]),
    (4, &[("handlers.Checkout", None)]),
];
/// Hits per stack before and now.
const HITS: [([i64; 4], &str, i64); 3] = [
    ([4, 2, 4, 90], "2026-01-08T09:00:00Z", 1),
    ([22, 9, 24, 45], "2026-01-08T10:00:00Z", 2),
    // After the current window.
    ([1000, 0, 0, 0], "2026-01-08T10:15:00Z", 3),
];
/// Nanoseconds per hit of a profiler at 100 Hz.
const PERIOD: i64 = 10_000_000;

pub(crate) fn batches() -> Vec<TableBatch> {
    let mut batches = vec![frames("2026-01-08T09:00:00Z"), frames("2026-01-08T10:00:00Z")];
    for (hits, time, profile) in HITS {
        batches.push(rows(Table::Profiles, [profile_row("checkout", time, profile)]));
        batches.push(rows(Table::ProfileSamples, samples("checkout", &hits, time, profile, true)));
    }
    // A profiler that only counts.
    let (hits, time, profile) = HITS[1];
    batches.push(rows(Table::Profiles, [profile_row("counted", time, profile + 10)]));
    batches.push(rows(Table::ProfileSamples, samples("counted", &hits, time, profile + 10, false)));
    batches
}

fn profile_row(service: &str, time: &str, profile: i64) -> Value {
    json!({
        "time": time, "service_name": service, "profile_id": profile, "period": PERIOD,
        "period_type": "cpu/nanoseconds", "duration_ns": 10_000_000_000_i64,
    })
}

fn samples(service: &str, hits: &[i64; 4], time: &str, profile: i64, with_cpu: bool) -> Vec<Value> {
    let sample = |stack: i64, kind: &str, unit: &str, value: i64| {
        json!({
            "time": time, "service_name": service, "sample_type": kind, "unit": unit,
            "stack_id": stack, "value": value, "profile_id": profile,
        })
    };
    let mut rows = Vec::new();
    for ((stack, _), hits) in STACKS.iter().zip(hits).filter(|(_, hits)| **hits > 0) {
        rows.push(sample(*stack, "samples", "count", *hits));
        if with_cpu {
            rows.push(sample(*stack, "cpu", "nanoseconds", hits * PERIOD));
        }
        rows.push(sample(*stack, "alloc_space", "bytes", 1 << 40));
    }
    rows
}

fn frames(time: &str) -> TableBatch {
    let frames = STACKS.iter().flat_map(|(stack, functions)| {
        functions.iter().enumerate().map(move |(depth, (function, family))| {
            json!({
                "time": time, "function": function, "stack_id": stack, "family": family,
                "depth_min": depth, "is_leaf": depth == 0,
            })
        })
    });
    rows(Table::ProfileStackFrames, frames)
}
