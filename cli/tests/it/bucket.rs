//! Tables in a bucket of a real S3 server: two servers write them at once, one of them is killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use upriver_testdata::scenario::{Options, Scenario};

use crate::binary::upriver_with;
use crate::crash::{Outbox, check, send_until_killed};
use crate::sender::{Request, requests, send_all};
use crate::server::{Serve, command};

/// Packages are fetched at the first start.
const START_MAX: Duration = Duration::from_mins(5);
const LEFT_OUT: i32 = 77;
/// At least so many are sent to a server in a round.
const REQUESTS: usize = 120;
const DATA: &str = "s3://upriver/some/prefix";

/// An S3 server that ends with this.
struct Bucket {
    process: Child,
    variables: Vec<(&'static str, String)>,
}

impl Bucket {
    /// `None` where it cannot be had.
    async fn start(folder: &Path) -> Option<Self> {
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/s3/run_server.py");
        let port_file = folder.join("s3.json");
        let mut command = Command::new("python3");
        command.arg(script).arg("--venv").arg(target.with_file_name("s3-venv"));
        command.arg("--port-file").arg(&port_file).stdin(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let ready = async {
            loop {
                if let Ok(text) = std::fs::read_to_string(&port_file) {
                    return Ok(text);
                }
                if let Some(status) = process.try_wait().unwrap() {
                    return Err(status.code());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let text = match tokio::time::timeout(START_MAX, ready).await.unwrap() {
            Ok(text) => text,
            Err(code) => {
                assert_eq!(code, Some(LEFT_OUT), "the S3 server did not start");
                left_out("the S3 server of the tests cannot be had");
                return None;
            }
        };
        let says: Value = serde_json::from_str(&text).unwrap();
        let said = |name: &str| says[name].as_str().unwrap().to_owned();
        assert_eq!(said("bucket"), "upriver");
        let variables = vec![
            ("AWS_ENDPOINT_URL", said("endpoint")),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", said("region")),
            ("AWS_ACCESS_KEY_ID", said("access_key_id")),
            ("AWS_SECRET_ACCESS_KEY", said("secret_access_key")),
            ("NO_PROXY", "127.0.0.1".to_owned()),
        ];
        Some(Self { process, variables })
    }

    /// A server on its tables, with a log of its own.
    fn serve(&self, wal: &Path) -> Serve {
        let mut command = command(Path::new(DATA));
        command.arg("--wal").arg(wal).envs(self.variables.iter().cloned());
        command.env("UPRIVER_COMMIT_INTERVAL", "200ms").env("UPRIVER_SETTLE", "200ms");
        command.env("UPRIVER_MAINTENANCE_INTERVAL", "1s").env("UPRIVER_REFRESH_INTERVAL", "500ms");
        Serve::run(command)
    }
}

#[expect(clippy::print_stderr, reason = "what a test leaves out is said")]
fn left_out(why: &str) {
    eprintln!("left out: buckets: {why}");
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _killed = self.process.kill();
        let _reaped = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_write_the_same_tables_and_nothing_is_lost_or_twice() {
    let folder = TempDir::new().unwrap();
    let Some(bucket) = Bucket::start(folder.path()).await else { return };
    let (wal_a, wal_b) = (folder.path().join("a"), folder.path().join("b"));
    let scenario = Scenario::new(Options::default());
    let mut slices = scenario.slices();
    let mut all = Vec::<Arc<Request>>::new();
    let mut outbox = Outbox::default();
    let mut next = |all: &[Arc<Request>]| {
        let mut more = Vec::<Request>::new();
        while more.len() < REQUESTS {
            more.extend(requests(slices.next().unwrap(), all.len() + more.len()));
        }
        more
    };
    let mut metrics = String::new();
    for round in 0..3 {
        let (a, b) = (bucket.serve(&wal_a), bucket.serve(&wal_b));
        let to_b = next(&all);
        all.extend(to_b.iter().cloned().map(Arc::new));
        let to_a: Vec<_> = next(&all).into_iter().map(Arc::new).collect();
        let alive = Duration::from_millis(700 * (round + 1));
        let ((reached, acknowledged), ()) =
            tokio::join!(send_until_killed(a, &to_a, alive), send_all(&to_b, &b));
        outbox.acknowledged.extend(to_b.iter().map(|request| request.number));
        for request in &to_a[..reached] {
            let is_known = acknowledged.contains(&request.number);
            let set = if is_known { &mut outbox.acknowledged } else { &mut outbox.in_doubt };
            set.insert(request.number);
        }
        // Requests that were never begun are nobody's.
        all.extend(to_a.into_iter().take(reached));
        metrics += &b.metrics().await;
        let (status, said) = b.end("-TERM");
        assert_eq!(status.code(), Some(0), "{said}");
    }
    // What the killed server had acknowledged is in its log: it commits that when it starts and ends.
    let a = bucket.serve(&wal_a);
    check(&a, &all, &outbox, "what a node has, and what others committed").await;
    // Which of them keeps a table is decided by who comes first; one that was killed has its lease still.
    let kept = "upriver_maintenance_rounds_total{tenant=\"default\",table=\"spans\"}";
    while !metrics.contains(kept) {
        metrics = a.metrics().await;
    }
    let (status, said) = a.end("-TERM");
    assert_eq!(status.code(), Some(0), "{said}");
    let c = bucket.serve(&folder.path().join("c"));
    check(&c, &all, &outbox, "another node, all committed").await;

    let environment: Vec<_> = bucket.variables.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let query = "SELECT count(*) AS n FROM spans";
    let run = upriver_with(&["sql", query, "--format", "json", "--data", DATA], &environment);
    assert_eq!(run.json(0), Value::from(c.rows(query).await), "without a server");
    let requests = outbox.acknowledged.len();
    assert!(requests > 3 * REQUESTS, "{requests} requests");
}
