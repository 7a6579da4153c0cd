//! The `upriver` binary from outside: exit codes, streams, signals.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod audit;
mod binary;
mod bucket;
mod crash;
mod export;
mod golden;
mod import;
mod incident;
mod layouts;
mod overload;
mod sender;
mod serve;
mod server;
