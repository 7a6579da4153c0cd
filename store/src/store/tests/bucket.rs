//! Tables in a bucket that refuses, loses answers and is slow, written to by two nodes while their
//! tables are kept: what was acknowledged is there once.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::*;

/// What is asked of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Request {
    Create,
    Overwrite,
    Update,
    Get,
    List,
    Delete,
}

/// What goes wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// Not done, and said so.
    Refused,
    /// Not done, and found out only after a while.
    TimedOut,
    /// Done, but the answer is lost.
    Lost,
    /// Done late.
    Slow,
}

const FAULTS: [Fault; 4] = [Fault::Refused, Fault::TimedOut, Fault::Lost, Fault::Slow];
/// Of the requests of a kind one of so many goes wrong, each time another way.
const ONE_OF: usize = 11;
const ONE_OF_FIRST: usize = 3;

/// A bucket in memory with faults.
#[derive(Debug, Default)]
pub(super) struct FaultyBucket {
    objects: InMemory,
    /// How many want it to work at the moment; with none of them, requests go wrong.
    wanted_well: AtomicU64,
    requests: [AtomicU64; 6],
    seen: Mutex<BTreeSet<(Request, Fault)>>,
}

impl FaultyBucket {
    /// One without faults.
    pub(super) fn working() -> Self {
        Self { wanted_well: 1.into(), ..Self::default() }
    }

    pub(super) fn works_from_now_on(&self) {
        self.wanted_well.fetch_add(1, Ordering::Relaxed);
    }

    fn next_fault(&self, request: Request) -> Option<Fault> {
        if self.wanted_well.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let number = self.requests[request as usize].fetch_add(1, Ordering::Relaxed);
        let number = usize::try_from(number).unwrap();
        // More often until each was met, so that none is left out of a run with few requests.
        let met = self.seen.lock().unwrap().iter().filter(|(of, _)| *of == request).count();
        let one_of = if met < FAULTS.len() { ONE_OF_FIRST } else { ONE_OF };
        let fault = (number % one_of == 0).then(|| FAULTS[number / one_of % FAULTS.len()])?;
        self.seen.lock().unwrap().insert((request, fault));
        Some(fault)
    }

    async fn with_faults<T>(
        &self,
        request: Request,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let fault = self.next_fault(request);
        let failed =
            || Error::Generic { store: "FaultyBucket", source: format!("{request:?}").into() };
        match fault {
            Some(Fault::Refused) => return Err(failed()),
            Some(Fault::TimedOut | Fault::Slow) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Some(Fault::Lost) | None => {}
        }
        if fault == Some(Fault::TimedOut) {
            return Err(failed());
        }
        let done = work.await;
        if fault == Some(Fault::Lost) { Err(failed()) } else { done }
    }
}

impl fmt::Display for FaultyBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyBucket")
    }
}

#[async_trait]
impl ObjectStore for FaultyBucket {
    async fn put_opts(
        &self,
        location: &ObjectPath,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let request = match options.mode {
            PutMode::Create => Request::Create,
            PutMode::Overwrite => Request::Overwrite,
            PutMode::Update(_) => Request::Update,
        };
        self.with_faults(request, self.objects.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &ObjectPath,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &ObjectPath, options: GetOptions) -> Result<GetResult> {
        self.with_faults(Request::Get, self.objects.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &ObjectPath, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.with_faults(Request::Get, self.objects.get_ranges(location, ranges)).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<ObjectPath>>,
    ) -> BoxStream<'static, Result<ObjectPath>> {
        match self.next_fault(Request::Delete) {
            Some(Fault::Refused | Fault::TimedOut) => {
                let source = "Delete".into();
                stream::once(async { Err(Error::Generic { store: "FaultyBucket", source }) })
                    .boxed()
            }
            Some(Fault::Lost) => {
                let deleted = self.objects.delete_stream(locations);
                let lost = |_| Error::Generic { store: "FaultyBucket", source: "Delete".into() };
                deleted.map(move |done| done.and_then(|path| Err(lost(path)))).boxed()
            }
            Some(Fault::Slow) | None => self.objects.delete_stream(locations),
        }
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.objects.list(prefix);
        self.with_list_faults(listed)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&ObjectPath>,
        offset: &ObjectPath,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.objects.list_with_offset(prefix, offset);
        self.with_list_faults(listed)
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> Result<ListResult> {
        self.with_faults(Request::List, self.objects.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(
        &self,
        from: &ObjectPath,
        to: &ObjectPath,
        options: CopyOptions,
    ) -> Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}

impl FaultyBucket {
    fn with_list_faults(
        &self,
        listed: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let failed = || Error::Generic { store: "FaultyBucket", source: "List".into() };
        match self.next_fault(Request::List) {
            Some(Fault::Slow) => {
                let wait = stream::once(tokio::time::sleep(Duration::from_millis(20)));
                wait.filter_map(async |()| None).chain(listed).boxed()
            }
            // An answer that is lost after its first page.
            Some(Fault::Lost) => {
                listed.take(1).chain(stream::once(async move { Err(failed()) })).boxed()
            }
            Some(_) => stream::once(async move { Err(failed()) }).boxed(),
            None => listed,
        }
    }
}

pub(super) fn in_bucket(bucket: &Arc<FaultyBucket>, wal: Option<&Path>) -> StoreOptions {
    StoreOptions {
        data: "s3://bucket/some/prefix".parse().unwrap(),
        bucket: BucketOptions::standing_in(Arc::<FaultyBucket>::clone(bucket)),
        wal: wal.map(Path::to_owned),
        refresh_interval: Duration::from_millis(50),
        ..StoreOptions::default()
    }
}

/// Opens a node without faults: a start asks so much that hardly one would come through.
pub(super) async fn open_in(bucket: &Arc<FaultyBucket>, wal: &Path) -> Store {
    bucket.wanted_well.fetch_add(1, Ordering::Relaxed);
    let store = Store::open(in_bucket(bucket, Some(wal)), decode()).await.unwrap();
    bucket.wanted_well.fetch_sub(1, Ordering::Relaxed);
    store
}

/// Stacks are noted once by each node.
pub(super) fn without_repeated_stacks(mut contents: Contents) -> Contents {
    for table in [Table::ProfileStacks, Table::ProfileStackFrames] {
        contents.entry(table.name()).or_default().dedup();
    }
    contents
}

/// Sends calls, commits now and then, and is restarted in the middle.
async fn work(bucket: Arc<FaultyBucket>, wal: &Path, numbers: Range<i64>) {
    let mut store = open_in(&bucket, wal).await;
    let middle = i64::midpoint(numbers.start, numbers.end);
    for call in numbers {
        append_all(&store, &calls([call])).await;
        if call % 4 == 0 {
            // What fails stays in the log and is committed with the next.
            drop(store.flush().await);
        }
        if call % 8 == 0 {
            // A time at which the other's lease has run out.
            store.keep_once(UnixNanos(call * 60 * SECOND * 15)).await;
        }
        if call == middle {
            drop(store);
            store = open_in(&bucket, wal).await;
        }
    }
    bucket.wanted_well.fetch_add(1, Ordering::Relaxed);
    store.flush().await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_on_a_faulty_bucket_lose_nothing_and_have_nothing_twice() {
    let bucket = Arc::new(FaultyBucket::default());
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let of_a = work(Arc::clone(&bucket), a.path(), 0..100);
    let of_b = work(Arc::clone(&bucket), b.path(), 1_000..1_100);
    tokio::join!(of_a, of_b);

    let records = [calls(0..100), calls(1_000..1_100)].concat();
    let reader = Reader::open(in_bucket(&bucket, None), decode()).await.unwrap();
    let seen = without_repeated_stacks(seen(&reader.snapshot()));
    let expected = without_repeated_stacks(expected(&records));
    for (table, rows) in &expected {
        assert_eq!(seen[table].len(), rows.len(), "{table}");
        assert_eq!(&seen[table], rows, "{table}");
    }
    let faults = bucket.seen.lock().unwrap().clone();
    let requests =
        [Request::Create, Request::Overwrite, Request::Update, Request::Get, Request::List];
    for request in requests {
        for fault in FAULTS {
            assert!(faults.contains(&(request, fault)), "{request:?} never {fault:?}: {faults:?}");
        }
    }
}

#[tokio::test]
async fn a_node_sees_its_own_rows_at_once_and_those_of_others_once_committed() {
    let bucket = Arc::new(FaultyBucket { wanted_well: 1.into(), ..FaultyBucket::default() });
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, other) = (open_in(&bucket, a.path()).await, open_in(&bucket, b.path()).await);
    append_all(&one, &calls(1..=2)).await;
    let count = |store: &Store| seen(&store.snapshot()).get("spans").map_or(0, Vec::len);
    assert_eq!((count(&one), count(&other)), (8, 0));
    one.flush().await.unwrap();
    other.refresh().await.unwrap();
    assert_eq!((count(&one), count(&other)), (8, 8));
    append_all(&other, &calls(3..=3)).await;
    other.flush().await.unwrap();
    one.refresh().await.unwrap();
    assert_eq!((count(&one), count(&other)), (12, 12));
}

#[tokio::test]
async fn tables_in_a_bucket_need_a_log_on_a_disk() {
    let bucket = Arc::new(FaultyBucket { wanted_well: 1.into(), ..FaultyBucket::default() });
    let error = Store::open(in_bucket(&bucket, None), decode()).await.unwrap_err();
    assert!(matches!(error, StoreError::NoLog { .. }), "{error}");
    assert!(error.to_string().contains("`storage.wal`"), "{error}");
}

#[tokio::test]
async fn one_node_keeps_a_table_and_others_see_what_it_did() {
    let bucket = Arc::new(FaultyBucket { wanted_well: 1.into(), ..FaultyBucket::default() });
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, other) = (open_in(&bucket, a.path()).await, open_in(&bucket, b.path()).await);
    for call in 1..=6 {
        append_all(&one, &calls([call])).await;
        one.flush().await.unwrap();
    }
    let files = |store: &Store| store.snapshot().table(Table::Spans).files.len();
    assert_eq!(files(&one), 6);
    one.keep_once(UnixNanos(SECOND)).await;
    other.keep_once(UnixNanos(2 * SECOND)).await;
    let done = |store: &Store| store.statistics().upkeep.get(&Table::Spans).copied();
    let kept = done(&one).unwrap();
    assert_eq!((kept.rounds, kept.failures, kept.compacted.files_removed), (1, 0, 6));
    assert_eq!(done(&other), None, "the lease is taken");
    other.refresh().await.unwrap();
    assert_eq!((files(&one), files(&other)), (1, 1));
    check(&one, &calls(1..=6), "after it was kept");
    let now = UnixNanos(2 * SECOND);
    assert!(one.keeps(Table::Findings, now).await.unwrap());
    assert!(!other.keeps(Table::Findings, now).await.unwrap());
    one.close().await.unwrap();
    assert!(other.keeps(Table::Findings, now).await.unwrap());
    other.keep_once(UnixNanos(3 * SECOND)).await;
    let kept = done(&other).unwrap();
    assert_eq!((kept.rounds, kept.failures), (1, 0), "a node that stopped holds up nobody");
}
