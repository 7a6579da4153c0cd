//! The messages of logs.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use serde::Deserialize;

use super::common::{AnyValue, KeyValue, Resource, Scope};
use super::encode::{
    Message, put_bytes, put_fixed32, put_fixed64, put_int32, put_message, put_varint,
};
use super::scalars::{Encoded, Enumeration, Hex, Integer, Object, Text};

/// `ExportLogsServiceRequest`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Request {
    resource_logs: Encoded<ResourceLogs, 1>,
}

impl Message for Request {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.resource_logs.bytes);
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ResourceLogs {
    resource: Option<Object<Resource>>,
    scope_logs: Encoded<ScopeLogs, 2>,
    schema_url: Text,
}

impl Message for ResourceLogs {
    fn encode(&self, out: &mut Vec<u8>) {
        if let Some(Object(resource)) = &self.resource {
            put_message(out, 1, resource);
        }
        out.extend_from_slice(&self.scope_logs.bytes);
        put_bytes(out, 3, self.schema_url.0.as_bytes());
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ScopeLogs {
    scope: Option<Object<Scope>>,
    log_records: Encoded<LogRecord, 2>,
    schema_url: Text,
}

impl Message for ScopeLogs {
    fn encode(&self, out: &mut Vec<u8>) {
        if let Some(Object(scope)) = &self.scope {
            put_message(out, 1, scope);
        }
        out.extend_from_slice(&self.log_records.bytes);
        put_bytes(out, 3, self.schema_url.0.as_bytes());
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LogRecord {
    time_unix_nano: Integer<u64>,
    observed_time_unix_nano: Integer<u64>,
    severity_number: Enumeration,
    severity_text: Text,
    body: Option<Object<AnyValue>>,
    attributes: Encoded<KeyValue, 6>,
    dropped_attributes_count: Integer<u32>,
    flags: Integer<u32>,
    trace_id: Hex<16>,
    span_id: Hex<8>,
    event_name: Text,
}

impl Message for LogRecord {
    fn encode(&self, out: &mut Vec<u8>) {
        put_fixed64(out, 1, self.time_unix_nano.0);
        put_int32(out, 2, self.severity_number.0);
        put_bytes(out, 3, self.severity_text.0.as_bytes());
        if let Some(Object(body)) = &self.body {
            put_message(out, 5, body);
        }
        out.extend_from_slice(&self.attributes.bytes);
        put_varint(out, 7, u64::from(self.dropped_attributes_count.0));
        put_fixed32(out, 8, self.flags.0);
        put_bytes(out, 9, &self.trace_id.0);
        put_bytes(out, 10, &self.span_id.0);
        put_fixed64(out, 11, self.observed_time_unix_nano.0);
        put_bytes(out, 12, self.event_name.0.as_bytes());
    }
}
