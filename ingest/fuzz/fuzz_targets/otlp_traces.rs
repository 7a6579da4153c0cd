//! Any bytes as an `ExportTraceServiceRequest`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    if let Ok(decoded) = upriver_ingest::otlp::decode_traces(body) {
        let spans = upriver_store::schema::Table::Spans;
        let rows = decoded.batches.iter().find(|batch| batch.table == spans);
        assert_eq!(decoded.accepted, rows.map_or(0, |batch| batch.rows.num_rows() as u64));
        assert_eq!(decoded.rejected > 0, decoded.message.is_some());
    }
});
