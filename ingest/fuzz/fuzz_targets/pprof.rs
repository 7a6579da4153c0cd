//! Any bytes as a pprof body, and as a logged profile.
#![no_main]

use libfuzzer_sys::fuzz_target;
use upriver_ingest::pprof::{PprofUpload, decode_within};
use upriver_ingest::record_kind;
use upriver_store::record::LogRecord;
use upriver_store::time::UnixNanos;

const UNPACKED_BYTES_MAX: usize = 1 << 20;

fuzz_target!(|body: &[u8]| {
    let received = UnixNanos(1_700_000_000_000_000_000);
    let sent = PprofUpload::new("fuzz").into_record(body.to_vec().into(), received);
    let logged = LogRecord { kind: record_kind::PPROF, received, payload: body.to_vec().into() };
    for record in [sent, logged] {
        if let Ok(decoded) = decode_within(&record, UNPACKED_BYTES_MAX) {
            assert!(!decoded.batches.is_empty());
            assert_eq!(decoded.rejected, 0);
        }
    }
});
