//! The `upriver` binary: parses the command line, runs one command, turns the outcome into an exit code.
//!
//! Exit codes: 0 healthy, passed or done; 1 found or failed; 2 usage or internal error;
//! 3 inconclusive or not enough data.

mod api;
mod args;
mod bundle;
mod commands;
mod config;
mod environment;
mod error;
mod output;
mod player;
mod questions;
mod records;
mod run;
mod target;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    run::main()
}
