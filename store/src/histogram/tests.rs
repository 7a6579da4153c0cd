use proptest::prelude::*;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, Int64Array, StructArray};
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
    assert_eq!(size(&[80_000_000, 82_000_000]), 15);
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
    assert_eq!(get(&[10, 8, 12, 0, 0xFF, 0xFF, 0xFF, 0xFF, 7, 2]), None, "no such bucket");
    assert_eq!(get(&[0xFF; 12]), None, "no end");
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
        prop_assert_eq!(column.get(0), Some(histogram.clone()));
        prop_assert_eq!(column.get(1), None);
        let (mut merged, mut twice) = (of(&[7, 0]), of(&[7, 0]));
        merged.merge(&histogram);
        column.merge_into(0, &mut twice);
        column.merge_into(1, &mut twice);
        prop_assert_eq!(twice, merged);
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
