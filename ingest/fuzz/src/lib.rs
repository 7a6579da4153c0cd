//! What every fuzz target asks of its decoder: any bytes give rows or a typed error, and what is said
//! of the rows is true. Each function gives whether the bytes were taken.
//!
//! A test of `upriver-ingest` includes this file and plays the seeds and all former findings.

use bytes::Bytes;
use upriver_ingest::deploys::{self, Hints, Translated, cdevents, flux, github, gitlab};
use upriver_ingest::otlp::{decode_logs, decode_metrics, decode_profiles, decode_traces, json};
use upriver_ingest::pprof::raw_series::{self, ParcaWriteRaw, PyroscopePush};
use upriver_ingest::pprof::upload::ProfileEntry;
use upriver_ingest::pprof::{Folding, PprofUpload, decode_within, multipart};
use upriver_ingest::{DecodeError, DecodeErrorKind, Decoded, record_kind};
use upriver_store::record::LogRecord;
use upriver_store::schema::Table;
use upriver_store::time::UnixNanos;

const RECEIVED: UnixNanos = UnixNanos(1_795_226_603_510_000_123);
/// What a profile may unpack to: little, so that a bomb is answered quickly.
const UNPACKED_BYTES_MAX: usize = 1 << 20;

/// Any bytes as an `ExportTraceServiceRequest`.
pub fn otlp_traces(body: &[u8]) -> bool {
    let Ok(decoded) = decode_traces(body) else { return false };
    assert_eq!(decoded.accepted, rows_of(&decoded, Table::Spans));
    assert_eq!(decoded.rejected > 0, decoded.message.is_some());
    true
}

/// Any bytes as an `ExportMetricsServiceRequest`.
pub fn otlp_metrics(body: &[u8]) -> bool {
    let Ok(decoded) = decode_metrics(body) else { return false };
    assert_eq!(decoded.rejected > 0, decoded.message.is_some());
    assert_eq!(decoded.accepted == 0, decoded.batches.is_empty());
    true
}

/// Any bytes as an `ExportLogsServiceRequest`.
pub fn otlp_logs(body: &[u8]) -> bool {
    let Ok(decoded) = decode_logs(body, RECEIVED) else { return false };
    assert_eq!((decoded.accepted, decoded.rejected), (rows_of(&decoded, Table::Logs), 0));
    true
}

/// Any bytes as an `ExportProfilesServiceRequest`.
pub fn otlp_profiles(body: &[u8]) -> bool {
    let Ok(decoded) = decode_profiles(body, RECEIVED) else { return false };
    assert!(decoded.rejected_profiles == 0 || decoded.message.is_some());
    assert!(decoded.accepted == 0 || !decoded.batches.is_empty());
    assert!(decoded.rejected == 0 || decoded.rejected_profiles > 0);
    true
}

/// Any bytes as traces in OTLP JSON: what is taken decodes in its protobuf form.
pub fn otlp_traces_json(body: &[u8]) -> bool {
    json::traces_to_protobuf(body).is_ok_and(|protobuf| taken(decode_traces(&protobuf)))
}

/// Any bytes as metrics in OTLP JSON.
pub fn otlp_metrics_json(body: &[u8]) -> bool {
    json::metrics_to_protobuf(body).is_ok_and(|protobuf| taken(decode_metrics(&protobuf)))
}

/// Any bytes as logs in OTLP JSON.
pub fn otlp_logs_json(body: &[u8]) -> bool {
    json::logs_to_protobuf(body).is_ok_and(|protobuf| taken(decode_logs(&protobuf, RECEIVED)))
}

/// Any bytes as profiles in OTLP JSON. A dictionary can be valid JSON and no dictionary, so a refusal
/// of the protobuf form is an answer too.
pub fn otlp_profiles_json(body: &[u8]) -> bool {
    json::profiles_to_protobuf(body).is_ok_and(|protobuf| otlp_profiles(&protobuf))
}

/// Any bytes as a pprof body, and as a logged profile.
pub fn pprof(body: &[u8]) -> bool {
    let body = Bytes::copy_from_slice(body);
    let sent = PprofUpload::new("fuzz").into_record(body.clone(), RECEIVED);
    let logged = LogRecord { kind: record_kind::PPROF, received: RECEIVED, payload: body };
    [sent, logged].iter().filter(|record| profile_taken(record)).count() > 0
}

/// Any bytes as stacks in text: what is taken decodes as the profile that is made of it.
pub fn pprof_folded(body: &[u8]) -> bool {
    let body = Bytes::copy_from_slice(body);
    let mut any = false;
    for folding in [Folding::Folded, Folding::Lines] {
        let upload =
            PprofUpload { folding: Some(folding), sample_rate: 100, ..PprofUpload::new("fuzz") };
        let Ok(profile) = upload.to_pprof(body.clone()) else { continue };
        let record = upload.into_record(profile, RECEIVED);
        any |= taken(decode_within(&record, 64 * UNPACKED_BYTES_MAX));
    }
    any
}

/// Any bytes as the parameters beside a profile: a query, and a line of `profiles.jsonl`.
pub fn pprof_upload(body: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(body) else { return false };
    let pairs = text.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let query = PprofUpload::from_query(pairs);
    if let Ok(upload) = &query {
        assert!(!upload.service.is_empty());
    }
    query.is_ok() | ProfileEntry::from_json(text).is_ok()
}

/// Any bytes as a form: the content type on the first line, then the body.
pub fn pprof_multipart(body: &[u8]) -> bool {
    let end = body.iter().position(|byte| *byte == b'\n').unwrap_or(body.len());
    let (content_type, form) = body.split_at(end);
    let form = Bytes::copy_from_slice(form);
    let Ok(boundary) = multipart::boundary(&String::from_utf8_lossy(content_type)) else {
        return false;
    };
    let Ok(fields) = multipart::fields(&form, &boundary) else { return false };
    let content: usize = fields.iter().map(|field| field.content.len()).sum();
    assert!(content + fields.len() * boundary.len() <= form.len());
    true
}

/// Any bytes as `push.v1.PushRequest`, protobuf and JSON.
pub fn pprof_push(body: &[u8]) -> bool {
    series_taken(raw_series::from_json::<PyroscopePush>(body, RECEIVED))
        | series_taken(raw_series::from_protobuf::<PyroscopePush>(
            Bytes::copy_from_slice(body),
            RECEIVED,
        ))
}

/// Any bytes as `parca.profilestore.v1alpha1.WriteRawRequest`, protobuf and JSON.
pub fn pprof_write_raw(body: &[u8]) -> bool {
    series_taken(raw_series::from_json::<ParcaWriteRaw>(body, RECEIVED))
        | series_taken(raw_series::from_protobuf::<ParcaWriteRaw>(
            Bytes::copy_from_slice(body),
            RECEIVED,
        ))
}

/// Any bytes as deploy events.
pub fn deploys(body: &[u8]) -> bool {
    let Ok(decoded) = deploys::decode(body, RECEIVED) else { return false };
    assert_eq!((decoded.accepted, decoded.rejected), (rows_of(&decoded, Table::Deploys), 0));
    true
}

/// Any bytes as CDEvents, bare, in CloudEvents, or in binary mode. What is read can be stored.
pub fn deploys_cdevents(body: &[u8]) -> bool {
    let event_type = "dev.cdevents.service.deployed.0.3.0";
    [cdevents::Envelope::Body, cdevents::Envelope::Binary { event_type }]
        .into_iter()
        .filter(|envelope| stored(cdevents::translate(body, *envelope, RECEIVED)))
        .count()
        > 0
}

/// Any bytes as a deployment status of GitHub. What is read can be stored.
pub fn deploys_github(body: &[u8]) -> bool {
    stored(github::translate("deployment_status", body, &Hints::default(), RECEIVED))
}

/// Any bytes as a webhook of GitLab. What is read can be stored.
pub fn deploys_gitlab(body: &[u8]) -> bool {
    stored(gitlab::translate(body, &Hints::default(), RECEIVED))
}

/// Any bytes as a notification of Flux. What is read can be stored.
pub fn deploys_flux(body: &[u8]) -> bool {
    stored(flux::translate(body, &Hints::default(), RECEIVED))
}

fn rows_of(decoded: &Decoded, table: Table) -> u64 {
    let batches = decoded.batches.iter().filter(|batch| batch.table == table);
    batches.map(|batch| batch.rows.num_rows() as u64).sum()
}

/// Rows, or rows beyond the limit.
fn taken(result: Result<Decoded, DecodeError>) -> bool {
    let Err(error) = result else { return true };
    assert_eq!(error.kind(), DecodeErrorKind::TooLarge, "{error}");
    false
}

fn profile_taken(record: &LogRecord) -> bool {
    let Ok(decoded) = decode_within(record, UNPACKED_BYTES_MAX) else { return false };
    assert!(!decoded.batches.is_empty());
    assert_eq!(decoded.rejected, 0);
    true
}

fn series_taken(records: Result<Vec<LogRecord>, DecodeError>) -> bool {
    let Ok(records) = records else { return false };
    for record in &records {
        profile_taken(record);
    }
    true
}

/// Whether a change was read; it is one that the plain form takes.
fn stored(translated: Result<Translated, DecodeError>) -> bool {
    let Ok(translated) = translated else { return false };
    if translated.changes == 0 {
        return false;
    }
    let decoded = deploys::decode(&translated.body, RECEIVED).expect("the plain form is read");
    assert_eq!(decoded.accepted, translated.changes as u64);
    true
}
