//! `kill -9` while a scenario is being sent: every acknowledged row is there afterwards, once.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;
use upriver_store::faults::STEPS;
use upriver_store::schema::{Column, Kind, Table};
use upriver_testdata::scenario::{Options, Scenario};

use crate::binary::{text, upriver};
use crate::sender::{Addresses, MARK, Request, Sums, requests, summed};
use crate::server::{Serve, client, command};

/// Times that the server is killed, unless `UPRIVER_CRASHES` says otherwise.
const CRASHES: usize = 10;
/// Crashes after which small files are put together.
const UPKEEP_EVERY: usize = 8;
/// Crashes of one folder: every row of it is looked at after each of them.
const OF_A_FOLDER: usize = 25;
/// Senders at once: as many requests are under way when the server dies.
const SENDERS: usize = 6;
/// The server dies within this time.
const ALIVE_MAX: u64 = 1_500;

/// The process ends at one of the first commits, at one of the tables.
const STEPS_MAX: u64 = 2;
const TABLE_STEPS_MAX: u64 = 10;
/// More than are sent before the server dies, as a rule.
const REQUESTS: usize = 1_000;
/// By then the step was reached, or something is wrong.
const STEP_REACHED_MAX: Duration = Duration::from_mins(1);

/// What was sent so far.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) acknowledged: BTreeSet<usize>,
    pub(crate) in_doubt: BTreeSet<usize>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_rows_survive_kill_9_once() {
    let crashes = crashes();
    for first in (0..crashes).step_by(OF_A_FOLDER) {
        crash_a_folder(first..crashes.min(first + OF_A_FOLDER)).await;
    }
}

/// Kills the servers of a new folder, one after the other.
async fn crash_a_folder(crashes: Range<usize>) {
    let least = 10 * crashes.len();
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let mut all: Vec<Arc<Request>> = Vec::new();
    let mut outbox = Outbox::default();
    for crash in crashes {
        let mut settings = command(&data);
        // Often, so that a crash meets a commit.
        settings.env("UPRIVER_COMMIT_INTERVAL", "200ms").env("UPRIVER_SETTLE", "300ms");
        // Every other time at a step of a commit, else at any instant.
        let step = (crash % 2 == 1).then(|| {
            let step = STEPS[crash / 2 % STEPS.len()];
            let is_of_tables = ["files-written", "committed", "shown"].contains(&step);
            let times = if is_of_tables { TABLE_STEPS_MAX } else { STEPS_MAX };
            format!("abort-at={step}:{}", 1 + random() % times)
        });
        if let Some(step) = &step {
            settings.env("UPRIVER_FAULTS", step);
        }
        let serve = Serve::run(settings);
        let alive = match &step {
            Some(_) => STEP_REACHED_MAX,
            None => Duration::from_millis(random() % ALIVE_MAX),
        };
        let first = all.len();
        // Another scenario each time, so that there is always something to send.
        let scenario = Scenario::new(Options { seed: crash as u64, ..Options::default() });
        for slice in scenario.slices() {
            all.extend(requests(slice, all.len()).into_iter().map(Arc::new));
            if all.len() - first > REQUESTS {
                break;
            }
        }
        let (reached, acknowledged) = send_until_killed(serve, &all[first..], alive).await;
        all.truncate(first + reached);
        for request in &all[first..] {
            let is_known = acknowledged.contains(&request.number);
            let set = if is_known { &mut outbox.acknowledged } else { &mut outbox.in_doubt };
            set.insert(request.number);
        }
        let serve = Serve::start(&data);
        check(&serve, &all, &outbox, &format!("crash {crash} after {alive:?} at {step:?}")).await;
        serve.end("-KILL");
        said(&format!("crash {crash}: {} requests acknowledged", outbox.acknowledged.len()));
        if crash % UPKEEP_EVERY == UPKEEP_EVERY - 1 {
            // No server lives long enough for its upkeep.
            upriver(&["storage", "compact", "--data", text(&data)]).ended(0);
        }
    }
    assert!(outbox.acknowledged.len() > least, "{} requests", outbox.acknowledged.len());
    let serve = Serve::start(&data);
    check(&serve, &all, &outbox, "the end").await;
    let (status, said) = serve.end("-TERM");
    assert_eq!(status.code(), Some(0), "{said}");
    upriver(&["storage", "verify", "--data", text(&data)]).ended(0);
    check(&Serve::start(&data), &all, &outbox, "all committed").await;
}

#[expect(clippy::print_stdout, reason = "the long run takes half an hour")]
fn said(progress: &str) {
    println!("{progress}");
}

#[expect(clippy::disallowed_methods, reason = "the long run asks for more")]
fn crashes() -> usize {
    let asked = std::env::var("UPRIVER_CRASHES").ok();
    asked.map_or(CRASHES, |asked| asked.parse().unwrap())
}

/// A number that nobody knows beforehand: what hash maps are keyed with.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// How many requests were begun, and the numbers of those that were acknowledged.
pub(crate) async fn send_until_killed(
    mut serve: Serve,
    requests: &[Arc<Request>],
    alive: Duration,
) -> (usize, BTreeSet<usize>) {
    let next = Arc::new(AtomicUsize::new(0));
    let addresses = Addresses::of(&serve);
    let requests: Arc<[Arc<Request>]> = requests.into();
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let (next, requests) = (Arc::clone(&next), Arc::clone(&requests));
        let (http, addresses) = (client(), addresses.clone());
        senders.spawn(async move {
            let mut acknowledged = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::SeqCst);
                let Some(request) = requests.get(index) else { return acknowledged };
                if !request.send(&http, &addresses).await {
                    return acknowledged;
                }
                acknowledged.push(request.number);
            }
        });
    }
    let ends_itself = async {
        while serve.is_running() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(alive, ends_itself).await.is_err() {
        assert!(alive != STEP_REACHED_MAX, "the step was not reached");
        serve.end("-KILL");
    }
    let mut acknowledged = BTreeSet::new();
    while let Some(sender) = senders.join_next().await {
        acknowledged.extend(sender.unwrap());
    }
    (next.load(Ordering::SeqCst).min(requests.len()), acknowledged)
}

/// Tables whose rows carry the number of their request, and where.
const MARKED: [(Table, &str); 5] = [
    (Table::Spans, "resource_attributes"),
    (Table::Metrics, "resource_attributes"),
    (Table::MetricHistograms, "resource_attributes"),
    (Table::Profiles, "labels"),
    (Table::Deploys, "attributes"),
];

/// Every acknowledged request is stored whole, every other one whole or not at all, none twice; and
/// what is derived from them is what can be derived.
pub(crate) async fn check(serve: &Serve, all: &[Arc<Request>], outbox: &Outbox, when: &str) {
    let mut stored = BTreeMap::<usize, BTreeMap<Table, usize>>::new();
    let mut sums = BTreeMap::<(usize, Table), Sums>::new();
    for (table, column) in MARKED {
        for row in serve.rows(&query_of_requests(table, column)).await {
            let request = row["request"].as_u64().unwrap_or_else(|| panic!("{when}: {row}"));
            let request = usize::try_from(request).unwrap();
            stored.entry(request).or_default().insert(table, count(&row));
            let sum = |column: &Column| (column.name, whole(&row[column.name]));
            sums.insert((request, table), summed(table).map(sum).collect::<Sums>());
        }
    }
    let mut expected = BTreeMap::<Table, usize>::new();
    for request in all {
        let Some(found) = stored.remove(&request.number) else {
            let is_in_doubt = outbox.in_doubt.contains(&request.number);
            assert!(is_in_doubt, "{when}: acknowledged request {} is gone", request.number);
            continue;
        };
        let is_marked = |table: &Table| MARKED.iter().any(|(marked, _)| marked == table);
        let mut marked = request.rows.clone();
        marked.retain(|table, _| is_marked(table));
        assert_eq!(found, marked, "{when}: request {}", request.number);
        for table in marked.keys() {
            let found = &sums[&(request.number, *table)];
            assert_eq!(*found, request.sums[table], "{when}: request {}", request.number);
        }
        for (table, n) in &request.rows {
            *expected.entry(*table).or_default() += n;
        }
    }
    assert!(stored.is_empty(), "{when}: rows of nobody: {stored:?}");
    for table in [Table::SpanEvents, Table::ProfileSamples] {
        let rows = serve.rows(&format!("SELECT count(*) AS n FROM {}", table.name())).await;
        let expected = expected.get(&table).copied().unwrap_or(0);
        assert_eq!(count(&rows[0]), expected, "{when}: {}", table.name());
    }
    for query in NOTHING_LEFT {
        let left = serve.rows(query).await;
        assert!(left.is_empty(), "{when}: {query}: {left:?}");
    }
}

/// The rows of every request, and sums over them.
fn query_of_requests(table: Table, marked: &str) -> String {
    let sums = summed(table).map(|column| {
        let name = column.name;
        let value = match column.kind {
            Kind::Int => format!("CAST({name} AS DECIMAL(38, 0))"),
            _ => format!("CAST(octet_length({name}) AS DECIMAL(38, 0))"),
        };
        format!(", CAST(coalesce(sum({value}), 0) AS VARCHAR) AS {name}")
    });
    format!(
        "SELECT CAST({marked}['{MARK}'] AS BIGINT) AS request, count(*) AS n{} FROM {} GROUP BY 1",
        sums.collect::<String>(),
        table.name()
    )
}

fn whole(value: &Value) -> i128 {
    value.as_str().unwrap().parse().unwrap_or_else(|error| panic!("{value}: {error}"))
}

fn count(row: &Value) -> usize {
    usize::try_from(row["n"].as_u64().unwrap()).unwrap()
}

/// Queries for what must not be: spans stored twice, samples without their stack, minutes that do
/// not add up to their rows.
const NOTHING_LEFT: [&str; 6] = [
    "SELECT trace_id, span_id FROM spans GROUP BY 1, 2 HAVING count(*) > 1",
    "SELECT DISTINCT s.stack_id FROM profile_samples s LEFT JOIN profile_stacks k ON k.stack_id = s.stack_id WHERE k.stack_id IS NULL",
    "SELECT DISTINCT s.stack_id FROM profile_stacks s LEFT JOIN profile_stack_frames f ON f.stack_id = s.stack_id WHERE f.stack_id IS NULL",
    "SELECT * FROM (
       SELECT time, service_name, span_name, span_kind, sum(span_count) AS n FROM operation_minutes GROUP BY 1, 2, 3, 4
     ) AS minutes FULL JOIN (
       SELECT date_trunc('minute', time) AS time, service_name, span_name, span_kind, count(*) AS n FROM spans GROUP BY 1, 2, 3, 4
     ) AS rows USING (time, service_name, span_name, span_kind)
     WHERE minutes.n IS DISTINCT FROM rows.n",
    "SELECT * FROM (
       SELECT time, server_service, sum(span_count) AS n FROM edge_minutes WHERE reporter = 'server' GROUP BY 1, 2 HAVING sum(span_count) > 0
     ) AS minutes FULL JOIN (
       SELECT date_trunc('minute', time) AS time, service_name AS server_service, count(*) AS n FROM spans
       WHERE span_kind IN ('SERVER', 'CONSUMER') GROUP BY 1, 2
     ) AS rows USING (time, server_service)
     WHERE minutes.n IS DISTINCT FROM rows.n",
    "SELECT * FROM (
       SELECT time, reporter, sum(response_wire_bytes['count']) AS n FROM edge_minutes GROUP BY 1, 2 HAVING sum(response_wire_bytes['count']) > 0
     ) AS minutes FULL JOIN (
       SELECT date_trunc('minute', time) AS time, reporter, count(wire_bytes) AS n FROM payload_sizes
       WHERE direction = 'response' GROUP BY 1, 2
     ) AS rows USING (time, reporter)
     WHERE minutes.n IS DISTINCT FROM rows.n",
];
