//! `upriver serve`: the doors, the store and the queries in one process.

mod audits;
mod connections;
mod logs;
mod memory;
mod own_profile;
mod queries;
mod running;
mod signals;
mod tls;

use std::path::Path;

use anyhow::Context;
use serde_json::json;

use crate::args::ServeArgs;
use crate::config::{Overrides, ServeSettings};
use crate::environment;
use crate::output::Output;
use crate::run::Outcome;

pub(crate) use running::{RunningServer, start};

/// Serves until the process is told to stop.
pub(crate) async fn run(args: ServeArgs, output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let overrides = Overrides {
        data: args.data,
        wal: args.wal,
        otlp_grpc: args.otlp_grpc,
        otlp_http: args.otlp_http,
        api: args.api,
        wal_repair: args.wal_repair,
    };
    let mut settings =
        ServeSettings::load(args.config.as_deref(), &environment::variable, &overrides)?;
    settings.store.bucket = environment::bucket_options();
    logs::start(&settings.logs)?;
    let keys = settings.without_effect.join(", ");
    if !keys.is_empty() {
        tracing::warn!(name: "config.key.ignore", keys, "config.key.ignore: not built yet, the defaults given do nothing");
    }
    let stop = signals::stop()?;
    tokio::pin!(stop);
    let server = tokio::select! {
        server = start(settings) => server?,
        signal = &mut stop => {
            tracing::info!(name: "server.process.stop", signal, "server.process.stop: while starting");
            return Ok(Outcome::Done);
        }
    };
    announce(&server, args.addresses_file.as_deref(), output)?;
    let signal = stop.await;
    tracing::info!(name: "server.process.stop", signal, "server.process.stop");
    server.stop().await?;
    Ok(Outcome::Done)
}

/// Tells people on stderr, and programs in a file, where the server listens.
fn announce(
    server: &RunningServer,
    file: Option<&Path>,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    writeln!(
        output.err,
        "upriver takes OTLP/gRPC on {}, OTLP/HTTP on {}, and profiles, deploys and SQL on http://{}",
        server.grpc, server.otlp_http, server.api
    )?;
    let Some(path) = file else { return Ok(()) };
    let addresses = json!({
        "grpc": server.grpc.to_string(),
        "otlp_http": server.otlp_http.to_string(),
        "api": server.api.to_string(),
    });
    // Written beside and renamed, so that whoever waits for the file never reads half of it.
    let unfinished = path.with_extension("unfinished");
    std::fs::write(&unfinished, format!("{addresses}\n"))
        .and_then(|()| std::fs::rename(&unfinished, path))
        .with_context(|| format!("could not write the addresses to `{}`", path.display()))
}
