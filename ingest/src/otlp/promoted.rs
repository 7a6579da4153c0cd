//! Span attributes that have a column of their own: current names, and the older ones they replace.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::borrow::Cow;

use super::attributes::{Attributes, Value};
use super::traces::SpanKind;
use super::wire::WireError;

/// The values of the columns of one span.
#[derive(Debug, Default)]
pub(super) struct Promoted<'a> {
    pub(super) http_response_status_code: Option<i64>,
    pub(super) http_request_method: Option<Cow<'a, str>>,
    pub(super) http_route: Option<Cow<'a, str>>,
    pub(super) url_template: Option<Cow<'a, str>>,
    pub(super) rpc_system: Option<Cow<'a, str>>,
    pub(super) rpc_service: Option<Cow<'a, str>>,
    pub(super) rpc_method: Option<Cow<'a, str>>,
    pub(super) db_system_name: Option<Cow<'a, str>>,
    pub(super) db_namespace: Option<Cow<'a, str>>,
    pub(super) db_operation_name: Option<Cow<'a, str>>,
    pub(super) messaging_system: Option<Cow<'a, str>>,
    pub(super) messaging_destination_name: Option<Cow<'a, str>>,
    /// No column: the name without its variable parts, for the operation.
    pub(super) messaging_destination_template: Option<Cow<'a, str>>,
    /// No column: such names are made up per connection, so they name no operation.
    pub(super) messaging_destination_unnamed: bool,
    pub(super) peer_service: Option<Cow<'a, str>>,
    pub(super) server_address: Option<Cow<'a, str>>,
    pub(super) error_type: Option<Cow<'a, str>>,
}

/// The value under the current name and under the older one.
#[derive(Debug, Default)]
struct Slot<'a> {
    current: Value<'a>,
    older: Value<'a>,
}

impl<'a> Slot<'a> {
    fn value(&self) -> Value<'a> {
        if self.current == Value::Empty { self.older } else { self.current }
    }

    fn text(&self) -> Result<Option<Cow<'a, str>>, WireError> {
        self.value().text()
    }
}

#[derive(Debug, Default)]
struct Slots<'a> {
    http_status: Slot<'a>,
    http_method: Slot<'a>,
    http_route: Slot<'a>,
    url_template: Slot<'a>,
    rpc_system: Slot<'a>,
    rpc_service: Slot<'a>,
    rpc_method: Slot<'a>,
    db_system: Slot<'a>,
    db_namespace: Slot<'a>,
    db_operation: Slot<'a>,
    messaging_system: Slot<'a>,
    messaging_destination: Slot<'a>,
    messaging_template: Slot<'a>,
    messaging_unnamed: bool,
    peer_service: Slot<'a>,
    server_address: Slot<'a>,
    error_type: Slot<'a>,
}

impl<'a> Slots<'a> {
    /// One pass over the attributes of a span of this kind.
    fn fill(&mut self, attributes: &Attributes<'a>, kind: SpanKind) {
        for (key, value) in attributes.iter() {
            match key {
                "http.response.status_code" => self.http_status.current = value,
                "http.status_code" => self.http_status.older = value,
                "http.request.method" => self.http_method.current = value,
                "http.method" => self.http_method.older = value,
                "http.route" => self.http_route.current = value,
                "url.template" => self.url_template.current = value,
                "rpc.system.name" => self.rpc_system.current = value,
                "rpc.system" => self.rpc_system.older = value,
                "rpc.service" => self.rpc_service.current = value,
                "rpc.method" => self.rpc_method.current = value,
                "db.system.name" => self.db_system.current = value,
                "db.system" => self.db_system.older = value,
                "db.namespace" => self.db_namespace.current = value,
                "db.name" => self.db_namespace.older = value,
                "db.operation.name" => self.db_operation.current = value,
                "db.operation" => self.db_operation.older = value,
                "messaging.system" => self.messaging_system.current = value,
                "messaging.destination.name" => self.messaging_destination.current = value,
                "messaging.destination" => self.messaging_destination.older = value,
                "messaging.destination.template" => self.messaging_template.current = value,
                "messaging.destination.anonymous" | "messaging.destination.temporary" => {
                    self.messaging_unnamed |= value == Value::Bool(true);
                }
                "service.peer.name" => self.peer_service.current = value,
                "peer.service" => self.peer_service.older = value,
                "server.address" => self.server_address.current = value,
                // On a server span it is the client's name.
                "net.peer.name" if kind.calls() => self.server_address.older = value,
                "error.type" => self.error_type.current = value,
                _ => {}
            }
        }
    }
}

impl<'a> Promoted<'a> {
    /// Takes the columns from the attributes of a span.
    pub(super) fn read(attributes: &Attributes<'a>, kind: SpanKind) -> Result<Self, WireError> {
        let mut slots = Slots::default();
        slots.fill(attributes, kind);
        Ok(Self {
            http_response_status_code: slots.http_status.value().integer(),
            http_request_method: slots.http_method.text()?,
            http_route: slots.http_route.text()?,
            url_template: slots.url_template.text()?,
            rpc_system: slots.rpc_system.text()?,
            rpc_service: slots.rpc_service.text()?,
            rpc_method: slots.rpc_method.text()?,
            db_system_name: slots.db_system.text()?,
            db_namespace: slots.db_namespace.text()?,
            db_operation_name: slots.db_operation.text()?,
            messaging_system: slots.messaging_system.text()?,
            messaging_destination_name: slots.messaging_destination.text()?,
            messaging_destination_template: slots.messaging_template.text()?,
            messaging_destination_unnamed: slots.messaging_unnamed,
            peer_service: slots.peer_service.text()?,
            server_address: slots.server_address.text()?,
            error_type: slots.error_type.text()?,
        })
    }
}
