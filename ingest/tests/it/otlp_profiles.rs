//! Profiles that real senders exported, against figures worked out independently from the same bytes.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use prost::Message;
use serde_json::Value;
use upriver_ingest::otlp::{decode_profiles, json};
use upriver_ingest::{DecodeErrorKind, Decoded};
use upriver_store::schema::Table;
use upriver_store::time::UnixNanos;

use crate::support::{cells, fixtures, read, row_count, rows};

const RECEIVED: UnixNanos = UnixNanos(1_800_000_000_000_000_000);
const CURRENT: &str = "otel-ebpf-profile.pb.bin";
const IN_1_8: &str = "otel-ebpf-profile.proto-1.8.bin";
const IN_1_9: &str = "captured/py-otlp-profiles.1.body";

/// What a file decodes to, and what is expected of it.
fn each(check: impl Fn(&str, &Decoded, &Value)) {
    let Some(folder) = fixtures("otlp") else { return };
    let expected: Value =
        serde_json::from_slice(&read(&folder.join("profiles.expected.json"))).unwrap();
    for file in [CURRENT, IN_1_8, IN_1_9] {
        let decoded = decode_profiles(&read(&folder.join(file)), RECEIVED).unwrap();
        let of_file = &expected[file];
        let right =
            if of_file["read_as_1.9"].is_null() { of_file } else { &of_file["read_as_1.9"] };
        check(file, &decoded, right);
    }
}

/// `type/unit`, value, stack and trace of each row.
fn samples(decoded: &Decoded) -> Vec<(String, i64, String, String)> {
    let columns = ["sample_type", "unit", "value", "stack_id", "trace_id"];
    let rows = cells(decoded, Table::ProfileSamples, &columns);
    rows.iter()
        .map(|row| {
            let parts: Vec<_> = row.split(" | ").collect();
            let value = parts[2].parse().unwrap();
            (format!("{}/{}", parts[0], parts[1]), value, parts[3].into(), parts[4].into())
        })
        .collect()
}

#[test]
fn counts_and_sums_are_those_of_an_independent_reader() {
    each(|file, decoded, expected| {
        assert_eq!(decoded.accepted, expected["samples"].as_u64().unwrap(), "{file}");
        assert_eq!((decoded.rejected, &decoded.message), (0, &None), "{file}");
        let observations = ["observations(timestamps)", "observations"]
            .iter()
            .find_map(|name| expected[*name].as_u64())
            .unwrap();
        // Every timestamp is a row, but for values of zero.
        let found = samples(decoded);
        assert_eq!(found.len() as u64, observations, "{file}");
        let mut sums = BTreeMap::<_, i64>::new();
        for (sample_type, value, ..) in &found {
            *sums.entry(sample_type.as_str()).or_default() += value;
        }
        for (sample_type, sum) in expected["sum_values"].as_object().unwrap() {
            let sum = sum.as_i64().unwrap();
            if sum == 0 {
                // No values: what counts are the timestamps.
                assert!(sums[sample_type.as_str()] > 0, "{file}: {sample_type}");
            } else {
                assert_eq!(sums[sample_type.as_str()], sum, "{file}: {sample_type}");
            }
        }
        let stacks = cells(decoded, Table::ProfileStacks, &["stack_id"]);
        assert!(found.iter().all(|(_, _, stack, _)| stacks.contains(stack)), "{file}");
    });
}

#[test]
fn links_lead_to_spans() {
    let Some(folder) = fixtures("otlp") else { return };
    let decoded = decode_profiles(&read(&folder.join(IN_1_9)), RECEIVED).unwrap();
    let linked = samples(&decoded).iter().filter(|(.., trace)| trace != "∅").count();
    // 439 of the 474 samples have a link; some were observed more than once.
    let sent =
        cells(&decoded, Table::ProfileSamples, &["trace_id", "span_id", "labels", "stack_id"]);
    let mut distinct: Vec<_> = sent.iter().filter(|row| !row.starts_with('∅')).collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 439);
    assert!(linked >= 439);
    let columns = ["service_name", "service_version", "sample_types", "period_type", "period"];
    assert_eq!(
        cells(&decoded, Table::Profiles, &columns),
        ["cart | 1.4.2 | [samples/count] | wall/nanoseconds | 10000000"]
    );
    // Entry 0 of its tables is a real one.
    let functions = cells(&decoded, Table::ProfileStackFrames, &["function", "file"]);
    assert!(functions.iter().any(|row| row.starts_with("wait | ")), "{functions:?}");
    assert!(functions.iter().all(|row| !row.starts_with("unknown")), "{functions:?}");
}

#[test]
fn a_host_profiler_is_read_process_by_process() {
    let Some(folder) = fixtures("otlp") else { return };
    let decoded = decode_profiles(&read(&folder.join(CURRENT)), RECEIVED).unwrap();
    assert_eq!(row_count(&decoded, Table::Profiles), 82);
    let types = cells(&decoded, Table::Profiles, &["sample_types", "period_type", "period"]);
    let of = |text: &str| types.iter().filter(|row| *row == text).count();
    assert_eq!(of("[off_cpu/nanoseconds] | ∅ | 0"), 77);
    assert_eq!(of("[samples/count] | cpu/nanoseconds | 50000000"), 5);
    let mut services = cells(&decoded, Table::Profiles, &["service_name"]);
    services.retain(|name| name != "unknown_service");
    assert!(services.iter().all(|name| name.starts_with("unknown_service:")), "{services:?}");
    assert!(services.len() >= 3, "{services:?}");
    // The leaf of nearly all observations is the scheduler; some frames have an address alone.
    let samples = samples(&decoded);
    let leaves = cells(&decoded, Table::ProfileStacks, &["stack_id", "leaf_function"]);
    let leaves: BTreeMap<_, _> = leaves.iter().map(|row| row.split_once(" | ").unwrap()).collect();
    let flat = |name: &str| {
        samples.iter().filter(|(_, _, stack, _)| leaves[stack.as_str()] == name).count()
    };
    assert_eq!(flat("finish_task_switch.isra.0"), 5315);
    assert_eq!(flat("smp_call_function_many_cond"), 2);
    assert_eq!(flat("_raw_spin_unlock_irq"), 1);
    assert_eq!(flat("ZSTD_decompressSequences_bmi2.constprop.0"), 1);
    let functions = cells(&decoded, Table::ProfileStackFrames, &["function"]);
    assert!(functions.iter().any(|name| name.contains("+0x")), "{functions:?}");
}

#[test]
fn the_layout_of_1_5_is_refused_by_name() {
    let Some(folder) = fixtures("otlp") else { return };
    let body = read(&folder.join("old-otel-ebpf-profiler-unsymbolized-otlp1.5.0.pb.bin"));
    let error = decode_profiles(&body, RECEIVED).unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::InvalidArgument);
    assert!(error.to_string().contains("OTLP profiles of version 1.7 or earlier"), "{error}");
}

#[test]
fn json_gives_the_same_rows() {
    let Some(folder) = fixtures("otlp") else { return };
    let body = read(&folder.join(CURRENT));
    let request = ExportProfilesServiceRequest::decode(&body[..]).unwrap();
    let mut document = serde_json::to_value(&request).unwrap();
    // The other library writes the ids of links as lists of numbers instead of hexadecimal digits.
    for link in document["dictionary"]["linkTable"].as_array_mut().unwrap() {
        for id in ["traceId", "spanId"] {
            let bytes = link[id].as_array().unwrap().iter().map(|byte| byte.as_u64().unwrap());
            link[id] = Value::String(bytes.map(|byte| format!("{byte:02x}")).collect());
        }
    }
    let text = document.to_string();
    let protobuf = json::profiles_to_protobuf(text.as_bytes()).unwrap();
    let (from_json, from_protobuf) =
        (decode_profiles(&protobuf, RECEIVED).unwrap(), decode_profiles(&body, RECEIVED).unwrap());
    let tables =
        [Table::Profiles, Table::ProfileSamples, Table::ProfileStacks, Table::ProfileStackFrames];
    for table in tables {
        assert_eq!(rows(&from_json, table), rows(&from_protobuf, table), "{}", table.name());
    }
}

/// Bytes that were once good give an answer, whatever was done to them.
#[test]
fn damaged_exports_are_answered() {
    let Some(folder) = fixtures("otlp") else { return };
    for file in [CURRENT, IN_1_8, IN_1_9] {
        let body = read(&folder.join(file));
        for at in (0..body.len()).step_by(997) {
            let mut damaged = body.clone();
            damaged[at] = damaged[at].wrapping_add(0x55);
            drop(decode_profiles(&damaged, RECEIVED));
            drop(decode_profiles(&body[..at], RECEIVED));
        }
    }
}
