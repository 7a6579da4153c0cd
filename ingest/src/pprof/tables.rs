//! A profile's tables, looked up by index and by id.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;

use super::WHAT;
use super::message::{Profile, ValueType};
use crate::DecodeError;
use crate::profiles::rows::ValueName;

/// The string table as text: what is not UTF-8 in it is replaced, not refused.
#[derive(Debug)]
pub(super) struct Texts<'a> {
    texts: Vec<Cow<'a, str>>,
    dangling: Cell<u64>,
}

impl<'a> Texts<'a> {
    /// The string table of a profile. Its first entry is empty in every pprof profile, which tells
    /// one from other protobuf messages that happen to parse.
    pub(super) fn new(profile: &'a Profile) -> Result<Self, DecodeError> {
        if profile.string_table.first().is_none_or(|first| !first.is_empty()) {
            return Err(DecodeError::invalid(
                WHAT,
                "the string table does not begin with an empty text, so this protobuf message \
                 is something else; send the protobuf of profile.proto",
            ));
        }
        let texts = profile.string_table.iter().map(|text| String::from_utf8_lossy(text));
        Ok(Self { texts: texts.collect(), dangling: Cell::new(0) })
    }

    /// The text at an index; none where the index leads nowhere.
    pub(super) fn get(&self, index: i64) -> Option<&str> {
        let index = usize::try_from(index).ok()?;
        self.texts.get(index).map(AsRef::as_ref)
    }

    /// The text at an index; empty, and counted, where the index leads nowhere.
    pub(super) fn or_empty(&self, index: i64) -> &str {
        self.get(index).unwrap_or_else(|| {
            self.dangling.set(self.dangling.get().saturating_add(1));
            ""
        })
    }

    /// How often a text was missing so far.
    pub(super) fn dangling(&self) -> u64 {
        self.dangling.get()
    }
}

/// The sample types of a profile, each with its name, and the sample's values counted against them.
pub(super) fn sample_types<'a>(
    profile: &Profile,
    texts: &'a Texts<'_>,
) -> Result<Vec<ValueName<'a>>, DecodeError> {
    let expected = profile.sample_type.len();
    if expected == 0 {
        return Err(DecodeError::invalid(
            WHAT,
            "it has no sample types, so that nothing says what was measured; \
             take the profile again",
        ));
    }
    for (position, sample) in profile.sample.iter().enumerate() {
        let found = sample.value.len();
        if found != expected {
            return Err(DecodeError::invalid(
                WHAT,
                format!(
                    "sample {position} has {found} values for {expected} sample types; \
                     were two profiles written into one file?"
                ),
            ));
        }
    }
    profile.sample_type.iter().map(|value_type| value_name(value_type, texts)).collect()
}

fn value_name<'a>(
    value_type: &ValueType,
    texts: &'a Texts<'_>,
) -> Result<ValueName<'a>, DecodeError> {
    let missing = || {
        DecodeError::invalid(
            WHAT,
            "the name of a sample type is not in the string table, so that nothing says what was \
             measured; take the profile again",
        )
    };
    let name = texts.get(value_type.r#type).ok_or_else(missing)?;
    Ok(ValueName { name, unit: texts.or_empty(value_type.unit) })
}

/// From the ids of a table's entries to their positions.
#[derive(Debug)]
pub(super) enum IdIndex {
    /// The ids are 1, 2, 3 and so on, as nearly every profiler writes them.
    Dense(usize),
    /// Any other ids.
    Sparse(HashMap<u64, usize>),
}

impl IdIndex {
    /// The index of a table called `table`, whose entries have these ids.
    pub(super) fn new(
        table: &str,
        ids: impl ExactSizeIterator<Item = u64> + Clone,
    ) -> Result<Self, DecodeError> {
        let length = ids.len();
        if ids.clone().zip(1..).all(|(id, expected)| id == expected) {
            return Ok(Self::Dense(length));
        }
        let mut positions = HashMap::with_capacity(length);
        for (position, id) in ids.enumerate() {
            if positions.insert(id, position).is_some() {
                return Err(DecodeError::invalid(
                    WHAT,
                    format!(
                        "two {table} have the id {id}, as when two profiles are written one after \
                         the other; send each profile by itself"
                    ),
                ));
            }
        }
        Ok(Self::Sparse(positions))
    }

    /// The position of the entry with this id.
    pub(super) fn position(&self, id: u64) -> Option<usize> {
        match self {
            Self::Dense(length) => {
                let position = usize::try_from(id.checked_sub(1)?).ok()?;
                (position < *length).then_some(position)
            }
            Self::Sparse(positions) => positions.get(&id).copied(),
        }
    }
}

#[cfg(test)]
mod tests;
