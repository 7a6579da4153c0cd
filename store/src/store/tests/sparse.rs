//! Commits whose minutes would have nearly as many rows as their spans: nothing tells them from others but
//! where the minutes are.

use super::*;
use crate::maintenance::Retention;
use crate::repair::RepairStep;
use crate::verify::verify;

const HOUR: i64 = 3_600 * SECOND;
/// When every instant of these tests, and the files written in them, are past any limit.
const MUCH_LATER: UnixNanos = UnixNanos(i64::MAX / 2);

/// Rows in files of a table.
fn stored(store: &Store, table: Table) -> u64 {
    store.snapshot().table(table).files.iter().map(|file| file.rows).sum()
}

async fn commit(store: &Store, records: &[LogRecord]) {
    append_all(store, records).await;
    store.flush().await.unwrap();
}

async fn problems(data: &Path) -> Vec<String> {
    let verified = verify(&options(data), |_, _| {}).await.unwrap();
    verified.into_iter().flat_map(|found| found.problems).collect()
}

/// Spans that hours count.
fn spans_in_hours(store: &Store) -> i64 {
    let rows = committed(&store.snapshot(), Table::OperationHours, |_| true);
    let counts = rows.iter().filter_map(|rows| crate::trace_index::integers(rows, "span_count"));
    counts.flatten().flatten().sum()
}

#[tokio::test]
async fn minutes_are_stored_of_commits_with_many_spans_to_a_row() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    // Eight spans of four operations in a minute.
    let mut records = calls(1..=2);
    records.extend([request("sizes", 1), request("sizes", 2)]);
    commit(&store, &records).await;
    assert_eq!(stored(&store, Table::OperationMinutes), 0);
    assert_eq!(stored(&store, Table::EdgeMinutes), 1, "what metrics say of an edge");
    check(&store, &records, "with few spans to a row");
    assert_eq!(problems(data.path()).await, Vec::<String>::new());

    // Twenty-four of four.
    let many = calls(3..=8);
    commit(&store, &many).await;
    records.extend(many);
    assert_eq!(stored(&store, Table::OperationMinutes), 4);
    check(&store, &records, "with many");
    store.compact().await.unwrap();
    let files = store.snapshot().table(Table::Spans).files;
    let kinds: Vec<_> = files.iter().map(|file| (file.rows, file.without_minutes)).collect();
    assert_eq!(kinds.len(), 2, "of each kind one: {kinds:?}");
    assert!(kinds.contains(&(8, true)) && kinds.contains(&(24, false)), "{kinds:?}");
    check(&store, &records, "compacted");
    assert_eq!(problems(data.path()).await, Vec::<String>::new());
    drop(store);
    check(&open(data.path()).await, &records, "reopened");
}

#[tokio::test]
async fn commits_that_end_between_spans_and_minutes_leave_none_twice() {
    // Few spans to a row, then many, and the other way round.
    for parts in [[1..=2, 3..=8], [1..=6, 7..=8]] {
        for step in [Table::Spans, Table::ProfileSamples, Table::OperationMinutes] {
            let data = tempfile::tempdir().unwrap();
            let mut records = Vec::new();
            for part in parts.clone() {
                let store = open(data.path()).await;
                let part = calls(part);
                append_all(&store, &part).await;
                records.extend(part);
                *store.core.stop_at.lock().unwrap() = Some(CommitStep::Written(step));
                store.flush().await.unwrap_err();
                check(&store, &records, &format!("after {step:?} of {parts:?}"));
            }
            let store = open(data.path()).await;
            check(&store, &records, &format!("restarted after {step:?} of {parts:?}"));
            store.flush().await.unwrap();
            check(&store, &records, &format!("committed after {step:?} of {parts:?}"));
            store.repair(UnixNanos(HOUR)).await.unwrap();
            store.compact().await.unwrap();
            drop(store);
            let store = open(data.path()).await;
            check(&store, &records, &format!("compacted after {step:?} of {parts:?}"));
            assert_eq!(problems(data.path()).await, Vec::<String>::new());
        }
    }
}

#[tokio::test]
async fn all_minutes_are_stored_where_that_is_wanted() {
    let data = tempfile::tempdir().unwrap();
    let all = StoreOptions { minutes: StoredMinutes::All, ..options(data.path()) };
    let store = Store::open(all, decode()).await.unwrap();
    let records = calls(1..=2);
    commit(&store, &records).await;
    assert_eq!(stored(&store, Table::OperationMinutes), 4);
    check(&store, &records, "with all minutes");
}

#[tokio::test]
async fn hours_are_made_of_spans_whose_minutes_are_not_stored() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let now = UnixNanos(4 * HOUR);
    commit(&store, &calls(1..=2)).await;
    commit(&store, &calls(3..=8)).await;
    assert_eq!(store.roll_up_hours(now).await.unwrap(), 3, "operations, edges, profiles");
    assert_eq!(spans_in_hours(&store), 32);
    assert_eq!(problems(data.path()).await, Vec::<String>::new());
    assert_eq!(store.roll_up_hours(now).await.unwrap(), 0, "nothing has changed");

    commit(&store, &calls(3_700..=3_700)).await;
    assert!(store.roll_up_hours(now).await.unwrap() > 0, "what is late counts");
    assert_eq!(spans_in_hours(&store), 36);
    assert_eq!(problems(data.path()).await, Vec::<String>::new());
}

#[tokio::test]
async fn traces_that_came_apart_are_put_together_without_minutes() {
    for step in [None, Some(RepairStep::FilesWritten), Some(RepairStep::Replaced(Table::Spans))] {
        put_together(step).await;
    }
}

/// Where the first repair ends at this step.
async fn put_together(step: Option<RepairStep>) {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let mut records = Vec::new();
    for service in ["stock", "tidy", "shop"] {
        let part: Vec<_> = (1..=2).map(|call| request(service, call)).collect();
        commit(&store, &part).await;
        records.extend(part);
    }
    if let Some(step) = step {
        *store.core.stop_at.lock().unwrap() = Some(CommitStep::Repair(step));
        store.repair(UnixNanos(HOUR)).await.unwrap_err();
        *store.core.stop_at.lock().unwrap() = None;
    }
    let done = store.repair(UnixNanos(HOUR)).await.unwrap().unwrap();
    let is_done = step == Some(RepairStep::Replaced(Table::Spans));
    assert!(is_done || done.spans_completed > 0, "{done:?}");
    assert_eq!(done.minutes_recomputed, 0, "there are none");
    check(&store, &records, "put together");
    assert_eq!(stored(&store, Table::OperationMinutes), 0);
    assert_eq!(problems(data.path()).await, Vec::<String>::new());
}

#[tokio::test]
async fn minutes_outlive_their_spans() {
    for is_restarted in [false, true] {
        let data = tempfile::tempdir().unwrap();
        let mut short = options(data.path());
        short.maintenance.retention = Retention {
            spans: Some(Duration::from_hours(1)),
            rollups: None,
            ..Retention::default()
        };
        let mut store = Store::open(short.clone(), decode()).await.unwrap();
        let records = calls(1..=2);
        commit(&store, &records).await;
        store.keep_once(UnixNanos(3 * HOUR)).await;
        assert_eq!((stored(&store, Table::Spans), stored(&store, Table::OperationMinutes)), (8, 0));
        assert_eq!(spans_in_hours(&store), 8);

        if is_restarted {
            // The minutes are noted, and the files say that they are stored.
            let step = RepairStep::Replaced(Table::Spans);
            *store.core.stop_at.lock().unwrap() = Some(CommitStep::Repair(step));
            store.repair(MUCH_LATER).await.unwrap_err();
            drop(store);
            store = Store::open(short, decode()).await.unwrap();
        }
        store.keep_once(MUCH_LATER).await;
        assert_eq!((stored(&store, Table::Spans), stored(&store, Table::OperationMinutes)), (0, 4));
        assert_eq!(spans_in_hours(&store), 8, "as before");
        let (seen, expected) = (seen(&store.snapshot()), expected(&records));
        for table in ["operation_minutes", "edge_minutes"] {
            assert_eq!(seen.get(table), expected.get(table), "{table}");
        }
        assert_eq!(problems(data.path()).await, Vec::<String>::new());
    }
}
