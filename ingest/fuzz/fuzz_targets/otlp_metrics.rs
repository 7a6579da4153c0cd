//! Any bytes as an `ExportMetricsServiceRequest`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    if let Ok(decoded) = upriver_ingest::otlp::decode_metrics(body) {
        assert_eq!(decoded.rejected > 0, decoded.message.is_some());
        assert_eq!(decoded.accepted == 0, decoded.batches.is_empty());
    }
});
