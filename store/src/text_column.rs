//! Columns of texts: a text in each row, or, as rows arrive, each text once for all rows that have it.
//!
//! Few texts of a request are distinct, names of services and operations above all. Kept once they take four
//! bytes a row, are copied once, and later stages look each of them up once instead of in every row.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int32Array, NullBufferBuilder, RecordBatch,
    StringArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Int32Type};

mod distinct;

pub(crate) use self::distinct::{Distinct, NULL, Numbered};

/// The type of a column whose texts are there once.
pub fn folded_type(texts: &DataType) -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(texts.clone()))
}

/// A column of texts to be read, in either form.
#[derive(Clone, Copy, Debug)]
pub struct TextColumn<'a> {
    texts: &'a StringArray,
    /// Where the text of each row is, where rows have texts in common.
    places: Option<&'a Int32Array>,
}

impl<'a> TextColumn<'a> {
    /// A column of texts; `None` of anything else.
    pub fn of(column: &'a ArrayRef) -> Option<Self> {
        if let Some(texts) = column.as_string_opt() {
            return Some(Self { texts, places: None });
        }
        let folded = column.as_dictionary_opt::<Int32Type>()?;
        Some(Self { texts: folded.values().as_string_opt()?, places: Some(folded.keys()) })
    }

    /// The column of rows with this name.
    pub fn named(rows: &'a RecordBatch, name: &str) -> Option<Self> {
        Self::of(rows.column_by_name(name)?)
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.places.map_or_else(|| self.texts.len(), Array::len)
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether each text is there once for all rows that have it.
    pub fn is_folded(&self) -> bool {
        self.places.is_some()
    }

    /// The texts that rows may have.
    pub fn texts(&self) -> &'a StringArray {
        self.texts
    }

    /// Which of the texts a row has; `None` where it is null.
    #[inline]
    pub fn place(&self, row: usize) -> Option<usize> {
        let place = match self.places {
            Some(places) if places.is_null(row) => return None,
            Some(places) => usize::try_from(places.value(row)).ok()?,
            None => row,
        };
        self.texts.is_valid(place).then_some(place)
    }

    /// The text of a row; `None` where it is null.
    #[inline]
    pub fn value_or_none(&self, row: usize) -> Option<&'a str> {
        self.place(row).map(|place| self.texts.value(place))
    }

    /// The text of a row; empty where it is null.
    #[inline]
    pub fn value(&self, row: usize) -> &'a str {
        self.value_or_none(row).unwrap_or_default()
    }

    /// Whether a row has a text.
    #[inline]
    pub fn is_valid(&self, row: usize) -> bool {
        self.place(row).is_some()
    }

    /// The texts of all rows.
    pub fn iter(&self) -> impl Iterator<Item = Option<&'a str>> + use<'a> {
        let column = *self;
        (0..column.len()).map(move |row| column.value_or_none(row))
    }
}

/// Texts that are found again by their beginning and end; as many as a byte can tell.
const SLOTS: usize = 256;

/// Builds a column whose texts are there once, as far as they are found again at little cost: a text that
/// many others came between may be there twice.
#[derive(Debug, Default)]
pub struct FoldedTextBuilder {
    text: String,
    /// Where each text ends; 0 before the first.
    ends: Vec<i32>,
    /// Of each row up to the last that has a text.
    places: Vec<i32>,
    /// Runs of nulls between them: the row of the first, and their number.
    gaps: Vec<(usize, usize)>,
    /// Nulls after the last row that has a text.
    nulls: usize,
    /// The place of the text that came last.
    last: usize,
    /// The place of the text that was seen last in each slot; -1 where there is none.
    slots: Vec<i32>,
    /// Rows to make room for with the first text.
    rows: usize,
}

impl FoldedTextBuilder {
    /// No rows yet, of which about so many will come.
    pub fn with_rows(rows: usize) -> Self {
        Self { rows, ..Self::default() }
    }

    /// Adds a row.
    #[inline]
    pub fn append_value(&mut self, text: impl AsRef<str>) {
        self.append_repeated(text.as_ref(), 1);
    }

    /// Adds so many rows with the same text.
    #[inline]
    pub fn append_repeated(&mut self, text: &str, rows: usize) {
        if rows == 0 {
            return;
        }
        if self.nulls > 0 {
            self.fill_gap();
        }
        let place = self.place_of(text);
        if rows == 1 {
            self.places.push(place);
        } else {
            self.places.resize(self.places.len().saturating_add(rows), place);
        }
    }

    /// Adds a row whose text, where it came before, is to be found in this slot: for who knows the slot of
    /// a text already.
    #[inline]
    pub fn append_in_slot(&mut self, text: &str, slot: u8) {
        if self.nulls > 0 {
            self.fill_gap();
        }
        let slot = usize::from(slot);
        let known = self.slots.get(slot).and_then(|place| usize::try_from(*place).ok());
        let place = match known {
            Some(place) if self.is_at(place, text) => short(place),
            _ => self.add_in_slot(text, slot),
        };
        self.places.push(place);
    }

    /// Makes room for so many more rows.
    pub fn reserve(&mut self, rows: usize) {
        self.places.reserve_exact(rows);
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.places.len().saturating_add(self.nulls)
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds so many rows without a text.
    #[inline]
    pub fn append_nulls(&mut self, rows: usize) {
        self.nulls = self.nulls.saturating_add(rows);
    }

    /// Adds a row without a text.
    #[inline]
    pub fn append_null(&mut self) {
        self.append_nulls(1);
    }

    /// Adds a row.
    #[inline]
    pub fn append_option(&mut self, text: Option<impl AsRef<str>>) {
        match text {
            Some(text) => self.append_value(text),
            None => self.append_null(),
        }
    }

    /// The column: a dictionary, see [`folded_type`].
    pub fn finish(self) -> DictionaryArray<Int32Type> {
        let Self { text, mut ends, mut places, gaps, nulls, .. } = self;
        let valid_until = places.len();
        places.resize(valid_until.saturating_add(nulls), 0);
        if ends.is_empty() {
            ends.push(0);
        }
        let rows = places.len();
        let places = Int32Array::new(places.into(), null_buffer(&gaps, valid_until, rows));
        let ends = OffsetBuffer::new(ends.into());
        let texts = StringArray::new(ends, Buffer::from_vec(text.into_bytes()), None);
        DictionaryArray::new(places, Arc::new(texts))
    }

    fn fill_gap(&mut self) {
        let nulls = std::mem::take(&mut self.nulls);
        let row = self.places.len();
        self.reserve_rows();
        self.gaps.push((row, nulls));
        self.places.resize(row.saturating_add(nulls), 0);
    }

    fn reserve_rows(&mut self) {
        self.places.reserve(std::mem::take(&mut self.rows));
    }

    /// The place of a text, which is added where it is not found.
    #[inline]
    fn place_of(&mut self, text: &str) -> i32 {
        if self.is_at(self.last, text) {
            return short(self.last);
        }
        self.look_up(text)
    }

    fn look_up(&mut self, text: &str) -> i32 {
        if self.slots.is_empty() {
            if self.ends.is_empty() {
                // The first text: many columns have no other.
                self.reserve_rows();
                return self.add(text);
            }
            self.slots.resize(SLOTS, -1);
            let first = self.text_at(0).map_or(0, slot);
            self.set_slot(first, 0);
        }
        let slot = slot(text.as_bytes());
        let known = self.slots.get(slot).and_then(|place| usize::try_from(*place).ok());
        if let Some(place) = known
            && self.is_at(place, text)
        {
            self.last = place;
            return short(place);
        }
        self.add_in_slot(text, slot)
    }

    fn add_in_slot(&mut self, text: &str, slot: usize) -> i32 {
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, -1);
        }
        let place = self.add(text);
        self.set_slot(slot, place);
        place
    }

    fn set_slot(&mut self, slot: usize, place: i32) {
        if let Some(known) = self.slots.get_mut(slot) {
            *known = place;
        }
    }

    fn add(&mut self, text: &str) -> i32 {
        if self.ends.is_empty() {
            self.ends.push(0);
        }
        self.last = self.ends.len().saturating_sub(1);
        self.text.push_str(text);
        let end = i32::try_from(self.text.len());
        self.ends.push(end.expect("the budget of a request keeps offsets in range"));
        short(self.last)
    }

    #[inline]
    fn is_at(&self, place: usize, text: &str) -> bool {
        self.text_at(place) == Some(text.as_bytes())
    }

    #[inline]
    fn text_at(&self, place: usize) -> Option<&[u8]> {
        let [start, end] = self.ends.get(place..)?.first_chunk()?;
        self.text.as_bytes().get(usize::try_from(*start).ok()?..usize::try_from(*end).ok()?)
    }
}

fn short(place: usize) -> i32 {
    i32::try_from(place).expect("the budget of a request keeps rows in range")
}

/// Which rows have a text; `None` where all have.
fn null_buffer(gaps: &[(usize, usize)], valid_until: usize, rows: usize) -> Option<NullBuffer> {
    if gaps.is_empty() && valid_until == rows {
        return None;
    }
    let mut nulls = NullBufferBuilder::new(rows);
    let mut at = 0;
    for (row, count) in gaps {
        nulls.append_n_non_nulls(row.saturating_sub(at));
        nulls.append_n_nulls(*count);
        at = row.saturating_add(*count);
    }
    nulls.append_n_non_nulls(valid_until.saturating_sub(at));
    nulls.append_n_nulls(rows.saturating_sub(valid_until));
    nulls.finish()
}

/// The slot of a text, from its length and its two ends.
#[inline]
fn slot(text: &[u8]) -> usize {
    /// 2^64 divided by the golden ratio: Fibonacci hashing.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let ends = match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) => {
            u64::from_le_bytes(*first).wrapping_mul(SPREAD) ^ u64::from_le_bytes(*last)
        }
        _ => text.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
    };
    let [upper, ..] = (ends ^ text.len() as u64).wrapping_mul(SPREAD).to_be_bytes();
    usize::from(upper)
}

#[cfg(test)]
mod tests {
    use arrow::compute::take;
    use proptest::prelude::*;

    use super::*;

    /// What rows are made of: a text and how often it comes, or nulls.
    fn parts() -> impl Strategy<Value = Vec<(Option<String>, usize)>> {
        let text = prop_oneof![
            Just(None),
            "[ab]{0,2}".prop_map(Some),
            "[a-z]{0,12}".prop_map(Some),
            (0..2_000_u32).prop_map(|number| Some(format!("/v1/things/{number}/of/shop"))),
        ];
        proptest::collection::vec((text, 0..5_usize), 0..600)
    }

    proptest! {
        #[test]
        fn texts_read_back_in_both_forms(parts in parts(), room in 0..50_usize) {
            let mut builder = FoldedTextBuilder::with_rows(room);
            let mut expected = Vec::new();
            for (text, rows) in &parts {
                expected.extend(std::iter::repeat_n(text.as_deref(), *rows));
                match text {
                    Some(text) => builder.append_repeated(text, *rows),
                    None => builder.append_nulls(*rows),
                }
            }
            let folded: ArrayRef = Arc::new(builder.finish());
            prop_assert_eq!(folded.data_type(), &folded_type(&DataType::Utf8));
            let values = Arc::clone(folded.as_dictionary::<Int32Type>().values());
            let plain: ArrayRef = take(&values, folded.as_dictionary::<Int32Type>().keys(), None).unwrap();
            for column in [&folded, &plain] {
                let column = TextColumn::of(column).unwrap();
                prop_assert_eq!(column.len(), expected.len());
                prop_assert_eq!(column.iter().collect::<Vec<_>>(), expected.clone());
            }
        }
    }

    #[test]
    fn a_text_is_there_once_unless_many_came_between() {
        let mut builder = FoldedTextBuilder::default();
        for round in 0..100 {
            builder.append_value("GET /v1/cart/{id}");
            builder.append_option((round % 3 == 0).then_some("POST /v1/checkout/{id}"));
            builder.append_value("");
        }
        let folded = builder.finish();
        assert_eq!((folded.len(), folded.values().len()), (300, 3));
        assert_eq!(folded.null_count(), 66);
    }

    #[test]
    fn nulls_in_either_place_are_null() {
        let texts = StringArray::from(vec![Some("a"), None]);
        let places = Int32Array::from(vec![Some(1), None, Some(0)]);
        let folded: ArrayRef = Arc::new(DictionaryArray::new(places, Arc::new(texts)));
        let column = TextColumn::of(&folded).unwrap();
        assert_eq!(column.iter().collect::<Vec<_>>(), [None, None, Some("a")]);
        assert_eq!((column.value(0), column.value(1), column.is_valid(2)), ("", "", true));
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        assert!(TextColumn::of(&numbers).is_none());
        assert!(FoldedTextBuilder::default().finish().is_empty());
    }
}
