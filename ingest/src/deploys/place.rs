//! A place in the document of another tool, which knows its path, so that a refusal can name it.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use jiff::fmt::strtime;
use serde_json::{Map, Value};
use upriver_store::time::UnixNanos;

use super::fields::{instant_of, kind_of, parse_rfc3339, shown};

/// A value and how to get there from the whole document.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Place<'a> {
    /// The whole document.
    pub(super) fn root(value: &'a Value) -> Self {
        Self { path: String::new(), value }
    }

    /// The fields, where this is an object.
    pub(super) fn fields(&self) -> Option<&'a Map<String, Value>> {
        self.value.as_object()
    }

    /// The value itself.
    pub(super) fn value(&self) -> &'a Value {
        self.value
    }

    /// The field below this place; `None` when it is missing or null.
    pub(super) fn get(&self, key: &str) -> Option<Self> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        let path =
            if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Some(Self { path, value })
    }

    /// The object below this place; `None` when it is missing or null.
    pub(super) fn object(&self, key: &str) -> Result<Option<Self>, String> {
        match self.get(key) {
            Some(place) if !place.value.is_object() => {
                let found = kind_of(place.value);
                Err(format!("`{}` is {found}: an object is expected", place.path))
            }
            place => Ok(place),
        }
    }

    /// The object below this place, which must be there.
    pub(super) fn required_object(&self, key: &str) -> Result<Self, String> {
        self.object(key)?.ok_or_else(|| self.missing(key, "an object"))
    }

    /// The text below this place; whole numbers are taken as text too. Empty is missing.
    pub(super) fn text(&self, key: &str, bytes_max: usize) -> Result<Option<String>, String> {
        let Some(place) = self.get(key) else { return Ok(None) };
        let text = match place.value {
            Value::String(text) => text.clone(),
            Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
            other => {
                return Err(format!("`{}` is {}: a text is expected", place.path, shown(other)));
            }
        };
        if text.len() > bytes_max {
            return Err(format!(
                "`{}` has {} bytes: at most {bytes_max} are allowed",
                place.path,
                text.len()
            ));
        }
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// The text below this place, which must be there.
    pub(super) fn required_text(&self, key: &str, bytes_max: usize) -> Result<String, String> {
        self.text(key, bytes_max)?.ok_or_else(|| self.missing(key, "a text"))
    }

    /// The text below this place for people to read, cut where it is too long; anything else than
    /// text is none.
    pub(super) fn prose(&self, key: &str, bytes_max: usize) -> Option<String> {
        let text = self.get(key)?.value.as_str()?;
        (!text.is_empty()).then(|| cut(text, bytes_max))
    }

    /// The instant below this place: RFC 3339, or as Ruby prints it, `2026-11-21 10:31:00 +0100`.
    pub(super) fn instant(&self, key: &str) -> Result<Option<UnixNanos>, String> {
        let Some(place) = self.get(key) else { return Ok(None) };
        let ruby = place.value.as_str().and_then(|text| {
            let text = text.strip_suffix(" UTC").map(|rest| format!("{rest} +0000"));
            let text = text.as_deref().or(place.value.as_str())?;
            strtime::parse("%Y-%m-%d %H:%M:%S %z", text).ok()?.to_timestamp().ok()
        });
        match ruby {
            Some(timestamp) => instant_of(&place.path, place.value, Some(timestamp)).map(Some),
            None => parse_rfc3339(&place.path, place.value).map(Some),
        }
    }

    /// What is said of a field that must be there and is not.
    pub(super) fn missing(&self, key: &str, expected: &str) -> String {
        let path =
            if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        format!("`{path}` is missing: {expected} is expected")
    }
}

/// The text, or as much of its beginning as fits with an ellipsis.
pub(super) fn cut(text: &str, bytes_max: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes_max.saturating_sub(ELLIPSIS.len()));
    format!("{}{ELLIPSIS}", text.get(..end).unwrap_or_default())
}
