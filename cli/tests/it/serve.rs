//! `upriver serve` as a process: how it starts, ends, and comes back after `kill -9`.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::server::{Serve, client, command};

async fn post_deploy(api: &str, version: &str) -> u16 {
    let deploy = serde_json::json!({"service": "inventory", "version": version});
    let request = client().post(format!("{api}/api/v1/deploys")).json(&deploy);
    request.send().await.unwrap().status().as_u16()
}

async fn versions(api: &str) -> Vec<String> {
    let query = serde_json::json!({"q": "SELECT service_version AS v FROM deploys ORDER BY v"});
    let request = client().post(format!("{api}/api/v1/query")).json(&query);
    let rows: Value = request.send().await.unwrap().json().await.unwrap();
    rows.as_array().unwrap().iter().map(|row| row["v"].as_str().unwrap().to_owned()).collect()
}

/// The best of three, so that what else the machine does at the moment does not count.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the time it takes is what is tested")]
async fn a_cold_start_answers_within_a_second() {
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let folder = TempDir::new().unwrap();
        let began = Instant::now();
        let serve = Serve::start(&folder.path().join("new"));
        let answer = client().get(format!("{}/readyz", serve.api)).send().await.unwrap();
        best = best.min(began.elapsed());
        assert_eq!(answer.status().as_u16(), 200);
    }
    assert!(best < Duration::from_secs(1), "{best:?}");
}

#[tokio::test]
async fn signals_end_it_in_order() {
    for signal in ["-TERM", "-INT"] {
        let folder = TempDir::new().unwrap();
        let serve = Serve::start(folder.path());
        assert_eq!(post_deploy(&serve.api, "1").await, 201);
        serve.signal(signal);
        let (status, said) = serve.wait();
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(said.contains("server.store.close"), "{said}");
        let committed = folder.path().join("default/deploys/_delta_log");
        assert!(std::fs::read_dir(committed).unwrap().count() > 1, "the row is in a file");
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let folder = TempDir::new().unwrap();
    let mut expected = Vec::new();
    for version in ["1", "2", "3"] {
        let serve = Serve::start(folder.path());
        assert_eq!(versions(&serve.api).await, expected);
        assert_eq!(post_deploy(&serve.api, version).await, 201);
        expected.push(version.to_owned());
        serve.signal("-KILL");
        let (status, said) = serve.wait();
        assert_eq!(status.code(), None, "{said}");
    }
    let serve = Serve::start(folder.path());
    assert_eq!(versions(&serve.api).await, expected);
}

#[tokio::test]
async fn a_folder_has_one_writer() {
    let folder = TempDir::new().unwrap();
    let serve = Serve::start(folder.path());
    let second = command(folder.path()).output().unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert!(said.contains(&folder.path().display().to_string()), "{said}");
    assert!(said.contains("in use"), "{said}");
    let empty = client().post(format!("{}/v1/traces", serve.otlp_http));
    let empty = empty.header("content-type", "application/x-protobuf").send().await.unwrap();
    assert_eq!(empty.status().as_u16(), 200, "the first one goes on");
}

#[test]
fn a_configuration_that_cannot_be_used_is_an_error_of_usage() {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("upriver.yaml");
    for (text, expected) in [
        ("storage:\n  pth: x\n", "upriver.yaml:2: unknown key `pth`; did you mean `path`?"),
        ("api: { endpoint: \"0.0.0.0:4040\" }\n", "api.insecure: true"),
        ("notify: { slack: {} }\n", "notify: sending notifications is not built yet"),
    ] {
        std::fs::write(&config, text).unwrap();
        let mut serve = Command::new(env!("CARGO_BIN_EXE_upriver"));
        let done = serve.arg("serve").arg("--config").arg(&config).output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(2), "{said}");
        assert!(said.starts_with("error: ") && said.contains(expected), "{said}");
        assert!(done.stdout.is_empty());
    }
}
