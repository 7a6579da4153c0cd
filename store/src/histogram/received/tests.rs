use proptest::prelude::*;

use super::*;

const BOUNDS: [f64; 4] = [0.0, 100.0, 1_000.0, 10_000.0];

fn explicit(values: &[i64]) -> Buckets {
    let mut counts = vec![0; BOUNDS.len() + 1];
    for value in values {
        counts[BOUNDS.iter().position(|b| *value as f64 <= *b).unwrap_or(BOUNDS.len())] += 1;
    }
    Buckets::Explicit { bounds: BOUNDS.to_vec(), counts }
}

fn exponential(values: &[i64], scale: i64) -> Buckets {
    let mut counts = BTreeMap::new();
    for value in values.iter().filter(|value| **value > 0) {
        *counts.entry(bucket_index(*value) >> (SCALE - scale)).or_insert(0) += 1;
    }
    let zero_count = values.iter().filter(|value| **value == 0).count() as i64;
    Buckets::Exponential { scale, zero_count, zero_threshold: 0.0, counts }
}

fn totals(values: &[i64]) -> (i64, f64) {
    (values.len() as i64, values.iter().sum::<i64>() as f64)
}

fn point(values: &[i64], buckets: Buckets) -> Received {
    Received::new(totals(values), (None, None), buckets).unwrap()
}

fn exact(values: &[i64], q: f64) -> i64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (1..=sorted.len()).find(|rank| *rank as f64 >= q * sorted.len() as f64).unwrap();
    sorted[rank - 1]
}

#[test]
fn above_the_last_bound_the_sum_tells_how_large_they_are_at_least() {
    let values = [50, 200_000, 200_000];
    let kept = point(&values, explicit(&values)).to_histogram();
    assert_eq!((kept.count, kept.sum), (3, 400_050));
    let p99 = kept.quantile(0.99).unwrap();
    assert!((190_000.0..=200_000.0).contains(&p99), "{p99}");
    // Small values take their share of the sum at most, so the rest is never too large.
    let values = [1, 1, 1, 10_001];
    let kept = point(&values, explicit(&values)).to_histogram();
    assert_eq!(kept.quantile(1.0), Some(10_001.0));
    assert_eq!(kept.max, 10_001);
}

#[test]
fn minimum_and_maximum_narrow_the_outer_buckets() {
    let values = [150, 160, 20_000, 30_000];
    let kept = Received::new(totals(&values), (Some(150.0), Some(30_000.0)), explicit(&values));
    let kept = kept.unwrap().to_histogram();
    assert_eq!((kept.min, kept.max), (150, 30_000));
    assert!(kept.quantile(0.25).unwrap() >= 150.0);
    assert!(kept.quantile(1.0).unwrap() <= 30_000.0);
}

#[test]
fn a_point_without_buckets_is_as_large_as_its_mean() {
    let buckets = Buckets::Explicit { bounds: vec![], counts: vec![] };
    let kept = Received::new((4, 4_000.0), (None, None), buckets).unwrap().to_histogram();
    let median = kept.quantile(0.5).unwrap();
    assert!((978.0..=1_000.0).contains(&median), "in the bucket of 1,000: {median}");
}

#[test]
fn contradictions_and_excess_are_no_point() {
    let buckets = |bounds: &[f64], counts: &[i64]| Buckets::Explicit {
        bounds: bounds.to_vec(),
        counts: counts.to_vec(),
    };
    let power = |scale, zero_count, zero_threshold, index: i64, count: i64| Buckets::Exponential {
        scale,
        zero_count,
        zero_threshold,
        counts: [(index, count)].into(),
    };
    let many: Vec<f64> = (0..BUCKETS_MAX).map(|i| i as f64).collect();
    let mut counts = vec![0; BUCKETS_MAX + 1];
    counts[0] = 1;
    for (count, sum, buckets) in [
        (2, 1.0, buckets(&[1.0], &[1, 0])),
        (-1, 1.0, buckets(&[1.0], &[0, -1])),
        (1, f64::NAN, buckets(&[1.0], &[1, 0])),
        (1, f64::INFINITY, buckets(&[1.0], &[1, 0])),
        (1, -1.0, buckets(&[1.0], &[1, 0])),
        (1, 1.0, buckets(&[1.0], &[1])),
        (2, 1.0, buckets(&[2.0, 1.0], &[1, 1, 0])),
        (1, 1.0, buckets(&[f64::NAN], &[1, 0])),
        (1, 1.0, buckets(&many, &counts)),
        (0, 1.0, buckets(&[1.0], &[1, -1])),
        (i64::MAX, 1.0, buckets(&[1.0], &[i64::MAX, 0])),
        (i64::MAX, 1.0, buckets(&[1.0], &[i64::MAX, i64::MAX])),
        (1, 1.0, power(21, 0, 0.0, 0, 1)),
        (1, 1.0, power(-11, 0, 0.0, 0, 1)),
        (1, 1.0, power(0, 0, f64::NAN, 0, 1)),
        (1, 1.0, power(0, 1, 0.0, 0, 1)),
    ] {
        let shown = format!("{count} {sum} {buckets:?}");
        assert_eq!(Received::new((count, sum), (None, None), buckets), None, "{shown}");
    }
}

#[test]
fn extreme_buckets_stay_in_range() {
    for (scale, index) in
        [(0, i64::from(i32::MAX)), (0, i64::from(i32::MIN)), (-10, 5), (20, 1 << 40)]
    {
        let buckets = Buckets::Exponential {
            scale,
            zero_count: 0,
            zero_threshold: 0.0,
            counts: [(index, 1), (0, 1)].into(),
        };
        let kept = Received::new((2, 1e300), (None, None), buckets).unwrap().to_histogram();
        assert_eq!(kept.counts.iter().sum::<i64>(), 2, "{scale} {index}");
        assert!(kept.counts.len() <= 64 * BUCKETS_PER_OCTAVE, "{scale} {index}");
        assert_eq!(kept.sum, i64::MAX);
        assert!(kept.quantile(0.99).is_some_and(f64::is_finite));
    }
}

#[test]
fn a_count_that_went_down_or_other_buckets_are_no_continuation() {
    let early = point(&[5, 50, 500], explicit(&[5, 50, 500]));
    let other_bounds = Buckets::Explicit { bounds: vec![7.0], counts: vec![1, 3] };
    for later in [
        point(&[5, 50], explicit(&[5, 50])),
        point(&[5, 50, 5_000, 5_000], explicit(&[5, 50, 5_000, 5_000])),
        point(&[5, 50, 500, 501], other_bounds),
        point(&[5, 50, 500, 501], exponential(&[5, 50, 500, 501], 3)),
        // The sum went down.
        Received::new((4, 1.0), (None, None), explicit(&[5, 50, 500, 500])).unwrap(),
    ] {
        assert_eq!(later.since(&early), None, "{later:?}");
    }
    let same = early.since(&early).unwrap();
    assert_eq!(same.to_histogram(), Histogram::default());
}

proptest! {
    #[test]
    fn an_explicit_percentile_is_in_the_sender_s_bucket(
        values in prop::collection::vec(0i64..10_000, 1..200), q in 0.0f64..1.0,
    ) {
        let kept = point(&values, explicit(&values)).to_histogram();
        prop_assert_eq!(kept.zero_count + kept.counts.iter().sum::<i64>(), values.len() as i64);
        let exact = exact(&values, q) as f64;
        let upper = BOUNDS.iter().copied().find(|bound| exact <= *bound).unwrap();
        let lower = BOUNDS.iter().rev().copied().find(|bound| exact > *bound).unwrap_or(0.0);
        let estimate = kept.quantile(q).unwrap();
        prop_assert!(estimate >= lower / 1.0225 && estimate <= upper * 1.0225,
            "{estimate} for {exact} in ({lower}, {upper}]");
    }

    #[test]
    fn an_exponential_percentile_is_in_the_sender_s_bucket(
        values in prop::collection::vec(0i64..1_000_000_000, 1..200), q in 0.0f64..1.0, scale in 0i64..=5,
    ) {
        let kept = point(&values, exponential(&values, scale)).to_histogram();
        prop_assert_eq!(kept.zero_count + kept.counts.iter().sum::<i64>(), values.len() as i64);
        let exact = exact(&values, q) as f64;
        let factor = 2f64.powf(2f64.powf(-(scale as f64))) * 1.000001;
        let estimate = kept.quantile(q).unwrap();
        prop_assert!(estimate >= exact / factor - 1.0 && estimate <= exact * factor + 1.0,
            "{estimate} for {exact} at {scale}");
    }

    #[test]
    fn a_difference_is_what_was_measured_in_between(
        early in prop::collection::vec(0i64..100_000, 0..50),
        late in prop::collection::vec(0i64..100_000, 1..50),
        scale in 0i64..=5,
    ) {
        let all = [early.clone(), late.clone()].concat();
        let explicit_rest = point(&all, explicit(&all)).since(&point(&early, explicit(&early)));
        prop_assert_eq!(explicit_rest.unwrap(), point(&late, explicit(&late)));
        // The sender coarsened its buckets in between.
        let earlier = point(&early, exponential(&early, 5));
        let rest = point(&all, exponential(&all, scale)).since(&earlier).unwrap();
        prop_assert_eq!(rest, point(&late, exponential(&late, scale)));
    }

    #[test]
    fn nothing_that_is_sent_breaks_it(
        counts in prop::collection::vec(any::<i64>(), 0..6),
        bounds in prop::collection::vec(any::<f64>(), 0..6),
        (count, sum, min, max) in (any::<i64>(), any::<f64>(), any::<f64>(), any::<f64>()),
    ) {
        let buckets = Buckets::Explicit { bounds, counts };
        if let Some(point) = Received::new((count, sum), (Some(min), Some(max)), buckets) {
            let kept = point.to_histogram();
            prop_assert_eq!(kept.zero_count + kept.counts.iter().sum::<i64>(), kept.count);
            prop_assert!(kept.count == 0 || kept.min <= kept.max, "{:?}", kept);
        }
    }
}
