//! Spans to rows of `spans` and `span_events`.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;

use upriver_store::schema::Table;
use upriver_store::text_column::FoldedTextBuilder;
use upriver_store::time::UnixNanos;

use super::attributes::{Attributes, CommonAttributesBuilder, FoldedAttributesBuilder, Value};
use super::operation::operation;
use super::payload_sizes::Bodies;
use super::payload_sizes::messages::Messages;
use super::promoted::Promoted;
use super::resource::{Resource, Scope, text};
use super::sampling::adjusted_count_micros;
use super::wire::{Reader, WireError, messages};
use super::{Budget, Fault, Rejections, shown};
use crate::Decoded;
use crate::rows::{BytesBuilder, DateBuilder, IntBuilder, LinksBuilder, TimeBuilder, table_rows};

/// What the fixed columns of a row take, roughly.
const ROW_COST: usize = 256;
/// What a link takes.
const LINK_COST: usize = 32;
/// Attributes of an event that are columns.
const EXCEPTION: [&str; 3] = ["exception.type", "exception.message", "exception.stacktrace"];

/// Reads an `ExportTraceServiceRequest`.
pub(super) fn decode(body: &[u8]) -> Result<Decoded, Fault> {
    let mut traces = TraceRows::with_room(body);
    for resource_spans in messages(body, "ExportTraceServiceRequest", 1) {
        let resource_spans = resource_spans?;
        let resource = Resource::read(resource_spans, "ResourceSpans", &mut traces.budget)?;
        for scope_spans in messages(resource_spans, "ResourceSpans", 2) {
            let scope_spans = scope_spans?;
            let scope = Scope::read(scope_spans, "ScopeSpans", &mut traces.budget)?;
            let before = traces.accepted;
            for span in messages(scope_spans, "ScopeSpans", 2) {
                traces.append(span?, &resource, &scope)?;
            }
            let spans = traces.accepted.saturating_sub(before);
            traces.spans.append_sender(&resource, &scope, spans);
        }
    }
    Ok(traces.finish())
}

/// The spans of a request, up to what cannot be read.
fn count_spans(body: &[u8]) -> usize {
    let readable = |bytes, message, field| messages(bytes, message, field).map_while(Result::ok);
    let resources = readable(body, "ExportTraceServiceRequest", 1);
    let scopes = resources.flat_map(|resource| readable(resource, "ResourceSpans", 2));
    scopes.map(|scope| readable(scope, "ScopeSpans", 2).count()).sum()
}

/// The kind of a span. Numbers that are not known are `Unspecified`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SpanKind {
    #[default]
    Unspecified,
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

impl SpanKind {
    fn from_wire(kind: i32) -> Self {
        match kind {
            1 => Self::Internal,
            2 => Self::Server,
            3 => Self::Client,
            4 => Self::Producer,
            5 => Self::Consumer,
            _ => Self::Unspecified,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "UNSPECIFIED",
            Self::Internal => "INTERNAL",
            Self::Server => "SERVER",
            Self::Client => "CLIENT",
            Self::Producer => "PRODUCER",
            Self::Consumer => "CONSUMER",
        }
    }

    /// Whether the span is the calling side of an edge.
    pub(super) fn calls(self) -> bool {
        self.reporter() == Some(Reporter::Client)
    }

    /// Which side of an edge the span reports; `None` where it is on no edge.
    pub(super) fn reporter(self) -> Option<Reporter> {
        match self {
            Self::Client | Self::Producer => Some(Reporter::Client),
            Self::Server | Self::Consumer => Some(Reporter::Server),
            Self::Unspecified | Self::Internal => None,
        }
    }
}

/// The side of an edge that reported something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reporter {
    Client,
    Server,
}

/// The scalar fields of a span, as sent.
#[derive(Debug, Default)]
#[expect(clippy::struct_field_names, reason = "the names of the protocol")]
struct Span<'a> {
    trace_id: &'a [u8],
    span_id: &'a [u8],
    parent_span_id: &'a [u8],
    trace_state: &'a str,
    name: &'a str,
    kind: SpanKind,
    flags: u32,
    start: u64,
    end: u64,
    dropped_events: u64,
    status_code: i32,
    status_message: &'a str,
}

/// What a span has several of. Kept from span to span for its room.
#[derive(Debug, Default)]
struct Parts<'a> {
    attributes: Attributes<'a>,
    /// As sent, not yet read.
    events: Vec<&'a [u8]>,
    links: Vec<&'a [u8]>,
}

impl Parts<'_> {
    fn clear(&mut self) {
        self.attributes.clear();
        self.events.clear();
        self.links.clear();
    }
}

impl<'a> Span<'a> {
    /// Reads a span; `parts` is overwritten with its attributes, events and links.
    fn read(bytes: &'a [u8], parts: &mut Parts<'a>, budget: &mut Budget) -> Result<Self, Fault> {
        parts.clear();
        let mut span = Self::default();
        for field in Reader::new(bytes, "Span") {
            match field? {
                (1, field) => span.trace_id = field.bytes("Span.trace_id")?,
                (2, field) => span.span_id = field.bytes("Span.span_id")?,
                (3, field) => span.trace_state = field.text("Span.trace_state")?,
                (4, field) => span.parent_span_id = field.bytes("Span.parent_span_id")?,
                (5, field) => span.name = field.text("Span.name")?,
                (6, field) => span.kind = SpanKind::from_wire(field.int32("Span.kind")?),
                (7, field) => span.start = field.fixed64("Span.start_time_unix_nano")?,
                (8, field) => span.end = field.fixed64("Span.end_time_unix_nano")?,
                (9, field) => parts.attributes.read(field.bytes("Span.attributes")?, budget)?,
                (11, field) => parts.events.push(field.bytes("Span.events")?),
                (12, field) => {
                    span.dropped_events = field.varint("Span.dropped_events_count")?;
                }
                (13, field) => parts.links.push(field.bytes("Span.links")?),
                (15, field) => span.read_status(field.bytes("Span.status")?)?,
                (16, field) => span.flags = field.fixed32("Span.flags")?,
                _ => {}
            }
        }
        Ok(span)
    }

    fn read_status(&mut self, status: &'a [u8]) -> Result<(), WireError> {
        for field in Reader::new(status, "Status") {
            match field? {
                (2, field) => self.status_message = field.text("Status.message")?,
                (3, field) => self.status_code = field.int32("Status.code")?,
                _ => {}
            }
        }
        Ok(())
    }

    fn status_name(&self) -> &'static str {
        match self.status_code {
            1 => "OK",
            2 => "ERROR",
            _ => "UNSET",
        }
    }

    fn ids(&self) -> Result<SpanIds<'a>, InvalidId> {
        let parent = match self.parent_span_id {
            [] => None,
            id => Some(span_id(id).ok_or(InvalidId("parent span id", id.len(), 8))?),
        };
        Ok(SpanIds {
            trace: trace_id(self.trace_id).ok_or(InvalidId("trace id", self.trace_id.len(), 16))?,
            span: span_id(self.span_id).filter(|id| *id != 0).ok_or(InvalidId(
                "span id",
                self.span_id.len(),
                8,
            ))?,
            parent: parent.filter(|id| *id != 0),
        })
    }
}

/// A trace id of 16 bytes that are not all zero.
pub(super) fn trace_id(bytes: &[u8]) -> Option<&[u8; 16]> {
    <&[u8; 16]>::try_from(bytes).ok().filter(|id| **id != [0; 16])
}

/// A span id of 8 bytes as the signed integer that is stored.
pub(super) fn span_id(bytes: &[u8]) -> Option<i64> {
    bytes.try_into().ok().map(i64::from_be_bytes)
}

/// The ids of a span, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct SpanIds<'a> {
    pub(super) trace: &'a [u8; 16],
    pub(super) span: i64,
    pub(super) parent: Option<i64>,
}

/// Which id is invalid, its length in bytes and the length that it must have.
#[derive(Clone, Copy, Debug)]
struct InvalidId(&'static str, usize, usize);

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(id, found, expected) = self;
        match found {
            0 => write!(f, "its {id} is missing"),
            _ if found == expected => write!(f, "its {id} is all zeros"),
            _ => write!(f, "its {id} has {found} bytes instead of {expected}"),
        }
    }
}

/// What both tables need of a span.
#[derive(Clone, Copy, Debug)]
struct SpanFacts<'a> {
    ids: SpanIds<'a>,
    name: &'a str,
    kind: SpanKind,
    start: UnixNanos,
    operation: &'a str,
    resource: &'a Resource<'a>,
}

table_rows! {
    /// Rows of `spans`.
    SpanRows of Table::Spans, {
        time: TimeBuilder,
        start_unix_nano: IntBuilder,
        duration_ns: IntBuilder,
        service_name: FoldedTextBuilder,
        span_name: FoldedTextBuilder,
        span_kind: FoldedTextBuilder,
        operation: FoldedTextBuilder,
        status_code: FoldedTextBuilder,
        service_version: FoldedTextBuilder,
        deployment_environment_name: FoldedTextBuilder,
        service_namespace: FoldedTextBuilder,
        service_instance_id: FoldedTextBuilder,
        host_name: FoldedTextBuilder,
        parent_service: FoldedTextBuilder,
        parent_name: FoldedTextBuilder,
        self_time_ns: IntBuilder,
        callee_service: FoldedTextBuilder,
        callee_operation: FoldedTextBuilder,
        http_response_status_code: IntBuilder,
        http_request_method: FoldedTextBuilder,
        http_route: FoldedTextBuilder,
        url_template: FoldedTextBuilder,
        rpc_system: FoldedTextBuilder,
        rpc_service: FoldedTextBuilder,
        rpc_method: FoldedTextBuilder,
        db_system_name: FoldedTextBuilder,
        db_namespace: FoldedTextBuilder,
        db_operation_name: FoldedTextBuilder,
        messaging_system: FoldedTextBuilder,
        messaging_destination_name: FoldedTextBuilder,
        peer_service: FoldedTextBuilder,
        server_address: FoldedTextBuilder,
        error_type: FoldedTextBuilder,
        request_wire_bytes: IntBuilder,
        request_uncompressed_bytes: IntBuilder,
        request_size_attribute: FoldedTextBuilder,
        response_wire_bytes: IntBuilder,
        response_uncompressed_bytes: IntBuilder,
        response_size_attribute: FoldedTextBuilder,
        span_id: IntBuilder,
        parent_span_id: IntBuilder,
        adjusted_count_micros: IntBuilder,
        trace_id: BytesBuilder,
        trace_state: FoldedTextBuilder,
        flags: IntBuilder,
        status_message: FoldedTextBuilder,
        scope_name: FoldedTextBuilder,
        scope_version: FoldedTextBuilder,
        event_count: IntBuilder,
        links: LinksBuilder,
        attributes: FoldedAttributesBuilder,
        resource_attributes: CommonAttributesBuilder,
        date: DateBuilder,
    }
}

impl SpanRows {
    /// What is known of every span; the store fills the parent, the self time and the callee.
    fn append_facts(&mut self, facts: &SpanFacts<'_>) {
        self.time.append_value(facts.start);
        self.start_unix_nano.append_value(facts.start.0);
        self.date.append_value(facts.start.date());
        self.span_name.append_value(facts.name);
        self.span_kind.append_value(facts.kind.name());
        self.operation.append_value(facts.operation);
        self.parent_service.append_null();
        self.parent_name.append_null();
        self.self_time_ns.append_null();
        self.callee_service.append_null();
        self.callee_operation.append_null();
        self.span_id.append_value(facts.ids.span);
        self.parent_span_id.append_option(facts.ids.parent);
        self.trace_id.append_value(facts.ids.trace);
    }

    fn append_rest(&mut self, span: &Span<'_>, start: UnixNanos) {
        let duration = UnixNanos::from_wire(span.end).0.saturating_sub(start.0).max(0);
        self.duration_ns.append_value(duration);
        self.status_code.append_value(span.status_name());
        self.status_message.append_option(text(span.status_message));
        self.trace_state.append_option(text(span.trace_state));
        self.adjusted_count_micros.append_value(adjusted_count_micros(span.trace_state));
        self.flags.append_value(i64::from(span.flags));
    }

    /// What a number of spans have in common.
    fn append_sender(&mut self, resource: &Resource<'_>, scope: &Scope<'_>, spans: usize) {
        for (column, value) in [
            (&mut self.service_name, Some(resource.service_name.as_ref())),
            (&mut self.service_version, resource.service_version.as_deref()),
            (&mut self.deployment_environment_name, resource.environment.as_deref()),
            (&mut self.service_namespace, resource.service_namespace.as_deref()),
            (&mut self.service_instance_id, resource.service_instance_id.as_deref()),
            (&mut self.host_name, resource.host_name.as_deref()),
            (&mut self.scope_name, scope.name),
            (&mut self.scope_version, scope.version),
        ] {
            match value {
                Some(value) => column.append_repeated(value, spans),
                None => column.append_nulls(spans),
            }
        }
        self.resource_attributes.append_rendered(&resource.rendered, spans);
    }

    fn append_promoted(&mut self, span: &Promoted<'_>) {
        self.http_response_status_code.append_option(span.http_response_status_code);
        self.http_request_method.append_option(span.http_request_method.as_deref());
        self.http_route.append_option(span.http_route.as_deref());
        self.url_template.append_option(span.url_template.as_deref());
        self.rpc_system.append_option(span.rpc_system.as_deref());
        self.rpc_service.append_option(span.rpc_service.as_deref());
        self.rpc_method.append_option(span.rpc_method.as_deref());
        self.db_system_name.append_option(span.db_system_name.as_deref());
        self.db_namespace.append_option(span.db_namespace.as_deref());
        self.db_operation_name.append_option(span.db_operation_name.as_deref());
        self.messaging_system.append_option(span.messaging_system.as_deref());
        self.messaging_destination_name.append_option(span.messaging_destination_name.as_deref());
        self.peer_service.append_option(span.peer_service.as_deref());
        self.server_address.append_option(span.server_address.as_deref());
        self.error_type.append_option(span.error_type.as_deref());
    }

    fn append_bodies(&mut self, bodies: &Bodies<'_>) {
        let Bodies { request, response } = bodies;
        self.request_wire_bytes.append_option(request.wire_bytes());
        self.request_uncompressed_bytes.append_option(request.uncompressed_bytes());
        self.request_size_attribute.append_option(request.attribute());
        self.response_wire_bytes.append_option(response.wire_bytes());
        self.response_uncompressed_bytes.append_option(response.uncompressed_bytes());
        self.response_size_attribute.append_option(response.attribute());
    }

    /// Links with an invalid id are left out: they lead nowhere.
    fn append_links(&mut self, links: &[&[u8]], budget: &mut Budget) -> Result<(), Fault> {
        for link in links {
            budget.spend(LINK_COST)?;
            let (mut trace, mut id): (&[u8], &[u8]) = (&[], &[]);
            for field in Reader::new(link, "Link") {
                match field? {
                    (1, field) => trace = field.bytes("Link.trace_id")?,
                    (2, field) => id = field.bytes("Link.span_id")?,
                    _ => {}
                }
            }
            if let Some((trace, id)) = trace_id(trace).zip(span_id(id)) {
                self.links.push(trace, id);
            }
        }
        self.links.finish_row();
        Ok(())
    }
}

table_rows! {
    /// Rows of `span_events`.
    SpanEventRows of Table::SpanEvents, {
        time: TimeBuilder,
        time_unix_nano: IntBuilder,
        service_name: FoldedTextBuilder,
        span_name: FoldedTextBuilder,
        event_name: FoldedTextBuilder,
        exception_type: FoldedTextBuilder,
        exception_message: FoldedTextBuilder,
        exception_stacktrace: FoldedTextBuilder,
        span_id: IntBuilder,
        trace_id: BytesBuilder,
        attributes: FoldedAttributesBuilder,
        date: DateBuilder,
    }
}

impl SpanEventRows {
    /// What the events of a span have in common.
    fn append_span(&mut self, span: &SpanFacts<'_>, events: usize) {
        self.service_name.append_repeated(&span.resource.service_name, events);
        self.span_name.append_repeated(span.name, events);
        for _ in 0..events {
            self.span_id.append_value(span.ids.span);
            self.trace_id.append_value(span.ids.trace);
        }
    }

    /// Adds the rest of an event; the attributes of `parts` are overwritten.
    fn append<'a>(
        &mut self,
        event: &'a [u8],
        parts: &mut EventParts<'a>,
        budget: &mut Budget,
    ) -> Result<(), Fault> {
        let (mut time, mut name) = (0, "");
        let attributes = &mut parts.attributes;
        attributes.clear();
        for field in Reader::new(event, "Event") {
            match field? {
                (1, field) => time = field.fixed64("Event.time_unix_nano")?,
                (2, field) => name = field.text("Event.name")?,
                (3, field) => attributes.read(field.bytes("Event.attributes")?, budget)?,
                _ => {}
            }
        }
        let time = UnixNanos::from_wire(time);
        self.time.append_value(time);
        self.time_unix_nano.append_value(time.0);
        self.date.append_value(time.date());
        self.event_name.append_value(name);
        let [kind, message, stacktrace] = EXCEPTION;
        self.exception_type.append_option(attributes.text(&[kind])?);
        self.exception_message.append_option(attributes.text(&[message])?);
        self.exception_stacktrace.append_option(attributes.text(&[stacktrace])?);
        self.attributes.append_without(attributes, |key, value| {
            matches!(value, Value::Text(_)) && EXCEPTION.contains(&key.name)
        })?;
        parts.messages.add(name, attributes)?;
        Ok(())
    }
}

/// What events have in common. Kept from event to event.
#[derive(Debug, Default)]
struct EventParts<'a> {
    /// Of the event that is read.
    attributes: Attributes<'a>,
    /// What the events of the span so far say of its messages.
    messages: Messages,
}

/// The rows of a request so far.
#[derive(Debug, Default)]
struct TraceRows<'a> {
    spans: SpanRows,
    events: SpanEventRows,
    parts: Parts<'a>,
    event_parts: EventParts<'a>,
    /// Room for the operation of a span.
    operation: String,
    accepted: usize,
    rejections: Rejections,
    budget: Budget,
}

impl<'a> TraceRows<'a> {
    /// No rows yet, and room for those of the request.
    fn with_room(body: &[u8]) -> Self {
        let spans = count_spans(body);
        Self {
            spans: SpanRows::with_rows(spans),
            events: SpanEventRows::with_rows(spans),
            ..Self::default()
        }
    }

    fn append(
        &mut self,
        bytes: &'a [u8],
        resource: &Resource<'a>,
        scope: &Scope<'a>,
    ) -> Result<(), Fault> {
        let repeated = resource.row_bytes().saturating_add(scope.row_bytes());
        self.budget.spend(bytes.len().saturating_add(ROW_COST).saturating_add(repeated))?;
        let mut parts = std::mem::take(&mut self.parts);
        let span = Span::read(bytes, &mut parts, &mut self.budget)?;
        let ids = match span.ids() {
            Ok(ids) => ids,
            Err(invalid) => {
                self.rejections.note(|| {
                    let (name, service) = (shown(span.name), shown(&resource.service_name));
                    format!("{invalid} (span {name} of service {service})")
                });
                return Ok(());
            }
        };
        let attributes = &parts.attributes;
        let promoted = Promoted::read(attributes, span.kind)?;
        let mut room = std::mem::take(&mut self.operation);
        let facts = SpanFacts {
            ids,
            name: span.name,
            kind: span.kind,
            start: UnixNanos::from_wire(span.start),
            operation: operation(&promoted, span.name, &mut room),
            resource,
        };
        self.spans.append_facts(&facts);
        self.spans.append_rest(&span, facts.start);
        self.spans.append_promoted(&promoted);
        self.spans.append_links(&parts.links, &mut self.budget)?;
        self.append_events(&parts.events, &facts)?;
        let mut messages = self.event_parts.messages;
        if span.dropped_events > 0 {
            messages.events_were_dropped();
        }
        let bodies = Bodies::read(facts.kind, attributes, &messages)?;
        self.spans.append_bodies(&bodies);
        self.spans.attributes.append_without(attributes, |key, value| {
            key.column.is_some_and(|column| column.says_all_of(value))
                || bodies.say_all_of(key, value)
        })?;
        self.operation = room;
        self.accepted = self.accepted.saturating_add(1);
        self.parts = parts;
        Ok(())
    }

    fn append_events(&mut self, events: &[&'a [u8]], facts: &SpanFacts<'_>) -> Result<(), Fault> {
        self.event_parts.messages = Messages::default();
        let names = facts.name.len().saturating_add(facts.resource.service_name.len());
        for event in events {
            self.budget.spend(names.saturating_add(ROW_COST))?;
            self.events.append(event, &mut self.event_parts, &mut self.budget)?;
        }
        self.events.append_span(facts, events.len());
        self.spans.event_count.append_value(i64::try_from(events.len()).unwrap_or(i64::MAX));
        Ok(())
    }

    fn finish(self) -> Decoded {
        let batches = [self.spans.finish(), self.events.finish()];
        Decoded {
            batches: batches.into_iter().flatten().collect(),
            accepted: self.accepted as u64,
            rejected: self.rejections.count,
            message: self.rejections.message("span"),
            ..Decoded::default()
        }
    }
}

#[cfg(test)]
mod tests;
