//! Any bytes as an `ExportProfilesServiceRequest`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use upriver_store::time::UnixNanos;

fuzz_target!(|body: &[u8]| {
    let received = UnixNanos(1_795_226_603_510_000_123);
    if let Ok(decoded) = upriver_ingest::otlp::decode_profiles(body, received) {
        assert!(decoded.rejected_profiles == 0 || decoded.message.is_some());
        assert!(decoded.accepted == 0 || !decoded.batches.is_empty());
        assert!(decoded.rejected == 0 || decoded.rejected_profiles > 0);
    }
});
