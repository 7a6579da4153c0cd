//! Decompression of request bodies, piece by piece and against the limit, so that a small body
//! cannot unfold into a large one.

use std::fmt;
use std::io::{self, Write};

use flate2::write::MultiGzDecoder;
use http::{HeaderMap, HeaderName};
use zstd::stream::raw::{DParameter, Decoder, Operation};

use super::admission::Charge;
use super::refusal::{Class, Refusal};

/// Room that is made for a body whose size is announced, before any of it has come: a usual batch. A larger
/// one makes room as it comes, so that an announcement alone takes little.
const ANNOUNCED_BYTES_MAX: usize = 1 << 20;

/// Output of zstd is taken in pieces of this size: a block of the format.
const ZSTD_PIECE_BYTES: usize = 128 << 10;

/// The window that every zstd decoder of HTTP supports (RFC 9659).
const ZSTD_WINDOW_BYTES: usize = 8 << 20;
/// The largest window of the format's reference decoder: 128 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// The encodings that are taken, as header values list them.
    pub(super) const ACCEPTED: &'static str = "gzip, zstd, identity";

    /// Reads `Content-Encoding` or `grpc-encoding`; a missing header means none.
    pub(super) fn of(headers: &HeaderMap, name: &HeaderName) -> Result<Self, Refusal> {
        let Some(value) = headers.get(name) else { return Ok(Self::Identity) };
        let text = value.to_str().unwrap_or("(not text)").trim();
        match text.to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(Refusal::media_type(format!(
                "the {name} {text:?} is not supported; send one of {}",
                Self::ACCEPTED
            ))),
        }
    }
}

/// Takes a body in pieces and gives it decompressed.
pub(super) enum Inflater {
    /// Not compressed.
    Identity(Sink),
    /// One or more gzip members.
    Gzip(Box<MultiGzDecoder<Sink>>),
    /// One or more zstd frames.
    Zstd(Box<Zstd>),
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Inflater {
    /// Starts a body of at least one byte; what it holds in memory is added to `charge`.
    pub(super) fn new(encoding: Encoding, limit: usize, charge: Charge) -> Result<Self, Refusal> {
        let sink = Sink { bytes: Vec::new(), limit, charge, full: None };
        Ok(match encoding {
            Encoding::Identity => Self::Identity(sink),
            Encoding::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(sink))),
            Encoding::Zstd => Self::Zstd(Box::new(Zstd::new(sink).map_err(|error| {
                Refusal::new(Class::Internal, format!("cannot start zstd: {error}"))
            })?)),
        })
    }

    /// Makes room for a body of this size as sent, where that is its size in memory too.
    pub(super) fn announce(&mut self, bytes: usize) -> Result<(), Refusal> {
        match self {
            Self::Identity(sink) => sink.reserve(bytes.min(ANNOUNCED_BYTES_MAX).min(sink.limit)),
            Self::Gzip(_) | Self::Zstd(_) => Ok(()),
        }
    }

    /// Takes the next piece of the body as sent.
    pub(super) fn write(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        let written = match self {
            Self::Identity(sink) => sink.write_all(piece),
            Self::Gzip(decoder) => decoder.write_all(piece),
            Self::Zstd(zstd) => zstd.write_all(piece),
        };
        written.map_err(|error| self.refusal(&error))
    }

    /// The whole body and its charge.
    pub(super) fn finish(mut self) -> Result<(Vec<u8>, Charge), Refusal> {
        let ended = match &mut self {
            Self::Identity(_) => Ok(()),
            Self::Gzip(decoder) => decoder.try_finish(),
            Self::Zstd(zstd) => zstd.ended(),
        };
        ended.map_err(|error| self.refusal(&error))?;
        let name = self.name();
        let sink = match self {
            Self::Identity(sink) => sink,
            Self::Gzip(decoder) => decoder.finish().map_err(|error| corrupt(name, &error))?,
            Self::Zstd(zstd) => zstd.sink,
        };
        Ok((sink.bytes, sink.charge))
    }

    fn refusal(&mut self, error: &io::Error) -> Refusal {
        let sink = match self {
            Self::Identity(sink) => sink,
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zstd(zstd) => &mut zstd.sink,
        };
        let full = sink.full.take();
        full.unwrap_or_else(|| corrupt(self.name(), error))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Identity(_) => "body",
            Self::Gzip(_) => "gzip body",
            Self::Zstd(_) => "zstd body",
        }
    }
}

fn corrupt(name: &str, error: &io::Error) -> Refusal {
    let why = match error.kind() {
        io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
        _ => error.to_string(),
    };
    Refusal::invalid(format!(
        "cannot decompress the {name}: {why}; send it whole, or leave the encoding out if it is not compressed"
    ))
}

/// Where decompressed bytes go: a vector that refuses to grow past the limit.
#[derive(Debug)]
pub(super) struct Sink {
    bytes: Vec<u8>,
    limit: usize,
    charge: Charge,
    /// Why the last write was refused; an `io::Error` has no room for it.
    full: Option<Refusal>,
}

impl Sink {
    /// Makes room, doubling, and charges for all of the room, not only for what is used of it.
    fn reserve(&mut self, needed: usize) -> Result<(), Refusal> {
        if needed > self.limit {
            return Err(Refusal::new(
                Class::TooLarge,
                format!(
                    "the body is larger than the limit of {} bytes after decompression; send smaller batches",
                    self.limit
                ),
            ));
        }
        let room = self.bytes.capacity();
        if needed > room {
            let larger = needed.max(room * 2).min(self.limit);
            self.charge.grow(larger - room)?;
            self.bytes.reserve_exact(larger - self.bytes.len());
        }
        Ok(())
    }
}

impl Write for Sink {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if let Err(refusal) = self.reserve(self.bytes.len() + piece.len()) {
            self.full = Some(refusal);
            return Err(io::Error::other("over the limit"));
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// zstd frames in pieces.
pub(super) struct Zstd {
    decoder: Decoder<'static>,
    piece: Vec<u8>,
    frame_open: bool,
    sink: Sink,
}

impl Zstd {
    /// A frame may ask for a window as large as the largest body, and always for what RFC 9659 grants.
    fn new(sink: Sink) -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        let window_log = sink.limit.max(ZSTD_WINDOW_BYTES).ilog2().min(ZSTD_WINDOW_LOG_MAX);
        decoder.set_parameter(DParameter::WindowLogMax(window_log))?;
        Ok(Self { decoder, piece: vec![0; ZSTD_PIECE_BYTES], frame_open: false, sink })
    }

    fn write_all(&mut self, mut input: &[u8]) -> io::Result<()> {
        loop {
            let step = self.decoder.run_on_buffers(input, &mut self.piece)?;
            let output = self.piece.get(..step.bytes_written).unwrap_or_default();
            self.sink.write_all(output)?;
            self.frame_open = step.remaining != 0;
            input = input.get(step.bytes_read..).unwrap_or_default();
            let drained = step.bytes_written < self.piece.len();
            if input.is_empty() && drained {
                return Ok(());
            }
        }
    }

    fn ended(&self) -> io::Result<()> {
        if self.frame_open { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
