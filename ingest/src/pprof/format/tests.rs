//! One beginning of each format.

use super::refuse_other_formats;
use crate::DecodeErrorKind;

#[test]
fn formats_are_named() {
    let cases: &[(&[u8], &str)] = &[
        (b"FLR\0\0\x02", "JFR"),
        (b"PERFILE2", "perf.data"),
        (b"go 1.22 trace\0\0\0\x01", "Go execution trace"),
        (b"heap profile: 13: 1595680 [4: 25] @ heap/1048576\n1: 2", "Go heap profiles (debug=1)"),
        (b"heap profile: 144: 84 [ 144: 84] @ heapz_v2/524288\n", "heapz_v2"),
        (b"heap profile: 144: 84 [ 144: 84] @ heap_v2/524288\n", "heap_v2"),
        (b"heap profile: 85: 17 [ 85: 17] @ growthz\n", "growthz"),
        (b"heap profile: 85", "the text format of heap profiles"),
        (b"--- contentionz 1 ---\n", "contention"),
        (b"--- contention:\ncycles/second=1\n", "contention"),
        (b"--- mutex:\ncycles/second=1\n", "mutex"),
        (b"--- threadz 1 ---\n", "threadz"),
        (b"--- heapz 1 ---\n", "heapz"),
        (b"goroutine profile: total 7\n", "debug=1"),
        (b"goroutine 1 [running]:\nmain.main()", "debug=2"),
        (b"threadcreate profile: total 7\n", "threadcreate"),
        (b"{\"nodes\":[]}", "JSON"),
        (b"<html>", "HTML"),
        (b"\x28\xb5\x2f\xfd\0\0", "zstd"),
        (b"PK\x03\x04rest", "zip"),
    ];
    for (raw, expected) in cases {
        let error = refuse_other_formats(raw).unwrap_err();
        assert!(error.to_string().contains(expected), "`{error}` has no `{expected}`");
        assert_eq!(error.kind(), DecodeErrorKind::Unsupported);
        assert!(error.to_string().contains("send"), "`{error}` says what to send instead");
    }
}

#[test]
fn gperftools_headers_of_both_sizes_and_orders_are_known() {
    let header = [0_u64, 3, 0, 10_000, 0];
    let little: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    let big: Vec<u8> = header.iter().flat_map(|word| word.to_be_bytes()).collect();
    let java = [0_u32, 3, 1, 10_000, 0];
    let small: Vec<u8> = java.iter().flat_map(|word| word.to_le_bytes()).collect();
    let small_big: Vec<u8> = java.iter().flat_map(|word| word.to_be_bytes()).collect();
    for raw in [little, big, small, small_big] {
        let error = refuse_other_formats(&raw).unwrap_err();
        assert!(error.to_string().contains("gperftools"), "{error}");
    }
}

#[test]
fn nothing_is_refused_by_chance() {
    assert!(refuse_other_formats(b"\x0a\x04\x08\x01\x10\x02").is_ok());
    assert!(refuse_other_formats(&[0; 64]).is_ok(), "zeros have no period");
}
