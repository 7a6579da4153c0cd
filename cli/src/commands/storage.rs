//! `upriver storage`: what the tables consist of, and their compaction.

use std::sync::Arc;

use anyhow::Context;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use indicatif::{ProgressBar, ProgressStyle};
use upriver_store::reader::Reader;
use upriver_store::schema::Table;
use upriver_store::snapshot::SnapshotSource;
use upriver_store::store::Store;
use upriver_store::verify::{self, Verified};

use crate::args::StorageArgs;
use crate::error::Advise;
use crate::output::Output;
use crate::run::Outcome;
use crate::target;

/// Files, rows and bytes of every table.
pub(crate) async fn status(args: StorageArgs, output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let reader = Reader::open(args.tables.options(), upriver_ingest::replay())
        .await
        .with_context(|| format!("could not read the tables in `{}`", args.tables.data))
        .hint("name the folder with `--data DIR`")?;
    let snapshot = reader.snapshot();
    let tables = Table::ALL.map(|table| (table, snapshot.table(table)));
    let names = StringArray::from_iter_values(tables.iter().map(|(table, _)| table.name()));
    let sums = |of: fn(&upriver_store::snapshot::DataFile) -> u64| {
        let sum = |files: &[upriver_store::snapshot::DataFile]| files.iter().map(of).sum::<u64>();
        counts(tables.iter().map(|(_, view)| sum(&view.files)))
    };
    let hot = |view: &upriver_store::snapshot::TableSnapshot| {
        view.hot.iter().map(|rows| rows.num_rows() as u64).sum::<u64>()
    };
    let rows = RecordBatch::try_from_iter([
        ("table", Arc::new(names) as ArrayRef),
        ("files", counts(tables.iter().map(|(_, view)| view.files.len() as u64))),
        ("rows", sums(|file| file.rows)),
        ("bytes", sums(|file| file.size_bytes)),
        ("hot_rows", counts(tables.iter().map(|(_, view)| hot(view)))),
    ])?;
    target::write_rows(&[rows], args.format, output)?;
    Ok(Outcome::Done)
}

/// Merges small files; takes the folder's lock.
pub(crate) async fn compact(args: StorageArgs, output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let store = Store::open(args.tables.options(), upriver_ingest::replay()).await?;
    store.flush().await?;
    let report = store.compact().await?;
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

fn counts(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values.map(|n| i64::try_from(n).unwrap_or(i64::MAX))))
}
