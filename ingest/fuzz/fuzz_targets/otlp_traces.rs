//! See `upriver_ingest_fuzz::otlp_traces`.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    upriver_ingest_fuzz::otlp_traces(body);
});
