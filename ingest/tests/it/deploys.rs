//! Events of other tools as they were recorded: each becomes the change that it tells, is left out
//! with a reason, or is refused by name; and none is stored as something else.

use upriver_ingest::deploys::{Hints, Translated, cdevents, flux, github};
use upriver_ingest::{DecodeError, deploys};
use upriver_store::schema::Table;
use upriver_store::time::UnixNanos;

use crate::support::{cells, fixtures, read};

const RECEIVED: UnixNanos = UnixNanos(1_795_226_603_510_000_123);

#[test]
fn at_the_door_of_plain_json_events_of_other_tools_are_refused_by_name() {
    let Some(folder) = fixtures("deploys") else { return };
    for (tool, format) in [
        ("alertmanager", "an Alertmanager webhook"),
        ("cdevents", "a CDEvents event"),
        ("flux", "a Flux notification"),
        ("github", "a GitHub webhook"),
    ] {
        for entry in std::fs::read_dir(folder.join(tool)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let structured = path.file_name().unwrap().to_string_lossy().starts_with("structured");
            let format = if structured { "a CloudEvents event" } else { format };
            let error = deploys::decode(&read(&path), UnixNanos(1)).unwrap_err();
            let named = matches!(&error, DecodeError::Unsupported { format: found, .. } if found.starts_with(format));
            assert!(named, "{}: {error}", path.display());
        }
    }
}

const COLUMNS: [&str; 7] = [
    "service_name",
    "kind",
    "service_version",
    "deployment_environment_name",
    "start_unix_nano",
    "end_unix_nano",
    "commit",
];

/// The row of a request with one change, or why its one event was left out.
fn outcome(translated: &Translated) -> String {
    if translated.changes == 0 {
        assert_eq!(translated.ignored.len(), 1, "{translated:?}");
        return format!("ignored: {}", translated.ignored[0]);
    }
    let decoded = deploys::decode(&translated.body, RECEIVED).unwrap();
    assert_eq!((translated.changes, translated.ignored.len()), (1, 0));
    cells(&decoded, Table::Deploys, &COLUMNS).remove(0)
}

#[test]
fn recorded_cdevents_are_changes_or_left_out() {
    let Some(folder) = fixtures("deploys/cdevents") else { return };
    let digest = "sha256:0b31b1c02ff458ad9b7b81cbdf8f028bd54699fa151f221d1e8de6817db93427";
    let at = "1679322425315384000";
    let row = |kind: &str, version: &str| {
        format!("mySubject123 | {kind} | {version} | test123 | {at} | {at} | ∅")
    };
    for (file, expected) in [
        ("service_deployed.json", row("deploy", digest)),
        ("structured.service_deployed.json", row("deploy", digest)),
        ("service_upgraded.json", row("deploy", digest)),
        ("service_rolledback.json", row("rollback", digest)),
        ("service_removed.json", row("deploy", "∅")),
        ("service_published.json", "ignored: \"service.published\": it says".to_owned()),
        ("environment_modified.json", "ignored: \"environment.modified\": it names".to_owned()),
        ("change_merged.json", "ignored: \"change.merged\": source code".to_owned()),
        ("artifact_published.json", "ignored: \"artifact.published\": only".to_owned()),
        ("incident_detected.json", "ignored: \"incident.detected\": incidents".to_owned()),
        ("pipelinerun_finished.json", "ignored: \"pipelinerun.finished\": only".to_owned()),
    ] {
        let body = read(&folder.join(file));
        let translated = cdevents::translate(&body, cdevents::Envelope::Body, RECEIVED).unwrap();
        let found = outcome(&translated);
        assert!(found.starts_with(&expected), "{file}: {found}");
    }
}

#[test]
fn recorded_webhooks_of_github_are_changes_or_left_out() {
    let Some(folder) = fixtures("deploys/github") else { return };
    let sha = "f95f852bd8fca8fcc58a9a2d6c842781e32a215e";
    let status = format!(
        "Hello-World | deploy | {sha} | production | 1557933653000000000 | 1557933655000000000 | {sha}"
    );
    for (event, file, expected) in [
        ("deployment_status", "deployment_status_payload.json", status.as_str()),
        ("deployment", "deployment_payload.json", "ignored: `deployment`: its statuses tell"),
        ("push", "push_payload.json", "ignored: \"push\": the event says nothing"),
        ("release", "release_published.payload.json", "ignored: \"release\": the event says"),
        ("workflow_run", "workflow_run_completed.payload.json", "ignored: \"workflow_run\": the"),
    ] {
        let body = read(&folder.join(file));
        let translated = github::translate(event, &body, &Hints::default(), RECEIVED).unwrap();
        let found = outcome(&translated);
        assert!(found.starts_with(expected), "{file}: {found}");
    }
}

#[test]
fn recorded_notifications_of_flux_are_changes_or_left_out() {
    let Some(folder) = fixtures("deploys/flux") else { return };
    for file in ["event-validation-failed.json", "generic-webhook.json"] {
        let text = String::from_utf8(read(&folder.join(file))).unwrap();
        let failed = flux::translate(text.as_bytes(), &Hints::default(), RECEIVED).unwrap();
        let expected = "ignored: \"ValidationFailed\" of \"Kustomization\": it failed";
        assert!(outcome(&failed).starts_with(expected), "{failed:?}");

        let succeeded = text
            .replace(r#""severity":"error""#, r#""severity":"info""#)
            .replace("ValidationFailed", "ReconciliationSucceeded");
        let applied = flux::translate(succeeded.as_bytes(), &Hints::default(), RECEIVED).unwrap();
        let sha = "731f7eaddfb6af01cb2173e18f0f75b0ba780ef1";
        let at = "1666941979000000000";
        assert_eq!(outcome(&applied), format!("webapp | deploy | {sha} | ∅ | {at} | {at} | {sha}"));
    }
}

/// What Argo CD would put in place of a placeholder of the shipped template.
fn rendered(expression: &str) -> serde_json::Value {
    let value = match expression.strip_suffix("| toJson").map(str::trim) {
        Some(".app.metadata.name") => "cart",
        Some(".app.status.operationState.syncResult.revision") => "731f7eaddf",
        Some(".context.environment") => "production",
        Some(".app.status.operationState.startedAt") => "2026-11-21T01:11:43Z",
        Some(".app.status.operationState.finishedAt") => "2026-11-21T01:15:00Z",
        Some(".app.status.operationState.message") => "successfully \"synced\"\n(all tasks run)",
        Some(".app.status.operationState.phase") => "Succeeded",
        Some(".app.spec.project") => "shop",
        Some(r#"printf "%s/applications/%s" .context.argocdUrl .app.metadata.name"#) => {
            "https://argocd.example/applications/cart"
        }
        _ => panic!("no value for {expression:?}"),
    };
    serde_json::json!(value)
}

/// The body that the shipped template of Argo CD makes.
fn body_of_argo_cd(template: &str) -> String {
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text =
        std::fs::read_to_string(repository.join("deploy/argocd-notifications.yaml")).unwrap();
    let map: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    let template = map["data"][template].as_str().unwrap();
    let webhook: serde_json::Value = serde_saphyr::from_str(template).unwrap();
    let webhook = &webhook["webhook"]["upriver"];
    assert_eq!(
        (webhook["method"].as_str(), webhook["path"].as_str()),
        (Some("POST"), Some("/api/v1/deploys"))
    );
    let mut body = String::new();
    for (i, part) in webhook["body"].as_str().unwrap().split("{{").enumerate() {
        let Some((expression, after)) = part.split_once("}}") else {
            assert_eq!(i, 0, "an open placeholder: {part}");
            body.push_str(part);
            continue;
        };
        body.push_str(&rendered(expression.trim()).to_string());
        body.push_str(after);
    }
    body
}

#[test]
fn what_the_template_of_argo_cd_makes_is_start_and_end_of_one_change() {
    let decode = |template| {
        let body = body_of_argo_cd(template);
        let decoded = deploys::decode(body.as_bytes(), RECEIVED).unwrap();
        assert_eq!(decoded.accepted, 1);
        let more = ["id", "url", "attributes"];
        (cells(&decoded, Table::Deploys, &COLUMNS), cells(&decoded, Table::Deploys, &more))
    };
    let (started, start) = decode("template.upriver-started");
    let (finished, end) = decode("template.upriver-finished");
    let row = |end: &str| {
        format!(
            "cart | deploy | 731f7eaddf | production | 1795223503000000000 | {end} | 731f7eaddf"
        )
    };
    assert_eq!(started, [row("∅")]);
    assert_eq!(finished, [row("1795223700000000000")]);
    assert_eq!(start, end, "the same id");
    let more = " | https://argocd.example/applications/cart | {argocd.phase: Succeeded, argocd.project: shop}";
    assert!(start[0].ends_with(more), "{start:?}");
}
