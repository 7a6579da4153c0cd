//! Imports: straight to the tables, and again without doing anything twice.

use super::*;

const SOURCE: &str = "import:5f3a";

/// The parts of these calls as two chunks: the calling service's, then the answering one's.
fn chunks(numbers: std::ops::RangeInclusive<i64>) -> [Vec<LogRecord>; 2] {
    let part = |service: &str| numbers.clone().map(|call| request(service, call)).collect();
    [part("shop"), part("stock")]
}

fn decoded(records: &[LogRecord]) -> Vec<TableBatch> {
    records.iter().flat_map(|record| decode_call(record).unwrap()).collect()
}

async fn import_all(store: &Store, records: &[LogRecord]) -> Result<ImportOutcome, StoreError> {
    store.import(SOURCE, 0, true, decoded(records)).await
}

#[tokio::test]
async fn imported_rows_look_like_received_ones_and_come_once() {
    let data = tempfile::tempdir().unwrap();
    let records = calls(1..=3);
    let store = open(data.path()).await;
    assert!(!store.import_finished(SOURCE).await.unwrap());
    let outcome = import_all(&store, &records).await.unwrap();
    assert_eq!(outcome.added[&Table::Spans], 12);
    assert_eq!(outcome.skipped, []);
    assert!(store.import_finished(SOURCE).await.unwrap());
    check(&store, &records, "when imported");
    assert_eq!(store.statistics().wal_bytes, 0, "an import is not logged");
    let again = import_all(&store, &records).await.unwrap();
    assert!(again.added.is_empty(), "{again:?}");
    assert!(again.skipped.contains(&Table::EdgeMinutes) && again.skipped.contains(&Table::Spans));
    store.close().await.unwrap();
    drop(store);
    let store = open(data.path()).await;
    assert!(store.import_finished(SOURCE).await.unwrap());
    assert!(import_all(&store, &records).await.unwrap().added.is_empty());
    check(&store, &records, "after a restart");
}

#[tokio::test]
async fn an_interrupted_import_adds_exactly_what_is_missing() {
    let tables = [
        Table::Spans,
        Table::PayloadSizes,
        Table::ProfileSamples,
        Table::ProfileStacks,
        Table::ProfileStackFrames,
        Table::OperationMinutes,
        Table::EdgeMinutes,
        Table::ProfileMinutes,
    ];
    for table in tables {
        let data = tempfile::tempdir().unwrap();
        let records = calls(1..=2);
        let store = open(data.path()).await;
        *store.core.stop_at.lock().unwrap() = Some(CommitStep::Imported(table));
        import_all(&store, &records).await.unwrap_err();
        assert!(!store.import_finished(SOURCE).await.unwrap());
        drop(store);
        let store = open(data.path()).await;
        let outcome = import_all(&store, &records).await.unwrap();
        assert!(outcome.skipped.contains(&table), "{table:?}: {outcome:?}");
        check(&store, &records, &format!("imported again after {table:?}"));
        assert!(store.import_finished(SOURCE).await.unwrap());
    }
}

#[tokio::test]
async fn chunks_that_are_in_already_still_name_parents_of_later_ones() {
    let data = tempfile::tempdir().unwrap();
    let [first, second] = chunks(1..=2);
    let store = open(data.path()).await;
    store.import(SOURCE, 0, false, decoded(&first)).await.unwrap();
    drop(store);
    let store = open(data.path()).await;
    assert!(store.import(SOURCE, 0, false, decoded(&first)).await.unwrap().added.is_empty());
    store.import(SOURCE, 1, true, decoded(&second)).await.unwrap();
    let spans = seen(&store.snapshot())["spans"].clone();
    let has_parent = |line: &&String| line.contains("parent_service=shop parent_name=ask");
    assert_eq!(spans.iter().filter(has_parent).count(), 2);
    assert_eq!(spans.len(), 8);
}

#[tokio::test]
async fn imports_and_received_rows_go_side_by_side() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let (received, imported) = (calls(1..=2), calls(11..=12));
    append_all(&store, &received).await;
    import_all(&store, &imported).await.unwrap();
    let all = [received, imported].concat();
    check(&store, &all, "hot and imported");
    store.flush().await.unwrap();
    check(&store, &all, "committed and imported");
    drop(store);
    check(&open(data.path()).await, &all, "after a restart");
}
