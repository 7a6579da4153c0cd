//! Attributes that are columns. What such a column says whole is not in the map of the others again.

use super::Table;

/// A column that is an attribute's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttributeColumn {
    /// Name of the column.
    pub column: &'static str,
    /// Name of the attribute. Where its value is of the column's type, it is in the column alone.
    pub attribute: &'static str,
    /// The name before that one. It fills the column too, and is in the map as it was sent.
    pub older: Option<&'static str>,
    /// The column that names the attribute, where several can be what the value came from.
    pub named_by: Option<&'static str>,
}

impl Table {
    /// Columns that are attributes of the row.
    pub fn attribute_columns(self) -> &'static [AttributeColumn] {
        match self {
            Self::Spans => &SPANS,
            Self::SpanEvents => &SPAN_EVENTS,
            _ => &[],
        }
    }
}

const SPANS: [AttributeColumn; 17] = [
    renamed("http_response_status_code", "http.response.status_code", "http.status_code"),
    renamed("http_request_method", "http.request.method", "http.method"),
    always("http_route", "http.route"),
    always("url_template", "url.template"),
    renamed("rpc_system", "rpc.system.name", "rpc.system"),
    always("rpc_service", "rpc.service"),
    always("rpc_method", "rpc.method"),
    renamed("db_system_name", "db.system.name", "db.system"),
    renamed("db_namespace", "db.namespace", "db.name"),
    renamed("db_operation_name", "db.operation.name", "db.operation"),
    always("messaging_system", "messaging.system"),
    renamed("messaging_destination_name", "messaging.destination.name", "messaging.destination"),
    renamed("peer_service", "service.peer.name", "peer.service"),
    // What it was called before is another thing on a server's span.
    always("server_address", "server.address"),
    always("error_type", "error.type"),
    named("request_wire_bytes", "http.request.body.size", "request_size_attribute"),
    named("response_wire_bytes", "http.response.body.size", "response_size_attribute"),
];

const SPAN_EVENTS: [AttributeColumn; 3] = [
    always("exception_type", "exception.type"),
    always("exception_message", "exception.message"),
    always("exception_stacktrace", "exception.stacktrace"),
];

const fn always(column: &'static str, attribute: &'static str) -> AttributeColumn {
    AttributeColumn { column, attribute, older: None, named_by: None }
}

const fn named(
    column: &'static str,
    attribute: &'static str,
    named_by: &'static str,
) -> AttributeColumn {
    AttributeColumn { column, attribute, older: None, named_by: Some(named_by) }
}

const fn renamed(
    column: &'static str,
    attribute: &'static str,
    older: &'static str,
) -> AttributeColumn {
    AttributeColumn { column, attribute, older: Some(older), named_by: None }
}
