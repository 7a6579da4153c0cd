//! `upriver storage`: what the tables consist of, their repair and their compaction.

use std::sync::Arc;

use anyhow::Context;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use indicatif::{ProgressBar, ProgressStyle};
use upriver_store::reader::Reader;
use upriver_store::schema::Table;
use upriver_store::snapshot::{DataFile, SnapshotSource, TableSnapshot};
use upriver_store::store::Store;
use upriver_store::verify::{self, Verified};

use crate::args::StorageArgs;
use crate::environment::system_clock;
use crate::error::Advise;
use crate::output::Output;
use crate::run::Outcome;
use crate::target;

/// Files, rows and bytes of every table; of spans how many name a parent, and how many know it.
pub(crate) async fn status(args: StorageArgs, output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let reader = Reader::open(args.tables.options(), upriver_ingest::replay())
        .await
        .with_context(|| format!("could not read the tables in `{}`", args.tables.data))
        .hint("name the folder with `--data DIR`")?;
    let snapshot = reader.snapshot();
    let tables = Table::ALL.map(|table| (table, snapshot.table(table)));
    let names = StringArray::from_iter_values(tables.iter().map(|(table, _)| table.name()));
    let sums = |of: fn(&DataFile) -> u64| {
        let sum = |files: &[DataFile]| files.iter().map(of).sum::<u64>();
        counts(tables.iter().map(|(_, view)| sum(&view.files)))
    };
    let hot =
        |view: &TableSnapshot| view.hot.iter().map(|rows| rows.num_rows() as u64).sum::<u64>();
    let rows = RecordBatch::try_from_iter([
        ("table", Arc::new(names) as ArrayRef),
        ("files", counts(tables.iter().map(|(_, view)| view.files.len() as u64))),
        ("rows", sums(|file| file.rows)),
        ("bytes", sums(|file| file.size_bytes)),
        ("hot_rows", counts(tables.iter().map(|(_, view)| hot(view)))),
        ("parents_named", filled(&tables, "parent_span_id")),
        ("parents_known", filled(&tables, "parent_service")),
    ])?;
    target::write_rows(&[rows], args.format, output)?;
    Ok(Outcome::Done)
}

/// Completes spans whose parents or children came in another commit; takes the folder's lock.
pub(crate) async fn repair(args: StorageArgs, output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let store = Store::open(args.tables.options(), upriver_ingest::replay()).await?;
    store.flush().await?;
    let report = store.repair(system_clock().now()).await;
    store.close().await?;
    match report? {
        Some(report) => output.note(format!("repaired `{}`: {report}", args.tables.data))?,
        None => output.note(format!(
            "`{}` is kept by a server, which repairs it; nothing was done",
            args.tables.data
        ))?,
    }
    Ok(Outcome::Done)
}

/// Merges small files and rolls hours up; takes the folder's lock. What is put together is searched first
/// for traces that came apart.
pub(crate) async fn compact(args: StorageArgs, output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let store = Store::open(args.tables.options(), upriver_ingest::replay()).await?;
    store.flush().await?;
    store.repair(system_clock().now()).await?;
    let report = store.compact().await?;
    store.roll_up_hours(system_clock().now()).await?;
    store.close().await?;
    output.note(format!("compacted `{}`: {report}", args.tables.data))?;
    Ok(Outcome::Done)
}

/// Reads everything again; nothing is locked or written, so a server may be running.
pub(crate) async fn verify(args: StorageArgs, output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let progress = ProgressBar::no_length().with_message("files");
    progress.set_style(ProgressStyle::with_template("{msg} {pos}/{len} {wide_bar} {eta}")?);
    let verified = verify::verify(&args.tables.options(), |read, all| {
        progress.set_length(all);
        progress.set_position(read);
    })
    .await;
    progress.finish_and_clear();
    let verified = verified
        .with_context(|| format!("could not read the tables in `{}`", args.tables.data))
        .hint("name them with `--data DIR`")?;
    let problems = |found: &Verified| found.problems.len() as u64 + found.further;
    let names = StringArray::from_iter_values(verified.iter().map(|found| found.table.name()));
    let rows = RecordBatch::try_from_iter([
        ("table", Arc::new(names) as ArrayRef),
        ("files", counts(verified.iter().map(|found| found.files))),
        ("rows", counts(verified.iter().map(|found| found.rows))),
        ("problems", counts(verified.iter().map(problems))),
    ])?;
    target::write_rows(&[rows], args.format, output)?;
    for found in &verified {
        for problem in &found.problems {
            output.note(format!("{}: {problem}", found.table.name()))?;
        }
        if found.further > 0 {
            output.note(format!("{}: and {} more", found.table.name(), found.further))?;
        }
    }
    let is_sound = verified.iter().all(|found| found.problems.is_empty());
    Ok(if is_sound { Outcome::Done } else { Outcome::Found })
}

/// In how many committed spans a column has a value, by the tables' logs; null of other tables, and where a
/// log does not say.
fn filled(tables: &[(Table, TableSnapshot)], column: &str) -> ArrayRef {
    let of_file = |file: &DataFile| Some(file.rows - file.statistics.get(column)?.null_count?);
    let of_table = |(table, view): &(Table, TableSnapshot)| {
        let sum: Option<u64> = view.files.iter().map(of_file).sum();
        sum.filter(|_| *table == Table::Spans).and_then(|sum| i64::try_from(sum).ok())
    };
    Arc::new(tables.iter().map(of_table).collect::<Int64Array>())
}

fn counts(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values.map(|n| i64::try_from(n).unwrap_or(i64::MAX))))
}
