use upriver_analyze::{Session, SessionOptions, UnixNanos};
use upriver_store::snapshot::Snapshot;

use super::files;
use crate::engine::evaluate;
use crate::time::Time;

#[tokio::test]
async fn every_rule_runs_and_finds_nothing_where_there_is_nothing() {
    let session = Session::new(Snapshot::default(), &SessionOptions::default()).unwrap();
    let now = Time(UnixNanos(1_773_225_060_000_000_000));
    let mut names = Vec::new();
    for (file, rules) in files().unwrap() {
        for group in &rules.groups {
            for rule in &group.rules {
                let found = evaluate(&session, rule, group.interval, now).await;
                assert_eq!(found.unwrap(), [], "{file}");
                assert!(rule.annotations.contains_key("summary"), "{file}");
                names.push(rule.rule.clone());
            }
        }
    }
    assert_eq!(names, ["FrameJump", "PayloadGrowth", "RecentDeploy", "SpanInflation"]);
}
