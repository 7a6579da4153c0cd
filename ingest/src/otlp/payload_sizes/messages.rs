//! Sizes of the messages of an rpc, from the span's events: `rpc.message`, and the older `message`.
//!
//! A call has one message each way, a stream many; the size of a direction is the sum over them. It
//! is given only if it is known of every message: a part of the messages is no size of the call.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::otlp::attributes::Attributes;
use crate::otlp::wire::WireError;

/// Attributes of a message under the current name of its event, then under the older one.
const TYPE: [&str; 2] = ["rpc.message.type", "message.type"];
const COMPRESSED: [&str; 2] = ["rpc.message.compressed_size", "message.compressed_size"];
const UNCOMPRESSED: [&str; 2] = ["rpc.message.uncompressed_size", "message.uncompressed_size"];

/// Whether the attribute is the size of a message.
pub(in crate::otlp) fn is_size(key: &str) -> bool {
    COMPRESSED.contains(&key) || UNCOMPRESSED.contains(&key)
}

/// What the events of a span say of its messages.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::otlp) struct Messages {
    pub(super) sent: Sums<'static>,
    pub(super) received: Sums<'static>,
}

impl Messages {
    /// Takes an event of the span; one that is no message changes nothing.
    pub(in crate::otlp) fn add(
        &mut self,
        event_name: &str,
        attributes: &Attributes<'_>,
    ) -> Result<(), WireError> {
        if !matches!(event_name, "rpc.message" | "message") {
            return Ok(());
        }
        let sums = match attributes.text(&TYPE)? {
            Some(kind) if kind.eq_ignore_ascii_case("SENT") => &mut self.sent,
            Some(kind) if kind.eq_ignore_ascii_case("RECEIVED") => &mut self.received,
            _ => return Ok(()),
        };
        sums.messages = sums.messages.saturating_add(1);
        sums.compressed.add(attributes, &COMPRESSED)?;
        sums.uncompressed.add(attributes, &UNCOMPRESSED)
    }

    /// The sender left events out, so the sums miss some message.
    pub(in crate::otlp) fn events_were_dropped(&mut self) {
        *self = Self::default();
    }
}

/// The messages of one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums<'n> {
    messages: u64,
    compressed: Sum<'n>,
    uncompressed: Sum<'n>,
}

impl<'n> Sums<'n> {
    /// Bytes as transferred and the attribute that said so.
    pub(super) fn compressed(&self) -> Option<(i64, &'n str)> {
        self.compressed.of_all(self.messages)
    }

    /// Bytes before compression and the attribute that said so.
    pub(super) fn uncompressed(&self) -> Option<(i64, &'n str)> {
        self.uncompressed.of_all(self.messages)
    }
}

/// A sum over the messages that said this size.
#[derive(Clone, Copy, Debug, Default)]
struct Sum<'n> {
    messages: u64,
    /// Saturates.
    bytes: i64,
    attribute: &'n str,
}

impl<'n> Sum<'n> {
    fn add(&mut self, attributes: &Attributes<'_>, names: &[&'n str; 2]) -> Result<(), WireError> {
        for name in names {
            let Some(value) = attributes.get(name) else { continue };
            if let Some(bytes) = value.size()? {
                self.messages = self.messages.saturating_add(1);
                self.bytes = self.bytes.saturating_add(bytes);
                self.attribute = name;
                break;
            }
        }
        Ok(())
    }

    fn of_all(&self, messages: u64) -> Option<(i64, &'n str)> {
        (messages > 0 && self.messages == messages).then_some((self.bytes, self.attribute))
    }
}
