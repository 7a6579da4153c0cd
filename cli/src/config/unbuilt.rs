//! Keys of the frame whose feature is not built: their documented defaults are accepted and do
//! nothing; any other value is refused, so that nobody believes in a protection that is not there.

use super::error::{ConfigError, Place};
use super::file::{File, Given, Origin, Present};
use super::{Reader, value};

/// A value that must be the default.
type Scalar = (&'static str, fn(&File) -> Option<&Given>, &'static str, &'static str);
/// A section that must be empty.
type Empty = (&'static str, fn(&File) -> Option<&Present>, &'static str, &'static str);

const SCALARS: [Scalar; 6] = [
    (
        "query.postgres.endpoint",
        |f| f.query.as_ref()?.postgres.as_ref()?.endpoint.as_ref(),
        "127.0.0.1:5433",
        "the Postgres door",
    ),
    (
        "query.flight_sql.endpoint",
        |f| f.query.as_ref()?.flight_sql.as_ref()?.endpoint.as_ref(),
        "127.0.0.1:8815",
        "the Flight SQL door",
    ),
    (
        "rules.library",
        |f| f.rules.as_ref()?.library.as_ref(),
        "true",
        "evaluating rules in the server",
    ),
    (
        "rules.interval",
        |f| f.rules.as_ref()?.interval.as_ref(),
        "1m",
        "evaluating rules in the server",
    ),
    (
        "query.postgres.enabled",
        |f| f.query.as_ref()?.postgres.as_ref()?.enabled.as_ref(),
        "false",
        "the Postgres door",
    ),
    (
        "query.flight_sql.enabled",
        |f| f.query.as_ref()?.flight_sql.as_ref()?.enabled.as_ref(),
        "false",
        "the Flight SQL door",
    ),
];

/// The Collector's authenticators are extensions; here one list of keys holds for every listener.
const AUTHENTICATION: &str = "authentication by the listener (keys stand in auth.keys)";

const EMPTIES: [Empty; 5] = [
    ("rules.paths", |f| f.rules.as_ref()?.paths.as_ref(), "[]", "evaluating rules in the server"),
    ("notify", |f| f.notify.as_ref(), "{}", "sending notifications"),
    ("receivers.otlp.protocols.grpc.auth", |f| grpc(f)?.auth.as_ref(), "nothing", AUTHENTICATION),
    ("receivers.otlp.protocols.http.auth", |f| http(f)?.auth.as_ref(), "nothing", AUTHENTICATION),
    ("api.auth", |f| f.api.as_ref()?.auth.as_ref(), "nothing", AUTHENTICATION),
];

/// Refuses what is not built, and names the accepted keys that do nothing yet.
pub(super) fn check(file: &File, reader: &Reader<'_>) -> Result<Vec<&'static str>, ConfigError> {
    let mut without_effect = Vec::new();
    for (key, find, default, what) in SCALARS {
        let Some(given) = find(file) else { continue };
        let text = reader.text(key, given)?;
        if !same(&text, default) {
            let place = Place::of(reader.path, &given.origin);
            return Err(ConfigError::NotBuilt { place, key, what, default });
        }
        if !key.ends_with(".enabled") {
            without_effect.push(key);
        }
    }
    for (key, find, default, what) in EMPTIES {
        if let Some(present) = find(file).filter(|present| !present.empty) {
            let place = Place::of(reader.path, &Origin::Line(present.line));
            return Err(ConfigError::NotBuilt { place, key, what, default });
        }
    }
    Ok(without_effect)
}

/// Whether two values mean the same: `60s` is `1m`.
fn same(text: &str, default: &str) -> bool {
    if text == default {
        return true;
    }
    matches!((value::duration(text), value::duration(default)), (Ok(a), Ok(b)) if a == b)
}

fn grpc(file: &File) -> Option<&super::file::Grpc> {
    file.receivers.as_ref()?.otlp.as_ref()?.protocols.as_ref()?.grpc.as_ref()
}

fn http(file: &File) -> Option<&super::file::Http> {
    file.receivers.as_ref()?.otlp.as_ref()?.protocols.as_ref()?.http.as_ref()
}
