//! See `upriver_ingest_fuzz::pprof_multipart`.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    upriver_ingest_fuzz::pprof_multipart(body);
});
