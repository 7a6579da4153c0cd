//! Columns of texts: a text in each row, or, as rows arrive, each text once for all rows that have it.
//!
//! Few texts of a request are distinct, names of services and operations above all. Kept once they take four
//! bytes a row, are copied once, and later stages look each of them up once instead of in every row.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, StringArray,
};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::datatypes::{DataType, Int32Type};

use crate::sparse::SparseValues;

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

    /// Whether no row has a text.
    #[cfg(feature = "delta")]
    pub(crate) fn is_all_null(&self) -> bool {
        let nulls = self.places.map_or_else(|| self.texts.null_count(), Array::null_count);
        nulls == self.len()
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
        self.place_named(row).filter(|place| self.texts.is_valid(*place))
    }

    /// Which of the texts a row names, where it names one; the text may be null.
    #[inline]
    fn place_named(&self, row: usize) -> Option<usize> {
        match self.places {
            Some(places) if places.is_null(row) => None,
            Some(places) => usize::try_from(places.value(row)).ok(),
            None => Some(row),
        }
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
    /// The text of each row.
    places: SparseValues<i32>,
    /// The text that came last.
    last: Known,
    /// The text that was seen last in each slot; none before the second text.
    slots: Vec<Known>,
}

/// A text of the column: which it is, and from where to where.
#[derive(Clone, Copy, Debug)]
struct Known {
    place: i32,
    start: u32,
    end: u32,
}

impl Default for Known {
    /// No text at all: it ends before it starts.
    fn default() -> Self {
        Self { place: 0, start: 1, end: 0 }
    }
}

impl FoldedTextBuilder {
    /// No rows yet, of which about so many will come.
    pub fn with_rows(rows: usize) -> Self {
        Self { places: SparseValues::with_rows(rows), ..Self::default() }
    }

    /// Adds a row.
    #[inline]
    pub fn append_value(&mut self, text: impl AsRef<str>) {
        let place = self.place_of(text.as_ref());
        self.places.push(place);
    }

    /// Adds so many rows with the same text.
    pub fn append_repeated(&mut self, text: &str, rows: usize) {
        if rows > 0 {
            let place = self.place_of(text);
            self.places.push_repeated(place, rows);
        }
    }

    /// Adds a row whose text, where it came before, is to be found in this slot: for who knows the slot of
    /// a text already.
    #[inline]
    pub fn append_in_slot(&mut self, text: &str, slot: u8) {
        let known = self.slots.get(usize::from(slot)).copied().unwrap_or_default();
        let place = if self.is(known, text) {
            known.place
        } else {
            self.add_in_slot(text, usize::from(slot)).place
        };
        self.places.push(place);
    }

    /// Makes room for so many more rows.
    pub fn reserve(&mut self, rows: usize) {
        self.places.reserve(rows);
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Adds so many rows without a text.
    #[inline]
    pub fn append_nulls(&mut self, rows: usize) {
        self.places.push_nulls(rows);
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
        let Self { text, mut ends, places, .. } = self;
        if ends.is_empty() {
            ends.push(0);
        }
        let (places, nulls) = places.finish();
        let ends = OffsetBuffer::new(ends.into());
        let texts = StringArray::new(ends, Buffer::from_vec(text.into_bytes()), None);
        DictionaryArray::new(Int32Array::new(places.into(), nulls), Arc::new(texts))
    }

    /// The place of a text, which is added where it is not found.
    #[inline]
    fn place_of(&mut self, text: &str) -> i32 {
        if !self.is(self.last, text) {
            self.last = self.look_up(text);
        }
        self.last.place
    }

    fn look_up(&mut self, text: &str) -> Known {
        if self.ends.is_empty() {
            // The first text: many columns have no other.
            return self.add(text);
        }
        if self.slots.is_empty() {
            // Of the first text, which is all that there is.
            let first = slot(self.text.as_bytes());
            self.put_in_slot(self.last, first);
        }
        let slot = slot(text.as_bytes());
        let known = self.slots.get(slot).copied().unwrap_or_default();
        if self.is(known, text) { known } else { self.add_in_slot(text, slot) }
    }

    fn add_in_slot(&mut self, text: &str, slot: usize) -> Known {
        let known = self.add(text);
        self.put_in_slot(known, slot);
        known
    }

    fn put_in_slot(&mut self, known: Known, slot: usize) {
        self.slots.resize(SLOTS, Known::default());
        if let Some(place) = self.slots.get_mut(slot) {
            *place = known;
        }
    }

    fn add(&mut self, text: &str) -> Known {
        const IN_RANGE: &str = "the budget of a request keeps offsets in range";
        if self.ends.is_empty() {
            self.ends.push(0);
        }
        let place = i32::try_from(self.ends.len().saturating_sub(1)).expect(IN_RANGE);
        let start = u32::try_from(self.text.len()).expect(IN_RANGE);
        self.text.push_str(text);
        let end = i32::try_from(self.text.len()).expect(IN_RANGE);
        self.ends.push(end);
        Known { place, start, end: end.cast_unsigned() }
    }

    #[inline]
    fn is(&self, known: Known, text: &str) -> bool {
        let known = self.text.as_bytes().get(known.start as usize..known.end as usize);
        known.is_some_and(|known| are_same(known, text.as_bytes()))
    }
}

/// Whether two texts have the same bytes. Texts of rows are short, and often equal: up to 32 bytes the two
/// ends, which overlap, tell it without a call.
#[inline]
pub fn are_same(one: &[u8], other: &[u8]) -> bool {
    fn ends<const N: usize>(text: &[u8]) -> Option<(&[u8; N], &[u8; N])> {
        text.first_chunk().zip(text.last_chunk())
    }
    one.len() == other.len()
        && match one.len() {
            2..4 => ends::<2>(one) == ends::<2>(other),
            4..8 => ends::<4>(one) == ends::<4>(other),
            8..16 => ends::<8>(one) == ends::<8>(other),
            16..=32 => ends::<16>(one) == ends::<16>(other),
            _ => one == other,
        }
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

    proptest! {
        #[test]
        fn same_texts_are_the_same_and_others_not(text in "[ab]{0,40}", at in 0..40_usize) {
            let mut other = text.clone().into_bytes();
            prop_assert!(are_same(text.as_bytes(), &other));
            other.push(b'a');
            prop_assert!(!are_same(text.as_bytes(), &other));
            other.pop();
            if let Some(byte) = other.get_mut(at) {
                *byte ^= 1;
                prop_assert!(!are_same(text.as_bytes(), &other));
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
