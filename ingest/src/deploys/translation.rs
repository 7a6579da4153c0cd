//! What the readers of other tools' events share: the parsed request, the outcome of an event, and
//! the changes as the plain JSON that is logged.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use serde_json::{Map, Value, json};

use super::fields::kind_of;
use super::place::{Place, cut};
use super::{Deploy, NAME_BYTES_MAX, REQUEST_BYTES_MAX, Refusal};
use crate::DecodeError;

/// The most reasons told for events that were left out; the rest are counted.
const REASONS_MAX: usize = 20;

/// What the address says that a webhook was pointed at, for senders whose events do not tell it:
/// `?service=cart&environment=production`. What the event itself says comes first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// The service that changed.
    pub service: Option<String>,
    /// The environment that it runs in.
    pub environment: Option<String>,
}

impl Hints {
    /// Takes a parameter of the address; an error says what is wrong with it.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let hint = match name {
            "service" => &mut self.service,
            "environment" => &mut self.environment,
            _ => {
                return Err(format!(
                    "unknown parameter {}: expected service or environment",
                    crate::otlp::shown(name)
                ));
            }
        };
        if value.len() > NAME_BYTES_MAX {
            let length = value.len();
            return Err(format!(
                "`{name}` has {length} bytes: at most {NAME_BYTES_MAX} are allowed"
            ));
        }
        if hint.is_some() {
            return Err(format!("`{name}` is given twice; give it once"));
        }
        *hint = Some(value.to_owned()).filter(|value| !value.is_empty());
        Ok(())
    }
}

/// What the events of another tool say in our terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translated {
    /// The changes as the plain JSON that [`super::decode`] reads, one a line; empty without any.
    pub body: Vec<u8>,
    /// How many changes there are.
    pub changes: usize,
    /// Why each event that says nothing of a change was left out, the first ones in words.
    pub ignored: Vec<String>,
}

/// What one event is.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A change of a service.
    Change(Box<Deploy>),
    /// Something else, and why it is left out.
    Ignored(String),
}

impl Outcome {
    pub(super) fn ignored(why: impl Into<String>) -> Self {
        Self::Ignored(why.into())
    }
}

impl Translated {
    /// All events of a request, or why the request is refused.
    pub(super) fn collect(
        what: &'static str,
        outcomes: impl ExactSizeIterator<Item = Result<Outcome, Refusal>>,
    ) -> Result<Self, DecodeError> {
        let total = outcomes.len();
        let mut all = Self::default();
        let mut ignored = 0_usize;
        for (i, outcome) in outcomes.enumerate() {
            match outcome.map_err(|refusal| refusal.of(what, i, total))? {
                Outcome::Change(deploy) => all.append(&deploy),
                Outcome::Ignored(reason) => {
                    ignored = ignored.saturating_add(1);
                    if all.ignored.len() < REASONS_MAX {
                        all.ignored.push(reason);
                    }
                }
            }
        }
        let untold = ignored.saturating_sub(all.ignored.len());
        if untold > 0 {
            all.ignored.push(format!("and {untold} more events that say nothing of a deploy"));
        }
        Ok(all)
    }

    fn append(&mut self, deploy: &Deploy) {
        self.body.extend_from_slice(deploy.entry().to_string().as_bytes());
        self.body.push(b'\n');
        self.changes = self.changes.saturating_add(1);
    }
}

/// Reads the one event of a webhook.
pub(super) fn one_event(
    what: &'static str,
    body: &[u8],
    read: impl FnOnce(&Place<'_>) -> Result<Outcome, Refusal>,
) -> Result<Translated, DecodeError> {
    let document = document(what, body)?;
    if !document.is_object() {
        let found = kind_of(&document);
        return Err(DecodeError::invalid(what, format!("found {found}: an object is expected")));
    }
    Translated::collect(what, std::iter::once(read(&Place::root(&document))))
}

/// The body as one JSON document.
pub(super) fn document(what: &'static str, body: &[u8]) -> Result<Value, DecodeError> {
    if body.len() > REQUEST_BYTES_MAX {
        let why = format!("{} bytes, at most {REQUEST_BYTES_MAX}; send fewer at once", body.len());
        return Err(DecodeError::too_large(what, why));
    }
    if body.trim_ascii().is_empty() {
        return Err(DecodeError::invalid(what, "the body is empty: a JSON object is expected"));
    }
    serde_json::from_slice(body)
        .map_err(|error| DecodeError::invalid(what, format!("not valid JSON: {error}")))
}

/// Attributes that are there, cut to the length that is stored.
pub(super) fn attributes<const N: usize>(
    all: [(&str, Option<String>); N],
) -> Vec<(String, String)> {
    let there = all.into_iter().filter_map(|(key, value)| Some((key, value?)));
    there
        .map(|(key, value)| (key.to_owned(), cut(&value, super::fields::ATTRIBUTE_BYTES_MAX)))
        .collect()
}

/// Whether a tag or branch reads as a version: `2.4.0`, `v2`, `v2-rc.1`, `2026-11-21`; not `2fa-login`.
pub(super) fn is_version(name: &str) -> bool {
    let unmarked = name.strip_prefix(['v', 'V']);
    let number = unmarked.unwrap_or(name);
    let rest = number.trim_start_matches(|c: char| c.is_ascii_digit());
    if rest.len() == number.len() {
        return false;
    }
    let mut rest = rest.chars();
    match rest.next() {
        None | Some('+') => unmarked.is_some(),
        Some('.' | '-') => unmarked.is_some() || rest.next().is_some_and(|c| c.is_ascii_digit()),
        Some(_) => false,
    }
}

impl Deploy {
    /// The change as the entry that [`super::decode`] reads back to the same change.
    pub(super) fn entry(&self) -> Value {
        let mut entry = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                entry.insert(key.to_owned(), value);
            }
        };
        let text = |text: &Option<String>| text.as_deref().map(Value::from);
        put("service", Some(json!(self.service)));
        put("version", text(&self.version));
        put("previous_version", text(&self.previous_version));
        put("environment", text(&self.environment));
        put("kind", Some(json!(self.kind)));
        put("time_unix_nano", Some(json!(self.start.0)));
        put("end_unix_nano", self.end.map(|end| json!(end.0)));
        put("commit", text(&self.commit));
        put("url", text(&self.url));
        put("description", text(&self.description));
        let attributes: Map<_, _> =
            self.attributes.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        put("attributes", (!attributes.is_empty()).then_some(Value::Object(attributes)));
        Value::Object(entry)
    }
}
