//! The disk of the tables is full: the log has the rows, queries see them, senders are told to come back
//! once too much waits, and all of it heals by itself.

use super::*;
use crate::faults::DiskRoom;

/// A store whose tables may take as many bytes as the test says.
async fn limited(data: &Path, room: &DiskRoom) -> Store {
    let mut limited = options(data);
    limited.faults.table_room = room.clone();
    Store::open(limited, decode()).await.unwrap()
}

/// Files of rows on the disk, whoever refers to them.
fn files_on_disk(folder: &Path) -> usize {
    let mut found = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_rows = path.extension().is_some_and(|extension| extension == "parquet");
        found += if path.is_dir() { files_on_disk(&path) } else { usize::from(is_rows) };
    }
    found
}

fn files_of_tables(store: &Store) -> usize {
    let files = store.statistics().files;
    files.values().map(|(files, _)| usize::try_from(*files).unwrap()).sum()
}

#[tokio::test]
async fn a_commit_to_a_full_disk_loses_nothing_and_is_done_once_there_is_room() {
    let data = tempfile::tempdir().unwrap();
    let room = DiskRoom::of(i64::MAX);
    let store = limited(data.path(), &room).await;
    let mut records = calls(1..=2);
    append_all(&store, &records).await;
    store.flush().await.unwrap();
    let tables = data.path().join("default");
    // Cut off in the first file, in the entry of a log, in a later table, and almost at the end.
    let mut failures = 0;
    for (call, bytes) in (3..).zip([0, 100, 5_000, 15_000, 20_000, 25_000, 40_000, 60_000]) {
        let more = calls([call]);
        append_all(&store, &more).await;
        records.extend(more);
        room.set(bytes);
        let committed = store.flush().await;
        failures += u64::from(committed.is_err());
        check(&store, &records, &format!("with room for {bytes} bytes"));
        room.set(0);
        if store.flush().await.is_err() {
            failures += 1;
            let left = files_on_disk(&tables);
            assert_eq!(left, files_of_tables(&store), "what was cut off at {bytes} does not stay");
        }
        check(&store, &records, &format!("tried again after {bytes} bytes"));
    }
    assert!(failures >= 8, "{failures} commits failed");
    assert_eq!(store.statistics().committed.failures, failures);
    let reader = Reader::open(options(data.path()), decode()).await.unwrap();
    check(&reader, &records, "for a reader beside it");

    room.set(i64::MAX);
    store.flush().await.unwrap();
    check(&store, &records, "with room again");
    assert_eq!(store.statistics().hot_rows, 0);
    assert_eq!(files_on_disk(&tables), files_of_tables(&store));
    drop(store);
    check(&open(data.path()).await, &records, "after a restart");
}

#[tokio::test]
async fn senders_are_refused_with_retry_while_the_disk_is_full_and_taken_again_after() {
    let data = tempfile::tempdir().unwrap();
    let room = DiskRoom::of(i64::MAX);
    let probe = HotBatch::new(1, UnixNanos(0), decode_call(&request("shop", 1)).unwrap());
    let mut one = crate::hot_buffer::HotBuffer::default();
    one.push(probe);
    let mut limited = StoreOptions { hot_bytes_max: one.bytes() * 3, ..options(data.path()) };
    limited.faults.table_room = room.clone();
    let store = Store::open(limited, decode()).await.unwrap();
    room.set(0);
    let mut records = Vec::new();
    let mut numbers = 1..20;
    let error = loop {
        let record = request("shop", numbers.next().expect("the limit holds"));
        match store.append(record.clone(), decode_call(&record).unwrap()).await {
            Ok(_) => records.push(record),
            Err(error) => break error,
        }
        store.commit_settled(UnixNanos(1_000 * SECOND)).await.unwrap_err();
    };
    assert!(matches!(error, StoreError::HotBufferFull { .. }) && error.is_retryable(), "{error}");
    check(&store, &records, "while the disk is full");
    room.set(i64::MAX);
    store.commit_settled(UnixNanos(1_000 * SECOND)).await.unwrap();
    let record = request("shop", 100);
    store.append(record.clone(), decode_call(&record).unwrap()).await.unwrap();
    records.push(record);
    check(&store, &records, "with room again");
}
