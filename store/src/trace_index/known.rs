//! The spans themselves: a ring of fixed entries, found by id and, as a family, by their parent.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::names::{NameId, Names};

/// Trace id and span id.
pub(super) type SpanKey = (u128, i64);

/// Entries are made room for in blocks, so that growth copies nothing.
const BLOCK_SPANS: usize = 1 << 16;

/// Children of one span that are looked at. The widest fan-outs seen in practice are batches of a few
/// thousand; without a limit, a request whose spans all have one parent would cost the square of
/// their number.
const CHILDREN_MAX: usize = 10_000;

/// What others need to know of a span.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownSpan {
    pub(super) id: i64,
    /// 0 where there is none: no span has this id.
    pub(super) parent: i64,
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) service: Option<NameId>,
    pub(super) name: Option<NameId>,
    pub(super) operation: Option<NameId>,
    pub(super) instance: Option<NameId>,
    pub(super) answers: bool,
}

/// A span and its place in its family, a list in the order of arrival.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// In halves: whole, it would be aligned to 16 bytes and every entry longer.
    trace: [u64; 2],
    span: KnownSpan,
    next_sibling: Option<Slot>,
    /// Kept by the first of a family only.
    last_sibling: Slot,
}

impl Entry {
    fn key(&self) -> SpanKey {
        (joined(self.trace), self.span.id)
    }

    fn parent_key(&self) -> SpanKey {
        (joined(self.trace), self.span.parent)
    }
}

/// The place of an entry, plus one, so that an option of it takes no more room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot(std::num::NonZeroU32);

impl Slot {
    fn of(place: usize) -> Self {
        let number = u32::try_from(place + 1).unwrap_or(u32::MAX);
        Self(std::num::NonZeroU32::new(number).unwrap_or(std::num::NonZeroU32::MAX))
    }

    fn place(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// The spans that are known; the oldest go first.
#[derive(Debug)]
pub(super) struct KnownSpans {
    blocks: Vec<Vec<Entry>>,
    /// The place that is written next, once the ring is full: the oldest.
    oldest: usize,
    capacity: usize,
    by_id: HashTable<Slot>,
    /// The first child of each parent.
    families: HashTable<Slot>,
    hasher: RandomState,
}

impl KnownSpans {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        let most = u32::MAX as usize - 1;
        Self {
            blocks: Vec::new(),
            oldest: 0,
            capacity: capacity.clamp(1, most),
            by_id: HashTable::new(),
            families: HashTable::new(),
            hasher: RandomState::default(),
        }
    }

    pub(super) fn get(&self, key: SpanKey) -> Option<&KnownSpan> {
        let hash = self.hasher.hash_one(key);
        let slot = self.by_id.find(hash, |slot| self.entry(*slot).key() == key)?;
        Some(&self.entry(*slot).span)
    }

    /// The children of a span as they arrived.
    pub(super) fn children(&self, key: SpanKey) -> impl Iterator<Item = &KnownSpan> {
        let hash = self.hasher.hash_one(key);
        let first = self.families.find(hash, |slot| self.entry(*slot).parent_key() == key);
        let slots = std::iter::successors(first.copied(), |slot| self.entry(*slot).next_sibling);
        slots.map(|slot| &self.entry(slot).span).take(CHILDREN_MAX)
    }

    /// Adds a span that is not known; the oldest makes room.
    pub(super) fn insert(&mut self, trace: u128, span: KnownSpan, names: &mut Names) {
        let slot = self.free_slot(names);
        let entry = Entry { trace: halves(trace), span, next_sibling: None, last_sibling: slot };
        self.write(slot, entry);
        let Self { blocks, by_id, hasher, .. } = self;
        let hash_of = |slot: &Slot| hasher.hash_one(entry_in(blocks, *slot).key());
        by_id.insert_unique(hasher.hash_one(entry.key()), slot, hash_of);
        if span.parent != 0 {
            self.join_family(slot, entry.parent_key());
        }
    }

    fn free_slot(&mut self, names: &mut Names) -> Slot {
        let known = self.by_id.len();
        if known < self.capacity {
            return Slot::of(known);
        }
        let slot = Slot::of(self.oldest);
        self.oldest = (self.oldest + 1) % self.capacity;
        self.forget(slot, names);
        slot
    }

    fn write(&mut self, slot: Slot, entry: Entry) {
        let place = slot.place();
        if place / BLOCK_SPANS == self.blocks.len() {
            self.blocks.push(Vec::with_capacity(BLOCK_SPANS.min(self.capacity)));
        }
        let block = &mut self.blocks[place / BLOCK_SPANS];
        match block.get_mut(place % BLOCK_SPANS) {
            Some(old) => *old = entry,
            None => block.push(entry),
        }
    }

    fn join_family(&mut self, slot: Slot, parent: SpanKey) {
        let hash = self.hasher.hash_one(parent);
        let Self { blocks, families, hasher, .. } = self;
        let first = families.find(hash, |slot| entry_in(blocks, *slot).parent_key() == parent);
        let Some(first) = first.copied() else {
            let hash_of = |slot: &Slot| hasher.hash_one(entry_in(blocks, *slot).parent_key());
            families.insert_unique(hash, slot, hash_of);
            return;
        };
        let last = std::mem::replace(&mut self.entry_mut(first).last_sibling, slot);
        self.entry_mut(last).next_sibling = Some(slot);
    }

    /// Takes the oldest span out of the tables. It is the first of its family.
    fn forget(&mut self, slot: Slot, names: &mut Names) {
        let entry = *self.entry(slot);
        let Self { by_id, families, hasher, .. } = self;
        if let Ok(found) = by_id.find_entry(hasher.hash_one(entry.key()), |known| *known == slot) {
            found.remove();
        }
        let KnownSpan { service, name, operation, instance, .. } = entry.span;
        for name in [service, name, operation, instance].into_iter().flatten() {
            names.release(name);
        }
        if entry.span.parent == 0 {
            return;
        }
        let hash = hasher.hash_one(entry.parent_key());
        let Ok(mut family) = families.find_entry(hash, |known| *known == slot) else { return };
        match entry.next_sibling {
            Some(next) => {
                *family.get_mut() = next;
                self.entry_mut(next).last_sibling = entry.last_sibling;
            }
            None => drop(family.remove()),
        }
    }

    fn entry(&self, slot: Slot) -> &Entry {
        entry_in(&self.blocks, slot)
    }

    fn entry_mut(&mut self, slot: Slot) -> &mut Entry {
        let place = slot.place();
        &mut self.blocks[place / BLOCK_SPANS][place % BLOCK_SPANS]
    }
}

fn entry_in(blocks: &[Vec<Entry>], slot: Slot) -> &Entry {
    let place = slot.place();
    &blocks[place / BLOCK_SPANS][place % BLOCK_SPANS]
}

#[expect(clippy::cast_possible_truncation, reason = "the halves of a number")]
fn halves(trace: u128) -> [u64; 2] {
    [(trace >> 64) as u64, trace as u64]
}

fn joined([high, low]: [u64; 2]) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}
