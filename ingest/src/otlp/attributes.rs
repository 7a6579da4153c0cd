//! Attributes: read in place, written as text.
//!
//! Texts stay as they are, integers are decimal, doubles the shortest text that reads back
//! (`1.0`, `NaN`), bytes base64, lists and maps JSON. An empty value is null. Of a repeated key the
//! first value is kept (the specification forbids repetition and leaves the receiver free).
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, MapArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use base64::Engine;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use upriver_store::schema::{Kind, folded_attributes_type};
use upriver_store::text_column::FoldedTextBuilder;

use super::keys::{self, Key, Keys};
use super::strings::Strings;
use super::wire::{Field, Reader, WireError, messages};
use super::{Budget, Fault};
use crate::rows::texts::{Texts, more_room};
use crate::rows::{ColumnBuilder, ROOM_ROWS_MAX};

/// Lists and maps inside each other before a request is refused; serialisers stop at fewer, and the
/// renderer below uses the stack.
const DEPTH_MAX: usize = 64;

/// What an attribute takes while it is read and as a row, beyond its bytes.
const ATTRIBUTE_COST: usize = 64;

const STRING_VALUE: &str = "AnyValue.string_value";

/// The value of an attribute. Its kind is a whole word, so that it is moved by words: a truth value would
/// else be in the byte beside it, and a move of what is left begins inside a word.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(u64)]
pub(super) enum Value<'a> {
    #[default]
    Empty,
    Text(&'a str),
    Bool(bool),
    Int(i64),
    Double(f64),
    /// An `ArrayValue`, not yet read.
    List(&'a [u8], Strings<'a>),
    /// A `KeyValueList`, not yet read.
    Map(&'a [u8], Strings<'a>),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// Reads an `AnyValue`; of several alternatives the last one counts. Outside of profiles
    /// `strings` leads nowhere.
    #[inline]
    pub(super) fn read(any_value: &'a [u8], strings: Strings<'a>) -> Result<Self, WireError> {
        // Nearly all are a text, a truth value or a small number.
        match any_value {
            [0x0a, length @ ..0x80, text @ ..] if text.len() == usize::from(*length) => {
                Field::Bytes(text).text(STRING_VALUE).map(Self::Text)
            }
            [0x10, truth @ ..0x80] => Ok(Self::Bool(*truth != 0)),
            [0x18, number @ ..0x80] => Ok(Self::Int(i64::from(*number))),
            [0x18, low @ 0x80..=0xff, high @ ..0x80] => {
                Ok(Self::Int(i64::from(*low & 0x7f) | (i64::from(*high) << 7)))
            }
            _ => Self::read_any(any_value, strings),
        }
    }

    fn read_any(any_value: &'a [u8], strings: Strings<'a>) -> Result<Self, WireError> {
        let mut value = Self::Empty;
        for field in Reader::new(any_value, "AnyValue") {
            value = match field? {
                (1, field) => Self::Text(field.text(STRING_VALUE)?),
                (2, field) => Self::Bool(field.varint("AnyValue.bool_value")? != 0),
                (3, field) => Self::Int(field.varint("AnyValue.int_value")?.cast_signed()),
                (4, field) => Self::Double(field.double("AnyValue.double_value")?),
                (5, field) => Self::List(field.bytes("AnyValue.array_value")?, strings),
                (6, field) => Self::Map(field.bytes("AnyValue.kvlist_value")?, strings),
                (7, field) => Self::Bytes(field.bytes("AnyValue.bytes_value")?),
                (8, field) => {
                    let number = field.int32("AnyValue.string_value_strindex")?;
                    strings.get(number)?.map_or(value, Self::Text)
                }
                _ => value,
            };
        }
        Ok(value)
    }

    /// The value as text; `None` where it is empty.
    pub(super) fn text(self) -> Result<Option<Cow<'a, str>>, WireError> {
        if let Self::Text(text) = self {
            return Ok(Some(Cow::Borrowed(text)));
        }
        let mut text = String::new();
        let written = self.write_text(&mut text)?;
        Ok(written.then_some(Cow::Owned(text)))
    }

    /// The value as an integer, also where it was sent as text.
    pub(super) fn integer(self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(value),
            Self::Text(text) => text.trim().parse().ok(),
            Self::Double(value) => integral(value),
            _ => None,
        }
    }

    /// The value as a size in bytes: not negative; captured headers are lists of one text.
    pub(super) fn size(self) -> Result<Option<i64>, WireError> {
        let size = match self {
            Self::List(list, strings) => {
                let mut elements = messages(list, "ArrayValue", 1);
                match (elements.next(), elements.next()) {
                    (Some(only), None) => Self::read(only?, strings)?.integer(),
                    _ => None,
                }
            }
            _ => self.integer(),
        };
        Ok(size.filter(|bytes| *bytes >= 0))
    }

    /// Writes the value as text; false where it is empty.
    fn write_text(self, out: &mut String) -> Result<bool, WireError> {
        match self {
            Self::Empty => return Ok(false),
            Self::Text(text) => out.push_str(text),
            Self::Double(value) if !value.is_finite() => out.push_str(non_finite(value)),
            Self::Bytes(bytes) => STANDARD.encode_string(bytes, out),
            _ => self.write_json(out, DEPTH_MAX)?,
        }
        Ok(true)
    }

    fn write_json(self, out: &mut String, depth: usize) -> Result<(), WireError> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(WireError::new("AnyValue", "lists and maps are nested too deeply"));
        };
        match self {
            Self::Empty => out.push_str("null"),
            Self::Text(text) => push_json_text(out, text),
            Self::Bool(value) => out.push_str(if value { "true" } else { "false" }),
            Self::Int(value) => out.push_str(itoa::Buffer::new().format(value)),
            Self::Double(value) if value.is_finite() => push(out, format_args!("{value:?}")),
            Self::Double(value) => push_json_text(out, non_finite(value)),
            Self::Bytes(bytes) => {
                push(out, format_args!("\"{}\"", Base64Display::new(bytes, &STANDARD)));
            }
            Self::List(list, strings) => write_json_list(list, strings, out, depth)?,
            Self::Map(map, strings) => write_json_map(map, strings, out, depth)?,
        }
        Ok(())
    }
}

fn write_json_list<'a>(
    list: &'a [u8],
    strings: Strings<'a>,
    out: &mut String,
    depth: usize,
) -> Result<(), WireError> {
    out.push('[');
    for (i, element) in messages(list, "ArrayValue", 1).enumerate() {
        if i > 0 {
            out.push(',');
        }
        Value::read(element?, strings)?.write_json(out, depth)?;
    }
    out.push(']');
    Ok(())
}

fn write_json_map<'a>(
    map: &'a [u8],
    strings: Strings<'a>,
    out: &mut String,
    depth: usize,
) -> Result<(), WireError> {
    let mut seen = HashSet::new();
    out.push('{');
    for entry in messages(map, "KeyValueList", 1) {
        let Some((key, value)) = read_key_value(entry?, strings)? else { continue };
        let key = keys::text(key)?;
        if !seen.insert(key) {
            continue;
        }
        if seen.len() > 1 {
            out.push(',');
        }
        push_json_text(out, key);
        out.push(':');
        value.write_json(out, depth)?;
    }
    out.push('}');
    Ok(())
}

/// Texts as OTLP JSON writes the doubles that JSON cannot.
fn non_finite(value: f64) -> &'static str {
    match value {
        _ if value.is_nan() => "NaN",
        _ if value > 0.0 => "Infinity",
        _ => "-Infinity",
    }
}

/// A double that is a whole number, as an integer.
fn integral(value: f64) -> Option<i64> {
    // Up to 2^53 every whole number is a double.
    const EXACT_MAX: f64 = 9007199254740992.0;
    let whole = value.fract() == 0.0 && value.abs() <= EXACT_MAX;
    #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
    whole.then_some(value as i64)
}

fn push(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("writing to a string cannot fail");
}

fn push_json_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => push(out, format_args!("\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
}

/// The name of a key, unchecked, and its `AnyValue`, where they are as nearly all are: the one, then the
/// other, each below 128 bytes. None where any reader has to look.
#[inline]
fn usual_parts(key_value: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x0a, length @ ..0x80, rest @ ..] = key_value else { return None };
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let [0x12, length @ ..0x80, value @ ..] = rest else { return None };
    (value.len() == usize::from(*length)).then_some((name, value))
}

/// The name of a key, unchecked, and its value; none where the key is a reference that leads nowhere.
fn read_key_value<'a>(
    key_value: &'a [u8],
    strings: Strings<'a>,
) -> Result<Option<(&'a [u8], Value<'a>)>, WireError> {
    let (mut name, mut value) = (Some(&b""[..]), Value::Empty);
    for field in Reader::new(key_value, "KeyValue") {
        match field? {
            (1, field) => name = Some(field.bytes("KeyValue.key")?),
            (2, field) => value = Value::read(field.bytes("KeyValue.value")?, strings)?,
            (3, field) if strings.are_known() => {
                name = strings.get(field.int32("KeyValue.key_strindex")?)?.map(str::as_bytes);
            }
            _ => {}
        }
    }
    Ok(name.map(|name| (name, value)))
}

/// The attributes of one element, keys unique.
#[derive(Debug, Default)]
pub(super) struct Attributes<'a> {
    entries: Vec<(Key<'a>, Value<'a>)>,
    /// The bits of their slots.
    slots: u128,
    /// Their names, once there are too many to compare one by one.
    names: HashSet<&'a str>,
    keys: Keys<'a>,
    strings: Strings<'a>,
}

/// Up to here comparing keys one by one is faster than hashing.
const COMPARED_KEYS_MAX: usize = 24;

/// Attributes of one element before a request is refused. SDKs keep 128 of a span by default; a million
/// would take a hundred megabytes before they are a row.
const ATTRIBUTES_MAX: usize = 65_536;

impl<'a> Attributes<'a> {
    /// No attributes yet, whose references lead to `strings`.
    pub(super) fn with_strings(strings: Strings<'a>) -> Self {
        Self { strings, ..Self::default() }
    }

    /// Forgets the attributes and keeps their room.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.slots = 0;
        self.names.clear();
    }

    /// Adds a `KeyValue`, unless its key is there already.
    pub(super) fn read(&mut self, key_value: &'a [u8], budget: &mut Budget) -> Result<(), Fault> {
        budget.spend(key_value.len().saturating_add(ATTRIBUTE_COST))?;
        if let Some((name, value)) = usual_parts(key_value) {
            let value = Value::read(value, self.strings)?;
            self.add(name, value)
        } else if let Some((name, value)) = read_key_value(key_value, self.strings)? {
            self.add(name, value)
        } else {
            Ok(())
        }
    }

    #[inline]
    fn add(&mut self, name: &'a [u8], value: Value<'a>) -> Result<(), Fault> {
        let key = self.keys.find(name)?;
        if self.is_new(&key) {
            self.entries.push((key, value));
        }
        if self.entries.len() > ATTRIBUTES_MAX {
            let why = "one element has more than 65536 attributes; limit them in the SDK";
            return Err(Fault::TooMany(why.to_owned()));
        }
        Ok(())
    }

    #[inline]
    fn is_new(&mut self, key: &Key<'a>) -> bool {
        let slots = self.slots;
        self.slots |= key.slot_bit();
        let may_be_known = slots & key.slot_bit() != 0;
        if self.entries.len() < COMPARED_KEYS_MAX && !may_be_known {
            return true;
        }
        self.is_not_known(key)
    }

    fn is_not_known(&mut self, key: &Key<'a>) -> bool {
        if self.entries.len() < COMPARED_KEYS_MAX {
            return !self.entries.iter().any(|(known, _)| known.is(key));
        }
        if self.names.is_empty() {
            self.names.extend(self.entries.iter().map(|(known, _)| known.name));
        }
        self.names.insert(key.name)
    }

    /// The value of a key; `None` where it is missing or empty.
    pub(super) fn get(&self, key: &str) -> Option<Value<'a>> {
        self.iter().find(|(known, _)| known.name == key).map(|(_, value)| value)
    }

    /// The text of the first of these keys that has a value.
    pub(super) fn text(&self, keys: &[&str]) -> Result<Option<Cow<'a, str>>, WireError> {
        match keys.iter().find_map(|key| self.get(key)) {
            Some(value) => value.text(),
            None => Ok(None),
        }
    }

    /// The attributes that have a value, in the order sent.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key<'a>, Value<'a>)> {
        self.entries.iter().copied().filter(|(_, value)| !matches!(value, Value::Empty))
    }

    /// Writes keys and values so that the same set gives the same bytes in any order.
    pub(super) fn write_canonical(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        let mut sorted: Vec<_> = self.entries.iter().collect();
        sorted.sort_unstable_by_key(|(key, _)| key.name);
        for (key, value) in sorted {
            push_part(out, Some(key.name));
            push_part(out, value.text()?.as_deref());
        }
        Ok(())
    }

    /// The attributes as columns, to be repeated on many rows.
    pub(super) fn render(&self) -> Result<RenderedAttributes, WireError> {
        let mut builder = AttributesBuilder::default();
        builder.append(self)?;
        let Names::Each(keys) = builder.keys else {
            unreachable!("names are there each time unless asked for otherwise");
        };
        Ok(RenderedAttributes { keys, values: builder.values })
    }
}

/// Appends a part with its length, so that `("ab", "c")` and `("a", "bc")` differ.
pub(super) fn push_part(out: &mut Vec<u8>, part: Option<&str>) {
    let length = part.map_or(u64::MAX, |text| text.len() as u64);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(part.unwrap_or_default().as_bytes());
}

/// Attributes as columns.
#[derive(Debug)]
pub(super) struct RenderedAttributes {
    keys: Texts,
    values: Texts,
}

impl RenderedAttributes {
    /// What one repetition takes.
    pub(super) fn bytes(&self) -> usize {
        const OFFSETS: usize = 8;
        let offsets = self.keys.len().saturating_add(1).saturating_mul(OFFSETS);
        offsets.saturating_add(self.keys.bytes()).saturating_add(self.values.bytes())
    }
}

/// The names of attributes: one after the other, or each once.
#[derive(Debug)]
enum Names {
    Each(Texts),
    Once(FoldedTextBuilder),
}

impl Default for Names {
    fn default() -> Self {
        Self::Each(Texts::default())
    }
}

impl Names {
    #[inline]
    fn push(&mut self, name: &str, slot: u8) {
        match self {
            Self::Each(names) => names.push(name),
            Self::Once(names) => names.append_in_slot(name, slot),
        }
    }

    /// Adds all of the others, so many times.
    fn extend(&mut self, others: &Texts, times: usize) {
        match self {
            Self::Each(names) => names.extend(others, times),
            Self::Once(_) => unreachable!("attributes that rows have in common are there once"),
        }
    }

    /// Makes room for as many rows as there will be, going by those there are.
    fn make_room(&mut self, rows: usize, expected: usize) {
        match self {
            Self::Each(names) => names.make_room(rows, expected),
            Self::Once(names) => names.reserve(more_room(names.len(), rows, expected)),
        }
    }
}

/// Builds a column of attributes.
#[derive(Debug, Default)]
pub(crate) struct AttributesBuilder {
    keys: Names,
    values: Texts,
    lengths: Vec<usize>,
    /// Rows that will come, as far as is known.
    rows: usize,
    scratch: String,
}

impl AttributesBuilder {
    /// Adds a row.
    pub(super) fn append(&mut self, attributes: &Attributes<'_>) -> Result<(), WireError> {
        self.append_without(attributes, |_, _| false)
    }

    /// Adds a row without the attributes that are elsewhere.
    pub(super) fn append_without(
        &mut self,
        attributes: &Attributes<'_>,
        is_elsewhere: impl Fn(&Key<'_>, &Value<'_>) -> bool,
    ) -> Result<(), WireError> {
        let length = self.push(attributes, is_elsewhere)?;
        self.end_row(length);
        Ok(())
    }

    /// Adds a row with one more attribute, unless its key is there already.
    pub(super) fn append_with(
        &mut self,
        attributes: &Attributes<'_>,
        extra: Option<(&str, &str)>,
    ) -> Result<(), WireError> {
        let mut length = self.push(attributes, |_, _| false)?;
        let extra = extra.filter(|(key, _)| attributes.entries.iter().all(|(k, _)| k.name != *key));
        if let Some((key, value)) = extra {
            self.keys.push(key, keys::slot(key.as_bytes()));
            self.values.push(value);
            length = length.saturating_add(1);
        }
        self.end_row(length);
        Ok(())
    }

    /// Adds the attributes that are not elsewhere, and says how many these are.
    fn push(
        &mut self,
        attributes: &Attributes<'_>,
        is_elsewhere: impl Fn(&Key<'_>, &Value<'_>) -> bool,
    ) -> Result<usize, WireError> {
        let mut decimal = itoa::Buffer::new();
        let mut length = 0usize;
        for (key, value) in &attributes.entries {
            if is_elsewhere(key, value) {
                continue;
            }
            length = length.saturating_add(1);
            self.keys.push(key.name, key.slot);
            match value {
                Value::Text(text) => self.values.push(text),
                Value::Int(number) => self.values.push(decimal.format(*number)),
                value => {
                    self.scratch.clear();
                    let written = value.write_text(&mut self.scratch)?;
                    self.values.push_option(written.then_some(self.scratch.as_str()));
                }
            }
        }
        Ok(length)
    }

    fn end_row(&mut self, length: usize) {
        self.lengths.push(length);
        self.make_room();
    }

    /// After 1, 8, 64 rows and so on it is clearer how much the others will take.
    fn make_room(&mut self) {
        let rows = self.lengths.len();
        if rows < self.rows && rows.is_power_of_two() && rows.trailing_zeros().is_multiple_of(3) {
            self.keys.make_room(rows, self.rows);
            self.values.make_room(rows, self.rows);
        }
    }

    /// Adds a number of rows of attributes that are columns already.
    pub(super) fn append_rendered(&mut self, attributes: &RenderedAttributes, rows: usize) {
        self.keys.extend(&attributes.keys, rows);
        self.values.extend(&attributes.values, rows);
        self.lengths.extend(std::iter::repeat_n(attributes.keys.len(), rows));
    }

    /// Adds a row of texts.
    pub(crate) fn append_texts<'t>(
        &mut self,
        attributes: impl IntoIterator<Item = (&'t str, &'t str)>,
    ) {
        let mut length = 0usize;
        for (key, value) in attributes {
            self.keys.push(key, keys::slot(key.as_bytes()));
            self.values.push(value);
            length = length.saturating_add(1);
        }
        self.lengths.push(length);
    }
}

impl ColumnBuilder for AttributesBuilder {
    fn with_rows(rows: usize) -> Self {
        Self { rows: rows.min(ROOM_ROWS_MAX), ..Self::default() }
    }

    fn column(&mut self) -> ArrayRef {
        let (names, data_type): (ArrayRef, _) = match &mut self.keys {
            Names::Each(names) => (Arc::new(names.finish()), Kind::Attributes.data_type()),
            Names::Once(names) => {
                (Arc::new(std::mem::take(names).finish()), folded_attributes_type())
            }
        };
        let DataType::Map(entry, _) = data_type else {
            unreachable!("attributes are a map");
        };
        let DataType::Struct(fields) = entry.data_type() else {
            unreachable!("a map has entries of key and value");
        };
        let columns: Vec<ArrayRef> = vec![names, Arc::new(self.values.finish())];
        let entries = StructArray::new(fields.clone(), columns, None);
        let offsets = OffsetBuffer::from_lengths(std::mem::take(&mut self.lengths));
        Arc::new(MapArray::new(entry, offsets, entries, None, false))
    }
}

/// Builds a column of attributes whose names are there once.
#[derive(Debug)]
pub(crate) struct FoldedAttributesBuilder(AttributesBuilder);

impl Default for FoldedAttributesBuilder {
    fn default() -> Self {
        Self::with_rows(0)
    }
}

impl FoldedAttributesBuilder {
    /// Adds a row without the attributes that are elsewhere.
    pub(super) fn append_without(
        &mut self,
        attributes: &Attributes<'_>,
        is_elsewhere: impl Fn(&Key<'_>, &Value<'_>) -> bool,
    ) -> Result<(), WireError> {
        self.0.append_without(attributes, is_elsewhere)
    }
}

impl ColumnBuilder for FoldedAttributesBuilder {
    fn with_rows(rows: usize) -> Self {
        let keys = Names::Once(FoldedTextBuilder::default());
        Self(AttributesBuilder { keys, ..AttributesBuilder::with_rows(rows) })
    }

    fn column(&mut self) -> ArrayRef {
        self.0.column()
    }
}

/// Builds a column of attributes that many rows have in common, each set of them kept once.
#[derive(Debug, Default)]
pub(crate) struct CommonAttributesBuilder {
    distinct: AttributesBuilder,
    /// The set of each row.
    sets: Vec<i32>,
}

impl CommonAttributesBuilder {
    /// Adds a number of rows of attributes that are columns already.
    pub(super) fn append_rendered(&mut self, attributes: &RenderedAttributes, rows: usize) {
        if rows == 0 {
            return;
        }
        let set = i32::try_from(self.distinct.lengths.len());
        let set = set.expect("the budget of a request keeps its senders in range");
        self.distinct.append_rendered(attributes, 1);
        self.sets.extend(std::iter::repeat_n(set, rows));
    }
}

impl ColumnBuilder for CommonAttributesBuilder {
    fn with_rows(rows: usize) -> Self {
        Self { sets: Vec::with_capacity(rows.min(ROOM_ROWS_MAX)), ..Self::default() }
    }

    fn column(&mut self) -> ArrayRef {
        let sets = Int32Array::from(std::mem::take(&mut self.sets));
        Arc::new(DictionaryArray::new(sets, self.distinct.column()))
    }
}

#[cfg(test)]
mod tests;
