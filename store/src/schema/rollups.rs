//! Minutes: additive partial rows, so late data is one more row. Sum them; merge their histograms. Hours
//! have the same columns.

use super::Kind::{Histogram, Int, Text, Time};
use super::{Column, DATE, Definition, column, optional};

pub(super) const OPERATION_MINUTES: Definition = Definition {
    name: "operation_minutes",
    row: "a part of a minute of an operation: spans that started in it, by service, version and name; where most minutes hold one or two spans, one span, which is in no file of this table ([storage.md](storage.md#minutes-that-are-not-stored))",
    sort: OPERATION_SORT,
    columns: OPERATION_COLUMNS,
};

pub(super) const OPERATION_HOURS: Definition = Definition {
    name: "operation_hours",
    row: "an hour of an operation: the sum of its minutes",
    sort: OPERATION_SORT,
    columns: OPERATION_COLUMNS,
};

const OPERATION_SORT: &[&str] = &["time", "first_unix_nano", "service_name", "span_name"];
const OPERATION_COLUMNS: &[Column] = &[
    column("time", Time, "Start of the minute or hour."),
    column("service_name", Text, "Service of the spans."),
    column("span_name", Text, "Their name."),
    column("span_kind", Text, "Their kind."),
    column("operation", Text, "Their operation."),
    optional("service_version", Text, "Their `service.version`."),
    optional("deployment_environment_name", Text, "Their environment."),
    optional("parent_service", Text, "Service of their parents."),
    column("span_count", Int, "Number of spans."),
    column("error_count", Int, "Spans with status `ERROR`."),
    column("adjusted_count_micros", Int, "Spans that they stand for, in millionths."),
    column("first_unix_nano", Int, "Earliest start."),
    column("last_unix_nano", Int, "Latest start."),
    column("duration", Histogram, "Durations in nanoseconds."),
    optional(
        "self_time",
        Histogram,
        "Self times in nanoseconds, of the spans whose self time is known.",
    ),
    DATE,
];

pub(super) const EDGE_MINUTES: Definition = Definition {
    name: "edge_minutes",
    row: "a part of a minute of the calls from one service to another, as one side reported them; one call, where `operation_minutes` has one span",
    sort: EDGE_SORT,
    columns: EDGE_COLUMNS,
};

pub(super) const EDGE_HOURS: Definition = Definition {
    name: "edge_hours",
    row: "an hour of the calls from one service to another, as one side reported them",
    sort: EDGE_SORT,
    columns: EDGE_COLUMNS,
};

const EDGE_SORT: &[&str] = &["reporter", "time", "client_service", "server_service", "operation"];
const EDGE_COLUMNS: &[Column] = &[
    column("time", Time, "Start of the minute or hour."),
    column(
        "client_service",
        Text,
        "Service that called; empty where unknown, and where a server's metrics report.",
    ),
    column(
        "server_service",
        Text,
        "Service that answered; peer's name or address where it sends no spans.",
    ),
    column("operation", Text, "Operation of the edge."),
    column(
        "reporter",
        Text,
        "`client` or `server`: whose spans these are. Use one of them, never both.",
    ),
    optional("service_version", Text, "`service.version` of the reporter."),
    optional("deployment_environment_name", Text, "Environment of the reporter."),
    optional(
        "source",
        Text,
        "`spans`, or `metrics` for sizes from the reporter's own histograms ([payload-sizes.md](payload-sizes.md)); null is `spans`. Both can report the same calls: use one of them, never both.",
    ),
    column("span_count", Int, "Number of calls; 0 in rows from metrics."),
    column("error_count", Int, "Calls with status `ERROR`."),
    column("adjusted_count_micros", Int, "Calls that they stand for, in millionths."),
    optional(
        "duration",
        Histogram,
        "Durations in nanoseconds; null in rows that carry sizes only.",
    ),
    optional(
        "request_wire_bytes",
        Histogram,
        "Request bodies as transferred. From metrics minimum and maximum are bounds, and percentiles as exact as the sender's buckets.",
    ),
    optional("response_wire_bytes", Histogram, "Response bodies as transferred."),
    optional("request_uncompressed_bytes", Histogram, "Request bodies before compression."),
    optional("response_uncompressed_bytes", Histogram, "Response bodies before compression."),
    DATE,
];

pub(super) const PROFILE_MINUTES: Definition = Definition {
    name: "profile_minutes",
    row: "a part of a minute of the samples of a service, of stacks with the same families of frames",
    sort: PROFILE_SORT,
    columns: PROFILE_COLUMNS,
};

pub(super) const PROFILE_HOURS: Definition = Definition {
    name: "profile_hours",
    row: "an hour of the samples of a service, of stacks with the same families of frames",
    sort: PROFILE_SORT,
    columns: PROFILE_COLUMNS,
};

const PROFILE_SORT: &[&str] = &["time", "service_name", "sample_type"];
const PROFILE_COLUMNS: &[Column] = &[
    column("time", Time, "Start of the minute or hour."),
    column("service_name", Text, "Service that was profiled."),
    column("sample_type", Text, "`cpu`, `samples`, `alloc_space`, `wall` and so on."),
    column("unit", Text, "`nanoseconds`, `bytes`, `count`."),
    optional("service_version", Text, "`service.version` of the service."),
    optional("deployment_environment_name", Text, "Environment of the service."),
    column(
        "families",
        Text,
        "Families of all frames of the stacks, sorted, with commas between; empty where there is none. A stack is in one row, so rows of any families can be summed up without counting it twice.",
    ),
    column("sample_count", Int, "Number of samples."),
    column("value", Int, "What was measured, in `unit`."),
    DATE,
];
