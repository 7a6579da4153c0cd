//! Minutes that are not stored: as those that are, whatever is asked for.

use arrow::util::pretty::pretty_format_batches;
use upriver_analyze::{Session, SessionOptions};
use upriver_store::batch::TableBatch;

use crate::layout::{self, Layout};
use crate::{shop, sizes};

const OPERATIONS: &str = "SELECT time, service_name, span_name, span_kind, operation, service_version, deployment_environment_name, parent_service, sum(span_count), sum(error_count), sum(adjusted_count_micros), min(first_unix_nano), max(last_unix_nano), hist_merge(duration), hist_merge(self_time), date FROM operation_minutes WHERE $condition GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, date ORDER BY 1, 2, 3, 4, 5, 6, 7, 8";
const EDGES: &str = "SELECT time, client_service, server_service, operation, reporter, service_version, deployment_environment_name, source, sum(span_count), sum(error_count), sum(adjusted_count_micros), hist_merge(duration), hist_merge(request_wire_bytes), hist_merge(response_wire_bytes), hist_merge(request_uncompressed_bytes), hist_merge(response_uncompressed_bytes), date FROM edge_minutes WHERE $condition GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, date ORDER BY 1, 2, 3, 4, 5, 6, 7, 8";

/// What is asked of both tables, and whether there is an answer.
const CONDITIONS: [(&str, bool); 13] = [
    ("true", true),
    ("time >= TIMESTAMP '2026-01-08T10:05:00Z'", true),
    ("time > TIMESTAMP '2026-01-08T10:05:00Z'", true),
    ("time >= TIMESTAMP '2026-01-08T10:04:30Z' AND time < TIMESTAMP '2026-01-08T10:05:30Z'", true),
    ("time <= TIMESTAMP '2026-01-01T10:01:00Z'", true),
    ("time = TIMESTAMP '2026-01-08T10:05:00Z'", true),
    ("time = TIMESTAMP '2026-01-08T10:05:30Z'", false),
    ("TIMESTAMP '2026-01-08T10:06:00Z' <= time", true),
    ("time BETWEEN TIMESTAMP '2026-01-01T10:02:00Z' AND TIMESTAMP '2026-01-01T10:03:00Z'", true),
    (
        "(time >= TIMESTAMP '2026-01-01T10:01:00Z' AND time < TIMESTAMP '2026-01-01T10:02:00Z') OR (time >= TIMESTAMP '2026-01-08T10:01:00Z' AND time < TIMESTAMP '2026-01-08T10:02:00Z')",
        true,
    ),
    ("time NOT IN (TIMESTAMP '2026-01-08T10:05:00Z', TIMESTAMP '2026-01-08T10:06:00Z')", true),
    ("date = '2026-01-08' AND span_count > 0", true),
    ("time >= TIMESTAMP '2027-01-01T00:00:00Z'", false),
];

fn session(batches: &[TableBatch], layout: Layout) -> (tempfile::TempDir, Session) {
    let data = tempfile::tempdir().unwrap();
    let snapshot = layout::snapshot(batches, layout, data.path());
    (data, Session::new(snapshot, &SessionOptions::default()).unwrap())
}

/// The answer as text, and how many rows it has.
async fn answer(session: &Session, sql: &str) -> (String, usize) {
    let rows = session.query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let count = rows.iter().map(arrow::array::RecordBatch::num_rows).sum();
    (pretty_format_batches(&rows).unwrap().to_string(), count)
}

#[tokio::test]
async fn they_answer_as_stored_ones_do() {
    for batches in [shop::batches(), sizes::batches()] {
        let (_stored_data, stored) = session(&batches, Layout::Committed);
        let (_data, unstored) = session(&batches, Layout::Sparse);
        for (template, of_table) in [
            (OPERATIONS, &["service_name = 'inventory'", "parent_service IS NULL"][..]),
            (
                EDGES,
                &[
                    "reporter = 'client'",
                    "reporter = 'server'",
                    "reporter = 'nobody'",
                    "source = 'spans'",
                    "source = 'metrics'",
                    "server_service = 'inventory'",
                ],
            ),
        ] {
            let conditions = CONDITIONS.iter().map(|(condition, _)| *condition);
            for condition in conditions.chain(of_table.iter().copied()) {
                let sql = template.replace("$condition", condition);
                let expected = answer(&stored, &sql).await;
                assert_eq!(answer(&unstored, &sql).await, expected, "{sql}");
            }
        }
    }
}

#[tokio::test]
async fn conditions_leave_out_spans_that_cannot_count() {
    let batches = shop::batches();
    let (_data, unstored) = session(&batches, Layout::Sparse);
    for (condition, has_some) in CONDITIONS {
        let sql = OPERATIONS.replace("$condition", condition);
        assert_eq!(answer(&unstored, &sql).await.1 > 0, has_some, "{condition}");
    }
    let read = async |sql: &str| {
        let before = unstored.work().rows_read;
        answer(&unstored, sql).await;
        unstored.work().rows_read - before
    };
    let all = read("SELECT sum(adjusted_count_micros) FROM operation_minutes").await;
    let minute =
        "time >= TIMESTAMP '2026-01-08T10:05:00Z' AND time < TIMESTAMP '2026-01-08T10:06:00Z'";
    let sql = format!("SELECT sum(adjusted_count_micros) FROM operation_minutes WHERE {minute}");
    let of_minute = read(&sql).await;
    assert!(of_minute > 0 && of_minute * 10 <= all, "{of_minute} of {all}");
    let edges = format!("SELECT hist_quantile(duration, 0.5) FROM edge_minutes WHERE {minute}");
    assert!(read(&edges).await <= of_minute);
}

#[tokio::test]
async fn nothing_but_a_count_may_be_asked_for() {
    let (_data, unstored) = session(&shop::batches(), Layout::Sparse);
    let spans = answer(&unstored, "SELECT count(*) AS n FROM spans").await;
    assert_eq!(answer(&unstored, "SELECT count(*) AS n FROM operation_minutes").await, spans);
    let (limited, rows) = answer(&unstored, "SELECT * FROM edge_minutes LIMIT 3").await;
    assert_eq!(rows, 3, "{limited}");
}
