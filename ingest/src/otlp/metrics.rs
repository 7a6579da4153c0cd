//! Data points to rows of `metrics` and `metric_histograms`.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use upriver_store::time::UnixNanos;
use xxhash_rust::xxh3::xxh3_64;

use self::histograms::HistogramRows;
use self::numbers::NumberRows;
use super::attributes::{Attributes, push_part};
use super::resource::{Resource, Scope};
use super::traces::{span_id, trace_id};
use super::wire::{Field, Reader, WireError, messages};
use super::{Budget, Fault, Rejections, shown};
use crate::Decoded;

mod histograms;
mod numbers;

/// What the fixed columns of a row take, roughly.
const ROW_COST: usize = 192;

/// Reads an `ExportMetricsServiceRequest`.
pub(super) fn decode(body: &[u8]) -> Result<Decoded, Fault> {
    let mut rows = MetricRows::default();
    for resource_metrics in messages(body, "ExportMetricsServiceRequest", 1) {
        let resource_metrics = resource_metrics?;
        let resource = Resource::read(resource_metrics, "ResourceMetrics", &mut rows.budget)?;
        let mut identity = Vec::new();
        resource.attributes.write_canonical(&mut identity)?;
        for scope_metrics in messages(resource_metrics, "ResourceMetrics", 2) {
            let scope_metrics = scope_metrics?;
            let scope = Scope::read(scope_metrics, "ScopeMetrics", &mut rows.budget)?;
            let mut identity = identity.clone();
            push_part(&mut identity, scope.name);
            push_part(&mut identity, scope.version);
            scope.attributes.write_canonical(&mut identity)?;
            let sender = Sender { resource: &resource, scope: &scope, hash: xxh3_64(&identity) };
            for metric in messages(scope_metrics, "ScopeMetrics", 2) {
                rows.append(metric?, &sender)?;
            }
        }
    }
    Ok(rows.finish())
}

/// Resource and scope, with their part of a series' identity.
#[derive(Clone, Copy, Debug)]
struct Sender<'a> {
    resource: &'a Resource<'a>,
    scope: &'a Scope<'a>,
    hash: u64,
}

/// What a metric is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MetricType {
    Gauge,
    Sum,
    Histogram,
    ExponentialHistogram,
    Summary,
}

impl MetricType {
    /// The field of `Metric` that holds the points.
    fn from_field(number: u32) -> Option<Self> {
        Some(match number {
            5 => Self::Gauge,
            7 => Self::Sum,
            9 => Self::Histogram,
            10 => Self::ExponentialHistogram,
            11 => Self::Summary,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Sum => "sum",
            Self::Histogram => "histogram",
            Self::ExponentialHistogram => "exponential_histogram",
            Self::Summary => "summary",
        }
    }
}

/// A metric without its points.
#[derive(Clone, Copy, Debug)]
struct Metric<'a> {
    name: &'a str,
    unit: &'a str,
    kind: MetricType,
    /// `delta` or `cumulative`.
    temporality: Option<&'static str>,
    /// Of a sum.
    is_monotonic: Option<bool>,
    sender: Sender<'a>,
}

impl<'a> Metric<'a> {
    /// Reads a metric and the message that holds its points; `None` where it has none.
    fn read(bytes: &'a [u8], sender: &Sender<'a>) -> Result<Option<(Self, &'a [u8])>, WireError> {
        let (mut name, mut unit, mut data) = ("", "", None);
        for field in Reader::new(bytes, "Metric") {
            match field? {
                (1, field) => name = field.text("Metric.name")?,
                (3, field) => unit = field.text("Metric.unit")?,
                (number, field) => {
                    if let Some(kind) = MetricType::from_field(number) {
                        data = Some((kind, field.bytes("Metric.data")?));
                    }
                }
            }
        }
        let Some((kind, points)) = data else {
            return Ok(None);
        };
        let mut metric =
            Self { name, unit, kind, temporality: None, is_monotonic: None, sender: *sender };
        metric.read_interval(points)?;
        Ok(Some((metric, points)))
    }

    fn read_interval(&mut self, data: &[u8]) -> Result<(), WireError> {
        let is_sum = self.kind == MetricType::Sum;
        self.is_monotonic = is_sum.then_some(false);
        if matches!(self.kind, MetricType::Gauge | MetricType::Summary) {
            return Ok(());
        }
        for field in Reader::new(data, "Metric.data") {
            match field? {
                (2, field) => {
                    self.temporality = match field.int32("aggregation_temporality")? {
                        1 => Some("delta"),
                        2 => Some("cumulative"),
                        _ => None,
                    }
                }
                (3, field) if is_sum => {
                    self.is_monotonic = Some(field.varint("Sum.is_monotonic")? != 0);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The part of a series' identity that all its points share.
    fn identity(&self) -> Vec<u8> {
        let mut identity = self.sender.hash.to_le_bytes().to_vec();
        for part in [Some(self.name), Some(self.unit), Some(self.kind.name())] {
            push_part(&mut identity, part);
        }
        push_part(&mut identity, self.temporality);
        push_part(&mut identity, self.is_monotonic.map(|yes| if yes { "1" } else { "0" }));
        identity
    }

    /// What one row of it takes.
    fn row_bytes(&self) -> usize {
        let sender = self.sender.resource.row_bytes().saturating_add(self.sender.scope.row_bytes());
        let names = self.name.len().saturating_add(self.unit.len());
        sender.saturating_add(names).saturating_add(ROW_COST)
    }
}

/// What all kinds of data points share.
#[derive(Debug, Default)]
struct Point<'a> {
    attributes: Attributes<'a>,
    start: u64,
    time: u64,
    exemplar: Option<([u8; 16], i64)>,
    series_id: i64,
}

impl<'a> Point<'a> {
    /// Takes field 2 or 3, which all kinds number alike; false for another field.
    fn read_time(&mut self, number: u32, field: Field<'a>) -> Result<bool, WireError> {
        match number {
            2 => self.start = field.fixed64("start_time_unix_nano")?,
            3 => self.time = field.fixed64("time_unix_nano")?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Takes an exemplar; the first one with a trace counts.
    fn read_exemplar(&mut self, field: Field<'a>) -> Result<(), WireError> {
        if self.exemplar.is_some() {
            return Ok(());
        }
        let (mut span, mut trace): (&[u8], &[u8]) = (&[], &[]);
        for field in Reader::new(field.bytes("exemplars")?, "Exemplar") {
            match field? {
                (4, field) => span = field.bytes("Exemplar.span_id")?,
                (5, field) => trace = field.bytes("Exemplar.trace_id")?,
                _ => {}
            }
        }
        self.exemplar = trace_id(trace).copied().zip(span_id(span));
        Ok(())
    }

    /// Completes the series' identity with the attributes.
    fn identify(&mut self, metric_identity: &[u8]) -> Result<(), WireError> {
        let mut identity = metric_identity.to_vec();
        self.attributes.write_canonical(&mut identity)?;
        self.series_id = xxh3_64(&identity).cast_signed();
        Ok(())
    }

    fn time(&self) -> UnixNanos {
        UnixNanos::from_wire(self.time)
    }

    fn start(&self) -> Option<i64> {
        (self.start > 0).then_some(UnixNanos::from_wire(self.start).0)
    }
}

/// Counts saturate: Delta has no unsigned integers.
fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The rows of a request so far.
#[derive(Debug, Default)]
struct MetricRows {
    numbers: NumberRows,
    histograms: HistogramRows,
    accepted: u64,
    rejections: Rejections,
    budget: Budget,
}

impl MetricRows {
    fn append<'a>(&mut self, bytes: &'a [u8], sender: &Sender<'a>) -> Result<(), Fault> {
        let Some((metric, data)) = Metric::read(bytes, sender)? else {
            return Ok(());
        };
        let identity = metric.identity();
        for point in messages(data, "Metric.data", 1) {
            let point = point?;
            self.budget.spend(point.len().saturating_add(metric.row_bytes()))?;
            let taken = match metric.kind {
                MetricType::Gauge | MetricType::Sum => {
                    self.numbers.append(&metric, &identity, point, &mut self.budget)?;
                    Ok(())
                }
                MetricType::Summary => {
                    self.numbers.append_summary(&metric, &identity, point, &mut self.budget)?;
                    Ok(())
                }
                MetricType::Histogram => {
                    self.histograms.append_explicit(&metric, &identity, point, &mut self.budget)?
                }
                MetricType::ExponentialHistogram => {
                    self.histograms.append_exponential(
                        &metric,
                        &identity,
                        point,
                        &mut self.budget,
                    )?;
                    Ok(())
                }
            };
            match taken {
                Ok(()) => self.accepted = self.accepted.saturating_add(1),
                Err(invalid) => {
                    let why = || format!("{invalid} (metric {})", shown(metric.name));
                    self.rejections.note(why);
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Decoded {
        let batches = [self.numbers.finish(), self.histograms.finish()];
        Decoded {
            batches: batches.into_iter().flatten().collect(),
            accepted: self.accepted,
            rejected: self.rejections.count,
            message: self.rejections.message("data point"),
            ..Decoded::default()
        }
    }
}

#[cfg(test)]
mod tests;
