//! Explicit and exponential histograms: `metric_histograms`.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;

use upriver_store::schema::Table;

use super::{Metric, Point, count};
use crate::otlp::attributes::AttributesBuilder;
use crate::otlp::wire::{Field, Reader, WireError};
use crate::otlp::{Budget, Fault};
use crate::rows::{
    BytesBuilder, DateBuilder, FloatBuilder, FloatListBuilder, IntBuilder, IntListBuilder,
    TextBuilder, TimeBuilder, table_rows,
};

table_rows! {
    /// Rows of `metric_histograms`.
    HistogramRows of Table::MetricHistograms, {
        time: TimeBuilder,
        time_unix_nano: IntBuilder,
        metric_name: TextBuilder,
        service_name: TextBuilder,
        metric_type: TextBuilder,
        unit: TextBuilder,
        series_id: IntBuilder,
        count: IntBuilder,
        sum: FloatBuilder,
        min: FloatBuilder,
        max: FloatBuilder,
        start_unix_nano: IntBuilder,
        temporality: TextBuilder,
        service_version: TextBuilder,
        deployment_environment_name: TextBuilder,
        service_instance_id: TextBuilder,
        scope_name: TextBuilder,
        scope_version: TextBuilder,
        explicit_bounds: FloatListBuilder,
        bucket_counts: IntListBuilder,
        scale: IntBuilder,
        zero_count: IntBuilder,
        zero_threshold: FloatBuilder,
        positive_offset: IntBuilder,
        positive_counts: IntListBuilder,
        negative_offset: IntBuilder,
        negative_counts: IntListBuilder,
        exemplar_span_id: IntBuilder,
        exemplar_trace_id: BytesBuilder,
        attributes: AttributesBuilder,
        resource_attributes: AttributesBuilder,
        date: DateBuilder,
    }
}

/// What a bucket takes, at least one byte on the wire and eight in a row, doubled while it grows.
const BUCKET_COST: usize = 16;

/// A histogram whose buckets do not fit its bounds: how many of each.
#[derive(Clone, Copy, Debug)]
pub(super) struct BucketsDoNotFit {
    buckets: usize,
    bounds: usize,
}

impl fmt::Display for BucketsDoNotFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { buckets, bounds } = self;
        write!(
            f,
            "it has {buckets} bucket counts for {bounds} bounds; one more than bounds is expected"
        )
    }
}

/// The figures that both layouts have.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    count: i64,
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
}

#[derive(Debug, Default)]
struct Explicit {
    bounds: Vec<f64>,
    counts: Vec<i64>,
}

impl Explicit {
    fn check(&self) -> Result<(), BucketsDoNotFit> {
        let (buckets, bounds) = (self.counts.len(), self.bounds.len());
        let fits = buckets.checked_sub(1) == Some(bounds) || (buckets == 0 && bounds == 0);
        if fits { Ok(()) } else { Err(BucketsDoNotFit { buckets, bounds }) }
    }
}

#[derive(Debug, Default)]
struct Buckets {
    offset: i32,
    counts: Vec<i64>,
}

impl Buckets {
    fn read(&mut self, bytes: &[u8], budget: &mut Budget) -> Result<(), Fault> {
        budget.spend(bytes.len().saturating_mul(BUCKET_COST))?;
        for field in Reader::new(bytes, "Buckets") {
            match field? {
                (1, field) => self.offset = field.sint32("Buckets.offset")?,
                (2, field) => field
                    .varint_list("Buckets.bucket_counts", |value| self.counts.push(count(value)))?,
                _ => {}
            }
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Exponential {
    scale: i32,
    zero_count: i64,
    zero_threshold: f64,
    positive: Buckets,
    negative: Buckets,
}

impl HistogramRows {
    /// Adds a `HistogramDataPoint`, if its buckets fit its bounds.
    pub(super) fn append_explicit(
        &mut self,
        metric: &Metric<'_>,
        identity: &[u8],
        bytes: &[u8],
        budget: &mut Budget,
    ) -> Result<Result<(), BucketsDoNotFit>, Fault> {
        let (mut point, mut totals) = (Point::default(), Totals::default());
        let mut buckets = Explicit::default();
        budget.spend(bytes.len())?;
        for field in Reader::new(bytes, "HistogramDataPoint") {
            let (number, field) = field?;
            if point.read_time(number, field)? {
                continue;
            }
            match number {
                4 => totals.count = count(field.fixed64("HistogramDataPoint.count")?),
                5 => totals.sum = Some(field.double("HistogramDataPoint.sum")?),
                6 => field.fixed64_list("HistogramDataPoint.bucket_counts", |value| {
                    buckets.counts.push(count(value));
                })?,
                7 => field.fixed64_list("HistogramDataPoint.explicit_bounds", |bits| {
                    buckets.bounds.push(f64::from_bits(bits));
                })?,
                8 => point.read_exemplar(field)?,
                9 => {
                    point.attributes.read(field.bytes("HistogramDataPoint.attributes")?, budget)?;
                }
                11 => totals.min = Some(field.double("HistogramDataPoint.min")?),
                12 => totals.max = Some(field.double("HistogramDataPoint.max")?),
                _ => {}
            }
        }
        if let Err(misfit) = buckets.check() {
            return Ok(Err(misfit));
        }
        point.identify(identity)?;
        self.append_row(metric, &point, totals)?;
        self.append_layouts(Some(&buckets), None);
        Ok(Ok(()))
    }

    /// Adds an `ExponentialHistogramDataPoint`.
    pub(super) fn append_exponential(
        &mut self,
        metric: &Metric<'_>,
        identity: &[u8],
        bytes: &[u8],
        budget: &mut Budget,
    ) -> Result<(), Fault> {
        let (mut point, mut totals) = (Point::default(), Totals::default());
        let mut buckets = Exponential::default();
        for field in Reader::new(bytes, "ExponentialHistogramDataPoint") {
            let (number, field) = field?;
            if point.read_time(number, field)? {
                continue;
            }
            match number {
                1 => point.attributes.read(field.bytes(ATTRIBUTES)?, budget)?,
                4 => totals.count = count(field.fixed64("ExponentialHistogramDataPoint.count")?),
                5 => totals.sum = Some(field.double("ExponentialHistogramDataPoint.sum")?),
                8 => buckets.positive.read(field.bytes("Buckets")?, budget)?,
                9 => buckets.negative.read(field.bytes("Buckets")?, budget)?,
                11 => point.read_exemplar(field)?,
                12 => totals.min = Some(field.double("ExponentialHistogramDataPoint.min")?),
                13 => totals.max = Some(field.double("ExponentialHistogramDataPoint.max")?),
                number => buckets.read(number, field)?,
            }
        }
        point.identify(identity)?;
        self.append_row(metric, &point, totals)?;
        self.append_layouts(None, Some(&buckets));
        Ok(())
    }

    fn append_row(
        &mut self,
        metric: &Metric<'_>,
        point: &Point<'_>,
        totals: Totals,
    ) -> Result<(), WireError> {
        let resource = metric.sender.resource;
        self.time.append_value(point.time());
        self.time_unix_nano.append_value(point.time().0);
        self.date.append_value(point.time().date());
        self.start_unix_nano.append_option(point.start());
        self.series_id.append_value(point.series_id);
        self.metric_name.append_value(metric.name);
        self.metric_type.append_value(metric.kind.name());
        self.unit.append_value(metric.unit);
        self.temporality.append_option(metric.temporality);
        self.scope_name.append_option(metric.sender.scope.name);
        self.scope_version.append_option(metric.sender.scope.version);
        self.service_name.append_value(&resource.service_name);
        self.service_version.append_option(resource.service_version.as_deref());
        self.deployment_environment_name.append_option(resource.environment.as_deref());
        self.service_instance_id.append_option(resource.service_instance_id.as_deref());
        self.resource_attributes.append_rendered(&resource.rendered, 1);
        self.count.append_value(totals.count);
        self.sum.append_option(totals.sum);
        self.min.append_option(totals.min);
        self.max.append_option(totals.max);
        self.exemplar_span_id.append_option(point.exemplar.map(|(_, span)| span));
        self.exemplar_trace_id.append_option(point.exemplar.map(|(trace, _)| trace));
        self.attributes.append(&point.attributes)
    }

    /// Fills the columns of one layout and leaves those of the other null.
    fn append_layouts(&mut self, explicit: Option<&Explicit>, exponential: Option<&Exponential>) {
        self.explicit_bounds.append_option(explicit.map(|h| h.bounds.as_slice()));
        self.bucket_counts.append_option(explicit.map(|h| h.counts.as_slice()));
        let h = exponential;
        self.scale.append_option(h.map(|h| i64::from(h.scale)));
        self.zero_count.append_option(h.map(|h| h.zero_count));
        self.zero_threshold.append_option(h.map(|h| h.zero_threshold));
        self.positive_offset.append_option(h.map(|h| i64::from(h.positive.offset)));
        self.positive_counts.append_option(h.map(|h| h.positive.counts.as_slice()));
        self.negative_offset.append_option(h.map(|h| i64::from(h.negative.offset)));
        self.negative_counts.append_option(h.map(|h| h.negative.counts.as_slice()));
    }
}

impl Exponential {
    fn read(&mut self, number: u32, field: Field<'_>) -> Result<(), WireError> {
        match number {
            6 => self.scale = field.sint32("ExponentialHistogramDataPoint.scale")?,
            7 => {
                let zeros = field.fixed64("ExponentialHistogramDataPoint.zero_count")?;
                self.zero_count = count(zeros);
            }
            14 => {
                self.zero_threshold =
                    field.double("ExponentialHistogramDataPoint.zero_threshold")?;
            }
            _ => {}
        }
        Ok(())
    }
}

const ATTRIBUTES: &str = "ExponentialHistogramDataPoint.attributes";
