//! One record of the log as bytes: a header with a checksum, then the payload.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `UPW1` |
//! | 4 | crc32c of everything after it |
//! | 4 | length of the payload as stored |
//! | 8 | sequence |
//! | 4 | frames before this one since the last sync |
//! | 8 | instant of arrival, nanoseconds since 1970 |
//! | 1 | kind of the record |
//! | 1 | 1 where the payload is a zstd frame, else 0 |
//! | n | the payload |
//!
//! Integers are little-endian.

use std::io;

use bytes::{Buf, BufMut, Bytes};

use crate::record::LogRecord;
use crate::time::UnixNanos;

const MAGIC: [u8; 4] = *b"UPW1";
/// The checksum covers what comes after it.
const CHECKED_FROM: usize = 8;
/// Bytes before the payload.
pub(crate) const HEADER_BYTES: usize = 34;
/// Largest payload, before compression: far over what receivers let in, and small enough that a
/// damaged length cannot make a reader allocate without end.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 256 << 20;
/// Payloads below this do not shrink enough to pay for the work.
const COMPRESS_FROM_BYTES: usize = 256;
/// The fastest level: the log lives for seconds.
const ZSTD_LEVEL: i32 = 1;

/// A payload as it lies in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredPayload {
    pub(crate) bytes: Bytes,
    pub(crate) is_zstd: bool,
}

impl StoredPayload {
    /// The payload as it is.
    pub(crate) fn plain(payload: Bytes) -> Self {
        Self { bytes: payload, is_zstd: false }
    }

    /// The payload compressed, where that makes it smaller.
    pub(crate) fn compressed(payload: Bytes) -> Self {
        if payload.len() >= COMPRESS_FROM_BYTES
            && let Ok(packed) = zstd::bulk::compress(&payload, ZSTD_LEVEL)
            && packed.len() < payload.len()
        {
            return Self { bytes: packed.into(), is_zstd: true };
        }
        Self::plain(payload)
    }

    /// The payload as it was appended.
    pub(crate) fn unpack(&self) -> io::Result<Bytes> {
        if !self.is_zstd {
            return Ok(self.bytes.clone());
        }
        let size = zstd::zstd_safe::get_frame_content_size(&self.bytes).ok().flatten();
        let size = size.and_then(|size| usize::try_from(size).ok()).unwrap_or(PAYLOAD_BYTES_MAX);
        let unpacked = zstd::bulk::decompress(&self.bytes, size.min(PAYLOAD_BYTES_MAX))?;
        Ok(unpacked.into())
    }
}

/// One record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) sequence: u64,
    /// Frames before this one since the last sync. A frame with a sequence below
    /// `sequence - unsynced_before` had been synced when this one was written.
    pub(crate) unsynced_before: u32,
    pub(crate) kind: u8,
    pub(crate) received: UnixNanos,
    pub(crate) payload: StoredPayload,
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the frame is cut off")]
    Truncated,
    #[error("no frame begins here")]
    NoFrame,
    #[error("the checksum does not match")]
    Checksum,
}

impl Frame {
    /// What comes before the payload.
    pub(crate) fn header(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        let mut out = &mut header[..];
        let stored = u32::try_from(self.payload.bytes.len()).unwrap_or(u32::MAX);
        out.put_slice(&MAGIC);
        out.put_u32_le(0);
        out.put_u32_le(stored);
        out.put_u64_le(self.sequence);
        out.put_u32_le(self.unsynced_before);
        out.put_i64_le(self.received.0);
        out.put_u8(self.kind);
        out.put_u8(u8::from(self.payload.is_zstd));
        let checksum = crc32c::crc32c(&header[CHECKED_FROM..]);
        let checksum = crc32c::crc32c_append(checksum, &self.payload.bytes);
        header[MAGIC.len()..CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
        header
    }

    /// The frame's bytes.
    #[cfg(test)]
    pub(crate) fn encoded(&self) -> Vec<u8> {
        [&self.header()[..], &self.payload.bytes].concat()
    }

    /// Reads the frame at the beginning of the bytes. The payload shares their memory.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, FrameError> {
        let magic_seen = bytes.len().min(MAGIC.len());
        if bytes[..magic_seen] != MAGIC[..magic_seen] {
            return Err(FrameError::NoFrame);
        }
        if bytes.len() < HEADER_BYTES {
            return Err(FrameError::Truncated);
        }
        let mut header = &bytes[MAGIC.len()..HEADER_BYTES];
        let checksum = header.get_u32_le();
        let stored = header.get_u32_le() as usize;
        let sequence = header.get_u64_le();
        let unsynced_before = header.get_u32_le();
        let received = UnixNanos(header.get_i64_le());
        let kind = header.get_u8();
        let is_zstd = header.get_u8() == 1;
        let Some(checked) = bytes.get(CHECKED_FROM..HEADER_BYTES + stored) else {
            return Err(FrameError::Truncated);
        };
        if crc32c::crc32c(checked) != checksum {
            return Err(FrameError::Checksum);
        }
        let payload = bytes.slice(HEADER_BYTES..HEADER_BYTES + stored);
        let payload = StoredPayload { bytes: payload, is_zstd };
        Ok(Self { sequence, unsynced_before, kind, received, payload })
    }

    /// Bytes of the frame in the log.
    pub(crate) fn stored_bytes(&self) -> usize {
        HEADER_BYTES + self.payload.bytes.len()
    }

    /// The request that was logged.
    pub(crate) fn record(&self) -> io::Result<LogRecord> {
        let payload = self.payload.unpack()?;
        Ok(LogRecord { kind: self.kind, received: self.received, payload })
    }
}

/// Where the next frame may begin at or after `from`.
pub(crate) fn next_start(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.windows(MAGIC.len()).position(|window| window == MAGIC).map(|found| from + found)
}
