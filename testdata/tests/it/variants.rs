//! Variants differ from the incident only in what they are about, and the same seed gives the same
//! bytes.

use crate::observed::{self, MINUTE, service, start, text, version};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::hash::{DefaultHasher, Hash, Hasher};
use upriver_testdata::scenario::{Options, Scenario, Slice, Variant};

fn digest(options: Options) -> u64 {
    let mut hash = DefaultHasher::new();
    for slice in Scenario::new(options).slices() {
        slice.traces.iter().for_each(|request| request.encode_to_vec().hash(&mut hash));
        slice.metrics.iter().for_each(|request| request.encode_to_vec().hash(&mut hash));
        for profile in slice.profiles {
            profile.bytes.hash(&mut hash);
            serde_json::to_string(&profile.entry).unwrap().hash(&mut hash);
        }
        serde_json::to_string(&slice.deploys).unwrap().hash(&mut hash);
    }
    hash.finish()
}

#[test]
fn the_seed_alone_decides_the_bytes() {
    let options = Options::default();
    let first = digest(options);
    assert_eq!(first, digest(options));
    assert_ne!(first, digest(Options { seed: options.seed + 1, ..options }));
}

/// Runs a check over the slices of the incident and of a variant, side by side.
fn side_by_side(variant: Variant, mut check: impl FnMut(&Slice, &Slice)) {
    let (incident, other) =
        (Scenario::new(Options::default()), Scenario::new(Options::new(variant)));
    let (mut ours, mut theirs) = (incident.slices(), other.slices());
    loop {
        match (ours.next(), theirs.next()) {
            (Some(ours), Some(theirs)) => {
                assert_eq!(ours.start_unix_nano, theirs.start_unix_nano);
                check(&ours, &theirs);
            }
            (None, None) => return,
            _ => panic!("one scenario is longer"),
        }
    }
}

fn assert_same(ours: &Slice, theirs: &Slice) {
    assert_eq!(ours.traces, theirs.traces);
    assert_eq!(ours.metrics, theirs.metrics);
    assert_eq!(ours.profiles, theirs.profiles);
    assert_eq!(ours.deploys, theirs.deploys);
}

/// All spans of a slice by their ids: exports may be cut differently.
fn sorted(slice: &Slice) -> Vec<&Span> {
    let mut spans: Vec<&Span> = observed::spans(&slice.traces).map(|(_, span)| span).collect();
    spans.sort_by(|a, b| a.span_id.cmp(&b.span_id));
    spans
}

#[test]
fn nested_allocation_differs_in_the_stacks_of_profiles_alone() {
    let mut changed = 0;
    side_by_side(Variant::NestedAllocation, |ours, theirs| {
        assert_eq!(ours.traces, theirs.traces);
        assert_eq!(ours.metrics, theirs.metrics);
        assert_eq!(ours.deploys, theirs.deploys);
        assert_eq!(ours.profiles.len(), theirs.profiles.len());
        for (a, b) in ours.profiles.iter().zip(&theirs.profiles) {
            assert_eq!(a.entry, b.entry);
            changed += usize::from(a.bytes != b.bytes);
        }
    });
    assert!(changed > 400, "{changed} profiles differ");
}

#[test]
fn a_deploy_without_inflation_is_the_incident_until_the_rollout_and_healthy_after() {
    let rollout = Scenario::new(Options::default()).timeline().rollout.start;
    side_by_side(Variant::DeployWithoutInflation, |ours, theirs| {
        if ours.end_unix_nano <= rollout {
            return assert_same(ours, theirs);
        }
        for (a, b) in sorted(ours).into_iter().zip(sorted(theirs)) {
            assert_eq!((&a.trace_id, &a.span_id, &a.name), (&b.trace_id, &b.span_id, &b.name));
        }
        let large = observed::spans(&theirs.traces)
            .filter_map(|(_, span)| observed::int(&span.attributes, "http.response.body.size"));
        assert!(large.max().unwrap() < 20_000);
        let versions = observed::spans(&theirs.traces)
            .filter(|(resource, _)| service(resource) == "inventory-service")
            .map(|(resource, _)| version(resource));
        if ours.start_unix_nano >= rollout + 3 * MINUTE {
            versions.for_each(|version| assert_eq!(version, "2.4.0"));
        }
    });
}

#[test]
fn inflation_without_a_deploy_differs_in_what_inventory_says_it_is() {
    let rollout = Scenario::new(Options::default()).timeline().rollout.start;
    let mut renamed = 0;
    side_by_side(Variant::InflationWithoutDeploy, |ours, theirs| {
        assert_eq!(ours.metrics, theirs.metrics);
        assert_eq!(ours.profiles, theirs.profiles);
        assert_eq!(sorted(ours), sorted(theirs));
        let of_others = |slice: &Slice| {
            let mut deploys = slice.deploys.clone();
            deploys.retain(|d| d.service != "inventory-service" || d.time_unix_nano < rollout);
            deploys
        };
        assert_eq!(of_others(ours), theirs.deploys);
        for (resource, _) in observed::spans(&theirs.traces) {
            assert!(version(resource) != "2.4.0");
        }
        renamed += usize::from(ours.traces != theirs.traces);
    });
    assert!(renamed > 20, "{renamed} slices differ");
}

#[test]
fn hostile_names_change_names_alone() {
    let times = |slice: &Slice| -> Vec<_> {
        let shape = |s: &Span| {
            (s.trace_id.clone(), s.parent_span_id.clone(), start(s), s.end_time_unix_nano)
        };
        sorted(slice).into_iter().map(shape).collect()
    };
    side_by_side(Variant::HostileNames, |ours, theirs| {
        assert_eq!(times(ours), times(theirs));
        let bytes = |slice: &Slice| -> Vec<_> {
            slice.profiles.iter().map(|profile| profile.bytes.clone()).collect()
        };
        assert_eq!(bytes(ours), bytes(theirs));
        for (resource, _) in observed::spans(&theirs.traces) {
            assert!(text(&resource.attributes, "k8s.pod.name").unwrap().is_ascii());
        }
    });
}

#[test]
fn hostile_names_carry_every_kind_of_syntax_into_the_verdict() {
    let label = Scenario::new(Options::new(Variant::HostileNames)).label();
    let symptom = label.symptom.unwrap();
    let cause = label.expected.root_cause.unwrap();
    let all = format!("{}{}{}", symptom.service, symptom.operation, cause.service);
    for syntax in ["\"", "'", "\n", "\u{1b}[", "$(", "DROP TABLE", "--", "|", "<script>", "#", "@"]
    {
        assert!(all.contains(syntax), "{syntax:?} is missing in {all:?}");
    }
}

#[test]
fn inflation_before_the_deploy_begins_an_hour_before_it() {
    let scenario = Scenario::new(Options::new(Variant::InflationBeforeDeploy));
    let timeline = *scenario.timeline();
    let onset = timeline.inflation.unwrap().start;
    assert_eq!(timeline.rollout.start - onset, 60 * MINUTE);
    assert!(scenario.deploys().iter().any(|deploy| {
        deploy.service == "inventory-service" && deploy.time_unix_nano == timeline.rollout.start
    }));
    for slice in scenario.slices().skip_while(|slice| slice.end_unix_nano <= timeline.busy_start) {
        for (_, span) in observed::spans(&slice.traces).filter(|(_, s)| s.name == "inventory_check")
        {
            let bytes = observed::int(&span.attributes, "http.response.body.size").unwrap();
            let is_settled = start(span) >= onset + 2 * MINUTE;
            assert!(if is_settled {
                bytes > 40_000
            } else {
                start(span) >= onset || bytes < 20_000
            });
        }
    }
}
