//! Log records and events.

use super::Kind::{Attributes, Int, Text, Time, TraceId};
use super::{DATE, Definition, column, optional};

pub(super) const LOGS: Definition = Definition {
    name: "logs",
    row: "a log record or an event",
    sort: &["service_name", "time"],
    columns: &[
        column(
            "time",
            Time,
            "Instant of the record, else the one at which it was observed, else of its arrival.",
        ),
        column("time_unix_nano", Int, "The same, exact."),
        optional("observed_unix_nano", Int, "When it was observed, where the sender says so."),
        column(
            "service_name",
            Text,
            "`service.name` of the sender, `unknown_service` where missing.",
        ),
        column(
            "severity_number",
            Int,
            "1-4 trace, 5-8 debug, 9-12 info, 13-16 warn, 17-20 error, 21-24 fatal; 0 where not given.",
        ),
        optional("severity_text", Text, "Severity as its source calls it."),
        optional("body", Text, "The message; lists and maps as JSON text."),
        optional(
            "event_name",
            Text,
            "Name of the event, or the older attribute `event.name`; null for a plain log record.",
        ),
        optional("service_version", Text, "`service.version`."),
        optional(
            "deployment_environment_name",
            Text,
            "`deployment.environment.name`, or the older `deployment.environment`.",
        ),
        optional("service_instance_id", Text, "`service.instance.id`, else host and process."),
        optional("span_id", Int, "Span in which it was written."),
        optional("trace_id", TraceId, "Its trace; compared with hexadecimal text in SQL."),
        column("flags", Int, "Flags; the lowest 8 bits are W3C trace flags."),
        optional("scope_name", Text, "Instrumentation scope, often the logger's name."),
        column(
            "dropped_attributes_count",
            Int,
            "Attributes that the sender left out for their number or length.",
        ),
        column("attributes", Attributes, "All attributes of the record."),
        column("resource_attributes", Attributes, "All attributes of the resource."),
        DATE,
    ],
};
