use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;

use parquet::file::metadata::ParquetMetaDataReader;

use super::*;
use crate::compact::{Selection, compact};
use crate::delta::TableHandle;
use crate::maintenance::hours::{Minutes, roll_up};
use crate::testing::{Span, spans};
use crate::time::UnixNanos;
use crate::trace_index::TraceIndex;
use crate::trace_pages::PageFilters;

const HOUR: i64 = 3_600_000_000_000;

fn of_day(day: i64) -> RecordBatch {
    let of = |id| Span { duration: 10 * id, ..Span::new(id, id, day * 24 * HOUR + id * HOUR) };
    let rows = spans(&[of(1), Span { kind: "SERVER", ..of(2) }, of(3)]);
    let mut index = TraceIndex::default();
    index.insert(&rows);
    index.enrich_spans(&rows)
}

/// A folder with two days of spans and the minutes of `minutes`.
async fn folder(minutes: &[RecordBatch]) -> (tempfile::TempDir, StoreOptions) {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { data: folder.path().to_owned().into(), ..StoreOptions::default() };
    let places = DataFolder::new(&options).unwrap();
    let [mut raw, mut rolled] = [
        TableHandle::open_or_create(&places.table(Table::Spans), Table::Spans).await.unwrap(),
        TableHandle::open_or_create(
            &places.table(Table::OperationMinutes),
            Table::OperationMinutes,
        )
        .await
        .unwrap(),
    ];
    for day in [1, 2] {
        raw.commit(vec![of_day(day)], &[]).await.unwrap();
    }
    for part in minutes {
        let part = operation_minutes(std::slice::from_ref(part));
        rolled.commit(vec![part], &[]).await.unwrap();
    }
    (folder, options)
}

async fn problems(options: &StoreOptions) -> BTreeMap<Table, Vec<String>> {
    let verified = verify(options, |_, _| {}).await.unwrap();
    verified.into_iter().map(|found| (found.table, found.problems)).collect()
}

#[tokio::test]
async fn tables_that_agree_have_no_problem() {
    let (_folder, options) = folder(&[of_day(1), of_day(2)]).await;
    let verified = verify(&options, |_, _| {}).await.unwrap();
    let figures: Vec<_> = verified.iter().map(|v| (v.table, v.files, v.rows)).collect();
    assert_eq!(figures, [(Table::Spans, 2, 6), (Table::OperationMinutes, 2, 6)]);
    assert!(verified.iter().all(|found| found.problems.is_empty()), "{verified:?}");
}

#[tokio::test]
async fn minutes_that_are_missing_or_twice_are_found() {
    for minutes in [vec![of_day(1)], vec![of_day(1), of_day(2), of_day(2)]] {
        let (_folder, options) = folder(&minutes).await;
        let found = problems(&options).await;
        assert_eq!(found[&Table::Spans], Vec::<String>::new());
        let [problem] = &found[&Table::OperationMinutes][..] else { panic!("{found:?}") };
        assert!(problem.starts_with("1970-01-03: "), "{problem}");
    }
}

#[tokio::test]
async fn edges_that_are_missing_or_of_others_are_found() {
    let edges = |service| {
        let served = Span { kind: "SERVER", service, ..Span::new(2, 2, 26 * HOUR) };
        let called = Span { kind: "SERVER", service, ..Span::new(2, 2, 50 * HOUR) };
        edge_minutes(&[spans(&[served]), spans(&[called])], &[])
    };
    // As many calls, and of another service.
    for (stored, problems_wanted) in [("other", 2), ("shop", 2)] {
        let (_folder, options) = folder(&[of_day(1), of_day(2)]).await;
        let place = DataFolder::new(&options).unwrap().table(Table::EdgeMinutes);
        let mut table = TableHandle::open_or_create(&place, Table::EdgeMinutes).await.unwrap();
        table.commit(vec![edges(stored)], &[]).await.unwrap();
        let found = problems(&options).await;
        assert_eq!(found[&Table::EdgeMinutes].len(), problems_wanted, "{found:?}");
    }
    let (_folder, options) = folder(&[of_day(1), of_day(2)]).await;
    let place = DataFolder::new(&options).unwrap().table(Table::EdgeMinutes);
    let mut table = TableHandle::open_or_create(&place, Table::EdgeMinutes).await.unwrap();
    table.commit(vec![edge_minutes(&[of_day(1), of_day(2)], &[])], &[]).await.unwrap();
    assert_eq!(problems(&options).await[&Table::EdgeMinutes], Vec::<String>::new());
}

#[tokio::test]
async fn hours_that_are_not_the_sum_of_their_minutes_are_found() {
    let (_folder, options) = folder(&[of_day(1), of_day(2)]).await;
    let places = DataFolder::new(&options).unwrap();
    let minutes = Table::OperationMinutes;
    let minutes = TableHandle::open(&places.table(minutes), minutes).await.unwrap();
    let place = places.table(Table::OperationHours);
    let mut hours = TableHandle::open_or_create(&place, Table::OperationHours).await.unwrap();
    let now = UnixNanos(3 * 24 * HOUR + HOUR);
    assert_eq!(
        roll_up(Minutes { stored: &minutes, spans: None }, &mut hours, now, &|_| true)
            .await
            .unwrap(),
        [1, 2]
    );
    assert_eq!(problems(&options).await[&Table::OperationHours], Vec::<String>::new());

    let of = |day| hours.files().iter().find(|file| file.date == day).unwrap().clone();
    let (first, second) = (of(1), of(2));
    // As if a round had forgotten the rows of a day and taken those of another.
    let gone = BTreeSet::from([first.path.clone()]);
    let mut other = hours.write(vec![operation_minutes(&[of_day(1).slice(0, 2)])]).await.unwrap();
    other[0].data.committed_as = first.committed_as;
    hours.replace_rows(&gone, other).await.unwrap();
    let found = problems(&options).await;
    let [problem] = &found[&Table::OperationHours][..] else { panic!("{found:?}") };
    assert!(problem.starts_with("1970-01-02: "), "{problem}");
    assert_eq!(hours.files().iter().filter(|file| file.path == second.path).count(), 1);
}

#[tokio::test]
async fn files_that_are_gone_or_others_are_found() {
    let (folder, options) = folder(&[of_day(1), of_day(2)]).await;
    let places = DataFolder::new(&options).unwrap();
    let handle = TableHandle::open(&places.table(Table::Spans), Table::Spans).await.unwrap();
    let paths: BTreeSet<_> = handle.files().iter().map(|file| file.path.clone()).collect();
    let table = folder.path().join("default/spans");
    let [first, second] = &paths.into_iter().collect::<Vec<_>>()[..] else { panic!("two files") };
    std::fs::copy(table.join(second), table.join(first)).unwrap();
    let found = problems(&options).await;
    let of_spans = &found[&Table::Spans];
    assert!(
        of_spans.iter().any(|p| p.contains(first.as_str()) && p.contains("`time`")),
        "{found:?}"
    );
    assert_eq!(found[&Table::OperationMinutes].len(), 1, "{found:?}");

    std::fs::remove_file(table.join(second)).unwrap();
    let found = problems(&options).await;
    assert!(found[&Table::Spans].iter().any(|p| p.starts_with(second.as_str())), "{found:?}");
}

#[tokio::test]
async fn traces_that_a_lookup_would_miss_are_found() {
    let (folder, options) = folder(&[of_day(1), of_day(1), of_day(2)]).await;
    let place = DataFolder::new(&options).unwrap().table(Table::Spans);
    let mut handle = TableHandle::open_or_create(&place, Table::Spans).await.unwrap();
    handle.commit(vec![of_day(1)], &[]).await.unwrap();
    compact(&mut handle, Selection::All, &|_| true).await.unwrap();
    assert_eq!(problems(&options).await[&Table::Spans], Vec::<String>::new());
    let merged = handle.files().iter().find(|file| file.rows == 6).unwrap().path.clone();
    let path = folder.path().join("default/spans").join(&merged);
    let footer = ParquetMetaDataReader::new().parse_and_finish(&File::open(&path).unwrap());
    let filters = PageFilters::of(&footer.unwrap()).unwrap().row_groups.concat();
    let [Range { start, end }] = filters[..] else { panic!("{filters:?}") };
    let mut file = File::options().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(start)).unwrap();
    file.write_all(&vec![0; usize::try_from(end - start).unwrap()]).unwrap();
    let expected = format!("{merged}: a lookup by trace would miss 6 of its rows");
    assert_eq!(problems(&options).await[&Table::Spans], [expected]);
}

#[test]
fn bounds_may_be_wider_than_the_rows_and_no_narrower() {
    let of = |min: i64, max: i64, nulls| ColumnStatistics {
        min: Some(Bound::Int(min)),
        max: Some(Bound::Int(max)),
        null_count: Some(nulls),
    };
    let rows = of(5, 9, 1);
    assert!(holds(&of(5, 9, 1), &rows, 10));
    assert!(holds(&of(4, 10, 1), &rows, 10));
    assert!(!holds(&of(6, 9, 1), &rows, 10));
    assert!(!holds(&of(5, 8, 1), &rows, 10));
    assert!(!holds(&of(5, 9, 2), &rows, 10));
    assert!(holds(&ColumnStatistics::default(), &rows, 10));
    let float = |value| Some(Bound::Float(value));
    let of_floats =
        |min| ColumnStatistics { min: float(min), max: float(1.0), null_count: Some(0) };
    let rows_of_floats = of_floats(-23.078932606092362);
    assert!(holds(&of_floats(-23.07893260609236), &rows_of_floats, 10));
    assert!(!holds(&of_floats(-23.0789326), &rows_of_floats, 10));
    let nothing = ColumnStatistics { null_count: Some(10), ..ColumnStatistics::default() };
    assert!(holds(&nothing, &nothing, 10));
    assert!(!holds(&of(5, 9, 10), &ColumnStatistics { null_count: Some(9), ..nothing }, 10));
}
