use upriver_analyze::SessionOptions;
use upriver_analyze::histogram::Histogram;
use upriver_store::snapshot::Snapshot;

use super::judge::{Minutes, PerRequest, Share};
use super::*;

fn change(service: &str, version: &str, seconds: i64) -> Change {
    Change {
        id: format!("{service}-{version}"),
        kind: "deploy".to_owned(),
        source: "explicit".to_owned(),
        service: service.to_owned(),
        version: version.to_owned(),
        previous_version: None,
        start: Time::of(seconds * MINUTE / 60),
    }
}

/// Minutes since 1970 of both windows of a deploy at 10:00:20 on the first day.
fn minutes(others: &[Change], at: i64, longest: i64) -> [(i64, i64); 2] {
    let this = change("a", "2", 600 * 60 + 20);
    let mut changes = vec![this.clone()];
    changes.extend_from_slice(others);
    changes.sort_by_key(|change| change.start);
    let windows = Windows::of(&this, &changes, (Time::of(at * MINUTE), longest * MINUTE));
    [windows.before, windows.after]
        .map(|window| (window.start.nanos() / MINUTE, window.end.nanos() / MINUTE))
}

#[test]
fn windows_are_whole_minutes_that_are_over_and_end_at_other_changes_of_the_service() {
    // The minute of the change is in neither; the last two minutes have spans that go on.
    assert_eq!(minutes(&[], 608, 60), [(540, 600), (601, 606)]);
    assert_eq!(minutes(&[], 1_000, 5), [(540, 600), (601, 606)]);
    // From twenty minutes on the first five are left out.
    assert_eq!(minutes(&[], 700, 60), [(540, 600), (606, 661)]);
    // A rollback ends it, an earlier deploy begins what it is held against unless that was just now.
    let around =
        [change("a", "1", 570 * 60), change("a", "1", 615 * 60), change("b", "1", 610 * 60)];
    assert_eq!(minutes(&around, 700, 60), [(570, 600), (601, 615)]);
    assert_eq!(minutes(&[change("a", "1", 595 * 60)], 608, 60), [(540, 600), (601, 606)]);
    assert_eq!(minutes(&[], 600, 60), [(540, 600), (601, 601)], "nothing is over yet");
}

fn windows() -> Windows {
    let this = change("a", "2", 600 * 60);
    let at = Time::of(617 * MINUTE);
    Windows::of(&this, std::slice::from_ref(&this), (at, 15 * MINUTE))
}

/// Numbers from 0 to 1 that look drawn and are the same each time.
fn drawn(seed: i64) -> f64 {
    let mixed = seed.wrapping_mul(0x9E37_79B9).rem_euclid(1_000_003);
    (mixed as f64 + 0.5) / 1_000_003.0
}

/// Six hours and fifteen minutes of durations around 20 ms; `slower` says by which factor.
fn durations(per_minute: i64, slower: impl Fn(i64) -> f64) -> Minutes<Histogram> {
    let mut minutes = Minutes::default();
    for minute in 240..615 {
        let mut cell = Histogram::default();
        for request in 0..per_minute {
            // Between 5 and 80 ms, evenly over the logarithm.
            let value = 5e6 * 16f64.powf(drawn(minute * 1_000 + request));
            #[expect(clippy::cast_possible_truncation, reason = "nanoseconds of a test")]
            cell.record((value * slower(minute)) as i64);
        }
        minutes.add(Time::of(minute * MINUTE), &cell);
    }
    minutes
}

#[test]
fn a_rise_at_the_change_stands_out_and_chance_does_not() {
    let calm = durations(30, |_| 1.0).above(&windows(), 0.9);
    assert!(calm.z.abs() < 3.0, "{calm:?}");
    assert_eq!(
        calm.placebos, 20,
        "six hours in quarters, after the hour that the first is held against"
    );
    let slow = durations(30, |minute| if minute >= 600 { 1.5 } else { 1.0 }).above(&windows(), 0.9);
    assert!(slow.z > 3.0, "{slow:?}");
    let since = slow.since.unwrap();
    assert!(
        since.start <= Time::of(600 * MINUTE) && since.end >= Time::of(600 * MINUTE),
        "{since:?}"
    );
    // A rise of a while ago is dated before the change, though the windows differ.
    let earlier = durations(30, |minute| if minute >= 585 { 1.8 } else { 1.0 });
    let earlier = earlier.above(&windows(), 0.9);
    assert!(earlier.z > 3.0 && earlier.since.unwrap().end <= Time::of(600 * MINUTE), "{earlier:?}");
}

#[test]
fn what_happens_every_quarter_of_an_hour_anyway_is_no_regression() {
    let bursts = |minute: i64| if (minute / 15) % 2 == 0 { 1.6 } else { 1.0 };
    let known = durations(30, bursts).above(&windows(), 0.9);
    let alone = durations(30, |minute| if minute >= 600 { 1.6 } else { 1.0 });
    let alone = alone.above(&windows(), 0.9);
    assert!(known.z < 3.0 && alone.z > 3.0, "{known:?} {alone:?}");
}

/// The number of requests from which on a pass is said: what its formula promises.
#[test]
fn half_as_much_time_again_is_seen_with_the_requests_that_a_pass_needs() {
    let per_minute = REQUESTS_MIN / 15 + 1;
    let mut seen = 0;
    for shift in 0..20 {
        let slower = |minute: i64| if minute >= 600 { 1.5 } else { 1.0 };
        let mut minutes = Minutes::default();
        for (minute, cell) in durations(per_minute, slower).0 {
            minutes.add(Time::of(minute), &cell);
        }
        for minute in 600..615 {
            let mut cell = Histogram::default();
            for request in 0..per_minute {
                let value = 7.5e6 * 16f64.powf(drawn(minute * 1_000 + request + 7_919 * shift));
                #[expect(clippy::cast_possible_truncation, reason = "nanoseconds of a test")]
                cell.record(value as i64);
            }
            minutes.0.insert(minute * MINUTE, cell);
        }
        let best = [0.5, 0.9].map(|q| minutes.above(&windows(), q).z);
        seen += i32::from(best.into_iter().fold(0.0, f64::max) >= judge::Z_MIN);
    }
    assert!(seen >= 16, "{seen} of 20");
}

#[test]
fn shares_and_what_comes_on_a_request_are_compared_too() {
    let (mut errors, mut calls) = (Minutes::<Share>::default(), Minutes::<PerRequest>::default());
    for minute in 240..615 {
        let (is_after, at) = (minute >= 600, Time::of(minute * MINUTE));
        errors.add(at, &Share { hits: if is_after { 4 } else { minute % 2 }, n: 40 });
        let amount = if is_after { 80 } else { 40 + minute % 3 };
        calls.add(at, &PerRequest { amount, requests: 40 });
    }
    assert!(errors.larger(&windows()).z > 3.0, "{:?}", errors.larger(&windows()));
    assert!(calls.more(&windows()).z > 3.0, "{:?}", calls.more(&windows()));
    let earlier =
        Windows::of(&change("a", "2", 500 * 60), &[], (Time::of(517 * MINUTE), 15 * MINUTE));
    assert!(errors.larger(&earlier).z < 2.0 && calls.more(&earlier).z < 2.0);
}

#[tokio::test]
async fn an_unknown_change_is_an_error_that_names_the_nearest() {
    let session = Session::new(Snapshot::default(), &SessionOptions::default()).unwrap();
    let error = audit(&session, &AuditRequest::new("checkout@1", UnixNanos(HOUR))).await;
    assert!(error.unwrap_err().is_usage());
    let known = [change("checkout", "1.2", 1)];
    let error = find_change(&known, "chekout@1.2", Time::of(HOUR)).unwrap_err().to_string();
    assert!(error.contains("did you mean `checkout@1.2`?"), "{error}");
    let error = find_change(&known, "checkout-1.3", Time::of(HOUR)).unwrap_err().to_string();
    assert!(error.contains("did you mean `checkout-1.2`?"), "{error}");
    let error = find_change(&known, "zzz\u{1b}", Time::of(HOUR)).unwrap_err().to_string();
    assert!(error.contains("zzz\\u{1b}") && error.contains("deploy list"), "{error}");
}
