//! OTLP JSON, turned into the protobuf form that is logged and decoded.
//!
//! Follows "JSON Protobuf Encoding" of the OTLP specification: lowerCamelCase names only, unknown
//! names ignored, ids in hexadecimal of either case, enums as numbers, 64-bit integers as text or
//! number, bytes in base64. `null` stands for the default, as in proto3 JSON. A repeated name, an
//! enum by name, an id of the wrong length or in base64, and a text that is not Unicode refuse the
//! request; an empty or zero id is left for the decoder, which rejects that span alone. A byte order
//! mark is skipped.
//!
//! Elements of lists are written as protobuf as soon as they are read, so a request of many tiny
//! elements takes no more memory than its protobuf form. Depth is bounded by serde_json (128 levels).
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use serde::de::DeserializeOwned;

use self::encode::Message;
use self::scalars::Object;
use super::{LOGS, METRICS, PROFILES, REQUEST_BYTES_MAX, TRACES};
use crate::DecodeError;

mod common;
mod encode;
mod logs;
mod metrics;
mod profiles;
mod scalars;
mod traces;

/// Turns a JSON `ExportTraceServiceRequest` into protobuf bytes.
pub fn traces_to_protobuf(body: &[u8]) -> Result<Vec<u8>, DecodeError> {
    to_protobuf::<traces::Request>(body, TRACES)
}

/// Turns a JSON `ExportMetricsServiceRequest` into protobuf bytes.
pub fn metrics_to_protobuf(body: &[u8]) -> Result<Vec<u8>, DecodeError> {
    to_protobuf::<metrics::Request>(body, METRICS)
}

/// Turns a JSON `ExportLogsServiceRequest` into protobuf bytes.
pub fn logs_to_protobuf(body: &[u8]) -> Result<Vec<u8>, DecodeError> {
    to_protobuf::<logs::Request>(body, LOGS)
}

/// Turns a JSON `ExportProfilesServiceRequest` into protobuf bytes, in the layout of OTLP 1.10.
pub fn profiles_to_protobuf(body: &[u8]) -> Result<Vec<u8>, DecodeError> {
    to_protobuf::<profiles::Request>(body, PROFILES)
}

fn to_protobuf<T>(body: &[u8], what: &'static str) -> Result<Vec<u8>, DecodeError>
where
    T: DeserializeOwned + Default + Message,
{
    if body.len() > REQUEST_BYTES_MAX {
        let why = format!("{} bytes of JSON; send smaller batches", body.len());
        return Err(DecodeError::too_large(what, why));
    }
    let text = std::str::from_utf8(body)
        .map_err(|error| DecodeError::invalid(what, format!("the JSON is not UTF-8: {error}")))?;
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with("null") {
        return Err(DecodeError::invalid(what, "expected a JSON object, found null"));
    }
    let Object(request) = serde_json::from_str::<Object<T>>(text)
        .map_err(|error| DecodeError::invalid(what, format!("the JSON is not valid: {error}")))?;
    let mut out = Vec::new();
    request.encode(&mut out);
    Ok(out)
}

#[cfg(test)]
mod tests;
