//! Spans with the bodies that they report, and their events.

use super::Kind::{Attributes, Int, Links, Text, Time, TraceId};
use super::{DATE, Definition, column, optional};

pub(super) const SPANS: Definition = Definition {
    name: "spans",
    row: "a span",
    sort: &["service_name", "time"],
    columns: &[
        column("time", Time, "Start of the span."),
        column("start_unix_nano", Int, "Start, exact."),
        column(
            "duration_ns",
            Int,
            "End minus start; 0 where the sender's end lies before its start.",
        ),
        column(
            "service_name",
            Text,
            "`service.name` of the sender, `unknown_service` where missing.",
        ),
        column("span_name", Text, "Name of the span."),
        column(
            "span_kind",
            Text,
            "`INTERNAL`, `SERVER`, `CLIENT`, `PRODUCER`, `CONSUMER` or `UNSPECIFIED`.",
        ),
        column(
            "operation",
            Text,
            "`METHOD route`, the rpc service and method, the messaging or database operation, else the span's name.",
        ),
        column("status_code", Text, "`UNSET`, `OK` or `ERROR`."),
        optional("service_version", Text, "`service.version`."),
        optional(
            "deployment_environment_name",
            Text,
            "`deployment.environment.name`, or the older `deployment.environment`.",
        ),
        optional("service_namespace", Text, "`service.namespace`."),
        optional(
            "service_instance_id",
            Text,
            "`service.instance.id`, else host and process: the exporter that sent the span.",
        ),
        optional("host_name", Text, "`host.name`, or `k8s.pod.name` where there is none."),
        optional("parent_service", Text, "`service_name` of the parent span; filled at commit."),
        optional("parent_name", Text, "`span_name` of the parent span; filled at commit."),
        optional(
            "self_time_ns",
            Int,
            "Duration minus the union of the children of the same service instance; null when not known.",
        ),
        optional(
            "callee_service",
            Text,
            "`service_name` of the span that answered, of a `CLIENT` or `PRODUCER` span; filled at commit.",
        ),
        optional(
            "callee_operation",
            Text,
            "`operation` of the span that answered; filled at commit.",
        ),
        optional(
            "http_response_status_code",
            Int,
            "`http.response.status_code`, or the older `http.status_code`.",
        ),
        optional("http_request_method", Text, "`http.request.method`, or the older `http.method`."),
        optional("http_route", Text, "`http.route`."),
        optional("url_template", Text, "`url.template`."),
        optional("rpc_system", Text, "`rpc.system.name`, or the older `rpc.system`."),
        optional("rpc_service", Text, "`rpc.service`."),
        optional("rpc_method", Text, "`rpc.method`."),
        optional("db_system_name", Text, "`db.system.name`, or the older `db.system`."),
        optional("db_namespace", Text, "`db.namespace`, or the older `db.name`."),
        optional("db_operation_name", Text, "`db.operation.name`, or the older `db.operation`."),
        optional("messaging_system", Text, "`messaging.system`."),
        optional(
            "messaging_destination_name",
            Text,
            "`messaging.destination.name`, or the older `messaging.destination`.",
        ),
        optional("peer_service", Text, "`service.peer.name`, or the older `peer.service`."),
        optional(
            "server_address",
            Text,
            "`server.address`, or the older `net.peer.name` of a client span.",
        ),
        optional("error_type", Text, "`error.type`."),
        optional(
            "request_wire_bytes",
            Int,
            "Size of the request's body as transferred (`http.request.body.size` and its kin; of an rpc the sum of its messages), of spans that are one side of a call.",
        ),
        optional(
            "request_uncompressed_bytes",
            Int,
            "The same before compression, where the sender says so.",
        ),
        optional(
            "request_size_attribute",
            Text,
            "Attribute that carried the size; `rpc.message.*` and `message.*` are of events.",
        ),
        optional("response_wire_bytes", Int, "Size of the response's body as transferred."),
        optional("response_uncompressed_bytes", Int, "The same before compression."),
        optional("response_size_attribute", Text, "Attribute that carried the size."),
        column(
            "span_id",
            Int,
            "Span id, its 8 bytes as a signed integer; `span_hex(span_id)` prints it.",
        ),
        optional("parent_span_id", Int, "Span id of the parent."),
        column(
            "adjusted_count_micros",
            Int,
            "How many spans this one stands for, in millionths: 1000000 unless `tracestate` carries a sampling threshold.",
        ),
        column("trace_id", TraceId, "Trace id; compared with hexadecimal text in SQL."),
        optional("trace_state", Text, "W3C `tracestate`."),
        column("flags", Int, "Span flags."),
        optional("status_message", Text, "Message of the status."),
        optional("scope_name", Text, "Instrumentation scope."),
        optional("scope_version", Text, "Version of the instrumentation scope."),
        column("event_count", Int, "Number of events."),
        column("links", Links, "Links to other spans."),
        column(
            "attributes",
            Attributes,
            "Attributes of the span, without those under a current name whose value a column holds.",
        ),
        column("resource_attributes", Attributes, "All attributes of the resource."),
        DATE,
    ],
};

pub(super) const SPAN_EVENTS: Definition = Definition {
    name: "span_events",
    row: "an event or exception of a span",
    sort: &["time"],
    columns: &[
        column("time", Time, "Instant of the event."),
        column("time_unix_nano", Int, "Instant, exact."),
        column("service_name", Text, "`service.name` of the sender."),
        column("span_name", Text, "Name of the span."),
        column("event_name", Text, "Name of the event."),
        optional("exception_type", Text, "`exception.type`."),
        optional("exception_message", Text, "`exception.message`."),
        optional("exception_stacktrace", Text, "`exception.stacktrace`."),
        column("span_id", Int, "Span id."),
        column("trace_id", TraceId, "Trace id."),
        column(
            "attributes",
            Attributes,
            "Attributes of the event, without those whose value a column holds.",
        ),
        DATE,
    ],
};

/// What spans say themselves now.
pub(super) const FORMER_PAYLOAD_SIZES: Definition = Definition {
    name: "former_payload_sizes",
    row: "one observed body, as one side of the call reported it",
    sort: &["time"],
    columns: &[
        column("time", Time, "Start of the span that reported the body."),
        column("time_unix_nano", Int, "The same, exact."),
        optional(
            "client_service",
            Text,
            "Service that called; filled at commit from the parent where the server reported.",
        ),
        optional(
            "server_service",
            Text,
            "Service that answered; filled at commit from the child where the client reported, else the peer's name or address.",
        ),
        column("operation", Text, "Operation of the edge."),
        column("direction", Text, "`request` or `response`."),
        column(
            "reporter",
            Text,
            "`client` or `server`: whose span carried the size. Count one of them, never both.",
        ),
        optional(
            "wire_bytes",
            Int,
            "Size as transferred (`http.response.body.size` and its kin; of an rpc the sum of its messages).",
        ),
        optional("uncompressed_bytes", Int, "Size before compression, where the sender says so."),
        column(
            "source_attribute",
            Text,
            "Attribute that carried the size; `rpc.message.*` and `message.*` are of events.",
        ),
        optional("service_version", Text, "`service.version` of the reporter."),
        optional("deployment_environment_name", Text, "Environment of the reporter."),
        column("span_id", Int, "Span id of the reporter."),
        column("trace_id", TraceId, "Trace id."),
        DATE,
    ],
};
