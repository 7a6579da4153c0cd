//! The messages of traces.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use serde::Deserialize;

use super::common::{KeyValue, Resource, Scope};
use super::encode::{
    Message, put_bytes, put_fixed32, put_fixed64, put_int32, put_message, put_varint,
};
use super::scalars::{Encoded, Enumeration, Hex, Integer, Object, Text};

/// `ExportTraceServiceRequest`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Request {
    resource_spans: Encoded<ResourceSpans, 1>,
}

impl Message for Request {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.resource_spans.bytes);
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ResourceSpans {
    resource: Option<Object<Resource>>,
    scope_spans: Encoded<ScopeSpans, 2>,
    schema_url: Text,
}

impl Message for ResourceSpans {
    fn encode(&self, out: &mut Vec<u8>) {
        if let Some(Object(resource)) = &self.resource {
            put_message(out, 1, resource);
        }
        out.extend_from_slice(&self.scope_spans.bytes);
        put_bytes(out, 3, self.schema_url.0.as_bytes());
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ScopeSpans {
    scope: Option<Object<Scope>>,
    spans: Encoded<Span, 2>,
    schema_url: Text,
}

impl Message for ScopeSpans {
    fn encode(&self, out: &mut Vec<u8>) {
        if let Some(Object(scope)) = &self.scope {
            put_message(out, 1, scope);
        }
        out.extend_from_slice(&self.spans.bytes);
        put_bytes(out, 3, self.schema_url.0.as_bytes());
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the names of the JSON encoding")]
struct Span {
    trace_id: Hex<16>,
    span_id: Hex<8>,
    trace_state: Text,
    parent_span_id: Hex<8>,
    flags: Integer<u32>,
    name: Text,
    kind: Enumeration,
    start_time_unix_nano: Integer<u64>,
    end_time_unix_nano: Integer<u64>,
    attributes: Encoded<KeyValue, 9>,
    dropped_attributes_count: Integer<u32>,
    events: Encoded<Event, 11>,
    dropped_events_count: Integer<u32>,
    links: Encoded<Link, 13>,
    dropped_links_count: Integer<u32>,
    status: Option<Object<Status>>,
}

impl Message for Span {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, 1, &self.trace_id.0);
        put_bytes(out, 2, &self.span_id.0);
        put_bytes(out, 3, self.trace_state.0.as_bytes());
        put_bytes(out, 4, &self.parent_span_id.0);
        put_bytes(out, 5, self.name.0.as_bytes());
        put_int32(out, 6, self.kind.0);
        put_fixed64(out, 7, self.start_time_unix_nano.0);
        put_fixed64(out, 8, self.end_time_unix_nano.0);
        out.extend_from_slice(&self.attributes.bytes);
        put_varint(out, 10, u64::from(self.dropped_attributes_count.0));
        out.extend_from_slice(&self.events.bytes);
        put_varint(out, 12, u64::from(self.dropped_events_count.0));
        out.extend_from_slice(&self.links.bytes);
        put_varint(out, 14, u64::from(self.dropped_links_count.0));
        if let Some(Object(status)) = &self.status {
            put_message(out, 15, status);
        }
        put_fixed32(out, 16, self.flags.0);
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Event {
    time_unix_nano: Integer<u64>,
    name: Text,
    attributes: Encoded<KeyValue, 3>,
    dropped_attributes_count: Integer<u32>,
}

impl Message for Event {
    fn encode(&self, out: &mut Vec<u8>) {
        put_fixed64(out, 1, self.time_unix_nano.0);
        put_bytes(out, 2, self.name.0.as_bytes());
        out.extend_from_slice(&self.attributes.bytes);
        put_varint(out, 4, u64::from(self.dropped_attributes_count.0));
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Link {
    trace_id: Hex<16>,
    span_id: Hex<8>,
    trace_state: Text,
    attributes: Encoded<KeyValue, 4>,
    dropped_attributes_count: Integer<u32>,
    flags: Integer<u32>,
}

impl Message for Link {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, 1, &self.trace_id.0);
        put_bytes(out, 2, &self.span_id.0);
        put_bytes(out, 3, self.trace_state.0.as_bytes());
        out.extend_from_slice(&self.attributes.bytes);
        put_varint(out, 5, u64::from(self.dropped_attributes_count.0));
        put_fixed32(out, 6, self.flags.0);
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    message: Text,
    code: Enumeration,
}

impl Message for Status {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, 2, self.message.0.as_bytes());
        put_int32(out, 3, self.code.0);
    }
}
