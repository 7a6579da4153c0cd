//! Sizes of bodies from spans and their events: `payload_sizes`.
//!
//! In order of preference: `http.*.body.size`, the older `http.*_content_length`, a captured
//! `content-length` header, the whole message (`http.*.size`), the messages of an rpc; for messaging
//! `messaging.message.body.size`, its older names and `messaging.message.envelope.size` (the message
//! is the request). Sizes before compression come from the older `*_uncompressed`, else from the
//! messages of an rpc.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use upriver_store::schema::Table;
use upriver_store::text_column::FoldedTextBuilder;

use self::messages::Messages;
use super::attributes::Attributes;
use super::traces::{Reporter, SpanFacts};
use super::wire::WireError;
use crate::rows::{BytesBuilder, DateBuilder, IntBuilder, TimeBuilder, table_rows};

pub(super) mod messages;

table_rows! {
    /// Rows of `payload_sizes`.
    PayloadSizeRows of Table::PayloadSizes, {
        time: TimeBuilder,
        time_unix_nano: IntBuilder,
        client_service: FoldedTextBuilder,
        server_service: FoldedTextBuilder,
        operation: FoldedTextBuilder,
        direction: FoldedTextBuilder,
        reporter: FoldedTextBuilder,
        wire_bytes: IntBuilder,
        uncompressed_bytes: IntBuilder,
        source_attribute: FoldedTextBuilder,
        service_version: FoldedTextBuilder,
        deployment_environment_name: FoldedTextBuilder,
        span_id: IntBuilder,
        trace_id: BytesBuilder,
        date: DateBuilder,
    }
}

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

/// The rank of the messages of an rpc: any attribute of the span counts before them.
const MESSAGES: Measure = Measure::Wire(5);

/// A body that a span reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Body<'a> {
    /// Rank, size and attribute.
    wire: Option<(u8, i64, &'a str)>,
    /// Size and attribute.
    uncompressed: Option<(i64, &'a str)>,
}

impl<'a> Body<'a> {
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

    fn attribute(&self) -> Option<&'a str> {
        self.wire.map(|(.., name)| name).or_else(|| self.uncompressed.map(|(_, name)| name))
    }
}

impl PayloadSizeRows {
    /// Adds a row for each direction that the span reports.
    pub(super) fn append(
        &mut self,
        span: &SpanFacts<'_>,
        attributes: &Attributes<'_>,
        messages: &Messages,
    ) -> Result<(), WireError> {
        let Some(reporter) = span.kind.reporter() else {
            return Ok(());
        };
        let (mut request, mut response) = (Body::default(), Body::default());
        for (key, value) in attributes.iter() {
            let Some(BodySize { direction, measure }) = key.body_size else { continue };
            let Some(bytes) = value.size()? else { continue };
            match direction {
                Direction::Request => request.add(measure, bytes, key.name),
                Direction::Response => response.add(measure, bytes, key.name),
            }
        }
        let (sent, received) = match reporter {
            Reporter::Client => (&mut request, &mut response),
            Reporter::Server => (&mut response, &mut request),
        };
        sent.add_messages(&messages.sent);
        received.add_messages(&messages.received);
        self.append_body(span, reporter, ("request", &request));
        self.append_body(span, reporter, ("response", &response));
        Ok(())
    }

    fn append_body(
        &mut self,
        span: &SpanFacts<'_>,
        reporter: Reporter,
        (direction, body): (&str, &Body<'_>),
    ) {
        let Some(attribute) = body.attribute() else { return };
        let own = span.resource.service_name.as_ref();
        let peer =
            span.promoted.peer_service.as_deref().or(span.promoted.server_address.as_deref());
        let (client, server) = match reporter {
            Reporter::Client => (Some(own), peer),
            Reporter::Server => (None, Some(own)),
        };
        self.time.append_value(span.start);
        self.time_unix_nano.append_value(span.start.0);
        self.client_service.append_option(client);
        self.server_service.append_option(server);
        self.operation.append_value(span.operation);
        self.direction.append_value(direction);
        self.reporter.append_value(reporter.name());
        self.wire_bytes.append_option(body.wire.map(|(_, bytes, _)| bytes));
        self.uncompressed_bytes.append_option(body.uncompressed.map(|(bytes, _)| bytes));
        self.source_attribute.append_value(attribute);
        self.service_version.append_option(span.resource.service_version.as_deref());
        self.deployment_environment_name.append_option(span.resource.environment.as_deref());
        self.span_id.append_value(span.ids.span);
        self.trace_id.append_value(span.ids.trace);
        self.date.append_value(span.start.date());
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
