//! How tables are read: which files, which parts of them, and that a scan can be sent elsewhere.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{FileGroup, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use datafusion_proto::bytes::{physical_plan_from_bytes, physical_plan_to_bytes};
use upriver_analyze::{Session, SessionOptions};
use upriver_store::schema::Table;
use upriver_store::snapshot::{Snapshot, TableSnapshot};

use crate::layout::{self, Layout};
use crate::shop;

fn committed(data: &Path) -> Snapshot {
    layout::snapshot(&shop::batches(), Layout::Committed, data)
}

fn session(snapshot: Snapshot) -> Session {
    let options = SessionOptions { target_partitions: 2, ..SessionOptions::default() };
    Session::new(snapshot, &options).unwrap()
}

async fn text(session: &Session, sql: &str) -> String {
    let rows = session.query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    pretty_format_batches(&rows).unwrap().to_string()
}

/// How many files the plan of a statement reads.
async fn files_of(session: &Session, sql: &str) -> usize {
    fn count(plan: &dyn ExecutionPlan) -> usize {
        let scan = plan.downcast_ref::<DataSourceExec>();
        let scan = scan.and_then(DataSourceExec::downcast_to_file_source::<ParquetSource>);
        let own = scan.map_or(0, |(config, _)| config.file_groups.iter().map(FileGroup::len).sum());
        own + plan.children().iter().map(|child| count(child.as_ref())).sum::<usize>()
    }
    count(session.physical_plan(sql).await.unwrap().as_ref())
}

/// Metrics that `EXPLAIN ANALYZE` prints, such as `output_rows=3`.
async fn metric(session: &Session, sql: &str, name: &str) -> String {
    let plan = text(session, &format!("EXPLAIN ANALYZE {sql}")).await;
    let from =
        plan.split_once(&format!("{name}=")).unwrap_or_else(|| panic!("no {name}: {plan}")).1;
    from.split([',', ']']).next().unwrap().to_owned()
}

#[tokio::test]
async fn scans_of_committed_files_can_be_sent_to_another_node() {
    let data = tempfile::tempdir().unwrap();
    let session = session(committed(data.path()));
    for sql in [
        "SELECT * FROM spans WHERE service_name = 'inventory' ORDER BY start_unix_nano, span_id",
        "SELECT span_name, attributes['number'] FROM spans WHERE trace_id = '9e3779b97f4a7c150000000000000000' ORDER BY 1",
        "SELECT date, service_name, hist_merge(duration), hist_quantile(duration, 0.99), fraction_above(duration, 1e8), sum(span_count) FROM operation_minutes WHERE time >= TIMESTAMP '2026-01-08T00:00:00Z' GROUP BY 1, 2 ORDER BY 1, 2",
        "SELECT * FROM payload_growth(TIMESTAMP '2026-01-08T10:10:00Z', INTERVAL '5 minutes', INTERVAL '7 days') ORDER BY direction",
        "SELECT trace_hex(trace_id), span_hex(parent_span_id), hist_of(duration_ns) FROM spans GROUP BY 1, 2 ORDER BY 1, 2",
        "SELECT id, kind FROM changes ORDER BY id",
        "SELECT histogram_quantile(hist_merge(duration), 0.5) FROM operation_minutes",
    ] {
        let plan = session.physical_plan(sql).await.unwrap();
        let here = collect(Arc::clone(&plan), session.task_context()).await.unwrap();
        let bytes = physical_plan_to_bytes(plan).unwrap();
        let sent = physical_plan_from_bytes(&bytes, &session.task_context()).unwrap();
        let there = collect(sent, session.task_context()).await.unwrap();
        assert!(here.iter().any(|batch| batch.num_rows() > 0), "{sql}");
        let (here, there) = (pretty_format_batches(&here), pretty_format_batches(&there));
        assert_eq!(here.unwrap().to_string(), there.unwrap().to_string(), "{sql}");
    }
}

#[tokio::test]
async fn time_and_statistics_choose_files() {
    let data = tempfile::tempdir().unwrap();
    let snapshot = committed(data.path());
    let check = async |snapshot: &Snapshot, condition: &str, expected: usize| {
        let sql = format!("SELECT span_name FROM spans WHERE {condition}");
        assert_eq!(files_of(&session(snapshot.clone()), &sql).await, expected, "{condition}");
    };
    // Ten minutes in each of two weeks, a file each, and one more.
    check(&snapshot, "duration_ns > 0", 21).await;
    check(&snapshot, "time >= TIMESTAMP '2026-01-08T00:00:00Z'", 11).await;
    check(&snapshot, "time >= TIMESTAMP '2026-01-08T10:05:00Z'", 5).await;
    check(&snapshot, "time >= '2026-01-08T10:05:00Z' AND time < '2026-01-08T10:06:00Z'", 1).await;
    check(&snapshot, "date = '2026-01-01'", 10).await;
    check(&snapshot, "service_name = 'inventory' AND date = '2026-01-08'", 10).await;
    check(&snapshot, "duration_ns > 900000000", 7).await;
    check(&snapshot, "time > TIMESTAMP '2027-01-01T00:00:00Z'", 0).await;
    check(&snapshot, "http_response_status_code IS NOT NULL", 20).await;
    let bare = without_statistics(&snapshot);
    check(&bare, "time >= TIMESTAMP '2026-01-08T10:05:00Z'", 11).await;
    check(&bare, "time >= TIMESTAMP '2026-01-08T10:05:00Z' AND duration_ns > 900000000", 11).await;
    check(&bare, "time < TIMESTAMP '2026-01-01T00:00:00Z'", 0).await;
}

/// How many rows in memory the plan of a statement reads.
async fn rows_of(session: &Session, sql: &str) -> usize {
    fn count(plan: &dyn ExecutionPlan) -> usize {
        let scan = plan.downcast_ref::<DataSourceExec>();
        let scan = scan.and_then(|scan| scan.data_source().downcast_ref::<MemorySourceConfig>());
        let batches = scan.into_iter().flat_map(|memory| memory.partitions().iter().flatten());
        let own = batches.map(RecordBatch::num_rows).sum::<usize>();
        own + plan.children().iter().map(|child| count(child.as_ref())).sum::<usize>()
    }
    count(session.physical_plan(sql).await.unwrap().as_ref())
}

#[tokio::test]
async fn time_chooses_batches_in_memory() {
    let data = tempfile::tempdir().unwrap();
    let hot = session(layout::snapshot(&shop::batches(), Layout::Hot, data.path()));
    let check = async |condition: &str, expected: usize| {
        let sql = format!("SELECT span_name FROM spans WHERE {condition}");
        assert_eq!(rows_of(&hot, &sql).await, expected, "{condition}");
    };
    check("service_name > ''", 361).await;
    check("time >= '2026-01-08T10:05:00Z' AND time < '2026-01-08T10:06:00Z'", 18).await;
    check("start_unix_nano > 1767866700000000000", 90).await;
    check("date = '2026-01-01'", 180).await;
    check("parent_span_id IS NULL AND time > TIMESTAMP '2027-01-01T00:00:00Z'", 0).await;
}

/// A snapshot as a writer without statistics would leave it.
fn without_statistics(snapshot: &Snapshot) -> Snapshot {
    let spans = snapshot.table(Table::Spans);
    let files = spans.files.iter().cloned().map(|mut file| {
        file.statistics = Arc::default();
        file
    });
    let files = files.collect::<Vec<_>>().into();
    Snapshot::new([(Table::Spans, TableSnapshot { files, ..spans })])
}

#[tokio::test]
async fn counts_and_bounds_need_no_file() {
    let data = tempfile::tempdir().unwrap();
    let snapshot = committed(data.path());
    std::fs::remove_dir_all(data.path().join("default/spans")).unwrap();
    let session = session(snapshot);
    let counted = text(
        &session,
        "SELECT count(*), min(start_unix_nano), max(duration_ns), min(date), count(parent_span_id) FROM spans",
    )
    .await;
    assert!(counted.contains("361") && counted.contains("960000000"), "{counted}");
    let error = session.query("SELECT max(span_name) FROM spans").await.unwrap_err();
    assert_eq!(error.code(), "storage", "{error}");
}

#[tokio::test]
async fn a_trace_is_found_by_bloom_filters() {
    let data = tempfile::tempdir().unwrap();
    let session = session(committed(data.path()));
    let lookup = format!("SELECT * FROM spans WHERE trace_id = '{}'", shop::trace_id(42));
    assert_eq!(files_of(&session, "SELECT * FROM spans WHERE duration_ns > 0").await, 21);
    assert_eq!(files_of(&session, &lookup).await, 1);
    assert_eq!(metric(&session, &lookup, "output_rows").await.trim(), "3");
    let list = format!(
        "SELECT * FROM spans WHERE trace_id IN ('{}', '{}')",
        shop::trace_id(3),
        shop::trace_id(100)
    );
    assert_eq!(files_of(&session, &list).await, 2);
    let unknown = "SELECT * FROM spans WHERE trace_id = '000000000000000000000000000000ff'";
    assert_eq!(files_of(&session, unknown).await, 0);
    let (some, other) = (shop::trace_id(3), shop::trace_id(100));
    let either = format!("SELECT * FROM spans WHERE trace_id = '{some}' OR duration_ns > 0");
    assert_eq!(files_of(&session, &either).await, 21, "any row may be asked for");
    let two = format!(
        "SELECT count(*) AS found FROM spans WHERE '{some}' = trace_id OR trace_id = '{other}'"
    );
    assert!(text(&session, &two).await.contains("| 6 "), "three spans each");
}

#[tokio::test]
async fn filters_are_evaluated_while_decoding_for_lookups_only() {
    let data = tempfile::tempdir().unwrap();
    let session = session(committed(data.path()));
    let has_filter = async |condition: &str| {
        let sql = format!("EXPLAIN FORMAT INDENT SELECT span_name FROM spans WHERE {condition}");
        text(&session, &sql).await.contains("FilterExec")
    };
    assert!(!has_filter(&format!("trace_id = '{}'", shop::trace_id(1))).await);
    assert!(
        !has_filter(&format!("trace_id IN ('{}') AND duration_ns > 1", shop::trace_id(1))).await
    );
    assert!(has_filter("duration_ns > 1").await);
    assert!(has_filter(&format!("trace_id <> '{}'", shop::trace_id(1))).await);
}

#[tokio::test]
async fn merged_histograms_are_not_read_again_for_each_quantile() {
    let data = tempfile::tempdir().unwrap();
    let session = session(committed(data.path()));
    let calls = async |columns: &str| -> usize {
        let merged =
            "SELECT hist_merge(duration) AS h FROM operation_minutes GROUP BY service_name";
        let plan = text(&session, &format!("EXPLAIN SELECT {columns} FROM ({merged})")).await;
        let projections = plan.lines().filter(|line| line.contains("ProjectionExec"));
        projections.map(|line| line.matches("histogram_quantile(").count()).sum()
    };
    let asked = "histogram_quantile(h, 0.5) AS a, histogram_quantile(h, 0.99) / 1e6 AS b";
    assert_eq!(calls(asked).await, 0);
    assert_eq!(
        calls(&format!("{asked}, h['count']")).await,
        2,
        "the histogram itself is asked for"
    );
}

/// What a join holds in memory, as text.
fn held(plan: &dyn ExecutionPlan) -> Option<String> {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return Some(displayable(join.left().as_ref()).indent(false).to_string());
    }
    plan.children().iter().find_map(|child| held(child.as_ref()))
}

#[tokio::test]
async fn a_join_holds_the_rows_of_the_narrower_condition() {
    let data = tempfile::tempdir().unwrap();
    let session = session(committed(data.path()));
    let time = "time >= '2026-01-08T10:05:20Z' AND time < '2026-01-08T10:05:25Z'";
    let checkouts =
        format!("SELECT trace_id FROM spans WHERE span_name = 'POST /checkout' AND {time}");
    let has_parent = "parent_name IS NOT NULL";
    for sql in [
        format!("SELECT span_id FROM spans WHERE trace_id IN ({checkouts}) AND {time}"),
        format!(
            "SELECT span_id FROM spans JOIN ({checkouts}) c ON spans.trace_id = c.trace_id WHERE {time}"
        ),
        format!(
            "SELECT span_id FROM ({checkouts}) c JOIN spans ON spans.trace_id = c.trace_id WHERE {time}"
        ),
        format!(
            "SELECT span_id FROM spans JOIN ({checkouts}) c ON spans.trace_id = c.trace_id WHERE {has_parent} AND {time}"
        ),
    ] {
        let plan = session.physical_plan(&sql).await.unwrap();
        let held = held(plan.as_ref()).unwrap_or_else(|| panic!("no join: {sql}"));
        assert!(held.contains("POST /checkout"), "{sql}: {held}");
    }
}

#[tokio::test]
async fn columns_that_a_file_does_not_have_are_null() {
    let data = tempfile::tempdir().unwrap();
    let snapshot = layout::snapshot_without(&shop::batches(), "service_version", data.path());
    let session = session(snapshot);
    let rows = text(&session, "SELECT count(*), count(service_version), count(service_name) FROM spans WHERE duration_ns > 0").await;
    assert!(rows.contains("| 361      | 0 "), "{rows}");
    let rows = text(
        &session,
        "SELECT count(*) FROM spans WHERE service_version IS NULL AND duration_ns > 0",
    )
    .await;
    assert!(rows.contains("361"), "{rows}");
}

#[tokio::test]
async fn a_session_counts_the_rows_that_its_queries_read() {
    for layout in [Layout::Hot, Layout::Committed, Layout::Half] {
        let data = tempfile::tempdir().unwrap();
        let session = session(layout::snapshot(&shop::batches(), layout, data.path()));
        let all = session.query("SELECT span_id, duration_ns FROM spans").await.unwrap();
        let all: u64 = all.iter().map(|batch| batch.num_rows() as u64).sum();
        assert!(all > 100);
        let after = session.work();
        assert_eq!((after.queries, after.rows_read), (1, all), "{layout:?}");
        session.query("SELECT sum(duration_ns) FROM spans").await.unwrap();
        assert_eq!(session.work().rows_read, 2 * all, "{layout:?}");
        let minute = "SELECT span_id FROM spans WHERE time >= '2026-01-08T10:05:00Z' AND time < '2026-01-08T10:06:00Z'";
        session.query(minute).await.unwrap();
        let read = session.work().rows_read - 2 * all;
        // Hot rows are looked at one by one; of files, statistics leave one.
        assert!(read > 0 && read <= all, "{layout:?}: {read} of {all}");
        assert!(layout != Layout::Committed || read < all / 10, "{read} of {all}");
        session.query("SELECT no_such_column FROM spans").await.unwrap_err();
        assert_eq!(session.work().queries, 3, "{layout:?}");
    }
}
