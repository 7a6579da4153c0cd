//! Texts one after the other, with as much room as the rows so far suggest.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use arrow::array::{BooleanBufferBuilder, StringArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};

/// Room is made for at most this many bytes before there is anything to fill it.
const ROOM_BYTES_MAX: usize = 4 << 20;

/// Builds the texts of a column with several texts a row.
#[derive(Debug)]
pub(crate) struct Texts {
    text: String,
    /// Where the texts end; 0 before the first.
    ends: Vec<i32>,
    /// Which of them are null: hardly any.
    nulls: Vec<usize>,
}

impl Default for Texts {
    fn default() -> Self {
        Self { text: String::new(), ends: vec![0], nulls: Vec::new() }
    }
}

impl Texts {
    /// Adds a text.
    #[inline]
    pub(crate) fn push(&mut self, text: &str) {
        self.text.push_str(text);
        let end = self.end();
        self.ends.push(end);
    }

    /// Adds a text or a null.
    pub(crate) fn push_option(&mut self, text: Option<&str>) {
        if text.is_none() {
            self.nulls.push(self.len());
        }
        self.push(text.unwrap_or_default());
    }

    /// Adds all of the others, so many times.
    pub(crate) fn extend(&mut self, others: &Self, times: usize) {
        self.text.reserve(others.text.len().saturating_mul(times));
        self.ends.reserve(others.len().saturating_mul(times));
        for _ in 0..times {
            let (start, before) = (self.end(), self.len());
            self.text.push_str(&others.text);
            // Fails where any of them would be out of range.
            self.end();
            self.ends.extend(others.ends.iter().skip(1).map(|end| start.saturating_add(*end)));
            self.nulls.extend(others.nulls.iter().map(|null| before.saturating_add(*null)));
        }
    }

    /// How many they are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len().saturating_sub(1)
    }

    /// Their bytes, all together.
    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Makes room for as many rows as there will be, going by those there are.
    pub(crate) fn make_room(&mut self, rows: usize, expected: usize) {
        self.text.reserve_exact(more_room(self.text.len(), rows, expected));
        self.ends.reserve_exact(more_room(self.ends.len(), rows, expected));
    }

    /// The texts as an array.
    pub(crate) fn finish(&mut self) -> StringArray {
        let nulls = self.null_buffer();
        let Self { text, ends, .. } = std::mem::take(self);
        let ends = OffsetBuffer::new(ends.into());
        StringArray::new(ends, Buffer::from_vec(text.into_bytes()), nulls)
    }

    /// Which of them are there; `None` where all are.
    fn null_buffer(&self) -> Option<NullBuffer> {
        if self.nulls.is_empty() {
            return None;
        }
        let mut valid = BooleanBufferBuilder::new(self.len());
        valid.append_n(self.len(), true);
        for null in &self.nulls {
            valid.set_bit(*null, false);
        }
        Some(NullBuffer::new(valid.finish()))
    }

    /// Where the texts so far end.
    #[inline]
    fn end(&self) -> i32 {
        let end = i32::try_from(self.text.len());
        end.expect("the budget of a request keeps offsets in range")
    }
}

/// How much more as many rows as there will be take, when those there are take so much.
pub(crate) fn more_room(length: usize, rows: usize, expected: usize) -> usize {
    let all = length.saturating_mul(expected).checked_div(rows).unwrap_or(0);
    all.min(ROOM_BYTES_MAX).saturating_sub(length)
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;

    use super::*;

    #[test]
    fn texts_read_back() {
        let mut texts = Texts::default();
        texts.push("a");
        texts.push_option(None);
        texts.push("üb");
        texts.make_room(1, 100);
        let mut twice = Texts::default();
        twice.push("x");
        twice.extend(&texts, 2);
        let read = [Some("a"), None, Some("üb")];
        assert_eq!(texts.finish().iter().collect::<Vec<_>>(), read);
        let twice = twice.finish();
        assert_eq!(twice.iter().skip(1).collect::<Vec<_>>(), [read, read].concat());
        assert_eq!((twice.value(0), twice.null_count()), ("x", 2));
        assert_eq!(texts.finish().len(), 0);
    }

    #[test]
    fn few_large_rows_make_no_room_for_many() {
        let mut texts = Texts::default();
        texts.push(&"x".repeat(1 << 20));
        texts.make_room(1, 4_096);
        assert!(texts.text.capacity() <= ROOM_BYTES_MAX, "{}", texts.text.capacity());
    }
}
