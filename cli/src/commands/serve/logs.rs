//! The service's own log: structured events on stderr, named `entity.thing.verb`.

use std::io::IsTerminal;

use tracing::{Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::config::LogSettings;

/// Writes events of this level and above from now on. Libraries below us are held to warnings
/// unless debugging is asked for.
pub(super) fn start(settings: &LogSettings) -> anyhow::Result<()> {
    subscriber(settings, std::io::stderr, std::io::stderr().is_terminal()).try_init()?;
    Ok(())
}

/// The filter is a layer of its own: one that belongs to a layer loses the event after a library asked in
/// vain whether the `log` crate's would be written.
fn subscriber<W>(
    settings: &LogSettings,
    writer: W,
    has_colours: bool,
) -> impl Subscriber + Send + Sync + use<W>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let others = if settings.level > Level::INFO { settings.level } else { Level::WARN };
    let filter = Targets::new().with_default(others).with_target("upriver", settings.level);
    let filter = ["upriver_store", "upriver_ingest", "upriver_analyze", "upriver_rules"]
        .into_iter()
        .fold(filter, |filter, target| filter.with_target(target, settings.level));
    let layer = fmt::layer().with_writer(writer).with_ansi(has_colours);
    let layer = if settings.json { layer.json().boxed() } else { layer.boxed() };
    tracing_subscriber::registry().with(layer).with(filter)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_library_that_asks_in_vain_hides_nothing() {
        let mut file = tempfile::tempfile().unwrap();
        let writer = Arc::new(file.try_clone().unwrap());
        let settings = LogSettings { level: Level::INFO, json: false };
        let subscriber = subscriber(&settings, writer, false).set_default();
        for _ in 0..3 {
            let is_asked_for = log::log_enabled!(target: "datafusion", log::Level::Info);
            assert!(!is_asked_for);
            tracing::info!(target: "upriver_store", "everybody wants it");
        }
        drop(subscriber);
        let mut said = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut said).unwrap();
        assert_eq!(said.matches("everybody wants it").count(), 3, "{said}");
    }
}
