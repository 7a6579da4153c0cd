//! See `upriver_ingest_fuzz::pprof_upload`.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    upriver_ingest_fuzz::pprof_upload(body);
});
