//! `/metrics` in the Prometheus text format.
//!
//! Names follow the Collector's receivers: accepted items were stored, refused ones the sender should
//! not have sent, failed ones were good and could not be stored.

use std::fmt::{Display, Write};

use upriver_store::store::StoreStatistics;

use super::Receiver;
use super::counters::{Door, DoorCounters, get};

/// A count of items, and what it says.
type ItemCount = (&'static str, &'static str, fn(&DoorCounters) -> u64);

const ITEM_COUNTS: [ItemCount; 3] =
    [
        ("accepted", "stored", |door| get(&door.accepted)),
        ("refused", "left out, because the sender should not have sent them", |door| {
            get(&door.refused)
        }),
        ("failed", "that could not be stored and should be sent again", |door| get(&door.failed)),
    ];

/// The page.
pub(super) fn render(receiver: &Receiver) -> String {
    let mut page = Page::default();
    render_items(receiver, &mut page);
    render_requests(receiver, &mut page);
    let (requests, bytes) = receiver.shared.admission.in_flight();
    page.gauge("upriver_receiver_inflight_requests", "Requests being read or stored.", requests);
    page.gauge("upriver_receiver_inflight_bytes", "Bytes of their bodies in memory.", bytes);
    let ready = receiver.shared.slot.open();
    page.gauge("upriver_ready", "1 when requests are taken.", usize::from(ready.is_ok()));
    if let Ok(store) = ready {
        render_store(&store.statistics(), &mut page);
    }
    page.0
}

fn render_items(receiver: &Receiver, page: &mut Page) {
    for items in ["spans", "metric_points", "log_records", "profile_samples", "deploys"] {
        for (outcome, meaning, count) in ITEM_COUNTS {
            let name = format!("upriver_receiver_{outcome}_{items}_total");
            let help = format!("Number of {} {meaning}.", items.replace('_', " "));
            page.header(&name, "counter", &help);
            for door in Door::ALL.into_iter().filter(|door| door.items() == items) {
                let value = count(receiver.shared.counters.door(door));
                page.sample(&name, &door_labels(door), value);
            }
        }
    }
}

fn render_requests(receiver: &Receiver, page: &mut Page) {
    const NAME: &str = "upriver_receiver_requests_total";
    page.header(
        NAME,
        "counter",
        "Requests by outcome; failed ones are ours and can be sent again.",
    );
    for door in Door::ALL {
        let counters = receiver.shared.counters.door(door);
        let outcomes = [
            ("ok", &counters.requests_ok),
            ("refused", &counters.requests_refused),
            ("failed", &counters.requests_failed),
        ];
        for (outcome, counter) in outcomes {
            let labels =
                format!("{},signal=\"{}\",outcome=\"{outcome}\"", door_labels(door), door.items());
            page.sample(NAME, &labels, get(counter));
        }
    }
}

fn render_store(statistics: &StoreStatistics, page: &mut Page) {
    const COMMITTED: &str = "upriver_store_committed_sequence";
    page.gauge("upriver_store_wal_bytes", "Bytes of the log on disk.", statistics.wal_bytes);
    let help = "Rows that are durable and not committed yet.";
    page.gauge("upriver_store_hot_rows", help, statistics.hot_rows);
    page.gauge("upriver_store_hot_bytes", "Their memory.", statistics.hot_bytes);
    page.header("upriver_store_commits_total", "counter", "Commits since the start.");
    page.line(format_args!("upriver_store_commits_total {}", statistics.commits));
    page.header(COMMITTED, "gauge", "Log sequence up to which a table has all rows.");
    for (table, sequence) in &statistics.passed {
        page.sample(COMMITTED, &format!("table=\"{}\"", table.name()), *sequence);
    }
}

fn door_labels(door: Door) -> String {
    format!("receiver=\"{}\",transport=\"{}\"", door.receiver(), door.transport())
}

/// A page in the making.
#[derive(Default)]
struct Page(String);

impl Page {
    fn header(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: &str, value: u64) {
        self.line(format_args!("{name}{{{labels}}} {value}"));
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.header(name, "gauge", help);
        self.line(format_args!("{name} {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let written = writeln!(self.0, "{line}");
        debug_assert!(written.is_ok());
    }
}
