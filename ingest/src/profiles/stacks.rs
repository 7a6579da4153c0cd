//! Stacks of frames and their ids.

use std::collections::HashMap;
use std::ops::Range;

use xxhash_rust::xxh3::Xxh3;

use super::frames::FrameTable;
use super::{ROW_BYTES, TooManyRows};

/// The longest stack that is kept whole; of a longer one the frames nearest the leaf stay. Profilers
/// cut at 64 to 512 frames; what is longer is runaway recursion.
pub(crate) const FRAMES_MAX: usize = 1024;

/// The distinct stacks of a request.
#[derive(Debug)]
pub(crate) struct Stacks {
    distinct: Vec<Stack>,
    known: HashMap<i64, usize>,
    scratch: Vec<u32>,
    cut: u64,
    /// Frames that may still be kept. Each becomes at least [`ROW_BYTES`] of a row, so more of them
    /// than this would be refused later, after having taken the memory.
    frames_left: usize,
}

/// A stack: its id and the positions of its frames, leaf first.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) id: i64,
    pub(crate) frames: Vec<u32>,
}

impl Stacks {
    /// No stacks yet; their rows may take `rows_bytes_max`.
    pub(crate) fn new(rows_bytes_max: usize) -> Self {
        Self {
            distinct: Vec::new(),
            known: HashMap::new(),
            scratch: Vec::new(),
            cut: 0,
            frames_left: rows_bytes_max.checked_div(ROW_BYTES).unwrap_or_default(),
        }
    }

    /// The position of the stack with these locations' frames, leaf first; keeps it if it is new.
    ///
    /// The id is the XXH3 hash over the hashes of its frames, each of which is over everything that
    /// is stored of the frame: one id, one stack, from whatever profile.
    pub(crate) fn intern<E>(
        &mut self,
        locations: impl IntoIterator<Item = Result<Range<u32>, E>>,
        table: &FrameTable<'_>,
        too_many: impl FnOnce(TooManyRows) -> E,
    ) -> Result<usize, E> {
        self.scratch.clear();
        for frames in locations {
            let frames = frames?;
            // Locations beyond the cut are looked up, because a missing one is an error, and no more.
            if self.scratch.len() <= FRAMES_MAX {
                self.scratch.extend(frames.take(FRAMES_MAX));
            }
        }
        let cut = self.scratch.len() > FRAMES_MAX;
        self.scratch.truncate(FRAMES_MAX);
        let mut hash = Xxh3::new();
        for position in &self.scratch {
            hash.update(&table.hash(*position).to_le_bytes());
        }
        let id = hash.digest().cast_signed();
        if let Some(position) = self.known.get(&id) {
            return Ok(*position);
        }
        let frames_left = self.frames_left.checked_sub(self.scratch.len().max(1));
        self.frames_left = frames_left.ok_or(TooManyRows).map_err(too_many)?;
        let position = self.distinct.len();
        self.known.insert(id, position);
        self.cut = self.cut.saturating_add(u64::from(cut));
        self.distinct.push(Stack { id, frames: self.scratch.clone() });
        Ok(position)
    }

    /// A stack by its position.
    pub(crate) fn get(&self, position: usize) -> Option<&Stack> {
        self.distinct.get(position)
    }

    /// The id of a stack by its position.
    pub(crate) fn id(&self, position: usize) -> i64 {
        self.get(position).map_or(0, |stack| stack.id)
    }

    /// How many stacks there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.distinct.len()
    }

    /// How many stacks were longer than [`FRAMES_MAX`].
    pub(crate) fn cut(&self) -> u64 {
        self.cut
    }
}
