use std::sync::Arc;

use object_store::memory::InMemory;
use url::Url;

use super::retention::expired;
use super::*;
use crate::snapshot::DataFile;

const DAY: i64 = 86_400_000_000_000;

fn file(date: i32, written_day: i64) -> DataFile {
    DataFile {
        path: format!("date={date}/{written_day}"),
        size_bytes: 1,
        rows: 1,
        date,
        written_unix_ms: written_day * DAY / 1_000_000,
        committed_as: None,
        without_minutes: false,
        statistics: Arc::default(),
    }
}

fn day(day: i64) -> UnixNanos {
    UnixNanos(day * DAY)
}

#[test]
fn a_partition_goes_when_its_date_and_its_newest_file_are_past_the_limit() {
    let limit = Some(Duration::from_hours(24 * 7));
    let files = [file(100, 100), file(100, 101), file(105, 105)];
    let gone = |now| expired(&files, limit, now).iter().map(|f| f.path.clone()).collect::<Vec<_>>();
    assert_eq!(gone(day(108)), Vec::<String>::new(), "the end of day 100 is seven days ago");
    assert_eq!(gone(UnixNanos(108 * DAY + 1)), ["date=100/100", "date=100/101"]);
    assert_eq!(expired(&files, None, day(10_000)), [], "for ever");

    let imported = [file(100, 100), file(100, 110)];
    assert_eq!(expired(&imported, limit, day(112)), [], "old rows came two days ago");
    assert_eq!(expired(&imported, limit, UnixNanos(117 * DAY + 1)).len(), 2);
    assert_eq!(expired(&files, limit, day(50)), [], "a clock that was set back drops nothing");
}

#[test]
fn every_table_has_a_retention() {
    let each = Table::ALL.map(|table| Retention::default().of(table).unwrap().as_secs() / 86_400);
    assert!(each.iter().all(|days| [7, 14, 400].contains(days)), "{each:?}");
    assert_eq!(Retention::default().of(Table::EdgeMinutes), Some(Duration::from_hours(400 * 24)));
}

fn bucket() -> Place {
    Place::in_memory(Arc::new(InMemory::new()), &Url::parse("s3://bucket/data/").unwrap())
}

#[tokio::test]
async fn one_node_at_a_time_has_the_lease() {
    let table = bucket().child("spans");
    assert!(lease::take(&table, "a", day(1)).await.unwrap());
    assert!(!lease::take(&table, "b", day(1)).await.unwrap());
    assert!(lease::take(&table, "a", day(1)).await.unwrap(), "renewed");
    assert!(lease::take(&bucket().child("spans"), "b", day(1)).await.unwrap(), "another bucket");
    let later = |minutes: i64| UnixNanos(day(1).0 + minutes * 60_000_000_000);
    assert!(!lease::take(&table, "b", later(10)).await.unwrap(), "clocks differ");
    assert!(lease::take(&table, "b", later(11)).await.unwrap(), "it ran out");
    assert!(!lease::take(&table, "a", later(12)).await.unwrap());
}

#[tokio::test]
async fn a_lease_that_is_given_up_is_free_and_only_its_holder_gives_it_up() {
    let table = bucket().child("spans");
    lease::release(&table, "a").await.unwrap();
    assert!(lease::take(&table, "a", day(1)).await.unwrap());
    lease::release(&table, "b").await.unwrap();
    assert!(!lease::take(&table, "b", day(1)).await.unwrap());
    lease::release(&table, "a").await.unwrap();
    assert!(lease::take(&table, "b", day(1)).await.unwrap());
    lease::release(&table, "a").await.unwrap();
    assert!(!lease::take(&table, "a", day(1)).await.unwrap());
}

#[tokio::test]
async fn of_many_nodes_that_ask_at_once_one_gets_the_lease() {
    for round in 0..20 {
        let table = bucket().child("spans");
        let names: Vec<_> = (0..8).map(|node| format!("node {round} {node}")).collect();
        let asked = names.iter().map(|name| lease::take(&table, name, day(1)));
        let taken: Vec<_> = futures::future::join_all(asked).await;
        assert_eq!(taken.into_iter().filter(|taken| *taken.as_ref().unwrap()).count(), 1);
    }
}

#[tokio::test]
async fn a_lease_that_cannot_be_read_is_nobodys() {
    use object_store::{ObjectStoreExt, PutPayload};
    let table = bucket().child("spans");
    let path = object_store::path::Path::from("_upriver/maintenance.json");
    table.objects().put(&path, PutPayload::from_static(b"{")).await.unwrap();
    assert!(lease::take(&table, "a", day(1)).await.unwrap());
    assert!(!lease::take(&table, "b", day(1)).await.unwrap());
}
