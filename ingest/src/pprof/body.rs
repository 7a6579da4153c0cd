//! From the bytes that were sent to one protobuf message: gunzip under a limit, look for formats
//! that are not pprof, bound what the message may unfold to, parse.

use std::io::{ErrorKind, Read};

use bytes::Bytes;
use flate2::bufread::GzDecoder;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::WHAT;
use super::format::refuse_other_formats;
use super::message::Profile;
use crate::DecodeError;

/// Messages inside one profile: samples, labels, locations, lines, functions, mappings, texts. An
/// empty one takes two bytes on the wire and up to 72 in memory, so that the size of the body alone
/// bounds little; 4 Mi of them stay below 600 MB. The largest profile we know has 0.1 Mi.
const ENTRIES_MAX: usize = 4 << 20;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Reads a profile, gzip (of any number of members) or raw, that unpacks to at most `bytes_max`.
/// Gives the raw bytes too: the profile's identity is theirs, however they were packed.
pub(super) fn read(body: &Bytes, bytes_max: usize) -> Result<(Bytes, Profile), DecodeError> {
    let raw = if body.starts_with(&GZIP_MAGIC) { gunzip(body, bytes_max)? } else { body.clone() };
    if raw.len() > bytes_max {
        return Err(over_limit(bytes_max));
    }
    refuse_other_formats(&raw)?;
    check_entries(&raw)?;
    let profile = Profile::decode(raw.clone()).map_err(|why| not_pprof(&raw, &why.to_string()))?;
    Ok((raw, profile))
}

/// All members of a gzip file, one after the other.
fn gunzip(body: &[u8], bytes_max: usize) -> Result<Bytes, DecodeError> {
    let mut raw = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        if !rest.starts_with(&GZIP_MAGIC) {
            return Err(DecodeError::invalid(
                WHAT,
                format!(
                    "{} bytes that are not gzip follow after the end of the gzip data; \
                     send the file as the profiler wrote it",
                    rest.len()
                ),
            ));
        }
        let mut member = GzDecoder::new(rest);
        let room = bytes_max.saturating_sub(raw.len()).saturating_add(1);
        let read = member.by_ref().take(room as u64).read_to_end(&mut raw);
        if let Err(error) = read {
            return Err(DecodeError::invalid(WHAT, gzip_defect(&error)));
        }
        if raw.len() > bytes_max {
            return Err(over_limit(bytes_max));
        }
        rest = member.into_inner();
    }
    Ok(Bytes::from(raw))
}

fn gzip_defect(error: &std::io::Error) -> String {
    if error.kind() == ErrorKind::UnexpectedEof {
        return "the gzip data is truncated: it ends before its end marker; \
                send the whole file again"
            .to_owned();
    }
    format!("the gzip data is damaged ({error}); take the profile again")
}

fn over_limit(bytes_max: usize) -> DecodeError {
    DecodeError::too_large(
        WHAT,
        format!("it unpacks to more than {bytes_max} bytes; profile for a shorter time"),
    )
}

fn not_pprof(raw: &[u8], why: &str) -> DecodeError {
    let text = raw.iter().take(256).all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e));
    if text {
        return DecodeError::invalid(
            WHAT,
            "it is a text; send the gzip or raw protobuf of profile.proto",
        );
    }
    DecodeError::invalid(
        WHAT,
        format!(
            "not the protobuf of profile.proto, or cut short ({why}); \
             send the file as the profiler wrote it, gzip or raw"
        ),
    )
}

/// Refuses a profile that would unfold to too many messages, before room is made for them.
fn check_entries(raw: &[u8]) -> Result<(), DecodeError> {
    let entries = count_entries(raw).map_err(|why| not_pprof(raw, &why))?;
    if entries > ENTRIES_MAX {
        return Err(DecodeError::too_large(
            WHAT,
            format!("{entries} entries, at most {ENTRIES_MAX}; profile for a shorter time"),
        ));
    }
    Ok(())
}

/// The number of messages and texts in a profile, those in its samples and locations included.
fn count_entries(raw: &[u8]) -> Result<usize, String> {
    const SAMPLE: u32 = 2;
    const LOCATION: u32 = 4;
    let mut entries = 0_usize;
    let mut rest = raw;
    while let Some((tag, content)) = next_field(&mut rest)? {
        entries = entries.saturating_add(usize::from(content.is_some()));
        let (SAMPLE | LOCATION, Some(mut nested)) = (tag, content) else { continue };
        while let Some((_, content)) = next_field(&mut nested)? {
            entries = entries.saturating_add(usize::from(content.is_some()));
        }
    }
    Ok(entries)
}

/// A field's number, and its content where it is of the kind that has a length.
pub(super) type Field<'a> = (u32, Option<&'a [u8]>);

/// The next field of a message; none at its end.
pub(super) fn next_field<'a>(rest: &mut &'a [u8]) -> Result<Option<Field<'a>>, String> {
    if rest.is_empty() {
        return Ok(None);
    }
    let (tag, wire_type) = decode_key(rest).map_err(|e| e.to_string())?;
    if wire_type != WireType::LengthDelimited {
        skip_field(wire_type, tag, rest, DecodeContext::default()).map_err(|e| e.to_string())?;
        return Ok(Some((tag, None)));
    }
    let length = decode_varint(rest).map_err(|e| e.to_string())?;
    let split = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
    let Some((content, after)) = split else {
        return Err(format!("field {tag} says {length} bytes, {} are left", rest.len()));
    };
    *rest = after;
    Ok(Some((tag, Some(content))))
}

#[cfg(test)]
mod tests;
