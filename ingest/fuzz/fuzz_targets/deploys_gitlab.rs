//! See `upriver_ingest_fuzz::deploys_gitlab`.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    upriver_ingest_fuzz::deploys_gitlab(body);
});
