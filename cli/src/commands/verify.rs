//! `upriver verify`: whether a rollback brought every named signal back.

use upriver_rules::render;
use upriver_rules::verify::Recovery;

use crate::args::VerifyArgs;
use crate::output::Output;
use crate::questions::{self, VerifyQuestion};
use crate::run::Outcome;
use crate::target::Target;

/// Prints the document. Recovered is 0, partly or not 1, insufficient data 3.
pub(crate) async fn run(args: VerifyArgs, output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let question =
        VerifyQuestion { subject: args.subject, at: args.at.map(questions::time).transpose()? };
    let answer = Target::open(&args.source).await?.verify(question).await?;
    let pages = [render::verification_text, render::verification_markdown];
    answer.print(args.format, pages, output)?;
    Ok(match answer.document.outcome {
        Recovery::Recovered => Outcome::Done,
        Recovery::Partly | Recovery::Not => Outcome::Found,
        Recovery::Insufficient => Outcome::Inconclusive,
    })
}
