//! Starts with more in the log than rows may take in memory.

use super::*;
use crate::faults::DiskRoom;

/// What the rows of a call take.
fn call_bytes() -> usize {
    let records = calls([1]);
    let batches = records.iter().zip(1..).map(|(record, sequence)| {
        HotBatch::new(sequence, record.received, decode_call(record).unwrap())
    });
    let mut probe = crate::hot_buffer::HotBuffer::default();
    batches.for_each(|batch| probe.push(batch));
    probe.bytes()
}

/// A log of forty calls, of which nothing is committed.
async fn logged(data: &Path) -> Vec<LogRecord> {
    let records = calls(1..=40);
    let store = open(data).await;
    append_all(&store, &records).await;
    assert_eq!(store.statistics().committed.commits, 0);
    records
}

#[tokio::test]
async fn a_long_log_is_committed_while_it_is_read() {
    let data = tempfile::tempdir().unwrap();
    let records = logged(data.path()).await;
    let limit = call_bytes() * 6;
    let small = StoreOptions { hot_bytes_max: limit, ..options(data.path()) };
    let store = Store::open(small.clone(), decode()).await.unwrap();
    let statistics = store.statistics();
    assert!(statistics.committed.commits > 3, "{statistics:?}");
    assert!(0 < statistics.hot_bytes && statistics.hot_bytes <= limit, "{statistics:?}");
    check(&store, &records, "when replayed");
    let more = calls(41..=42);
    append_all(&store, &more).await;
    let all = [records, more].concat();
    check(&store, &all, "and more");
    drop(store);
    let store = Store::open(small, decode()).await.unwrap();
    check(&store, &all, "when replayed again");
    store.close().await.unwrap();
    assert_eq!(store.statistics().wal_bytes, 0);
    check(&store, &all, "when closed");
}

#[tokio::test]
async fn a_start_goes_on_where_a_commit_of_replayed_rows_fails() {
    let data = tempfile::tempdir().unwrap();
    let records = logged(data.path()).await;
    let room = DiskRoom::of(0);
    let mut small = StoreOptions { hot_bytes_max: call_bytes() * 6, ..options(data.path()) };
    small.faults.table_room = room.clone();
    let store = Store::open(small, decode()).await.unwrap();
    assert_eq!(store.statistics().committed.commits, 0);
    check(&store, &records, "in memory");
    room.set(i64::MAX);
    store.flush().await.unwrap();
    check(&store, &records, "once there is room");
}
