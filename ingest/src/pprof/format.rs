//! Formats that people send where a pprof profile is expected, each refused by its name with what
//! to send instead.

use super::WHAT;
use crate::DecodeError;

/// Formats that begin with a fixed text. The longest match of a common beginning comes first.
const MAGIC: [(&[u8], &str, &str); 21] = [
    (b"FLR\0", JFR, JFR_HINT),
    (
        b"PERFILE2",
        "perf.data (Linux perf)",
        "convert it to pprof, for example with perf_to_profile, and send that",
    ),
    (b"--- contention", "the text format of contention profiles", LEGACY_TEXT),
    (b"--- mutex", "the text format of mutex profiles", LEGACY_TEXT),
    (b"--- threadz", "the gperftools threadz text format", LEGACY_TEXT),
    (b"--- Thread", "the gperftools threadz text format", LEGACY_TEXT),
    (b"--- heapz", "the gperftools heapz text format", LEGACY_TEXT),
    (b"--- growthz", "the gperftools growthz text format", LEGACY_TEXT),
    (b"--- profile", "the gperftools symbolised CPU profile format", LEGACY_BINARY),
    (b"--- symbol", "the gperftools symbolised profile format", LEGACY_BINARY),
    (b"goroutine profile:", "the text format of goroutine profiles (debug=1)", LEGACY_TEXT),
    (b"goroutine ", "the text format of goroutine dumps (debug=2)", LEGACY_TEXT),
    (b"threadcreate profile:", "the text format of threadcreate profiles", LEGACY_TEXT),
    (b"{", "a JSON document", SEND_PPROF),
    (b"[", "a JSON document", SEND_PPROF),
    (b"<", "an HTML or XML document", SEND_PPROF),
    (b"PK\x03\x04", "a zip archive", "unpack it and send the pprof file in it"),
    (b"\x28\xb5\x2f\xfd", "zstd compression of a profile", "send it as gzip or raw"),
    (b"\x1f\x8b", "gzip inside gzip", "send the profile compressed once"),
    (b"ARROW1", "an Arrow file", SEND_PPROF),
    (b"PAR1", "a Parquet file", SEND_PPROF),
];

/// How errors call JFR.
pub(super) const JFR: &str = "JFR (Java Flight Recorder)";
/// What to do with it.
pub(super) const JFR_HINT: &str =
    "convert it with async-profiler's `jfrconv -o pprof` and send that with `format=pprof`";
const SEND_PPROF: &str = "send a pprof profile, the gzip or raw protobuf of profile.proto";
const LEGACY_TEXT: &str = "fetch it without `debug=1` or `debug=2`, or convert it with `go tool pprof -proto`, \
     and send that";
const LEGACY_BINARY: &str = "convert it with `go tool pprof -proto BINARY FILE` and send that";

/// Refuses what is surely something else, or nothing.
pub(super) fn refuse_other_formats(raw: &[u8]) -> Result<(), DecodeError> {
    if raw.is_empty() {
        return Err(DecodeError::invalid(
            WHAT,
            "the profile is empty; send the gzip or raw protobuf of profile.proto",
        ));
    }
    if let Some(name) = heap_text(raw) {
        return Err(DecodeError::unsupported(name, LEGACY_TEXT));
    }
    if is_execution_trace(raw) {
        return Err(DecodeError::unsupported(
            "a Go execution trace",
            "fetch `/debug/pprof/profile` and not `/debug/pprof/trace`, \
             or convert it with `go tool trace -pprof=TYPE` and send that",
        ));
    }
    if is_gperftools_cpu(raw) {
        return Err(DecodeError::unsupported(
            "the binary CPU profile of gperftools",
            LEGACY_BINARY,
        ));
    }
    match MAGIC.iter().find(|(magic, ..)| raw.starts_with(magic)) {
        Some((_, name, hint)) => Err(DecodeError::unsupported(*name, *hint)),
        None => Ok(()),
    }
}

/// `heap profile: ... @ KIND`, which gperftools and Go write with different kinds.
fn heap_text(raw: &[u8]) -> Option<String> {
    let raw = raw.strip_prefix(b"heap profile:")?;
    let line = raw.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let kind = line.rsplit_once("@ ").map_or("", |(_, kind)| kind);
    let kind = kind.split('/').next().unwrap_or_default().trim();
    Some(match kind {
        "growthz" => "the gperftools growthz text format".to_owned(),
        "heapz_v2" | "heap_v2" => format!("the {kind} text format of heap profiles"),
        "heap" => "the text format of Go heap profiles (debug=1)".to_owned(),
        _ => "the text format of heap profiles".to_owned(),
    })
}

/// `go 1.22 trace` and the like.
fn is_execution_trace(raw: &[u8]) -> bool {
    raw.starts_with(b"go 1.") && raw.get(..16).is_some_and(|start| contains(start, b" trace"))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// The header of gperftools: words of 4 or 8 bytes in either order, `0, 3, VERSION, PERIOD`, with
/// version 0, or 1 for Java.
fn is_gperftools_cpu(raw: &[u8]) -> bool {
    type Words = fn(&[u8]) -> Option<[u64; 4]>;
    let layouts: [Words; 4] = [
        |raw| words(raw, |word: [u8; 8]| u64::from_le_bytes(word)),
        |raw| words(raw, |word: [u8; 8]| u64::from_be_bytes(word)),
        |raw| words(raw, |word: [u8; 4]| u64::from(u32::from_le_bytes(word))),
        |raw| words(raw, |word: [u8; 4]| u64::from(u32::from_be_bytes(word))),
    ];
    layouts.iter().any(|layout| {
        matches!(layout(raw), Some([0, 3, 0 | 1, period]) if period > 0 && period < 1 << 31)
    })
}

fn words<const N: usize>(raw: &[u8], word: fn([u8; N]) -> u64) -> Option<[u64; 4]> {
    let (chunks, _) = raw.as_chunks::<N>();
    let [a, b, c, d, ..] = chunks else { return None };
    Some([word(*a), word(*b), word(*c), word(*d)])
}

#[cfg(test)]
mod tests;
