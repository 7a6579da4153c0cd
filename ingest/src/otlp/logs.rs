//! Log records to rows of `logs`.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use upriver_store::schema::Table;
use upriver_store::time::UnixNanos;

use super::attributes::{Attributes, AttributesBuilder, Value};
use super::resource::{Resource, Scope, text};
use super::strings::Strings;
use super::traces::{span_id, trace_id};
use super::wire::{Reader, messages};
use super::{Budget, Fault, shown};
use crate::Decoded;
use crate::rows::{BytesBuilder, DateBuilder, IntBuilder, TextBuilder, TimeBuilder, table_rows};

/// What the fixed columns of a row take, roughly.
const ROW_COST: usize = 192;

/// Reads an `ExportLogsServiceRequest` that arrived at `received`.
pub(super) fn decode(body: &[u8], received: UnixNanos) -> Result<Decoded, Fault> {
    let mut logs = LogsSoFar { received, ..LogsSoFar::default() };
    for resource_logs in messages(body, "ExportLogsServiceRequest", 1) {
        let resource_logs = resource_logs?;
        let resource = Resource::read(resource_logs, "ResourceLogs", &mut logs.budget)?;
        for scope_logs in messages(resource_logs, "ResourceLogs", 2) {
            let scope_logs = scope_logs?;
            let scope = Scope::read(scope_logs, "ScopeLogs", &mut logs.budget)?;
            for record in messages(scope_logs, "ScopeLogs", 2) {
                logs.append(record?, &resource, &scope)?;
            }
        }
    }
    Ok(logs.finish())
}

/// The fields of a log record, as sent.
#[derive(Debug, Default)]
struct LogRecord<'a> {
    time: u64,
    observed: u64,
    severity_number: i32,
    severity_text: &'a str,
    body: Value<'a>,
    dropped_attributes: u32,
    flags: u32,
    trace_id: &'a [u8],
    span_id: &'a [u8],
    event_name: &'a str,
}

impl<'a> LogRecord<'a> {
    /// Reads a record; its attributes go into `attributes`.
    fn read(
        bytes: &'a [u8],
        attributes: &mut Attributes<'a>,
        budget: &mut Budget,
    ) -> Result<Self, Fault> {
        let mut record = Self::default();
        for field in Reader::new(bytes, "LogRecord") {
            match field? {
                (1, field) => record.time = field.fixed64("LogRecord.time_unix_nano")?,
                (2, field) => record.severity_number = field.int32("LogRecord.severity_number")?,
                (3, field) => record.severity_text = field.text("LogRecord.severity_text")?,
                (5, field) => {
                    record.body = Value::read(field.bytes("LogRecord.body")?, Strings::default())?;
                }
                (6, field) => attributes.read(field.bytes("LogRecord.attributes")?, budget)?,
                (7, field) => {
                    let count = field.int32("LogRecord.dropped_attributes_count")?;
                    record.dropped_attributes = count.cast_unsigned();
                }
                (8, field) => record.flags = field.fixed32("LogRecord.flags")?,
                (9, field) => record.trace_id = field.bytes("LogRecord.trace_id")?,
                (10, field) => record.span_id = field.bytes("LogRecord.span_id")?,
                (11, field) => {
                    record.observed = field.fixed64("LogRecord.observed_time_unix_nano")?;
                }
                (12, field) => record.event_name = field.text("LogRecord.event_name")?,
                _ => {}
            }
        }
        Ok(record)
    }

    /// The record's own instant, else that of its observation, as the data model of logs has it.
    fn time(&self) -> Option<UnixNanos> {
        let time = if self.time == 0 { self.observed } else { self.time };
        (time != 0).then(|| UnixNanos::from_wire(time))
    }

    /// The trace, if it has one. An id that is not one stands for none, as the protocol has it.
    fn trace(&self) -> Option<&'a [u8; 16]> {
        trace_id(self.trace_id)
    }

    fn span(&self) -> Option<i64> {
        span_id(self.span_id).filter(|id| *id != 0)
    }

    /// Which id is of a wrong length.
    fn invalid_id(&self) -> Option<String> {
        let wrong = |name: &str, found: usize, expected: usize| {
            let wrong = found != 0 && found != expected;
            wrong.then(|| format!("its {name} has {found} bytes instead of {expected}"))
        };
        wrong("trace id", self.trace_id.len(), 16)
            .or_else(|| wrong("span id", self.span_id.len(), 8))
    }
}

table_rows! {
    /// Rows of `logs`.
    LogRows of Table::Logs, {
        time: TimeBuilder,
        time_unix_nano: IntBuilder,
        observed_unix_nano: IntBuilder,
        service_name: TextBuilder,
        severity_number: IntBuilder,
        severity_text: TextBuilder,
        body: TextBuilder,
        event_name: TextBuilder,
        service_version: TextBuilder,
        deployment_environment_name: TextBuilder,
        service_instance_id: TextBuilder,
        span_id: IntBuilder,
        trace_id: BytesBuilder,
        flags: IntBuilder,
        scope_name: TextBuilder,
        dropped_attributes_count: IntBuilder,
        attributes: AttributesBuilder,
        resource_attributes: AttributesBuilder,
        date: DateBuilder,
    }
}

impl LogRows {
    fn append_time(&mut self, record: &LogRecord<'_>, received: UnixNanos) {
        let time = record.time().unwrap_or(received);
        self.time.append_value(time);
        self.time_unix_nano.append_value(time.0);
        self.date.append_value(time.date());
        let observed = (record.observed != 0).then(|| UnixNanos::from_wire(record.observed).0);
        self.observed_unix_nano.append_option(observed);
    }

    fn append_record(
        &mut self,
        record: &LogRecord<'_>,
        attributes: &Attributes<'_>,
    ) -> Result<(), Fault> {
        self.severity_number.append_value(i64::from(record.severity_number));
        self.severity_text.append_option(text(record.severity_text));
        self.body.append_option(record.body.text()?);
        match text(record.event_name) {
            Some(name) => self.event_name.append_value(name),
            None => self.event_name.append_option(attributes.text(&["event.name"])?),
        }
        self.span_id.append_option(record.span());
        self.trace_id.append_option(record.trace());
        self.flags.append_value(i64::from(record.flags));
        self.dropped_attributes_count.append_value(i64::from(record.dropped_attributes));
        self.attributes.append(attributes)?;
        Ok(())
    }

    fn append_sender(&mut self, resource: &Resource<'_>, scope: &Scope<'_>) {
        self.service_name.append_value(&resource.service_name);
        self.service_version.append_option(resource.service_version.as_deref());
        self.deployment_environment_name.append_option(resource.environment.as_deref());
        self.service_instance_id.append_option(resource.service_instance_id.as_deref());
        self.resource_attributes.append_rendered(&resource.rendered, 1);
        self.scope_name.append_option(scope.name);
    }
}

/// The rows of a request so far.
#[derive(Debug, Default)]
struct LogsSoFar {
    received: UnixNanos,
    rows: LogRows,
    accepted: u64,
    /// Records that were kept without an id of theirs, and what is wrong with the first.
    without_id: u64,
    first_without_id: Option<String>,
    budget: Budget,
}

impl LogsSoFar {
    fn append<'a>(
        &mut self,
        bytes: &'a [u8],
        resource: &Resource<'a>,
        scope: &Scope<'a>,
    ) -> Result<(), Fault> {
        let repeated = resource.row_bytes().saturating_add(scope.row_bytes());
        self.budget.spend(bytes.len().saturating_add(ROW_COST).saturating_add(repeated))?;
        let mut attributes = Attributes::default();
        let record = LogRecord::read(bytes, &mut attributes, &mut self.budget)?;
        if let Some(why) = record.invalid_id() {
            self.without_id = self.without_id.saturating_add(1);
            self.first_without_id.get_or_insert_with(|| {
                format!("{why} (service {})", shown(&resource.service_name))
            });
        }
        self.rows.append_time(&record, self.received);
        self.rows.append_record(&record, &attributes)?;
        self.rows.append_sender(resource, scope);
        self.accepted = self.accepted.saturating_add(1);
        Ok(())
    }

    fn finish(self) -> Decoded {
        let count = self.without_id;
        let message = self.first_without_id.map(|first| match count {
            1 => format!("1 log record was kept without its span: {first}"),
            _ => format!("{count} log records were kept without their spans, the first: {first}"),
        });
        Decoded {
            batches: self.rows.finish().into_iter().collect(),
            accepted: self.accepted,
            message,
            ..Decoded::default()
        }
    }
}

#[cfg(test)]
mod tests;
