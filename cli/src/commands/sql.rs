//! `upriver sql`: one query, or queries from standard input.

mod statements;

use std::io::{self, BufRead, IsTerminal};

use crate::args::SqlArgs;
use crate::output::Output;
use crate::run::Outcome;
use crate::target::{self, Target};

use statements::Statements;

/// Runs the query that was typed, or every query that comes in.
pub(crate) async fn run(args: SqlArgs, output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let target = Target::open(&args.source).await?;
    if let Some(query) = &args.query {
        let rows = target.query(query).await?;
        target::write_rows(&rows, args.format, output)?;
        return Ok(Outcome::Done);
    }
    let prompt = io::stdin().is_terminal();
    if prompt {
        output.note("end a query with `;`, leave with Ctrl-D")?;
    }
    let mut statements = Statements::default();
    let mut input = io::stdin().lock();
    let mut line = String::new();
    while input.read_line(&mut line)? > 0 {
        for query in statements.push(&line) {
            answer(&target, &query, &args, output, prompt).await?;
        }
        line.clear();
    }
    if let Some(query) = statements.finish() {
        answer(&target, &query, &args, output, prompt).await?;
    }
    Ok(Outcome::Done)
}

/// At a prompt an error is shown and the next query may come; in a script it ends the run.
async fn answer(
    target: &Target,
    query: &str,
    args: &SqlArgs,
    output: &mut Output<'_>,
    prompt: bool,
) -> anyhow::Result<()> {
    match target.query(query).await {
        Ok(rows) => target::write_rows(&rows, args.format, output),
        Err(error) if prompt => Ok(crate::error::report(&error, output.err)?),
        Err(error) => Err(error),
    }
}
