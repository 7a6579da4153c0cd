use super::*;

const SECOND: i64 = NANOS_PER_SECOND;

#[test]
fn only_whole_minutes_of_a_window_count() {
    let check = |start: i64, end: i64, expected: (i64, i64)| {
        let window = Window { start: UnixNanos(start * SECOND), end: UnixNanos(end * SECOND) };
        let minutes = window.whole_minutes();
        assert_eq!((minutes.start.0 / SECOND, minutes.end.0 / SECOND), expected);
    };
    check(0, 120, (0, 120));
    check(1, 120, (60, 120));
    check(59, 179, (60, 120));
    check(61, 119, (120, 60));
    check(-61, 0, (-60, 0));
}

#[test]
fn instants_are_timestamps_or_rfc_3339() {
    let arguments = Arguments::new("f(start timestamp)", &[]);
    let check = |value: ScalarValue, expected: Option<i64>| {
        let got = arguments.instant(&Expr::Literal(value, None));
        assert_eq!(got.as_ref().ok().map(|t| t.0), expected, "{got:?}");
    };
    check(ScalarValue::TimestampNanosecond(Some(7), None), Some(7));
    check(ScalarValue::TimestampMicrosecond(Some(7), Some("UTC".into())), Some(7_000));
    check(ScalarValue::TimestampSecond(Some(i64::MAX), None), None);
    check(ScalarValue::Date32(Some(1)), Some(NANOS_PER_DAY));
    check("1970-01-01T00:00:01Z".into(), Some(SECOND));
    check("1970-01-01T01:00:01+01:00".into(), Some(SECOND));
    check("1970-01-01".into(), None);
    check("yesterday".into(), None);
    check(ScalarValue::Int64(Some(1)), None);
    check(ScalarValue::TimestampNanosecond(None, None), None);
}
