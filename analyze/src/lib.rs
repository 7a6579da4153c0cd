//! The one place that builds a query session: tables, views, functions, and the read-only gate in
//! front of them.
//!
//! | module | is |
//! |---|---|
//! | [`session`] | a session over one snapshot: what may be read, how long, how much |
//! | `gate` | one statement, reading only: every door goes through it |
//! | `table` | a table of the store as a scan of Parquet files and rows in memory |
//! | `selectivity` | how many rows a condition leaves over, which the planner goes by |
//! | `table_functions`, `views`, `functions` | SQL over the tables under a name, one file each |
//! | [`http`], [`format`](mod@format) | `/api/v1/query`, and results as JSON, CSV, Arrow, Parquet or a text table |
//! | [`literal`] | the one escaping function for SQL |
//!
//! Architecture invariant: nothing here writes a table, and no SQL reaches a file outside of the
//! store's folders.

mod attribute_columns;
pub mod error;
pub mod format;
mod functions;
mod gate;
mod hex;
pub mod http;
pub mod literal;
mod merged_quantiles;
mod plan_expressions;
mod rows_read;
mod selectivity;
pub mod session;
mod table;
mod table_functions;
mod template;
mod trace_ids;
mod views;

pub use arrow::array::RecordBatch;
pub use error::QueryError;
pub use session::{QueryRuntime, Session, SessionOptions, Work};
pub use upriver_store::histogram;
pub use upriver_store::ids::content_id;
pub use upriver_store::time::UnixNanos;
