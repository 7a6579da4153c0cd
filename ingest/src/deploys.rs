//! Deploy events to rows of `deploys`.
//!
//! A request is one JSON object, a list of them, or one per line. It is taken as a whole or refused
//! as a whole, naming the first bad entry. Names are data: quotes, line breaks and control characters
//! are kept as they are.
//!
//! | field | also | is |
//! |---|---|---|
//! | `service` | `service_name`, `service.name` | required |
//! | `version` | `service_version`, `service.version`, `revision` | version after the change |
//! | `previous_version` | | version before |
//! | `environment` | `env`, `deployment_environment_name`, `deployment.environment.name` | environment |
//! | `kind` | | `deploy` (default), `rollback`, `config` or `feature_flag` |
//! | `time_unix_nano` | `start_unix_nano`; `time`, `start`, `start_time` in RFC 3339 | start; default: the end, else when received |
//! | `end_unix_nano` | `end_time_unix_nano`; `end`, `end_time` in RFC 3339 | end |
//! | `commit`, `url`, `description` | `message`, `comment`, `title` for the last | texts |
//! | `attributes` | | an object of further fields |
//!
//! `id`, `source` and `received_unix_nano` are ignored, so that what `upriver deploy list` prints and
//! what `upriver export` writes can be sent back (an import believes the last of them). Other
//! fields are kept as attributes, unless the name is so near to a known one that it must be a slip.
//!
//! What other tools send is turned into this form before it is logged, so that the log and the
//! replay know one form alone:
//!
//! | module | reads |
//! |---|---|
//! | [`cdevents`] | CDEvents in CloudEvents |
//! | [`github`] | webhooks of GitHub deployments |
//! | [`gitlab`] | webhooks of GitLab deployments |
//! | [`flux`] | notifications of Flux |
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use serde_json::{Deserializer, Map, Value};
use upriver_store::ids::deploy_id;
use upriver_store::schema::Table;
use upriver_store::time::UnixNanos;

use self::fields::Fields;
use crate::otlp::AttributesBuilder;
use crate::rows::{DateBuilder, IntBuilder, TextBuilder, TimeBuilder, table_rows};
use crate::{DecodeError, Decoded};

pub mod cdevents;
pub mod flux;
pub mod github;
pub mod gitlab;

mod fields;
mod foreign;
mod place;
mod translation;

pub use translation::{Hints, Translated};

const WHAT: &str = "deploys";

/// The largest request: ten thousand changes of a kilobyte and more.
const REQUEST_BYTES_MAX: usize = 16 << 20;
/// The most changes of one request; a year of a busy shop fits.
const ENTRIES_MAX: usize = 10_000;

/// Turns deploy events (JSON: an object, an array, or lines) into rows of `deploys`, all or
/// nothing. `received` is the start of a change that says neither its start nor its end.
pub fn decode(body: &[u8], received: UnixNanos) -> Result<Decoded, DecodeError> {
    if body.len() > REQUEST_BYTES_MAX {
        let why = format!("{} bytes, at most {REQUEST_BYTES_MAX}; send fewer at once", body.len());
        return Err(DecodeError::too_large(WHAT, why));
    }
    let entries = parse(body)?;
    let total = entries.len();
    let mut rows = DeployRows::default();
    for (i, entry) in entries.into_iter().enumerate() {
        let deploy = read(entry, received).map_err(|refusal| refusal.at(i, total))?;
        rows.append(&deploy, received);
    }
    Ok(Decoded {
        batches: rows.finish().into_iter().collect(),
        accepted: total as u64,
        ..Decoded::default()
    })
}

/// The entries of a request in order.
fn parse(body: &[u8]) -> Result<Vec<Map<String, Value>>, DecodeError> {
    let invalid = |why| DecodeError::invalid(WHAT, why);
    let text = std::str::from_utf8(body)
        .map_err(|error| invalid(format!("the body is not UTF-8: {error}")))?;
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Err(invalid(format!("the body is empty; {EXPECTED}")));
    }
    let mut entries = Vec::new();
    for value in Deserializer::from_str(text).into_iter::<Value>() {
        let value =
            value.map_err(|error| invalid(format!("not valid JSON: {error}; {EXPECTED}")))?;
        let values = match value {
            Value::Array(values) => values,
            value => vec![value],
        };
        for value in values {
            let Value::Object(entry) = value else {
                return Err(invalid(format!("found {}; {EXPECTED}", fields::kind_of(&value))));
            };
            entries.push(entry);
        }
        if entries.len() > ENTRIES_MAX {
            let why = format!("more than {ENTRIES_MAX} changes; send fewer at once");
            return Err(DecodeError::too_large(WHAT, why));
        }
    }
    Ok(entries)
}

/// What a body must be.
const EXPECTED: &str = r#"expected a JSON object such as {"service": "cart", "version": "1.4.2"}, a list of them, or one per line"#;

/// Why an entry is refused.
#[derive(Debug)]
enum Refusal {
    Invalid(String),
    Unsupported { format: String, hint: String },
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self::Invalid(why)
    }
}

impl Refusal {
    /// The error, naming the entry if there are several.
    fn at(self, index: usize, total: usize) -> DecodeError {
        self.of(WHAT, index, total)
    }

    /// The error about `what`, naming the entry if there are several.
    fn of(self, what: &'static str, index: usize, total: usize) -> DecodeError {
        match self {
            Self::Unsupported { format, hint } => DecodeError::unsupported(format, hint),
            Self::Invalid(why) if total > 1 => {
                let entry = index.saturating_add(1);
                DecodeError::invalid(what, format!("entry {entry} of {total}: {why}"))
            }
            Self::Invalid(why) => DecodeError::invalid(what, why),
        }
    }
}

/// The kinds of change.
const KINDS: [&str; 4] = ["deploy", "rollback", "config", "feature_flag"];

/// A change, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Deploy {
    service: String,
    version: Option<String>,
    previous_version: Option<String>,
    environment: Option<String>,
    kind: &'static str,
    start: UnixNanos,
    end: Option<UnixNanos>,
    commit: Option<String>,
    url: Option<String>,
    description: Option<String>,
    attributes: Vec<(String, String)>,
}

fn read(entry: Map<String, Value>, received: UnixNanos) -> Result<Deploy, Refusal> {
    if let Some(foreign) = foreign::format_of(&entry) {
        return Err(foreign);
    }
    let mut fields = Fields::new(entry);
    let service = fields.text(&["service", "service_name", "service.name"], NAME_BYTES_MAX)?;
    let Some(service) = service else {
        return Err("deploy without `service`: the name of the service that changed is required"
            .to_owned()
            .into());
    };
    let start =
        fields.instant(&["time_unix_nano", "start_unix_nano"], &["time", "start", "start_time"])?;
    let end = fields.instant(&["end_unix_nano", "end_time_unix_nano"], &["end", "end_time"])?;
    let deploy = Deploy {
        service,
        version: fields
            .text(&["version", "service_version", "service.version", "revision"], NAME_BYTES_MAX)?,
        previous_version: fields.text(&["previous_version"], NAME_BYTES_MAX)?,
        environment: fields.text(
            &["environment", "env", "deployment_environment_name", "deployment.environment.name"],
            NAME_BYTES_MAX,
        )?,
        kind: fields.choice("kind", &KINDS)?,
        start: start.or(end).unwrap_or(received),
        end,
        commit: fields.text(&["commit"], NAME_BYTES_MAX)?,
        url: fields.text(&["url"], URL_BYTES_MAX)?,
        description: fields
            .text(&["description", "message", "comment", "title"], DESCRIPTION_BYTES_MAX)?,
        attributes: fields.attributes()?,
    };
    match deploy.end {
        Some(end) if end < deploy.start => Err(format!(
            "the change ends ({}) before it starts ({}): nanoseconds since 1970 are compared",
            end.0, deploy.start.0
        )
        .into()),
        _ => Ok(deploy),
    }
}

/// Names, versions and commits are short; a longer one is a mistake, and ids and reports repeat it.
const NAME_BYTES_MAX: usize = 512;
/// What browsers and proxies take.
const URL_BYTES_MAX: usize = 4096;
/// A paragraph or a short changelog.
const DESCRIPTION_BYTES_MAX: usize = 16 << 10;

table_rows! {
    /// Rows of `deploys`.
    DeployRows of Table::Deploys, {
        time: TimeBuilder,
        start_unix_nano: IntBuilder,
        service_name: TextBuilder,
        id: TextBuilder,
        kind: TextBuilder,
        source: TextBuilder,
        end_unix_nano: IntBuilder,
        service_version: TextBuilder,
        previous_version: TextBuilder,
        deployment_environment_name: TextBuilder,
        commit: TextBuilder,
        url: TextBuilder,
        description: TextBuilder,
        received_unix_nano: IntBuilder,
        attributes: AttributesBuilder,
        date: DateBuilder,
    }
}

impl DeployRows {
    fn append(&mut self, deploy: &Deploy, received: UnixNanos) {
        let environment = deploy.environment.as_deref().unwrap_or_default();
        let version = deploy.version.as_deref().unwrap_or_default();
        let id = deploy_id(&deploy.service, environment, deploy.kind, version, deploy.start.0);
        self.time.append_value(deploy.start);
        self.start_unix_nano.append_value(deploy.start.0);
        self.service_name.append_value(&deploy.service);
        self.id.append_value(id);
        self.kind.append_value(deploy.kind);
        self.source.append_value("explicit");
        self.end_unix_nano.append_option(deploy.end.map(|end| end.0));
        self.service_version.append_option(deploy.version.as_deref());
        self.previous_version.append_option(deploy.previous_version.as_deref());
        self.deployment_environment_name.append_option(deploy.environment.as_deref());
        self.commit.append_option(deploy.commit.as_deref());
        self.url.append_option(deploy.url.as_deref());
        self.description.append_option(deploy.description.as_deref());
        self.received_unix_nano.append_value(received.0);
        self.attributes.append_texts(deploy.attributes.iter().map(|(k, v)| (&**k, &**v)));
        self.date.append_value(deploy.start.date());
    }
}

#[cfg(test)]
mod tests;
