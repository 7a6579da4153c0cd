//! The service's own log: structured events on stderr, named `entity.thing.verb`.

use std::io::IsTerminal;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::config::LogSettings;

/// Writes events of this level and above from now on. Libraries below us are held to warnings
/// unless debugging is asked for.
pub(super) fn start(settings: &LogSettings) -> anyhow::Result<()> {
    let others = if settings.level > Level::INFO { settings.level } else { Level::WARN };
    let filter = Targets::new().with_default(others).with_target("upriver", settings.level);
    let filter = ["upriver_store", "upriver_ingest", "upriver_analyze", "upriver_rules"]
        .into_iter()
        .fold(filter, |filter, target| filter.with_target(target, settings.level));
    let stderr = std::io::stderr;
    let layer = fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal());
    let layer = if settings.json { layer.json().boxed() } else { layer.boxed() };
    tracing_subscriber::registry().with(layer.with_filter(filter)).try_init()?;
    Ok(())
}
