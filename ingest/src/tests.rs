use upriver_store::schema::Table;
use upriver_store::time::UnixNanos;

use super::*;

fn record(kind: u8, payload: &'static [u8]) -> LogRecord {
    LogRecord { kind, received: UnixNanos(1_795_226_603_510_000_123), payload: payload.into() }
}

#[test]
fn replay_gives_the_rows_of_decode() {
    // `resource_logs { scope_logs { log_records {} } }`, and the same of profiles.
    const ONE_EMPTY: &[u8] = &[0x0a, 4, 0x12, 2, 0x12, 0];
    for (logged, table) in [
        (record(record_kind::DEPLOYS, br#"{"service": "cart"}"#), Table::Deploys),
        (record(record_kind::OTLP_LOGS, ONE_EMPTY), Table::Logs),
        (record(record_kind::OTLP_PROFILES, ONE_EMPTY), Table::Profiles),
    ] {
        let decoded = decode(&logged).unwrap();
        let replayed = replay()(&logged).unwrap();
        assert_eq!(decoded.batches.len(), 1);
        assert_eq!(replayed[0].table, table);
        assert_eq!(replayed[0].rows, decoded.batches[0].rows);
    }
}

#[test]
fn replay_says_why_a_record_cannot_be_read() {
    for (broken, expected) in [
        (record(record_kind::OTLP_TRACES, b"<"), "cannot read OTLP traces: "),
        (record(record_kind::OTLP_METRICS, b"<"), "cannot read OTLP metrics: "),
        (record(record_kind::OTLP_LOGS, b"<"), "cannot read OTLP logs: "),
        (record(record_kind::OTLP_PROFILES, b"<"), "cannot read OTLP profiles: "),
        (record(record_kind::DEPLOYS, b"<"), "cannot read deploys: "),
        (record(77, b""), "log record kind 77 is not supported: "),
    ] {
        let failure = replay()(&broken).unwrap_err();
        assert!(failure.0.starts_with(expected), "{failure}");
    }
}

#[test]
fn errors_have_a_class() {
    assert_eq!(DecodeError::invalid("x", "y").kind(), DecodeErrorKind::InvalidArgument);
    assert_eq!(DecodeError::too_large("x", "y").kind(), DecodeErrorKind::TooLarge);
    assert_eq!(DecodeError::unsupported("x", "y").kind(), DecodeErrorKind::Unsupported);
}
