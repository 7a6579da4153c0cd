//! Generated incidents are the same for the same seed, and their labels are true of their data.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use upriver_testdata::incidents::{Attributes, Family, Incident, Label, Options};
use upriver_testdata::scenario::Deploy;

/// A case a tenth as large as usual.
fn small(family: Family, seed: u64) -> Options {
    Options { size: 0.1, ..Options::new(family, seed) }
}

struct Case {
    _folder: tempfile::TempDir,
    path: PathBuf,
    label: Label,
    spans: Vec<(String, Span)>,
}

fn case(options: Options) -> Case {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_path_buf();
    let (summary, label) = Incident::new(options).write_case(&path).unwrap();
    let spans = spans(&path);
    assert_eq!(summary.spans, spans.len());
    Case { _folder: folder, path, label, spans }
}

/// Every span with its service.
fn spans(folder: &Path) -> Vec<(String, Span)> {
    let file = File::open(folder.join("traces.jsonl.zst")).unwrap();
    let lines = BufReader::new(zstd::Decoder::new(file).unwrap()).lines();
    let requests = lines
        .map(|line| serde_json::from_str::<ExportTraceServiceRequest>(&line.unwrap()).unwrap());
    let mut spans = Vec::new();
    for resource in requests.flat_map(|request| request.resource_spans) {
        let service = text(&resource.resource.unwrap().attributes, "service.name").unwrap();
        let of_scopes = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.extend(of_scopes.map(|span| (service.clone(), span)));
    }
    spans
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.as_ref()?.value.as_ref()
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    match value(attributes, key)? {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

fn number(attributes: &[KeyValue], key: &str) -> Option<i64> {
    match value(attributes, key)? {
        Value::IntValue(number) => Some(*number),
        _ => None,
    }
}

fn start(span: &Span) -> i64 {
    span.start_time_unix_nano.cast_signed()
}

fn duration(span: &Span) -> f64 {
    (span.end_time_unix_nano - span.start_time_unix_nano) as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    assert!(values.len() > 5, "{} values", values.len());
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Median of the healthy and of the slow spans that give a value.
fn sides(case: &Case, pick: impl Fn(&(String, Span)) -> Option<f64>) -> (f64, f64) {
    let label = &case.label;
    let [from, until] = label.baseline_window_unix_nano;
    let onset = label.onset_unix_nano.unwrap_or(until);
    let side = |from: i64, until: i64| {
        let within = case.spans.iter().filter(|(_, span)| (from..until).contains(&start(span)));
        median(within.filter_map(&pick).collect())
    };
    (side(from, until), side(onset + 120_000_000_000, label.diagnose_at_unix_nano))
}

/// Time of a service's server spans that no child of theirs covers; calls of a step overlap, so this
/// is an estimate from below.
fn own_times(case: &Case, service: &str) -> BTreeMap<Vec<u8>, f64> {
    let mut own: BTreeMap<Vec<u8>, f64> = BTreeMap::new();
    for (_, span) in
        case.spans.iter().filter(|(of, span)| of == service && is(span, SpanKind::Server))
    {
        own.insert(span.span_id.clone(), duration(span));
    }
    for (_, span) in
        case.spans.iter().filter(|(of, span)| of == service && is(span, SpanKind::Client))
    {
        if let Some(left) = own.get_mut(&span.parent_span_id) {
            *left -= duration(span);
        }
    }
    own
}

fn is(span: &Span, kind: SpanKind) -> bool {
    span.kind == kind as i32
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_other_ones() {
    let options = small(Family::PayloadGrowth, 5);
    let (first, second) = (case(options), case(options));
    let other = case(small(Family::PayloadGrowth, 6));
    let read = |case: &Case, name: &str| fs::read(case.path.join(name)).unwrap();
    for name in
        ["traces.jsonl.zst", "metrics.jsonl.zst", "profiles.jsonl", "deploys.jsonl", "label.json"]
    {
        assert!(read(&first, name) == read(&second, name), "{name} differs");
        assert!(read(&first, name) != read(&other, name), "{name} does not depend on the seed");
    }
    for entry in fs::read_dir(first.path.join("profiles")).unwrap() {
        let name = format!("profiles/{}", entry.unwrap().file_name().to_string_lossy());
        assert!(read(&first, &name) == read(&second, &name), "{name} differs");
    }
}

#[test]
fn every_family_generates_a_case_whose_label_fits_it() {
    for family in Family::ALL {
        let case = case(small(family, 3));
        let label = &case.label;
        assert_eq!(label.family, family.name());
        assert_eq!(Family::named(family.name()), Some(family));
        assert_eq!(label.onset_unix_nano.is_some(), !family.is_healthy(), "{}", family.name());
        assert_eq!(label.symptom.is_some(), !family.is_healthy(), "{}", family.name());
        assert_eq!(label.expected.root_cause.is_some(), !family.is_healthy(), "{}", family.name());
        if let Some(symptom) = &label.symptom {
            let is_it = |(service, span): &&(String, Span)| {
                *service == symptom.service && span.name == symptom.operation
            };
            assert!(case.spans.iter().filter(is_it).count() > 20, "{}", family.name());
            let effect = label.effect.unwrap();
            assert!(effect.ratio > 1.05, "{}: {effect:?}", family.name());
        }
        changes_are_either_to_blame_or_not(&case);
    }
}

/// Every reported change is the cause or must not be blamed.
fn changes_are_either_to_blame_or_not(case: &Case) {
    let reported: BTreeSet<String> = fs::read_to_string(case.path.join("deploys.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Deploy>(line).unwrap().id())
        .collect();
    let expected = &case.label.expected;
    let to_blame = expected.root_cause.iter().filter_map(|cause| cause.deploy_id.clone());
    let named: BTreeSet<String> = expected.must_not_blame.iter().cloned().chain(to_blame).collect();
    assert_eq!(named, reported, "{}", case.label.family);
    assert!(expected.no_deploy_blame || expected.root_cause.is_some());
}

#[test]
fn the_injected_service_takes_longer_itself() {
    for (family, seed) in
        [(Family::SlowCallee, 4), (Family::LockContention, 7), (Family::FeatureFlag, 2)]
    {
        let case = case(Options { size: 0.4, ..Options::new(family, seed) });
        let service = case.label.slowed_service.clone().unwrap();
        assert_eq!(service, case.label.expected.root_cause.as_ref().unwrap().service);
        let own = own_times(&case, &service);
        let (before, now) =
            sides(&case, |(of, span)| own.get(&span.span_id).copied().filter(|_| *of == service));
        assert!(now > 1.15 * before, "{} {seed}: {before} to {now}", family.name());
    }
}

#[test]
fn the_injected_bodies_are_larger_and_those_of_a_healthy_day_are_not() {
    let grown = |family: Family| {
        let case = case(Options { size: 0.4, ..Options::new(family, 4) });
        let cause = case.label.expected.root_cause.clone();
        let (before, now) = sides(&case, |(of, span)| {
            let is_it = cause.as_ref().is_none_or(|cause| cause.service == *of);
            let size = number(&span.attributes, "http.response.body.size")? as f64;
            (is_it && is(span, SpanKind::Server)).then_some(size)
        });
        now / before
    };
    let larger = grown(Family::PayloadGrowth);
    assert!(larger > 2.0, "{larger}");
    let usual = grown(Family::HealthyDay);
    assert!((0.7..1.4).contains(&usual), "{usual}");
}

#[test]
fn the_effect_of_the_label_is_that_of_the_spans() {
    let case = case(Options { size: 0.4, ..Options::new(Family::NetworkDelay, 4) });
    let symptom = case.label.symptom.clone().unwrap();
    let effect = case.label.effect.unwrap();
    let mut found: BTreeMap<bool, Vec<f64>> = BTreeMap::new();
    let [from, until] = case.label.baseline_window_unix_nano;
    let onset = case.label.onset_unix_nano.unwrap();
    let window = case.label.window_minutes * 60_000_000_000;
    let now =
        onset.max(case.label.diagnose_at_unix_nano - window)..case.label.diagnose_at_unix_nano;
    for (service, span) in &case.spans {
        let (of, at) = (*service == symptom.service && span.name == symptom.operation, start(span));
        if of && is(span, SpanKind::Server) && ((from..until).contains(&at) || now.contains(&at)) {
            found.entry(now.contains(&at)).or_default().push(duration(span));
        }
    }
    let at = |side: bool| {
        let mut durations = found.remove(&side).unwrap();
        durations.sort_by(f64::total_cmp);
        let place = (durations.len() - 1) as f64 * effect.quantile;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small index"
        )]
        let place = place.round() as usize;
        durations[place]
    };
    let mut at = at;
    let ratio = at(true) / at(false);
    // Clocks are off by some milliseconds, so a request at the edge may be on the other side.
    assert!((ratio / effect.ratio - 1.0).abs() < 0.05, "{ratio} {effect:?}");
}

#[test]
fn sampled_traces_lie_above_the_threshold_that_they_state() {
    let mut seen = 0;
    for seed in 0..8 {
        let case = case(small(Family::HealthyDay, seed));
        for (_, span) in &case.spans {
            let Some(threshold) = span.trace_state.strip_prefix("ot=th:") else { continue };
            let threshold = u64::from_str_radix(&format!("{threshold:0<14}"), 16).unwrap();
            let mut random = [0; 8];
            random[1..].copy_from_slice(&span.trace_id[9..]);
            assert!(u64::from_be_bytes(random) >= threshold);
            seen += 1;
        }
    }
    assert!(seen > 1_000, "{seen} sampled spans");
}

#[test]
fn parents_are_in_the_case_unless_their_telemetry_was_lost() {
    let orphans = |family: Family| {
        let case = case(small(family, 9));
        let known: BTreeSet<&[u8]> = case.spans.iter().map(|(_, s)| s.span_id.as_slice()).collect();
        let has_parent = |span: &Span| !span.parent_span_id.is_empty();
        let children = case.spans.iter().filter(|(_, span)| has_parent(span));
        children.filter(|(_, span)| !known.contains(span.parent_span_id.as_slice())).count()
    };
    assert_eq!(orphans(Family::SlowCallee), 0);
    assert_eq!(orphans(Family::UninstrumentedCallee), 0);
    assert!(orphans(Family::TelemetryLoss) > 0);
}

#[test]
fn attributes_are_left_out_and_nothing_else_changes() {
    let with = |without| case(Options { without, ..small(Family::PayloadGrowth, 4) });
    let whole = with(None);
    let mentions = |case: &Case, key: &str| {
        let text = zstd::decode_all(File::open(case.path.join("traces.jsonl.zst")).unwrap());
        String::from_utf8(text.unwrap()).unwrap().matches(key).count()
    };
    for (without, key) in [
        (Attributes::PayloadSizes, "http.response.body.size"),
        (Attributes::Versions, "service.version"),
        (Attributes::Hosts, "host.name"),
    ] {
        let less = with(Some(without));
        assert!(mentions(&whole, key) > 0, "{key}");
        assert_eq!(mentions(&less, key), 0, "{key}");
        assert_eq!(less.label, whole.label);
        let times =
            |case: &Case| case.spans.iter().map(|(_, span)| start(span)).collect::<Vec<_>>();
        assert_eq!(times(&less), times(&whole), "{key}");
    }
}

/// Durations of the symptom's operation, or of the entry's busiest one, in the half hour up to an instant.
fn durations_at(case: &Case, instant: i64) -> Vec<f64> {
    let entries = || case.spans.iter().filter(|(_, span)| span.parent_span_id.is_empty());
    let within = entries().filter(|(_, span)| (instant - HOUR / 2..instant).contains(&start(span)));
    let mut durations: Vec<f64> = within.map(|(_, span)| duration(span)).collect();
    assert!(durations.len() > 20, "{} requests", durations.len());
    durations.sort_by(f64::total_cmp);
    durations
}

const HOUR: i64 = 3_600_000_000_000;
const WEEK: i64 = 7 * 24 * HOUR;

#[test]
fn last_week_is_there_where_only_it_shows_what_is_the_matter() {
    let middle = |case: &Case, instant: i64| {
        let durations = durations_at(case, instant);
        durations[durations.len() / 2]
    };
    let growing = case(Options { size: 0.3, ..Options::new(Family::SlowGrowth, 3) });
    let at = growing.label.diagnose_at_unix_nano;
    let (then, yesterday, now) =
        (middle(&growing, at - WEEK), middle(&growing, at - 24 * HOUR), middle(&growing, at));
    assert!(now / then > 1.1, "{then} {now}");
    assert!(now / yesterday < 1.0 + 0.5 * (now / then - 1.0), "{then} {yesterday} {now}");
    let in_gap =
        |(_, span): &&(String, Span)| (at - WEEK + 2 * HOUR..at - 27 * HOUR).contains(&start(span));
    assert_eq!(growing.spans.iter().filter(in_gap).count(), 0);

    let peak = case(Options { size: 0.3, ..Options::new(Family::WeeklyPeak, 3) });
    let at = peak.label.diagnose_at_unix_nano;
    let (then, before, now) =
        (middle(&peak, at - WEEK), middle(&peak, at - HOUR), middle(&peak, at));
    assert!(now / before > 1.05, "{before} {now}");
    assert!((0.8..1.25).contains(&(now / then)), "{then} {now}");
}

#[test]
fn requests_that_differ_in_work_scatter_more() {
    let spread = |scatter: f64| {
        let options = Options { size: 0.3, scatter, ..Options::new(Family::HealthyDay, 3) };
        let case = case(options);
        let durations = durations_at(&case, case.label.diagnose_at_unix_nano);
        durations[durations.len() * 9 / 10] / durations[durations.len() / 2]
    };
    let (usual, scattered) = (spread(0.0), spread(0.8));
    assert!(usual < 1.7 && scattered > 1.3 * usual, "{usual} {scattered}");
}
