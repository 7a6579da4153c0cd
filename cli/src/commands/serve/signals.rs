//! How the process is told to stop.

use anyhow::Context;

/// Resolves with the signal's name once the process is told to stop. A second signal ends the
/// process at once only where the system does so; an orderly stop takes seconds.
#[cfg(unix)]
pub(super) fn stop() -> anyhow::Result<impl Future<Output = &'static str>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate()).context("could not watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("could not watch for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}

/// Resolves once the process is told to stop.
#[cfg(not(unix))]
pub(super) fn stop() -> anyhow::Result<impl Future<Output = &'static str>> {
    Ok(async {
        let stopped = tokio::signal::ctrl_c().await.context("could not watch for Ctrl-C");
        if stopped.is_ok() { "Ctrl-C" } else { "a failed watch for Ctrl-C" }
    })
}
