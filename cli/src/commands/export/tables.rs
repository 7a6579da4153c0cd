//! The rows of every table in a range as they are: what `upriver import` adds as they are, and other
//! tools read.
//!
//! Each table's rows are those with a `time` in the range, so that exports of one range after the other
//! have each row once. Stacks come with the samples that they belong to as well: all rows of their days. Of
//! minutes an import makes those again whose rows it has; the others stand alone in files of their own.

use indicatif::ProgressBar;
use upriver_store::schema::Table;

use super::folder::Draft;
use super::range::{self, Range};
use super::rows::Source;
use super::table_files::{Rows, TableFiles};

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
/// Samples of a profile with instants of their own lie in it but for profilers that stamp them late; its
/// stacks are stored with its start.
const SAMPLES_LATE: i64 = 60 * MINUTE;

/// Writes the files of all tables.
pub(super) async fn write(
    source: &Source,
    range: Range,
    draft: &mut Draft,
    progress: &ProgressBar,
) -> anyhow::Result<()> {
    // Hours are made of minutes by upkeep.
    for table in Table::ALL.into_iter().filter(|table| table.minutes().is_none()) {
        progress.set_message(table.name());
        if table.is_rollup() {
            minutes(source, table, range, draft, progress).await?;
            continue;
        }
        let is_stacks = matches!(table, Table::ProfileStacks | Table::ProfileStackFrames);
        let wanted = if is_stacks { range.begun_earlier(SAMPLES_LATE).days() } else { range };
        let mut files = TableFiles::new(draft, table, Rows::Kept);
        for slice in range::all_slices(source, table, &[wanted]).await? {
            let mut condition = slice.condition(table);
            if is_stacks {
                let own = range.condition(table);
                let stacks = stacks(slice, range);
                condition = format!("{condition} AND ({own} OR stack_id IN ({stacks}))");
            }
            files.write(&source.rows_where(table, &condition).await?)?;
            progress.tick();
        }
        files.end()?;
    }
    Ok(())
}

/// The stacks of the samples of a range that stacks of a slice may belong to: those of its days.
fn stacks(slice: Range, range: Range) -> String {
    let samples = slice.days().ended_later(SAMPLES_LATE).within(range);
    format!(
        "SELECT stack_id FROM profile_samples WHERE {}",
        samples.condition(Table::ProfileSamples)
    )
}

/// Writes the minutes that have rows, then those that have none.
async fn minutes(
    source: &Source,
    table: Table,
    range: Range,
    draft: &mut Draft,
    progress: &ProgressBar,
) -> anyhow::Result<()> {
    let slices = range::all_slices(source, table, &[range]).await?;
    for rows in [Rows::Derived, Rows::Alone] {
        let mut files = TableFiles::new(draft, table, rows);
        for slice in &slices {
            let has_rows = has_rows(table, *slice);
            let is_wanted = if rows == Rows::Derived { "" } else { "NOT " };
            let condition = format!("{} AND {is_wanted}({has_rows})", slice.condition(table));
            files.write(&source.rows_where(table, &condition).await?)?;
            progress.tick();
        }
        files.end()?;
    }
    Ok(())
}

/// Whether the rows that a minute was rolled up from are stored: whatever of the minute is in the range.
/// What metrics of sizes add to edges depends on points before them, and is taken as it is.
fn has_rows(table: Table, slice: Range) -> String {
    let whole = slice.ended_later(MINUTE);
    let of = |table: Table| {
        let (name, condition) = (table.name(), whole.condition(table));
        format!("SELECT date_trunc('minute', time) FROM {name} WHERE {condition}")
    };
    match table {
        Table::ProfileMinutes => format!("time IN ({})", of(Table::ProfileSamples)),
        Table::EdgeMinutes => format!(
            "coalesce(source, 'spans') <> 'metrics' AND (time IN ({}) OR time IN ({}))",
            of(Table::Spans),
            of(Table::FormerPayloadSizes)
        ),
        _ => format!("time IN ({})", of(Table::Spans)),
    }
}
