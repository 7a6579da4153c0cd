//! Metrics of services: processor utilisation, a gauge every minute.

use super::spans::text;
use super::world::World;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

/// What every instrumented service reports at an instant.
pub(crate) fn export(world: &World, instant: i64) -> ExportMetricsServiceRequest {
    let services = world.topology.services.iter().enumerate();
    let resource_metrics = services
        .filter(|(_, service)| service.is_instrumented)
        .map(|(index, service)| ResourceMetrics {
            resource: Some(Resource {
                attributes: vec![text("service.name", &service.name)],
                ..Resource::default()
            }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(InstrumentationScope {
                    name: "runtime".to_owned(),
                    ..InstrumentationScope::default()
                }),
                metrics: vec![gauge(
                    "process.cpu.utilization",
                    world.utilisation(index, instant),
                    instant,
                )],
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        })
        .collect();
    ExportMetricsServiceRequest { resource_metrics }
}

fn gauge(name: &str, value: f64, instant: i64) -> Metric {
    let point = NumberDataPoint {
        time_unix_nano: instant.cast_unsigned(),
        value: Some(number_data_point::Value::AsDouble((value * 1e4).round() / 1e4)),
        ..NumberDataPoint::default()
    };
    Metric {
        name: name.to_owned(),
        unit: "1".to_owned(),
        data: Some(metric::Data::Gauge(Gauge { data_points: vec![point] })),
        ..Metric::default()
    }
}
