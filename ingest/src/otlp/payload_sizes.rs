//! Sizes of bodies from spans and their events: columns of `spans`, rows of the view `payload_sizes`.
//!
//! In order of preference: `http.*.body.size`, the older `http.*_content_length`, a captured
//! `content-length` header, the whole message (`http.*.size`), the messages of an rpc; for messaging
//! `messaging.message.body.size`, its older names and `messaging.message.envelope.size` (the message
//! is the request). Sizes before compression come from the older `*_uncompressed`, else from the
//! messages of an rpc.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use self::messages::Messages;
use super::attributes::{Attributes, Value};
use super::keys::Key;
use super::traces::{Reporter, SpanKind};
use super::wire::WireError;

pub(super) mod messages;

/// A size that an attribute says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BodySize {
    direction: Direction,
    measure: Measure,
}

/// What an attribute says about a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    /// Bytes as transferred; of several attributes the lowest rank counts.
    Wire(u8),
    Uncompressed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Request,
    Response,
}

/// The size that an attribute says; `None` for other attributes.
pub(super) fn body_size_of(key: &str) -> Option<BodySize> {
    use Direction::{Request, Response};
    use Measure::{Uncompressed, Wire};
    let (direction, measure) = match key {
        "http.request.body.size" | "messaging.message.body.size" => (Request, Wire(0)),
        "http.response.body.size" => (Response, Wire(0)),
        "http.request_content_length" => (Request, Wire(1)),
        "http.response_content_length" => (Response, Wire(1)),
        "azure.cosmosdb.request.body.size" => (Request, Wire(1)),
        "db.cosmosdb.request_content_length" => (Request, Wire(2)),
        "messaging.message.payload_size_bytes" => (Request, Wire(1)),
        "messaging.message_payload_size_bytes" => (Request, Wire(2)),
        // Python replaces the hyphen.
        "http.request.header.content-length" | "http.request.header.content_length" => {
            (Request, Wire(3))
        }
        "http.response.header.content-length" | "http.response.header.content_length" => {
            (Response, Wire(3))
        }
        // With the request line or status and the headers.
        "http.request.size" => (Request, Wire(4)),
        "http.response.size" => (Response, Wire(4)),
        // With the message's metadata.
        "messaging.message.envelope.size" => (Request, Wire(4)),
        "http.request_content_length_uncompressed" => (Request, Uncompressed),
        "http.response_content_length_uncompressed" => (Response, Uncompressed),
        _ => return None,
    };
    Some(BodySize { direction, measure })
}

/// Names that a column stands for, of which the map of the other attributes has none.
const CURRENT: [&str; 2] = ["http.request.body.size", "http.response.body.size"];
/// The rank of the messages of an rpc: any attribute of the span counts before them.
const MESSAGES: Measure = Measure::Wire(5);

/// The bodies of a call that a span is one side of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bodies<'a> {
    pub(super) request: Body<'a>,
    pub(super) response: Body<'a>,
}

/// A body that a span reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Body<'a> {
    /// Rank, size and attribute.
    wire: Option<(u8, i64, &'a str)>,
    /// Size and attribute.
    uncompressed: Option<(i64, &'a str)>,
}

impl<'a> Bodies<'a> {
    /// The bodies that a span reports; none of a span that is on no edge.
    pub(super) fn read(
        kind: SpanKind,
        attributes: &Attributes<'a>,
        messages: &Messages,
    ) -> Result<Self, WireError> {
        let mut bodies = Self::default();
        let Some(reporter) = kind.reporter() else { return Ok(bodies) };
        let Self { request, response } = &mut bodies;
        for (key, value) in attributes.iter() {
            let Some(BodySize { direction, measure }) = key.body_size else { continue };
            let Some(bytes) = value.size()? else { continue };
            match direction {
                Direction::Request => request.add(measure, bytes, key.name),
                Direction::Response => response.add(measure, bytes, key.name),
            }
        }
        let (sent, received) = match reporter {
            Reporter::Client => (request, response),
            Reporter::Server => (response, request),
        };
        sent.add_messages(&messages.sent);
        received.add_messages(&messages.received);
        Ok(bodies)
    }

    /// Whether the columns say all that an attribute says, which is then nowhere else: it is a whole number,
    /// under the current name.
    pub(super) fn say_all_of(&self, key: &Key<'_>, value: &Value<'_>) -> bool {
        let Some(BodySize { direction, .. }) = key.body_size else { return false };
        let body = match direction {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        };
        CURRENT.contains(&key.name)
            && matches!((value, body.wire), (Value::Int(sent), Some((_, bytes, name))) if *sent == bytes && name == key.name)
    }
}

impl<'a> Body<'a> {
    pub(super) fn wire_bytes(&self) -> Option<i64> {
        self.wire.map(|(_, bytes, _)| bytes)
    }

    pub(super) fn uncompressed_bytes(&self) -> Option<i64> {
        self.uncompressed.map(|(bytes, _)| bytes)
    }

    /// The attribute that said the size; none where none is known.
    pub(super) fn attribute(&self) -> Option<&'a str> {
        self.wire.map(|(.., name)| name).or_else(|| self.uncompressed.map(|(_, name)| name))
    }

    fn add(&mut self, measure: Measure, bytes: i64, attribute: &'a str) {
        match measure {
            Measure::Wire(rank) if self.wire.is_none_or(|(known, ..)| rank < known) => {
                self.wire = Some((rank, bytes, attribute));
            }
            Measure::Wire(_) => {}
            Measure::Uncompressed => self.uncompressed = Some((bytes, attribute)),
        }
    }

    /// What the messages say, where no attribute of the span said it.
    fn add_messages(&mut self, messages: &messages::Sums<'a>) {
        if let Some((bytes, attribute)) = messages.compressed() {
            self.add(MESSAGES, bytes, attribute);
        }
        if self.uncompressed.is_none() {
            self.uncompressed = messages.uncompressed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_attribute_names_the_size() {
        let mut body = Body::default();
        body.add(Measure::Uncompressed, 9, "raw");
        assert_eq!(body.attribute(), Some("raw"));
        body.add(Measure::Wire(3), 3, "header");
        body.add(Measure::Wire(0), 1, "current");
        body.add(Measure::Wire(1), 2, "older");
        assert_eq!(body.wire, Some((0, 1, "current")));
        assert_eq!(body.attribute(), Some("current"));
        assert_eq!(Body::default().attribute(), None);
    }
}
