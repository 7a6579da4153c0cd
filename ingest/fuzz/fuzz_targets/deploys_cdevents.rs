//! Any bytes as CDEvents, bare, in CloudEvents, or in binary mode. What is read can be stored.
#![no_main]

use libfuzzer_sys::fuzz_target;
use upriver_ingest::deploys::cdevents::{self, Envelope};
use upriver_ingest::deploys::{self, Translated};
use upriver_store::time::UnixNanos;

const RECEIVED: UnixNanos = UnixNanos(1_795_226_603_510_000_123);

fuzz_target!(|body: &[u8]| {
    for envelope in
        [Envelope::Body, Envelope::Binary { event_type: "dev.cdevents.service.deployed.0.3.0" }]
    {
        if let Ok(translated) = cdevents::translate(body, envelope, RECEIVED) {
            assert_stored(&translated);
        }
    }
});

fn assert_stored(translated: &Translated) {
    if translated.changes > 0 {
        let decoded = deploys::decode(&translated.body, RECEIVED).expect("the plain form is read");
        assert_eq!(decoded.accepted, translated.changes as u64);
    }
}
