//! The signals of OTLP: where each arrives, what is logged of it, and how its export is answered.

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::profiles::v1development::{
    ExportProfilesPartialSuccess, ExportProfilesServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message as _;
use serde_json::json;

use super::Acknowledged;
use super::counters::Door;
use crate::{DecodeError, otlp, record_kind};

/// A signal that OTLP carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Metrics,
    Logs,
    Profiles,
}

impl Signal {
    pub(super) const ALL: [Self; 4] = [Self::Traces, Self::Metrics, Self::Logs, Self::Profiles];

    /// The path of OTLP/HTTP.
    pub(super) fn http_path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
            Self::Logs => "/v1/logs",
            Self::Profiles => "/v1development/profiles",
        }
    }

    /// The path of OTLP/gRPC: service and method.
    pub(super) fn grpc_path(self) -> &'static str {
        match self {
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Self::Profiles => {
                "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export"
            }
        }
    }

    pub(super) fn http_door(self) -> Door {
        match self {
            Self::Traces => Door::OtlpHttpTraces,
            Self::Metrics => Door::OtlpHttpMetrics,
            Self::Logs => Door::OtlpHttpLogs,
            Self::Profiles => Door::OtlpHttpProfiles,
        }
    }

    pub(super) fn grpc_door(self) -> Door {
        match self {
            Self::Traces => Door::OtlpGrpcTraces,
            Self::Metrics => Door::OtlpGrpcMetrics,
            Self::Logs => Door::OtlpGrpcLogs,
            Self::Profiles => Door::OtlpGrpcProfiles,
        }
    }

    pub(super) fn record_kind(self) -> u8 {
        match self {
            Self::Traces => record_kind::OTLP_TRACES,
            Self::Metrics => record_kind::OTLP_METRICS,
            Self::Logs => record_kind::OTLP_LOGS,
            Self::Profiles => record_kind::OTLP_PROFILES,
        }
    }

    /// A JSON request as protobuf, the form that is logged.
    pub(super) fn json_to_protobuf(self, json: &[u8]) -> Result<Vec<u8>, DecodeError> {
        match self {
            Self::Traces => otlp::json::traces_to_protobuf(json),
            Self::Metrics => otlp::json::metrics_to_protobuf(json),
            Self::Logs => otlp::json::logs_to_protobuf(json),
            Self::Profiles => otlp::json::profiles_to_protobuf(json),
        }
    }

    /// How many of the things that the response counts were left out.
    fn rejected(self, acknowledged: &Acknowledged) -> u64 {
        match self {
            Self::Profiles => acknowledged.rejected_profiles,
            Self::Traces | Self::Metrics | Self::Logs => acknowledged.rejected,
        }
    }

    /// The protobuf response: `partial_success` is set only when there is something to say.
    pub(super) fn response(self, acknowledged: &Acknowledged) -> Vec<u8> {
        let rejected = i64::try_from(self.rejected(acknowledged)).unwrap_or(i64::MAX);
        let error_message = acknowledged.message.clone().unwrap_or_default();
        let partial = rejected > 0 || !error_message.is_empty();
        match self {
            Self::Traces => ExportTraceServiceResponse {
                partial_success: partial.then_some(ExportTracePartialSuccess {
                    rejected_spans: rejected,
                    error_message,
                }),
            }
            .encode_to_vec(),
            Self::Metrics => ExportMetricsServiceResponse {
                partial_success: partial.then_some(ExportMetricsPartialSuccess {
                    rejected_data_points: rejected,
                    error_message,
                }),
            }
            .encode_to_vec(),
            Self::Logs => ExportLogsServiceResponse {
                partial_success: partial.then_some(ExportLogsPartialSuccess {
                    rejected_log_records: rejected,
                    error_message,
                }),
            }
            .encode_to_vec(),
            Self::Profiles => ExportProfilesServiceResponse {
                partial_success: partial.then_some(ExportProfilesPartialSuccess {
                    rejected_profiles: rejected,
                    error_message,
                }),
            }
            .encode_to_vec(),
        }
    }

    /// The same in protobuf's JSON mapping, where 64-bit integers are texts.
    pub(super) fn json_response(self, acknowledged: &Acknowledged) -> String {
        let rejected = self.rejected(acknowledged);
        let message = acknowledged.message.as_deref().unwrap_or_default();
        if rejected == 0 && message.is_empty() {
            return "{}".to_owned();
        }
        let counted = match self {
            Self::Traces => "rejectedSpans",
            Self::Metrics => "rejectedDataPoints",
            Self::Logs => "rejectedLogRecords",
            Self::Profiles => "rejectedProfiles",
        };
        let partial = json!({counted: rejected.to_string(), "errorMessage": message});
        json!({"partialSuccess": partial}).to_string()
    }
}
