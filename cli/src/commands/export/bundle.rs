//! A case folder of the rows of a range: what `upriver import` makes the same rows of.
//!
//! Spans come with their events and profiles with their samples, whenever those were. Spans that are there
//! for their version alone come without.

use std::path::Path;

use arrow::array::RecordBatch;
use indicatif::ProgressBar;
use upriver_ingest::encode::{self, Encoded};
use upriver_store::batch::TableBatch;
use upriver_store::schema::Table;

use super::folder::{Draft, Records};
use super::parts::Parts;
use super::range::{self, Range};
use super::rows::Source;
use super::versions;

/// Events of a span lie between its start and its end but for clocks that were set meanwhile.
const CLOCK_STEP: i64 = 1_000_000_000;
/// Samples of a profile with instants of their own lie in it but for profilers that stamp them late.
const SAMPLES_LATE: i64 = 3_600_000_000_000;

/// Writes all files that have something to hold. Gives what could not be written.
pub(super) async fn write(
    source: &Source,
    parts: &Parts,
    draft: &mut Draft,
    progress: &ProgressBar,
) -> anyhow::Result<Vec<String>> {
    let mut lost = Vec::new();
    lost.extend(traces(source, parts, draft, progress).await?);
    let mut metrics = draft.lines("metrics.jsonl", "data points");
    let left_out =
        lines(source, Table::Metrics, &parts.metrics, (&mut metrics, encode::metrics), progress)
            .await?;
    lines(
        source,
        Table::MetricHistograms,
        &parts.metrics,
        (&mut metrics, encode::histograms),
        progress,
    )
    .await?;
    metrics.end()?;
    if left_out > 0 {
        lost.push(format!("{left_out} rows of summaries without their count were left out"));
    }
    let mut logs = draft.lines("logs.jsonl", "log records");
    lines(source, Table::Logs, &parts.logs, (&mut logs, encode::logs), progress).await?;
    logs.end()?;
    profiles(source, &parts.profiles, draft, progress).await?;
    let mut deploys = draft.lines("deploys.jsonl", "changes");
    lines(source, Table::Deploys, &parts.deploys, (&mut deploys, encode::deploys), progress)
        .await?;
    deploys.end()?;
    Ok(lost)
}

/// Writes the rows of one table, slice by slice. Gives how many could not be written.
async fn lines(
    source: &Source,
    table: Table,
    ranges: &[Range],
    (file, encode): (&mut Records<'_>, fn(&TableBatch) -> Encoded),
    progress: &ProgressBar,
) -> anyhow::Result<u64> {
    let mut left_out = 0;
    progress.set_message(table.name());
    for slice in range::all_slices(source, table, ranges).await? {
        let encoded = encode(&source.rows(table, slice).await?);
        left_out += encoded.left_out;
        file.write(&encoded.lines, encoded.items)?;
        progress.tick();
    }
    Ok(left_out)
}

/// Writes spans with their events.
async fn traces(
    source: &Source,
    parts: &Parts,
    draft: &mut Draft,
    progress: &ProgressBar,
) -> anyhow::Result<Option<String>> {
    let mut missing = 0;
    let mut file = draft.lines("traces.jsonl", "spans");
    progress.set_message(Table::Spans.name());
    for range in parts.versions.iter().flat_map(|range| range.by_days()) {
        let encoded = encode::spans(&versions::spans(source, range).await?, &no_events()?);
        file.write(&encoded.lines, encoded.items)?;
        progress.tick();
    }
    for slice in range::all_slices(source, Table::Spans, &parts.spans).await? {
        let spans = source.rows(Table::Spans, slice).await?;
        let near = ended(source, Table::Spans, slice).await?.widened(CLOCK_STEP);
        let mut encoded = encode::spans(&spans, &events(source, slice, Some(near)).await?);
        if encoded.left_out > 0 {
            // Somebody's events are elsewhere: these traces are looked up in all of the table.
            encoded = encode::spans(&spans, &events(source, slice, None).await?);
        }
        missing += encoded.left_out;
        file.write(&encoded.lines, encoded.items)?;
        progress.tick();
    }
    file.end()?;
    Ok((missing > 0).then(|| format!("{missing} events of the spans are not stored any more")))
}

fn no_events() -> anyhow::Result<TableBatch> {
    let rows = RecordBatch::new_empty(Table::SpanEvents.schema());
    Ok(encode::of_table(Table::SpanEvents, &rows)?)
}

/// The events of the spans of a slice, of those in `near` if it is given.
async fn events(source: &Source, slice: Range, near: Option<Range>) -> anyhow::Result<TableBatch> {
    let near = near.map(|near| near.condition(Table::SpanEvents));
    let condition = format!(
        "{} AND trace_id IN (SELECT trace_id FROM spans WHERE {} AND event_count > 0)",
        near.as_deref().unwrap_or("TRUE"),
        slice.condition(Table::Spans)
    );
    source.rows_where(Table::SpanEvents, &condition).await
}

/// From the first start to the last end of a table's rows in a slice.
async fn ended(source: &Source, table: Table, slice: Range) -> anyhow::Result<Range> {
    let start = if table == Table::Spans { "start_unix_nano" } else { "time_unix_nano" };
    // Ends beyond 2262 saturate; a sum of integers would not.
    let sql = format!(
        "SELECT max(CASE WHEN duration_ns > {max} - {start} THEN {max} ELSE {start} + duration_ns END) FROM {} WHERE {}",
        table.name(),
        slice.condition(table),
        max = i64::MAX,
    );
    let [last] = source.integers(&sql).await?;
    Ok(Range { last: last.unwrap_or(slice.last), ..slice })
}

/// Writes each profile as a file, and the list of them.
async fn profiles(
    source: &Source,
    ranges: &[Range],
    draft: &mut Draft,
    progress: &ProgressBar,
) -> anyhow::Result<()> {
    progress.set_message(Table::Profiles.name());
    let mut number = 0_u64;
    let mut list = draft.lines("profiles.jsonl", "profiles");
    for slice in range::all_slices(source, Table::Profiles, ranges).await? {
        let profiles = source.rows(Table::Profiles, slice).await?;
        let near = ended(source, Table::Profiles, slice).await?.widened(SAMPLES_LATE);
        let of_profiles = format!(
            "{} AND profile_id IN (SELECT profile_id FROM profiles WHERE {})",
            near.condition(Table::ProfileSamples),
            slice.condition(Table::Profiles)
        );
        let samples = source.rows_where(Table::ProfileSamples, &of_profiles).await?;
        let of_samples = format!(
            "{} AND stack_id IN (SELECT stack_id FROM profile_samples WHERE {of_profiles})",
            near.days().condition(Table::ProfileStacks),
        );
        let stacks = source.rows_where(Table::ProfileStacks, &of_samples).await?;
        for profile in encode::profiles(&profiles, &samples, &stacks)? {
            number += 1;
            let name = format!("profiles/{number:06}.pb.gz");
            list.write(profile.line(&name).as_bytes(), 1)?;
            list.beside(Path::new(&name), &profile.body)?;
            progress.tick();
        }
    }
    list.end()
}
