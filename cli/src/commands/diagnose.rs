//! `upriver diagnose`: what changed and made a service slow.

use std::time::Instant;

use anyhow::anyhow;
use upriver_rules::diagnosis::document::Verdict;
use upriver_rules::render;

use crate::args::DiagnoseArgs;
use crate::output::Output;
use crate::questions::{self, DiagnoseQuestion};
use crate::run::Outcome;
use crate::target::Target;

/// Prints the document. Healthy is 0, a named cause 1, inconclusive 3.
pub(crate) async fn run(args: DiagnoseArgs, output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let window_seconds = u64::try_from(args.window.as_secs())
        .map_err(|_negative| anyhow!("`--window {}` is negative", args.window))?;
    let objective = args.objective.map(|objective| u64::try_from(objective.as_millis()));
    let question = DiagnoseQuestion {
        service: args.service,
        operation: args.operation,
        at: args.at.map(questions::time).transpose()?,
        window_seconds,
        objective_ms: objective
            .transpose()
            .map_err(|_negative| anyhow!("`--objective` is negative"))?,
    };
    let target = Target::open(&args.source).await?;
    #[expect(clippy::disallowed_methods, reason = "it is said how long it took")]
    let asked = Instant::now();
    let answer = target.diagnose(question).await?;
    if args.stats {
        let read = answer.work.map_or_else(
            || "what was read is not known, ".to_owned(),
            |work| format!("{} queries, {} rows read, ", work.queries, work.rows_read),
        );
        output.note(format!("{read}{:.2} s", asked.elapsed().as_secs_f64()))?;
    }
    answer.print(args.format, [render::text, render::markdown], output)?;
    Ok(match answer.document.verdict {
        Verdict::Healthy => Outcome::Done,
        Verdict::Confirmed | Verdict::Likely => Outcome::Found,
        Verdict::Inconclusive => Outcome::Inconclusive,
    })
}
