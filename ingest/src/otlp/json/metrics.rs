//! The messages of metrics.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use serde::Deserialize;

use super::common::{KeyValue, Resource, Scope};
use super::encode::{
    Message, put_bytes, put_double, put_fixed64, put_int32, put_message, put_present_fixed64,
    put_raw_varint, put_sint32, put_varint,
};
use super::scalars::{Encoded, Enumeration, Flag, Float, Hex, Integer, Object, Text};

/// `ExportMetricsServiceRequest`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Request {
    resource_metrics: Encoded<ResourceMetrics, 1>,
}

impl Message for Request {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.resource_metrics.bytes);
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ResourceMetrics {
    resource: Option<Object<Resource>>,
    scope_metrics: Encoded<ScopeMetrics, 2>,
    schema_url: Text,
}

impl Message for ResourceMetrics {
    fn encode(&self, out: &mut Vec<u8>) {
        if let Some(Object(resource)) = &self.resource {
            put_message(out, 1, resource);
        }
        out.extend_from_slice(&self.scope_metrics.bytes);
        put_bytes(out, 3, self.schema_url.0.as_bytes());
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ScopeMetrics {
    scope: Option<Object<Scope>>,
    metrics: Encoded<Metric, 2>,
    schema_url: Text,
}

impl Message for ScopeMetrics {
    fn encode(&self, out: &mut Vec<u8>) {
        if let Some(Object(scope)) = &self.scope {
            put_message(out, 1, scope);
        }
        out.extend_from_slice(&self.metrics.bytes);
        put_bytes(out, 3, self.schema_url.0.as_bytes());
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metric {
    name: Text,
    description: Text,
    unit: Text,
    gauge: Option<Object<Numbers>>,
    sum: Option<Object<Numbers>>,
    histogram: Option<Object<Histogram>>,
    exponential_histogram: Option<Object<ExponentialHistogram>>,
    summary: Option<Object<Summary>>,
    metadata: Encoded<KeyValue, 12>,
}

impl Message for Metric {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, 1, self.name.0.as_bytes());
        put_bytes(out, 2, self.description.0.as_bytes());
        put_bytes(out, 3, self.unit.0.as_bytes());
        if let Some(Object(data)) = &self.gauge {
            put_message(out, 5, data);
        } else if let Some(Object(data)) = &self.sum {
            put_message(out, 7, data);
        } else if let Some(Object(data)) = &self.histogram {
            put_message(out, 9, data);
        } else if let Some(Object(data)) = &self.exponential_histogram {
            put_message(out, 10, data);
        } else if let Some(Object(data)) = &self.summary {
            put_message(out, 11, data);
        }
        out.extend_from_slice(&self.metadata.bytes);
    }
}

/// `Sum`, and `Gauge`, which has the points alone.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Numbers {
    data_points: Encoded<NumberDataPoint, 1>,
    aggregation_temporality: Enumeration,
    is_monotonic: Flag,
}

impl Message for Numbers {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.data_points.bytes);
        put_int32(out, 2, self.aggregation_temporality.0);
        put_varint(out, 3, u64::from(self.is_monotonic.0));
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Histogram {
    data_points: Encoded<HistogramDataPoint, 1>,
    aggregation_temporality: Enumeration,
}

impl Message for Histogram {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.data_points.bytes);
        put_int32(out, 2, self.aggregation_temporality.0);
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ExponentialHistogram {
    data_points: Encoded<ExponentialHistogramDataPoint, 1>,
    aggregation_temporality: Enumeration,
}

impl Message for ExponentialHistogram {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.data_points.bytes);
        put_int32(out, 2, self.aggregation_temporality.0);
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Summary {
    data_points: Encoded<SummaryDataPoint, 1>,
}

impl Message for Summary {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.data_points.bytes);
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NumberDataPoint {
    attributes: Encoded<KeyValue, 7>,
    start_time_unix_nano: Integer<u64>,
    time_unix_nano: Integer<u64>,
    as_int: Option<Integer<i64>>,
    as_double: Option<Float>,
    exemplars: Encoded<Exemplar, 5>,
    flags: Integer<u32>,
}

impl Message for NumberDataPoint {
    fn encode(&self, out: &mut Vec<u8>) {
        put_fixed64(out, 2, self.start_time_unix_nano.0);
        put_fixed64(out, 3, self.time_unix_nano.0);
        if let Some(Integer(value)) = self.as_int {
            put_present_fixed64(out, 6, value.cast_unsigned());
        } else {
            put_double(out, 4, self.as_double.map(|Float(value)| value));
        }
        out.extend_from_slice(&self.exemplars.bytes);
        out.extend_from_slice(&self.attributes.bytes);
        put_varint(out, 8, u64::from(self.flags.0));
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct HistogramDataPoint {
    attributes: Encoded<KeyValue, 9>,
    start_time_unix_nano: Integer<u64>,
    time_unix_nano: Integer<u64>,
    count: Integer<u64>,
    sum: Option<Float>,
    bucket_counts: Option<Vec<Integer<u64>>>,
    explicit_bounds: Option<Vec<Float>>,
    exemplars: Encoded<Exemplar, 8>,
    flags: Integer<u32>,
    min: Option<Float>,
    max: Option<Float>,
}

impl Message for HistogramDataPoint {
    fn encode(&self, out: &mut Vec<u8>) {
        put_fixed64(out, 2, self.start_time_unix_nano.0);
        put_fixed64(out, 3, self.time_unix_nano.0);
        put_fixed64(out, 4, self.count.0);
        put_double(out, 5, self.sum.map(|Float(value)| value));
        let counts = self.bucket_counts.iter().flatten();
        put_bytes(
            out,
            6,
            &counts.flat_map(|Integer(value)| value.to_le_bytes()).collect::<Vec<_>>(),
        );
        let bounds = self.explicit_bounds.iter().flatten();
        put_bytes(out, 7, &bounds.flat_map(|Float(value)| value.to_le_bytes()).collect::<Vec<_>>());
        out.extend_from_slice(&self.exemplars.bytes);
        out.extend_from_slice(&self.attributes.bytes);
        put_varint(out, 10, u64::from(self.flags.0));
        put_double(out, 11, self.min.map(|Float(value)| value));
        put_double(out, 12, self.max.map(|Float(value)| value));
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ExponentialHistogramDataPoint {
    attributes: Encoded<KeyValue, 1>,
    start_time_unix_nano: Integer<u64>,
    time_unix_nano: Integer<u64>,
    count: Integer<u64>,
    sum: Option<Float>,
    scale: Integer<i32>,
    zero_count: Integer<u64>,
    positive: Option<Object<Buckets>>,
    negative: Option<Object<Buckets>>,
    flags: Integer<u32>,
    exemplars: Encoded<Exemplar, 11>,
    min: Option<Float>,
    max: Option<Float>,
    zero_threshold: Float,
}

impl Message for ExponentialHistogramDataPoint {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.attributes.bytes);
        put_fixed64(out, 2, self.start_time_unix_nano.0);
        put_fixed64(out, 3, self.time_unix_nano.0);
        put_fixed64(out, 4, self.count.0);
        put_double(out, 5, self.sum.map(|Float(value)| value));
        put_sint32(out, 6, self.scale.0);
        put_fixed64(out, 7, self.zero_count.0);
        for (number, buckets) in [(8, &self.positive), (9, &self.negative)] {
            if let Some(Object(buckets)) = buckets {
                put_message(out, number, buckets);
            }
        }
        put_varint(out, 10, u64::from(self.flags.0));
        out.extend_from_slice(&self.exemplars.bytes);
        put_double(out, 12, self.min.map(|Float(value)| value));
        put_double(out, 13, self.max.map(|Float(value)| value));
        put_fixed64(out, 14, self.zero_threshold.0.to_bits());
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Buckets {
    offset: Integer<i32>,
    bucket_counts: Option<Vec<Integer<u64>>>,
}

impl Message for Buckets {
    fn encode(&self, out: &mut Vec<u8>) {
        put_sint32(out, 1, self.offset.0);
        let mut packed = Vec::new();
        for Integer(value) in self.bucket_counts.iter().flatten() {
            put_raw_varint(&mut packed, *value);
        }
        put_bytes(out, 2, &packed);
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SummaryDataPoint {
    attributes: Encoded<KeyValue, 7>,
    start_time_unix_nano: Integer<u64>,
    time_unix_nano: Integer<u64>,
    count: Integer<u64>,
    sum: Float,
    quantile_values: Encoded<ValueAtQuantile, 6>,
    flags: Integer<u32>,
}

impl Message for SummaryDataPoint {
    fn encode(&self, out: &mut Vec<u8>) {
        put_fixed64(out, 2, self.start_time_unix_nano.0);
        put_fixed64(out, 3, self.time_unix_nano.0);
        put_fixed64(out, 4, self.count.0);
        put_fixed64(out, 5, self.sum.0.to_bits());
        out.extend_from_slice(&self.quantile_values.bytes);
        out.extend_from_slice(&self.attributes.bytes);
        put_varint(out, 8, u64::from(self.flags.0));
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ValueAtQuantile {
    quantile: Float,
    value: Float,
}

impl Message for ValueAtQuantile {
    fn encode(&self, out: &mut Vec<u8>) {
        put_fixed64(out, 1, self.quantile.0.to_bits());
        put_fixed64(out, 2, self.value.0.to_bits());
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Exemplar {
    filtered_attributes: Encoded<KeyValue, 7>,
    time_unix_nano: Integer<u64>,
    as_int: Option<Integer<i64>>,
    as_double: Option<Float>,
    span_id: Hex<8>,
    trace_id: Hex<16>,
}

impl Message for Exemplar {
    fn encode(&self, out: &mut Vec<u8>) {
        put_fixed64(out, 2, self.time_unix_nano.0);
        if let Some(Integer(value)) = self.as_int {
            put_present_fixed64(out, 6, value.cast_unsigned());
        } else {
            put_double(out, 3, self.as_double.map(|Float(value)| value));
        }
        put_bytes(out, 4, &self.span_id.0);
        put_bytes(out, 5, &self.trace_id.0);
        out.extend_from_slice(&self.filtered_attributes.bytes);
    }
}
