#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

use serde_json::{Value, json};

use super::*;
use crate::DecodeErrorKind;
use crate::deploys::tests::{RECEIVED, stored};

const COLUMNS: [&str; 8] = [
    "start_unix_nano",
    "end_unix_nano",
    "service_name",
    "kind",
    "service_version",
    "deployment_environment_name",
    "commit",
    "description",
];

const SHA: &str = "731f7eaddfb6af01cb2173e18f0f75b0ba780ef1";
/// 2026-11-21T01:11:43Z
const AT: &str = "1795223503000000000";

fn event(kind: &str, reason: &str, message: &str, metadata: &Value) -> Value {
    json!({
        "involvedObject": {
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": kind, "name": "webapp",
            "namespace": "apps", "uid": "7d0cdc51",
        },
        "metadata": metadata, "severity": "info", "reason": reason, "message": message,
        "reportingController": "kustomize-controller", "timestamp": "2026-11-21T01:11:43Z",
    })
}

fn revision() -> Value {
    json!({"kustomize.toolkit.fluxcd.io/revision": format!("main@sha1:{SHA}")})
}

fn of(body: &Value) -> Result<Translated, DecodeError> {
    translate(body.to_string().as_bytes(), &Hints::default(), RECEIVED)
}

fn rows(body: &Value) -> Vec<String> {
    stored(&of(body).unwrap(), &COLUMNS)
}

#[test]
fn a_kustomization_that_applied_changes_is_the_start_of_a_change() {
    let message = "Service/apps/webapp unchanged\nDeployment/apps/webapp configured";
    assert_eq!(
        rows(&event("Kustomization", "Progressing", message, &revision())),
        [format!("{AT} | ∅ | webapp | deploy | {SHA} | ∅ | {SHA} | {message}")]
    );
}

#[test]
fn a_revision_that_arrived_is_the_end_of_a_change() {
    for (reason, message) in [
        ("ReconciliationSucceeded", "Applied revision: main@sha1:731f"),
        ("Progressing", "Health check passed in 3.1s"),
    ] {
        assert_eq!(
            rows(&event("Kustomization", reason, message, &revision())),
            [format!("{AT} | {AT} | webapp | deploy | {SHA} | ∅ | {SHA} | {message}")]
        );
    }
}

#[test]
fn releases_of_helm_have_the_version_of_the_application() {
    let group = "helm.toolkit.fluxcd.io";
    let chart = json!({format!("{group}/revision"): "6.5.0"});
    let app =
        json!({format!("{group}/revision"): "6.5.0", format!("{group}/app-version"): "2.4.0"});
    for (reason, metadata, kind, version) in [
        ("InstallSucceeded", &chart, "deploy", "6.5.0"),
        ("UpgradeSucceeded", &app, "deploy", "2.4.0"),
        ("RollbackSucceeded", &app, "rollback", "2.4.0"),
    ] {
        assert_eq!(
            rows(&event("HelmRelease", reason, "Helm", metadata)),
            [format!("{AT} | {AT} | webapp | {kind} | {version} | ∅ | ∅ | Helm")]
        );
    }
}

#[test]
fn metadata_of_the_alert_and_the_address_say_what_flux_does_not_know() {
    let metadata = json!({
        "revision": format!("main@sha1:{SHA}"), "service": "cart", "env": "production",
        "version": "2.4.0",
    });
    let told = event("Kustomization", "ReconciliationSucceeded", "m", &metadata);
    let expected = format!("{AT} | {AT} | cart | deploy | 2.4.0 | production | {SHA} | m");
    assert_eq!(rows(&told), [expected]);
    let mut hints = Hints::default();
    hints.set("service", "basket").unwrap();
    hints.set("environment", "staging").unwrap();
    let columns = ["service_name", "deployment_environment_name"];
    for (body, expected) in [
        (told, "cart | production"),
        (event("Kustomization", "ReconciliationSucceeded", "m", &revision()), "basket | staging"),
    ] {
        let translated = translate(body.to_string().as_bytes(), &hints, RECEIVED).unwrap();
        assert_eq!(stored(&translated, &columns), [expected]);
    }
}

#[test]
fn what_brings_no_revision_is_left_out_with_a_reason() {
    let mut failed = event("Kustomization", "ValidationFailed", "m", &revision());
    failed["severity"] = json!("error");
    let heartbeat = json!({
        "kustomize.toolkit.fluxcd.io/revision": "main@sha1:731f",
        "kustomize.toolkit.fluxcd.io/commit_status": "update",
    });
    let progress =
        |reason: &str, message: &str| event("Kustomization", reason, message, &revision());
    let success =
        |kind: &str, metadata: &Value| event(kind, "ReconciliationSucceeded", "m", metadata);
    for (body, expected) in [
        (failed, "\"ValidationFailed\" of \"Kustomization\": it failed"),
        (success("Kustomization", &json!({})), "the event has no revision"),
        (success("Kustomization", &json!(null)), "the event has no revision"),
        (success("Kustomization", &heartbeat), "it repeats the revision"),
        (success("GitRepository", &revision()), "only a Kustomization or a HelmRelease"),
        (progress("Progressing", "Deployment/apps/old deleted"), "no revision reached the cluster"),
        (
            progress("Progressing", "New revision detected during health check"),
            "no revision reached",
        ),
        (progress("DependencyNotReady", "Dependencies do not meet"), "no revision reached"),
        (progress("TestSucceeded", "m"), "no revision reached"),
    ] {
        let translated = of(&body).unwrap();
        assert_eq!((translated.changes, translated.ignored.len()), (0, 1), "{body}");
        assert!(translated.ignored[0].contains(expected), "{translated:?}");
    }
}

#[test]
fn revisions_are_read_in_their_parts() {
    for (text, version, commit) in [
        ("main@sha1:731f7eaddf", "731f7eaddf", Some("731f7eaddf")),
        ("v1.2.3@sha1:731f7eaddf", "v1.2.3", Some("731f7eaddf")),
        ("6.5.0@sha256:0b31b1c0", "6.5.0", None),
        ("latest@sha256:0b31b1c0", "sha256:0b31b1c0", None),
        ("sha1:731f7eaddf", "731f7eaddf", Some("731f7eaddf")),
        ("sha256:0b31b1c0", "sha256:0b31b1c0", None),
        ("main/731f7eaddf", "731f7eaddf", Some("731f7eaddf")),
        ("v1.2.3/731f7eaddf", "v1.2.3", Some("731f7eaddf")),
        ("feature/login", "feature/login", None),
        ("6.5.0", "6.5.0", None),
    ] {
        let expected =
            Revision { version: Some(version.to_owned()), commit: commit.map(str::to_owned) };
        assert_eq!(Revision::of(text), expected, "{text}");
    }
    assert_eq!(Revision::of("@"), Revision { version: None, commit: None });
    let built = json!({
        "kustomize.toolkit.fluxcd.io/revision": "6.5.0@sha256:0b31b1c0",
        "kustomize.toolkit.fluxcd.io/originRevision": format!("main@sha1:{SHA}"),
    });
    let built = event("Kustomization", "ReconciliationSucceeded", "m", &built);
    assert_eq!(stored(&of(&built).unwrap(), &["commit"]), [SHA]);
}

#[test]
fn refusals_name_the_field() {
    let with = |pointer: &str, value: Value| {
        let mut event = event("Kustomization", "ReconciliationSucceeded", "m", &revision());
        *event.pointer_mut(pointer).unwrap() = value;
        event
    };
    for (body, expected) in [
        (json!({}), "`involvedObject` is missing: an object is expected"),
        (with("/involvedObject/kind", json!(null)), "`involvedObject.kind` is missing"),
        (with("/involvedObject/name", json!("")), "`involvedObject.name` is missing"),
        (with("/reason", json!([])), "`reason` is a list: a text is expected"),
        (with("/metadata", json!("x")), "`metadata` is a text: an object is expected"),
        (with("/timestamp", json!("x")), "`timestamp` is \"x\": a time such as"),
        (
            with("/metadata/kustomize.toolkit.fluxcd.io~1revision", json!(true)),
            "`metadata.kustomize.toolkit.fluxcd.io/revision` is true: a text is expected",
        ),
    ] {
        let error = of(&body).unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::InvalidArgument);
        let text = error.to_string();
        assert!(
            text.starts_with("cannot read the Flux notification: ") && text.contains(expected),
            "{text}"
        );
    }
}
