//! Any bytes as OTLP JSON: what is taken must decode in its protobuf form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use upriver_ingest::otlp::{decode_metrics, decode_traces, json};
use upriver_ingest::{DecodeError, DecodeErrorKind, Decoded};

fuzz_target!(|body: &[u8]| {
    if let Ok(protobuf) = json::traces_to_protobuf(body) {
        assert_taken(decode_traces(&protobuf));
    }
    if let Ok(protobuf) = json::metrics_to_protobuf(body) {
        assert_taken(decode_metrics(&protobuf));
    }
});

/// Rows, or rows beyond the limit.
fn assert_taken(result: Result<Decoded, DecodeError>) {
    if let Err(error) = result {
        assert_eq!(error.kind(), DecodeErrorKind::TooLarge, "{error}");
    }
}
