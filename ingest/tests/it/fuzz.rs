//! The fuzz targets on their seeds, and on every input that was once a finding.

use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;
use upriver_ingest::otlp::json;
use upriver_ingest::pprof::message::{
    Function, Label, Line, Location, Mapping, Profile, Sample, ValueType,
};
use upriver_ingest::pprof::raw_series::{ParcaWriteRaw, PyroscopePush};

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "there it is a library")]
mod targets;

type Target = (&'static str, fn(&[u8]) -> bool);

const TARGETS: [Target; 19] = [
    ("otlp_traces", targets::otlp_traces),
    ("otlp_metrics", targets::otlp_metrics),
    ("otlp_logs", targets::otlp_logs),
    ("otlp_profiles", targets::otlp_profiles),
    ("otlp_traces_json", targets::otlp_traces_json),
    ("otlp_metrics_json", targets::otlp_metrics_json),
    ("otlp_logs_json", targets::otlp_logs_json),
    ("otlp_profiles_json", targets::otlp_profiles_json),
    ("pprof", targets::pprof),
    ("pprof_folded", targets::pprof_folded),
    ("pprof_upload", targets::pprof_upload),
    ("pprof_multipart", targets::pprof_multipart),
    ("pprof_push", targets::pprof_push),
    ("pprof_write_raw", targets::pprof_write_raw),
    ("deploys", targets::deploys),
    ("deploys_cdevents", targets::deploys_cdevents),
    ("deploys_github", targets::deploys_github),
    ("deploys_gitlab", targets::deploys_gitlab),
    ("deploys_flux", targets::deploys_flux),
];

fn seeds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    listed.map(|entry| entry.unwrap().path()).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn every_target_takes_its_seeds() {
    for (target, takes) in TARGETS {
        let files = entries(&seeds().join(target));
        assert!(!files.is_empty(), "{target} has no seeds");
        for file in files {
            assert!(takes(&fs::read(&file).unwrap()), "{} is not taken", file.display());
        }
    }
}

#[test]
fn every_target_is_built_and_played() {
    let manifest =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/Cargo.toml")).unwrap();
    let built: Vec<_> = manifest
        .split("[[bin]]")
        .skip(1)
        .map(|bin| bin.split('"').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(built, TARGETS.map(|(target, _)| target));
    let folders = entries(&seeds()).into_iter().map(|folder| name(&folder));
    assert!(folders.into_iter().all(|folder| built.contains(&folder)));
}

/// Every finding is answered now; what panicked would panic here.
#[test]
fn former_findings_are_answered() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for folder in entries(&repository.join("testdata/fuzz-failures")) {
        if !folder.is_dir() {
            continue;
        }
        let target = name(&folder);
        let (_, answers) = TARGETS.iter().find(|(known, _)| *known == target).unwrap();
        for file in entries(&folder) {
            answers(&fs::read(&file).unwrap());
        }
    }
}

/// What is there as JSON, in protobuf; and a profile with every kind of entry.
fn binary_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let read = |path: &str| fs::read(seeds().join(path)).unwrap();
    let push: PyroscopePush = serde_json::from_slice(&read("pprof_push/series.json")).unwrap();
    let write_raw: ParcaWriteRaw =
        serde_json::from_slice(&read("pprof_write_raw/series.json")).unwrap();
    vec![
        (
            "otlp_traces/span.bin",
            json::traces_to_protobuf(&read("otlp_traces_json/span.json")).unwrap(),
        ),
        (
            "otlp_metrics/points.bin",
            json::metrics_to_protobuf(&read("otlp_metrics_json/points.json")).unwrap(),
        ),
        (
            "otlp_logs/records.bin",
            json::logs_to_protobuf(&read("otlp_logs_json/records.json")).unwrap(),
        ),
        (
            "otlp_profiles/profile.bin",
            json::profiles_to_protobuf(&read("otlp_profiles_json/profile.json")).unwrap(),
        ),
        ("pprof/profile.bin", profile().encode_to_vec()),
        ("pprof_push/series.bin", push.encode_to_vec()),
        ("pprof_write_raw/series.bin", write_raw.encode_to_vec()),
    ]
}

fn profile() -> Profile {
    let texts = [
        "",
        "cpu",
        "nanoseconds",
        "main",
        "main.go",
        "/bin/cart",
        "span_id",
        "0102030405060708",
        "bytes",
    ];
    let frame = |id, function_id| Location {
        id,
        mapping_id: 1,
        address: 4_096 + id,
        line: vec![Line { function_id, line: 12, ..Line::default() }],
        ..Location::default()
    };
    let label = Label { key: 6, str: 7, ..Label::default() };
    let number = Label { key: 8, num: 512, num_unit: 8, ..Label::default() };
    Profile {
        sample_type: vec![ValueType { r#type: 1, unit: 2 }],
        sample: vec![Sample {
            location_id: vec![2, 1],
            value: vec![7],
            label: vec![label, number],
        }],
        mapping: vec![Mapping {
            id: 1,
            memory_start: 4_096,
            memory_limit: 8_192,
            filename: 5,
            ..Mapping::default()
        }],
        location: vec![frame(1, 1), frame(2, 2)],
        function: vec![
            Function { id: 1, name: 3, filename: 4, start_line: 1, ..Function::default() },
            Function { id: 2, name: 1, system_name: 3, ..Function::default() },
        ],
        string_table: texts.map(Into::into).to_vec(),
        time_nanos: 1_777_896_000_000_000_000,
        duration_nanos: 10_000_000_000,
        period_type: Some(ValueType { r#type: 1, unit: 2 }),
        period: 10_000_000,
        comment: vec![3],
        default_sample_type: 1,
        ..Profile::default()
    }
}

#[test]
fn binary_seeds_are_what_is_made_here() {
    for (path, bytes) in binary_seeds() {
        let path = seeds().join(path);
        if option_env!("UPDATE_SEEDS").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        let stored = fs::read(&path).unwrap_or_default();
        assert!(
            stored == bytes,
            "{} is stale: touch fuzz.rs and run the test with UPDATE_SEEDS=1",
            path.display()
        );
    }
}
