use upriver_analyze::SessionOptions;
use upriver_store::snapshot::Snapshot;

use super::signals::Limits;
use super::*;
use crate::diagnosis::signal::{Operation, Signal};

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
    let found = find_change(&changes, "a@b@2", at).unwrap();
    assert_eq!(found.start, changes[2].start);
    assert_eq!(first_rollback(&changes, found), Some(&changes[4]));
    assert_eq!(find_change(&changes, &changes[0].id, at).unwrap(), &changes[0]);
    let message = find_change(&changes, "a@b@9\u{1b}", at).unwrap_err().to_string();
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

#[test]
fn too_few_observations_are_neither_a_recovery_nor_its_failure() {
    let operation = Operation {
        service: "checkout".to_owned(),
        span_name: "POST /checkout".to_owned(),
        span_kind: "SERVER".to_owned(),
    };
    let limits = |signal: &Signal, baseline| {
        let limits = Limits::of(signal, baseline);
        move |bound: f64, shows_outside| limits.judge(Some(bound), shows_outside)
    };
    let p99 = Signal::Duration { operation: operation.clone(), quantile: 0.99 };
    // 10 % of 240 ms, and 2 ms of what is shorter than 20.
    let of_240 = limits(&p99, 240.0);
    assert_eq!(of_240(263.9, false), SignalState::Recovered);
    assert_eq!(of_240(264.1, false), SignalState::Undecided);
    assert_eq!(of_240(264.1, true), SignalState::NotRecovered);
    assert_eq!(of_240(20.0, false), SignalState::Recovered, "faster than before");
    assert_eq!(limits(&p99, 5.0)(6.9, false), SignalState::Recovered);
    assert_eq!(limits(&p99, 5.0)(7.1, false), SignalState::Undecided);
    let errors = limits(&Signal::ErrorShare { operation }, 6.0);
    assert_eq!(errors(7.9, false), SignalState::Recovered);
    assert_eq!(errors(8.1, false), SignalState::Undecided);
    assert_eq!(errors(3.9, false), SignalState::Undecided);
    assert_eq!(Limits::of(&p99, 240.0).judge(None, true), SignalState::Insufficient);
}

#[test]
fn a_rollback_is_judged_by_what_is_known() {
    use SignalState::{Insufficient, NotRecovered, Recovered, Undecided};
    let outcome = |symptom, others: &[SignalState]| {
        let signal = |is_symptom, state| VerifiedSignal {
            rule: "latency".to_owned(),
            subject: "checkout".to_owned(),
            unit: "ms".to_owned(),
            is_symptom,
            baseline: None,
            incident: None,
            after: Vec::new(),
            together: None,
            bound: None,
            limit: None,
            n: 0,
            state,
            sql: String::new(),
        };
        let others = others.iter().map(|state| signal(false, *state));
        let signals: Vec<_> = std::iter::once(signal(true, symptom)).chain(others).collect();
        judge(&signals, "a 2", true)
    };
    let (recovery, summary) = outcome(Recovered, &[Recovered, Undecided]);
    assert_eq!(recovery, Recovery::Recovered);
    assert!(summary.contains("all 2") && summary.contains("1 could not be decided"), "{summary}");
    // The symptom itself must be known to be back.
    for open in [Undecided, Insufficient] {
        assert_eq!(outcome(open, &[Recovered, Recovered]).0, Recovery::Insufficient);
        assert_eq!(outcome(open, &[Recovered, NotRecovered]).0, Recovery::Partly);
        assert_eq!(outcome(open, &[NotRecovered]).0, Recovery::Not);
    }
    assert_eq!(outcome(Recovered, &[NotRecovered]).0, Recovery::Partly);
    assert_eq!(judge(&[], "a 2", false).0, Recovery::Insufficient);
}
