//! The columns of `metric_histograms` that make sizes of an edge.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, Float64Array, Int64Array, ListArray, MapArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};

use super::series::SeriesPoint;
use super::{Call, Side};
use crate::histogram::{Buckets, Received};
use crate::rollup::edges::{EdgeKey, METRICS};
use crate::text_column::TextColumn;
use crate::time::UnixNanos;
use crate::trace_index::{integers, texts};

pub(super) struct SizeColumns<'a> {
    time: &'a Int64Array,
    start: &'a Int64Array,
    name: TextColumn<'a>,
    unit: TextColumn<'a>,
    temporality: TextColumn<'a>,
    series_id: &'a Int64Array,
    service: TextColumn<'a>,
    version: TextColumn<'a>,
    environment: TextColumn<'a>,
    instance: TextColumn<'a>,
    scope: TextColumn<'a>,
    attributes: &'a MapArray,
    count: &'a Int64Array,
    sum: &'a Float64Array,
    min: &'a Float64Array,
    max: &'a Float64Array,
    bounds: &'a ListArray,
    bucket_counts: &'a ListArray,
    scale: &'a Int64Array,
    zero_count: &'a Int64Array,
    zero_threshold: &'a Float64Array,
    positive_offset: &'a Int64Array,
    positive_counts: &'a ListArray,
    negative_counts: &'a ListArray,
}

impl<'a> SizeColumns<'a> {
    pub(super) fn new(rows: &'a RecordBatch) -> Option<Self> {
        Some(Self {
            time: integers(rows, "time_unix_nano")?,
            start: integers(rows, "start_unix_nano")?,
            name: texts(rows, "metric_name")?,
            unit: texts(rows, "unit")?,
            temporality: texts(rows, "temporality")?,
            series_id: integers(rows, "series_id")?,
            service: texts(rows, "service_name")?,
            version: texts(rows, "service_version")?,
            environment: texts(rows, "deployment_environment_name")?,
            instance: texts(rows, "service_instance_id")?,
            scope: texts(rows, "scope_name")?,
            attributes: rows.column_by_name("attributes")?.as_map_opt()?,
            count: integers(rows, "count")?,
            sum: floats(rows, "sum")?,
            min: floats(rows, "min")?,
            max: floats(rows, "max")?,
            bounds: lists(rows, "explicit_bounds")?,
            bucket_counts: lists(rows, "bucket_counts")?,
            scale: integers(rows, "scale")?,
            zero_count: integers(rows, "zero_count")?,
            zero_threshold: floats(rows, "zero_threshold")?,
            positive_offset: integers(rows, "positive_offset")?,
            positive_counts: lists(rows, "positive_counts")?,
            negative_counts: lists(rows, "negative_counts")?,
        })
    }

    pub(super) fn rows(&self) -> usize {
        self.name.len()
    }

    pub(super) fn name(&self, row: usize) -> &'a str {
        self.name.value(row)
    }

    pub(super) fn unit(&self, row: usize) -> &'a str {
        self.unit.value(row)
    }

    pub(super) fn temporality(&self, row: usize) -> Option<&str> {
        self.temporality.value_or_none(row)
    }

    /// Service, instance and scope.
    pub(super) fn sender(&self, row: usize) -> (&'a str, Option<&str>, Option<&str>) {
        let instance = self.instance.value_or_none(row);
        (self.service.value(row), instance, self.scope.value_or_none(row))
    }

    pub(super) fn series(&self, row: usize) -> SeriesPoint {
        SeriesPoint {
            series_id: self.series_id.value(row),
            start: self.start.is_valid(row).then(|| UnixNanos(self.start.value(row))),
            time: UnixNanos(self.time.value(row)),
        }
    }

    /// The call that was measured; `None` where its attributes do not name it.
    pub(super) fn call(&self, row: usize, side: Side) -> Option<Call> {
        let attributes = CallAttributes::of(&self.attributes.value(row));
        let peer = match side {
            Side::Client => Some(attributes.peer()?),
            // There `server.address` is its own name.
            Side::Server => None,
        };
        Some(Call { operation: attributes.operation()?, peer })
    }

    /// The edge. The caller of what a server measured is not known.
    pub(super) fn key<'k>(&'k self, row: usize, call: &'k Call) -> EdgeKey<'k> {
        let own = self.service.value(row);
        let (client, server, reporter) = match &call.peer {
            Some(peer) => (own, peer.as_str(), "client"),
            None => ("", own, "server"),
        };
        EdgeKey {
            client,
            server,
            operation: &call.operation,
            minute: UnixNanos(self.time.value(row)).minute(),
            reporter,
            version: self.version.value_or_none(row),
            environment: self.environment.value_or_none(row),
            source: METRICS,
        }
    }

    /// The point's figures; `None` where it has none that hold for sizes.
    pub(super) fn point(&self, row: usize) -> Option<Received> {
        let float = |column: &Float64Array| column.is_valid(row).then(|| column.value(row));
        let (sum, min, max) = (float(self.sum)?, float(self.min), float(self.max));
        let buckets = if self.bucket_counts.is_valid(row) {
            let bounds = self.bounds.value(row);
            let bounds = bounds.as_primitive_opt::<Float64Type>()?.values().to_vec();
            Buckets::Explicit { bounds, counts: list(self.bucket_counts, row)? }
        } else {
            self.exponential(row)?
        };
        Received::new((self.count.value(row), sum), (min, max), buckets)
    }

    fn exponential(&self, row: usize) -> Option<Buckets> {
        let has_negative = self.negative_counts.is_valid(row)
            && list(self.negative_counts, row)?.iter().any(|count| *count != 0);
        if has_negative || !self.positive_counts.is_valid(row) {
            return None;
        }
        let offset = self.positive_offset.value(row);
        let mut counts = BTreeMap::new();
        for (i, count) in list(self.positive_counts, row)?.into_iter().enumerate() {
            if count != 0 {
                counts.insert(offset.checked_add(i as i64)?, count);
            }
        }
        Some(Buckets::Exponential {
            scale: self.scale.value(row),
            zero_count: self.zero_count.value(row),
            zero_threshold: self.zero_threshold.value(row),
            counts,
        })
    }
}

/// The attributes of a point that name its call, current names before older ones.
#[derive(Debug, Default)]
struct CallAttributes {
    method: [Option<String>; 2],
    /// Route, template, and the route as older SDKs name it.
    target: [Option<String>; 3],
    rpc_service: Option<String>,
    rpc_method: Option<String>,
    peer_service: [Option<String>; 2],
    address: [Option<String>; 2],
}

impl CallAttributes {
    fn of(entries: &dyn Array) -> Self {
        let mut found = Self::default();
        let Some(entries) = entries.as_struct_opt() else { return found };
        let texts = |i| entries.column(i).as_string_opt::<i32>();
        let (Some(keys), Some(values)) = (texts(0), texts(1)) else { return found };
        for (key, value) in keys.iter().zip(values) {
            let (Some(key), Some(value)) = (key, value.filter(|value| !value.is_empty())) else {
                continue;
            };
            let slot = match key {
                "http.request.method" => &mut found.method[0],
                "http.method" => &mut found.method[1],
                "http.route" => &mut found.target[0],
                "url.template" => &mut found.target[1],
                "http.target" => &mut found.target[2],
                "rpc.service" => &mut found.rpc_service,
                "rpc.method" => &mut found.rpc_method,
                "service.peer.name" => &mut found.peer_service[0],
                "peer.service" => &mut found.peer_service[1],
                "server.address" => &mut found.address[0],
                "net.peer.name" => &mut found.address[1],
                _ => continue,
            };
            *slot = Some(value.to_owned());
        }
        found
    }

    /// As decoders of spans name it: `METHOD route`, `service/method`. Without a route it is what the
    /// conventions call such a span: the method.
    fn operation(&self) -> Option<String> {
        let first = |texts: &[Option<String>]| texts.iter().flatten().next().cloned();
        if let Some(method) = first(&self.method) {
            return Some(match first(&self.target) {
                Some(target) => format!("{method} {target}"),
                None if method == "_OTHER" => "HTTP".to_owned(),
                None => method,
            });
        }
        let method = self.rpc_method.clone()?;
        match &self.rpc_service {
            Some(service) if !method.contains('/') => Some(format!("{service}/{method}")),
            _ => Some(method),
        }
    }

    /// Who was called, as a span names it.
    fn peer(&self) -> Option<String> {
        self.peer_service.iter().chain(&self.address).flatten().next().cloned()
    }
}

fn floats<'a>(rows: &'a RecordBatch, name: &str) -> Option<&'a Float64Array> {
    rows.column_by_name(name)?.as_primitive_opt::<Float64Type>()
}

fn lists<'a>(rows: &'a RecordBatch, name: &str) -> Option<&'a ListArray> {
    rows.column_by_name(name)?.as_list_opt()
}

fn list(column: &ListArray, row: usize) -> Option<Vec<i64>> {
    Some(column.value(row).as_primitive_opt::<Int64Type>()?.values().to_vec())
}
