//! Many at once: senders, commits, queries, and a reader in another process's place.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;

use super::*;

const SENDERS: usize = 4;
/// The race goes on until there were this many commits, so that it is one on any machine.
const COMMITS: u64 = 4;
/// Calls of a sender per commit, so that a slow disk does not make the test long.
const CALLS_PER_COMMIT: usize = 10;

/// Numbers of the calls whose rows are all there; panics if one is there twice or in part.
fn whole_calls(snapshot: &Snapshot) -> BTreeSet<i64> {
    let mut spans = BTreeMap::<String, BTreeSet<String>>::new();
    for line in seen(snapshot).remove("spans").unwrap_or_default() {
        let field = |name: &str| {
            let found = line.split(' ').find_map(|cell| cell.strip_prefix(name));
            found.unwrap().to_owned()
        };
        let is_new = spans.entry(field("trace_id=")).or_default().insert(field("span_id="));
        assert!(is_new, "a span is there twice: {line}");
    }
    spans
        .into_iter()
        .map(|(trace, spans)| {
            assert_eq!(spans.len(), 2, "a request is there in part");
            i64::from_str_radix(&trace, 16).unwrap()
        })
        .collect()
}

/// Several senders that go on until they are told to stop.
struct Senders {
    tasks: JoinSet<()>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<BTreeSet<i64>>>,
}

impl Senders {
    fn start(store: &Arc<Store>) -> Self {
        let mut senders =
            Self { tasks: JoinSet::new(), stop: Arc::default(), acknowledged: Arc::default() };
        for sender in (1..).take(SENDERS) {
            let (store, stop) = (Arc::clone(store), Arc::clone(&senders.stop));
            let acknowledged = Arc::clone(&senders.acknowledged);
            senders.tasks.spawn(async move {
                for (sent, call) in (sender..).step_by(SENDERS).enumerate() {
                    let commits = || usize::try_from(store.statistics().committed.commits).unwrap();
                    while sent / CALLS_PER_COMMIT > commits() && !stop.load(Ordering::SeqCst) {
                        tokio::task::yield_now().await;
                    }
                    let record = request("shop", call);
                    store.append(record.clone(), decode_call(&record).unwrap()).await.unwrap();
                    acknowledged.lock().unwrap().insert(call);
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                }
            });
        }
        senders
    }

    fn acknowledged(&self) -> BTreeSet<i64> {
        self.acknowledged.lock().unwrap().clone()
    }

    /// Waits for the senders; gives what they sent.
    async fn stop(mut self) -> BTreeSet<i64> {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(sender) = self.tasks.join_next().await {
            sender.unwrap();
        }
        self.acknowledged()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_snapshot_has_what_was_acknowledged_once() {
    let data = tempfile::tempdir().unwrap();
    let store = Arc::new(open(data.path()).await);
    let senders = Senders::start(&store);
    let committing = Arc::clone(&store);
    let mut commits = JoinSet::new();
    commits.spawn(async move {
        while committing.statistics().committed.commits < COMMITS {
            committing.flush().await.unwrap();
        }
    });
    while commits.try_join_next().is_none() {
        let before = senders.acknowledged();
        let seen = whole_calls(&store.snapshot());
        let missing: Vec<_> = before.difference(&seen).collect();
        assert!(missing.is_empty(), "missing: {missing:?}");
    }
    let mut all = senders.stop().await;
    let last = all.last().unwrap() + 1;
    append_all(&store, &[request("shop", last)]).await;
    all.insert(last);
    assert_eq!(whole_calls(&store.snapshot()), all);
    drop(store);
    assert_eq!(whole_calls(&open(data.path()).await.snapshot()), all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_beside_the_writer_misses_nothing() {
    let data = tempfile::tempdir().unwrap();
    let store = Arc::new(open(data.path()).await);
    let reader = Reader::open(options(data.path()), decode()).await.unwrap();
    let senders = Senders::start(&store);
    while store.statistics().committed.commits < COMMITS {
        let before = senders.acknowledged();
        let (refreshed, flushed) = tokio::join!(reader.refresh(), store.flush());
        refreshed.unwrap();
        flushed.unwrap();
        let seen = whole_calls(&reader.snapshot());
        let missing: Vec<_> = before.difference(&seen).collect();
        assert!(missing.is_empty(), "missing: {missing:?}");
    }
    let all = senders.stop().await;
    reader.refresh().await.unwrap();
    assert_eq!(whole_calls(&reader.snapshot()), all);
}

#[tokio::test]
async fn a_reader_writes_nothing_and_needs_no_lock() {
    let data = tempfile::tempdir().unwrap();
    let missing = data.path().join("missing");
    let reader = Reader::open(options(&missing), decode()).await.unwrap();
    check(&reader, &[], "of no folder");
    assert!(!missing.exists());

    let store = open(data.path()).await;
    let records = calls(1..=2);
    append_all(&store, &records[..2]).await;
    store.flush().await.unwrap();
    append_all(&store, &records[2..]).await;
    let before = listing(data.path());
    let reader = Reader::open(options(data.path()), decode()).await.unwrap();
    check(&reader, &records, "beside the writer");
    assert_eq!(listing(data.path()), before);
    drop(store);
    reader.refresh().await.unwrap();
    check(&reader, &records, "without the writer");
}

/// Every file with its size.
fn listing(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(listing(&entry.path()));
        } else {
            found.insert(entry.path(), entry.metadata().unwrap().len());
        }
    }
    found
}
