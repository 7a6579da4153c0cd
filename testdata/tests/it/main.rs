//! Tests over the whole repository and over the generated scenarios.
//!
//! Scenarios are held to their figures on the data that they generate and by exact computation:
//! percentiles by sorting, shares by counting, nothing by the code that diagnoses.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod case;
mod house;
mod incidents;
mod observed;
mod population;
mod pprof;
mod structure;
mod variants;
