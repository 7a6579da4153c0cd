//! Keys of attributes: each is checked and looked up once, however many spans of a request have it.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use upriver_store::text_column::are_same;

use super::payload_sizes::{self, BodySize};
use super::promoted::{self, Column};
use super::wire::{Field, WireError};

/// A request has some dozens of distinct keys. As many as a byte can tell.
const SLOTS: usize = 256;

/// A key and what it stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Key<'a> {
    pub(super) name: &'a str,
    /// The column that its value belongs to.
    pub(super) column: Option<Column>,
    /// The size that its value is.
    pub(super) body_size: Option<BodySize>,
    /// The same for equal keys.
    pub(super) slot: u8,
}

impl Key<'_> {
    /// A bit for each two slots: where none of several keys has this one, the key is none of them.
    #[inline]
    pub(super) fn slot_bit(&self) -> u128 {
        1 << (self.slot >> 1)
    }

    /// Whether both are the same key. The slots are compared first, which is nearly always enough.
    #[inline]
    pub(super) fn is(&self, other: &Self) -> bool {
        self.slot == other.slot && are_same(self.name.as_bytes(), other.name.as_bytes())
    }
}

/// The keys seen last: nothing until the first one comes.
#[derive(Debug, Default)]
pub(super) struct Keys<'a>(Vec<Key<'a>>);

impl<'a> Keys<'a> {
    /// The key with this name, which must be UTF-8.
    #[inline]
    pub(super) fn find(&mut self, name: &'a [u8]) -> Result<Key<'a>, WireError> {
        let slot = slot(name);
        match self.0.get(usize::from(slot)) {
            Some(known) if known.slot == slot && are_same(known.name.as_bytes(), name) => {
                Ok(*known)
            }
            _ => self.meet(name, slot),
        }
    }

    fn meet(&mut self, name: &'a [u8], slot: u8) -> Result<Key<'a>, WireError> {
        let name = text(name)?;
        let column = promoted::column_of(name);
        let key = Key { name, column, body_size: payload_sizes::body_size_of(name), slot };
        self.0.resize(SLOTS, key);
        if let Some(place) = self.0.get_mut(usize::from(slot)) {
            *place = key;
        }
        Ok(key)
    }
}

/// Whether more is read of this attribute than its text: a number, a truth value or a list means
/// something else there than a text that looks the same.
pub(crate) fn is_read_by_type(key: &str) -> bool {
    let column = promoted::column_of(key);
    matches!(column, Some(Column::HttpStatus(_) | Column::MessagingUnnamed))
        || payload_sizes::body_size_of(key).is_some()
        || payload_sizes::messages::is_size(key)
}

/// The name of a key.
pub(super) fn text(name: &[u8]) -> Result<&str, WireError> {
    Field::Bytes(name).text("KeyValue.key")
}

/// The place of a key, from its length and its two ends. Keys that share a place take turns in it.
#[inline]
pub(super) fn slot(name: &[u8]) -> u8 {
    /// 2^64 divided by the golden ratio: Fibonacci hashing.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let ends = match (name.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) => {
            u64::from_le_bytes(*first).wrapping_mul(SPREAD) ^ u64::from_le_bytes(*last)
        }
        _ => name.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
    };
    let spread = (ends ^ name.len() as u64).wrapping_mul(SPREAD);
    // The upper bits are the well mixed ones.
    let [upper, ..] = spread.to_be_bytes();
    upper
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_again_whatever_shares_its_place() {
        let names: Vec<String> = (0..5_000).map(|number| format!("http.k{number}.size")).collect();
        let mut keys = Keys::default();
        for round in 0..2 {
            for name in &names {
                let key = keys.find(name.as_bytes()).unwrap();
                assert_eq!(key.name, name, "round {round}");
                assert!(key.is(&keys.find(name.as_bytes()).unwrap()));
            }
        }
        assert!(!keys.find(b"http.k1.size").unwrap().is(&keys.find(b"http.k2.size").unwrap()));
    }

    #[test]
    fn the_empty_key_and_what_is_no_text() {
        let mut keys = Keys::default();
        assert_eq!(keys.find(b"").unwrap().name, "");
        assert!(keys.find(b"\xff").is_err());
        assert!(keys.find(b"abc.method.\xff\xfe").is_err());
    }

    #[test]
    fn keys_know_their_column_and_their_size() {
        let mut keys = Keys::default();
        assert!(keys.find(b"http.route").unwrap().column.is_some());
        assert!(keys.find(b"http.request.body.size").unwrap().body_size.is_some());
        assert_eq!(keys.find(b"shop.cart.items").unwrap().column, None);
    }
}
