//! `upriver diagnose`: what changed and made a service slow.

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
    let answer = Target::open(&args.source).await?.diagnose(question).await?;
    answer.print(args.format, [render::text, render::markdown], output)?;
    Ok(match answer.document.verdict {
        Verdict::Healthy => Outcome::Done,
        Verdict::Confirmed | Verdict::Likely => Outcome::Found,
        Verdict::Inconclusive => Outcome::Inconclusive,
    })
}
