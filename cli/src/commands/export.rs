//! `upriver export`: a range of time as a folder that `upriver import` takes.
//!
//! | module | is |
//! |---|---|
//! | `range` | instants from one to another, cut into slices that fit into memory |
//! | `rows` | rows of a slice, from a server or a folder |
//! | `bundle` | a case: OTLP JSON lines, pprof files, deploy events |
//! | `folder` | the folder while it is written, and its name once it is complete |

mod bundle;
mod folder;
mod range;
mod rows;

use anyhow::anyhow;
use indicatif::ProgressBar;

use crate::args::ExportArgs;
use crate::error::Advise;
use crate::output::Output;
use crate::run::Outcome;
use crate::target::Target;

use folder::{Draft, Manifest};
use range::Range;
use rows::Source;

/// Writes the folder, and says what is in it.
pub(crate) async fn run(args: ExportArgs, output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let range = Range::new(args.from, args.to)?;
    let mut draft = Draft::new(&args.output, args.force)?;
    let source = Source::new(Target::open(&args.source).await?);
    let progress = ProgressBar::new_spinner();
    let written = bundle::write(&source, range, &mut draft, &progress).await;
    progress.finish_and_clear();
    for lost in written? {
        output.note(format!("warning: {lost}"))?;
    }
    if draft.is_empty() {
        let nothing = anyhow!("there is nothing from {} to {}", args.from, args.to);
        return Err(nothing).hint(
            "`upriver sql 'SELECT min(time), max(time) FROM spans'` says from when to when there are spans",
        );
    }
    let name = args.output.display();
    for file in draft.files() {
        output.note(format!("{name}/{}: {} {}", file.name, file.records, file.of))?;
    }
    draft.finish(Manifest::new(&args))?;
    Ok(Outcome::Done)
}
