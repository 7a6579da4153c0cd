//! What the tables say: rules, findings, the diagnosis of a latency regression, and its
//! verification after a rollback.
//!
//! | module | is |
//! |---|---|
//! | [`diagnosis`] | `diagnose`: from a symptom to a verdict, one file per step; the document |
//! | [`mod@audit`] | whether a change made its service or those that call it worse |
//! | [`mod@verify`] | whether a rollback brought every named signal back |
//! | [`render`] | the documents as text for a terminal and as Markdown |
//! | [`rule_file`], [`engine`], [`library`] | rules with SQL in YAML, their evaluation, the built-in ones |
//! | [`escape`] | the one escaping function for each of terminal, Markdown and shell |
//!
//! Architecture invariant: nothing here writes, prints or reads a clock. Data comes through
//! `upriver_analyze::Session` alone, time is a parameter, and the same snapshot at the same instant
//! gives the same bytes.

pub mod audit;
pub mod diagnosis;
pub mod engine;
pub mod error;
pub mod escape;
mod figures;
pub mod library;
pub mod render;
mod rows;
pub mod rule_file;
mod spelling;
mod statistics;
pub mod time;
pub mod verify;

pub use audit::{Audit, AuditRequest, audit};
pub use diagnosis::document::Diagnosis;
pub use diagnosis::{DiagnoseRequest, Reads, diagnose};
pub use error::RulesError;
pub use verify::{Verification, VerifyRequest, VerifyTarget, verify};
