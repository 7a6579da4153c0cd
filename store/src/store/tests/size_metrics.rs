//! Cumulative metrics of body sizes: each point is a request, and `edge_minutes` gets the difference
//! to the one before, once.

use super::*;

/// Requests with the points of these seconds: `n` responses of 50 bytes until second `n`.
fn points(seconds: std::ops::RangeInclusive<i64>) -> Vec<LogRecord> {
    seconds.map(|second| request("sizes", second)).collect()
}

/// What metrics measured on the edge: number and sum of the sizes.
fn measured(store: &Store) -> Option<(i64, i64)> {
    let contents = seen(&store.snapshot());
    let edges: Vec<_> = contents.get("edge_minutes").into_iter().flatten().collect();
    let [edge] = edges[..] else {
        assert!(edges.is_empty(), "{edges:?}");
        return None;
    };
    assert!(edge.contains("source=metrics") && edge.contains("span_count=0"), "{edge}");
    let field = |name: &str| {
        let (_, sizes) = edge.split_once("response_wire_bytes={").unwrap();
        let (_, value) = sizes.split_once(&format!("{name}: ")).unwrap();
        value.split(',').next().unwrap().parse().unwrap()
    };
    Some((field("count"), field("sum")))
}

#[tokio::test]
async fn a_difference_counts_once_hot_committed_and_reopened() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    append_all(&store, &points(1..=1)).await;
    assert_eq!(measured(&store), None, "the first point has none before it");
    append_all(&store, &points(2..=3)).await;
    assert_eq!(measured(&store), Some((2, 100)), "while hot");
    store.flush().await.unwrap();
    assert_eq!(measured(&store), Some((2, 100)), "when committed");
    append_all(&store, &points(4..=5)).await;
    assert_eq!(measured(&store), Some((4, 200)), "against a committed point");
    drop(store);
    let store = open(data.path()).await;
    assert_eq!(measured(&store), Some((4, 200)), "replayed");
    store.close().await.unwrap();
    drop(store);
    let store = open(data.path()).await;
    append_all(&store, &points(6..=7)).await;
    assert_eq!(measured(&store), Some((5, 250)), "an empty log knows no point before the sixth");
}

#[tokio::test]
async fn a_commit_that_ended_at_any_step_counts_nothing_twice() {
    let of_tables = [Table::MetricHistograms, Table::EdgeMinutes].into_iter();
    let of_tables =
        of_tables.flat_map(|table| [CommitStep::Written(table), CommitStep::Published(table)]);
    for step in [CommitStep::Prepared, CommitStep::AllPassed].into_iter().chain(of_tables) {
        let data = tempfile::tempdir().unwrap();
        let store = open(data.path()).await;
        append_all(&store, &points(1..=3)).await;
        *store.core.stop_at.lock().unwrap() = Some(step);
        store.flush().await.unwrap_err();
        *store.core.stop_at.lock().unwrap() = None;
        assert_eq!(measured(&store), Some((2, 100)), "{step:?}");
        drop(store);
        let store = open(data.path()).await;
        check(&store, &points(1..=3), &format!("restarted after {step:?}"));
        append_all(&store, &points(4..=4)).await;
        store.flush().await.unwrap();
        check(&store, &points(1..=4), &format!("committed after {step:?}"));
    }
}

#[tokio::test]
async fn an_import_counts_for_itself_and_once() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    // The service sends the same series, of a later time.
    append_all(&store, &points(20..=21)).await;
    let chunk = |seconds| {
        let records = points(seconds);
        let rows = records.iter().flat_map(|record| decode_call(record).unwrap());
        ImportedRows::Received(rows.collect())
    };
    let [one, two] = [(0, false), (1, true)].map(|(number, is_last)| Chunk { number, is_last });
    for _ in 0..2 {
        store.import("import:1", one, chunk(1..=3)).await.unwrap();
        store.import("import:1", two, chunk(4..=5)).await.unwrap();
        assert_eq!(measured(&store), Some((1 + 4, 250)));
    }
}
