//! The statistics of the diagnosis: robust location and scale, change points, shares, heterogeneity.
//! No step of a diagnosis has formulas of its own.

pub(crate) mod change_point;
pub(crate) mod heterogeneity;

/// Makes a median absolute deviation the standard deviation of a normal distribution.
const MAD_TO_SIGMA: f64 = 1.4826;
/// Samples of a profile come in clusters (a request, a collection cycle): their variance is this
/// many times the binomial one.
const DESIGN_EFFECT: f64 = 2.0;
/// Minutes resemble their neighbours: the standard error of a window's median is this many times
/// that of independent points (autocorrelation 0.6).
const AUTOCORRELATION: f64 = 2.0;
/// Logarithms of a figure scatter at least this much from minute to minute.
const SIGMA_MIN: f64 = 0.03;
/// Two-sided 95 % of the normal distribution.
pub(crate) const Z_95: f64 = 1.96;

/// The value at a rank from 0 to 1 of some finite numbers, interpolated; `None` if there are none.
pub(crate) fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let position = q.clamp(0.0, 1.0) * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (position.floor(), position.ceil());
    let at = |position: f64| sorted.get(index(position)).copied();
    let (low, high) = (at(below)?, at(above)?);
    Some(low + (high - low) * (position - below))
}

/// The middle of some finite numbers.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// Spread as the standard deviation of a normal distribution with the same median absolute
/// deviation, so that a few wild values do not matter.
pub(crate) fn robust_sigma(values: &[f64]) -> Option<f64> {
    let middle = median(values)?;
    let deviations: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    Some(MAD_TO_SIGMA * median(&deviations)?)
}

/// How many standard errors the median of logarithms over time has risen, by how they scatter before.
pub(crate) fn median_shift_z(before: &[f64], after: &[f64]) -> Option<f64> {
    let step = median(after)? - median(before)?;
    let sigma = robust_sigma(before)?.max(SIGMA_MIN);
    let counts = 1.0 / before.len() as f64 + 1.0 / after.len() as f64;
    // The median's standard error is sqrt(pi / 2) of the mean's.
    Some(step / (AUTOCORRELATION * sigma * (std::f64::consts::FRAC_PI_2 * counts).sqrt()))
}

/// How many standard errors a share has moved, on log-odds: `k` of `n` now and before. Half a sample
/// is added to each side, so that shares of 0 and 1 have odds (Haldane, Anscombe).
pub(crate) fn share_z(now: (f64, f64), before: (f64, f64)) -> f64 {
    share_z_by(now, before, DESIGN_EFFECT)
}

/// The same for observations whose variance is this many times the binomial one.
pub(crate) fn share_z_by(now: (f64, f64), before: (f64, f64), design_effect: f64) -> f64 {
    let (k1, n1, k0, n0) = (now.0, now.1, before.0, before.1);
    if n1 <= 0.0 || n0 <= 0.0 {
        return 0.0;
    }
    let logit = |k: f64, n: f64| ((k + 0.5) / (n - k + 0.5)).ln();
    let variance = |k: f64, n: f64| 1.0 / (k + 0.5) + 1.0 / (n - k + 0.5);
    let error = (design_effect * (variance(k1, n1) + variance(k0, n0))).sqrt();
    (logit(k1, n1) - logit(k0, n0)) / error
}

/// How many standard errors a share has risen where it may have been none before, as the share of failed
/// requests on a good day: `k` of `n` now and before, with the variance of both together (the pooled
/// test of two proportions).
pub(crate) fn share_rise_z(now: (f64, f64), before: (f64, f64)) -> f64 {
    let (k1, n1, k0, n0) = (now.0, now.1, before.0, before.1);
    if n1 <= 0.0 || n0 <= 0.0 {
        return 0.0;
    }
    let pooled = (k1 + k0) / (n1 + n0);
    let error = (DESIGN_EFFECT * pooled * (1.0 - pooled) * (1.0 / n1 + 1.0 / n0)).sqrt();
    if error > 0.0 { (k1 / n1 - k0 / n0) / error } else { 0.0 }
}

/// How many standard errors a rate has risen, on its logarithm: how many were counted in how long, now and
/// before. Half of one is added to each side, as with shares.
pub(crate) fn rate_ratio_z(now: (f64, f64), before: (f64, f64)) -> f64 {
    let ((k1, t1), (k0, t0)) = (now, before);
    if t1 <= 0.0 || t0 <= 0.0 {
        return 0.0;
    }
    let error = (DESIGN_EFFECT * (1.0 / (k1 + 0.5) + 1.0 / (k0 + 0.5))).sqrt();
    (((k1 + 0.5) / t1).ln() - ((k0 + 0.5) / t0).ln()) / error
}

/// How far a share may lie from what was counted: half the width of its 95 % interval.
pub(crate) fn share_margin(share: f64, n: f64) -> f64 {
    if n <= 0.0 {
        return 1.0;
    }
    Z_95 * (DESIGN_EFFECT * (share * (1.0 - share)).max(1.0 / n) / n).sqrt()
}

/// How many standard errors more values lie above a quantile of `before` than did before.
pub(crate) fn above_share_z(now: &[f64], before: &[f64], q: f64, design_effect: f64) -> f64 {
    let Some(threshold) = quantile(before, q) else { return 0.0 };
    let above = |values: &[f64]| values.iter().filter(|value| **value > threshold).count() as f64;
    let (now, before) = ((above(now), now.len() as f64), (above(before), before.len() as f64));
    share_z_by(now, before, design_effect)
}

/// Chance that so many of the values above a quantile of `before` are among those of now if nothing differs:
/// the tail of the hypergeometric distribution (Fisher's exact test), which holds for three
/// values as for a thousand. Values that resemble each other count for fewer.
pub(crate) fn above_share_tail(now: &[f64], before: &[f64], q: f64, design_effect: f64) -> Tail {
    let Some(threshold) = quantile(before, q) else { return Tail::NONE };
    let effective = |count: usize| (count as f64 / design_effect.max(1.0)).round();
    let above = |values: &[f64]| values.iter().filter(|value| **value > threshold).count();
    let (k_now, k_before) = (effective(above(now)), effective(above(before)));
    let (n_now, n_before) =
        (effective(now.len()).max(k_now), effective(before.len()).max(k_before));
    let marked = k_now + k_before;
    let most = marked.min(n_now);
    Tail {
        chance: hypergeometric_tail((k_now, n_now), (k_before, n_before)),
        least: hypergeometric_tail((most, n_now), (marked - most, n_before)),
    }
}

/// What an exact test says of counts: few of them have few outcomes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tail {
    /// Chance of what was seen, or more of it.
    pub(crate) chance: f64,
    /// The least that this could have been with as many things, as many of them marked.
    pub(crate) least: f64,
}

impl Tail {
    /// Of nothing.
    pub(crate) const NONE: Self = Self { chance: 1.0, least: 1.0 };
}

/// Chance of at least `k` of `n` whole things marked in the first of two draws, as many being marked in both.
fn hypergeometric_tail((k_1, n_1): (f64, f64), (k_0, n_0): (f64, f64)) -> f64 {
    let log_factorials: Vec<f64> = (0..=index(n_1 + n_0))
        .scan(0.0, |sum, i| {
            *sum += if i > 0 { (i as f64).ln() } else { 0.0 };
            Some(*sum)
        })
        .collect();
    let choose = |n: f64, k: f64| {
        log_factorials[index(n)] - log_factorials[index(k)] - log_factorials[index(n - k)]
    };
    let marked = k_1 + k_0;
    let all = choose(n_1 + n_0, marked);
    let (mut tail, mut k) = (0.0, k_1);
    while k <= marked.min(n_1) {
        if marked - k <= n_0 {
            tail += (choose(n_1, k) + choose(n_0, marked - k) - all).exp();
        }
        k += 1.0;
    }
    tail.min(1.0)
}

/// The mean and its standard error; both 0 without values.
pub(crate) fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
    (mean, (variance / n).sqrt())
}

/// Chance that a standard normal value is at least this large. By the continued fraction of Mills'
/// ratio above 2, by its series below: to a millionth (Abramowitz and Stegun, 26.2.11 and 26.2.14).
pub(crate) fn normal_tail(z: f64) -> f64 {
    if z < 0.0 {
        return 1.0 - normal_tail(-z);
    }
    let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if z > 2.0 {
        let ratio = (1..=60).rev().fold(z, |rest, k| z + f64::from(k) / rest);
        return density / ratio;
    }
    let (mut term, mut sum) = (z, z);
    for k in 1..40 {
        term *= z * z / f64::from(2 * k + 1);
        sum += term;
    }
    0.5 - density * sum
}

/// Which of several tests are significant if at most this share of those that are may be so by
/// chance (Benjamini and Hochberg, 1995). It holds under positive dependence.
pub(crate) fn significant_of(tails: &[f64], false_discoveries: f64) -> Vec<bool> {
    let mut sorted = tails.to_vec();
    sorted.sort_by(f64::total_cmp);
    let all = sorted.len() as f64;
    let passes = |(rank, tail): (usize, &f64)| {
        (*tail <= false_discoveries * (rank + 1) as f64 / all).then_some(*tail)
    };
    let limit = sorted.iter().enumerate().filter_map(passes).next_back();
    tails.iter().map(|tail| limit.is_some_and(|limit| *tail <= limit)).collect()
}

/// The same of exact tests of counts. A test that could not have said anything, whatever the counts had been,
/// is not among those of which one may be significant by chance (Tarone, 1990; with false discoveries:
/// Gilbert, 2005).
pub(crate) fn significant_of_exact(tails: &[Tail], false_discoveries: f64) -> Vec<bool> {
    let could = |tests: usize| {
        let limit = false_discoveries / tests.max(1) as f64;
        move |tail: &&Tail| tail.least <= limit
    };
    let enough = |tests: &usize| tails.iter().filter(could(*tests)).count() <= *tests;
    let tests = (1..=tails.len()).find(enough).unwrap_or(1);
    let chances: Vec<f64> = tails.iter().filter(could(tests)).map(|tail| tail.chance).collect();
    let mut significant = significant_of(&chances, false_discoveries).into_iter();
    let mut next = |is_test: bool| is_test && significant.next().unwrap_or(false);
    tails.iter().map(|tail| next(could(tests)(&tail))).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank within the length of a slice"
)]
fn index(position: f64) -> usize {
    position as usize
}

#[cfg(test)]
mod tests {
    use super::{
        Tail, above_share_tail, above_share_z, hypergeometric_tail, median, normal_tail, quantile,
        rate_ratio_z, robust_sigma, share_rise_z, share_z, significant_of, significant_of_exact,
    };

    #[test]
    fn tails_are_those_of_the_tables() {
        let known =
            [(0.0, 0.5), (1.0, 0.158_655), (1.96, 0.024_998), (3.0, 0.001_350), (6.0, 9.87e-10)];
        for (z, tail) in known {
            assert!((normal_tail(z) / tail - 1.0).abs() < 1e-3, "{z}: {}", normal_tail(z));
            assert!((normal_tail(-z) - (1.0 - tail)).abs() < 1e-5);
        }
    }

    /// 30 of 300 against none: 0.1 by the square root of 2 * 0.05 * 0.95 * 2 / 300, by hand.
    #[test]
    fn a_share_may_rise_from_nothing() {
        assert!((share_rise_z((30.0, 300.0), (0.0, 300.0)) - 3.973).abs() < 0.001);
        assert!(share_rise_z((1.0, 300.0), (0.0, 300.0)) < 1.0);
        assert!(share_rise_z((0.0, 300.0), (0.0, 300.0)).abs() < 1e-12);
        assert!(share_rise_z((3.0, 3.0), (0.0, 0.0)).abs() < 1e-12);
    }

    /// 60 in a minute against 30 in a minute: the logarithm of 60.5 / 30.5 by the square root of
    /// 2 * (1 / 60.5 + 1 / 30.5), by hand.
    #[test]
    fn a_rate_may_have_been_counted_for_longer() {
        assert!((rate_ratio_z((60.0, 60.0), (30.0, 60.0)) - 2.181).abs() < 0.001);
        assert!(rate_ratio_z((60.0, 60.0), (600.0, 600.0)).abs() < 0.05);
        assert!((rate_ratio_z((0.0, 60.0), (600.0, 600.0)) + 2.393).abs() < 0.001);
        assert!(rate_ratio_z((5.0, 0.0), (600.0, 600.0)).abs() < 1e-12);
    }

    #[test]
    fn of_many_tests_few_are_significant_by_chance() {
        let uniform: Vec<f64> = (1..=100).map(|k| f64::from(k) / 100.0).collect();
        assert!(!significant_of(&uniform, 0.05).contains(&true));
        assert_eq!(significant_of(&[0.04, 0.001, 0.02, 0.9], 0.05), [false, true, true, false]);
        assert!(significant_of(&[], 0.05).is_empty());
    }

    /// Twenty services of which one request each is known cannot be shown to be slower, and do not hide one
    /// of which there are enough.
    #[test]
    fn tests_that_could_say_nothing_do_not_count() {
        let few = Tail { chance: 0.6, least: 0.3 };
        let shown = Tail { chance: 0.004, least: 0.000_1 };
        let mut tails = vec![few; 20];
        tails.push(shown);
        let significant = significant_of_exact(&tails, 0.05);
        assert_eq!(significant.iter().filter(|is| **is).count(), 1);
        assert!(significant[20]);
        // Twenty that could have said it count.
        let calm = Tail { chance: 0.6, least: 0.000_1 };
        tails[..20].fill(calm);
        assert!(!significant_of_exact(&tails, 0.05).contains(&true));
        assert!(!significant_of_exact(&[few], 0.05)[0]);
        assert!(significant_of_exact(&[], 0.05).is_empty());
    }

    #[test]
    fn a_slower_tail_shows_in_the_share_above_a_high_quantile() {
        let calm: Vec<f64> = (0..200).map(f64::from).collect();
        let slow: Vec<f64> = calm.iter().map(|v| if *v > 150.0 { v * 3.0 } else { *v }).collect();
        assert!(above_share_z(&slow, &calm, 0.9, 1.0) > 3.0);
        assert!(above_share_z(&calm, &calm, 0.9, 2.0).abs() < 0.1);
    }

    /// Draws without replacement, worked out by hand: 28 / 736,281; 1 / 20; all of them.
    #[test]
    fn the_exact_test_is_right_for_a_handful() {
        let check = |now: (f64, f64), before: (f64, f64), expected: f64| {
            let tail = hypergeometric_tail(now, before);
            assert!((tail / expected - 1.0).abs() < 1e-9, "{now:?} {before:?}: {tail}");
        };
        check((6.0, 6.0), (2.0, 25.0), 28.0 / 736_281.0);
        check((3.0, 3.0), (0.0, 3.0), 1.0 / 20.0);
        check((0.0, 5.0), (3.0, 30.0), 1.0);
        check((0.0, 0.0), (0.0, 0.0), 1.0);
    }

    #[test]
    fn a_few_slow_values_show_and_values_that_resemble_each_other_count_for_fewer() {
        let calm: Vec<f64> = (0..30).map(f64::from).collect();
        let slow = [100.0, 110.0, 120.0, 130.0];
        assert!(above_share_tail(&slow, &calm, 0.9, 1.0).chance < 0.001);
        assert!(above_share_tail(&slow, &calm, 0.9, 4.0).chance > 0.05);
        assert!(above_share_tail(&calm[5..9], &calm, 0.9, 1.0).chance > 0.5);
        assert!(above_share_tail(&slow, &[], 0.9, 1.0).chance > 0.9);
        let many: Vec<f64> = (0..1_000).map(f64::from).collect();
        let (exact, normal) = (
            above_share_tail(&many[100..], &many, 0.9, 1.0).chance,
            normal_tail(above_share_z(&many[100..], &many, 0.9, 1.0)),
        );
        assert!((exact.ln() / normal.ln() - 1.0).abs() < 0.2, "{exact} {normal}");
    }

    #[test]
    fn a_wild_value_moves_neither_median_nor_sigma() {
        let calm = [1.0, 2.0, 3.0, 4.0, 5.0];
        let wild = [1.0, 2.0, 3.0, 4.0, 5000.0];
        assert_eq!(median(&calm), median(&wild));
        assert_eq!(robust_sigma(&calm), robust_sigma(&wild));
        assert_eq!(quantile(&calm, 0.25), Some(2.0));
        assert_eq!(median(&[]), None);
    }

    /// The z of shares 4 -> 22 % at several numbers of samples, worked out by hand with the
    /// binomial variance twice as large.
    #[test]
    fn significance_of_a_share_grows_with_the_samples() {
        for (n, expected) in [(300.0, 4.1), (1000.0, 7.6), (3000.0, 13.1)] {
            let z = share_z((0.22 * n, n), (0.04 * n, n));
            assert!((z - expected).abs() < 0.25, "{n}: {z}");
        }
        assert!(share_z((4.0, 100.0), (4.0, 100.0)).abs() < 1e-9);
        assert!(share_z((4.0, 0.0), (4.0, 100.0)).abs() < 1e-9);
    }
}
