//! Traces and exports have the form that real senders give them.

use crate::observed::{self, MINUTE, end, service, start, text, version};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use upriver_testdata::scenario::{Deploy, Options, Scenario, Slice, Variant};

/// Slices around the rollout: healthy, changing, inflated.
fn around_the_rollout(scenario: &Scenario) -> Vec<Slice> {
    let rollout = scenario.timeline().rollout.start;
    scenario
        .slices()
        .filter(|slice| (-5 * MINUTE..8 * MINUTE).contains(&(slice.start_unix_nano - rollout)))
        .collect()
}

fn check_trace(spans: &[(String, Span)]) {
    let by_id: HashMap<&[u8], &Span> =
        spans.iter().map(|(_, span)| (span.span_id.as_slice(), span)).collect();
    assert_eq!(by_id.len(), spans.len(), "span ids are not unique");
    for (_, span) in spans.iter().filter(|(_, span)| !span.parent_span_id.is_empty()) {
        let parent = by_id[span.parent_span_id.as_slice()];
        assert!(
            start(parent) <= start(span) && end(span) <= end(parent),
            "{} sticks out",
            span.name
        );
        if span.kind == SpanKind::Server as i32 {
            assert_eq!(parent.kind, SpanKind::Client as i32, "{}", span.name);
        }
    }
}

#[test]
fn traces_are_whole_and_nested() {
    let scenario = Scenario::new(Options::default());
    let mut traces: HashMap<Vec<u8>, Vec<(String, Span)>> = HashMap::new();
    for slice in around_the_rollout(&scenario) {
        for (resource, span) in observed::spans(&slice.traces) {
            let trace = traces.entry(span.trace_id.clone()).or_default();
            trace.push((service(resource).to_owned(), span.clone()));
        }
    }
    let mut checkouts = 0;
    for trace in traces.values() {
        check_trace(trace);
        let is_checkout = trace.iter().any(|(_, span)| span.name == "POST /checkout");
        assert_eq!(trace.len(), if is_checkout { 9 } else { 1 });
        checkouts += usize::from(is_checkout);
        let services: BTreeSet<&str> = trace.iter().map(|(service, _)| service.as_str()).collect();
        if is_checkout {
            let called = ["auth", "checkout", "inventory-service", "payment"];
            assert_eq!(services, BTreeSet::from(called));
        }
    }
    assert!(checkouts > 1_000, "{checkouts} checkouts in 13 minutes");
}

#[test]
fn every_export_comes_from_one_instance_and_is_no_larger_than_the_sdk_sends() {
    for slice in around_the_rollout(&Scenario::new(Options::default())) {
        for request in &slice.traces {
            assert_eq!(request.resource_spans.len(), 1);
            let spans: Vec<_> = observed::spans(std::slice::from_ref(request)).collect();
            assert!((1..=512).contains(&spans.len()));
            for key in ["service.name", "service.version", "service.instance.id"] {
                assert!(text(&spans[0].0.attributes, key).is_some(), "{key}");
            }
        }
    }
}

/// Versions that each service reported in each minute-exact slice.
fn versions(slices: &[Slice]) -> BTreeMap<String, BTreeMap<i64, BTreeSet<String>>> {
    let mut seen: BTreeMap<String, BTreeMap<i64, BTreeSet<String>>> = BTreeMap::new();
    for slice in slices {
        let metrics = slice.metrics.iter().flat_map(|request| &request.resource_metrics);
        let resources = metrics
            .filter_map(|metrics| metrics.resource.as_ref())
            .chain(observed::spans(&slice.traces).map(|(resource, _)| resource));
        for resource in resources {
            seen.entry(service(resource).to_owned())
                .or_default()
                .entry(slice.start_unix_nano)
                .or_default()
                .insert(version(resource).to_owned());
        }
    }
    seen
}

fn check_change(deploy: &Deploy, seen: &BTreeMap<i64, BTreeSet<String>>) {
    let before: BTreeSet<&String> = seen
        .range(deploy.time_unix_nano - 40 * MINUTE..=deploy.time_unix_nano - MINUTE)
        .flat_map(|(_, versions)| versions)
        .collect();
    let after: BTreeSet<&String> = seen
        .range(deploy.end_unix_nano..deploy.end_unix_nano + 40 * MINUTE)
        .take(5)
        .flat_map(|(_, versions)| versions)
        .collect();
    assert!(before.contains(&deploy.previous_version), "{deploy:?} after {before:?}");
    assert_eq!(after, BTreeSet::from([&deploy.version]), "{deploy:?}");
}

#[test]
fn every_change_shows_in_the_versions_of_the_telemetry() {
    let scenario = Scenario::new(Options::default());
    let mut slices: Vec<Slice> = Vec::new();
    let mut reported = Vec::new();
    for mut slice in scenario.slices() {
        reported.append(&mut slice.deploys);
        slice.profiles.clear();
        slice.traces.iter_mut().flat_map(|t| &mut t.resource_spans).for_each(|resource| {
            resource.scope_spans.truncate(1);
            resource.scope_spans[0].spans.truncate(1);
        });
        slices.push(slice);
    }
    assert_eq!(reported, scenario.deploys(), "slices report every change in order");
    let seen = versions(&slices);
    for deploy in &reported {
        check_change(deploy, &seen[&deploy.service]);
    }
    let services: BTreeSet<&str> = reported.iter().map(|d| d.service.as_str()).collect();
    assert_eq!(services.len(), 7, "decoys of every service");
}

#[test]
fn the_guilty_change_stands_between_decoys_in_reach_and_out_of_reach() {
    let scenario = Scenario::new(Options::default());
    let rollout = scenario.timeline().rollout.start;
    let deploys = scenario.deploys();
    let minutes = |service: &str| -> Vec<i64> {
        let of_service = deploys.iter().filter(|deploy| deploy.service == service);
        of_service.map(|deploy| (deploy.time_unix_nano - rollout) / MINUTE).collect()
    };
    assert_eq!(minutes("inventory-service")[1..], [0, 24]);
    assert!(minutes("payment").contains(&-120));
    assert_eq!(minutes("auth"), [-45, 33]);
    assert!(minutes("recommendation").contains(&-7) && minutes("search").contains(&2));
    assert!(minutes("checkout").iter().all(|minute| *minute < -24 * 60));
    let timeline = scenario.timeline();
    assert_eq!((timeline.alert - rollout) / MINUTE, 16);
}

#[test]
fn a_scenario_can_be_moved_to_end_at_an_instant() {
    let end = 1_800_000_000_123_456_789;
    for variant in Variant::ALL {
        let scenario = Scenario::new(Options::new(variant).ending_by(end));
        let timeline = scenario.timeline();
        assert!(timeline.end <= end && end - timeline.end < MINUTE);
        assert_eq!(timeline.end % MINUTE, 0);
        assert_eq!(timeline.end - timeline.start, 8 * 24 * 60 * MINUTE);
    }
}

#[test]
fn the_default_rollout_is_at_10_31() {
    let scenario = Scenario::new(Options::default());
    assert_eq!(
        scenario.timeline().rollout.start.rem_euclid(24 * 60 * MINUTE),
        (10 * 60 + 31) * MINUTE
    );
}

/// Ids computed apart from this code: SHA-256 over the parts, each after its length as eight bytes,
/// little-endian.
#[test]
fn a_deploy_has_the_id_that_its_fields_give() {
    let deploy = Deploy {
        service: "inventory-service".to_owned(),
        version: "2.4.0".to_owned(),
        previous_version: "2.3.7".to_owned(),
        environment: "production".to_owned(),
        kind: "deploy".to_owned(),
        time_unix_nano: 1_773_225_060_000_000_000,
        end_unix_nano: 1_773_225_240_000_000_000,
        commit: String::new(),
        url: String::new(),
        description: String::new(),
    };
    assert_eq!(deploy.id(), "50f3949d1416b175");
}
