//! `upriver demo`: a scenario through real OTLP into an embedded server, then its diagnosis.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use upriver_rules::render;
use upriver_testdata::scenario::{Options, Scenario, Slice, Variant};

use crate::args::{DemoArgs, ScenarioName};
use crate::commands::serve;
use crate::config::ServeSettings;
use crate::error::Advise;
use crate::output::Output;
use crate::player::{Player, Sent};
use crate::questions::{self, DiagnoseQuestion, VerifyQuestion};
use crate::run::Outcome;
use crate::target::Server;

/// Generated slices that wait to be sent.
const SLICES_AHEAD: usize = 4;
/// The shop's objective for `POST /checkout`, MISSION's 200 ms.
const OBJECTIVE_MS: u64 = 200;

/// Plays the scenario, prints what was sent, the diagnosis, the verification, and where to go on.
pub(crate) async fn run(args: DemoArgs, output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let mut options = Options::new(variant(args.scenario));
    options.seed = args.seed.unwrap_or(options.seed);
    let scenario = Scenario::new(options);
    if let Some(folder) = &args.write_case {
        return write_case(&scenario, folder, output);
    }
    let folder = empty_folder(args.data.as_deref())?;
    let server = serve::start(ServeSettings::embedded(folder.clone())).await?;
    let played = async {
        let (sent, took) = play(&scenario, &server).await?;
        let pace = sent.spans as f64 / took.as_secs_f64();
        output.line(format!(
            "Sent {} spans of eight days by OTLP/gRPC, {} pprof profiles, {} deploy events: {} requests in {:.1} s ({pace:.0} spans/s), each acknowledged after it was on disk.\n",
            sent.spans, sent.profiles, sent.deploys, sent.requests, took.as_secs_f64(),
        ))?;
        report(&scenario, &Server::at(server.api)?, output).await
    };
    let played = played.await;
    let stopped = server.stop().await;
    played?;
    stopped?;
    output.line(next_steps(&scenario, &folder)?)?;
    Ok(Outcome::Done)
}

fn variant(name: ScenarioName) -> Variant {
    match name {
        ScenarioName::Checkout => Variant::Checkout,
        ScenarioName::NestedAllocation => Variant::NestedAllocation,
        ScenarioName::InflationBeforeDeploy => Variant::InflationBeforeDeploy,
        ScenarioName::DeployWithoutInflation => Variant::DeployWithoutInflation,
        ScenarioName::InflationWithoutDeploy => Variant::InflationWithoutDeploy,
        ScenarioName::HostileNames => Variant::HostileNames,
    }
}

fn write_case(
    scenario: &Scenario,
    folder: &Path,
    output: &mut Output<'_>,
) -> anyhow::Result<Outcome> {
    let written = scenario.write_case(folder)?;
    output.note(format!(
        "wrote {} spans, {} profiles and {} deploys to `{}`",
        written.spans,
        written.profiles,
        written.deploys,
        folder.display()
    ))?;
    Ok(Outcome::Done)
}

/// The folder that was named, if it is new or empty, else a new one.
fn empty_folder(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let Some(folder) = named else {
        let name = format!("upriver-demo-{}", std::process::id());
        return Ok(std::env::temp_dir().join(name));
    };
    if folder.exists() {
        let mut entries = std::fs::read_dir(folder)
            .with_context(|| format!("could not read the folder `{}`", folder.display()))?;
        if entries.next().is_some() {
            return Err(anyhow::anyhow!("the folder `{}` is not empty", folder.display()))
                .hint("name a new folder with `--data DIR`, or leave the flag out");
        }
    }
    Ok(folder.to_path_buf())
}

/// Generates on one thread and sends from another; shows how far it is.
#[expect(clippy::disallowed_methods, reason = "the demo says how long it took")]
async fn play(
    scenario: &Scenario,
    server: &serve::RunningServer,
) -> anyhow::Result<(Sent, Duration)> {
    let player = Player::connect(server.grpc, server.api).await?;
    let started = Instant::now();
    let timeline = scenario.timeline();
    let progress = progress(timeline.end - timeline.start);
    let (slices, mut generated) = mpsc::channel::<Slice>(SLICES_AHEAD);
    let mut tasks = JoinSet::new();
    let generator = scenario.clone();
    tasks.spawn_blocking(move || {
        for slice in generator.slices() {
            if slices.blocking_send(slice).is_err() {
                return;
            }
        }
    });
    let mut sent = Sent::default();
    while let Some(slice) = generated.recv().await {
        let reached = slice.end_unix_nano - timeline.start;
        player.send(slice, &mut sent).await?;
        progress.set_position(u64::try_from(reached).unwrap_or(0));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context("the generator stopped")?;
    }
    progress.finish_and_clear();
    ensure!(sent.spans > 0, "the scenario has no spans");
    Ok((sent, started.elapsed()))
}

fn progress(length: i64) -> ProgressBar {
    let style = ProgressStyle::with_template("playing {bar:40} {percent}% ({elapsed})")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(u64::try_from(length).unwrap_or(0)).with_style(style)
}

/// The diagnosis as of the alert's follow-up, and the verification at the end.
async fn report(
    scenario: &Scenario,
    server: &Server,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let label = scenario.label();
    let at = timestamp(label.diagnose_at_unix_nano)?;
    let question = DiagnoseQuestion {
        at: Some(questions::time(at)?),
        window_seconds: label.window_minutes.unsigned_abs() * 60,
        objective_ms: Some(OBJECTIVE_MS),
        ..DiagnoseQuestion::default()
    };
    let diagnosis = server.diagnose(&question).await?.document;
    output.line(format!("$ upriver diagnose --at {at} --objective {OBJECTIVE_MS}ms"))?;
    output.line(render::text(&diagnosis))?;
    let deploy = diagnosis.root_cause.as_ref().and_then(|cause| cause.deploy.as_ref());
    let (Some(deploy), Some(_)) = (deploy, label.rollback_unix_nano) else { return Ok(()) };
    let end = timestamp(scenario.timeline().end)?;
    let question = VerifyQuestion { subject: deploy.id.clone(), at: Some(questions::time(end)?) };
    let verification = server.verify(&question).await?.document;
    output.line(format!("$ upriver verify {} --at {end}", deploy.id))?;
    output.line(render::verification_text(&verification))?;
    Ok(())
}

fn timestamp(unix_nano: i64) -> anyhow::Result<jiff::Timestamp> {
    Ok(jiff::Timestamp::from_nanosecond(i128::from(unix_nano))?)
}

fn next_steps(scenario: &Scenario, folder: &Path) -> anyhow::Result<String> {
    let label = scenario.label();
    let rollout = timestamp(scenario.timeline().rollout.start)?;
    let at = timestamp(label.diagnose_at_unix_nano)?;
    let folder = folder.display();
    Ok(format!(
        "Ask on, with `upriver sql --data {folder} \"...\"`:\n
  -- every change, explicit and inferred from service.version
  SELECT time, kind, service_name, service_version, source FROM changes ORDER BY time DESC LIMIT 10;\n
  -- whose bodies grew, week over week
  SELECT client_service, server_service, operation, p50_before, p50_now, growth
  FROM payload_growth(TIMESTAMP '{at}', INTERVAL '15 minutes', INTERVAL '7 days') ORDER BY growth DESC;\n
  -- which functions take more of the CPU since {rollout}
  SELECT name, share_before, share_now FROM profile_diff('checkout', TIMESTAMP '{rollout}', TIMESTAMP '{at}',
    TIMESTAMP '{rollout}' - INTERVAL '1 hour', TIMESTAMP '{rollout}')
  WHERE kind = 'function' ORDER BY share_now - share_before DESC LIMIT 10;\n
The data lies in {folder}: Delta tables, one folder each."
    ))
}
