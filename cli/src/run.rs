//! Runs one command and turns its outcome into an exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command, DeployCommand, KeyCommand, StorageCommand};
use crate::commands::{
    demo, deploy, diagnose, export, import, key, rules, serve, sql, storage, verify,
};
use crate::error;
use crate::output::{self, Output};

/// How a command ended, as DESIGN's exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Healthy, passed or done.
    Done,
    /// Something was found, or did not pass.
    Found,
    /// Not enough data, or inconclusive.
    Inconclusive,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Done => 0,
            Outcome::Found => 1,
            Outcome::Inconclusive => 3,
        })
    }
}

/// Usage and internal errors.
const EXIT_ERROR: u8 = 2;

/// Parses the process's arguments and runs.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let result = run(cli, &mut Output { out: &mut out, err: &mut err });
    match result {
        Ok(outcome) => outcome.into(),
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let reported = error::report(&error, &mut err).and_then(|()| err.flush());
            reported.map_or(ExitCode::FAILURE, |()| ExitCode::from(EXIT_ERROR))
        }
    }
}

fn run(cli: Cli, output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => serve::run(args, output).await,
            Command::Demo(args) => demo::run(args, output).await,
            Command::Diagnose(args) => diagnose::run(args, output).await,
            Command::Verify(args) => verify::run(args, output).await,
            Command::Sql(args) => sql::run(args, output).await,
            Command::Import(args) => import::run(args, output).await,
            Command::Export(args) => export::run(args, output).await,
            Command::Deploy(DeployCommand::List(args)) => deploy::list(args, output).await,
            Command::Deploy(DeployCommand::Record(args)) => deploy::record(args, output).await,
            Command::Deploy(DeployCommand::Audit(args)) => deploy::audit(args, output).await,
            Command::Storage(StorageCommand::Status(args)) => storage::status(args, output).await,
            Command::Storage(StorageCommand::Compact(args)) => storage::compact(args, output).await,
            Command::Storage(StorageCommand::Repair(args)) => storage::repair(args, output).await,
            Command::Storage(StorageCommand::Verify(args)) => storage::verify(args, output).await,
            Command::Key(KeyCommand::Create(args)) => key::create(&args, output),
            Command::Rules(command) => rules::run(command, output).await,
        }
    })
}
