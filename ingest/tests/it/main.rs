//! Decoders against data that was not written for them and any bytes, and a real server over real
//! connections.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod captured;
mod deploys;
mod edge_cases;
#[cfg(feature = "server")]
mod extremes;
mod fuzz;
#[cfg(feature = "server")]
mod harness;
mod otlp_profiles;
mod pprof;
mod properties;
#[cfg(feature = "server")]
mod server_access;
#[cfg(feature = "server")]
mod server_captured;
#[cfg(feature = "server")]
mod server_deploys;
#[cfg(feature = "server")]
mod server_edge_cases;
#[cfg(feature = "server")]
mod server_grpc;
#[cfg(feature = "server")]
mod server_guard;
#[cfg(feature = "server")]
mod server_http;
#[cfg(feature = "server")]
mod server_limits;
#[cfg(feature = "server")]
mod server_profiles;
mod split;
mod support;
