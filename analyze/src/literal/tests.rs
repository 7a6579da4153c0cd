use super::*;

#[test]
fn quotes_are_doubled_and_nothing_else_changes() {
    assert_eq!(text("plain"), "'plain'");
    assert_eq!(text("it's; DROP TABLE x; --"), "'it''s; DROP TABLE x; --'");
    assert_eq!(text(r"a\'b"), r"'a\''b'");
    assert_eq!(text("line\nnext\u{1b}[31m"), "'line\nnext\u{1b}[31m'");
    assert_eq!(identifier(r#"a"b"#), r#""a""b""#);
}

#[test]
fn instants_are_utc_and_hold_what_the_column_holds() {
    let check = |nanos, expected: &str| assert_eq!(timestamp(UnixNanos(nanos)), expected);
    check(0, "TIMESTAMP '1970-01-01T00:00:00Z'");
    check(1_767_323_045_000_006_789, "TIMESTAMP '2026-01-02T03:04:05.000006Z'");
    check(-1, "TIMESTAMP '1969-12-31T23:59:59.999999Z'");
    check(i64::MAX, "TIMESTAMP '2262-04-11T23:47:16.854775Z'");
}
