use super::*;
use crate::DecodeErrorKind;
use crate::rows::tests::cells;

const RECEIVED: UnixNanos = UnixNanos(1_795_226_603_510_000_123);

fn rows(body: &str, columns: &[&str]) -> Vec<String> {
    let decoded = decode(body.as_bytes(), RECEIVED).unwrap();
    let rows = cells(&decoded, Table::Deploys, columns);
    assert_eq!((decoded.accepted, decoded.rejected), (rows.len() as u64, 0));
    rows
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
        (r#"{"service": "s", "end_time": "2026-11-20T00:00:00Z"}"#, "before it starts"),
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
