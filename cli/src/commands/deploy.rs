//! `upriver deploy`: changes to services.

use anyhow::anyhow;
use serde_json::{Map, Value};
use upriver_analyze::literal;
use upriver_rules::audit::document::AuditOutcome;
use upriver_rules::render;

use crate::args::{ChangeKind, DeployAuditArgs, DeployListArgs, DeployRecordArgs};
use crate::output::Output;
use crate::questions::{self, AuditQuestion};
use crate::run::Outcome;
use crate::target::{self, Server, Target};

/// Lists the changes, explicit and inferred, oldest first.
pub(crate) async fn list(args: DeployListArgs, output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let target = Target::open(&args.source).await?;
    let only = args
        .service
        .as_deref()
        .map(|service| format!("WHERE service_name = {}", literal::text(service)))
        .unwrap_or_default();
    let rows = target.query(&format!("{COLUMNS} {only} ORDER BY start_unix_nano, id")).await?;
    target::write_rows(&rows, args.format, output)?;
    Ok(Outcome::Done)
}

/// Tells the server of a change and prints its id.
pub(crate) async fn record(
    args: DeployRecordArgs,
    output: &mut Output<'_>,
) -> anyhow::Result<Outcome> {
    let server = Server::new(args.server.server.as_deref(), args.server.api_key.as_deref())?;
    let kind = match args.kind {
        ChangeKind::Deploy => "deploy",
        ChangeKind::Rollback => "rollback",
        ChangeKind::Config => "config",
        ChangeKind::FeatureFlag => "feature_flag",
    };
    let fields = [
        ("service", Some(args.service)),
        ("version", Some(args.version)),
        ("previous_version", args.previous_version),
        ("environment", args.environment),
        ("kind", Some(kind.to_owned())),
        ("time", args.time),
        ("end_time", args.end_time),
        ("commit", args.commit),
        ("url", args.url),
    ];
    let given = fields.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.into())));
    let change: Map<String, Value> = given.collect();
    let answer = server.post("/api/v1/deploys", &Value::Object(change)).await?;
    let answer: Value = serde_json::from_slice(&answer)?;
    for id in answer["ids"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        writeln!(output.out, "{id}")?;
    }
    Ok(Outcome::Done)
}

/// Judges a change and prints the document. A pass is 0, a regression 1, inconclusive 3.
pub(crate) async fn audit(
    args: DeployAuditArgs,
    output: &mut Output<'_>,
) -> anyhow::Result<Outcome> {
    let seconds = u64::try_from(args.window.as_secs())
        .map_err(|_negative| anyhow!("`--window {}` is negative", args.window))?;
    let question = AuditQuestion {
        subject: args.subject,
        at: args.at.map(questions::time).transpose()?,
        window_seconds: Some(seconds),
    };
    let answer = Target::open(&args.source).await?.audit(question).await?;
    answer.print(args.format, [render::audit_text, render::audit_markdown], output)?;
    Ok(match answer.document.outcome {
        AuditOutcome::Pass => Outcome::Done,
        AuditOutcome::Regression => Outcome::Found,
        AuditOutcome::Inconclusive => Outcome::Inconclusive,
    })
}

const COLUMNS: &str = "\
SELECT id, service_name AS service, service_version AS version, previous_version, \
deployment_environment_name AS environment, kind, time, \
to_timestamp_nanos(end_unix_nano) AS end_time, source, commit, url FROM changes";
