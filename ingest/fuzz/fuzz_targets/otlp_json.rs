//! Any bytes as OTLP JSON: what is taken must decode in its protobuf form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use upriver_ingest::otlp::{decode_logs, decode_metrics, decode_profiles, decode_traces, json};
use upriver_ingest::{DecodeError, DecodeErrorKind, Decoded};
use upriver_store::time::UnixNanos;

const RECEIVED: UnixNanos = UnixNanos(1_795_226_603_510_000_123);

fuzz_target!(|body: &[u8]| {
    if let Ok(protobuf) = json::traces_to_protobuf(body) {
        assert_taken(decode_traces(&protobuf));
    }
    if let Ok(protobuf) = json::metrics_to_protobuf(body) {
        assert_taken(decode_metrics(&protobuf));
    }
    if let Ok(protobuf) = json::logs_to_protobuf(body) {
        assert_taken(decode_logs(&protobuf, RECEIVED));
    }
    if let Ok(protobuf) = json::profiles_to_protobuf(body) {
        // A dictionary can be valid JSON and no dictionary, so a refusal is an answer too.
        drop(decode_profiles(&protobuf, RECEIVED));
    }
});

/// Rows, or rows beyond the limit.
fn assert_taken(result: Result<Decoded, DecodeError>) {
    if let Err(error) = result {
        assert_eq!(error.kind(), DecodeErrorKind::TooLarge, "{error}");
    }
}
