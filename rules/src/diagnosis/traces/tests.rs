//! Critical paths and parts of small traces.

use super::critical_path::{self_times, total};
use super::{Place, RawSpan, Sample, parts, sampled_of, trace};
use crate::diagnosis::signal::Operation;
use crate::time::{MINUTE, Time, Window};

/// `(id, parent, service, name, kind, start, end)`.
type Line<'a> = (i64, i64, &'a str, &'a str, &'a str, i64, i64);

fn operation(service: &str, span_name: &str, span_kind: &str) -> Operation {
    Operation {
        service: service.to_owned(),
        span_name: span_name.to_owned(),
        span_kind: span_kind.to_owned(),
    }
}

fn sample(lines: &[Line<'_>]) -> Sample {
    let raw: Vec<RawSpan> = lines
        .iter()
        .map(|(id, parent, service, name, kind, start, end)| RawSpan {
            trace_id: vec![1],
            span_id: *id,
            parent: (*parent != 0).then_some(*parent),
            operation: operation(service, name, kind),
            peer: None,
            system: None,
            place: Place::default(),
            has_failed: false,
            start: *start,
            duration: end - start,
        })
        .collect();
    let mut sample = Sample::default();
    let symptom = operation("shop", "POST /checkout", "SERVER");
    let is_root = |span: &RawSpan| span.operation == symptom;
    sample.traces.extend(trace(&raw, is_root, &mut sample.groups));
    sample
}

fn check(lines: &[Line<'_>], expected: &[(&str, &str, i64)]) {
    let sample = sample(lines);
    let times = self_times(&sample);
    let shown: Vec<_> = times
        .iter()
        .filter(|(_, time)| **time != 0)
        .map(|((service, name), time)| (service.as_str(), name.as_str(), *time))
        .collect();
    assert_eq!(shown, expected);
    assert_eq!(times.values().sum::<i64>(), total(&sample), "self times add up");
}

const ROOT: Line<'static> = (1, 0, "shop", "POST /checkout", "SERVER", 0, 100);

#[test]
fn parallel_children_count_by_the_one_that_was_waited_for() {
    check(
        &[
            ROOT,
            (2, 1, "shop", "auth", "INTERNAL", 5, 15),
            (3, 1, "shop", "stock", "CLIENT", 20, 80),
            (4, 1, "shop", "order", "INTERNAL", 20, 50),
            (5, 3, "stock", "GET /stock", "SERVER", 30, 70),
        ],
        &[
            ("shop", "POST /checkout", 30),
            ("shop", "auth", 10),
            ("shop", "stock", 20),
            ("stock", "GET /stock", 40),
        ],
    );
}

#[test]
fn another_clock_is_corrected_and_time_still_adds_up() {
    check(
        &[
            ROOT,
            (2, 1, "shop", "stock", "CLIENT", 20, 80),
            (3, 2, "stock", "GET /stock", "SERVER", 1020, 1060),
            (4, 3, "stock", "db", "CLIENT", 1030, 1050),
        ],
        &[
            ("shop", "POST /checkout", 40),
            ("shop", "stock", 20),
            ("stock", "GET /stock", 20),
            ("stock", "db", 20),
        ],
    );
}

#[test]
fn circles_consumers_and_overhanging_children_do_not_break_the_sum() {
    check(
        &[
            (1, 3, "shop", "POST /checkout", "SERVER", 0, 100),
            (2, 1, "shop", "work", "INTERNAL", 60, 140),
            (3, 2, "shop", "deep", "INTERNAL", 70, 90),
            (4, 1, "mail", "send", "CONSUMER", 10, 5000),
        ],
        &[("shop", "POST /checkout", 60), ("shop", "deep", 20), ("shop", "work", 20)],
    );
}

#[test]
fn both_sides_of_a_call_may_share_a_span_id() {
    check(
        &[
            ROOT,
            (2, 1, "shop", "stock", "CLIENT", 20, 80),
            (2, 1, "stock", "GET /stock", "SERVER", 30, 70),
            (3, 2, "stock", "read", "INTERNAL", 40, 60),
        ],
        &[
            ("shop", "POST /checkout", 40),
            ("shop", "stock", 20),
            ("stock", "GET /stock", 20),
            ("stock", "read", 20),
        ],
    );
}

#[test]
fn parts_are_the_innermost_local_spans_with_their_callees() {
    let sample = sample(&[
        ROOT,
        (2, 1, "shop", "handler", "INTERNAL", 1, 99),
        (3, 2, "shop", "stock", "CLIENT", 20, 80),
        (4, 3, "stock", "GET /stock", "SERVER", 30, 70),
        (5, 2, "shop", "render", "INTERNAL", 80, 98),
    ]);
    let found = parts(&[&sample], "shop");
    let names: Vec<_> = found
        .iter()
        .map(|part| (part.operation.span_name.as_str(), part.peer.as_deref()))
        .collect();
    assert_eq!(names, [("render", None), ("stock", Some("stock"))]);
}

#[test]
fn an_hour_with_traces_by_far_enough_is_sampled_at_its_end() {
    let minutes = |from: i64, to: i64| Window::new(Time::of(from * MINUTE), Time::of(to * MINUTE));
    let (hour, quarter) = (minutes(0, 60), minutes(45, 60));
    assert_eq!(sampled_of(hour, 15 * MINUTE, 7_999), hour, "1,999 in a quarter of it");
    assert_eq!(sampled_of(hour, 15 * MINUTE, 8_000), quarter);
    assert_eq!(sampled_of(quarter, 60 * MINUTE, 1_000_000), quarter, "it is shorter already");
    assert_eq!(sampled_of(minutes(0, 0), 15 * MINUTE, 0), minutes(0, 0));
}
