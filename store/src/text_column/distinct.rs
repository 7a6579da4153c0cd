//! The distinct texts of columns, numbered as they first appear.

use std::hash::BuildHasher;

use arrow::array::Array;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::TextColumn;

/// Where there is no text.
pub(crate) const NULL: u32 = u32::MAX;

/// Texts and their numbers.
#[derive(Debug, Default)]
pub(crate) struct Distinct<'a> {
    pub(crate) texts: Vec<&'a str>,
    by_text: HashTable<u32>,
    hasher: RandomState,
    bytes: usize,
}

impl<'a> Distinct<'a> {
    /// The number of a text.
    #[inline]
    pub(crate) fn code(&mut self, text: &'a str) -> u32 {
        let Self { texts, by_text, hasher, bytes } = self;
        let hash = hasher.hash_one(text);
        let is_equal = |code: &u32| texts[*code as usize] == text;
        if let Some(known) = by_text.find(hash, is_equal) {
            return *known;
        }
        let code = u32::try_from(texts.len()).unwrap_or(NULL);
        by_text.insert_unique(hash, code, |code| hasher.hash_one(texts[*code as usize]));
        texts.push(text);
        *bytes += text.len();
        code
    }

    /// What they take as a page: each has four bytes for its length.
    #[cfg(feature = "delta")]
    pub(crate) fn page_bytes(&self) -> usize {
        self.bytes + self.texts.len() * size_of::<u32>()
    }
}

/// A column of a batch whose texts are looked up once, or as often as another one comes.
#[derive(Debug)]
pub(crate) struct Numbered<'a> {
    column: TextColumn<'a>,
    /// The numbers of its texts, where rows have them in common.
    known: Vec<u32>,
    before: (&'a str, u32),
}

impl<'a> Numbered<'a> {
    pub(crate) fn new(column: TextColumn<'a>) -> Self {
        let shared = if column.texts().len() < column.len() { column.texts().len() } else { 0 };
        Self { column, known: vec![NULL; shared], before: ("", NULL) }
    }

    /// The number of the text of a row; [`NULL`] where there is none.
    #[inline]
    pub(crate) fn code(&mut self, row: usize, distinct: &mut Distinct<'a>) -> u32 {
        let Some(place) = self.column.place_named(row) else { return NULL };
        match self.known.get(place) {
            Some(known) if *known != NULL => *known,
            _ => self.look_up(place, distinct),
        }
    }

    fn look_up(&mut self, place: usize, distinct: &mut Distinct<'a>) -> u32 {
        if self.column.texts().is_null(place) {
            return NULL;
        }
        let text = self.column.texts().value(place);
        if self.before.1 == NULL || self.before.0 != text {
            self.before = (text, distinct.code(text));
        }
        if let Some(known) = self.known.get_mut(place) {
            *known = self.before.1;
        }
        self.before.1
    }
}
