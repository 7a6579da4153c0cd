//! Upriver's tables: what they hold, how rows become durable, and how they are found again.
//!
//! | module | is |
//! |---|---|
//! | [`schema`] | every table and column; `docs/tables.md` is generated from it |
//! | [`histogram`] | the one mergeable form of durations and sizes |
//! | [`batch`], [`text_column`], [`sparse`], [`record`] | rows on their way into a table, and the logged request they come from |
//! | [`trace_index`], [`rollup`] | parents and self times of spans; minutes of operations and edges |
//! | `store`, `reader` | the one writer of a data folder, and readers beside it (feature `delta`) |
//! | `snapshot` | what a query sees: committed files and hot rows (feature `delta`) |
//! | `place` | where tables lie: a folder or a bucket (feature `delta`) |
//! | `verify` | whether files, statistics and rollups are what they should be (feature `delta`) |
//! | `delta`, `compact`, `maintenance` | committed tables and their upkeep (feature `delta`) |
//! | `trace_pages` | in which rows of a row group a trace can be (feature `delta`) |
//! | `table_file` | rows of a table in a file of their own, for exports (feature `delta`) |
//! | `repair` | traces that came apart are put together (feature `delta`) |
//! | `faults` | what tests let go wrong (feature `delta`) |
//! | [`ids`], [`time`] | content hashes and instants |
//!
//! Architecture invariant: this crate knows no protobuf and no SQL. What is logged is bytes; a
//! function that the binary passes in turns them into rows, on arrival and on replay alike.

pub mod batch;
#[cfg(feature = "delta")]
mod blocking;
#[cfg(feature = "delta")]
pub mod compact;
#[cfg(feature = "delta")]
pub mod delta;
#[cfg(feature = "delta")]
pub mod error;
#[cfg(feature = "delta")]
pub mod faults;
#[cfg(feature = "delta")]
mod folder;
pub mod histogram;
#[cfg(feature = "delta")]
mod hot_buffer;
pub mod ids;
#[cfg(feature = "delta")]
pub mod maintenance;
#[cfg(feature = "delta")]
mod parquet_writer;
#[cfg(feature = "delta")]
pub mod place;
#[cfg(feature = "delta")]
pub mod reader;
pub mod record;
#[cfg(feature = "delta")]
pub mod repair;
pub mod rollup;
pub mod schema;
#[cfg(feature = "delta")]
pub mod snapshot;
pub mod sparse;
#[cfg(feature = "delta")]
pub mod store;
#[cfg(feature = "delta")]
pub mod table_file;
#[cfg(test)]
mod testing;
pub mod text_column;
pub mod time;
pub mod trace_index;
#[cfg(feature = "delta")]
pub mod trace_pages;
#[cfg(feature = "delta")]
pub mod verify;
#[cfg(feature = "delta")]
mod wal;

#[cfg(feature = "delta")]
pub use error::StoreError;
#[cfg(feature = "delta")]
pub use folder::tenant_problem;
#[cfg(feature = "delta")]
pub use reader::Reader;
#[cfg(feature = "delta")]
pub use store::{Durability, Store, StoreOptions};
