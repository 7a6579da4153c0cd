//! The distinct texts of a column, numbered as they first appear.

use std::hash::BuildHasher;

use arrow::array::{Array, ArrayRef, AsArray, MapArray};
use arrow::datatypes::Int32Type;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::RowAt;
use super::chunk::number;
use crate::text_column::{Distinct, NULL, Numbered, TextColumn};

/// The rows of a file or a part of it: in the table's order, and in the order of arrival, in which
/// neighbours are mostly equal and lie side by side.
pub(super) struct Order<'a> {
    pub(super) rows: &'a [RowAt],
    /// The rows of each batch in its own order, one batch after the other.
    arrived: Vec<Arrived>,
    /// The batches that have rows here, and where those end.
    batches: Vec<(usize, usize)>,
}

/// A row of a batch, and its place in the table's order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    row: u32,
    place: u32,
}

impl<'a> Order<'a> {
    /// Of rows of batches with so many rows each, of which there may be others.
    pub(super) fn new(rows: &'a [RowAt], lengths: impl Iterator<Item = usize>) -> Self {
        let begins = lengths.scan(0, |end, length| {
            let begin = *end;
            *end += length;
            Some((begin, *end))
        });
        let begins: Vec<_> = begins.collect();
        let mut places = vec![NULL; begins.last().map_or(0, |(_, end)| *end)];
        for (place, (batch, row)) in (0..).zip(rows) {
            places[begins[*batch].0 + row] = place;
        }
        let (mut arrived, mut batches) = (Vec::with_capacity(rows.len()), Vec::new());
        for (batch, (begin, end)) in begins.into_iter().enumerate() {
            let before = arrived.len();
            let of_batch = (0..).zip(&places[begin..end]).filter(|(_, place)| **place != NULL);
            arrived.extend(of_batch.map(|(row, place)| Arrived { row, place: *place }));
            if arrived.len() > before {
                batches.push((batch, arrived.len()));
            }
        }
        Self { rows, arrived, batches }
    }

    /// Where nobody asks for the order of arrival.
    pub(super) fn unknown(rows: &'a [RowAt]) -> Self {
        Self { rows, arrived: Vec::new(), batches: Vec::new() }
    }

    /// Batches and their rows, a few at a time.
    fn arrival(&self) -> impl Iterator<Item = (usize, impl Iterator<Item = &[Arrived]>)> {
        let begins = std::iter::once(0).chain(self.batches.iter().map(|(_, end)| *end));
        self.batches.iter().zip(begins).map(|((batch, end), begin)| {
            (*batch, self.arrived[begin..*end].chunks(Growth::CHECKED_ROWS))
        })
    }
}

impl Arrived {
    fn row(self) -> usize {
        self.row as usize
    }

    fn place(self) -> usize {
        self.place as usize
    }
}

/// The numbers of the texts of a column, in the table's order; `None` where the distinct ones take more
/// than `bytes_max`.
pub(super) fn text_codes<'a>(
    columns: &[TextColumn<'a>],
    order: &Order<'_>,
    distinct: &mut Distinct<'a>,
    bytes_max: usize,
) -> Option<Vec<u32>> {
    let mut codes = vec![NULL; order.rows.len()];
    let mut growth = Growth::of(order.rows.len());
    for (batch, arrived) in order.arrival() {
        let mut column = Numbered::new(columns[batch]);
        for rows in arrived {
            if !columns[batch].is_all_null() {
                for row in rows {
                    codes[row.place()] = column.code(row.row(), distinct);
                }
            }
            if growth.reaches(rows.len(), distinct.page_bytes(), bytes_max) {
                return None;
            }
        }
    }
    Some(codes)
}

/// Whether the distinct texts of many rows will take too much, seen early: looking texts up in vain costs
/// more than writing them.
#[derive(Debug)]
struct Growth {
    rows: usize,
    seen: usize,
    /// Rows of the first half of the sample, and what their texts take.
    at_half: Option<(usize, usize)>,
    is_judged: bool,
}

impl Growth {
    /// Rows after which it is plain whether texts repeat: a few of the usual requests.
    const SAMPLE_ROWS: usize = 4_096;
    /// Rows from one time that it is asked to the next, at most.
    const CHECKED_ROWS: usize = 512;

    fn of(rows: usize) -> Self {
        Self { rows, seen: 0, at_half: None, is_judged: false }
    }

    /// Counts rows; `bytes` is what the distinct texts take with them. Texts get rarer that were not seen
    /// before, so only half of the growth so far is expected.
    fn reaches(&mut self, rows: usize, bytes: usize, bytes_max: usize) -> bool {
        self.seen += rows;
        if self.is_judged || self.seen < Self::SAMPLE_ROWS / 2 {
            return bytes > bytes_max;
        }
        let (half, bytes_at_half) = *self.at_half.get_or_insert((self.seen, bytes));
        if self.seen < Self::SAMPLE_ROWS {
            return bytes > bytes_max;
        }
        self.is_judged = true;
        let left = self.rows.saturating_sub(self.seen);
        let growth = (bytes - bytes_at_half) * left / (2 * (self.seen - half).max(1));
        bytes + growth > bytes_max
    }
}

/// Lists of texts that are looked up as a whole: the names of attributes come in few combinations, and so
/// do the attributes of resources.
const LISTS_MAX: usize = 4_096;

/// One side of a column of attributes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side<'a> {
    texts: TextColumn<'a>,
    offsets: &'a [i32],
    /// The list of each row, where rows have lists in common.
    lists: Option<&'a [i32]>,
}

impl<'a> Side<'a> {
    /// The names.
    pub(super) fn keys(column: &'a ArrayRef) -> Option<Self> {
        Self::of_column(column, MapArray::keys)
    }

    /// The values.
    pub(super) fn values(column: &'a ArrayRef) -> Option<Self> {
        Self::of_column(column, MapArray::values)
    }

    fn of_column(column: &'a ArrayRef, side: fn(&MapArray) -> &ArrayRef) -> Option<Self> {
        let folded = column.as_dictionary_opt::<Int32Type>();
        let map = folded.map_or(column, |folded| folded.values()).as_map_opt()?;
        let lists = folded.map(|folded| &folded.keys().values()[..]);
        Some(Self { texts: TextColumn::of(side(map))?, offsets: map.value_offsets(), lists })
    }

    /// How many a row has.
    pub(super) fn len(&self, row: usize) -> usize {
        self.range(row).len()
    }

    /// Whether the texts of a row lie one after the other, none missing.
    fn is_full(&self) -> bool {
        !self.texts.is_folded() && self.texts.texts().null_count() == 0
    }

    /// The texts of a row.
    pub(super) fn of(&self, row: usize) -> impl Iterator<Item = Option<&'a str>> + use<'a> {
        let texts = self.texts;
        self.range(row).map(move |at| texts.value_or_none(at))
    }

    fn range(&self, row: usize) -> std::ops::Range<usize> {
        let place = |number: i32| usize::try_from(number).unwrap_or(0);
        let list = self.lists.map_or(row, |lists| place(lists[row]));
        place(self.offsets[list])..place(self.offsets[list + 1])
    }

    /// The texts of a row one after the other, and where they end.
    fn list(&self, row: usize) -> List<'a> {
        let range = self.range(row);
        let texts = self.texts.texts();
        let ends = &texts.value_offsets()[range.start..=range.end];
        let at = |end: Option<&i32>| end.and_then(|end| usize::try_from(*end).ok()).unwrap_or(0);
        List { bytes: &texts.value_data()[at(ends.first())..at(ends.last())], ends }
    }
}

/// Texts one after the other.
#[derive(Clone, Copy, Debug)]
struct List<'a> {
    bytes: &'a [u8],
    /// The first is where they begin.
    ends: &'a [i32],
}

impl PartialEq for List<'_> {
    fn eq(&self, other: &Self) -> bool {
        let lengths = |list: &Self| {
            let (ends, first) = (list.ends, list.ends.first().copied().unwrap_or(0));
            (ends, first)
        };
        let ((ends, first), (other_ends, other_first)) = (lengths(self), lengths(other));
        self.bytes == other.bytes
            && ends.len() == other_ends.len()
            && ends.iter().zip(other_ends).all(|(a, b)| a - first == b - other_first)
    }
}

/// Numbers of the texts of one side, row by row.
#[derive(Debug)]
pub(super) struct ListCodes {
    codes: Vec<u32>,
    /// Where those of a row are, in the table's order.
    at: Vec<(u32, u32)>,
}

impl ListCodes {
    /// The numbers of a row, by its place in the table's order.
    pub(super) fn of(&self, place: usize) -> &[u32] {
        let (start, length) = self.at[place];
        &self.codes[start as usize..][..length as usize]
    }
}

/// The same as [`text_codes`] of a column of attributes.
pub(super) fn list_codes<'a>(
    columns: &[Side<'a>],
    order: &Order<'_>,
    distinct: &mut Distinct<'a>,
    bytes_max: usize,
) -> Option<ListCodes> {
    let mut all = ListCodes { codes: Vec::new(), at: vec![(0, 0); order.rows.len()] };
    let mut lists = Lists::default();
    let mut growth = Growth::of(order.rows.len());
    for (batch, arrived) in order.arrival() {
        let side = columns[batch];
        let (is_full, mut numbered) = (side.is_full(), Numbered::new(side.texts));
        for rows in arrived {
            for row in rows {
                let list = is_full.then(|| side.list(row.row()));
                let known = list.and_then(|list| lists.find(list));
                all.at[row.place()] = known.unwrap_or_else(|| {
                    let at = all.codes.len();
                    let texts = side.range(row.row());
                    all.codes.extend(texts.map(|at| numbered.code(at, distinct)));
                    let at = (number(at), number(all.codes.len() - at));
                    if let Some(list) = list {
                        lists.insert(list, at);
                    }
                    at
                });
            }
            let is_too_much = growth.reaches(rows.len(), distinct.page_bytes(), bytes_max);
            if is_too_much || all.codes.len() > u32::MAX as usize {
                return None;
            }
        }
    }
    Some(all)
}

/// Lists that were met and where their numbers are.
#[derive(Debug, Default)]
struct Lists<'a> {
    met: Vec<(List<'a>, (u32, u32))>,
    by_list: HashTable<u32>,
    hasher: RandomState,
    /// The one that was asked for last.
    last: usize,
    hits: usize,
}

impl<'a> Lists<'a> {
    fn find(&mut self, list: List<'a>) -> Option<(u32, u32)> {
        if let Some((known, at)) = self.met.get(self.last)
            && *known == list
        {
            self.hits += 1;
            return Some(*at);
        }
        // Where nearly every list is another, looking for it is in vain.
        if self.met.len() == LISTS_MAX && self.hits < LISTS_MAX {
            return None;
        }
        let hash = self.hasher.hash_one(list.bytes);
        let found = self.by_list.find(hash, |place| self.met[*place as usize].0 == list)?;
        self.last = *found as usize;
        self.hits += 1;
        Some(self.met[self.last].1)
    }

    fn insert(&mut self, list: List<'a>, at: (u32, u32)) {
        if self.met.len() == LISTS_MAX {
            return;
        }
        let Self { met, by_list, hasher, last, .. } = self;
        *last = met.len();
        let hash_of = |place: &u32| hasher.hash_one(met[*place as usize].0.bytes);
        let place = u32::try_from(met.len()).unwrap_or(u32::MAX);
        by_list.insert_unique(hasher.hash_one(list.bytes), place, hash_of);
        met.push((list, at));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringArray;

    use super::*;

    /// Whether the texts of many rows are numbered, and how many were looked at.
    fn numbered(text: impl Fn(usize) -> String) -> (bool, usize) {
        let column: StringArray = (0..40_000).map(|row| Some(text(row))).collect();
        let column: ArrayRef = Arc::new(column);
        let rows: Vec<RowAt> = (0..column.len()).map(|row| (0, row)).collect();
        let column = TextColumn::of(&column).unwrap();
        let mut distinct = Distinct::default();
        let codes = text_codes(
            &[column],
            &Order::new(&rows, [column.len()].into_iter()),
            &mut distinct,
            1 << 20,
        );
        (codes.is_some(), distinct.texts.len())
    }

    #[test]
    fn texts_that_do_not_repeat_are_given_up_early() {
        let unique = |row: usize| format!("/v1/cart/items/{row:050}");
        assert_eq!(numbered(unique), (false, Growth::SAMPLE_ROWS));
        assert_eq!(numbered(|row| unique(row % 1_000)), (true, 1_000));
        // Few at first, too many in the end.
        assert!(!numbered(|row| unique(row.saturating_sub(10_000))).0);
    }
}
