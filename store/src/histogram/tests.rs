use proptest::prelude::*;

use super::*;

fn of(values: &[i64]) -> Histogram {
    let mut histogram = Histogram::default();
    for value in values {
        histogram.record(*value);
    }
    histogram
}

#[test]
fn powers_of_two_close_their_bucket() {
    assert_eq!(bucket_index(1), -1);
    assert_eq!(bucket_index(2), 31);
    assert_eq!(bucket_index(3), 50);
    assert_eq!(bucket_index(1 << 40), 40 * 32 - 1);
}

#[test]
fn empty_has_no_quantile_and_becomes_null() {
    assert_eq!(Histogram::default().quantile(0.5), None);
    let mut builder = HistogramBuilder::default();
    builder.append(&Histogram::default());
    let array = builder.finish();
    assert_eq!(HistogramColumn::new(&array).unwrap().get(0), None);
}

#[test]
fn fraction_above_counts_what_exceeds() {
    let histogram = of(&[0, 10, 20, 1_000, 2_000]);
    assert_eq!(histogram.fraction_above(100.0), Some(0.4));
    assert_eq!(histogram.fraction_above(-1.0), Some(1.0));
    assert_eq!(histogram.fraction_above(2_000.0), Some(0.0));
}

proptest! {
    #[test]
    fn quantile_is_within_a_bucket_of_the_exact_one(
        mut values in prop::collection::vec(1i64..10_000_000_000, 1..300), q in 0.0f64..1.0,
    ) {
        let estimate = of(&values).quantile(q).unwrap();
        values.sort_unstable();
        let ranks = 1..=values.len();
        let reached = |rank: &usize| *rank as f64 >= q * values.len() as f64;
        let rank = ranks.into_iter().find(reached).unwrap();
        let exact = values[rank - 1] as f64;
        prop_assert!((estimate / exact - 1.0).abs() < 0.0225, "{estimate} for {exact}");
    }

    #[test]
    fn merging_is_recording_everything_in_any_order(
        left in prop::collection::vec(0i64..1_000_000, 0..50),
        right in prop::collection::vec(0i64..1_000_000, 0..50),
    ) {
        let (mut a, mut b) = (of(&left), of(&right));
        let all = of(&[left, right].concat());
        let first = a.clone();
        a.merge(&b);
        b.merge(&first);
        prop_assert_eq!(trimmed(a), trimmed(all.clone()));
        prop_assert_eq!(trimmed(b), trimmed(all));
    }

    #[test]
    fn a_column_gives_back_what_it_was_built_from(values in prop::collection::vec(0i64..i64::MAX, 1..40)) {
        let histogram = of(&values);
        let mut builder = HistogramBuilder::default();
        builder.append(&histogram);
        builder.append_null();
        let array = builder.finish();
        let column = HistogramColumn::new(&array).unwrap();
        prop_assert_eq!(column.get(0), Some(histogram));
        prop_assert_eq!(column.get(1), None);
    }
}

fn trimmed(mut histogram: Histogram) -> Histogram {
    while histogram.counts.last() == Some(&0) {
        histogram.counts.pop();
    }
    histogram
}
