#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

use serde_json::{Value, json};

use super::*;
use crate::DecodeErrorKind;
use crate::deploys::tests::{RECEIVED, stored};

const SHA: &str = "279484c09fbe69ededfced8c1bb6e6d24616b468";

/// In the layout of GitLab's documentation of deployment events.
fn delivery(status: &str) -> Value {
    json!({
        "object_kind": "deployment", "status": status,
        "status_changed_at": "2026-11-21 02:11:43 +0100",
        "deployment_id": 15, "deployable_id": 796,
        "deployable_url": "https://gitlab.example/acme/cart/-/jobs/796",
        "environment": "production", "environment_tier": "production",
        "environment_slug": "production", "environment_external_url": "https://cart.example",
        "project": {
            "id": 30, "name": "cart", "web_url": "https://gitlab.example/acme/cart",
            "path_with_namespace": "acme/cart", "default_branch": "main",
        },
        "ref": "main", "short_sha": "279484c0",
        "user": {"id": 1, "name": "A", "username": "root"},
        "commit_url": format!("https://gitlab.example/acme/cart/-/commit/{SHA}"),
        "commit_title": "Add new file",
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut delivery = delivery("success");
    *delivery.pointer_mut(pointer).unwrap() = value;
    delivery
}

fn of(body: &Value) -> Result<Translated, DecodeError> {
    translate(body.to_string().as_bytes(), &Hints::default(), RECEIVED)
}

fn cell(body: &Value, column: &str) -> String {
    stored(&of(body).unwrap(), &[column]).remove(0)
}

#[test]
fn a_deployment_is_a_change() {
    let columns = [
        "start_unix_nano",
        "end_unix_nano",
        "service_name",
        "kind",
        "service_version",
        "deployment_environment_name",
        "commit",
        "url",
        "description",
        "attributes",
    ];
    assert_eq!(
        stored(&of(&delivery("success")).unwrap(), &columns),
        [format!(
            "1795223503000000000 | 1795223503000000000 | cart | deploy | {SHA} | production | {SHA} \
             | https://gitlab.example/acme/cart/-/jobs/796 | Add new file \
             | {{gitlab.deployment_id: 15, gitlab.environment_tier: production, \
             gitlab.project: acme/cart, gitlab.status: success, gitlab.user: root}}"
        )]
    );
}

#[test]
fn running_is_the_start_and_the_rest_the_end() {
    assert_eq!(cell(&delivery("running"), "end_unix_nano"), "∅");
    for status in ["success", "failed", "canceled"] {
        assert_eq!(cell(&delivery(status), "end_unix_nano"), "1795223503000000000", "{status}");
    }
}

#[test]
fn times_are_taken_as_ruby_and_as_json_print_them() {
    for time in [
        "2026-11-21 02:11:43 +0100",
        "2026-11-21 01:11:43 UTC",
        "2026-11-21T01:11:43Z",
        "2026-11-21T02:11:43+01:00",
    ] {
        let body = with("/status_changed_at", json!(time));
        assert_eq!(cell(&body, "start_unix_nano"), "1795223503000000000", "{time}");
    }
    let silent = with("/status_changed_at", json!(null));
    assert_eq!(cell(&silent, "start_unix_nano"), RECEIVED.0.to_string());
}

#[test]
fn the_version_is_a_tag_else_the_commit() {
    assert_eq!(cell(&with("/ref", json!("v2.4.0")), "service_version"), "v2.4.0");
    assert_eq!(cell(&with("/ref", json!("v2.4.0")), "commit"), SHA);
    assert_eq!(cell(&with("/ref", json!(null)), "service_version"), SHA);
    assert_eq!(cell(&with("/commit_url", json!(null)), "service_version"), "279484c0");
    assert_eq!(cell(&with("/commit_url", json!("https://x/commit/")), "commit"), "279484c0");
}

#[test]
fn hints_of_the_address_say_which_service() {
    let mut hints = Hints::default();
    hints.set("service", "basket").unwrap();
    hints.set("environment", "staging").unwrap();
    let of = |body: &Value| {
        let translated = translate(body.to_string().as_bytes(), &hints, RECEIVED).unwrap();
        stored(&translated, &["service_name", "deployment_environment_name"])
    };
    assert_eq!(of(&delivery("success")), ["basket | production"]);
    assert_eq!(of(&with("/environment", json!(""))), ["basket | staging"]);
    assert_eq!(of(&with("/project", json!(null))), ["basket | production"]);
}

#[test]
fn everything_else_is_left_out_with_a_reason() {
    let job = with("/object_kind", json!("build"));
    for (body, expected) in [
        (delivery("created"), "`created`: nothing is rolled out"),
        (delivery("blocked"), "`blocked`: nothing is rolled out"),
        (delivery("skipped"), "`skipped`: nothing is rolled out"),
        (delivery("approved"), "the status \"approved\" is not known"),
        (job, "\"build\": the event says nothing of a deployment; choose `Deployment events`"),
    ] {
        let translated = of(&body).unwrap();
        assert_eq!((translated.changes, translated.ignored.len()), (0, 1));
        assert!(translated.ignored[0].contains(expected), "{translated:?}");
    }
}

#[test]
fn refusals_name_the_field() {
    for (body, expected) in [
        (json!({}), "`object_kind` is missing: a text is expected"),
        (with("/status", json!({})), "`status` is an object: a text is expected"),
        (with("/status_changed_at", json!("2026-11-21 02:11:43")), "`status_changed_at` is"),
        (with("/project", json!(5)), "`project` is a number: an object is expected"),
        (with("/project", json!({})), "the service is not known: `project.name` is missing"),
        (with("/environment", json!("x".repeat(513))), "`environment` has 513 bytes"),
    ] {
        let error = of(&body).unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::InvalidArgument);
        let text = error.to_string();
        assert!(
            text.starts_with("cannot read the GitLab webhook: ") && text.contains(expected),
            "{text}"
        );
    }
}
