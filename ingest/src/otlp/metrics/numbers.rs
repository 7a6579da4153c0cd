//! Gauges, sums and summaries: `metrics`.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use upriver_store::schema::Table;

use super::{Metric, Point, ROW_COST, count};
use crate::otlp::attributes::AttributesBuilder;
use crate::otlp::wire::{Reader, WireError};
use crate::otlp::{Budget, Fault};
use crate::rows::{
    BoolBuilder, BytesBuilder, DateBuilder, FloatBuilder, IntBuilder, TextBuilder, TimeBuilder,
    table_rows,
};

table_rows! {
    /// Rows of `metrics`.
    NumberRows of Table::Metrics, {
        time: TimeBuilder,
        time_unix_nano: IntBuilder,
        metric_name: TextBuilder,
        service_name: TextBuilder,
        metric_type: TextBuilder,
        unit: TextBuilder,
        series_id: IntBuilder,
        value_int: IntBuilder,
        value_double: FloatBuilder,
        start_unix_nano: IntBuilder,
        temporality: TextBuilder,
        is_monotonic: BoolBuilder,
        service_version: TextBuilder,
        deployment_environment_name: TextBuilder,
        service_instance_id: TextBuilder,
        scope_name: TextBuilder,
        scope_version: TextBuilder,
        exemplar_span_id: IntBuilder,
        exemplar_trace_id: BytesBuilder,
        attributes: AttributesBuilder,
        resource_attributes: AttributesBuilder,
        date: DateBuilder,
    }
}

/// The value of a number point; none where the series has a gap.
#[derive(Clone, Copy, Debug)]
enum Number {
    Int(i64),
    Double(f64),
    Gap,
}

/// What a summary adds to the name and the attributes of a row.
#[derive(Clone, Copy, Debug, Default)]
struct SummaryPart<'a> {
    suffix: &'static str,
    quantile: Option<&'a str>,
}

impl NumberRows {
    /// Adds a `NumberDataPoint`.
    pub(super) fn append(
        &mut self,
        metric: &Metric<'_>,
        identity: &[u8],
        bytes: &[u8],
        budget: &mut Budget,
    ) -> Result<(), Fault> {
        let (mut point, mut value) = (Point::default(), Number::Gap);
        for field in Reader::new(bytes, "NumberDataPoint") {
            let (number, field) = field?;
            if point.read_time(number, field)? {
                continue;
            }
            match number {
                4 => value = Number::Double(field.double("NumberDataPoint.as_double")?),
                5 => point.read_exemplar(field)?,
                6 => {
                    let bits = field.fixed64("NumberDataPoint.as_int")?;
                    value = Number::Int(bits.cast_signed());
                }
                7 => point.attributes.read(field.bytes("NumberDataPoint.attributes")?, budget)?,
                _ => {}
            }
        }
        point.identify(identity)?;
        self.append_row(metric, &point, value, SummaryPart::default())?;
        Ok(())
    }

    /// Adds a `SummaryDataPoint` as Prometheus exposes it: its quantiles, `_sum` and `_count`.
    pub(super) fn append_summary(
        &mut self,
        metric: &Metric<'_>,
        identity: &[u8],
        bytes: &[u8],
        budget: &mut Budget,
    ) -> Result<(), Fault> {
        let (mut point, mut total, mut sum) = (Point::default(), 0, 0.0);
        let mut quantiles: Vec<&[u8]> = Vec::new();
        for field in Reader::new(bytes, "SummaryDataPoint") {
            let (number, field) = field?;
            if point.read_time(number, field)? {
                continue;
            }
            match number {
                4 => total = field.fixed64("SummaryDataPoint.count")?,
                5 => sum = field.double("SummaryDataPoint.sum")?,
                6 => {
                    budget.spend(metric.row_bytes().saturating_add(bytes.len()))?;
                    quantiles.push(field.bytes("SummaryDataPoint.quantile_values")?);
                }
                7 => point.attributes.read(field.bytes("SummaryDataPoint.attributes")?, budget)?,
                _ => {}
            }
        }
        budget.spend(ROW_COST.saturating_add(metric.row_bytes()))?;
        let part = |suffix| SummaryPart { suffix, quantile: None };
        let parts = [("_count", Number::Int(count(total))), ("_sum", Number::Double(sum))];
        for (suffix, value) in parts {
            point.identify(&[identity, suffix.as_bytes()].concat())?;
            self.append_row(metric, &point, value, part(suffix))?;
        }
        for bytes in quantiles {
            let (quantile, value) = read_quantile(bytes)?;
            let text = quantile.to_string();
            point.identify(&[identity, text.as_bytes()].concat())?;
            let part = SummaryPart { suffix: "", quantile: Some(&text) };
            self.append_row(metric, &point, Number::Double(value), part)?;
        }
        Ok(())
    }

    fn append_row(
        &mut self,
        metric: &Metric<'_>,
        point: &Point<'_>,
        value: Number,
        part: SummaryPart<'_>,
    ) -> Result<(), WireError> {
        self.append_metric(metric, part.suffix);
        self.append_value(value);
        self.time.append_value(point.time());
        self.time_unix_nano.append_value(point.time().0);
        self.date.append_value(point.time().date());
        self.start_unix_nano.append_option(point.start());
        self.series_id.append_value(point.series_id);
        self.exemplar_span_id.append_option(point.exemplar.map(|(_, span)| span));
        self.exemplar_trace_id.append_option(point.exemplar.map(|(trace, _)| trace));
        let quantile = part.quantile.map(|quantile| ("quantile", quantile));
        self.attributes.append_with(&point.attributes, quantile)
    }

    fn append_metric(&mut self, metric: &Metric<'_>, suffix: &str) {
        let resource = metric.sender.resource;
        if suffix.is_empty() {
            self.metric_name.append_value(metric.name);
        } else {
            self.metric_name.append_value([metric.name, suffix].concat());
        }
        self.metric_type.append_value(metric.kind.name());
        self.unit.append_value(metric.unit);
        self.temporality.append_option(metric.temporality);
        self.is_monotonic.append_option(metric.is_monotonic);
        self.scope_name.append_option(metric.sender.scope.name);
        self.scope_version.append_option(metric.sender.scope.version);
        self.service_name.append_value(&resource.service_name);
        self.service_version.append_option(resource.service_version.as_deref());
        self.deployment_environment_name.append_option(resource.environment.as_deref());
        self.service_instance_id.append_option(resource.service_instance_id.as_deref());
        self.resource_attributes.append_rendered(&resource.rendered, 1);
    }

    fn append_value(&mut self, value: Number) {
        let (int, double) = match value {
            Number::Int(value) => (Some(value), Some(value as f64)),
            Number::Double(value) => (None, Some(value)),
            Number::Gap => (None, None),
        };
        self.value_int.append_option(int);
        self.value_double.append_option(double);
    }
}

fn read_quantile(bytes: &[u8]) -> Result<(f64, f64), WireError> {
    let (mut quantile, mut value) = (0.0, 0.0);
    for field in Reader::new(bytes, "ValueAtQuantile") {
        match field? {
            (1, field) => quantile = field.double("ValueAtQuantile.quantile")?,
            (2, field) => value = field.double("ValueAtQuantile.value")?,
            _ => {}
        }
    }
    Ok((quantile, value))
}
