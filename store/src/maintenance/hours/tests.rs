use std::sync::Arc;

use object_store::memory::InMemory;
use url::Url;

use super::*;
use crate::compact::{Selection, compact};
use crate::rollup::operation_minutes;
use crate::testing::{Span, spans};
use crate::trace_index::integers;

const MINUTE: i64 = 60_000_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A span every seven minutes of some hours of the days after 1970-01-01, some of them slower.
fn minutes(hours: &[i64]) -> RecordBatch {
    let starts = hours.iter().flat_map(|hour| (0..8).map(move |n| hour * HOUR + n * 7 * MINUTE));
    let of = |(id, start): (usize, i64)| {
        let id = i64::try_from(id).unwrap();
        Span { duration: 1_000 * (1 + start % 13), ..Span::new(id, id, start) }
    };
    operation_minutes(&[spans(&starts.enumerate().map(of).collect::<Vec<_>>())])
}

struct Tables {
    minutes: TableHandle,
    hours: TableHandle,
}

impl Tables {
    async fn new() -> Self {
        let place = Place::in_memory(Arc::new(InMemory::new()), &Url::parse("s3://b/d/").unwrap());
        let open = |table: Table| {
            let place = place.child(table.name());
            async move { TableHandle::open_or_create(&place, table).await.unwrap() }
        };
        Self {
            minutes: open(Table::OperationMinutes).await,
            hours: open(Table::OperationHours).await,
        }
    }

    async fn add(&mut self, rows: RecordBatch) {
        self.minutes.commit(vec![rows], &[]).await.unwrap();
    }

    async fn roll_up(&mut self, now: i64) -> Vec<i32> {
        let now = UnixNanos(now);
        roll_up(Minutes { stored: &self.minutes, spans: None }, &mut self.hours, now, &|_| true)
            .await
            .unwrap()
    }

    /// Rows by hour since 1970, and their spans.
    async fn spans_by_hour(&self) -> Vec<(i64, i64)> {
        let mut found = Vec::new();
        for file in self.hours.files().iter() {
            let content = local_copy(self.hours.place(), file).await.unwrap();
            for rows in rows_in_order(Table::OperationHours, file, content).unwrap() {
                let rows = rows.unwrap();
                let times = rows["time"].as_primitive::<TimestampMicrosecondType>();
                let spans = integers(&rows, "span_count").unwrap();
                let hours = times.values().iter().map(|micros| micros / HOUR_MICROS);
                found.extend(hours.zip(spans.values().iter().copied()));
            }
        }
        found
    }
}

#[test]
fn parts_of_hours_add_up_to_what_their_spans_come_to() {
    let all = minutes(&[1, 2, 5]);
    let whole = hours(Table::OperationMinutes, &all).unwrap();
    assert_eq!(whole.num_rows(), 3);
    let parts = [all.slice(0, 7), all.slice(7, 6), all.slice(13, all.num_rows() - 13)];
    let parts = parts.map(|part| hours(Table::OperationMinutes, &part).unwrap());
    let parts = concat_batches(&all.schema(), &parts).unwrap();
    assert_eq!(merge_partials(Table::OperationHours, parts), whole);
    // A minute of which all spans started in its first moment is its own hour.
    let mut alone = minutes(&[3]).slice(0, 1);
    alone = hours(Table::OperationMinutes, &alone).unwrap();
    assert_eq!(alone, minutes(&[3]).slice(0, 1));
}

#[tokio::test]
async fn an_hour_is_there_once_it_has_ended_and_only_once() {
    let mut tables = Tables::new().await;
    assert_eq!(tables.roll_up(DAY).await, [0; 0], "there is nothing");
    tables.add(minutes(&[1, 2])).await;
    assert_eq!(tables.roll_up(HOUR + 30 * MINUTE).await, [0; 0], "it has not ended");
    assert_eq!(tables.roll_up(2 * HOUR + 9 * MINUTE).await, [0; 0], "some may be late");
    assert_eq!(tables.roll_up(2 * HOUR + 10 * MINUTE).await, [0]);
    assert_eq!(tables.spans_by_hour().await, [(1, 8)]);
    let version = tables.hours.version();
    assert_eq!(tables.roll_up(2 * HOUR + 50 * MINUTE).await, [0; 0], "nothing has changed");
    tables.add(minutes(&[2])).await;
    assert_eq!(tables.roll_up(2 * HOUR + 50 * MINUTE).await, [0; 0], "of an hour that goes on");
    assert_eq!(tables.hours.version(), version);
    assert_eq!(tables.roll_up(3 * HOUR + 10 * MINUTE).await, [0]);
    assert_eq!(tables.spans_by_hour().await, [(1, 8), (2, 16)]);
}

#[tokio::test]
async fn late_minutes_and_compaction_leave_every_span_counted_once() {
    let mut tables = Tables::new().await;
    for hours in [&[1, 2][..], &[23, 24], &[25]] {
        tables.add(minutes(hours)).await;
    }
    let now = 2 * DAY + HOUR;
    assert_eq!(tables.roll_up(now).await, [0, 1]);
    assert_eq!(tables.spans_by_hour().await, [(1, 8), (2, 8), (23, 8), (24, 8), (25, 8)]);
    tables.add(minutes(&[2])).await;
    assert_eq!(tables.roll_up(now).await, [0], "the other date is as it was");
    let expected = [(1, 8), (2, 16), (23, 8), (24, 8), (25, 8)];
    assert_eq!(sorted(tables.spans_by_hour().await), expected);
    compact(&mut tables.minutes, Selection::All, &|_| true).await.unwrap();
    assert_eq!(tables.roll_up(now).await, [0, 1]);
    assert_eq!(sorted(tables.spans_by_hour().await), expected);
    assert_eq!(tables.hours.files().len(), 2, "a date has one file");
    assert_eq!(tables.roll_up(now).await, [0; 0]);
    let old =
        tables.minutes.files().iter().filter(|file| file.date == 0).cloned().collect::<Vec<_>>();
    tables.minutes.drop_files(&old).await.unwrap();
    assert_eq!(tables.roll_up(now).await, [0; 0], "minutes past their retention take none along");
    assert_eq!(sorted(tables.spans_by_hour().await), expected);
}

#[tokio::test]
async fn what_hours_were_made_of_is_known_of_their_files() {
    let mut tables = Tables::new().await;
    tables.add(minutes(&[1, 2])).await;
    tables.roll_up(2 * HOUR + 10 * MINUTE).await;
    tables.hours.refresh().await.unwrap();
    let file = tables.hours.files()[0].clone();
    let until =
        |tables: &Tables| made_until(&file, (Table::OperationMinutes, &tables.minutes.files()));
    assert_eq!(until(&tables), Some(2 * HOUR_MICROS));
    tables.add(minutes(&[2])).await;
    assert_eq!(until(&tables), Some(2 * HOUR_MICROS), "not of that hour");
    tables.add(minutes(&[1])).await;
    assert_eq!(until(&tables), None, "it waits to be made again");
}

fn sorted(mut rows: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    rows.sort_unstable();
    rows
}
