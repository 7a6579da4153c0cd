use std::io::Write as _;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::server::admission::{Admission, Limits};

fn charge() -> Charge {
    Admission::new(&Limits::default(), Arc::default()).enter().unwrap()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zstd(body: &[u8]) -> Vec<u8> {
    zstd::encode_all(body, 3).unwrap()
}

/// Inflates a body that comes in pieces of this size.
fn inflate(encoding: Encoding, body: &[u8], piece: usize) -> Result<Vec<u8>, Refusal> {
    let mut inflater = Inflater::new(encoding, 1 << 20, charge())?;
    for piece in body.chunks(piece) {
        inflater.write(piece)?;
    }
    inflater.finish().map(|(bytes, _)| bytes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_body_comes_out_as_it_went_in(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 1..4),
        piece in 1_usize..500,
    ) {
        let whole = bodies.concat();
        let gzip: Vec<u8> = bodies.iter().flat_map(|body| gzip(body)).collect();
        let zstd: Vec<u8> = bodies.iter().flat_map(|body| zstd(body)).collect();
        prop_assert_eq!(inflate(Encoding::Gzip, &gzip, piece).unwrap(), whole.clone());
        prop_assert_eq!(inflate(Encoding::Zstd, &zstd, piece).unwrap(), whole.clone());
        prop_assert_eq!(inflate(Encoding::Identity, &whole, piece).unwrap(), whole);
    }

    #[test]
    fn any_bytes_give_a_body_or_a_refusal(body in prop::collection::vec(any::<u8>(), 1..300)) {
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            if let Err(refusal) = inflate(encoding, &body, 7) {
                prop_assert_eq!(refusal.class, Class::Invalid);
            }
        }
    }
}

#[test]
fn a_body_that_is_cut_anywhere_is_refused() {
    for (encoding, whole) in [(Encoding::Gzip, gzip(b"hello")), (Encoding::Zstd, zstd(b"hello"))] {
        for end in 1..whole.len() {
            let refusal = inflate(encoding, &whole[..end], 3).unwrap_err();
            assert_eq!(refusal.class, Class::Invalid, "{encoding:?} {end}: {refusal:?}");
        }
    }
}

#[test]
fn a_changed_checksum_is_refused() {
    let mut body = gzip(b"hello");
    let last = body.len() - 5;
    body[last] ^= 1;
    assert_eq!(inflate(Encoding::Gzip, &body, 100).unwrap_err().class, Class::Invalid);
}

#[test]
fn memory_is_charged_before_it_is_taken_and_never_beyond_the_limit() {
    const LIMIT: usize = 100_000;
    for (encoding, body) in
        [(Encoding::Gzip, gzip(&vec![0; 10 << 20])), (Encoding::Zstd, zstd(&vec![0; 10 << 20]))]
    {
        let admission = Admission::new(&Limits::default(), Arc::default());
        let mut inflater = Inflater::new(encoding, LIMIT, admission.enter().unwrap()).unwrap();
        let refusal = inflater.write(&body).unwrap_err();
        assert_eq!(refusal.class, Class::TooLarge);
        assert!(admission.in_flight().1 <= LIMIT, "{encoding:?}: {:?}", admission.in_flight());
        drop(inflater);
        assert_eq!(admission.in_flight(), (0, 0));
    }
}
