//! Decoders against data that was not written for them and any bytes, and a real server over real
//! connections.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod captured;
mod deploys;
mod edge_cases;
mod extremes;
mod harness;
mod otlp_profiles;
mod pprof;
mod properties;
mod server_access;
mod server_captured;
mod server_deploys;
mod server_edge_cases;
mod server_grpc;
mod server_guard;
mod server_http;
mod server_limits;
mod server_profiles;
mod support;
