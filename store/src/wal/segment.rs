//! The files of the log, read only: what is in them and where they stop making sense.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::frame::{Frame, FrameError, next_start};
use crate::error::StoreError;

/// A file of the log. Its name carries the sequence of its first frame.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Segment {
    pub(crate) first_sequence: u64,
    pub(crate) path: PathBuf,
}

impl Segment {
    /// The segment that begins with this sequence.
    pub(crate) fn new(folder: &Path, first_sequence: u64) -> Self {
        // Padded, so that names sort as numbers do.
        Self { first_sequence, path: folder.join(format!("wal-{first_sequence:020}.log")) }
    }

    fn from_path(path: PathBuf) -> Option<Self> {
        let number = path.file_name()?.to_str()?.strip_prefix("wal-")?.strip_suffix(".log")?;
        Some(Self { first_sequence: number.parse().ok()?, path })
    }

    /// Reads all frames up to the first that is damaged. `None` if the file is gone: the writer
    /// removed it after its rows were committed.
    pub(crate) fn scan(&self) -> Result<Option<Scan>, StoreError> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(Some(Scan::of(&bytes.into(), self.first_sequence))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::folder("read", &self.path)(error)),
        }
    }
}

/// The segments in a folder, oldest first; none if there is no folder.
pub(crate) fn list(folder: &Path) -> Result<Vec<Segment>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::folder("list", folder)(error)),
    };
    let mut segments = Vec::new();
    for entry in entries {
        let entry = entry.map_err(StoreError::folder("list", folder))?;
        segments.extend(Segment::from_path(entry.path()));
    }
    segments.sort();
    Ok(segments)
}

/// What a segment holds.
#[derive(Debug)]
pub(crate) struct Scan {
    /// The frames up to the damage, or all of them.
    pub(crate) frames: Vec<Frame>,
    /// Their bytes in the file.
    pub(crate) good_bytes: u64,
    /// Where and why the frames end before the file does.
    pub(crate) damage: Option<Damage>,
}

/// A place at which a segment stops making sense.
#[derive(Debug)]
pub(crate) struct Damage {
    pub(crate) offset: u64,
    pub(crate) reason: String,
    /// Readable frames behind the place.
    pub(crate) frames_after: Vec<Frame>,
    /// Whether a sync came between the damaged bytes and a frame behind them. Then they had been
    /// acknowledged: this is no write that a crash cut off.
    pub(crate) was_synced: bool,
}

impl Scan {
    fn of(bytes: &Bytes, first_sequence: u64) -> Self {
        let mut frames: Vec<Frame> = Vec::new();
        let mut offset = 0;
        let mut reason = None;
        while offset < bytes.len() {
            let expected = first_sequence + frames.len() as u64;
            match read_expected(&bytes.slice(offset..), expected) {
                Ok(frame) => {
                    offset += frame.stored_bytes();
                    frames.push(frame);
                }
                Err(why) => {
                    reason = Some(why);
                    break;
                }
            }
        }
        let expected = first_sequence + frames.len() as u64;
        let damage = reason.map(|reason| Damage::at(bytes, offset, reason, expected));
        Self { frames, good_bytes: offset as u64, damage }
    }
}

impl Damage {
    fn at(bytes: &Bytes, offset: usize, reason: String, expected: u64) -> Self {
        let frames_after = frames_after(bytes, offset, expected);
        let was_synced = frames_after
            .iter()
            .any(|frame| frame.sequence.saturating_sub(frame.unsynced_before.into()) > expected);
        Self { offset: offset as u64, reason, frames_after, was_synced }
    }
}

fn read_expected(bytes: &Bytes, expected: u64) -> Result<Frame, String> {
    let frame = Frame::decode(bytes).map_err(|error: FrameError| error.to_string())?;
    if frame.sequence != expected {
        return Err(format!("record {} is where {expected} should be", frame.sequence));
    }
    Ok(frame)
}

/// Readable frames behind a damaged place, with rising sequences.
fn frames_after(bytes: &Bytes, damage: usize, expected: u64) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut from = damage + 1;
    while let Some(start) = next_start(bytes, from) {
        let next = frames.last().map_or(expected, |frame| frame.sequence + 1);
        match Frame::decode(&bytes.slice(start..)) {
            Ok(frame) if frame.sequence >= next => {
                from = start + frame.stored_bytes();
                frames.push(frame);
            }
            Ok(_) | Err(_) => from = start + 1,
        }
    }
    frames
}
