//! `kill -9` while a scenario is being sent: every acknowledged row is there afterwards, once.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;
use upriver_store::schema::Table;
use upriver_testdata::scenario::{Options, Scenario};

use crate::sender::{Addresses, MARK, Request, requests};
use crate::server::{Serve, client, command};

/// Times that the server is killed, unless `UPRIVER_CRASHES` says otherwise.
const CRASHES: usize = 10;
/// Senders at once: as many requests are under way when the server dies.
const SENDERS: usize = 6;
/// The server dies within this time.
const ALIVE_MAX: u64 = 1_500;

/// What was sent so far.
#[derive(Debug, Default)]
struct Outbox {
    acknowledged: BTreeSet<usize>,
    in_doubt: BTreeSet<usize>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_rows_survive_kill_9_once() {
    let crashes = crashes();
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let scenario = Scenario::new(Options::default());
    let mut slices = scenario.slices();
    let mut all: Vec<Arc<Request>> = Vec::new();
    let mut outbox = Outbox::default();
    for crash in 0..crashes {
        let mut settings = command(&data);
        // Often, so that a crash meets a commit.
        settings.env("UPRIVER_COMMIT_INTERVAL", "200ms");
        let serve = Serve::run(settings);
        let alive = Duration::from_millis(random() % ALIVE_MAX);
        let first = all.len();
        while all.len() - first < 4_000 {
            let Some(slice) = slices.next() else { break };
            all.extend(requests(slice, all.len()).into_iter().map(Arc::new));
        }
        let (reached, acknowledged) = send_until_killed(serve, &all[first..], alive).await;
        all.truncate(first + reached);
        for request in &all[first..] {
            let is_known = acknowledged.contains(&request.number);
            let set = if is_known { &mut outbox.acknowledged } else { &mut outbox.in_doubt };
            set.insert(request.number);
        }
        let serve = Serve::start(&data);
        check(&serve, &all, &outbox, &format!("crash {crash} after {alive:?}")).await;
        serve.end("-KILL");
    }
    assert!(outbox.acknowledged.len() > 10 * crashes, "{} requests", outbox.acknowledged.len());
    let serve = Serve::start(&data);
    check(&serve, &all, &outbox, "the end").await;
    let (status, said) = serve.end("-TERM");
    assert_eq!(status.code(), Some(0), "{said}");
    check(&Serve::start(&data), &all, &outbox, "all committed").await;
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
async fn send_until_killed(
    serve: Serve,
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
    tokio::time::sleep(alive).await;
    serve.end("-KILL");
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
async fn check(serve: &Serve, all: &[Arc<Request>], outbox: &Outbox, when: &str) {
    let mut stored = BTreeMap::<usize, BTreeMap<Table, usize>>::new();
    for (table, column) in MARKED {
        let query = format!(
            "SELECT CAST({column}['{MARK}'] AS BIGINT) AS request, count(*) AS n FROM {} GROUP BY 1",
            table.name()
        );
        for row in serve.rows(&query).await {
            let request = row["request"].as_u64().unwrap_or_else(|| panic!("{when}: {row}"));
            let of_request = stored.entry(usize::try_from(request).unwrap()).or_default();
            of_request.insert(table, count(&row));
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
        for (table, n) in &request.rows {
            *expected.entry(*table).or_default() += n;
        }
    }
    assert!(stored.is_empty(), "{when}: rows of nobody: {stored:?}");
    for table in [Table::SpanEvents, Table::PayloadSizes, Table::ProfileSamples] {
        let rows = serve.rows(&format!("SELECT count(*) AS n FROM {}", table.name())).await;
        let expected = expected.get(&table).copied().unwrap_or(0);
        assert_eq!(count(&rows[0]), expected, "{when}: {}", table.name());
    }
    for query in NOTHING_LEFT {
        let left = serve.rows(query).await;
        assert!(left.is_empty(), "{when}: {query}: {left:?}");
    }
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
