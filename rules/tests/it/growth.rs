//! When a service became slower: from day to day, which last week shows and hours do not, or at once, before
//! or after its deploy.

use std::time::Duration;

use anyhow::Result;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use upriver_analyze::{Session, SessionOptions, UnixNanos};
use upriver_rules::diagnosis::document::{Diagnosis, Verdict};
use upriver_rules::{DiagnoseRequest, diagnose, render};

use crate::incident::{MINUTE, Tables, WEEK};
use crate::missing::drawn;

/// Noon of a Monday.
pub(crate) const AT: i64 = 1_772_452_800_000_000_000;
pub(crate) const HOUR: i64 = 60 * MINUTE;
const TWENTY_MINUTES: i64 = 20 * MINUTE;
const WEEK_AND_TWENTY_MINUTES: i64 = WEEK + TWENTY_MINUTES;

/// Requests of a service, so many a minute, that take so many milliseconds at the median.
pub(crate) fn requests(
    (from, until): (i64, i64),
    per_minute: i64,
    median_ms: impl Fn(i64) -> f64,
) -> ExportTraceServiceRequest {
    let every = MINUTE / per_minute;
    let spans = (0..(until - from) / every).map(|nth| from + nth * every).map(|start| {
        let nth = (start / every).unsigned_abs();
        // A fixed spread of a tenth to either side, in no order.
        let spread = 0.9 + 0.02 * (nth.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as f64 % 0.2;
        let nanos = Duration::from_secs_f64(median_ms(start) * spread / 1e3).as_nanos();
        let end = start.unsigned_abs() + u64::try_from(nanos).expect("milliseconds");
        Span {
            trace_id: u128::from(nth).to_be_bytes().to_vec(),
            span_id: nth.to_be_bytes().to_vec(),
            name: "GET /orders/{id}".to_owned(),
            kind: SpanKind::Server.into(),
            start_time_unix_nano: start.unsigned_abs(),
            end_time_unix_nano: end,
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

async fn diagnosed(tables: Tables) -> Result<Diagnosis> {
    let session = Session::new(tables.snapshot(), &SessionOptions::default())?;
    Ok(diagnose(&session, &DiagnoseRequest::new(UnixNanos(AT))).await?)
}

/// What is said of requests in the last thirty hours, and in the two around the same instant last week.
async fn with_last_week(median_ms: impl Fn(i64) -> f64 + Copy) -> Result<(Verdict, String)> {
    let mut tables = Tables::default();
    tables.add_traces(&requests((AT - WEEK - HOUR, AT - WEEK + HOUR), 4, median_ms))?;
    tables.add_traces(&requests((AT - 30 * HOUR, AT), 4, median_ms))?;
    let found = diagnosed(tables).await?;
    Ok((found.verdict, render::text(&found)))
}

/// What is said where the median went from 50 ms to so many in a week, by the same amount every hour.
async fn verdict(ends_ms: f64) -> Result<(Verdict, String)> {
    let median_ms = |instant: i64| {
        let age = (AT - instant) as f64 / WEEK as f64;
        ends_ms - (ends_ms - 50.0) * age
    };
    with_last_week(median_ms).await
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

/// What is said where requests that scatter take so many times as long for twenty minutes, and took so many in
/// the same minutes last week.
async fn in_the_hour(now: f64, last_week: f64) -> Result<(Verdict, String)> {
    let takes = |instant: i64| {
        let work = 10.0 * 10.0_f64.powf(1.6 * drawn(instant, 3));
        match AT - instant {
            ..=TWENTY_MINUTES => now * work,
            WEEK..=WEEK_AND_TWENTY_MINUTES => last_week * work,
            _ => work,
        }
    };
    with_last_week(takes).await
}

#[tokio::test]
async fn the_hour_of_the_week_may_differ_by_chance() -> Result<()> {
    let (found, page) = in_the_hour(4.0, 1.0).await?;
    assert_ne!(found, Verdict::Healthy, "{page}");
    // Slower than last week, when it was slow too, by a fifth, which sixty requests each scatter by.
    let (found, page) = in_the_hour(3.7, 3.0).await?;
    assert_eq!(found, Verdict::Healthy, "{page}");
    Ok(())
}

/// What is said where the service is slow since ten minutes ago, and was deployed so many seconds later.
async fn deployed(seconds_later: i64) -> Result<Diagnosis> {
    const SLOW_FROM: i64 = AT - 10 * MINUTE;
    let deployed = SLOW_FROM + seconds_later * MINUTE / 60;
    let mut tables = Tables::default();
    let median_ms = |instant: i64| if instant < SLOW_FROM { 50.0 } else { 200.0 };
    tables.add_traces(&requests((AT - 3 * HOUR, AT), 20, median_ms))?;
    let deploy =
        format!(r#"{{"service": "orders", "version": "2.0", "time_unix_nano": {deployed}}}"#);
    tables.add_deploy(deploy.as_bytes(), UnixNanos(AT))?;
    diagnosed(tables).await
}

#[tokio::test]
async fn what_was_slow_before_its_deploy_is_not_slow_by_it() -> Result<()> {
    let blamed = |found: &Diagnosis| {
        let cause = found.root_cause.as_ref();
        cause.and_then(|cause| cause.deploy.as_ref()).map(|deploy| deploy.version.clone())
    };
    let caused = deployed(-20).await?;
    assert_eq!(blamed(&caused).as_deref(), Some("2.0"), "{}", render::text(&caused));
    let later = deployed(80).await?;
    let page = render::text(&later);
    assert_eq!(blamed(&later), None, "{page}");
    assert_eq!(later.root_cause.map(|cause| cause.service).as_deref(), Some("orders"), "{page}");
    assert!(page.contains("orders's requests were slow before it"), "{page}");
    Ok(())
}
