//! More than the machine can take: memory stays below the hard mark, what is refused is told to come
//! again and is not stored, what is acknowledged is stored once.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::Instant;
use upriver_testdata::load::Template;

use crate::server::{Serve, client, command};

/// How long the senders offer more than is taken, unless `UPRIVER_OVERLOAD_SECONDS` says otherwise.
const SECONDS: u64 = 15;
const SENDERS: usize = 10;
/// Requests that each sender has under way.
const IN_FLIGHT: usize = 4;
const SPANS: usize = 500;
/// How often the server's memory is looked at.
const LOOK: Duration = Duration::from_millis(20);
const SOFT_BYTES: u64 = 500 << 20;
const HARD_BYTES: u64 = 700 << 20;

/// What became of the requests, by number.
#[derive(Debug, Default)]
struct Outcome {
    acknowledged: BTreeSet<u64>,
    refused: BTreeSet<u64>,
    /// The most memory that the server had meanwhile.
    peak_bytes: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overload_is_refused_and_loses_nothing() {
    let outcome = overload(|_| {}).await;
    assert!(!outcome.acknowledged.is_empty());
}

/// Half a second a sync: the disk takes two groups of requests a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_is_an_overload_like_any_other() {
    let outcome = overload(|command| {
        command.env("UPRIVER_FAULTS", "sync-delay=500");
    });
    assert!(!outcome.await.acknowledged.is_empty());
}

async fn overload(configure: impl FnOnce(&mut Command)) -> Outcome {
    let folder = TempDir::new().unwrap();
    let mut settings = command(&folder.path().join("data"));
    configure(&mut settings);
    settings.arg("--config").arg(config(folder.path()));
    let serve = Serve::run(settings);
    let outcome = offer(&serve, seconds()).await;
    assert!(outcome.peak_bytes < HARD_BYTES, "{} MiB at the most", outcome.peak_bytes >> 20);

    check(&serve, &outcome).await;
    let (status, said) = serve.end("-TERM");
    assert_eq!(status.code(), Some(0), "{said}");
    let serve = Serve::start(&folder.path().join("data"));
    check(&serve, &outcome).await;
    outcome
}

fn config(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("upriver.yaml");
    let text = format!("limits: {{ memory_soft: {SOFT_BYTES}, memory_hard: {HARD_BYTES} }}\n");
    std::fs::write(&path, text).unwrap();
    path
}

#[expect(clippy::disallowed_methods, reason = "the long run asks for more")]
fn seconds() -> u64 {
    let asked = std::env::var("UPRIVER_OVERLOAD_SECONDS").ok();
    asked.map_or(SECONDS, |asked| asked.parse().unwrap())
}

/// Ten senders send as fast as they are answered; what is refused is given up.
#[expect(clippy::print_stdout, reason = "the long run quotes it")]
async fn offer(serve: &Serve, seconds: u64) -> Outcome {
    #[expect(clippy::disallowed_methods, reason = "spans of now")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    let template = Arc::new(Template::new(1, SPANS, u64::try_from(now).unwrap()));
    let next = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS * IN_FLIGHT {
        let (template, next) = (Arc::clone(&template), Arc::clone(&next));
        let (http, url) = (client(), format!("{}/v1/traces", serve.otlp_http));
        senders.spawn(async move {
            let mut outcome = Outcome::default();
            while Instant::now() < until {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let request = http.post(&url).header("content-type", "application/x-protobuf");
                let answer = request.body(template.body(number)).send().await.unwrap();
                let status = answer.status().as_u16();
                if status == 200 {
                    outcome.acknowledged.insert(number);
                    continue;
                }
                // OTLP: of these two a client sends again, after the time that is asked for.
                let says_when = answer.headers().contains_key("retry-after");
                assert!(matches!(status, 429 | 503) && says_when, "{answer:?}");
                outcome.refused.insert(number);
            }
            outcome
        });
    }
    let mut all = Outcome::default();
    let mut looks = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            _ = looks.tick() => all.peak_bytes = all.peak_bytes.max(serve.memory_bytes()),
            sender = senders.join_next() => {
                let Some(sender) = sender else { break };
                let Outcome { acknowledged, refused, .. } = sender.unwrap();
                all.acknowledged.extend(acknowledged);
                all.refused.extend(refused);
            }
        }
    }
    println!(
        "{} requests acknowledged, {} refused, {} MiB at the most",
        all.acknowledged.len(),
        all.refused.len(),
        all.peak_bytes >> 20
    );
    all
}

/// Every acknowledged request is there, whole and once; no refused one is.
async fn check(serve: &Serve, outcome: &Outcome) {
    let rows = serve.rows(
        "SELECT substr(trace_hex(trace_id), 1, 16) AS request, count(*) AS spans, \
         count(DISTINCT span_id) AS ids FROM spans GROUP BY 1",
    );
    let rows = rows.await;
    let marks: BTreeSet<String> = outcome.acknowledged.iter().map(|n| mark(*n)).collect();
    let stored: BTreeSet<String> = rows.iter().map(request).collect();
    let lost: Vec<_> = marks.difference(&stored).collect();
    assert!(lost.is_empty(), "{} requests are lost", lost.len());
    let unwanted: Vec<_> = stored.difference(&marks).collect();
    assert!(unwanted.is_empty(), "{} refused requests are stored", unwanted.len());
    for row in &rows {
        assert_eq!((row["spans"].as_u64(), row["ids"].as_u64()), (Some(500), Some(500)), "{row}");
    }
}

fn request(row: &Value) -> String {
    row["request"].as_str().unwrap().to_owned()
}

/// The first half of every trace id of a request.
fn mark(number: u64) -> String {
    format!("{:016x}", Template::trace_mark(number))
}
