//! `upriver verify`: whether a rollback brought every named signal back.

use upriver_rules::render;
use upriver_rules::verify::Recovery;

use crate::args::{DocumentFormat, VerifyArgs};
use crate::output::Output;
use crate::questions::{self, VerifyQuestion};
use crate::run::Outcome;
use crate::target::Target;

/// Prints the document. Recovered is 0, partly or not 1, insufficient data 3.
pub(crate) async fn run(args: VerifyArgs, output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let question =
        VerifyQuestion { subject: args.subject, at: args.at.map(questions::time).transpose()? };
    let verification = Target::open(&args.source).await?.verify(question).await?;
    let page = match args.format {
        DocumentFormat::Text => render::verification_text(&verification),
        DocumentFormat::Json => format!("{}\n", serde_json::to_string_pretty(&verification)?),
        DocumentFormat::Markdown => render::verification_markdown(&verification),
    };
    output.out.write_all(page.as_bytes())?;
    Ok(match verification.outcome {
        Recovery::Recovered => Outcome::Done,
        Recovery::Partly | Recovery::Not => Outcome::Found,
        Recovery::Insufficient => Outcome::Inconclusive,
    })
}
