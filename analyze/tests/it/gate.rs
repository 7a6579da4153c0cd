//! What the gate lets through, what it refuses, and that a refusal leaves nothing behind.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use upriver_analyze::{QueryError, Session, SessionOptions};

use crate::layout::{self, Layout};
use crate::shop;

async fn refusal(session: &Session, sql: &str) -> QueryError {
    match session.query(sql).await {
        Err(error) => error,
        Ok(rows) => panic!("{sql} gave {rows:?}"),
    }
}

/// All files below a folder with their sizes.
fn files(folder: &Path) -> BTreeSet<(PathBuf, u64)> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.insert((entry.path(), entry.metadata().unwrap().len()));
        }
    }
    found
}

fn session(data: &Path) -> Session {
    let snapshot = layout::snapshot(&shop::batches(), Layout::Committed, data);
    Session::new(snapshot, &SessionOptions::default()).unwrap()
}

#[tokio::test]
async fn statements_that_write_are_refused_and_write_nothing() {
    let data = tempfile::tempdir().unwrap();
    let session = session(data.path());
    let before = files(data.path());
    let out = data.path().join("out.parquet").display().to_string();
    for (statement, named) in [
        (format!("COPY spans TO '{out}'"), "COPY"),
        (format!("COPY (SELECT 1) TO '{out}' STORED AS PARQUET"), "COPY"),
        (format!("EXPLAIN COPY (SELECT 1) TO '{out}'"), "EXPLAIN of COPY"),
        (format!("EXPLAIN ANALYZE COPY (SELECT 1) TO '{out}'"), "EXPLAIN of COPY"),
        (
            format!("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{out}'"),
            "CREATE EXTERNAL TABLE",
        ),
        ("CREATE TABLE t AS SELECT * FROM spans".to_owned(), "CREATE"),
        ("CREATE VIEW v AS SELECT 1".to_owned(), "CREATE"),
        ("CREATE FUNCTION f(INT) RETURNS INT RETURN $1".to_owned(), "CREATE"),
        ("INSERT INTO spans SELECT * FROM spans".to_owned(), "INSERT"),
        ("EXPLAIN ANALYZE INSERT INTO spans SELECT * FROM spans".to_owned(), "EXPLAIN of INSERT"),
        ("DELETE FROM spans".to_owned(), "DELETE"),
        ("UPDATE spans SET span_name = ''".to_owned(), "UPDATE"),
        ("TRUNCATE spans".to_owned(), "TRUNCATE"),
        ("DROP TABLE spans".to_owned(), "DROP"),
        ("SET datafusion.execution.batch_size = 1".to_owned(), "SET"),
        ("RESET datafusion.execution.batch_size".to_owned(), "RESET"),
        ("BEGIN".to_owned(), "BEGIN"),
        ("PREPARE p AS SELECT 1".to_owned(), "PREPARE"),
        ("EXECUTE p".to_owned(), "EXECUTE"),
        ("SELECT 1; SELECT 2".to_owned(), "more than one statement (2)"),
        ("SELECT 1; DROP TABLE spans".to_owned(), "more than one statement (2)"),
    ] {
        let error = refusal(&session, &statement).await;
        let QueryError::Refused { what } = &error else { panic!("{statement}: {error}") };
        assert!(what.starts_with(named), "{statement}: {what}");
    }
    assert_eq!(files(data.path()), before);
    assert!(session.query("SELECT 1 FROM spans").await.is_ok());
}

#[tokio::test]
async fn files_cannot_be_named() {
    let data = tempfile::tempdir().unwrap();
    let session = session(data.path());
    let (own, _) = files(data.path()).pop_first().unwrap();
    let own = own.display().to_string();
    for place in ["/etc/passwd", "file:///etc/passwd", "upriver://x/default/spans", own.as_str()] {
        for quote in ['\'', '"'] {
            let sql = format!("SELECT * FROM {quote}{place}{quote}");
            let error = refusal(&session, &sql).await;
            assert!(error.to_string().contains("there is no table"), "{sql}: {error}");
        }
    }
    for function in ["read_csv", "read_parquet", "parquet_metadata", "glob"] {
        let error = refusal(&session, &format!("SELECT * FROM {function}('/etc/passwd')")).await;
        assert!(error.to_string().contains("not found"), "{error}");
    }
}

#[tokio::test]
async fn reading_statements_pass() {
    let data = tempfile::tempdir().unwrap();
    let session = session(data.path());
    for sql in [
        "SELECT 1",
        "SELECT 1;",
        "  -- a comment\nWITH x AS (SELECT count(*) AS n FROM spans) SELECT n FROM x",
        "VALUES (1), (2)",
        "(SELECT 1) UNION ALL (SELECT 2)",
        "EXPLAIN SELECT * FROM spans",
        "EXPLAIN ANALYZE SELECT count(*) FROM spans WHERE duration_ns > 5",
        "EXPLAIN FORMAT TREE SELECT 1",
        "SHOW TABLES",
        "SHOW COLUMNS FROM spans",
        "SHOW TIME ZONE",
        "DESCRIBE spans",
        "DESCRIBE changes",
        "SELECT * FROM information_schema.columns",
    ] {
        let rows = session.query(sql).await;
        assert!(rows.is_ok(), "{sql}: {}", rows.unwrap_err());
    }
}

#[tokio::test]
async fn mistakes_are_explained() {
    let data = tempfile::tempdir().unwrap();
    let session = session(data.path());
    let check = async |sql: &str, expected: &str| {
        let error = refusal(&session, sql).await;
        assert_eq!(error.code(), "invalid_query", "{sql}: {error}");
        let message = error.to_string();
        assert!(message.contains(expected), "{sql}: {message}");
        assert!(!message.contains("backtrace"), "{message}");
    };
    check("", "the query is empty").await;
    check("SELEC 1", "expected: an SQL statement, found: SELEC").await;
    check("SELECT nothing FROM spans", "nothing").await;
    check("SELECT * FROM nothing", "there is no table or view \"nothing\": SHOW TABLES lists them")
        .await;
    check("SELECT nothing(1)", "nothing").await;
    check("SELECT 1 / 0", "divide by zero").await;
    check("SELECT CAST(span_name AS BIGINT) FROM spans", "cast").await;
    check(
        "SELECT * FROM spans WHERE trace_id = 'xyz'",
        "'xyz' is no trace id: write its 32 hexadecimal digits",
    )
    .await;
    check("SELECT hist_quantile(duration, 7) FROM operation_minutes", "7 is not between 0 and 1")
        .await;
    check("SELECT hist_quantile(span_name, 0.5) FROM spans", "is no histogram").await;
    check(
        "SELECT * FROM payload_growth(TIMESTAMP '2026-01-01T00:00:00Z')",
        "1 argument(s) where 3 are needed: payload_growth(now timestamp, window interval, before interval)",
    )
    .await;
    check(
        "SELECT * FROM payload_growth(TIMESTAMP '2026-01-01T00:00:00Z', INTERVAL '1 month', INTERVAL '7 days')",
        "is no length of time such as INTERVAL '5 minutes'",
    )
    .await;
    check("SELECT * FROM spans_between('soon', 'later')", "is no instant such as TIMESTAMP").await;
}
