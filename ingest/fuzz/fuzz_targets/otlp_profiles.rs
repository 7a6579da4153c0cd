//! See `upriver_ingest_fuzz::otlp_profiles`.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    upriver_ingest_fuzz::otlp_profiles(body);
});
