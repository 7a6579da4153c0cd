//! A shop calls its stock service; each request of the test is one service's part of one call. What
//! must be seen is computed from all requests at once, with nothing stored.

mod bucket;
mod concurrent;
mod crash;
mod full_disk;
mod import;
mod repair;
mod replay;
mod size_metrics;
mod sparse;

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::{
    ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use object_store::ObjectStoreExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::prepare::{Enricher, Passed, Rows};
use super::*;
use crate::hot_buffer::HotBatch;
use crate::place::Place;
use crate::reader::Reader;
use crate::record::{Decode, DecodeFailure};
use crate::rollup::{merge_partials, minutes_of_spans};
use crate::testing::{self, SizePoint, Span};

const SECOND: i64 = 1_000_000_000;
const CALL: u8 = 1;

fn options(data: &Path) -> StoreOptions {
    let minutes = StoredMinutes::Dense;
    StoreOptions { data: data.to_owned().into(), minutes, ..StoreOptions::default() }
}

fn decode() -> Decode {
    Arc::new(decode_call)
}

async fn open(data: &Path) -> Store {
    Store::open(options(data), decode()).await.unwrap()
}

/// One service's part of a call, such as `shop 7`.
fn request(service: &str, call: i64) -> LogRecord {
    let payload = format!("{service} {call}").into_bytes().into();
    LogRecord { kind: CALL, received: UnixNanos(call * SECOND), payload }
}

/// Both parts of these calls, the answering service first: parents arrive after their children.
fn calls(numbers: impl IntoIterator<Item = i64>) -> Vec<LogRecord> {
    numbers.into_iter().flat_map(|call| [request("stock", call), request("shop", call)]).collect()
}

async fn append_all(store: &Store, records: &[LogRecord]) {
    for record in records {
        store.append(record.clone(), decode_call(record).unwrap()).await.unwrap();
    }
}

fn decode_call(record: &LogRecord) -> Result<Vec<TableBatch>, DecodeFailure> {
    let text = String::from_utf8_lossy(&record.payload);
    let (service, call) = text.split_once(' ').expect("a service and a number");
    let call: i64 = call.parse().map_err(|error| DecodeFailure(format!("{call}: {error}")))?;
    let start = call * SECOND;
    let span = |id, offset, duration| Span {
        duration,
        service: if service == "shop" { "shop" } else { "stock" },
        ..Span::new(call, id, start + offset)
    };
    match service {
        "shop" => Ok(vec![
            TableBatch::new(
                Table::Spans,
                testing::spans(&[
                    Span { kind: "SERVER", name: "GET /", ..span(1, 0, 100 + call) },
                    Span {
                        kind: "CLIENT",
                        name: "ask",
                        parent: Some(1),
                        response: Some(1_000 + call),
                        ..span(2, 10, 50)
                    },
                ]),
            ),
            samples(call),
            stacks(call),
            frames(call),
        ]),
        "stock" => Ok(vec![TableBatch::new(
            Table::Spans,
            testing::spans(&[
                Span {
                    kind: "SERVER",
                    name: "GET /sku",
                    parent: Some(2),
                    response: Some(1_000 + call),
                    ..span(3, 20, 20)
                },
                Span { name: "look up", parent: Some(3), ..span(4, 22, 7) },
            ]),
        )]),
        "tidy" => {
            let late =
                Span { service: "shop", name: "tidy up", parent: Some(1), ..span(5, 60, 30) };
            Ok(vec![TableBatch::new(Table::Spans, testing::spans(&[late]))])
        }
        "sizes" => {
            let point = SizePoint {
                temporality: "cumulative",
                start: -SECOND,
                counts: [call, 0, 0],
                sum: 50.0 * call as f64,
                ..SizePoint::new(start)
            };
            let rows = testing::size_points(&[point]);
            Ok(vec![TableBatch::new(Table::MetricHistograms, rows)])
        }
        other => Err(DecodeFailure(format!("no service {other}"))),
    }
}

/// The same stack in every call of a day, and one of three others.
fn stacks(call: i64) -> TableBatch {
    let start = call * SECOND;
    let given = [
        ("time", times(&[0, 0])),
        ("stack_id", ints(&[1, 10 + call % 3])),
        ("date", dates(&[start, start])),
    ];
    TableBatch::new(Table::ProfileStacks, testing::rows(Table::ProfileStacks, 2, &given))
}

fn samples(call: i64) -> TableBatch {
    let start = call * SECOND;
    let text = |value: &str| Arc::new(StringArray::from(vec![value; 2])) as ArrayRef;
    let given = [
        ("time", times(&[start; 2])),
        ("time_unix_nano", ints(&[start; 2])),
        ("service_name", text("shop")),
        ("sample_type", text("cpu")),
        ("stack_id", ints(&[1, 10 + call % 3])),
        ("value", ints(&[call, 100])),
        ("date", dates(&[start; 2])),
    ];
    TableBatch::new(Table::ProfileSamples, testing::rows(Table::ProfileSamples, 2, &given))
}

fn frames(call: i64) -> TableBatch {
    let start = call * SECOND;
    let given = [
        ("time", times(&[0; 3])),
        ("function", Arc::new(StringArray::from(vec!["main", "work", "main"])) as ArrayRef),
        ("stack_id", ints(&[1, 1, 10 + call % 3])),
        ("file", Arc::new(StringArray::from(vec![Some("main.go"), None, Some("main.go")]))),
        ("family", Arc::new(StringArray::from(vec![None, Some("gc"), None]))),
        ("date", dates(&[start; 3])),
    ];
    let rows = testing::rows(Table::ProfileStackFrames, 3, &given);
    TableBatch::new(Table::ProfileStackFrames, rows)
}

fn finding(statement: &str) -> TableBatch {
    let text = Arc::new(StringArray::from(vec![statement])) as ArrayRef;
    let rows = testing::rows(
        Table::Findings,
        1,
        &[("time", times(&[0])), ("date", dates(&[0])), ("statement", text)],
    );
    TableBatch::new(Table::Findings, rows)
}

fn ints(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn times(nanos: &[i64]) -> ArrayRef {
    let micros = nanos.iter().map(|nanos| UnixNanos(*nanos).micros());
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
}

fn dates(nanos: &[i64]) -> ArrayRef {
    Arc::new(Date32Array::from_iter_values(nanos.iter().map(|nanos| UnixNanos(*nanos).date())))
}

/// Every table's rows as sorted text.
type Contents = BTreeMap<&'static str, Vec<String>>;

/// What these requests come to, with nothing stored in between.
fn expected(records: &[LogRecord]) -> Contents {
    let batches: Vec<_> = records
        .iter()
        .zip(1..)
        .map(|(record, sequence)| {
            Arc::new(HotBatch::new(sequence, record.received, decode_call(record).unwrap()))
        })
        .collect();
    let mut enricher = Enricher::default();
    enricher.learn(&batches);
    contents(enricher.rows(&batches, &Passed::default()).unwrap())
}

/// What a query would see.
fn seen(snapshot: &Snapshot) -> Contents {
    let without_minutes = committed(snapshot, Table::Spans, |file| file.without_minutes);
    let rows = Table::ALL.map(|table| {
        let mut rows = committed(snapshot, table, |_| true);
        rows.push(minutes_of_spans(table, &without_minutes));
        rows.extend(snapshot.table(table).hot);
        (table, rows)
    });
    contents(rows.into())
}

/// The rows of some files of a table.
fn committed(
    snapshot: &Snapshot,
    table: Table,
    is_wanted: impl Fn(&DataFile) -> bool,
) -> Vec<RecordBatch> {
    let view = snapshot.table(table);
    let files = view.files.iter().filter(|file| is_wanted(file)).flat_map(|file| {
        let content = content(&view.place.as_ref().unwrap().child(table.folder()), &file.path);
        let reader = ParquetRecordBatchReaderBuilder::try_new(content).unwrap();
        let reader = reader.build().unwrap();
        reader.map(|rows| with_date(table, &rows.unwrap(), file.date)).collect::<Vec<_>>()
    });
    files.collect()
}

fn content(table: &Place, path: &str) -> Bytes {
    if let Some(folder) = table.local() {
        return std::fs::read(folder.join(path)).unwrap().into();
    }
    let path = object_store::path::Path::from(path);
    let read = async { table.objects().get(&path).await?.bytes().await };
    futures::executor::block_on(read).unwrap()
}

fn with_date(table: Table, rows: &RecordBatch, date: i32) -> RecordBatch {
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(Date32Array::from_value(date, rows.num_rows())));
    RecordBatch::try_new(table.schema(), columns).unwrap()
}

/// Rollups are summed up first: a minute may lie in several partial rows. Stacks are taken once:
/// each commit may repeat them.
fn contents(rows: Rows) -> Contents {
    let mut contents = Contents::new();
    for (table, batches) in rows {
        let rows = concat_batches(&table.schema(), &batches).unwrap();
        let rows = if table.is_rollup() { merge_partials(table, rows) } else { rows };
        let mut lines = lines(&rows);
        lines.sort();
        if matches!(table, Table::ProfileStacks | Table::ProfileStackFrames) {
            lines.dedup();
        }
        if !lines.is_empty() {
            contents.insert(table.name(), lines);
        }
    }
    contents
}

fn lines(rows: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("-");
    let columns: Vec<_> = rows
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
        .collect();
    let names = rows.schema();
    let line = |row: usize| {
        let cells = columns
            .iter()
            .zip(names.fields())
            .map(|(column, field)| format!("{}={}", field.name(), column.value(row)));
        cells.collect::<Vec<_>>().join(" ")
    };
    (0..rows.num_rows()).map(line).collect()
}

#[track_caller]
fn check(source: &dyn SnapshotSource, records: &[LogRecord], when: &str) {
    let (seen, expected) = (seen(&source.snapshot()), expected(records));
    for (table, rows) in &expected {
        assert_eq!(seen.get(table), Some(rows), "{table} {when}");
    }
    assert_eq!(seen.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{when}");
}

#[tokio::test]
async fn rows_are_the_same_hot_committed_reopened_and_compacted() {
    let data = tempfile::tempdir().unwrap();
    let records = calls(1..=6);
    let store = open(data.path()).await;
    check(&store, &[], "of an empty folder");
    append_all(&store, &records).await;
    check(&store, &records, "while hot");
    let parents = seen(&store.snapshot())["spans"].clone();
    let has = |text: &str| parents.iter().filter(|line| line.contains(text)).count();
    assert_eq!(has("parent_service=shop parent_name=ask"), 6, "filled in across requests");
    assert_eq!(has("self_time_ns=13"), 6, "20 ns less the child's 7");
    assert_eq!(store.statistics().hot_rows, 6 * (2 + 2 + 2 + 3 + 2));

    store.flush().await.unwrap();
    assert_eq!(store.statistics().hot_rows, 0);
    assert!(store.snapshot().table(Table::Spans).hot.is_empty());
    check(&store, &records, "when committed");
    let stacks: u64 =
        store.snapshot().table(Table::ProfileStacks).files.iter().map(|file| file.rows).sum();
    assert_eq!(stacks, 4, "a commit has each stack once a day");

    let more = calls(7..=8);
    append_all(&store, &more).await;
    store.flush().await.unwrap();
    let all = [records, more].concat();
    let report = store.compact().await.unwrap();
    assert!(report.files_removed > report.files_added, "{report}");
    check(&store, &all, "when compacted");
    store.close().await.unwrap();
    drop(store);
    check(&open(data.path()).await, &all, "after a restart");
}

#[tokio::test]
async fn what_was_acknowledged_survives_without_a_close() {
    let data = tempfile::tempdir().unwrap();
    let records = calls(1..=3);
    let store = open(data.path()).await;
    append_all(&store, &records).await;
    drop(store);
    let store = open(data.path()).await;
    check(&store, &records, "after a restart");
    let more = calls(4..=5);
    append_all(&store, &more).await;
    drop(store);
    check(&open(data.path()).await, &[records, more].concat(), "after a second restart");
}

#[tokio::test]
async fn a_close_leaves_an_empty_log_and_sequences_go_on() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    append_all(&store, &calls(1..=2)).await;
    store.close().await.unwrap();
    let error = store.append(request("shop", 3), Vec::new()).await.unwrap_err();
    assert!(matches!(error, StoreError::Closed) && error.is_retryable(), "{error}");
    drop(store);
    let store = open(data.path()).await;
    assert_eq!(store.statistics().wal_bytes, 0);
    let sequence = store.append(request("shop", 3), Vec::new()).await.unwrap();
    assert_eq!(sequence, 5);
}

#[tokio::test]
async fn a_second_store_is_refused_while_the_first_is_open() {
    let data = tempfile::tempdir().unwrap();
    let first = open(data.path()).await;
    let error = Store::open(options(data.path()), decode()).await.unwrap_err();
    assert!(error.is_locked(), "{error}");
    assert!(error.to_string().contains(&data.path().display().to_string()), "{error}");
    drop(first);
    open(data.path()).await;
}

#[tokio::test]
async fn only_settled_rows_are_committed() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let records = calls([10, 20, 30]);
    append_all(&store, &records).await;
    let at = |seconds: i64| UnixNanos(seconds * SECOND);
    store.commit_settled(at(19)).await.unwrap();
    assert_eq!(store.statistics().committed.commits, 0, "nothing waited for ten seconds");
    store.commit_settled(at(31)).await.unwrap();
    assert_eq!(store.statistics().passed[&Table::Spans], 4);
    check(&store, &records, "partly committed");
    store.commit_settled(at(40)).await.unwrap();
    let statistics = store.statistics();
    assert_eq!(statistics.hot_rows, 0);
    let counts = statistics.committed;
    assert_eq!((counts.spans_with_parent, counts.parents_resolved), (9, 9));
    check(&store, &records, "all committed");
}

#[tokio::test]
async fn a_full_hot_buffer_commits_early_and_refuses_at_its_limit() {
    let data = tempfile::tempdir().unwrap();
    let one = HotBatch::new(1, UnixNanos(0), decode_call(&request("shop", 1)).unwrap());
    let mut probe = crate::hot_buffer::HotBuffer::default();
    probe.push(one);
    let limited = StoreOptions { hot_bytes_max: probe.bytes() * 3, ..options(data.path()) };
    let store = Store::open(limited, decode()).await.unwrap();
    let mut records = Vec::new();
    let mut numbers = 1..10;
    let error = loop {
        let record = request("shop", numbers.next().expect("the limit holds"));
        match store.append(record.clone(), decode_call(&record).unwrap()).await {
            Ok(_) => records.push(record),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::HotBufferFull { .. }) && error.is_retryable(), "{error}");
    check(&store, &records, "when full");
    let now = records.last().expect("some were taken").received;
    store.commit_settled(now).await.unwrap();
    let statistics = store.statistics();
    let newest = statistics.hot_bytes;
    assert!(0 < newest && newest <= probe.bytes(), "{newest} bytes wait for their traces");
    assert_eq!(statistics.committed.commits, 1);
    let record = request("shop", 100);
    store.append(record.clone(), decode_call(&record).unwrap()).await.unwrap();
    records.push(record);
    check(&store, &records, "after the early commit");
}

#[tokio::test]
async fn the_timer_commits_until_it_is_stopped() {
    let data = tempfile::tempdir().unwrap();
    let quick = StoreOptions { commit_interval: Duration::from_millis(1), ..options(data.path()) };
    let store = Store::open(quick, decode()).await.unwrap();
    let records = calls(1..=2);
    append_all(&store, &records).await;
    let committed = async {
        while store.statistics().hot_rows > 0 {
            tokio::task::yield_now().await;
        }
    };
    store.run(|| UnixNanos(60 * SECOND), committed).await;
    check(&store, &records, "committed by the timer");
}

#[test]
fn rows_of_the_service_read_back_and_cut_ones_are_an_error() {
    let batches = vec![finding("it's slow"), samples(1), finding("it grew")];
    let payload = local_rows::encode(&batches).unwrap();
    let read = local_rows::decode(&payload).unwrap();
    let tables = |batches: &[TableBatch]| batches.iter().map(|b| b.table).collect::<Vec<_>>();
    assert_eq!(tables(&read), tables(&batches));
    assert!(read.iter().zip(&batches).all(|(read, written)| read.rows == written.rows));
    let first = local_rows::encode(&batches[..1]).unwrap().len();
    for length in (1..first).chain(first + 1..payload.len()) {
        let cut = payload.slice(..length);
        let second = first + local_rows::encode(&batches[1..2]).unwrap().len();
        assert_eq!(local_rows::decode(&cut).is_ok(), length == second, "cut to {length}");
    }
    let foreign = local_rows::decode(&Bytes::from_static(b"\x05house\0\0\0\0"));
    assert_eq!(foreign.unwrap_err().0, "there is no table \"house\"");
}

#[test]
fn stacks_differ_by_day_and_functions_by_file() {
    let day = 24 * 3_600 * SECOND;
    let rows = |date: i64, file: Option<&str>| {
        let given = [
            ("date", dates(&[date])),
            ("stack_id", ints(&[7])),
            ("function", Arc::new(StringArray::from(vec!["main"])) as ArrayRef),
            ("file", Arc::new(StringArray::from(vec![file])) as ArrayRef),
        ];
        testing::rows(Table::ProfileStackFrames, 1, &given)
    };
    let kept = |batches: &[RecordBatch]| {
        let kept = stacks::distinct(Table::ProfileStackFrames, batches.to_vec()).unwrap();
        kept.iter().map(RecordBatch::num_rows).sum::<usize>()
    };
    assert_eq!(kept(&[rows(0, Some("a.go")), rows(0, Some("a.go"))]), 1);
    assert_eq!(kept(&[rows(0, None), rows(0, None)]), 1);
    assert_eq!(kept(&[rows(0, Some("a.go")), rows(0, Some("b.go")), rows(0, None)]), 3);
    assert_eq!(kept(&[rows(0, Some("a.go")), rows(day, Some("a.go"))]), 2);
    assert_eq!(kept(&[rows(0, Some("")), rows(0, None)]), 2, "no file is not an empty one");
}

#[tokio::test]
async fn findings_are_logged_and_replayed() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let appended = vec![finding("it's slow"), finding("it grew")];
    store.append_rows(UnixNanos(5), appended.clone()).await.unwrap();
    let expected = seen(&Snapshot::in_memory(appended));
    assert_eq!(seen(&store.snapshot()), expected);
    drop(store);
    let store = open(data.path()).await;
    assert_eq!(seen(&store.snapshot()), expected);
    store.flush().await.unwrap();
    assert_eq!(seen(&store.snapshot()), expected);
}

#[tokio::test]
async fn rows_that_do_not_fit_are_refused_before_they_are_logged() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let derived = testing::rows(Table::EdgeMinutes, 0, &[]);
    let derived = TableBatch { table: Table::EdgeMinutes, rows: derived };
    let foreign = TableBatch { table: Table::Spans, rows: testing::rows(Table::Deploys, 0, &[]) };
    for wrong in [derived, foreign] {
        let error = store.append(request("shop", 1), vec![wrong]).await.unwrap_err();
        assert!(matches!(error, StoreError::Rows { .. }) && !error.is_retryable(), "{error}");
    }
    assert_eq!(store.statistics().wal_bytes, 0);
}

#[tokio::test]
async fn a_record_that_no_longer_decodes_is_named_and_repair_leaves_it_out() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let records = calls(1..=2);
    append_all(&store, &records[..2]).await;
    store.append(request("unheard-of", 1), Vec::new()).await.unwrap();
    append_all(&store, &records[2..]).await;
    drop(store);
    let error = Store::open(options(data.path()), decode()).await.unwrap_err();
    assert!(matches!(error, StoreError::Undecodable { sequence: 3, kind: CALL, .. }), "{error}");
    let repair = StoreOptions { wal_repair: true, ..options(data.path()) };
    let store = Store::open(repair, decode()).await.unwrap();
    check(&store, &records, "without the record");
}

#[tokio::test]
async fn a_log_that_lost_committed_records_goes_on_behind_them() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let records = calls(1..=2);
    append_all(&store, &records).await;
    store.flush().await.unwrap();
    drop(store);
    // As after a loss of power without syncs: the tables have more than the log.
    let segment = data.path().join("wal/wal-00000000000000000001.log");
    let bytes = std::fs::read(&segment).unwrap();
    std::fs::write(&segment, &bytes[..bytes.len() - 1]).unwrap();
    let store = open(data.path()).await;
    check(&store, &records, "from the tables");
    let more = calls(3..=3);
    append_all(&store, &more).await;
    let all = [records, more].concat();
    check(&store, &all, "with new rows");
    drop(store);
    check(&open(data.path()).await, &all, "after another restart");
}

#[tokio::test]
async fn tenants_lie_in_folders_of_their_own() {
    let data = tempfile::tempdir().unwrap();
    let wal = data.path().join("log-of-b");
    let b = StoreOptions { tenant: "b".to_owned(), wal: Some(wal), ..options(data.path()) };
    let store = Store::open(b.clone(), decode()).await.unwrap();
    let records = calls(1..=1);
    append_all(&store, &records).await;
    store.close().await.unwrap();
    drop(store);
    assert!(data.path().join("b/spans/_delta_log").is_dir());
    check(&Reader::open(b, decode()).await.unwrap(), &records, "of tenant b");
    check(&Reader::open(options(data.path()), decode()).await.unwrap(), &[], "of the default");
}
