//! The same answers from a real store: before, between and after commits, compacted, and by a reader
//! that opens the folder beside it.

use std::sync::Arc;

use tempfile::TempDir;
use upriver_store::batch::TableBatch;
use upriver_store::record::Decode;
use upriver_store::snapshot::{Snapshot, SnapshotSource};
use upriver_store::time::UnixNanos;
use upriver_store::{Durability, Reader, Store, StoreOptions};

use crate::rows::nanos;
use crate::{shop, slt};

/// Files of `tests/slt` over the shop, and what each table function and view reads.
const FILES: [&str; 5] = ["tables", "ids", "compare_operations", "payload_growth", "views"];

/// The store logs rows of its own, so nothing has to be decoded.
fn decode() -> Decode {
    Arc::new(|_| Ok(Vec::new()))
}

fn options(data: &TempDir) -> StoreOptions {
    let data = data.path().to_path_buf();
    StoreOptions { data: data.into(), durability: Durability::None, ..StoreOptions::default() }
}

async fn append(store: &Store, batches: &[TableBatch]) {
    for batch in batches {
        let received = UnixNanos(nanos(shop::NOW));
        store.append_rows(received, vec![batch.clone()]).await.unwrap();
    }
}

async fn check(stage: &str, snapshot: Snapshot, partitions: usize) {
    for file in FILES {
        let result = slt::run(file, snapshot.clone(), partitions).await;
        result.unwrap_or_else(|error| panic!("{stage}: {error}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_the_same_at_every_stage_of_a_store() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(options(&data), decode()).await.unwrap();
    let batches = shop::received();
    let (first, second) = batches.split_at(batches.len() / 4 * 2);

    append(&store, first).await;
    store.flush().await.unwrap();
    append(&store, second).await;
    check("half committed", store.snapshot(), 2).await;
    let reader = Reader::open(options(&data), decode()).await.unwrap();
    check("read beside the writer", reader.snapshot(), 1).await;

    store.flush().await.unwrap();
    check("committed", store.snapshot(), 1).await;
    check("committed", store.snapshot(), 2).await;

    store.compact().await.unwrap();
    check("compacted", store.snapshot(), 2).await;
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_from_memory_before_the_first_commit() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(options(&data), decode()).await.unwrap();
    append(&store, &shop::received()).await;
    check("in memory", store.snapshot(), 2).await;
    store.close().await.unwrap();
}
