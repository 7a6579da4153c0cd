use upriver_analyze::SessionOptions;
use upriver_store::snapshot::Snapshot;

use super::*;

fn change(service: &str, version: &str, kind: &str, minute: i64) -> Change {
    Change {
        id: format!("{service}-{version}-{minute}"),
        kind: kind.to_owned(),
        source: "explicit".to_owned(),
        service: service.to_owned(),
        version: version.to_owned(),
        previous_version: None,
        start: Time::of(minute * MINUTE),
    }
}

#[test]
fn a_version_means_its_latest_deploy_and_the_next_rollback_of_its_service() {
    let changes = [
        change("a@b", "2", "deploy", 1),
        change("a@b", "1", "rollback", 2),
        change("a@b", "2", "deploy", 3),
        change("other", "1", "rollback", 4),
        change("a@b", "2", "rollback", 5),
    ];
    let at = Time::of(HOUR);
    let found = find_deploy(&changes, "a@b@2", at).unwrap();
    assert_eq!(found.start, changes[2].start);
    assert_eq!(first_rollback(&changes, found), Some(&changes[4]));
    assert_eq!(find_deploy(&changes, &changes[0].id, at).unwrap(), &changes[0]);
    let message = find_deploy(&changes, "a@b@9\u{1b}", at).unwrap_err().to_string();
    assert!(message.contains("a@b@9\\u{1b}") && message.contains("deploy list"), "{message}");
}

#[test]
fn three_windows_follow_the_settling_time_and_grow_with_the_data() {
    let minutes = |at: i64| -> Vec<_> {
        let windows = windows_after(Time::of(0), Time::of(at * MINUTE));
        windows.iter().map(|w| (w.start.nanos() / MINUTE, w.end.nanos() / MINUTE)).collect()
    };
    for early in [0, 3, 20] {
        assert_eq!(minutes(early), [(5, 10), (10, 15), (15, 20)]);
    }
    assert_eq!(minutes(29), [(5, 13), (13, 21), (21, 29)]);
    assert_eq!(minutes(1_000), [(5, 20), (20, 35), (35, 50)]);
}

#[tokio::test]
async fn an_unknown_deploy_is_an_error_not_an_outcome() {
    let session = Session::new(Snapshot::default(), &SessionOptions::default()).unwrap();
    let target = VerifyTarget::Deploy("checkout@1".to_owned());
    let error = verify(&session, &VerifyRequest { target, at: UnixNanos(HOUR) }).await.unwrap_err();
    assert!(error.is_usage(), "{error}");
}
