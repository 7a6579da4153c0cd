//! Summaries, which the tables keep as Prometheus exposes them: a row for `_count`, one for `_sum`
//! and one per quantile. Here they are one point again.

use std::collections::BTreeMap;

use serde::Serialize;

use super::attributes::{KeyValue, texts_of_row, without};
use super::lines::json;
use super::points::Point;
use super::rows::{Double, Rows, Unsigned, int};

/// The attribute that holds a row's quantile.
const QUANTILE: &str = "quantile";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SummaryPoint<'a> {
    #[serde(flatten)]
    point: Point<'a>,
    count: Unsigned,
    sum: Double,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    quantile_values: Vec<QuantileValue>,
}

#[derive(Clone, Copy, Serialize)]
struct QuantileValue {
    quantile: Double,
    value: Double,
}

/// The points of summaries by name and unit, and how many rows belong to none.
#[derive(Default)]
pub(super) struct Summaries<'a> {
    pub(super) points: BTreeMap<(&'a str, &'a str), Vec<SummaryPoint<'a>>>,
    pub(super) left_out: u64,
}

/// Whose rows these are: points of one metric at one instant with the same attributes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PointKey<'a> {
    name: &'a str,
    unit: &'a str,
    time: i64,
    start: Option<i64>,
    attributes: String,
}

/// Rows of one or, where the same point came several times, of more points.
#[derive(Default)]
struct Parts {
    counts: Vec<usize>,
    sums: Vec<f64>,
    /// By the text of the quantile.
    quantiles: BTreeMap<String, Vec<f64>>,
}

/// What a row says of its summary.
enum Part {
    Count,
    Sum,
    Quantile(String),
}

/// Puts the rows of one sender's summaries together.
pub(super) fn put_together<'a>(rows: Rows<'a>, of_summaries: &[usize]) -> Summaries<'a> {
    let values = rows.floats("value_double");
    let mut by_point = BTreeMap::<PointKey<'_>, Parts>::new();
    for row in of_summaries {
        let (key, part) = read(rows, *row);
        let parts = by_point.entry(key).or_default();
        match part {
            Part::Count => parts.counts.push(*row),
            Part::Sum => parts.sums.push(values.value(*row)),
            Part::Quantile(quantile) => {
                parts.quantiles.entry(quantile).or_default().push(values.value(*row));
            }
        }
    }
    let mut summaries = Summaries::default();
    for (key, parts) in by_point {
        if parts.counts.is_empty() {
            let quantiles: usize = parts.quantiles.values().map(Vec::len).sum();
            summaries.left_out += (parts.sums.len() + quantiles) as u64;
            continue;
        }
        let points = (0..parts.counts.len()).map(|number| parts.point(rows, number));
        summaries.points.entry((key.name, key.unit)).or_default().extend(points);
    }
    summaries
}

/// What a row is. Only a count is an integer, and only a quantile has the attribute.
fn read(rows: Rows<'_>, row: usize) -> (PointKey<'_>, Part) {
    let metric = rows.texts("metric_name").value(row);
    let attributes = rows.maps("attributes");
    let quantile = texts_of_row(attributes, row).get(QUANTILE).map(|text| (*text).to_owned());
    let is_count = int(rows.ints("value_int"), row).is_some();
    let of_count = metric.strip_suffix("_count").filter(|_| is_count);
    let of_sum = metric.strip_suffix("_sum").filter(|_| quantile.is_none());
    let point = Point::of(rows, row);
    let key = |name, attributes: &[KeyValue<'_>]| PointKey {
        name,
        unit: rows.texts("unit").value(row),
        time: rows.ints("time_unix_nano").value(row),
        start: int(rows.ints("start_unix_nano"), row),
        attributes: json(&attributes),
    };
    match (of_count.map(|name| (name, Part::Count)), of_sum.map(|name| (name, Part::Sum))) {
        (Some((name, part)), _) | (None, Some((name, part))) => {
            (key(name, &point.attributes), part)
        }
        (None, None) => {
            let attributes = without(point.attributes, QUANTILE);
            (key(metric, &attributes), Part::Quantile(quantile.unwrap_or_default()))
        }
    }
}

impl Parts {
    /// The point with this number, of those that are alike.
    fn point<'a>(&self, rows: Rows<'a>, number: usize) -> SummaryPoint<'a> {
        let row = self.counts[number];
        let quantiles = self.quantiles.iter().filter_map(|(quantile, values)| {
            let quantile = Double(quantile.parse().ok()?);
            Some(QuantileValue { quantile, value: Double(*values.get(number)?) })
        });
        SummaryPoint {
            point: Point::of(rows, row),
            count: Unsigned(int(rows.ints("value_int"), row).unwrap_or_default()),
            sum: Double(self.sums.get(number).copied().unwrap_or_default()),
            quantile_values: quantiles.collect(),
        }
    }
}
