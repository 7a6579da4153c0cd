//! The string table of a profiles request, which its attributes may refer to instead of holding
//! their texts. Outside of profiles such references mean nothing.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::borrow::Cow;
use std::cell::Cell;

use super::wire::WireError;

/// What texts that attributes refer to may take, all references counted: a text can be referred to
/// any number of times, in lists and maps too.
const REFERRED_BYTES_MAX: usize = 256 << 20;

/// Texts by number. What is not UTF-8 in them is replaced, not refused.
#[derive(Debug, PartialEq)]
pub(super) struct StringTable<'a> {
    texts: Vec<Cow<'a, str>>,
    dangling: Cell<u64>,
    bytes_left: Cell<usize>,
}

impl<'a> StringTable<'a> {
    /// The table with these texts.
    pub(super) fn new(texts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self {
            texts: texts.into_iter().map(String::from_utf8_lossy).collect(),
            dangling: Cell::new(0),
            bytes_left: Cell::new(REFERRED_BYTES_MAX),
        }
    }

    /// The text with this number. Number 0 is empty, also where the table is.
    pub(super) fn get(&self, number: i32) -> Option<&str> {
        if number == 0 {
            return Some("");
        }
        self.texts.get(usize::try_from(number).ok()?).map(AsRef::as_ref)
    }

    /// The text with this number; empty, and counted, where there is none.
    pub(super) fn or_empty(&self, number: i32) -> &str {
        self.get(number).unwrap_or_else(|| {
            self.dangling.set(self.dangling.get().saturating_add(1));
            ""
        })
    }

    /// Whether number 0 is empty, as it must be to stand for nothing.
    pub(super) fn begins_empty(&self) -> bool {
        self.texts.first().is_none_or(|first| first.is_empty())
    }

    /// How often a text was missing so far.
    pub(super) fn dangling(&self) -> u64 {
        self.dangling.get()
    }
}

/// Where the references of attributes lead: to a table, or nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Strings<'a>(Option<&'a StringTable<'a>>);

impl<'a> Strings<'a> {
    /// References lead to this table.
    pub(super) fn of(table: &'a StringTable<'a>) -> Self {
        Self(Some(table))
    }

    /// Whether references lead anywhere at all.
    pub(super) fn are_known(self) -> bool {
        self.0.is_some()
    }

    /// The text that an attribute refers to; none where the reference leads nowhere.
    pub(super) fn get(self, number: i32) -> Result<Option<&'a str>, WireError> {
        let Some(table) = self.0 else { return Ok(None) };
        let Some(text) = table.get(number) else {
            table.dangling.set(table.dangling.get().saturating_add(1));
            return Ok(None);
        };
        let left = table.bytes_left.get().checked_sub(text.len()).ok_or_else(|| {
            WireError::new("AnyValue", "references to long texts unfold to more than 256 MiB")
        })?;
        table.bytes_left.set(left);
        Ok(Some(text))
    }
}
