//! The fields of an entry, taken out one by one with their checks.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use jiff::Timestamp;
use serde_json::{Map, Value};
use upriver_store::time::UnixNanos;

/// Every name that is read, for the search of slips.
const KNOWN: [&str; 28] = [
    "service",
    "service_name",
    "service.name",
    "version",
    "service_version",
    "service.version",
    "revision",
    "previous_version",
    "environment",
    "env",
    "deployment_environment_name",
    "deployment.environment.name",
    "kind",
    "time_unix_nano",
    "start_unix_nano",
    "time",
    "start",
    "start_time",
    "end_unix_nano",
    "end_time_unix_nano",
    "end",
    "end_time",
    "commit",
    "url",
    "description",
    "attributes",
    "id",
    "source",
];

/// The largest name or value among the further fields.
pub(super) const ATTRIBUTE_BYTES_MAX: usize = 4096;
/// The most further fields.
const ATTRIBUTES_MAX: usize = 64;

/// Nanoseconds below it (1973) are seconds, milliseconds or microseconds by mistake.
const NANOS_MIN: i64 = 100_000_000_000_000_000;

/// The fields that are not taken yet.
#[derive(Debug)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn new(entry: Map<String, Value>) -> Self {
        Self(entry)
    }

    /// Takes the first of these names that is there and not null; two of them contradict.
    fn take<'n>(&mut self, names: &[&'n str]) -> Result<Option<(&'n str, Value)>, String> {
        let mut found: Option<(&str, Value)> = None;
        for name in names {
            let Some(value) = self.0.swap_remove(*name).filter(|value| !value.is_null()) else {
                continue;
            };
            match &found {
                Some((first, known)) if *known != value => {
                    return Err(format!("`{first}` and `{name}` differ; send one of them"));
                }
                Some(_) => {}
                None => found = Some((name, value)),
            }
        }
        Ok(found)
    }

    /// Takes a text; whole numbers are taken as text too (`"version": 42`). Empty is missing.
    pub(super) fn text(
        &mut self,
        names: &[&str],
        bytes_max: usize,
    ) -> Result<Option<String>, String> {
        let Some((name, value)) = self.take(names)? else {
            return Ok(None);
        };
        let text = match value {
            Value::String(text) => text,
            Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
            other => return Err(format!("`{name}` is {}: a text is expected", shown(&other))),
        };
        if text.len() > bytes_max {
            let length = text.len();
            return Err(format!("`{name}` has {length} bytes: at most {bytes_max} are allowed"));
        }
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// Takes one of a few texts; the first is the default.
    pub(super) fn choice<const N: usize>(
        &mut self,
        name: &str,
        choices: &[&'static str; N],
    ) -> Result<&'static str, String> {
        let Some((_, value)) = self.take(&[name])? else {
            return Ok(choices.first().copied().unwrap_or_default());
        };
        let known = choices.iter().find(|choice| value.as_str() == Some(**choice));
        if let Some(known) = known {
            return Ok(known);
        }
        let near = value.as_str().and_then(|text| meant(&text.to_lowercase(), choices));
        let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        Err(format!("`{name}` is {}: expected {}{hint}", shown(&value), choices.join(", ")))
    }

    /// Takes an instant: nanoseconds since 1970 under one set of names, RFC 3339 under another.
    pub(super) fn instant(
        &mut self,
        nanos: &[&str],
        rfc3339: &[&str],
    ) -> Result<Option<UnixNanos>, String> {
        let exact = match self.take(nanos)? {
            Some((name, value)) => Some((name, parse_nanos(name, &value)?)),
            None => None,
        };
        let readable = match self.take(rfc3339)? {
            Some((name, value)) => {
                let hint = |why| {
                    format!(
                        "{why}; for nanoseconds since 1970 use `time_unix_nano` or `end_unix_nano`"
                    )
                };
                Some((name, parse_rfc3339(name, &value).map_err(hint)?))
            }
            None => None,
        };
        match (exact, readable) {
            // A readable time is often cut to seconds, micros or millis.
            (Some((exact_name, exact)), Some((name, readable)))
                if exact.0.abs_diff(readable.0) >= 1_000_000_000 =>
            {
                Err(format!("`{exact_name}` and `{name}` differ; send one of them"))
            }
            (exact, readable) => Ok(exact.or(readable).map(|(_, instant)| instant)),
        }
    }

    /// What is left: the object `attributes`, and all fields that nobody took.
    pub(super) fn attributes(mut self) -> Result<Vec<(String, String)>, String> {
        for ignored in ["id", "source", "received_unix_nano"] {
            drop(self.take(&[ignored]));
        }
        let mut attributes = match self.take(&["attributes"])? {
            None => Vec::new(),
            Some((_, Value::Object(attributes))) => texts(attributes)?,
            Some((_, other)) => {
                return Err(format!("`attributes` is {}: an object is expected", shown(&other)));
            }
        };
        if let Some((slip, known)) = self.0.keys().find_map(|key| Some((key, slip_of(key)?))) {
            return Err(format!(
                "unknown field {slip:?}: did you mean `{known}`? further fields go under `attributes`"
            ));
        }
        let further = texts(self.0)?;
        attributes.extend(further);
        if attributes.len() > ATTRIBUTES_MAX {
            let found = attributes.len();
            return Err(format!("{found} further fields: at most {ATTRIBUTES_MAX} are allowed"));
        }
        attributes.sort();
        attributes.dedup_by(|later, first| later.0 == first.0);
        Ok(attributes)
    }
}

fn texts(fields: Map<String, Value>) -> Result<Vec<(String, String)>, String> {
    let mut texts = Vec::with_capacity(fields.len());
    for (key, value) in fields {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text,
            other => other.to_string(),
        };
        let length = text.len().max(key.len());
        if length > ATTRIBUTE_BYTES_MAX {
            return Err(format!(
                "field {} has {length} bytes: at most {ATTRIBUTE_BYTES_MAX} are allowed",
                shown(&Value::String(key))
            ));
        }
        texts.push((key, text));
    }
    Ok(texts)
}

fn parse_nanos(name: &str, value: &Value) -> Result<UnixNanos, String> {
    let nanos = match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    match nanos {
        Some(nanos) if nanos >= NANOS_MIN => Ok(UnixNanos(nanos)),
        Some(nanos) => Err(format!(
            "`{name}` is {nanos}: nanoseconds since 1970 are expected, this would be before 1974"
        )),
        None => Err(format!(
            "`{name}` is {}: a whole number of nanoseconds since 1970 is expected",
            shown(value)
        )),
    }
}

/// An instant in RFC 3339.
pub(super) fn parse_rfc3339(name: &str, value: &Value) -> Result<UnixNanos, String> {
    let timestamp = value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    instant_of(name, value, timestamp)
}

/// An instant that was read from a value, if it could be and is no mistake.
pub(super) fn instant_of(
    name: &str,
    value: &Value,
    timestamp: Option<Timestamp>,
) -> Result<UnixNanos, String> {
    let nanos = timestamp.and_then(|timestamp| i64::try_from(timestamp.as_nanosecond()).ok());
    match nanos {
        Some(nanos) if nanos >= NANOS_MIN => Ok(UnixNanos(nanos)),
        Some(_) => Err(format!("`{name}` is {}: that is before 1974", shown(value))),
        None => Err(format!(
            "`{name}` is {}: a time such as \"2026-11-21T10:31:00Z\" (RFC 3339) is expected",
            shown(value)
        )),
    }
}

/// A value for a message, short.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => crate::otlp::shown(text),
        Value::Number(number) => number.to_string(),
        other => kind_of(other).to_owned(),
    }
}

/// What JSON calls a value.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(true) => "true",
        Value::Bool(false) => "false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The known name that this one was meant to be, if it is nearly the same.
fn slip_of(key: &str) -> Option<&'static str> {
    const LONG: usize = 6;
    let edits_max = if key.len() < LONG { 1 } else { 2 };
    let known = nearest(&key.to_lowercase(), &KNOWN)?;
    (edits(&key.to_lowercase(), known) <= edits_max).then_some(known)
}

/// The choice that begins or ends the text or is begun or ended by it, else the nearest.
fn meant(text: &str, choices: &[&'static str]) -> Option<&'static str> {
    const SHORT: usize = 4;
    let mut parts = choices.iter().filter(|choice| {
        let (short, long) =
            if text.len() < choice.len() { (text, **choice) } else { (**choice, text) };
        short.len() >= SHORT && (long.starts_with(short) || long.ends_with(short))
    });
    parts.next().copied().or_else(|| nearest(text, choices))
}

/// The choice with the fewest edits from `text`, if there are fewer than half its letters.
fn nearest(text: &str, choices: &[&'static str]) -> Option<&'static str> {
    let near = choices.iter().copied().min_by_key(|choice| edits(text, choice))?;
    (edits(text, near) <= near.len() / 2).then_some(near)
}

/// Insertions, deletions and replacements between two names (Levenshtein); names longer than any
/// known one are far from all.
fn edits(a: &str, b: &str) -> usize {
    const LENGTH_MAX: usize = 64;
    if a.len() > LENGTH_MAX {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut before = i.saturating_add(1);
        for (slot, right) in row.iter_mut().skip(1).zip(b.chars()) {
            let replaced = diagonal.saturating_add(usize::from(left != right));
            diagonal = *slot;
            before = replaced.min(before.saturating_add(1)).min(diagonal.saturating_add(1));
            *slot = before;
        }
        if let Some(first) = row.first_mut() {
            *first = i.saturating_add(1);
        }
    }
    row.last().copied().unwrap_or_default()
}
