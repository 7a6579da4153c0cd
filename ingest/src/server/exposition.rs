//! `/metrics` in the Prometheus text format.
//!
//! Names follow the Collector's receivers: accepted items were stored, refused ones the sender should
//! not have sent, failed ones were good and could not be stored.

use std::fmt::{Display, Write};
use std::sync::Arc;

use upriver_store::maintenance::TableUpkeep;
use upriver_store::schema::Table;
use upriver_store::store::StoreStatistics;

use super::Receiver;
use super::access::DEFAULT_TENANT;
use super::audit_counts::AuditCounts;
use super::counters::{Door, DoorCounters, get};
use super::memory::{MemoryLimits, MemoryMeter};

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
    render_access(receiver, &mut page);
    render_memory(&receiver.shared.memory, &mut page);
    render_audits(&receiver.shared.audits, &mut page);
    let ready = usize::from(receiver.slot.open().is_ok());
    page.gauge("upriver_ready", "1 when requests are taken.", ready);
    render_stores(receiver, &mut page);
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

fn render_access(receiver: &Receiver, page: &mut Page) {
    const REFUSED: &str = "upriver_access_refused_requests_total";
    const LIMITER: &str = "upriver_limiter_requests_total";
    let (counts, buckets) = receiver.shared.access.counts();
    page.header(REFUSED, "counter", "Requests refused for who sent them.");
    page.sample(REFUSED, "reason=\"unauthenticated\"", get(&counts.unauthenticated));
    page.sample(REFUSED, "reason=\"forbidden\"", get(&counts.forbidden));
    page.header(LIMITER, "counter", "Decisions of the rate limiter.");
    page.sample(LIMITER, "outcome=\"admitted\"", get(&counts.admitted));
    page.sample(LIMITER, "outcome=\"limited\"", get(&counts.limited));
    page.sample(LIMITER, "outcome=\"exempt\"", get(&counts.exempt));
    page.gauge("upriver_limiter_buckets", "Senders that are being limited.", buckets);
}

fn render_memory(memory: &MemoryMeter, page: &mut Page) {
    let help = "Memory of the process that is in use; 0 where it is not known.";
    page.gauge("upriver_process_memory_bytes", help, memory.used());
    let MemoryLimits { soft, hard } = memory.limits();
    let help = "Over this, requests are refused with the advice to retry.";
    page.gauge("upriver_memory_limit_soft_bytes", help, soft);
    let help = "Over this, the service is not ready.";
    page.gauge("upriver_memory_limit_hard_bytes", help, hard);
    const REFUSED: &str = "upriver_memory_refused_requests_total";
    page.header(REFUSED, "counter", "Requests refused for the memory that is in use.");
    page.line(format_args!("{REFUSED} {}", memory.refused()));
}

fn render_audits(counts: &AuditCounts, page: &mut Page) {
    const NAME: &str = "upriver_deploy_audits_total";
    page.header(NAME, "counter", "Changes that were judged by themselves, by outcome.");
    page.sample(NAME, "outcome=\"pass\"", get(&counts.pass));
    page.sample(NAME, "outcome=\"regression\"", get(&counts.regression));
    page.sample(NAME, "outcome=\"inconclusive\"", get(&counts.inconclusive));
}

/// A figure of a store, and what it says.
type StoreFigure = (&'static str, &'static str, &'static str, fn(&StoreStatistics) -> u64);

const STORE_FIGURES: [StoreFigure; 14] = [
    ("upriver_store_wal_bytes", "gauge", "Bytes of the log on disk.", |store| store.wal_bytes),
    ("upriver_store_hot_rows", "gauge", "Rows that are durable and not committed yet.", |store| {
        store.hot_rows
    }),
    ("upriver_store_hot_bytes", "gauge", "Their memory.", |store| store.hot_bytes as u64),
    ("upriver_store_commits_total", "counter", "Commits since the start.", |store| {
        store.committed.commits
    }),
    (
        "upriver_store_commit_failures_total",
        "counter",
        "Commits that failed; their rows stay in the log, and are committed with the next.",
        |store| store.committed.failures,
    ),
    (
        "upriver_store_spans_with_parent_total",
        "counter",
        "Committed spans that name a parent.",
        |store| store.committed.spans_with_parent,
    ),
    (
        "upriver_store_parents_resolved_total",
        "counter",
        "Those of them whose parent was known when they were committed.",
        |store| store.committed.parents_resolved,
    ),
    (
        "upriver_repair_parents_found_total",
        "counter",
        "Committed spans whose parent was found afterwards.",
        |store| store.repaired.parents_found,
    ),
    (
        "upriver_repair_examined_files_total",
        "counter",
        "Files of spans that were searched for traces that came apart.",
        |store| store.repaired.files_examined,
    ),
    (
        "upriver_repair_completed_spans_total",
        "counter",
        "Spans of which a parent, a child or an answer was found after their commit.",
        |store| store.repaired.spans_completed,
    ),
    (
        "upriver_repair_rewritten_files_total",
        "counter",
        "Files that were written again for it.",
        |store| store.repaired.files_rewritten,
    ),
    (
        "upriver_repair_recomputed_minutes_total",
        "counter",
        "Minutes whose rollups were made again for it.",
        |store| store.repaired.minutes_recomputed,
    ),
    (
        "upriver_repair_waiting_minutes",
        "gauge",
        "Minutes whose rollups wait for a commit to end.",
        |store| store.repaired.minutes_waiting,
    ),
    ("upriver_repair_failures_total", "counter", "Repairs that failed.", |store| {
        store.repaired.failures
    }),
];

/// A figure of a table's files, and what it says.
type FileFigure = (&'static str, &'static str, fn(&(u64, u64)) -> u64);

const FILE_FIGURES: [FileFigure; 2] = [
    ("upriver_table_files", "Committed files.", |(files, _)| *files),
    ("upriver_table_bytes", "Bytes of the committed files.", |(_, bytes)| *bytes),
];

/// A figure of what this node did to keep a table, and what it says.
type UpkeepFigure = (&'static str, &'static str, fn(&TableUpkeep) -> u64);

const UPKEEP_FIGURES: [UpkeepFigure; 9] = [
    ("upriver_maintenance_rounds_total", "Rounds in which this node kept the table.", |done| {
        done.rounds
    }),
    ("upriver_maintenance_failures_total", "Rounds that failed.", |done| done.failures),
    ("upriver_maintenance_compacted_files_total", "Files that were put together.", |done| {
        done.compacted.files_removed
    }),
    ("upriver_maintenance_compacted_bytes_total", "Bytes of the files put together.", |done| {
        done.compacted.bytes_removed
    }),
    ("upriver_maintenance_rolled_up_dates_total", "Dates of which hours were made.", |done| {
        done.dates_rolled_up
    }),
    ("upriver_maintenance_expired_files_total", "Files dropped past their retention.", |done| {
        done.files_expired
    }),
    ("upriver_maintenance_expired_rows_total", "Rows dropped past their retention.", |done| {
        done.rows_expired
    }),
    ("upriver_maintenance_deleted_files_total", "Files that nobody read any more.", |done| {
        done.files_deleted
    }),
    ("upriver_maintenance_deleted_log_entries_total", "Old entries of the table's log.", |done| {
        done.log_entries_deleted
    }),
];

/// The stores: of all tenants for those who ask as the default one, which is the operator's.
fn render_stores(receiver: &Receiver, page: &mut Page) {
    const COMMITTED: &str = "upriver_store_committed_sequence";
    let slots = &receiver.shared.slots;
    let is_operator =
        slots.get(DEFAULT_TENANT).is_some_and(|slot| Arc::ptr_eq(slot, &receiver.slot));
    let shown = slots.iter().filter(|(_, slot)| is_operator || Arc::ptr_eq(slot, &receiver.slot));
    let stores: Vec<_> =
        shown.filter_map(|(tenant, slot)| Some((tenant, slot.store()?.statistics()))).collect();
    for (name, kind, help, figure) in STORE_FIGURES {
        page.header(name, kind, help);
        for (tenant, statistics) in &stores {
            page.sample(name, &format!("tenant=\"{tenant}\""), figure(statistics));
        }
    }
    let labels =
        |tenant: &str, table: &Table| format!("tenant=\"{tenant}\",table=\"{}\"", table.name());
    page.header(COMMITTED, "gauge", "Log sequence up to which a table has all rows.");
    for (tenant, statistics) in &stores {
        for (table, sequence) in &statistics.passed {
            page.sample(COMMITTED, &labels(tenant, table), *sequence);
        }
    }
    for (name, help, figure) in FILE_FIGURES {
        page.header(name, "gauge", help);
        for (tenant, statistics) in &stores {
            for (table, files) in &statistics.files {
                page.sample(name, &labels(tenant, table), figure(files));
            }
        }
    }
    for (name, help, figure) in UPKEEP_FIGURES {
        page.header(name, "counter", help);
        for (tenant, statistics) in &stores {
            for (table, upkeep) in &statistics.upkeep {
                page.sample(name, &labels(tenant, table), figure(upkeep));
            }
        }
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
