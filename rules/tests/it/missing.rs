//! Requests that are slower, and fast requests that are missing.

use anyhow::{Context, Result};
use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use upriver_analyze::{Session, SessionOptions, UnixNanos};
use upriver_rules::diagnosis::document::{CauseKind, Diagnosis, Verdict};
use upriver_rules::{DiagnoseRequest, diagnose, render};

use crate::growth::{AT, HOUR, requests};
use crate::incident::{MINUTE, Tables};

/// Since when something differs.
const SINCE: i64 = AT - 20 * MINUTE;

/// From 0 to 1, in no order but always the same.
pub(crate) fn drawn(instant: i64, salt: u64) -> f64 {
    let mixed = (instant.unsigned_abs() ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 40) as f64 / f64::from(1 << 24)
}

/// From 20 to 200 ms, most of them short.
fn work_ms(instant: i64) -> f64 {
    20.0 * 10.0_f64.powf(drawn(instant, 1))
}

/// What is known if requests take so many times as long since then, and of those below so many milliseconds
/// nine in ten are no longer seen.
fn session(factor: f64, dropped_below_ms: f64) -> Result<Session> {
    let takes =
        |instant: i64| if instant < SINCE { work_ms(instant) } else { factor * work_ms(instant) };
    let mut sent = requests((AT - 8 * HOUR, AT), 60, takes);
    let spans = &mut sent.resource_spans[0].scope_spans[0].spans;
    spans.retain(|span| {
        let start = i64::try_from(span.start_time_unix_nano).expect("a time of this century");
        start < SINCE || takes(start) >= dropped_below_ms || drawn(start, 2) < 0.1
    });
    let mut tables = Tables::default();
    tables.add_traces(&sent)?;
    Ok(Session::new(tables.snapshot(), &SessionOptions::default())?)
}

async fn found(session: &Session) -> Result<Diagnosis> {
    Ok(diagnose(session, &DiagnoseRequest::new(UnixNanos(AT))).await?)
}

#[tokio::test]
async fn dropped_fast_requests_make_nothing_slower() -> Result<()> {
    let session = session(1.0, 60.0)?;
    let found = found(&session).await?;
    let page = render::text(&found);
    assert_eq!(found.verdict, Verdict::Healthy, "{page}");
    assert!(found.symptom.is_none(), "{page}");
    let [artefact] = found.hypotheses.as_slice() else { panic!("{page}") };
    assert_eq!(artefact.kind, CauseKind::TelemetryArtefact);
    assert_eq!(artefact.service.as_deref(), Some("orders"));
    let rule = |rule: &str| found.findings.iter().find(|finding| finding.rule == rule);
    let slow = rule("slow_request_rate").context("how many are slow")?;
    assert!(artefact.supporting.contains(&slow.id));
    // Both are requests in a second: as many slow ones, a third to a half of all.
    let within = |change: Option<f64>, low, high| change.is_some_and(|c| c > low && c < high);
    assert!(within(slow.change, 0.8, 1.25), "{slow:?}");
    assert!(page.contains("fast ones are missing"), "{page}");
    // Its query says the same.
    let rows = session.query(&slow.sql).await?;
    let rows = rows.iter().find(|rows| rows.num_rows() == 1).context("a row")?;
    let figure = |name: &str| rows[name].as_primitive::<Float64Type>().value(0);
    assert!((figure("observed") / slow.observed.context("now")? - 1.0).abs() < 1e-9);
    assert!((figure("baseline") / slow.baseline.context("before")? - 1.0).abs() < 1e-9);
    Ok(())
}

#[tokio::test]
async fn slow_requests_are_a_symptom_also_where_fast_ones_are_dropped() -> Result<()> {
    for dropped_below_ms in [0.0, 60.0] {
        let found = found(&session(2.5, dropped_below_ms)?).await?;
        let page = render::text(&found);
        assert_ne!(found.verdict, Verdict::Healthy, "{page}");
        let symptom = found.symptom.as_ref().context("a symptom")?;
        assert_eq!(symptom.service, "orders", "{page}");
    }
    Ok(())
}
