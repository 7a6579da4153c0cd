//! Any bytes as a webhook of GitLab. What is read can be stored.
#![no_main]

use libfuzzer_sys::fuzz_target;
use upriver_ingest::deploys::{self, Hints, Translated, gitlab};
use upriver_store::time::UnixNanos;

const RECEIVED: UnixNanos = UnixNanos(1_795_226_603_510_000_123);

fuzz_target!(|body: &[u8]| {
    if let Ok(translated) = gitlab::translate(body, &Hints::default(), RECEIVED) {
        assert_stored(&translated);
    }
});

fn assert_stored(translated: &Translated) {
    if translated.changes > 0 {
        let decoded = deploys::decode(&translated.body, RECEIVED).expect("the plain form is read");
        assert_eq!(decoded.accepted, translated.changes as u64);
    }
}
