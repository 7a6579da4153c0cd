//! Frames that are written together: large payloads from where they are in memory, what is small copied
//! side by side.

use std::io::{self, IoSlice, Write};

use bytes::Bytes;

use super::frame::Frame;

/// Payloads below this are copied: as parts of their own, many small ones would cost the system more than
/// the copy.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// Frames in their order.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Headers and small payloads.
    copied: Vec<u8>,
    /// Large payloads, and how much of `copied` comes before each.
    large: Vec<(usize, Bytes)>,
    bytes: usize,
}

impl Group {
    /// Adds a frame.
    pub(super) fn push(&mut self, frame: &Frame) {
        let payload = &frame.payload.bytes;
        self.copied.extend_from_slice(&frame.header());
        if payload.len() < COPIED_BYTES_MAX {
            self.copied.extend_from_slice(payload);
        } else {
            self.large.push((self.copied.len(), payload.clone()));
        }
        self.bytes += frame.stored_bytes();
    }

    /// Bytes of all frames.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bytes, in parts none of which is empty.
    pub(super) fn parts(&self) -> Vec<IoSlice<'_>> {
        let mut parts = Vec::with_capacity(2 * self.large.len() + 1);
        let mut written = 0;
        for (before, payload) in &self.large {
            parts.push(IoSlice::new(&self.copied[written..*before]));
            parts.push(IoSlice::new(payload));
            written = *before;
        }
        if written < self.copied.len() {
            parts.push(IoSlice::new(&self.copied[written..]));
        }
        parts
    }

    /// Forgets the frames; room for `kept_bytes` stays.
    pub(super) fn clear(&mut self, kept_bytes: usize) {
        self.copied.clear();
        self.copied.shrink_to(kept_bytes);
        self.large.clear();
        self.bytes = 0;
    }
}

/// Writes all parts, whatever is taken at a time.
pub(super) fn write_all(out: &mut impl Write, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !parts.is_empty() {
        match out.write_vectored(parts) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut parts, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::frame::StoredPayload;
    use super::*;
    use crate::time::UnixNanos;

    /// Takes at most so many bytes at a time, and is interrupted before each.
    struct Slow(Vec<u8>, usize, bool);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.2 = !self.2;
            if self.2 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let taken = bytes.len().min(self.1);
            self.0.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn frames_come_out_one_after_the_other_whatever_their_size() {
        let sizes = [0, 1, COPIED_BYTES_MAX, 40_000, COPIED_BYTES_MAX - 1, 7, 100_000];
        let frames: Vec<_> = (1..)
            .zip(sizes)
            .map(|(sequence, size)| Frame {
                sequence,
                unsynced_before: 0,
                kind: 7,
                received: UnixNanos(42),
                payload: StoredPayload::plain(vec![sequence.to_le_bytes()[0]; size].into()),
            })
            .collect();
        let mut group = Group::default();
        for _ in 0..2 {
            for frame in &frames {
                group.push(frame);
            }
            let mut out = Slow(Vec::new(), 9_999, false);
            write_all(&mut out, &mut group.parts()).unwrap();
            assert_eq!(out.0.len(), group.bytes());
            let mut rest = Bytes::from(out.0);
            for frame in &frames {
                assert_eq!(&Frame::decode(&rest).unwrap(), frame);
                rest = rest.split_off(frame.stored_bytes());
            }
            assert!(rest.is_empty());
            group.clear(100);
            assert!(group.parts().is_empty());
        }
    }

    #[test]
    fn a_disk_that_takes_nothing_is_an_error() {
        let mut parts = [IoSlice::new(b"abc")];
        let error = write_all(&mut Slow(Vec::new(), 0, false), &mut parts).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    }
}
