//! One copy of each text that spans name, for as long as a span names it.

use std::hash::BuildHasher;

use arrow::array::Array;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::text_column::TextColumn;

/// A text, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NameId(std::num::NonZeroU32);

impl NameId {
    fn of(place: usize) -> Self {
        let number = u32::try_from(place + 1).unwrap_or(u32::MAX);
        Self(std::num::NonZeroU32::new(number).unwrap_or(std::num::NonZeroU32::MAX))
    }

    fn place(self) -> usize {
        self.0.get() as usize - 1
    }
}

#[derive(Debug, Default)]
struct Name {
    text: Box<str>,
    uses: u32,
}

/// The texts.
#[derive(Debug, Default)]
pub(super) struct Names {
    list: Vec<Name>,
    by_text: HashTable<NameId>,
    /// Numbers that nobody uses.
    free: Vec<NameId>,
    hasher: RandomState,
}

impl Names {
    /// One use more of a text that is held.
    fn hold_again(&mut self, id: NameId) -> NameId {
        self.list[id.place()].uses += 1;
        id
    }

    /// The number of a text, to be given back by [`Names::release`].
    pub(super) fn hold(&mut self, text: &str) -> NameId {
        let hash = self.hasher.hash_one(text);
        let Self { list, by_text, free, hasher } = self;
        if let Some(known) = by_text.find(hash, |id| &*list[id.place()].text == text) {
            let known = *known;
            return self.hold_again(known);
        }
        let id = free.pop().unwrap_or_else(|| {
            list.push(Name::default());
            NameId::of(list.len() - 1)
        });
        list[id.place()] = Name { text: text.into(), uses: 1 };
        by_text.insert_unique(hash, id, |id| hasher.hash_one(&*list[id.place()].text));
        id
    }

    /// One use less; after the last one the text is forgotten.
    pub(super) fn release(&mut self, id: NameId) {
        let name = &mut self.list[id.place()];
        name.uses -= 1;
        if name.uses > 0 {
            return;
        }
        let text = std::mem::take(&mut name.text);
        if let Ok(found) =
            self.by_text.find_entry(self.hasher.hash_one(&*text), |known| *known == id)
        {
            found.remove();
        }
        self.free.push(id);
    }

    /// A text; empty where there is none.
    pub(super) fn text(&self, id: Option<NameId>) -> &str {
        id.map_or("", |id| &self.list[id.place()].text)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_text.len()
    }
}

/// A column whose texts are held: each is looked up once, however many rows have it.
#[derive(Debug)]
pub(super) struct HeldNames<'a> {
    column: TextColumn<'a>,
    /// Of texts that rows have in common, each held once more, so that none of them goes meanwhile.
    known: Vec<Option<NameId>>,
}

impl<'a> HeldNames<'a> {
    pub(super) fn new(column: TextColumn<'a>) -> Self {
        let texts = column.texts().len();
        let shared = if texts < column.len() { texts } else { 0 };
        Self { column, known: vec![None; shared] }
    }

    /// The number of the text of a row, where it has one.
    pub(super) fn hold(&mut self, row: usize, names: &mut Names) -> Option<NameId> {
        let place = self.column.place(row)?;
        let Some(known) = self.known.get_mut(place) else {
            return Some(names.hold(self.column.texts().value(place)));
        };
        let id = *known.get_or_insert_with(|| names.hold(self.column.texts().value(place)));
        Some(names.hold_again(id))
    }

    /// Ends the uses that are of no span.
    pub(super) fn release(self, names: &mut Names) {
        for id in self.known.into_iter().flatten() {
            names.release(id);
        }
    }
}
