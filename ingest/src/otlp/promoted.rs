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

/// A column of `spans` that attributes fill, and by which of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    HttpStatus(Name),
    HttpMethod(Name),
    HttpRoute,
    UrlTemplate,
    RpcSystem(Name),
    RpcService,
    RpcMethod,
    DbSystem(Name),
    DbNamespace(Name),
    DbOperation(Name),
    MessagingSystem,
    MessagingDestination(Name),
    MessagingTemplate,
    MessagingUnnamed,
    PeerService(Name),
    ServerAddress(Name),
    ErrorType,
}

/// The name that the semantic conventions have now, or the one they had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Current,
    Older,
}

/// The column that an attribute fills.
pub(super) fn column_of(key: &str) -> Option<Column> {
    use Name::{Current, Older};
    Some(match key {
        "http.response.status_code" => Column::HttpStatus(Current),
        "http.status_code" => Column::HttpStatus(Older),
        "http.request.method" => Column::HttpMethod(Current),
        "http.method" => Column::HttpMethod(Older),
        "http.route" => Column::HttpRoute,
        "url.template" => Column::UrlTemplate,
        "rpc.system.name" => Column::RpcSystem(Current),
        "rpc.system" => Column::RpcSystem(Older),
        "rpc.service" => Column::RpcService,
        "rpc.method" => Column::RpcMethod,
        "db.system.name" => Column::DbSystem(Current),
        "db.system" => Column::DbSystem(Older),
        "db.namespace" => Column::DbNamespace(Current),
        "db.name" => Column::DbNamespace(Older),
        "db.operation.name" => Column::DbOperation(Current),
        "db.operation" => Column::DbOperation(Older),
        "messaging.system" => Column::MessagingSystem,
        "messaging.destination.name" => Column::MessagingDestination(Current),
        "messaging.destination" => Column::MessagingDestination(Older),
        "messaging.destination.template" => Column::MessagingTemplate,
        "messaging.destination.anonymous" | "messaging.destination.temporary" => {
            Column::MessagingUnnamed
        }
        "service.peer.name" => Column::PeerService(Current),
        "peer.service" => Column::PeerService(Older),
        "server.address" => Column::ServerAddress(Current),
        "net.peer.name" => Column::ServerAddress(Older),
        "error.type" => Column::ErrorType,
        _ => return None,
    })
}

impl Column {
    /// Whether the column says all that the attribute says, which is then nowhere else: its value is of the
    /// column's type, and came under the current name.
    pub(super) fn says_all_of(self, value: &Value<'_>) -> bool {
        match self {
            Self::HttpStatus(name) => name == Name::Current && matches!(value, Value::Int(_)),
            Self::MessagingTemplate | Self::MessagingUnnamed => false,
            Self::HttpMethod(name)
            | Self::RpcSystem(name)
            | Self::DbSystem(name)
            | Self::DbNamespace(name)
            | Self::DbOperation(name)
            | Self::MessagingDestination(name)
            | Self::PeerService(name)
            | Self::ServerAddress(name) => name == Name::Current && matches!(value, Value::Text(_)),
            Self::HttpRoute
            | Self::UrlTemplate
            | Self::RpcService
            | Self::RpcMethod
            | Self::MessagingSystem
            | Self::ErrorType => matches!(value, Value::Text(_)),
        }
    }
}

impl<'a> Promoted<'a> {
    /// Takes the columns from the attributes of a span.
    pub(super) fn read(attributes: &Attributes<'a>, kind: SpanKind) -> Result<Self, WireError> {
        let mut columns = Self::default();
        for (key, value) in attributes.iter() {
            if let Some(column) = key.column {
                columns.fill(column, value, kind)?;
            }
        }
        Ok(columns)
    }

    fn fill(&mut self, column: Column, value: Value<'a>, kind: SpanKind) -> Result<(), WireError> {
        let (place, name) = match column {
            Column::HttpStatus(name) => {
                let status = value.integer();
                set(&mut self.http_response_status_code, status, name);
                return Ok(());
            }
            Column::MessagingUnnamed => {
                self.messaging_destination_unnamed |= value == Value::Bool(true);
                return Ok(());
            }
            // On a server span it is the client's name.
            Column::ServerAddress(Name::Older) if !kind.calls() => return Ok(()),
            Column::HttpMethod(name) => (&mut self.http_request_method, name),
            Column::HttpRoute => (&mut self.http_route, Name::Current),
            Column::UrlTemplate => (&mut self.url_template, Name::Current),
            Column::RpcSystem(name) => (&mut self.rpc_system, name),
            Column::RpcService => (&mut self.rpc_service, Name::Current),
            Column::RpcMethod => (&mut self.rpc_method, Name::Current),
            Column::DbSystem(name) => (&mut self.db_system_name, name),
            Column::DbNamespace(name) => (&mut self.db_namespace, name),
            Column::DbOperation(name) => (&mut self.db_operation_name, name),
            Column::MessagingSystem => (&mut self.messaging_system, Name::Current),
            Column::MessagingDestination(name) => (&mut self.messaging_destination_name, name),
            Column::MessagingTemplate => (&mut self.messaging_destination_template, Name::Current),
            Column::PeerService(name) => (&mut self.peer_service, name),
            Column::ServerAddress(name) => (&mut self.server_address, name),
            Column::ErrorType => (&mut self.error_type, Name::Current),
        };
        set(place, value.text()?, name);
        Ok(())
    }
}

/// Whatever their order, the value under the current name stays.
fn set<T>(place: &mut Option<T>, value: Option<T>, name: Name) {
    if value.is_some() && (name == Name::Current || place.is_none()) {
        *place = value;
    }
}
