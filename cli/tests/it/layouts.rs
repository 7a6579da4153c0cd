//! The same rows, wherever they lie: in the log, in files as they were committed, in merged files.

use std::path::Path;

use tempfile::TempDir;
use upriver_testdata::scenario::{Options, Scenario, Slice};

use crate::binary::{Run, text, time, upriver};
use crate::sender::{Request, requests, send_all};
use crate::server::{Serve, command};

const HOUR: i64 = 3_600_000_000_000;

#[tokio::test]
async fn a_diagnosis_is_the_same_before_and_after_commit_and_compaction() {
    let scenario = Scenario::new(Options::default());
    let label = scenario.label();
    let at = label.diagnose_at_unix_nano;
    let is_recent =
        |slice: &Slice| slice.end_unix_nano > at - 3 * HOUR && slice.start_unix_nano < at;
    let mut sent: Vec<Request> = Vec::new();
    for slice in scenario.slices().filter(is_recent) {
        let first = sent.len();
        sent.extend(requests(slice, first));
    }
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let mut settings = command(&data);
    settings.env("UPRIVER_COMMIT_INTERVAL", "1h").env("UPRIVER_HOT_MEMORY", "4GiB");
    let serve = Serve::run(settings);
    send_all(&sent, &serve).await;
    let question = ["diagnose", "--at", &time(at), "--format", "json", "--stats"];
    let asked = upriver(&[&question[..], &["--server", &serve.api]].concat());
    let document = asked.json(1);
    assert!(rows_read(&asked) > 1_000);
    assert_eq!(document["root_cause"]["service"], "inventory-service");
    serve.end("-KILL");
    assert!(!has_files(&data, "spans"), "nothing was committed");
    let same = |when: &str| {
        for partitions in ["1", "2"] {
            let source = ["--partitions", partitions, "--data", text(&data)];
            let run = upriver(&[&question[..], &source].concat());
            run.ended(1);
            assert_eq!(run.out, asked.out, "{when}, {partitions} partitions");
            assert!(rows_read(&run) > 1_000, "{when}");
        }
    };
    same("in the log");
    let (status, said) = Serve::start(&data).end("-TERM");
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(has_files(&data, "spans"), "all is committed");
    same("committed");
    upriver(&["storage", "verify", "--data", text(&data)]).ended(0);
    upriver(&["storage", "compact", "--data", text(&data)]).ended(0);
    same("compacted");
    upriver(&["storage", "verify", "--data", text(&data)]).ended(0);
    for (rollup, sums) in [
        ("operation", "service_name, sum(span_count), hist_quantile(duration, 0.99)"),
        ("edge", "server_service, sum(span_count), hist_quantile(duration, 0.5)"),
        ("profile", "service_name, sum(sample_count), sum(value)"),
    ] {
        let of = |unit: &str| {
            let sql = format!(
                "SELECT date_trunc('hour', time) AS hour, {sums} FROM {rollup}_{unit} GROUP BY 1, 2 ORDER BY 1, 2"
            );
            let run = upriver(&["sql", &sql, "--format", "csv", "--data", text(&data)]);
            run.ended(0);
            run.out.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(of("minutes").len() > 2, "{:?}", of("minutes"));
        assert_eq!(of("hours"), of("minutes"), "hours are summed up while files are merged");
    }
}

/// What `--stats` said on stderr.
fn rows_read(run: &Run) -> u64 {
    let words: Vec<&str> = run.err.split_whitespace().collect();
    let at = words.windows(2).position(|pair| pair == ["rows", "read,"]);
    let rows = at.and_then(|at| words[at - 1].parse().ok());
    rows.unwrap_or_else(|| panic!("no rows in {:?}", run.err))
}

fn has_files(data: &Path, table: &str) -> bool {
    let days = std::fs::read_dir(data.join("default").join(table)).unwrap();
    days.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("date="))
}
