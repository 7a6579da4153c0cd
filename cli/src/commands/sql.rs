//! `upriver sql`: one query, or queries from standard input.

use std::io::{self, BufRead, IsTerminal};

use crate::args::SqlArgs;
use crate::output::Output;
use crate::run::Outcome;
use crate::target::{self, Target};

/// Runs the query that was typed, or every query that comes in.
pub(crate) async fn run(args: SqlArgs, output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let target = Target::open(&args.source).await?;
    if let Some(query) = &args.query {
        let rows = target.query(query).await?;
        target::write_rows(&rows, args.format, output)?;
        return Ok(Outcome::Done);
    }
    let prompt = io::stdin().is_terminal();
    let mut statement = String::new();
    if prompt {
        output.note("end a query with `;`, leave with Ctrl-D")?;
    }
    for line in io::stdin().lock().lines() {
        statement.push_str(&line?);
        statement.push('\n');
        if statement.trim_end().ends_with(';') {
            let query = std::mem::take(&mut statement);
            answer(&target, &query, &args, output, prompt).await?;
        }
    }
    if !statement.trim().is_empty() {
        answer(&target, &statement, &args, output, prompt).await?;
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
