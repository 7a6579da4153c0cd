//! Traces whose spans were committed apart end up as those that were committed at once: their rows, and
//! what these are rolled up to, whatever a repair was stopped at.

use super::bucket::{FaultyBucket, in_bucket, open_in, without_repeated_stacks};
use super::*;
use crate::repair::{RepairReport, RepairStep};
use crate::verify::verify;

const ORDERS: [[&str; 3]; 3] =
    [["shop", "stock", "tidy"], ["stock", "tidy", "shop"], ["tidy", "shop", "stock"]];
const NOW: UnixNanos = UnixNanos(100 * SECOND);

/// The parts of three calls, of one service after the other.
fn parts(order: [&str; 3]) -> [Vec<LogRecord>; 3] {
    order.map(|service| (58..=60).map(|call| request(service, call)).collect())
}

/// A store of which every commit stores minutes, so that there are some to make again.
async fn open_storing_all(data: &Path) -> Store {
    let all = StoreOptions { minutes: StoredMinutes::All, ..options(data) };
    Store::open(all, decode()).await.unwrap()
}

/// A folder in which each service's parts were committed on their own.
async fn apart(data: &Path, order: [&str; 3], is_restarted: bool) -> (Store, Vec<LogRecord>) {
    let mut store = open_storing_all(data).await;
    for part in parts(order) {
        append_all(&store, &part).await;
        store.flush().await.unwrap();
        if is_restarted {
            drop(store);
            store = open_storing_all(data).await;
        }
    }
    (store, parts(order).concat())
}

async fn repair(store: &Store) -> RepairReport {
    store.repair(NOW).await.unwrap().unwrap()
}

fn paths(store: &Store) -> BTreeMap<Table, Vec<String>> {
    let of = |table| {
        let files = store.snapshot().table(table).files;
        (table, files.iter().map(|file| file.path.clone()).collect())
    };
    Table::ALL.map(of).into()
}

async fn problems(data: &Path) -> Vec<String> {
    let verified = verify(&options(data), |_, _| {}).await.unwrap();
    verified.into_iter().flat_map(|found| found.problems).collect()
}

#[tokio::test]
async fn a_trace_in_many_commits_becomes_as_one_in_one() {
    for (order, is_restarted) in ORDERS.iter().flat_map(|order| [(*order, false), (*order, true)]) {
        let when = format!("{order:?}, restarted: {is_restarted}");
        let data = tempfile::tempdir().unwrap();
        let (store, records) = apart(data.path(), order, is_restarted).await;
        let apart = seen(&store.snapshot());
        assert_ne!(apart, expected(&records), "{when}");
        let done = repair(&store).await;
        check(&store, &records, &when);
        assert_eq!((done.files_examined, done.minutes_recomputed, done.minutes_waiting), (3, 2, 0));
        assert!(done.spans_completed > 0 && done.files_rewritten > 0, "{done:?} {when}");
        assert_eq!(problems(data.path()).await, Vec::<String>::new(), "{when}");

        let before = paths(&store);
        let again = repair(&store).await;
        let examined = RepairReport { files_examined: again.files_examined, ..Default::default() };
        assert_eq!(again, examined, "twice changes nothing: {when}");
        assert_eq!(paths(&store), before, "{when}");
        drop(store);
        let store = open_storing_all(data.path()).await;
        repair(&store).await;
        assert_eq!(paths(&store), before, "nor does a restart: {when}");
        store.compact().await.unwrap();
        check(&store, &records, &format!("compacted, {when}"));
    }
}

#[tokio::test]
async fn what_is_counted_is_what_was_completed() {
    let data = tempfile::tempdir().unwrap();
    let (store, _) = apart(data.path(), ["stock", "shop", "tidy"], false).await;
    let done = repair(&store).await;
    // Of each call: the parent of the answer, the answer of the call, the late child of the request.
    assert_eq!((done.spans_completed, done.parents_found), (6, 3));
    assert_eq!(store.statistics().repaired, done);
    let committed = store.statistics().committed;
    let known = committed.parents_resolved + done.parents_found;
    assert_eq!(known, committed.spans_with_parent);
}

fn steps() -> Vec<RepairStep> {
    use RepairStep::{Cleared, FilesWritten, Noted, Replaced};
    let tables = [Table::Spans, Table::OperationMinutes, Table::EdgeMinutes];
    let replaced = tables.map(Replaced);
    [FilesWritten, Noted].into_iter().chain(replaced).chain([Cleared]).collect()
}

#[tokio::test]
async fn a_repair_that_ended_at_any_step_is_ended_by_the_next() {
    for (step, is_restarted) in steps().into_iter().flat_map(|step| [(step, false), (step, true)]) {
        let when = format!("after {step:?}, restarted: {is_restarted}");
        let data = tempfile::tempdir().unwrap();
        let (mut store, mut records) = apart(data.path(), ORDERS[1], false).await;
        *store.core.stop_at.lock().unwrap() = Some(CommitStep::Repair(step));
        store.repair(NOW).await.unwrap_err();
        *store.core.stop_at.lock().unwrap() = None;
        if is_restarted {
            drop(store);
            store = open_storing_all(data.path()).await;
        }
        let more = calls(61..=61);
        append_all(&store, &more).await;
        store.flush().await.unwrap();
        records.extend(more);
        assert_eq!(repair(&store).await.minutes_waiting, 0, "{when}");
        check(&store, &records, &when);
        assert_eq!(problems(data.path()).await, Vec::<String>::new(), "{when}");
        let before = paths(&store);
        repair(&store).await;
        assert_eq!(paths(&store), before, "{when}");
    }
}

#[tokio::test]
async fn what_was_not_looked_at_is_not_put_together() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    for (service, call) in [("stock", 1), ("shop", 1), ("stock", 2), ("shop", 2)] {
        append_all(&store, &[request(service, call)]).await;
        store.flush().await.unwrap();
    }
    let files = || store.snapshot().table(Table::Spans).files.len();
    *store.core.stop_at.lock().unwrap() = Some(CommitStep::Repair(RepairStep::FilesWritten));
    store.keep_once(NOW).await;
    assert_eq!(files(), 4, "whose spans are whose would not be known");
    assert_eq!(store.statistics().repaired.failures, 1);
    *store.core.stop_at.lock().unwrap() = None;
    store.keep_once(NOW).await;
    assert_eq!(files(), 1);
    let records = [("stock", 1), ("shop", 1), ("stock", 2), ("shop", 2)];
    check(&store, &records.map(|(service, call)| request(service, call)), "kept");
}

#[tokio::test]
async fn minutes_that_a_commit_is_adding_to_wait_for_it() {
    let bucket = Arc::new(FaultyBucket::working());
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = async |wal: &Path| {
        let all = StoreOptions { minutes: StoredMinutes::All, ..in_bucket(&bucket, Some(wal)) };
        Store::open(all, decode()).await.unwrap()
    };
    let (one, other) = (node(a.path()).await, node(b.path()).await);
    let [stock, shop] = ["stock", "shop"].map(|service| [request(service, 1), request(service, 2)]);
    append_all(&one, &stock).await;
    one.flush().await.unwrap();
    append_all(&one, &shop).await;
    one.flush().await.unwrap();
    // Stopped after the rows are noted, so that what follows is about rollups alone.
    *one.core.stop_at.lock().unwrap() =
        Some(CommitStep::Repair(RepairStep::Replaced(Table::Spans)));
    one.repair(NOW).await.unwrap_err();
    *one.core.stop_at.lock().unwrap() = None;

    let more = calls(3..=3);
    append_all(&other, &more).await;
    *other.core.stop_at.lock().unwrap() = Some(CommitStep::Written(Table::Spans));
    other.flush().await.unwrap_err();
    *other.core.stop_at.lock().unwrap() = None;
    let waits = repair(&one).await;
    assert_eq!((waits.minutes_recomputed, waits.minutes_waiting), (0, 1), "spans without minutes");

    other.flush().await.unwrap();
    let done = repair(&one).await;
    assert_eq!((done.minutes_recomputed, done.minutes_waiting), (1, 0));
    let records = [&stock[..], &shop, &more].concat();
    let reader = Reader::open(in_bucket(&bucket, None), decode()).await.unwrap();
    let seen = without_repeated_stacks(seen(&reader.snapshot()));
    assert_eq!(seen, without_repeated_stacks(expected(&records)));
}

/// Sends one service's part of calls, commits and keeps the tables now and then.
async fn send(bucket: Arc<FaultyBucket>, wal: &Path, service: &str) -> Store {
    let store = open_in(&bucket, wal).await;
    for call in 0..40 {
        append_all(&store, &[request(service, call)]).await;
        if call % 5 == 4 {
            // What fails stays in the log and is committed with the next.
            drop(store.flush().await);
            // A time at which the other's lease has run out.
            store.keep_once(UnixNanos((call + 1) * 60 * SECOND * 15)).await;
        }
    }
    bucket.works_from_now_on();
    store.flush().await.unwrap();
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_that_two_nodes_were_sent_parts_of_are_put_together() {
    let bucket = Arc::new(FaultyBucket::default());
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shop = send(Arc::clone(&bucket), a.path(), "shop");
    let stock = send(Arc::clone(&bucket), b.path(), "stock");
    let (shop, stock) = tokio::join!(shop, stock);
    // Both at once, and both may: of two that change the same files one gives up.
    let later = |hours: i64| UnixNanos(100 * 3_600 * SECOND + hours * 3_600 * SECOND);
    drop(tokio::join!(shop.repair(later(1)), stock.repair(later(2))));
    shop.repair(later(3)).await.unwrap().unwrap();
    let last = shop.repair(later(4)).await.unwrap().unwrap();
    assert_eq!((last.files_rewritten, last.minutes_recomputed, last.minutes_waiting), (0, 0, 0));

    let records: Vec<_> =
        (0..40).flat_map(|call| [request("stock", call), request("shop", call)]).collect();
    let reader = Reader::open(in_bucket(&bucket, None), decode()).await.unwrap();
    let seen = without_repeated_stacks(seen(&reader.snapshot()));
    let expected = without_repeated_stacks(expected(&records));
    for (table, rows) in &expected {
        assert_eq!(&seen[table], rows, "{table}");
    }
}
