//! Any bytes as an `ExportLogsServiceRequest`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use upriver_store::time::UnixNanos;

fuzz_target!(|body: &[u8]| {
    let received = UnixNanos(1_795_226_603_510_000_123);
    if let Ok(decoded) = upriver_ingest::otlp::decode_logs(body, received) {
        let rows: usize = decoded.batches.iter().map(|batch| batch.rows.num_rows()).sum();
        assert_eq!((decoded.accepted, decoded.rejected), (rows as u64, 0));
    }
});
