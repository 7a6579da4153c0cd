//! Steps, spikes, recoveries and noise.

use super::{Reference, Rise, lasting_rise, share_split};

/// Noise that looks random and is always the same: a linear congruential generator.
fn noise(count: usize, sigma: f64) -> Vec<f64> {
    let mut state = 12345u64;
    let mut uniform = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..count).map(|_| sigma * ((0..12).map(|_| uniform()).sum::<f64>() - 6.0)).collect()
}

fn series(steps: &[(usize, f64)], sigma: f64) -> Vec<f64> {
    let levels: Vec<f64> =
        steps.iter().flat_map(|(count, level)| std::iter::repeat_n(*level, *count)).collect();
    noise(levels.len(), sigma).into_iter().zip(levels).map(|(n, level)| n + level).collect()
}

fn find(values: &[f64], healthy: usize) -> Option<Rise> {
    lasting_rise(values, Reference::of(&values[..healthy])?)
}

#[test]
fn a_step_is_found_at_its_minute() {
    let values = series(&[(300, 0.0), (16, 1.7)], 0.06);
    let rise = find(&values, 200).expect("a rise");
    assert_eq!(rise, Rise { first: 300, interval: (300, 300) });
}

#[test]
fn a_small_step_has_a_wider_interval_around_it() {
    let values = series(&[(200, 0.0), (60, 0.2)], 0.06);
    let rise = find(&values, 150).expect("a rise");
    assert!(rise.interval.0 <= 200 && rise.interval.1 >= 200, "{rise:?}");
    assert!(rise.first.abs_diff(200) <= 3, "{rise:?}");
}

#[test]
fn noise_spikes_and_recoveries_are_no_rise() {
    let cases = [
        series(&[(360, 0.0)], 0.06),
        series(&[(200, 0.0), (3, 3.0), (157, 0.0)], 0.06),
        series(&[(200, 0.0), (30, 1.7), (60, 0.0)], 0.06),
        series(&[(200, 0.0), (60, -1.0)], 0.06),
    ];
    for values in cases {
        assert_eq!(find(&values, 150), None);
    }
}

#[test]
fn of_two_incidents_the_one_that_lasts_is_dated() {
    let values = series(&[(100, 0.0), (30, 1.7), (100, 0.0), (20, 1.0)], 0.06);
    assert_eq!(find(&values, 90).map(|rise| rise.first), Some(230));
}

#[test]
fn a_share_is_split_where_it_rises() {
    let event = |n: usize| if n < 60 { n.is_multiple_of(10) } else { !n.is_multiple_of(3) };
    let events: Vec<bool> = (0..100).map(event).collect();
    let rise = share_split(&events, 1.0).unwrap();
    assert!((55..=65).contains(&rise.first), "{rise:?}");
    assert!(rise.interval.0 <= 60 && rise.interval.1 >= 60 && rise.interval.1 < 70, "{rise:?}");
    let wide = share_split(&events, 4.0).unwrap();
    assert_eq!(wide.first, rise.first);
    assert!(wide.interval.0 <= rise.interval.0 && wide.interval.1 >= rise.interval.1, "{wide:?}");
    let falls: Vec<bool> = (0..100).map(|n| n < 50).collect();
    assert_eq!(share_split(&falls, 1.0), None);
    assert_eq!(share_split(&[], 1.0), None);
}
