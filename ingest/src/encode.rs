//! Rows back into what they could have been decoded from: OTLP JSON lines, pprof profiles, deploy
//! events. The mirror of the decoders; what it writes, `upriver import` takes.
//!
//! | module | writes |
//! |---|---|
//! | `spans` | spans with their events |
//! | `points`, `summaries` | data points of `metrics` and `metric_histograms` |
//! | `logs` | log records |
//! | `deploys` | deploy events |
//! | `profiles`, `stacks` | pprof, and the line of `profiles.jsonl` beside it |
//! | `table`, `rows`, `attributes`, `lines` | what all of them share |
//!
//! What no column keeps does not come back (`docs/export.md` lists it). The same rows in the same
//! order give the same bytes.

mod attributes;
mod deploys;
mod lines;
mod logs;
mod points;
mod profiles;
mod rows;
mod spans;
mod stacks;
mod summaries;
mod table;
#[cfg(test)]
mod tests;

use arrow::error::ArrowError;

pub use self::deploys::deploys;
pub use self::lines::Encoded;
pub use self::logs::logs;
pub use self::points::{histograms, metrics};
pub use self::profiles::{ProfileFile, profiles};
pub use self::spans::spans;
pub(crate) use self::stacks::SAMPLE_TIME;
pub use self::table::of_table;

/// Rows that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The rows are not of the table.
    #[error("the rows are not of the table {table}")]
    Columns {
        /// The table's name.
        table: &'static str,
        /// What differs.
        source: ArrowError,
    },
    /// The profile could not be compressed.
    #[error("a profile could not be compressed")]
    Compress(#[from] std::io::Error),
}
