//! A commit that ends at any of its steps: nothing is lost and nothing is twice, in any table, both
//! when the process goes on and when it is started anew.

use super::*;

/// The tables that the calls of these tests fill, in the order of their commits.
const FILLED: [Table; 7] = [
    Table::Spans,
    Table::ProfileSamples,
    Table::ProfileStacks,
    Table::ProfileStackFrames,
    Table::OperationMinutes,
    Table::EdgeMinutes,
    Table::ProfileMinutes,
];

fn steps() -> Vec<CommitStep> {
    let tables = FILLED.into_iter();
    let of_tables = tables.flat_map(|table| {
        use CommitStep::{FilesWritten, Published, Written};
        [FilesWritten(table), Written(table), Published(table)]
    });
    let last = [CommitStep::AllPassed, CommitStep::LogShortened];
    [CommitStep::Prepared].into_iter().chain(of_tables).chain(last).collect()
}

fn stop_at(store: &Store, step: Option<CommitStep>) {
    *store.core.stop_at.lock().unwrap() = step;
}

/// A store with a whole commit behind it and one that ended at this step.
async fn stopped(data: &Path, step: CommitStep) -> (Store, Vec<LogRecord>) {
    let store = open(data).await;
    let (committed, hot) = (calls(1..=2), calls(3..=4));
    append_all(&store, &committed).await;
    store.flush().await.unwrap();
    append_all(&store, &hot).await;
    stop_at(&store, Some(step));
    store.flush().await.unwrap_err();
    stop_at(&store, None);
    (store, [committed, hot].concat())
}

#[tokio::test]
async fn a_restart_gives_each_table_what_it_lacks() {
    let is_written = |step: &CommitStep| matches!(step, CommitStep::Written(_));
    restart_after(steps().into_iter().filter(is_written)).await;
}

#[tokio::test]
async fn a_restart_between_steps_changes_nothing() {
    let is_written = |step: &CommitStep| matches!(step, CommitStep::Written(_));
    restart_after(steps().into_iter().filter(|step| !is_written(step))).await;
}

async fn restart_after(steps: impl Iterator<Item = CommitStep>) {
    for step in steps {
        let data = tempfile::tempdir().unwrap();
        let (store, records) = stopped(data.path(), step).await;
        drop(store);
        let store = open(data.path()).await;
        check(&store, &records, &format!("restarted after {step:?}"));
        store.flush().await.unwrap();
        check(&store, &records, &format!("restarted and committed after {step:?}"));
    }
}

#[tokio::test]
async fn the_next_commit_gives_each_table_what_it_lacks() {
    for step in steps() {
        let data = tempfile::tempdir().unwrap();
        let (store, mut records) = stopped(data.path(), step).await;
        check(&store, &records, &format!("after {step:?}"));
        let more = calls(5..=5);
        append_all(&store, &more).await;
        records.extend(more);
        check(&store, &records, &format!("with more rows after {step:?}"));
        store.flush().await.unwrap();
        check(&store, &records, &format!("committed after {step:?}"));
        store.close().await.unwrap();
        drop(store);
        check(&open(data.path()).await, &records, &format!("reopened after {step:?}"));
    }
}

#[tokio::test]
async fn a_commit_that_seemed_to_fail_is_looked_up() {
    let data = tempfile::tempdir().unwrap();
    let (store, records) = stopped(data.path(), CommitStep::Written(Table::Spans)).await;
    // The rows of spans are in the table, but all that the process knows is an error.
    assert!(store.core.writers.lock().await[&Table::Spans].is_doubtful);
    store.flush().await.unwrap();
    check(&store, &records, "after looking it up");
}

#[tokio::test]
async fn a_reader_sees_through_a_stopped_commit() {
    for step in [CommitStep::Written(Table::Spans), CommitStep::Published(Table::OperationMinutes)]
    {
        let data = tempfile::tempdir().unwrap();
        let (store, records) = stopped(data.path(), step).await;
        let reader = Reader::open(options(data.path()), decode()).await.unwrap();
        check(&reader, &records, &format!("beside {step:?}"));
        drop(store);
        reader.refresh().await.unwrap();
        check(&reader, &records, &format!("after {step:?}"));
    }
}

#[tokio::test]
async fn a_table_that_was_half_made_is_made() {
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(data.path().join("default/spans/_delta_log")).unwrap();
    let reader = Reader::open(options(data.path()), decode()).await.unwrap();
    check(&reader, &[], "of a half-made table");
    let store = open(data.path()).await;
    let records = calls(1..=1);
    append_all(&store, &records).await;
    store.flush().await.unwrap();
    check(&store, &records, "in a table that was half made");
}

#[tokio::test]
async fn a_crash_while_restarting_changes_nothing() {
    let data = tempfile::tempdir().unwrap();
    let (store, records) = stopped(data.path(), CommitStep::Published(Table::Spans)).await;
    drop(store);
    for step in
        [CommitStep::Published(Table::ProfileSamples), CommitStep::Written(Table::EdgeMinutes)]
    {
        let store = open(data.path()).await;
        stop_at(&store, Some(step));
        store.flush().await.unwrap_err();
    }
    check(&open(data.path()).await, &records, "after three crashes");
}
