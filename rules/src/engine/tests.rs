use upriver_analyze::{Session, SessionOptions, UnixNanos};
use upriver_store::snapshot::Snapshot;

use super::*;
use crate::rule_file::parse;

/// 2026-03-11T10:31:00Z.
const NOW: Time = Time(UnixNanos(1_773_225_060_000_000_000));

fn rule(sql: &str, more: &str) -> Rule {
    let text = format!(
        "groups: [{{name: g, rules: [{{rule: R, sql: \"{sql}\", subject: [service], {more}}}]}}]"
    );
    parse("test.yaml", &text).unwrap().groups.remove(0).rules.remove(0)
}

async fn run(rule: &Rule) -> Result<Vec<Firing>, RulesError> {
    let session = Session::new(Snapshot::default(), &SessionOptions::default()).unwrap();
    evaluate(&session, rule, Duration::from_mins(1), NOW).await
}

const ROWS: &str = "SELECT * FROM (VALUES ('b', 3.0, 2.0, 7), ('a''x', 9.0, 3.0, 5)) AS t(service, now, before, n)";

#[tokio::test]
async fn a_row_is_a_finding_whose_query_returns_its_figures() {
    let rule = rule(
        ROWS,
        "observed: now, baseline: before, n: n, labels: {owner: '{{ service }}'}, annotations: {summary: '{{ service }} grew {{ (now / before) | times }}'}",
    );
    let firings = run(&rule).await.unwrap();
    let subjects: Vec<_> = firings.iter().map(|f| f.finding.subject.as_str()).collect();
    assert_eq!(subjects, ["a'x", "b"]);
    let first = &firings[0];
    assert_eq!(first.labels["owner"], "a'x");
    assert_eq!(first.finding.statement, "a'x grew 3.0x");
    assert_eq!(first.finding.change, Some(3.0));

    let session = Session::new(Snapshot::default(), &SessionOptions::default()).unwrap();
    let again = Rows::query(&session, "the test", &first.finding.sql).await.unwrap();
    assert_eq!(again.len(), 1);
    assert_eq!(again.floats("observed").unwrap(), [first.finding.observed]);
    assert_eq!(again.floats("baseline").unwrap(), [first.finding.baseline]);
    assert_eq!(again.optional_ints("n").unwrap(), [first.finding.n]);
}

#[tokio::test]
async fn a_row_must_have_been_there_for_as_long_as_the_rule_says() {
    let since = |instant: &str| {
        format!("SELECT 'a' AS service WHERE $now >= TIMESTAMP '2026-03-11T10:{instant}Z'")
    };
    for (sql, held_for, fires) in [
        (since("29:00"), "2m", true),
        (since("30:00"), "2m", false),
        (since("29:30"), "90s", true),
        (since("31:00"), "0s", true),
    ] {
        let found = run(&rule(&sql, &format!("for: {held_for}"))).await.unwrap();
        assert_eq!(!found.is_empty(), fires, "{sql} for {held_for}");
    }
}

#[tokio::test]
async fn a_condition_that_would_take_too_many_queries_is_refused() {
    let message = run(&rule(ROWS, "for: 2h")).await.unwrap_err().to_string();
    assert!(message.contains("120 intervals") && message.contains("at most 60"), "{message}");
}

#[tokio::test]
async fn a_template_with_an_unknown_column_is_refused() {
    let rule = rule(ROWS, "annotations: {summary: '{{ nothing }}'}");
    let message = run(&rule).await.unwrap_err().to_string();
    assert!(message.contains("rule R") && message.contains("summary"), "{message}");
}

#[test]
fn the_instant_is_replaced_outside_of_quotes_alone() {
    let literal = NOW.sql();
    let cases = [
        ("x < $now", format!("x < {literal}")),
        ("'$now' \"$now\" $now", format!("'$now' \"$now\" {literal}")),
        ("$nowhere 'it''s $now' ü", "$nowhere 'it''s $now' ü".to_owned()),
    ];
    for (sql, expected) in cases {
        assert_eq!(at_instant(sql, NOW), expected);
    }
}
