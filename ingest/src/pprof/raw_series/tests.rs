//! What a small call may not unfold to.

use super::*;
use crate::DecodeErrorKind;

const RECEIVED: UnixNanos = UnixNanos(1);

fn label(name: &str, value: &str) -> Label {
    Label { name: name.to_owned(), value: value.to_owned() }
}

fn pyroscope(labels: Vec<Label>, samples: usize) -> PyroscopePush {
    let samples = vec![RawSample::default(); samples];
    PyroscopePush { series: vec![PyroscopeSeries { labels, samples }] }
}

fn refused<T>(result: Result<T, DecodeError>, expected: &str) {
    let error = result.err().unwrap();
    assert_eq!(error.kind(), DecodeErrorKind::TooLarge, "{error}");
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn the_same_records_in_both_dialects_and_forms() {
    let labels = vec![label("job", "cart"), label("version", "2")];
    let push = pyroscope(labels.clone(), 2);
    let samples = vec![RawSample::default(); 2];
    let parca = ParcaSeries { labels: Some(LabelSet { labels }), samples };
    let parca = ParcaWriteRaw { series: vec![parca] };
    let json = r#"{"series": [{"labels": [{"name": "job", "value": "cart"}, {"name": "version", "value": "2"}], "samples": [{}, {}]}]}"#;
    let payloads = |records: Vec<LogRecord>| -> Vec<Bytes> {
        records.into_iter().map(|record| record.payload).collect()
    };
    let expected = payloads(records(push.clone(), RECEIVED).unwrap());
    assert_eq!(expected.len(), 2);
    for found in [
        from_protobuf::<PyroscopePush>(push.encode_to_vec().into(), RECEIVED),
        from_protobuf::<ParcaWriteRaw>(parca.encode_to_vec().into(), RECEIVED),
        from_json::<PyroscopePush>(json.as_bytes(), RECEIVED),
    ] {
        assert_eq!(payloads(found.unwrap()), expected);
    }
}

#[test]
fn more_empty_entries_than_memory_is_there_for_are_refused() {
    let series = [0x0a, 0x00].repeat(ENTRIES_MAX + 1);
    refused(from_protobuf::<PyroscopePush>(series.clone().into(), RECEIVED), "1048577 entries");
    // Labels inside the set of labels of a series.
    let mut message = series;
    for tag in [0x0a, 0x12] {
        let mut outer = vec![tag];
        prost::encoding::encode_varint(message.len() as u64, &mut outer);
        outer.append(&mut message);
        message = outer;
    }
    refused(from_protobuf::<ParcaWriteRaw>(message.into(), RECEIVED), "1048579 entries");
    for entry in ["{},", "[],"] {
        let json = format!("{{\"series\": [{}{{}}]}}", entry.repeat(ENTRIES_MAX));
        refused(from_json::<PyroscopePush>(json.as_bytes(), RECEIVED), "entries, at most");
    }
}

#[test]
fn labels_that_every_profile_would_repeat_are_refused() {
    let labels = vec![label("text", &"x".repeat(LABELS_BYTES_MAX / PROFILES_MAX))];
    refused(records(pyroscope(labels.clone(), PROFILES_MAX), RECEIVED), "its labels would take");
    assert_eq!(records(pyroscope(labels, PROFILES_MAX / 2), RECEIVED).unwrap().len(), 5_000);
}

#[test]
fn more_profiles_than_one_call_may_have_are_refused() {
    let push = pyroscope(Vec::new(), PROFILES_MAX + 1);
    refused(records(push, RECEIVED), "10001 profiles");
}
