//! See `upriver_ingest_fuzz::deploys_cdevents`.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    upriver_ingest_fuzz::deploys_cdevents(body);
});
