//! Reads what a scenario generated, span by span.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;

pub(crate) const SECOND: i64 = 1_000_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const WEEK: i64 = 7 * 24 * 60 * MINUTE;

/// Every span with the resource that it came from.
pub(crate) fn spans(
    requests: &[ExportTraceServiceRequest],
) -> impl Iterator<Item = (&Resource, &Span)> {
    requests.iter().flat_map(|request| &request.resource_spans).flat_map(|resource_spans| {
        let resource = resource_spans.resource.as_ref().unwrap();
        resource_spans.scope_spans.iter().flat_map(|s| &s.spans).map(move |span| (resource, span))
    })
}

pub(crate) fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    match find(attributes, key)? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

pub(crate) fn int(attributes: &[KeyValue], key: &str) -> Option<i64> {
    match find(attributes, key)? {
        Value::IntValue(int) => Some(*int),
        _ => None,
    }
}

fn find<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()
}

pub(crate) fn service(resource: &Resource) -> &str {
    text(&resource.attributes, "service.name").unwrap()
}

pub(crate) fn version(resource: &Resource) -> &str {
    text(&resource.attributes, "service.version").unwrap()
}

pub(crate) fn start(span: &Span) -> i64 {
    span.start_time_unix_nano.cast_signed()
}

pub(crate) fn end(span: &Span) -> i64 {
    span.end_time_unix_nano.cast_signed()
}

/// The value at a quantile, by sorting: the smallest that at least this share does not exceed.
pub(crate) fn quantile(values: &mut [i64], permille: usize) -> f64 {
    values.sort_unstable();
    let rank = (values.len() * permille).div_ceil(1000).max(1);
    values[rank - 1] as f64
}
