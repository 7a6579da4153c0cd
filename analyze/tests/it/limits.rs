//! Queries that want too much: time, rows, memory, text.

use std::time::Duration;

use upriver_analyze::{QueryError, Session, SessionOptions};
use upriver_store::snapshot::Snapshot;

fn session(change: impl FnOnce(&mut SessionOptions)) -> Session {
    let mut options = SessionOptions::default();
    change(&mut options);
    Session::new(Snapshot::default(), &options).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_ends_at_its_deadline() {
    let session = session(|options| options.timeout = Duration::from_millis(200));
    let endless = "SELECT count(*) FROM generate_series(1, 9000000) AS a, generate_series(1, 9000000) AS b WHERE a.value % 7 <> b.value % 11";
    let error = session.query(endless).await.unwrap_err();
    assert!(matches!(error, QueryError::Timeout { .. }), "{error}");
    assert!(error.to_string().contains("did not end within 0.2 s"), "{error}");
}

#[tokio::test]
async fn a_result_has_a_limit_of_rows() {
    let session = session(|options| options.rows_max = 10_000);
    assert!(session.query("SELECT * FROM generate_series(1, 10000)").await.is_ok());
    let error = session.query("SELECT * FROM generate_series(1, 10001)").await.unwrap_err();
    assert!(matches!(error, QueryError::TooLarge { .. }), "{error}");
    assert!(error.to_string().contains("more than 10000 rows"), "{error}");
    let inside = "SELECT count(*) FROM (SELECT * FROM generate_series(1, 100000))";
    assert!(session.query(inside).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_has_a_limit() {
    let session = session(|options| options.memory_limit_bytes = 1 << 20);
    let sql = "SELECT count(*) FROM generate_series(1, 3000000) AS a JOIN generate_series(1, 3000000) AS b ON a.value = b.value";
    let error = session.query(sql).await.unwrap_err();
    assert!(matches!(error, QueryError::Memory { .. }), "{error}");
}

#[tokio::test]
async fn functions_that_blow_up_a_value_are_limited() {
    let session = session(|_| {});
    let check = async |expression: &str, allowed: bool| {
        let result = session.query(&format!("SELECT {expression}")).await;
        match result {
            Ok(_) => assert!(allowed, "{expression}"),
            Err(QueryError::TooLarge { message }) => {
                assert!(!allowed, "{expression}: {message}");
                assert!(message.contains("() would give"), "{message}");
            }
            Err(error) => panic!("{expression}: {error}"),
        }
    };
    check("repeat('ab', 3)", true).await;
    check("repeat('ab', 1000000000)", false).await;
    check("repeat('ab', -1000000000)", true).await;
    check("lpad('a', 5, 'b')", true).await;
    check("lpad('a', 500000000, 'b')", false).await;
    check("rpad('a', 500000000)", false).await;
    check("replace('aa', 'a', 'bb')", true).await;
    check("replace(repeat('a', 1000000), 'a', repeat('b', 1000000))", false).await;
    check("regexp_replace(repeat('a', 1000000), 'a', repeat('b', 1000000), 'g')", false).await;
    check("array_repeat(1, 5)", true).await;
    check("array_repeat(1, 1000000000)", false).await;
    check("array_resize([1], 1000000000)", false).await;
    check("range(0, 10)", true).await;
    check("range(1000000000000)", false).await;
    check("range(0, 1000000000000, 7)", false).await;
    check("generate_series(0, -1000000000000, -7)", false).await;
    check("generate_series(DATE '2026-01-01', DATE '2026-12-01', INTERVAL '1 month')", true).await;
    check(
        "generate_series(TIMESTAMP '2026-01-01', TIMESTAMP '2026-12-01', INTERVAL '1 microsecond')",
        false,
    )
    .await;
}

#[tokio::test]
async fn generated_tables_are_limited() {
    let session = session(|_| {});
    for series in [
        "generate_series(1, 10000001)",
        "range(0, 100000000000, 2)",
        "generate_series(TIMESTAMP '2026-01-01', TIMESTAMP '2026-12-01', INTERVAL '1 millisecond')",
    ] {
        let error = session.query(&format!("SELECT count(*) FROM {series}")).await.unwrap_err();
        assert!(matches!(error, QueryError::TooLarge { .. }), "{series}: {error}");
        assert!(error.to_string().contains("at most 10000000 are allowed"), "{error}");
    }
    let hours = "SELECT count(*) FROM generate_series(TIMESTAMP '2026-01-01', TIMESTAMP '2026-12-01', INTERVAL '1 hour')";
    assert!(session.query(hours).await.is_ok());
}

#[tokio::test]
async fn statements_have_a_limit() {
    let session = session(|_| {});
    let long = format!("SELECT '{}'", "x".repeat(2 << 20));
    let error = session.query(&long).await.unwrap_err();
    assert!(matches!(error, QueryError::TooLarge { .. }), "{error}");
    let deep = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    let error = session.query(&deep).await.unwrap_err();
    assert_eq!(error.code(), "invalid_query", "{error}");
    let recursive = "WITH RECURSIVE t AS (SELECT 'a' AS s UNION ALL SELECT s || s FROM t) SELECT count(*) FROM t";
    let error = session.query(recursive).await.unwrap_err();
    assert!(error.to_string().to_lowercase().contains("recursive"), "{error}");
}
