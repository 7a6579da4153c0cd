#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

use serde_json::json;

use super::*;
use crate::DecodeErrorKind;
use crate::deploys::tests::{RECEIVED, stored};

const COLUMNS: [&str; 7] = [
    "start_unix_nano",
    "end_unix_nano",
    "service_name",
    "kind",
    "service_version",
    "deployment_environment_name",
    "description",
];

/// 2026-11-21T01:11:43Z
const AT: &str = "1795223503000000000";

fn event(event_type: &str) -> Value {
    json!({
        "context": {
            "specversion": "0.5.1", "id": "271069a8", "source": "/ci", "type": event_type,
            "timestamp": "2026-11-21T01:11:43Z", "chainId": "4c8c",
        },
        "subject": {
            "id": "cart",
            "content": {
                "environment": {"id": "production"},
                "artifactId": "pkg:oci/cart@sha256%3A0b31?tag=2.4.0",
            },
        },
    })
}

fn of_body(body: &Value) -> Result<Translated, DecodeError> {
    translate(body.to_string().as_bytes(), Envelope::Body, RECEIVED)
}

fn rows(body: &Value) -> Vec<String> {
    stored(&of_body(body).unwrap(), &COLUMNS)
}

#[test]
fn four_events_of_a_service_are_changes() {
    for (predicate, kind, version, description) in [
        ("deployed", "deploy", "2.4.0", "∅"),
        ("upgraded", "deploy", "2.4.0", "∅"),
        ("rolledback", "rollback", "2.4.0", "∅"),
        ("removed", "deploy", "∅", "the service was removed"),
    ] {
        for version_of_event in ["0.1.1", "0.2.0", "0.3.0", "0.3.0-draft"] {
            let event = event(&format!("dev.cdevents.service.{predicate}.{version_of_event}"));
            let expected =
                format!("{AT} | {AT} | cart | {kind} | {version} | production | {description}");
            assert_eq!(rows(&event), [expected]);
        }
    }
}

#[test]
fn where_it_came_from_is_kept() {
    let event = event("dev.cdevents.service.deployed.0.2.0");
    assert_eq!(
        stored(&of_body(&event).unwrap(), &["attributes"]),
        ["{cdevents.artifact_id: pkg:oci/cart@sha256%3A0b31?tag=2.4.0, cdevents.chain_id: 4c8c, \
          cdevents.id: 271069a8, cdevents.source: /ci, \
          cdevents.type: dev.cdevents.service.deployed.0.2.0}"]
    );
}

#[test]
fn the_version_of_the_specification_stands_under_two_names() {
    let mut event = event("dev.cdevents.service.deployed.0.1.1");
    for (key, version, known) in [
        ("version", "0.3.0", true),
        ("version", "0.4.1", true),
        ("specversion", "0.6.0-draft", true),
        ("version", "1.0.0", false),
        ("specversion", "2.0", false),
    ] {
        let context = event["context"].as_object_mut().unwrap();
        context.remove("version");
        context.remove("specversion");
        context.insert(key.to_owned(), json!(version));
        let answer = of_body(&event);
        assert_eq!(answer.is_ok(), known, "{key} {version}: {answer:?}");
    }
}

#[test]
fn unknown_major_versions_are_refused_by_name() {
    let refused = |event: &Value| of_body(event).unwrap_err();
    let error = refused(&event("dev.cdevents.service.deployed.1.0.0"));
    assert_eq!(error.kind(), DecodeErrorKind::Unsupported);
    assert_eq!(
        error.to_string(),
        "CDEvents service.deployed of version \"1.0.0\" is not supported: \
         versions 0.x are known; send one of them, or update Upriver"
    );
    let error = refused(&event("dev.cdevents.pipelinerun.finished.12.0.0"));
    assert!(error.to_string().starts_with("CDEvents pipelinerun.finished of version"), "{error}");
}

#[test]
fn other_events_are_left_out_with_a_reason() {
    for (event_type, expected) in [
        ("dev.cdevents.service.published.0.3.0", "it says nothing of a version"),
        ("dev.cdevents.environment.modified.0.3.0", "it names no service"),
        ("dev.cdevents.change.merged.0.3.0", "source code does not change"),
        ("dev.cdevents.incident.detected.0.3.0", "found here"),
        ("dev.cdevents.pipelinerun.finished.0.3.0", "only service.deployed"),
        ("dev.cdeventsx.jenkins-plugin.installed.0.1.0", "a custom event of a tool"),
        ("dev.tekton.event.taskrun.successful.v1", "is not an event of CDEvents"),
    ] {
        let translated = of_body(&event(event_type)).unwrap();
        assert_eq!((translated.changes, translated.ignored.len()), (0, 1), "{translated:?}");
        assert!(translated.ignored[0].contains(expected), "{translated:?}");
    }
}

#[test]
fn cloud_events_are_opened() {
    let event = event("dev.cdevents.service.upgraded.0.3.0");
    let expected = rows(&event);
    let around = |key: &str, data: Value| {
        json!({
            "specversion": "1.0", "id": "1", "source": "/ci", "subject": "cart",
            "type": "dev.cdevents.service.upgraded.0.3.0", key: data,
        })
    };
    assert_eq!(rows(&around("data", event.clone())), expected);
    let encoded = BASE64_STANDARD.encode(event.to_string());
    assert_eq!(rows(&around("data_base64", json!(encoded))), expected);
    let batch = json!([around("data", event.clone()), event, around("data", event.clone())]);
    assert_eq!(rows(&batch).len(), 3);
    assert_eq!(of_body(&json!([])).unwrap(), Translated::default());

    for (body, expected) in [
        (around("data", json!("text")), "`data` is a text: the CDEvents event is expected"),
        (around("dta", json!({})), "`data` is missing: the CDEvents event is expected"),
        (around("data_base64", json!("!")), "`data_base64` is not a JSON document in base64"),
        (around("data_base64", json!("e30")), "`data_base64` is not a JSON document in base64"),
        (json!({"specversion": "0.3", "type": "x"}), "CloudEvents \"0.3\" is not supported"),
        (json!({"specversion": "1.0"}), "`type` is missing"),
    ] {
        let error = of_body(&body).unwrap_err().to_string();
        assert!(error.contains(expected), "{body}: {error}");
    }
}

#[test]
fn in_binary_mode_the_header_names_the_same_event() {
    let event = event("dev.cdevents.service.deployed.0.3.0").to_string();
    let of_header =
        |event_type| translate(event.as_bytes(), Envelope::Binary { event_type }, RECEIVED);
    assert_eq!(of_header("dev.cdevents.service.deployed.0.3.0").unwrap().changes, 1);
    let error = of_header("dev.cdevents.service.removed.0.3.0").unwrap_err().to_string();
    assert!(
        error.ends_with(
            "the header ce-type is \"dev.cdevents.service.removed.0.3.0\", \
             `context.type` is \"dev.cdevents.service.deployed.0.3.0\""
        ),
        "{error}"
    );
    let other = of_header("com.example.order.placed").unwrap();
    assert_eq!(other.ignored, ["\"com.example.order.placed\" is not an event of CDEvents"]);
    let list = translate(b"[]", Envelope::Binary { event_type: "dev.cdevents.x" }, RECEIVED);
    assert!(list.unwrap_err().to_string().contains("found a list: an event is an object"));
}

#[test]
fn what_is_not_said_is_not_needed() {
    let mut event = event("dev.cdevents.service.deployed.0.3.0");
    event["context"].as_object_mut().unwrap().remove("timestamp");
    event["subject"]["content"] = json!({});
    let received = RECEIVED.0;
    assert_eq!(rows(&event), [format!("{received} | {received} | cart | deploy | ∅ | ∅ | ∅")]);
}

#[test]
fn refusals_name_the_field_and_the_entry() {
    let with = |pointer: &str, value: Value| {
        let mut event = event("dev.cdevents.service.deployed.0.3.0");
        *event.pointer_mut(pointer).unwrap() = value;
        event
    };
    let long = "x".repeat(513);
    for (body, expected) in [
        (with("/context", json!(5)), "`context` is a number: an object is expected"),
        (with("/context/type", json!(null)), "`context.type` is missing: a text is expected"),
        (with("/context/type", json!("dev.cdevents.service")), "a type such as \"dev.cdevents"),
        (with("/context/type", json!("dev.cdevents.service.deployed.x")), "a type such as"),
        (with("/context/type", json!("dev.cdevents...")), "a type such as"),
        (with("/context/specversion", json!("draft")), "a version such as \"0.5.0\" is expected"),
        (with("/context/timestamp", json!("soon")), "`context.timestamp` is \"soon\": a time"),
        (with("/subject", json!(null)), "`subject` is missing: an object is expected"),
        (with("/subject/id", json!("")), "`subject.id` is missing: a text is expected"),
        (with("/subject/id", json!(long)), "`subject.id` has 513 bytes: at most 512 are allowed"),
        (with("/subject/id", json!(["a"])), "`subject.id` is a list: a text is expected"),
        (with("/subject/content", json!([])), "`subject.content` is a list: an object is expected"),
        (
            with("/subject/content/environment", json!("prod")),
            "`subject.content.environment` is a text: an object is expected",
        ),
        (
            with("/subject/content/artifactId", json!("pkg:oci/a@%ff")),
            "`subject.content.artifactId`",
        ),
        (json!([event("dev.cdevents.service.deployed.0.3.0"), 5]), "entry 2 of 2: found a number"),
        (json!("x"), "found a text: an event is an object"),
    ] {
        let error = of_body(&body).unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::InvalidArgument);
        let text = error.to_string();
        assert!(
            text.starts_with("cannot read CDEvents: ") && text.contains(expected),
            "{body}: {text}"
        );
    }
    for (body, expected) in [("", "the body is empty"), ("<", "not valid JSON")] {
        let error = translate(body.as_bytes(), Envelope::Body, RECEIVED).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn batches_are_limited_and_so_are_the_reasons() {
    let many = format!("[{}]", vec!["{}"; ENTRIES_MAX + 1].join(","));
    let error = translate(many.as_bytes(), Envelope::Body, RECEIVED).unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::TooLarge, "{error}");
    let ignored = event("dev.cdevents.service.published.0.3.0");
    let translated = of_body(&json!(vec![ignored; 50])).unwrap();
    assert_eq!(translated.ignored.len(), 21);
    assert_eq!(translated.ignored[20], "and 30 more events that say nothing of a deploy");
}
