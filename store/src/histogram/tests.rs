use proptest::prelude::*;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, Int64Array, LargeBinaryArray, StructArray};
use arrow::datatypes::DataType;

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

fn stored(count: i64, sum: i64, bytes: &[u8]) -> StructArray {
    let DataType::Struct(fields) = data_type() else { panic!("a struct") };
    let numbers = [count, sum].map(|value| Arc::new(Int64Array::from(vec![value])) as ArrayRef);
    let bytes = Arc::new(BinaryArray::from_vec(vec![bytes])) as ArrayRef;
    StructArray::new(fields, [&numbers[..], &[bytes]].concat(), None)
}

#[test]
fn equal_values_need_no_buckets_and_others_few_bytes() {
    let size = |values: &[i64]| {
        let mut builder = HistogramBuilder::default();
        builder.append(&of(values));
        builder.finish().column(2).as_binary::<i32>().value(0).len()
    };
    assert_eq!(size(&[1_234_567]), 0);
    assert_eq!(size(&[0, 0, 0]), 0);
    assert_eq!(size(&[80_000_000; 60]), 0);
    assert_eq!(size(&[80_000_000, 82_000_000]), 5, "the sum tells the other one");
    assert_eq!(size(&[0, 82_000_000]), 2);
    assert_eq!(size(&[80_000_000, 81_000_000, 82_000_000]), 9);
    assert_eq!(size(&[80_000_000, 82_000_000, 82_000_000, 82_000_000]), 10);
    let of_a_minute: Vec<_> = (0..120).map(|n| 80_000_000 + n * n * 5_000).collect();
    assert_eq!(size(&of_a_minute), 68);
    let column = stored(60, 60 * 80_000_000, &[]);
    let read = HistogramColumn::new(&column).unwrap().get(0).unwrap();
    assert_eq!(read, of(&[80_000_000; 60]));
}

#[test]
fn buckets_that_cannot_be_are_none() {
    let get = |bytes: &[u8]| {
        let column = stored(2, 10, bytes);
        HistogramColumn::new(&column).unwrap().get(0)
    };
    // Scale 5, minimum 4, maximum 6, no zeros; two values in bucket 70.
    let good = [10, 8, 12, 0, 140, 1, 2];
    assert_eq!(get(&good).unwrap().counts, [2]);
    assert_eq!(get(&good[..6]), None, "cut off");
    assert_eq!(get(&[12, 8, 12, 0, 140, 1, 2]), None, "a scale that is not kept");
    assert_eq!(get(&[10, 12, 8, 0, 140, 1, 2]), None, "a minimum above the maximum");
    assert_eq!(get(&[10, 7, 12, 0, 140, 1, 2]), None, "a minimum below zero");
    assert_eq!(get(&[10, 8, 12, 0, 0xFF, 0xFF, 0xFF, 0xFF, 7, 2]), None, "no such bucket");
    assert_eq!(get(&[0xFF; 12]), None, "no end");
}

#[test]
fn what_was_measured_is_read_back_from_either_form() {
    let values = [4, 5, 6, 6, 7, 90];
    let measured = of(&values);
    let mut builder = HistogramBuilder::default();
    builder.append(&measured);
    let column = builder.finish();
    let bytes = column.column(2).as_binary::<i32>().value(0);
    assert_eq!(bytes[0], 0x7F);
    assert_eq!(HistogramColumn::new(&column).unwrap().get(0).unwrap(), measured);
    // Scale 5, minimum, maximum, no zeros; the buckets of 4, 5, 6, 7 and 90.
    let earlier = [10, 8, 180, 1, 0, 126, 1, 10, 1, 7, 2, 6, 1, 117, 1];
    let column = stored(6, values.iter().sum(), &earlier);
    assert_eq!(HistogramColumn::new(&column).unwrap().get(0).unwrap(), measured);
}

#[test]
fn measured_buckets_that_cannot_be_are_none() {
    let get = |count: i64, bytes: &[u8]| {
        let column = stored(count, 10, &[&[0x7F], bytes].concat());
        HistogramColumn::new(&column).unwrap().get(0)
    };
    assert_eq!(get(2, &[4]), Some(of(&[4, 6])));
    assert_eq!(get(3, &[0, 7, 0, 102]), Some(of(&[0, 3, 7])));
    assert_eq!(get(2, &[]), None, "no minimum");
    assert_eq!(get(3, &[4]), None, "of three values two do not tell the third");
    assert_eq!(get(2, &[5]), None, "equal values have no bytes");
    assert_eq!(get(2, &[12]), None, "more than the sum");
    assert_eq!(get(3, &[0, 7]), None, "how many zeros");
    assert_eq!(get(3, &[2, 3, 1]), None, "a count is missing");
    assert_eq!(get(3, &[2, 3, 250, 1]), None, "above the maximum");
    assert_eq!(get(3, &[0xFF; 11]), None, "no end");
}

#[test]
fn what_others_sent_keeps_its_bounds() {
    // Bounds of a sender are in no bucket of their own.
    let sent = Histogram { min: 1, max: 1_000, ..of(&[10, 20, 20]) };
    let coarse = Histogram { scale: 2, offset: 7, counts: vec![3], ..of(&[4, 5]) };
    for histogram in [sent, coarse] {
        let mut builder = HistogramBuilder::default();
        builder.append(&histogram);
        let column = builder.finish();
        assert_eq!(HistogramColumn::new(&column).unwrap().get(0).unwrap(), histogram);
    }
}

#[test]
fn a_state_that_is_cut_off_is_none() {
    let mut builder = StateBuilder::default();
    builder.append(&of(&[1, 2]));
    let column = builder.finish();
    let state = column.as_binary::<i64>().value(0);
    for (bytes, is_read) in
        [(state, true), (&state[..57], true), (&state[..56], false), (&[], false)]
    {
        let column = LargeBinaryArray::from_vec(vec![bytes]);
        let mut column = StateColumn::new(&column).unwrap();
        assert_eq!(column.merge_into(0, &mut Histogram::default()).is_some(), is_read);
    }
    assert!(StateColumn::new(&Int64Array::from(vec![1])).is_none());
}

#[test]
fn fraction_above_counts_what_exceeds() {
    let histogram = of(&[0, 10, 20, 1_000, 2_000]);
    assert_eq!(histogram.fraction_above(100.0), Some(0.4));
    assert_eq!(histogram.fraction_above(-1.0), Some(1.0));
    assert_eq!(histogram.fraction_above(2_000.0), Some(0.0));
}

/// The bucket as its definition has it: the first whose upper bound is not below the value.
fn bucket_by_definition(value: i64) -> i64 {
    let exponent = i64::from(63 - value.leading_zeros());
    let mantissa = value as f64 / (1i64 << exponent) as f64;
    let below = |i: &i64| (*i as f64 / BUCKETS_PER_OCTAVE as f64).exp2() < mantissa;
    exponent * BUCKETS_PER_OCTAVE as i64 + (0..32).take_while(below).count() as i64 - 1
}

#[test]
fn values_beside_bounds_are_in_their_buckets() {
    #[expect(clippy::cast_possible_truncation, reason = "below 2^63")]
    let bounds = (0..63 * 32).map(|i| (f64::from(i) / BUCKETS_PER_OCTAVE as f64).exp2() as i64);
    let beside = bounds.flat_map(|bound| [bound - 1, bound, bound + 1]);
    for value in beside.chain([i64::MAX - 1, i64::MAX]).filter(|value| *value > 0) {
        assert_eq!(bucket_index(value), bucket_by_definition(value), "{value}");
    }
}

proptest! {
    #[test]
    fn any_value_is_in_its_bucket(value in 1..=i64::MAX, octaves in 0u32..63) {
        let value = (value >> octaves).max(1);
        prop_assert_eq!(bucket_index(value), bucket_by_definition(value));
    }

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
        prop_assert_eq!(column.get(0), Some(histogram.clone()));
        prop_assert_eq!(column.get(1), None);
        let (mut merged, mut twice) = (of(&[7, 0]), of(&[7, 0]));
        merged.merge(&histogram);
        column.merge_into(0, &mut twice);
        column.merge_into(1, &mut twice);
        prop_assert_eq!(twice, merged);
    }

    #[test]
    fn a_stored_quantile_is_the_histogram_s(
        values in prop::collection::vec(prop_oneof![0i64..3, 0i64..1000, 0i64..i64::MAX], 1..40), q in 0.0f64..=1.0,
    ) {
        let mut coarse = of(&values);
        coarse.downscale_to(2);
        for histogram in [of(&values), coarse] {
            let mut builder = HistogramBuilder::default();
            builder.append(&histogram);
            let array = builder.finish();
            prop_assert_eq!(HistogramColumn::new(&array).unwrap().quantile(0, q), histogram.quantile(q));
        }
    }

    #[test]
    fn a_state_adds_what_it_was_built_from(
        left in prop::collection::vec(0i64..i64::MAX, 0..40),
        right in prop::collection::vec(0i64..1000, 0..40),
        factor in prop_oneof![Just(1i64), Just(200), Just(1 << 20), Just(1 << 40)],
        scale in -2i64..=SCALE,
    ) {
        let mut histogram = of(&left);
        for count in &mut histogram.counts {
            *count *= factor;
        }
        histogram.downscale_to(scale);
        let mut builder = StateBuilder::default();
        builder.append(&histogram);
        builder.append(&Histogram::default());
        let array = builder.finish();
        let mut column = StateColumn::new(&array).unwrap();
        let (mut merged, mut read) = (of(&right), of(&right));
        merged.merge(&histogram);
        prop_assert_eq!(column.merge_into(0, &mut read), Some(()));
        prop_assert_eq!(column.merge_into(1, &mut read), Some(()));
        prop_assert_eq!(read, merged);
    }

    #[test]
    fn any_bytes_are_a_histogram_or_none(
        count in any::<i64>(), sum in any::<i64>(), bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let column = stored(count, sum, &bytes);
        let column = HistogramColumn::new(&column).unwrap();
        let mut all = of(&[1, 1 << 60]);
        column.merge_into(0, &mut all);
        prop_assert!(all.counts.len() < 10_000, "{} buckets", all.counts.len());
        if let Some(histogram) = column.get(0) {
            prop_assert_eq!(column.quantile(0, 0.5), histogram.quantile(0.5));
            prop_assert_eq!((histogram.count, histogram.sum), (count, sum));
        }
    }
}

fn trimmed(mut histogram: Histogram) -> Histogram {
    while histogram.counts.last() == Some(&0) {
        histogram.counts.pop();
    }
    histogram
}
