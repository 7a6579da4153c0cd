//! Values of rows of which some have none: what builders of columns collect.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use arrow::array::NullBufferBuilder;
use arrow::buffer::NullBuffer;

/// A value for each row, or null. A run of nulls costs a counter, so that a column that hardly any row has
/// takes no time.
#[derive(Debug, Default)]
pub struct SparseValues<T> {
    /// Of each row up to the last that has a value.
    values: Vec<T>,
    /// Runs of nulls between them: the row of the first, and their number.
    gaps: Vec<(usize, usize)>,
    /// Nulls after the last row that has a value.
    nulls: usize,
    /// Rows to make room for with the first value.
    rows: usize,
}

impl<T: Copy + Default> SparseValues<T> {
    /// No rows yet, of which about so many will come.
    pub fn with_rows(rows: usize) -> Self {
        Self { rows, ..Self::default() }
    }

    /// Adds a row.
    #[inline]
    pub fn push(&mut self, value: T) {
        self.make_ready();
        self.values.push(value);
    }

    /// Adds so many rows with the same value.
    pub fn push_repeated(&mut self, value: T, rows: usize) {
        if rows > 0 {
            self.make_ready();
            self.values.resize(self.values.len().saturating_add(rows), value);
        }
    }

    /// Adds so many rows without a value.
    #[inline]
    pub fn push_nulls(&mut self, rows: usize) {
        self.nulls = self.nulls.saturating_add(rows);
    }

    /// Makes room for so many more rows.
    pub fn reserve(&mut self, rows: usize) {
        self.values.reserve_exact(rows);
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.values.len().saturating_add(self.nulls)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A value for each row, and which of them count; `None` where all do.
    pub fn finish(self) -> (Vec<T>, Option<NullBuffer>) {
        let Self { mut values, gaps, nulls, .. } = self;
        let valid_until = values.len();
        values.resize(valid_until.saturating_add(nulls), T::default());
        let nulls = null_buffer(&gaps, valid_until, values.len());
        (values, nulls)
    }

    /// Prepares for a value to be added.
    #[inline]
    fn make_ready(&mut self) {
        if self.nulls > 0 || self.rows > 0 {
            self.make_room();
        }
    }

    fn make_room(&mut self) {
        self.values.reserve(std::mem::take(&mut self.rows));
        let nulls = std::mem::take(&mut self.nulls);
        if nulls > 0 {
            let row = self.values.len();
            self.gaps.push((row, nulls));
            self.values.resize(row.saturating_add(nulls), T::default());
        }
    }
}

/// Which rows have a value; `None` where all have.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn values_read_back(
            parts in proptest::collection::vec((any::<Option<i64>>(), 0..5_usize), 0..100),
            room in 0..50_usize,
        ) {
            let mut sparse = SparseValues::with_rows(room);
            let mut expected = Vec::new();
            for (value, rows) in &parts {
                expected.extend(std::iter::repeat_n(*value, *rows));
                match (value, rows) {
                    (Some(value), 1) => sparse.push(*value),
                    (Some(value), _) => sparse.push_repeated(*value, *rows),
                    (None, _) => sparse.push_nulls(*rows),
                }
            }
            prop_assert_eq!((sparse.len(), sparse.is_empty()), (expected.len(), expected.is_empty()));
            let (values, nulls) = sparse.finish();
            let is_valid = |row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
            let read: Vec<_> =
                values.iter().enumerate().map(|(row, value)| is_valid(row).then_some(*value)).collect();
            prop_assert_eq!(read, expected);
        }
    }
}
