//! Queries over snapshots: the SQL surface, the gate, the doors, and that rows are the same wherever
//! they lie.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod docs;
mod fixtures;
mod gate;
mod http;
mod layout;
mod limits;
mod minutes;
mod profiles;
mod rows;
mod scans;
mod shop;
mod sizes;
mod slt;
mod store;
mod versions;
