//! `upriver export`: a range of time, or what a diagnosis read, as a folder that `upriver import` takes.
//!
//! | module | is |
//! |---|---|
//! | `range` | instants from one to another, cut into slices that fit into memory |
//! | `rows` | rows of a slice, from a server or a folder |
//! | `bundle` | a case: OTLP JSON lines, pprof files, deploy events |
//! | `tables`, `table_files` | the rows of every table as they are, in Parquet files |
//! | `diagnosed`, `parts` | what a diagnosis was made from, and which parts of time that is of each table |
//! | `versions` | the few spans that say which versions ran when |
//! | `folder` | the folder while it is written, and its name once it is complete |

mod bundle;
mod diagnosed;
mod folder;
mod parts;
mod range;
mod rows;
mod table_files;
mod tables;
mod versions;

use anyhow::{Context, anyhow};
use indicatif::ProgressBar;

use crate::args::{ExportArgs, ExportFormat};
use crate::error::Advise;
use crate::output::Output;
use crate::run::Outcome;
use crate::target::Target;

use diagnosed::Diagnosed;
use folder::{Draft, Manifest};
use parts::Parts;
use range::Range;
use rows::Source;

/// The document that the data was exported for. An import ignores it.
const DIAGNOSIS: &str = "diagnosis.json";

/// Writes the folder, and says what is in it.
pub(crate) async fn run(args: ExportArgs, output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    if args.format == ExportFormat::Parquet {
        return as_tables(args, output).await;
    }
    // Before anything is read: what is wrong with the folder does not depend on it.
    let mut draft = Draft::new(&args.output, args.force)?;
    let source = Source::new(Target::open(&args.source).await?);
    let (manifest, parts) = if let Some(name) = &args.diagnosis {
        let diagnosed = Diagnosed::find(name, &source).await?;
        draft.compress();
        draft.file(DIAGNOSIS, &diagnosed.json)?;
        (Manifest::of_diagnosis(&diagnosed), diagnosed.parts)
    } else {
        let (from, to) = args.from.zip(args.to).context("no range is given")?;
        (Manifest::of_range(from, to), Parts::whole(Range::new(from, to)?))
    };
    if args.compress {
        draft.compress();
    }
    write(&source, &parts, &mut draft, output).await?;
    finish(draft, manifest, output)
}

/// The rows of every table as they are.
async fn as_tables(args: ExportArgs, output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let Some((from, to)) = args.from.zip(args.to) else {
        return Err(anyhow!("what a diagnosis read is not written as Parquet"))
            .hint("give a range with `--from TIME --to TIME`, or leave out `--format parquet`");
    };
    if args.compress {
        return Err(anyhow!("`--compress` is for lines, and there are none in `--format parquet`"))
            .hint("leave it out: Parquet files are compressed as they are");
    }
    let range = Range::new(from, to)?;
    let mut draft = Draft::new(&args.output, args.force)?;
    let source = Source::new(Target::open(&args.source).await?);
    let progress = ProgressBar::new_spinner();
    let written = tables::write(&source, range, &mut draft, &progress).await;
    progress.finish_and_clear();
    written?;
    finish(draft, Manifest::of_tables(from, to), output)
}

/// Says what is in the folder, and gives it its name.
fn finish(draft: Draft, manifest: Manifest, output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    if draft.is_empty() {
        let nothing = anyhow!("there is nothing from {} to {}", manifest.from, manifest.to);
        return Err(nothing).hint(
            "`upriver sql 'SELECT min(time), max(time) FROM spans'` says from when to when there are spans",
        );
    }
    let name = draft.output().display().to_string();
    for file in draft.files() {
        output.note(format!("{name}/{}: {} {}", file.name, file.records, file.of))?;
    }
    draft.finish(manifest)?;
    Ok(Outcome::Done)
}

async fn write(
    source: &Source,
    parts: &Parts,
    draft: &mut Draft,
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    let progress = ProgressBar::new_spinner();
    let written = bundle::write(source, parts, draft, &progress).await;
    progress.finish_and_clear();
    for lost in written? {
        output.note(format!("warning: {lost}"))?;
    }
    Ok(())
}
