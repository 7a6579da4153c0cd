//! `upriver serve` as a process.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// A running `upriver serve`; killed when dropped.
pub(crate) struct Serve {
    process: Child,
    stderr: BufReader<ChildStderr>,
    pub(crate) api: String,
    pub(crate) otlp_http: String,
}

/// The command that serves a folder on free ports.
pub(crate) fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_upriver"));
    let free = "127.0.0.1:0";
    command.args(["serve", "--otlp-grpc", free, "--otlp-http", free, "--api", free]);
    command.arg("--data").arg(data).env_remove("UPRIVER_CONFIG");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

impl Serve {
    /// Starts and waits until everything listens and the log is replayed.
    pub(crate) fn start(data: &Path) -> Self {
        Self::run(command(data))
    }

    /// The same for a command with further settings.
    pub(crate) fn run(mut command: Command) -> Self {
        let folder = TempDir::new().unwrap();
        let addresses = folder.path().join("addresses.json");
        let mut process = command.arg("--addresses-file").arg(&addresses).spawn().unwrap();
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let said = read_until(&mut stderr, "upriver takes OTLP/gRPC on ");
        // The line comes first; the file, complete from the start, follows.
        let text = loop {
            assert!(process.try_wait().unwrap().is_none(), "{said}");
            if let Ok(text) = std::fs::read_to_string(&addresses) {
                break text;
            }
        };
        let addresses: Value = serde_json::from_str(&text).unwrap();
        let url = |name: &str| format!("http://{}", addresses[name].as_str().unwrap());
        Self { process, stderr, api: url("api"), otlp_http: url("otlp_http") }
    }

    /// Whether it has not ended by itself.
    pub(crate) fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([name, &self.process.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    /// Waits for the end; gives the exit status and what was still said.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let said = read_until(&mut self.stderr, "(the end)");
        (self.process.wait().unwrap(), said)
    }
}

impl Serve {
    /// Ends it with a signal; gives the exit status and what was still said.
    pub(crate) fn end(self, signal: &str) -> (ExitStatus, String) {
        self.signal(signal);
        self.wait()
    }

    /// The memory that it has for itself now, which is what its limits are about.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        let kib: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
        kib << 10
    }

    /// The page of metrics.
    pub(crate) async fn metrics(&self) -> String {
        let answer = client().get(format!("{}/metrics", self.api)).send().await.unwrap();
        answer.text().await.unwrap()
    }

    /// The rows of a query.
    pub(crate) async fn rows(&self, query: &str) -> Vec<Value> {
        let request = client().post(format!("{}/api/v1/query", self.api));
        let answer = request.json(&serde_json::json!({ "q": query })).send().await.unwrap();
        let text = answer.text().await.unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{query}: {error}: {text}"))
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _killed = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// Reads lines up to the one with this text, or to the end.
fn read_until(reader: &mut impl BufRead, text: &str) -> String {
    let mut said = String::new();
    while reader.read_line(&mut said).unwrap() > 0 && !said.contains(text) {}
    said
}

/// As long as a server lets a query run.
const PATIENCE: Duration = Duration::from_mins(1);

/// An HTTP client that waits, though not for ever.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}
