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

fn received(records: &[LogRecord]) -> ImportedRows {
    ImportedRows::Received(decoded(records))
}

async fn import_all(store: &Store, records: &[LogRecord]) -> Result<ImportOutcome, StoreError> {
    store.import(SOURCE, Chunk { number: 0, is_last: true }, received(records)).await
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
    let [one, two] = [(0, false), (1, true)].map(|(number, is_last)| Chunk { number, is_last });
    store.import(SOURCE, one, received(&first)).await.unwrap();
    drop(store);
    let store = open(data.path()).await;
    assert!(store.import(SOURCE, one, received(&first)).await.unwrap().added.is_empty());
    store.import(SOURCE, two, received(&second)).await.unwrap();
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

/// The rows of a store's tables, as an export of them has them: minutes that metrics came to as they are,
/// those that rows come to left out.
fn exported(store: &Store) -> BTreeMap<Table, Vec<RecordBatch>> {
    let snapshot = store.snapshot();
    let rows = Table::ALL.into_iter().filter(|table| !table.is_rollup()).map(|table| {
        let view = snapshot.table(table);
        let files = view.files.iter().flat_map(|file| {
            let content = content(&view.place.as_ref().unwrap().child(table.folder()), &file.path);
            let reader = ParquetRecordBatchReaderBuilder::try_new(content).unwrap();
            let reader = reader.build().unwrap();
            reader.map(|rows| with_date(table, &rows.unwrap(), file.date)).collect::<Vec<_>>()
        });
        (table, files.collect())
    });
    rows.filter(|(_, rows): &(_, Vec<_>)| !rows.is_empty()).collect()
}

/// Imports each table's rows as a source of its own, a row in each chunk.
async fn import_exported(
    store: &Store,
    tables: &BTreeMap<Table, Vec<RecordBatch>>,
) -> Result<(), StoreError> {
    let frames = Arc::new(tables.get(&Table::ProfileStackFrames).cloned().unwrap_or_default());
    for (table, batches) in tables {
        let all = concat_batches(&table.schema(), batches).unwrap();
        for (row, number) in (0..all.num_rows()).zip(0..) {
            let chunk = Chunk { number, is_last: row + 1 == all.num_rows() };
            let rows = vec![TableBatch::new(*table, all.slice(row, 1))];
            let rows = ImportedRows::Stored { rows, frames: Arc::clone(&frames) };
            store.import(&format!("import:{}", table.name()), chunk, rows).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn rows_that_were_stored_stay_as_they_are_and_are_rolled_up() {
    let from = tempfile::tempdir().unwrap();
    let source = open(from.path()).await;
    let records = calls(1..=3);
    append_all(&source, &records).await;
    source.flush().await.unwrap();
    let tables = exported(&source);
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    import_exported(&store, &tables).await.unwrap();
    check(&store, &records, "when imported row by row");
    import_exported(&store, &tables).await.unwrap();
    check(&store, &records, "when imported twice");
    let stacks = |store: &Store| -> u64 {
        store.snapshot().table(Table::ProfileStacks).files.iter().map(|file| file.rows).sum()
    };
    assert_eq!(stacks(&store), stacks(&source));
    drop(store);
    check(&open(data.path()).await, &records, "after a restart");
}

#[tokio::test]
async fn a_span_that_was_stored_without_its_parent_stays_so_until_upkeep() {
    let from = tempfile::tempdir().unwrap();
    let source = open(from.path()).await;
    // The parent comes in a later process, which has forgotten the child.
    append_all(&source, &[request("stock", 1)]).await;
    source.close().await.unwrap();
    drop(source);
    let source = open(from.path()).await;
    append_all(&source, &[request("shop", 1)]).await;
    source.flush().await.unwrap();
    let before = seen(&source.snapshot());
    assert!(before["spans"].iter().any(|line| line.contains("parent_service=- ")), "{before:#?}");
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    import_exported(&store, &exported(&source)).await.unwrap();
    assert_eq!(seen(&store.snapshot()), before);
    store.repair(UnixNanos(SECOND)).await.unwrap();
    source.repair(UnixNanos(SECOND)).await.unwrap();
    assert_eq!(seen(&store.snapshot()), seen(&source.snapshot()));
}

#[tokio::test]
async fn an_interrupted_import_of_stored_rows_adds_exactly_what_is_missing() {
    let from = tempfile::tempdir().unwrap();
    let source = open(from.path()).await;
    let records = calls(1..=2);
    append_all(&source, &records).await;
    source.flush().await.unwrap();
    let tables = exported(&source);
    let stops = tables.keys().copied().chain([
        Table::OperationMinutes,
        Table::EdgeMinutes,
        Table::ProfileMinutes,
    ]);
    for table in stops {
        let data = tempfile::tempdir().unwrap();
        let store = open(data.path()).await;
        *store.core.stop_at.lock().unwrap() = Some(CommitStep::Imported(table));
        import_exported(&store, &tables).await.unwrap_err();
        drop(store);
        let store = open(data.path()).await;
        import_exported(&store, &tables).await.unwrap();
        check(&store, &records, &format!("imported again after {table:?}"));
    }
}

#[tokio::test]
async fn minutes_without_their_rows_are_added_as_they_are() {
    let from = tempfile::tempdir().unwrap();
    let source = open(from.path()).await;
    append_all(&source, &calls(1..=6)).await;
    source.flush().await.unwrap();
    let all = seen(&source.snapshot());
    let minutes = source.snapshot().table(Table::OperationMinutes);
    let [file] = &minutes.files[..] else { panic!("{minutes:?}") };
    let place = minutes.place.as_ref().unwrap().child(Table::OperationMinutes.name());
    let reader = ParquetRecordBatchReaderBuilder::try_new(content(&place, &file.path)).unwrap();
    let rows = reader.build().unwrap().map(|rows| {
        TableBatch::new(
            Table::OperationMinutes,
            with_date(Table::OperationMinutes, &rows.unwrap(), file.date),
        )
    });
    let rows: Vec<_> = rows.collect();
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    for _ in 0..2 {
        let chunk = Chunk { number: 0, is_last: true };
        let rows = ImportedRows::Stored { rows: rows.clone(), frames: Arc::default() };
        store.import(SOURCE, chunk, rows).await.unwrap();
        let found = seen(&store.snapshot());
        assert_eq!(found["operation_minutes"], all["operation_minutes"]);
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
