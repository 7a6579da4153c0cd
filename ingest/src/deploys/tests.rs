use super::*;
use crate::DecodeErrorKind;
use crate::rows::tests::cells;

pub(super) const RECEIVED: UnixNanos = UnixNanos(1_795_226_603_510_000_123);

fn rows(body: &str, columns: &[&str]) -> Vec<String> {
    let decoded = decode(body.as_bytes(), RECEIVED).unwrap();
    let rows = cells(&decoded, Table::Deploys, columns);
    assert_eq!((decoded.accepted, decoded.rejected), (rows.len() as u64, 0));
    rows
}

/// The rows of what was translated, as after the log.
pub(super) fn stored(translated: &Translated, columns: &[&str]) -> Vec<String> {
    let decoded = decode_translated(translated);
    cells(&decoded, Table::Deploys, columns)
}

fn decode_translated(translated: &Translated) -> Decoded {
    if translated.changes == 0 {
        assert!(translated.body.is_empty(), "{translated:?}");
        return Decoded::default();
    }
    let decoded = decode(&translated.body, RECEIVED).unwrap();
    assert_eq!((decoded.accepted, decoded.rejected), (translated.changes as u64, 0));
    decoded
}

const COLUMNS: [&str; 13] = [
    "start_unix_nano",
    "service_name",
    "kind",
    "source",
    "end_unix_nano",
    "service_version",
    "previous_version",
    "deployment_environment_name",
    "commit",
    "url",
    "description",
    "received_unix_nano",
    "attributes",
];

#[test]
fn fields_land_in_their_columns() {
    let body = r#"{"service": "inventory-service", "version": "2.4.0", "previous_version": "2.3.9",
        "environment": "production", "kind": "rollback", "time_unix_nano": 1795225903510000001,
        "end_unix_nano": "1795225963510000002", "commit": "abc", "url": "https://ci/1",
        "description": "d", "team": "supply", "attributes": {"pr": 17, "labels": ["a"], "none": null}}"#;
    assert_eq!(
        rows(body, &COLUMNS),
        [
            "1795225903510000001 | inventory-service | rollback | explicit | 1795225963510000002 | 2.4.0 \
          | 2.3.9 | production | abc | https://ci/1 | d | 1795226603510000123 \
          | {labels: [\"a\"], pr: 17, team: supply}"
        ]
    );
    let id = deploy_id(
        "inventory-service",
        "production",
        "rollback",
        "2.4.0",
        1_795_225_903_510_000_001,
    );
    assert_eq!(
        rows(body, &["id", "date", "time"]),
        [format!("{id} | 2026-11-21 | 2026-11-21T01:51:43.510Z")]
    );
}

#[test]
fn a_service_is_enough() {
    assert_eq!(
        rows(r#"{"service": "cart", "version": ""}"#, &COLUMNS),
        ["1795226603510000123 | cart | deploy | explicit | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ \
          | 1795226603510000123 | {}"]
    );
}

#[test]
fn friendly_forms_are_taken() {
    for (one, other) in [
        (r#""time": "2026-11-21T01:11:43Z""#, r#""time_unix_nano": 1795223503000000000"#),
        (r#""time": "2026-11-21T02:11:43+01:00""#, r#""start_time": "2026-11-21T01:11:43Z""#),
        (r#""end_time": "2026-11-21T02:00:00.5Z""#, r#""end_unix_nano": "1795226400500000000""#),
        (
            r#""time": "2026-11-21T01:11:43Z", "time_unix_nano": 1795223503000000007"#,
            r#""time_unix_nano": 1795223503000000007"#,
        ),
        (r#""version": 42"#, r#""version": "42""#),
        (r#""revision": "r7""#, r#""service.version": "r7""#),
        (r#""env": "prod""#, r#""deployment.environment.name": "prod""#),
        (r#""message": "m""#, r#""description": "m""#),
        (r#""id": "0123456789abcdef", "source": "explicit""#, r#""kind": "deploy""#),
    ] {
        let early = r#""service": "s", "time_unix_nano": 1795220000000000000"#;
        let start = if one.contains("time\"") && !one.contains("end") || one.contains("time_unix") {
            r#""service": "s""#
        } else {
            early
        };
        let body = |field: &str| format!("{{{start}, {field}}}");
        assert_eq!(rows(&body(one), &COLUMNS), rows(&body(other), &COLUMNS), "{one}");
    }
}

#[test]
fn an_end_without_a_start_is_taken_for_both() {
    let columns = ["start_unix_nano", "end_unix_nano", "id"];
    let id = deploy_id("s", "", "deploy", "2", 1_795_223_503_000_000_000);
    assert_eq!(
        rows(r#"{"service": "s", "version": "2", "end": "2026-11-21T01:11:43Z"}"#, &columns),
        [format!("1795223503000000000 | 1795223503000000000 | {id}")]
    );
}

#[test]
fn no_change_ends_before_it_starts() {
    let body = r#"{"service": "s", "time": "2026-11-21T00:00:00Z", "end": "2026-11-20T00:00:00Z"}"#;
    let error = decode(body.as_bytes(), RECEIVED).unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::InvalidArgument);
    assert!(error.to_string().contains("before it starts"), "{error}");
}

#[test]
fn start_and_end_of_a_rollout_are_one_change() {
    let event = |more: &str| {
        format!(
            r#"{{"service": "s", "version": "2", "environment": "prod", "time": "2026-11-21T01:11:43Z"{more}}}"#
        )
    };
    let started = rows(&event(r#", "previous_version": "1", "commit": "abc""#), &["id"]);
    let ended = rows(&event(r#", "end": "2026-11-21T01:15:00Z", "url": "https://ci/1""#), &["id"]);
    assert_eq!(started, ended);
    for other in [r#", "kind": "rollback""#, r#", "time_unix_nano": 1795223503000000001"#] {
        assert_ne!(rows(&event(other), &["id"]), started, "{other}");
    }
}

#[test]
fn settings_and_flags_have_a_revision() {
    let columns = ["kind", "service_version", "previous_version", "attributes"];
    let body = r#"[{"service": "cart", "kind": "config", "revision": "cm-17", "previous_version": "cm-16"},
        {"service": "cart", "kind": "feature_flag", "revision": 42,
         "attributes": {"feature_flag.key": "new-basket", "feature_flag.result.variant": "on"}}]"#;
    assert_eq!(
        rows(body, &columns),
        [
            "config | cm-17 | cm-16 | {}",
            "feature_flag | 42 | ∅ | {feature_flag.key: new-basket, feature_flag.result.variant: on}",
        ]
    );
    for (body, expected) in [
        (
            r#"{"service": "s", "kind": "config", "revision": "1", "version": "2"}"#,
            "`version` and `revision` differ; send one of them",
        ),
        (r#"{"service": "s", "kind": "feature-flag"}"#, "did you mean `feature_flag`?"),
        (r#"{"service": "s", "kind": "configuration"}"#, "did you mean `config`?"),
        (r#"{"service": "s", "kind": "flag"}"#, "did you mean `feature_flag`?"),
        (r#"{"service": "s", "kind": "config", "revison": "7"}"#, "did you mean `revision`?"),
        (r#"{"service": "s", "kind": "config", "revision": {"a": 1}}"#, "`revision` is an object"),
    ] {
        let error = decode(body.as_bytes(), RECEIVED).unwrap_err().to_string();
        assert!(error.contains(expected), "{body}: {error}");
    }
}

#[test]
fn the_plain_form_of_a_change_reads_back_to_the_same_change() {
    let deploy = Deploy {
        service: "it's \"x\"\n".to_owned(),
        version: Some("2".to_owned()),
        previous_version: Some("1".to_owned()),
        environment: Some("prod".to_owned()),
        kind: "feature_flag",
        start: UnixNanos(1_795_223_503_000_000_001),
        end: Some(UnixNanos(1_795_223_503_000_000_002)),
        commit: Some("c".to_owned()),
        url: Some("u".to_owned()),
        description: Some("d".to_owned()),
        attributes: vec![("a".to_owned(), "1".to_owned()), ("service".to_owned(), "x".to_owned())],
    };
    let least = Deploy {
        version: None,
        previous_version: None,
        environment: None,
        end: None,
        commit: None,
        url: None,
        description: None,
        attributes: Vec::new(),
        ..deploy.clone()
    };
    for deploy in [deploy, least] {
        let Value::Object(entry) = deploy.entry() else { panic!("an object") };
        assert_eq!(read(entry, UnixNanos(5)).unwrap(), deploy);
    }
}

#[test]
fn versions_are_told_from_branches() {
    for name in ["2.4.0", "v2", "V2.1", "v2-rc.1", "v2+build", "2026-11-21", "1.0-SNAPSHOT"] {
        assert!(translation::is_version(name), "{name}");
    }
    for name in
        ["", "main", "v", "vast", "2fa-login", "2", "2-fa", "release/2.4.0", "9f2c1a4e", "v2x"]
    {
        assert!(!translation::is_version(name), "{name}");
    }
}

#[test]
fn events_of_other_tools_are_refused_with_the_address_that_takes_them() {
    for (body, format, address) in [
        (r#"{"specversion": "1.0", "type": "x"}"#, "a CloudEvents event", "cdevents"),
        (r#"{"context": {}, "subject": {}}"#, "a CDEvents event", "cdevents"),
        (r#"{"deployment": {}, "repository": {}}"#, "a GitHub webhook", "github"),
        (r#"{"object_kind": "deployment", "repository": {}}"#, "a GitLab webhook", "gitlab"),
        (r#"{"involvedObject": {}}"#, "a Flux notification", "flux"),
    ] {
        let error = decode(body.as_bytes(), RECEIVED).unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::Unsupported);
        let expected = format!(
            "{format} as plain JSON is not supported: send it to /api/v1/deploys/{address}; "
        );
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
}

#[test]
fn lists_and_lines_are_several() {
    for body in [
        r#"[{"service": "a"}, {"service": "b"}]"#,
        "{\"service\": \"a\"}\n{\"service\": \"b\"}\n",
        "\u{feff}{\"service\": \"a\"} [{\"service\": \"b\"}]",
    ] {
        assert_eq!(rows(body, &["service_name"]), ["a", "b"]);
    }
    assert_eq!(rows("[]", &["service_name"]), [""; 0]);
}

#[test]
fn hostile_names_are_kept() {
    let name = "it's \"x\"; DROP TABLE deploys; --\n\u{1b}[31m$(rm -rf /)<script>\u{202e}";
    let body = serde_json::json!({ "service": name, "version": name, "environment": name });
    let columns = ["service_name", "service_version", "deployment_environment_name"];
    assert_eq!(rows(&body.to_string(), &columns), [format!("{name} | {name} | {name}")]);
}

#[test]
fn refusals_name_the_field_the_value_and_what_is_expected() {
    let long = format!(r#"{{"service": "{}"}}"#, "x".repeat(513));
    for (body, expected) in [
        (
            r#"{"version": "1"}"#,
            "deploy without `service`: the name of the service that changed is required",
        ),
        (r#"{"service": ""}"#, "deploy without `service`"),
        (r#"{"service": null}"#, "deploy without `service`"),
        (r#"{"service": ["a"]}"#, "`service` is a list: a text is expected"),
        (r#"{"service": "s", "version": 1.10}"#, "`version` is 1.1: a text is expected"),
        (&long, "`service` has 513 bytes: at most 512 are allowed"),
        (
            r#"{"service": "s", "kind": "deplyo"}"#,
            "`kind` is \"deplyo\": expected deploy, rollback, config, feature_flag; did you mean `deploy`?",
        ),
        (r#"{"service": "s", "kind": "Rollback"}"#, "did you mean `rollback`?"),
        (
            r#"{"service": "s", "kind": "xyzzy"}"#,
            "`kind` is \"xyzzy\": expected deploy, rollback, config, feature_flag",
        ),
        (r#"{"service": "s", "kind": 5}"#, "`kind` is 5: expected deploy"),
        (
            r#"{"service": "s", "time": "yesterday"}"#,
            "`time` is \"yesterday\": a time such as \"2026-11-21T10:31:00Z\" (RFC 3339) is expected",
        ),
        (r#"{"service": "s", "time": 1795223503}"#, "`time` is 1795223503: a time such as"),
        (
            r#"{"service": "s", "time_unix_nano": 1795223503}"#,
            "`time_unix_nano` is 1795223503: nanoseconds since 1970 are expected",
        ),
        (
            r#"{"service": "s", "time_unix_nano": "soon"}"#,
            "`time_unix_nano` is \"soon\": a whole number of nanoseconds since 1970 is expected",
        ),
        (
            r#"{"service": "s", "time_unix_nano": 99999999999999999999}"#,
            "a whole number of nanoseconds",
        ),
        (
            r#"{"service": "s", "env": "a", "environment": "b"}"#,
            "`environment` and `env` differ; send one of them",
        ),
        (
            r#"{"service": "s", "time": "2026-11-21T01:11:43Z", "time_unix_nano": 1795223505000000000}"#,
            "differ; send one of them",
        ),
        (
            r#"{"service": "s", "verison": "1"}"#,
            "unknown field \"verison\": did you mean `version`?",
        ),
        (r#"{"service": "s", "Version": "1"}"#, "did you mean `version`?"),
        (r#"{"service": "s", "attributes": "x"}"#, "`attributes` is \"x\": an object is expected"),
        ("", "the body is empty; expected a JSON object such as {\"service\": \"cart\""),
        ("5", "found a number; expected a JSON object"),
        (r#"["a"]"#, "found a text; expected a JSON object"),
        (
            "{\"service\": \"s\"",
            "not valid JSON: EOF while parsing an object at line 1 column 15; expected",
        ),
        ("service=cart&version=1", "not valid JSON"),
    ] {
        let error = decode(body.as_bytes(), RECEIVED).unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::InvalidArgument);
        let text = error.to_string();
        assert!(
            text.starts_with("cannot read deploys: ") && text.contains(expected),
            "{body}: {text}"
        );
    }
}

#[test]
fn a_bad_entry_refuses_the_request_by_its_place() {
    let error = decode(b"[{\"service\": \"a\"}, {}, {\"service\": \"b\"}]", RECEIVED).unwrap_err();
    assert!(error.to_string().contains("entry 2 of 3: deploy without `service`"), "{error}");
}

#[test]
fn sizes_are_limited() {
    let many = r#"{"service": "s"}"#.repeat(ENTRIES_MAX + 1);
    for body in [many.as_bytes(), &vec![b' '; REQUEST_BYTES_MAX + 1]] {
        let error = decode(body, RECEIVED).unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::TooLarge, "{error}");
    }
    let deep = "[".repeat(100_000);
    assert!(decode(deep.as_bytes(), RECEIVED).is_err());
}
