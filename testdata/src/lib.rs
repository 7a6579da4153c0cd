//! Seeded scenarios: telemetry of incidents whose figures are known, because they were put there.
//!
//! Nothing here shares code or constants with what diagnoses it, so a test that compares the two
//! compares two independent things.

mod case_folder;
pub mod incidents;
pub mod load;
mod pprof;
pub mod scenario;
