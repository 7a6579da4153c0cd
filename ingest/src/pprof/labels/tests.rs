//! Labels and span links.

use super::SampleLabels;
use crate::pprof::message::Label;
use crate::pprof::tables::Texts;
use crate::pprof::tests::Build;

enum Value {
    Text(&'static str),
    Number(i64, &'static str),
}
use Value::{Number, Text};

fn read(labels: &[(&str, Value)], check: impl FnOnce(&SampleLabels<'_>)) {
    let mut build = Build::new(&[("samples", "count")]);
    let labels: Vec<Label> = labels
        .iter()
        .map(|(key, value)| {
            let key = build.text(key);
            match value {
                Text(text) => Label { key, str: build.text(text), ..Label::default() },
                Number(num, unit) => {
                    Label { key, num: *num, num_unit: build.text(unit), ..Label::default() }
                }
            }
        })
        .collect();
    let texts = Texts::new(&build.profile).unwrap();
    check(&SampleLabels::new(&labels, &texts));
}

fn check(labels: &[(&str, Value)], expected: &[(&str, &str)]) {
    read(labels, |found| {
        let found: Vec<_> = found.labels.iter().map(|(k, v)| (k.as_ref(), v.as_ref())).collect();
        assert_eq!(found, expected);
    });
}

#[test]
fn texts_and_numbers_become_text() {
    check(&[("b", Text("x")), ("a", Number(512, ""))], &[("a", "512"), ("b", "x")]);
    check(&[("size", Number(3, "kilobytes"))], &[("size", "3"), ("size.unit", "kilobytes")]);
    check(&[("thread_id", Number(0, ""))], &[("thread_id", "0")]);
    check(&[("tag", Text("a")), ("tag", Text("b"))], &[("tag", "a,b")]);
    check(&[("", Text("a"))], &[]);
}

#[test]
fn ids_of_spans_become_links() {
    let id = "00f067aa0ba902b7";
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    read(&[("span_id", Text(id)), ("trace_id", Text(trace)), ("x", Text("y"))], |labels| {
        assert_eq!(labels.span_id, Some(0x00f0_67aa_0ba9_02b7));
        assert_eq!(labels.trace_id.unwrap()[..3], [0x4b, 0xf9, 0x2f]);
        assert_eq!(labels.labels.len(), 1);
    });
    read(&[("span_id", Text("ff00000000000001"))], |labels| {
        assert_eq!(labels.span_id, Some(0xff00_0000_0000_0001_u64.cast_signed()));
    });
    read(&[("span_id", Number(-7, ""))], |labels| assert_eq!(labels.span_id, Some(-7)));
}

#[test]
fn what_is_no_id_stays_a_label() {
    let zeros = "0000000000000000";
    for text in [zeros, "00f067aa0ba902b", "00f067aa0ba902bg", "+0f067aa0ba902b7"] {
        read(&[("span_id", Text(text))], |labels| {
            assert_eq!((labels.span_id, labels.labels.len()), (None, 1), "{text}");
        });
    }
    read(&[("trace_id", Text(zeros))], |labels| assert_eq!(labels.trace_id, None));
}
