//! Packing: members of gzip, its defects, limits.

use bytes::Bytes;
use prost::Message;

use super::{ENTRIES_MAX, read};
use crate::DecodeErrorKind;
use crate::pprof::tests::{Build, gzip};

fn profile() -> Vec<u8> {
    let mut build = Build::new(&[("samples", "count")]);
    let place = build.location(&["f"]);
    build.sample(&[place], &[1]);
    build.profile.encode_to_vec()
}

fn check_refused(body: Vec<u8>, bytes_max: usize, kind: DecodeErrorKind, expected: &str) {
    let error = read(&Bytes::from(body), bytes_max).unwrap_err();
    assert!(error.to_string().contains(expected), "`{error}` has no `{expected}`");
    assert_eq!(error.kind(), kind);
}

#[test]
fn raw_gzip_and_gzip_in_members_are_one_profile() {
    let raw = profile();
    let (first, second) = raw.split_at(raw.len() / 2);
    let members = [gzip(first), gzip(b""), gzip(second)].concat();
    for body in [raw.clone(), gzip(&raw), members] {
        let (unpacked, profile) = read(&Bytes::from(body), raw.len()).unwrap();
        assert_eq!(unpacked, raw);
        assert_eq!(profile.sample.len(), 1);
    }
}

#[test]
fn the_limit_counts_what_was_unpacked() {
    let raw = profile();
    let over = raw.len() - 1;
    check_refused(raw.clone(), over, DecodeErrorKind::TooLarge, "unpacks to more than");
    check_refused(gzip(&raw), over, DecodeErrorKind::TooLarge, "unpacks to more than");
    let bomb = gzip(&vec![0; 10 << 20]);
    assert!(bomb.len() < 200_000, "{}", bomb.len());
    check_refused(bomb, 1 << 20, DecodeErrorKind::TooLarge, "more than 1048576 bytes");
}

#[test]
fn many_empty_entries_are_refused_before_room_is_made() {
    let mut body = Vec::from([0x0a, 0x00]);
    body.extend([0x12, 0x00].repeat(ENTRIES_MAX));
    check_refused(body, usize::MAX, DecodeErrorKind::TooLarge, "entries, at most");
    let labels = [0x1a, 0x00].repeat(ENTRIES_MAX);
    let mut body = vec![0x12];
    prost::encoding::encode_varint(labels.len() as u64, &mut body);
    body.extend(labels);
    check_refused(body, usize::MAX, DecodeErrorKind::TooLarge, "entries, at most");
}

#[test]
fn defects_are_named() {
    let invalid = DecodeErrorKind::InvalidArgument;
    let whole = gzip(&profile());
    for length in [2, 5, 10, whole.len() / 2, whole.len() - 1] {
        check_refused(whole[..length].to_vec(), 1 << 20, invalid, "truncated");
    }
    let mut checksum = whole.clone();
    checksum[whole.len() - 6] ^= 1;
    check_refused(checksum, 1 << 20, invalid, "damaged");
    let junk = [whole.clone(), b"junk".to_vec()].concat();
    check_refused(junk, 1 << 20, invalid, "4 bytes that are not gzip follow");
    check_refused(Vec::new(), 1 << 20, invalid, "is empty");
    check_refused(gzip(b""), 1 << 20, invalid, "is empty");
    let twice = gzip(&whole);
    check_refused(twice, 1 << 20, DecodeErrorKind::Unsupported, "gzip inside gzip");
    let raw = profile();
    check_refused(raw[..raw.len() - 1].to_vec(), 1 << 20, invalid, "cut short");
}

#[test]
fn other_messages_and_texts_are_refused() {
    let text = b"main;work 12\nmain;idle 3\n".to_vec();
    check_refused(text, 1 << 20, DecodeErrorKind::InvalidArgument, "it is a text");
    check_refused(vec![0xff; 64], 1 << 20, DecodeErrorKind::InvalidArgument, "profile.proto");
}
