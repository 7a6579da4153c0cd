//! A service that became slower from day to day: hours show no rise, and last week does.

use anyhow::Result;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use upriver_analyze::{Session, SessionOptions, UnixNanos};
use upriver_rules::diagnosis::document::Verdict;
use upriver_rules::{DiagnoseRequest, diagnose, render};

use crate::incident::{MINUTE, Tables, WEEK};

/// Noon of a Monday.
const AT: i64 = 1_772_452_800_000_000_000;
const HOUR: i64 = 60 * MINUTE;
const MILLI: f64 = 1e6;

/// Requests of a service, four a minute, that take so many milliseconds at the median.
fn requests(from: i64, until: i64, median_ms: impl Fn(i64) -> f64) -> ExportTraceServiceRequest {
    const EVERY: i64 = MINUTE / 4;
    let spans = (from..until).step_by(EVERY.unsigned_abs() as usize).map(|start| {
        let nth = (start / EVERY).unsigned_abs();
        // A fixed spread of a tenth to either side, in no order.
        let spread = 0.9 + 0.02 * (nth.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as f64 % 0.2;
        let nanos = (median_ms(start) * spread * MILLI).round() as i64;
        Span {
            trace_id: u128::from(nth).to_be_bytes().to_vec(),
            span_id: nth.to_be_bytes().to_vec(),
            name: "GET /orders/{id}".to_owned(),
            kind: SpanKind::Server.into(),
            start_time_unix_nano: start.unsigned_abs(),
            end_time_unix_nano: (start + nanos).unsigned_abs(),
            ..Span::default()
        }
    });
    let service = AnyValue { value: Some(Value::StringValue("orders".to_owned())) };
    let attributes = vec![KeyValue {
        key: "service.name".to_owned(),
        value: Some(service),
        ..KeyValue::default()
    }];
    let scope_spans = vec![ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() }];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }
}

/// What is said where the median went from 50 ms to so many in a week, by the same amount every hour.
async fn verdict(ends_ms: f64) -> Result<(Verdict, String)> {
    let median_ms = |instant: i64| {
        let age = (AT - instant) as f64 / WEEK as f64;
        ends_ms - (ends_ms - 50.0) * age
    };
    let mut tables = Tables::default();
    tables.add_traces(&requests(AT - WEEK - HOUR, AT - WEEK + HOUR, median_ms))?;
    tables.add_traces(&requests(AT - 30 * HOUR, AT, median_ms))?;
    let session = Session::new(tables.snapshot(), &SessionOptions::default())?;
    let found = diagnose(&session, &DiagnoseRequest::new(UnixNanos(AT))).await?;
    Ok((found.verdict, render::text(&found)))
}

#[tokio::test]
async fn what_grew_for_a_week_is_seen_against_last_week() -> Result<()> {
    let (found, page) = verdict(100.0).await?;
    assert_ne!(found, Verdict::Healthy, "{page}");
    assert!(page.contains("11:45-12:00 against 23 Feb 11:45-12:00 UTC"), "{page}");
    let (found, page) = verdict(60.0).await?;
    assert_eq!(found, Verdict::Healthy, "{page}");
    Ok(())
}
