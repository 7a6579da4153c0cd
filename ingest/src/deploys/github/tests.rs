#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

use serde_json::json;

use super::*;
use crate::DecodeErrorKind;
use crate::deploys::tests::{RECEIVED, stored};

const COLUMNS: [&str; 11] = [
    "start_unix_nano",
    "end_unix_nano",
    "service_name",
    "kind",
    "service_version",
    "previous_version",
    "deployment_environment_name",
    "commit",
    "url",
    "description",
    "attributes",
];

const SHA: &str = "f95f852bd8fca8fcc58a9a2d6c842781e32a215e";

fn delivery(state: &str) -> Value {
    json!({
        "action": "created",
        "deployment_status": {
            "id": 209916254, "state": state, "environment": "production", "description": "",
            "target_url": "", "created_at": "2026-11-21T01:15:00Z",
        },
        "deployment": {
            "id": 145988746, "sha": SHA, "ref": "main", "task": "deploy", "payload": {},
            "environment": "production", "description": null, "created_at": "2026-11-21T01:11:43Z",
            "creator": {"login": "octocat"},
        },
        "repository": {
            "name": "cart", "full_name": "acme/cart", "html_url": "https://github.com/acme/cart",
        },
    })
}

fn with(state: &str, pointer: &str, value: Value) -> Value {
    let mut delivery = delivery(state);
    *delivery.pointer_mut(pointer).unwrap() = value;
    delivery
}

fn of(body: &Value) -> Result<Translated, DecodeError> {
    let hints = Hints::default();
    translate("deployment_status", body.to_string().as_bytes(), &hints, RECEIVED)
}

fn cell(body: &Value, column: &str) -> String {
    stored(&of(body).unwrap(), &[column]).remove(0)
}

#[test]
fn a_success_is_the_whole_rollout() {
    assert_eq!(
        stored(&of(&delivery("success")).unwrap(), &COLUMNS),
        [format!(
            "1795223503000000000 | 1795223700000000000 | cart | deploy | {SHA} | ∅ | production \
             | {SHA} | https://github.com/acme/cart/commit/{SHA} | ∅ \
             | {{github.creator: octocat, github.deployment_id: 145988746, \
             github.repository: acme/cart, github.state: success, github.task: deploy}}"
        )]
    );
}

#[test]
fn all_statuses_of_a_deployment_are_one_change() {
    let id = |state: &str| cell(&delivery(state), "id");
    let started = id("in_progress");
    assert_eq!(cell(&delivery("in_progress"), "end_unix_nano"), "∅");
    for end in ["success", "failure", "error"] {
        assert_eq!(id(end), started, "{end}");
        assert_eq!(cell(&delivery(end), "end_unix_nano"), "1795223700000000000");
    }
}

#[test]
fn statuses_before_and_after_the_rollout_are_left_out_with_a_reason() {
    for (state, expected) in [
        ("queued", "nothing is rolled out yet"),
        ("pending", "nothing is rolled out yet"),
        ("waiting", "nothing is rolled out yet"),
        ("inactive", "a later deployment took this one's place"),
        ("destroyed", "the state \"destroyed\" is not known"),
    ] {
        let translated = of(&delivery(state)).unwrap();
        assert_eq!((translated.changes, translated.ignored.len()), (0, 1));
        assert!(translated.ignored[0].contains(expected), "{translated:?}");
    }
}

#[test]
fn other_events_are_left_out_with_a_reason() {
    for (event, body, expected) in [
        ("ping", "{\"zen\": \"Design for failure.\"}", "reaches this server"),
        ("deployment", "{}", "its statuses tell when it is rolled out"),
        ("push", "{}", "\"push\": the event says nothing of a rollout"),
    ] {
        let answer = translate(event, body.as_bytes(), &Hints::default(), RECEIVED).unwrap();
        assert_eq!((answer.changes, answer.ignored.len()), (0, 1));
        assert!(answer.ignored[0].contains(expected), "{answer:?}");
    }
}

#[test]
fn the_payload_says_what_a_deployment_does_not() {
    let told = json!({
        "service": "basket", "version": "2.4.0", "previous_version": "2.3.9", "kind": "rollback",
    });
    let columns = ["service_name", "service_version", "previous_version", "kind"];
    for payload in [told.clone(), json!(told.to_string())] {
        let body = with("success", "/deployment/payload", payload);
        assert_eq!(stored(&of(&body).unwrap(), &columns), ["basket | 2.4.0 | 2.3.9 | rollback"]);
    }
    for payload in [json!(""), json!("not json"), json!("[1]"), json!(null), json!([1])] {
        let body = with("success", "/deployment/payload", payload);
        assert_eq!(stored(&of(&body).unwrap(), &columns), [format!("cart | {SHA} | ∅ | deploy")]);
    }
}

#[test]
fn the_version_is_the_tag_that_was_deployed() {
    for (name, expected) in
        [("v2.4.0", "v2.4.0"), ("refs/tags/2.4.0", "2.4.0"), ("release", SHA), (SHA, SHA)]
    {
        let body = with("success", "/deployment/ref", json!(name));
        assert_eq!(cell(&body, "service_version"), expected, "{name}");
    }
}

#[test]
fn a_rollback_may_be_the_task() {
    assert_eq!(cell(&with("success", "/deployment/task", json!("rollback")), "kind"), "rollback");
    assert_eq!(cell(&with("success", "/deployment/task", json!("migrate")), "kind"), "deploy");
}

#[test]
fn hints_of_the_address_fill_what_is_missing() {
    let mut hints = Hints::default();
    hints.set("service", "basket").unwrap();
    hints.set("environment", "staging").unwrap();
    let of = |body: &Value| {
        let body = body.to_string();
        let translated = translate("deployment_status", body.as_bytes(), &hints, RECEIVED).unwrap();
        stored(&translated, &["service_name", "deployment_environment_name"])
    };
    assert_eq!(of(&delivery("success")), ["basket | production"]);
    let told = with("success", "/deployment/payload", json!({"service": "told"}));
    assert_eq!(of(&told), ["told | production"]);
    let mut nowhere = with("success", "/deployment/environment", json!(null));
    nowhere["deployment_status"]["environment"] = json!("");
    assert_eq!(of(&nowhere), ["basket | staging"]);

    assert!(hints.set("service", "again").unwrap_err().contains("given twice"));
    assert!(hints.set("version", "1").unwrap_err().contains("expected service or environment"));
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    assert!(Hints::default().set("service", &long).unwrap_err().contains("has 513 bytes"));
}

#[test]
fn the_log_of_the_rollout_comes_before_the_commit() {
    let mut body = with("success", "/deployment_status/target_url", json!("https://ci/1"));
    assert_eq!(cell(&body, "url"), "https://ci/1");
    body["deployment_status"]["log_url"] = json!("https://ci/2");
    assert_eq!(cell(&body, "url"), "https://ci/2");
}

#[test]
fn a_status_before_its_deployment_starts_when_it_ends() {
    let early = with("success", "/deployment_status/created_at", json!("2026-11-21T01:11:00Z"));
    let times = ["start_unix_nano", "end_unix_nano"];
    let expected = "1795223460000000000 | 1795223460000000000";
    assert_eq!(stored(&of(&early).unwrap(), &times), [expected]);
}

#[test]
fn long_texts_are_cut_where_people_read_them() {
    let text = "ä".repeat(DESCRIPTION_BYTES_MAX);
    let cell = cell(&with("success", "/deployment/description", json!(text)), "description");
    assert!(cell.len() <= DESCRIPTION_BYTES_MAX && cell.ends_with("ä…"), "{}", cell.len());
}

#[test]
fn refusals_name_the_field() {
    for (body, expected) in [
        (json!([]), "found a list: an object is expected"),
        (json!({}), "`deployment_status` is missing: an object is expected"),
        (
            with("success", "/deployment_status/state", json!(1.5)),
            "`deployment_status.state` is 1.5",
        ),
        (
            with("success", "/deployment_status/created_at", json!("x")),
            "`deployment_status.created_at`",
        ),
        (with("success", "/deployment", json!(null)), "`deployment` is missing"),
        (
            with("success", "/deployment/created_at", json!(5)),
            "`deployment.created_at` is 5: a time",
        ),
        (
            with("success", "/deployment/creator", json!("o")),
            "`deployment.creator` is \"o\": an object",
        ),
        (
            with("success", "/deployment/payload", json!({"kind": "x"})),
            "in `deployment.payload`, `kind` is \"x\": expected deploy, rollback",
        ),
        (
            with("success", "/deployment/payload", json!({"service": {}})),
            "in `deployment.payload`, `service` is an object",
        ),
        (with("success", "/repository", json!({})), "the service is not known: put `service` into"),
        (with("success", "/repository", json!(null)), "`?service=NAME` at the end of"),
        (
            with("success", "/repository", json!("r")),
            "`repository` is a text: an object is expected",
        ),
    ] {
        let error = of(&body).unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::InvalidArgument);
        let text = error.to_string();
        assert!(
            text.starts_with("cannot read the GitHub webhook: ") && text.contains(expected),
            "{text}"
        );
    }
}
