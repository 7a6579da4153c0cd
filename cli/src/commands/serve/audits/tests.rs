use std::sync::atomic::Ordering;

use upriver_store::store::StoreOptions;
use upriver_testdata::incidents::{Family, Incident, Label, Options};

use super::*;

/// A store with a generated case in it.
struct Case {
    folder: tempfile::TempDir,
    label: Label,
}

impl Case {
    fn new(family: Family) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let case = folder.path().join("case");
        let (_, label) = Incident::new(Options::new(family, 1)).write_case(&case).unwrap();
        Self { folder, label }
    }

    async fn import(&self) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = crate::output::Output { out: &mut out, err: &mut err };
        let case = self.folder.path().join("case").display().to_string();
        let data = self.folder.path().join("data").display().to_string();
        let cli = ["upriver", "import", &case, "--data", &data];
        let crate::args::Command::Import(args) =
            <crate::args::Cli as clap::Parser>::parse_from(cli).command
        else {
            panic!("another command")
        };
        crate::commands::import::run(args, &mut output).await.unwrap();
    }

    async fn store(&self) -> Arc<Store> {
        let data = self.folder.path().join("data").into();
        let options = StoreOptions { data, ..StoreOptions::default() };
        Arc::new(Store::open(options, upriver_ingest::replay()).await.unwrap())
    }
}

fn auditor(store: &Arc<Store>, counts: &Arc<AuditCounts>) -> Auditor {
    let slot = StoreSlot::ready(Arc::clone(store));
    Auditor::new("default", slot, SessionOptions::default(), Arc::clone(counts)).unwrap()
}

async fn judged(store: &Store) -> Vec<Value> {
    let session = Session::new(store.snapshot(), &SessionOptions::default()).unwrap();
    let sql = "SELECT subject, statement, labels['change'] AS change, labels['minutes'] AS minutes, labels['outcome'] AS outcome FROM findings WHERE rule = 'deploy_audit' ORDER BY time";
    rows(&session.query(sql).await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_is_judged_when_it_is_due_and_once() {
    let case = Case::new(Family::SlowCallee);
    case.import().await;
    let cause = case.label.expected.root_cause.clone().unwrap();
    let guilty = cause.deploy_id.unwrap();
    let store = case.store().await;
    let session = Session::new(store.snapshot(), &SessionOptions::default()).unwrap();
    let id = literal::text(&guilty);
    let sql = format!("SELECT start_unix_nano AS start FROM changes WHERE id = {id}");
    let start = rows(&session.query(&sql).await.unwrap()).unwrap()[0]["start"].as_i64().unwrap();
    let counts = Arc::new(AuditCounts::default());
    let mut auditing = auditor(&store, &counts);
    let of_it = async |store: &Store| -> Vec<String> {
        let all = judged(store).await;
        let own = all.iter().filter(|row| row["change"] == guilty.as_str());
        own.map(|row| row["minutes"].as_str().unwrap().to_owned()).collect()
    };
    auditing.round(UnixNanos(start + 4 * MINUTE)).await.unwrap();
    assert!(of_it(&store).await.is_empty(), "not due yet");
    auditing.round(UnixNanos(start + 9 * MINUTE)).await.unwrap();
    assert_eq!(of_it(&store).await, ["5"]);
    assert_eq!(auditing.round(UnixNanos(start + 9 * MINUTE)).await.unwrap(), 0, "once");
    let before = judged(&store).await.len();
    store.close().await.unwrap();
    drop((auditing, store));

    // After a restart too. Then it is due again, with more of the time after it.
    let store = case.store().await;
    let mut auditing = auditor(&store, &counts);
    auditing.round(UnixNanos(start + 9 * MINUTE)).await.unwrap();
    assert_eq!(judged(&store).await.len(), before, "nothing is judged twice");
    auditing.round(UnixNanos(start + 18 * MINUTE)).await.unwrap();
    assert_eq!(of_it(&store).await, ["5", "15"]);
    let counted = [&counts.pass, &counts.regression, &counts.inconclusive];
    let counted: u64 = counted.iter().map(|count| count.load(Ordering::Relaxed)).sum();
    assert_eq!(counted, judged(&store).await.len() as u64);
    // Hours later it tells nobody anything.
    assert_eq!(auditing.round(UnixNanos(start + 5 * HOUR)).await.unwrap(), 0);
    store.close().await.unwrap();
}

#[test]
fn the_longest_time_after_a_change_that_is_due_is_judged() {
    let due = |minutes: i64| due_minutes(0, UnixNanos(minutes * MINUTE));
    let expected = [
        (7, None),
        (8, Some(5)),
        (17, Some(5)),
        (18, Some(15)),
        (47, Some(15)),
        (48, None),
        (63, Some(60)),
        (93, None),
    ];
    for (now, minutes) in expected {
        assert_eq!(due(now), minutes, "after {now} minutes");
    }
}
