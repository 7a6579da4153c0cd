//! Onsets in made-up traffic.

use upriver_analyze::histogram::Histogram;

use super::{Bin, ratio_min, rise_of};
use crate::diagnosis::draws::Draws;
use crate::time::{HOUR, MINUTE, Time};

/// Hours of a dozen requests a minute that scatter as those of services do (logarithms by 0.5) in minutes
/// that scatter by a tenth, then eleven minutes in which one in eight is so many times slower.
fn drawn(seed: u64, hours: i64, slower: f64) -> Vec<Bin> {
    let mut draws = Draws(seed);
    let calm = hours * 60;
    let minute = |minute: i64| {
        let level = 0.1 * draws.normal();
        let requests: Vec<_> = (0..12).map(|_| level + 0.5 * draws.normal()).collect();
        let mut durations = Histogram::default();
        for request in requests {
            let is_slow = minute >= calm && draws.uniform() < 0.125;
            let nanos = 80e6 * request.exp() * if is_slow { slower } else { 1.0 };
            durations.record(format!("{nanos:.0}").parse().expect("a number"));
        }
        let start = Time::of(minute * MINUTE);
        Bin { start, end: start + MINUTE, durations }
    };
    (0..calm + 11).map(minute).collect()
}

/// Measured: of 100 rises in one request of eight 70 are found (39 of fourfold ones, 11 of threefold), none of
/// them by quantiles alone, and nothing in 100 calm days.
#[test]
fn a_rise_in_few_requests_shows_in_the_share_of_slow_ones() {
    let found = |slower: f64| {
        let risen = (0..100u64).filter(|seed| {
            let bins = drawn(*seed, 26, slower);
            let end = bins.last().expect("bins").end;
            rise_of(&bins, &bins, end - 6 * HOUR, MINUTE).is_some()
        });
        risen.count()
    };
    let (calm, risen) = (found(1.0), found(6.0));
    assert!(calm <= 1 && risen >= 60, "{calm} in calm days, {risen} of those that rose, of 100");
}

/// Two hours of 20 requests a minute of which 9 % miss a cache and take three times as long, then twelve minutes in
/// which this share of them does.
fn missing(seed: u64, share: f64) -> Vec<Bin> {
    let mut draws = Draws(seed);
    let minute = |minute: i64| {
        let share = if minute < 120 { 0.09 } else { share };
        let mut durations = Histogram::default();
        for _ in 0..20 {
            let factor = if draws.uniform() < share { 3.0 } else { 1.0 };
            let nanos = 20e6 * factor * (0.1 * draws.normal()).exp();
            durations.record(format!("{nanos:.0}").parse().expect("a number"));
        }
        let start = Time::of(minute * MINUTE);
        Bin { start, end: start + MINUTE, durations }
    };
    (0..132).map(minute).collect()
}

/// Measured: 140 of 200 where the share rises to 40 %; 2 where it rises to 13 %, by the quantile alone 31.
#[test]
fn a_quantile_between_two_kinds_of_requests_jumps() {
    let found = |share: f64| {
        let risen = (0..200u64).filter(|seed| {
            let bins = missing(*seed, share);
            let end = bins.last().expect("bins").end;
            rise_of(&bins, &bins, end - 6 * HOUR, MINUTE).is_some()
        });
        risen.count()
    };
    let (same, few, many) = (found(0.09), found(0.13), found(0.4));
    assert!(same == 0 && few <= 4 && many >= 130, "{same} {few} {many}");
}

/// Minutes of `count` requests around some milliseconds.
fn minutes(parts: &[(i64, i64, f64)]) -> Vec<Bin> {
    let mut bins = Vec::new();
    let mut minute = 0;
    for (length, count, milliseconds) in parts {
        for _ in 0..*length {
            let mut durations = Histogram::default();
            for request in 0..*count {
                // A spread of four to one, shifted a little from minute to minute.
                let place = (request * 7 + minute * 3) % 20;
                let factor = 0.5 + 1.5 * place as f64 / 20.0;
                let nanos = milliseconds * 1e6 * factor;
                durations.record(format!("{nanos:.0}").parse().expect("a number"));
            }
            let start = Time::of(minute * MINUTE);
            bins.push(Bin { start, end: start + MINUTE, durations });
            minute += 1;
        }
    }
    bins
}

fn check(parts: &[(i64, i64, f64)], expected_minute: Option<i64>) {
    let bins = minutes(parts);
    let end = bins.last().expect("bins").end;
    let onset = rise_of(&bins, &bins, end - 6 * HOUR, MINUTE);
    let minute = onset.map(|onset| onset.onset.nanos() / MINUTE);
    assert_eq!(minute, expected_minute, "{parts:?}");
    if let Some(onset) = onset {
        assert!(onset.interval.start <= onset.onset && onset.onset < onset.interval.end);
        assert!(onset.baseline.end <= onset.interval.start);
    }
}

#[test]
fn the_minute_of_the_rise_is_found_in_dense_and_sparse_traffic() {
    check(&[(1800, 60, 100.0), (16, 60, 580.0)], Some(1800));
    check(&[(1700, 5, 100.0), (76, 300, 100.0), (16, 300, 580.0)], Some(1776));
    check(&[(1440, 60, 100.0), (284, 60, 100.0), (76, 60, 150.0)], Some(1724));
}

#[test]
fn a_short_history_is_enough() {
    check(&[(8, 60, 20.0), (8, 60, 80.0)], Some(8));
}

#[test]
fn a_small_rise_is_reported_once_it_has_lasted() {
    check(&[(600, 60, 100.0), (4, 60, 160.0)], None);
    check(&[(600, 60, 100.0), (6, 60, 160.0)], Some(600));
    check(&[(600, 60, 100.0), (12, 60, 130.0)], Some(600));
    let least = [4, 5, 9, 10].map(|minutes| ratio_min(minutes * MINUTE).to_string());
    assert_eq!(least, ["2", "1.5", "1.5", "1.2"]);
    check(&[(600, 60, 100.0), (4, 60, 580.0)], None);
    check(&[(600, 60, 100.0), (5, 60, 580.0)], Some(600));
}

#[test]
fn healthy_and_recovered_operations_have_no_onset() {
    check(&[(1800, 60, 100.0)], None);
    check(&[(1700, 60, 100.0), (40, 60, 580.0), (40, 60, 100.0)], None);
    check(&[(1800, 60, 100.0), (3, 60, 580.0)], None);
    check(&[(3, 60, 100.0)], None);
}
