//! However a valid request is cut into requests, or requests are joined, the rows are the same: all of
//! every table, in order.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use prost::Message;
use upriver_ingest::Decoded;
use upriver_ingest::otlp::{decode_logs, decode_metrics, decode_traces};
use upriver_store::schema::Table;
use upriver_store::time::UnixNanos;

use crate::properties::{resource_logs, resource_metrics, resource_spans};
use crate::support::rows;

/// A list cut at these places; parts may be empty.
fn cut<T>(list: &[T], at: &[Index]) -> Vec<Vec<T>>
where
    T: Clone,
{
    let mut ends: Vec<_> = at.iter().map(|at| at.index(list.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(list.len());
    let starts = std::iter::once(0).chain(ends.clone());
    starts.zip(ends.clone()).map(|(start, end)| list[start..end].to_vec()).collect()
}

/// Decodes the whole, the parts each by itself, and the bytes of the parts one behind the other, which
/// protobuf reads as one message.
fn check(
    whole: &[u8],
    parts: &[Vec<u8>],
    tables: &[Table],
    decode: impl Fn(&[u8]) -> Decoded,
) -> Result<(), TestCaseError> {
    let joined = decode(&parts.concat());
    let whole = decode(whole);
    let parts: Vec<_> = parts.iter().map(|part| decode(part)).collect();
    let counts = (
        parts.iter().map(|part| part.accepted).sum(),
        parts.iter().map(|part| part.rejected).sum(),
    );
    prop_assert_eq!((whole.accepted, whole.rejected), counts);
    prop_assert_eq!((joined.accepted, joined.rejected), counts);
    let written = [&whole, &joined].into_iter().chain(&parts);
    for batch in written.flat_map(|decoded| &decoded.batches) {
        prop_assert!(tables.contains(&batch.table), "rows of {}", batch.table.name());
    }
    for table in tables {
        let expected = rows(&whole, *table);
        let of_parts: Vec<_> = parts.iter().flat_map(|part| rows(part, *table)).collect();
        prop_assert_eq!(of_parts, expected.clone(), "{} in parts", table.name());
        prop_assert_eq!(rows(&joined, *table), expected, "{} joined", table.name());
    }
    Ok(())
}

/// Each span by itself, with its resource.
fn single_spans(resource_spans: &[ResourceSpans]) -> Vec<ResourceSpans> {
    let mut singles = Vec::new();
    for resource in resource_spans {
        for scope in &resource.scope_spans {
            singles.extend(scope.spans.iter().map(|span| {
                let scope = ScopeSpans { spans: vec![span.clone()], ..scope.clone() };
                ResourceSpans { scope_spans: vec![scope], ..resource.clone() }
            }));
        }
    }
    singles
}

/// Each metric by itself, with its resource.
fn single_metrics(resource_metrics: &[ResourceMetrics]) -> Vec<ResourceMetrics> {
    let mut singles = Vec::new();
    for resource in resource_metrics {
        for scope in &resource.scope_metrics {
            singles.extend(scope.metrics.iter().map(|metric| {
                let scope = ScopeMetrics { metrics: vec![metric.clone()], ..scope.clone() };
                ResourceMetrics { scope_metrics: vec![scope], ..resource.clone() }
            }));
        }
    }
    singles
}

/// Each log record by itself, with its resource.
fn single_logs(resource_logs: &[ResourceLogs]) -> Vec<ResourceLogs> {
    let mut singles = Vec::new();
    for resource in resource_logs {
        for scope in &resource.scope_logs {
            singles.extend(scope.log_records.iter().map(|record| {
                let scope = ScopeLogs { log_records: vec![record.clone()], ..scope.clone() };
                ResourceLogs { scope_logs: vec![scope], ..resource.clone() }
            }));
        }
    }
    singles
}

proptest! {
    #[test]
    fn traces_cut_and_joined_give_the_same_rows(
        resource_spans in vec(resource_spans(), 0..5),
        at in vec(any::<Index>(), 0..4),
    ) {
        let bytes = |resource_spans| ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let whole = bytes(resource_spans.clone());
        let decode = |body: &[u8]| decode_traces(body).unwrap();
        let tables = [Table::Spans, Table::SpanEvents];
        for list in [&resource_spans, &single_spans(&resource_spans)] {
            let parts: Vec<_> = cut(list, &at).into_iter().map(bytes).collect();
            check(&whole, &parts, &tables, decode)?;
        }
    }

    #[test]
    fn metrics_cut_and_joined_give_the_same_rows(
        resource_metrics in vec(resource_metrics(), 0..5),
        at in vec(any::<Index>(), 0..4),
    ) {
        let bytes = |resource_metrics| ExportMetricsServiceRequest { resource_metrics }.encode_to_vec();
        let whole = bytes(resource_metrics.clone());
        let decode = |body: &[u8]| decode_metrics(body).unwrap();
        let tables = [Table::Metrics, Table::MetricHistograms];
        for list in [&resource_metrics, &single_metrics(&resource_metrics)] {
            let parts: Vec<_> = cut(list, &at).into_iter().map(bytes).collect();
            check(&whole, &parts, &tables, decode)?;
        }
    }

    #[test]
    fn logs_cut_and_joined_give_the_same_rows(
        resource_logs in vec(resource_logs(), 0..5),
        at in vec(any::<Index>(), 0..4),
    ) {
        let bytes = |resource_logs| ExportLogsServiceRequest { resource_logs }.encode_to_vec();
        let whole = bytes(resource_logs.clone());
        let decode = |body: &[u8]| decode_logs(body, UnixNanos(1)).unwrap();
        let records: usize =
            resource_logs.iter().flat_map(|r| &r.scope_logs).map(|s| s.log_records.len()).sum();
        prop_assert_eq!(decode(&whole).accepted, records as u64);
        for list in [&resource_logs, &single_logs(&resource_logs)] {
            let parts: Vec<_> = cut(list, &at).into_iter().map(bytes).collect();
            check(&whole, &parts, &[Table::Logs], decode)?;
        }
    }
}
