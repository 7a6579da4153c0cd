//! Made-up minutes whose level wanders, or does not.

use upriver_analyze::histogram::Histogram;

use super::z;
use crate::diagnosis::draws::Draws;
use crate::diagnosis::onset::{Bin, Z_MIN};
use crate::diagnosis::watched::Watched;
use crate::time::{MINUTE, Time, Window};

const MEDIAN: Watched = Watched::Quantile { quantile: 0.5, count_min: 20 };

/// Minutes of 30 requests around these many milliseconds.
fn minutes(levels: impl IntoIterator<Item = f64>) -> Vec<Bin> {
    let bin = |(minute, level): (i64, f64)| {
        let mut durations = Histogram::default();
        for request in 0..30 {
            let factor = 0.5 + f64::from(request) / 30.0;
            durations.record(format!("{:.0}", level * 1e6 * factor).parse().expect("a number"));
        }
        let start = Time::of(minute * MINUTE);
        Bin { start, end: start + MINUTE, durations }
    };
    (0i64..).zip(levels).map(bin).collect()
}

/// 120 minutes that wander by so much, up and down every 25 minutes, then six minutes at a factor.
fn played(wander: f64, factor: f64) -> Option<f64> {
    let quiet = (0..120).map(|minute| 50.0 * (1.0 + wander * (f64::from(minute) / 4.0).sin()));
    let bins = minutes(quiet.chain([50.0 * factor; 6]));
    let end = Time::of(126 * MINUTE);
    z(&bins, end - 6 * MINUTE, Window::new(end - 6 * MINUTE, end), MEDIAN)
}

#[test]
fn a_rise_stands_out_from_calm_minutes_and_not_from_those_that_wander() {
    assert!(played(0.01, 1.25).is_some_and(|z| z > 4.0), "{:?}", played(0.01, 1.25));
    assert!(played(0.15, 1.25).is_some_and(|z| z < 3.0), "{:?}", played(0.15, 1.25));
    assert!(played(0.15, 3.0).is_some_and(|z| z > 4.0), "{:?}", played(0.15, 3.0));
    assert!(played(0.01, 1.0).is_some_and(|z| z.abs() < 1.0), "{:?}", played(0.01, 1.0));
}

#[test]
fn where_little_is_known_nothing_is_said() {
    let check = |quiet: usize, count_min: i64, expected: bool| {
        let bins = minutes((0..quiet + 3).map(|_| 50.0));
        let end = bins.last().expect("bins").end;
        let now = Window::new(end - 3 * MINUTE, end);
        let z = z(&bins, now.start, now, Watched::Quantile { quantile: 0.5, count_min });
        assert_eq!(z.is_some(), expected, "{quiet} quiet minutes, {count_min} requests");
    };
    check(30, 20, true);
    check(8, 20, true);
    check(6, 20, false);
    check(30, 100, false);
    assert!(z(&[], Time::of(0), Window::new(Time::of(0), Time::of(1)), MEDIAN).is_none());
}

/// Two hours of 20 requests a minute (logarithms scatter by 0.8) in minutes that scatter by 8 % and resemble
/// their neighbours (autocorrelation 0.6), then twelve minutes at a factor.
fn drawn(seed: u64, factor: f64) -> Option<f64> {
    let mut draws = Draws(seed);
    let (mut level, mut bins) = (0.0, Vec::new());
    for minute in 0..132 {
        level = 0.6 * level + 0.08 * 0.8 * draws.normal();
        let factor = if minute < 120 { 1.0 } else { factor };
        let mut durations = Histogram::default();
        for _ in 0..20 {
            let nanos = 50e6 * factor * (level + 0.8 * draws.normal()).exp();
            durations.record(format!("{nanos:.0}").parse().expect("a number"));
        }
        let start = Time::of(minute * MINUTE);
        bins.push(Bin { start, end: start + MINUTE, durations });
    }
    let now = Window::new(Time::of(120 * MINUTE), Time::of(132 * MINUTE));
    z(&bins, now.start, now, MEDIAN)
}

/// Measured: 0 of 200 by chance, at most 1.5 % at 95 %; of rises by half 76 %, between the 46 and 97 % that a
/// placebo test reaches where minutes scatter by 20 and 10 %.
#[test]
fn chance_seldom_stands_out() {
    let stand_out = |factor: f64| {
        (0..200u64).filter(|seed| drawn(*seed, factor).is_some_and(|z| z > Z_MIN)).count()
    };
    let (by_chance, by_half) = (stand_out(1.0), stand_out(1.5));
    assert!(by_chance <= 1 && by_half >= 140, "{by_chance} by chance, {by_half} by half, of 200");
}
