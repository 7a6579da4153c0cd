//! Parameters of senders.

use upriver_store::time::UnixNanos;

use super::{PprofUpload, ProfileEntry};
use crate::DecodeErrorKind;
use crate::pprof::Folding;

fn upload(pairs: &[(&str, &str)]) -> PprofUpload {
    PprofUpload::from_query(pairs.iter().copied()).unwrap()
}

fn labels(upload: &PprofUpload) -> Vec<(&str, &str)> {
    upload.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

#[test]
fn pyroscopes_parameters_are_read() {
    // As @pyroscope/nodejs sends them.
    let found = upload(&[
        ("format", "pprof"),
        ("from", "1763696000123"),
        ("until", "1763696010123"),
        ("name", "checkout{region=eu,version=1.4.2}"),
        ("spyName", "nodespy"),
        ("sampleRate", "100"),
        ("units", "samples"),
    ]);
    assert_eq!(found.service, "checkout");
    assert_eq!(
        labels(&found),
        [("region", "eu"), ("service.version", "1.4.2"), ("spy_name", "nodespy")]
    );
    assert_eq!(found.from, Some(UnixNanos(1_763_696_000_123_000_000)));
    assert_eq!(found.until, Some(UnixNanos(1_763_696_010_123_000_000)));
    assert_eq!(found.sample_rate, 100);
}

#[test]
fn plain_parameters_win_over_the_name() {
    let found = upload(&[
        ("service", "cart"),
        ("version", "2"),
        ("environment", "prod"),
        ("instance", "a"),
        ("name", "app.cpu{version=1,service_name=other}"),
    ]);
    assert_eq!(found.service, "cart");
    assert_eq!(
        labels(&found),
        [
            ("app_name", "app"),
            ("deployment.environment.name", "prod"),
            ("service.instance.id", "a"),
            ("service.version", "2"),
            ("type", "cpu")
        ]
    );
}

#[test]
fn a_label_names_the_service() {
    let found = upload(&[("name", r#"{service_name="cart", deployment_environment="x"}"#)]);
    assert_eq!(found.service, "cart");
    assert_eq!(labels(&found), [("deployment.environment.name", "x")]);
}

#[test]
fn the_unit_of_an_instant_is_told_by_its_size() {
    let nanos = 1_763_696_000_000_000_000;
    for (text, expected) in [
        ("1763696000", nanos),
        ("1763696000000", nanos),
        ("1763696000000000", nanos),
        ("1763696000000000000", nanos),
        ("2025-11-21T03:33:20Z", nanos),
        ("2025-11-21T04:33:20+01:00", nanos),
        ("99999999999", 0), // the year 5138 in seconds: more than an instant holds
    ] {
        let found = PprofUpload::from_query([("service", "a"), ("time", text)]);
        match found {
            Ok(found) => assert_eq!(found.from, Some(UnixNanos(expected)), "{text}"),
            Err(error) => assert_eq!(expected, 0, "{error}"),
        }
    }
    assert_eq!(upload(&[("service", "a"), ("from", "0"), ("until", "")]).from, None);
}

#[test]
fn bad_parameters_are_named() {
    let check = |pairs: &[(&str, &str)], expected: &str| {
        let error = PprofUpload::from_query(pairs.iter().copied()).unwrap_err();
        assert!(error.to_string().contains(expected), "`{error}` has no `{expected}`");
        error.kind()
    };
    let invalid = DecodeErrorKind::InvalidArgument;
    assert_eq!(check(&[], "no service is named"), invalid);
    assert_eq!(check(&[("name", "{a=b}")], "no service is named"), invalid);
    assert_eq!(check(&[("name", "app{a=b")], "`}` is missing"), invalid);
    assert_eq!(check(&[("service", "a"), ("from", "now-1h")], "from=\"now-1h\""), invalid);
    assert_eq!(check(&[("service", "a"), ("until", "-5")], "until=\"-5\""), invalid);
    assert_eq!(check(&[("service", "a"), ("from", "20"), ("until", "10")], "before"), invalid);
    assert_eq!(check(&[("service", "a"), ("sampleRate", "1e2")], "sampleRate"), invalid);
    let unsupported = DecodeErrorKind::Unsupported;
    assert_eq!(check(&[("format", "jfr"), ("service", "a")], "JFR"), unsupported);
    assert_eq!(check(&[("format", "trie"), ("service", "a")], "\"trie\""), unsupported);
}

#[test]
fn stacks_as_text_are_asked_for_by_name() {
    for (format, folding) in [
        ("pprof", None),
        ("folded", Some(Folding::Folded)),
        ("collapsed", Some(Folding::Folded)),
        ("groups", Some(Folding::Folded)),
        ("lines", Some(Folding::Lines)),
    ] {
        let upload = PprofUpload::from_query([("service", "a"), ("format", format)]).unwrap();
        assert_eq!(upload.folding, folding, "{format}");
    }
}

#[test]
fn a_line_of_a_case_is_read() {
    let line = r#"{"file":"profiles/a.pb.gz","service":"cart","version":"2","type":"cpu",
        "time_unix_nano":"1763696000000000000","duration_nano":10000000000,
        "labels":{"env":"prod","zone":"b"},"more":1}"#;
    let entry = ProfileEntry::from_json(line).unwrap();
    assert_eq!(entry.file, "profiles/a.pb.gz");
    assert_eq!(entry.upload.service, "cart");
    assert_eq!(
        labels(&entry.upload),
        [
            ("deployment.environment.name", "prod"),
            ("service.version", "2"),
            ("type", "cpu"),
            ("zone", "b")
        ]
    );
    assert_eq!(entry.upload.from, Some(UnixNanos(1_763_696_000_000_000_000)));
    assert_eq!(entry.upload.until, Some(UnixNanos(1_763_696_010_000_000_000)));
    let bare = ProfileEntry::from_json(r#"{"file":"a","service":"b"}"#).unwrap();
    assert_eq!((bare.upload.from, bare.upload.until), (None, None));
    for bad in ["", "[]", r#"{"file":"a"}"#, r#"{"file":"a","service":"b","duration_nano":"x"}"#] {
        let error = ProfileEntry::from_json(bad).unwrap_err().to_string();
        assert!(error.contains("profiles.jsonl"), "{error}");
    }
}
