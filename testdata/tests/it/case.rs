//! The importable case reads back as what was generated.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use serde::de::DeserializeOwned;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use upriver_testdata::scenario::{Deploy, Label, Options, ProfileEntry, Scenario};

fn lines<T: DeserializeOwned>(reader: impl Read) -> impl Iterator<Item = T> {
    BufReader::new(reader).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

fn plain<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    lines(File::open(path).unwrap()).collect()
}

fn compressed<T: DeserializeOwned>(path: &Path) -> impl Iterator<Item = T> + use<T> {
    lines(zstd::Decoder::new(File::open(path).unwrap()).unwrap())
}

/// JSON may lose the last bit of a number with a fraction.
fn rounded(mut request: ExportMetricsServiceRequest) -> ExportMetricsServiceRequest {
    let round = |number: &mut f64| *number = (*number * 1e6).round() / 1e6;
    let resources = request.resource_metrics.iter_mut();
    for metric in resources.flat_map(|r| &mut r.scope_metrics).flat_map(|s| &mut s.metrics) {
        match metric.data.as_mut().unwrap() {
            Data::Histogram(histogram) => {
                for point in &mut histogram.data_points {
                    [&mut point.sum, &mut point.min, &mut point.max]
                        .into_iter()
                        .flatten()
                        .for_each(round);
                }
            }
            Data::Sum(sum) => {
                for point in &mut sum.data_points {
                    if let Some(Value::AsDouble(number)) = &mut point.value {
                        round(number);
                    }
                }
            }
            _ => {}
        }
    }
    request
}

#[test]
fn a_written_case_reads_back_as_what_was_generated() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = Scenario::new(Options::default());
    let summary = scenario.write_case(folder.path()).unwrap();
    let at = |name: &str| folder.path().join(name);

    let mut traces = compressed::<ExportTraceServiceRequest>(&at("traces.jsonl.zst"));
    let mut metrics = compressed::<ExportMetricsServiceRequest>(&at("metrics.jsonl.zst"));
    let mut spans = 0;
    for slice in scenario.slices() {
        spans += slice.span_count();
        slice.traces.iter().for_each(|request| assert_eq!(traces.next().as_ref(), Some(request)));
        for request in slice.metrics {
            assert_eq!(metrics.next().map(rounded), Some(rounded(request)));
        }
    }
    assert!(traces.next().is_none() && metrics.next().is_none());
    assert_eq!(summary.spans, spans);

    assert_eq!(plain::<Deploy>(&at("deploys.jsonl")), scenario.deploys());
    let entries = plain::<ProfileEntry>(&at("profiles.jsonl"));
    assert_eq!(entries.len(), summary.profiles);
    for entry in entries {
        assert!(fs::metadata(at(&entry.file)).unwrap().len() > 1_000, "{}", entry.file);
    }
    let label: Label = serde_json::from_slice(&fs::read(at("label.json")).unwrap()).unwrap();
    assert_eq!(label, scenario.label());
    let cause = label.expected.root_cause.unwrap();
    assert_eq!(cause.service, "inventory-service");
    assert!(!label.expected.must_not_blame.contains(&cause.deploy_id.unwrap()));
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Scenario::new(Options::default()).write_case(&file).unwrap_err();
    assert!(error.to_string().contains("profiles"), "{error}");
}
