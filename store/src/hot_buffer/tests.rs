use super::*;

fn batch(sequence: u64, received: i64) -> HotBatch {
    HotBatch::new(sequence, UnixNanos(received), Vec::new())
}

fn buffer(arrivals: &[i64]) -> HotBuffer {
    let mut buffer = HotBuffer::default();
    for (received, sequence) in arrivals.iter().zip(1..) {
        buffer.push(batch(sequence, *received));
    }
    buffer
}

#[test]
fn settled_is_a_prefix() {
    let check = |arrivals: &[i64], now: i64, expect: Option<u64>| {
        let settle = Duration::from_nanos(10);
        assert_eq!(
            buffer(arrivals).settled(UnixNanos(now), settle),
            expect,
            "{arrivals:?} at {now}"
        );
    };
    check(&[], 100, None);
    check(&[95], 100, None);
    check(&[90], 100, Some(1));
    check(&[80, 85, 95], 100, Some(2));
    // An old batch behind a young one waits with it: sequences are passed in order.
    check(&[80, 95, 70], 100, Some(1));
    // From the future: the clock was set back.
    check(&[80, 500, 85, 99], 100, Some(3));
}

#[test]
fn what_goes_early_is_the_oldest() {
    let rows = crate::testing::spans(&[crate::testing::Span::new(1, 1, 1)]);
    let rows = || vec![TableBatch::new(crate::schema::Table::Spans, rows.clone())];
    let mut buffer = HotBuffer::default();
    assert_eq!(buffer.leaving(0), None);
    for sequence in 1..=4 {
        buffer.push(HotBatch::new(sequence, UnixNanos(1), rows()));
    }
    let one = buffer.bytes() / 4;
    assert_eq!(buffer.leaving(4 * one), None);
    assert_eq!(buffer.leaving(4 * one - 1), Some(1));
    assert_eq!(buffer.leaving(2 * one), Some(2));
    assert_eq!(buffer.leaving(0), Some(4));
}

#[test]
fn removing_keeps_what_is_newer() {
    let mut buffer = buffer(&[1, 2, 3]);
    buffer.remove_up_to(2);
    assert_eq!(buffer.batches().iter().map(|b| b.sequence).collect::<Vec<_>>(), [3]);
    assert_eq!(buffer.newest(), Some(3));
    buffer.remove_up_to(9);
    assert_eq!((buffer.newest(), buffer.bytes(), buffer.rows()), (None, 0, 0));
}
