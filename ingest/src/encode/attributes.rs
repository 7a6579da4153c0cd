//! Attributes from the text that the tables keep.
//!
//! They come back as texts, except under the keys of which the decoders read more than the text: a
//! status, a size or a flag. There a text that is how a number, a truth value or a list would have been
//! written is written as that, so that the columns that come from it are the same again.

use std::borrow::Cow;
use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, MapArray};
use serde::Serialize;
use serde_json::Value;

use super::lines::json;
use super::rows::{Double, Rows, Signed, elements, int, text};
use crate::otlp::is_read_by_type;

/// A `KeyValue`.
#[derive(Debug, Serialize)]
pub(super) struct KeyValue<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<AnyValue<'a>>,
}

/// An `AnyValue`.
#[expect(clippy::enum_variant_names, reason = "the names of the protocol")]
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum AnyValue<'a> {
    StringValue(&'a str),
    BoolValue(bool),
    IntValue(Signed),
    DoubleValue(Double),
    ArrayValue { values: Vec<OwnedValue> },
}

/// An element of a list.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum OwnedValue {
    StringValue(String),
    IntValue(Signed),
}

/// The attributes of a row, in their order.
pub(super) fn of_row(column: &MapArray, row: usize) -> Vec<KeyValue<'_>> {
    entries(column, row)
        .map(|(key, text)| KeyValue { key, value: text.map(|text| any_value(key, text)) })
        .collect()
}

/// The attributes of a row, those first that are columns.
pub(super) fn with_columns(rows: Rows<'_>, row: usize) -> Vec<KeyValue<'_>> {
    let map = rows.maps("attributes");
    let columns = rows.table().attribute_columns().iter().filter_map(|known| {
        let name = known.named_by.map(|column| rows.texts(column));
        if name.is_some_and(|name| text(name, row) != Some(known.attribute)) {
            return None;
        }
        let (value, text) = column_value(rows, known.column, row)?;
        // Rows of earlier versions have it in the map too; others may have come from the older name.
        let is_in_map = entries(map, row).any(|(key, found)| {
            key == known.attribute || (Some(key) == known.older && found == Some(&*text))
        });
        (!is_in_map).then_some(KeyValue { key: known.attribute, value: Some(value) })
    });
    columns.chain(of_row(map, row)).collect()
}

/// The value of a column, and how it is as text.
fn column_value<'a>(
    rows: Rows<'a>,
    column: &str,
    row: usize,
) -> Option<(AnyValue<'a>, Cow<'a, str>)> {
    if rows.is_of_integers(column) {
        let number = int(rows.ints(column), row)?;
        return Some((AnyValue::IntValue(Signed(number)), Cow::Owned(number.to_string())));
    }
    let text = text(rows.texts(column), row)?;
    Some((AnyValue::StringValue(text), Cow::Borrowed(text)))
}

/// The same as name and text; empty values are left out.
pub(super) fn texts_of_row(column: &MapArray, row: usize) -> BTreeMap<&str, &str> {
    entries(column, row).filter_map(|(key, text)| Some((key, text?))).collect()
}

fn entries(column: &MapArray, row: usize) -> impl Iterator<Item = (&str, Option<&str>)> {
    let (keys, values) = (column.keys().as_string::<i32>(), column.values().as_string::<i32>());
    elements(column.value_offsets(), row)
        .map(move |at| (keys.value(at), values.is_valid(at).then(|| values.value(at))))
}

/// A text attribute, with one of these keys left out.
pub(super) fn without<'a>(attributes: Vec<KeyValue<'a>>, key: &str) -> Vec<KeyValue<'a>> {
    attributes.into_iter().filter(|attribute| attribute.key != key).collect()
}

fn any_value<'a>(key: &str, text: &'a str) -> AnyValue<'a> {
    if !is_read_by_type(key) {
        return AnyValue::StringValue(text);
    }
    let typed = match serde_json::from_str(text) {
        Ok(Value::Bool(value)) => Some(AnyValue::BoolValue(value)),
        Ok(Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) if value.to_string() == text => {
                Some(AnyValue::IntValue(Signed(value)))
            }
            (_, Some(value)) if format!("{value:?}") == text => {
                Some(AnyValue::DoubleValue(Double(value)))
            }
            _ => None,
        },
        Ok(Value::Array(list)) if json(&list) == text => list_value(list),
        _ => None,
    };
    typed.unwrap_or(AnyValue::StringValue(text))
}

/// A list of texts and integers, as captured headers are.
fn list_value<'a>(list: Vec<Value>) -> Option<AnyValue<'a>> {
    let values = list.into_iter().map(|element| match element {
        Value::String(text) => Some(OwnedValue::StringValue(text)),
        Value::Number(number) => number.as_i64().map(|value| OwnedValue::IntValue(Signed(value))),
        _ => None,
    });
    Some(AnyValue::ArrayValue { values: values.collect::<Option<_>>()? })
}
