//! The log at start: which frames are there, what a crash cut off, and what must not be passed over.

use std::fs::{self, File, OpenOptions};
use std::path::Path;

use super::frame::Frame;
use super::segment::{Damage, Scan, Segment, list};
use crate::error::StoreError;

/// A segment that is no longer written to.
#[derive(Debug)]
pub(crate) struct ClosedSegment {
    pub(crate) segment: Segment,
    pub(crate) last_sequence: u64,
    pub(crate) bytes: u64,
}

/// What the log held at start.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// The segments, oldest first.
    pub(crate) closed: Vec<ClosedSegment>,
    /// The sequence after the last frame; 0 for an empty log.
    pub(crate) next_sequence: u64,
    /// Whether something unreadable was passed over. Then the sequences have holes, and the log has
    /// to be committed and removed before anything is appended.
    pub(crate) was_repaired: bool,
}

/// Visits every frame of the log. A write that a crash cut off at the very end is removed; other
/// damage is refused unless `repair`, which sets a copy aside and goes on behind it.
pub(crate) fn recover(
    folder: &Path,
    repair: bool,
    mut visit: impl FnMut(&Frame) -> Result<(), StoreError>,
) -> Result<Recovered, StoreError> {
    let mut recovery = Recovery { repair, recovered: Recovered::default() };
    let segments = list(folder)?;
    let (last, count) = (segments.last().cloned(), segments.len());
    for (segment, number) in segments.into_iter().zip(1..) {
        if count > 1 {
            tracing::info!(name: "store.wal.replay", segment = number, of = count, "store.wal.replay");
        }
        let is_last = last.as_ref() == Some(&segment);
        let Some(scan) = segment.scan()? else { continue };
        recovery.expect(&segment)?;
        let frames = recovery.frames_of(&segment, scan, is_last)?;
        let recovered = &mut recovery.recovered;
        for frame in frames.iter().filter(|frame| frame.sequence >= recovered.next_sequence) {
            visit(frame)?;
        }
        let Some(newest) = frames.last() else {
            remove_empty(&segment)?;
            continue;
        };
        let last_sequence = newest.sequence.max(recovered.next_sequence.saturating_sub(1));
        let bytes = frames.iter().map(|frame| frame.stored_bytes() as u64).sum();
        recovered.next_sequence = last_sequence + 1;
        recovered.closed.push(ClosedSegment { segment, last_sequence, bytes });
    }
    Ok(recovery.recovered)
}

/// What was recovered so far, and whether to go on behind damage.
struct Recovery {
    repair: bool,
    recovered: Recovered,
}

impl Recovery {
    /// Segments follow each other without a hole; a hole is a lost file.
    fn expect(&mut self, segment: &Segment) -> Result<(), StoreError> {
        let (expected, found) = (self.recovered.next_sequence, segment.first_sequence);
        if self.recovered.closed.is_empty() || found == expected {
            return Ok(());
        }
        let reason = format!("it begins with record {found}, but record {expected} should follow");
        if !self.repair {
            return Err(StoreError::LogDamaged { path: segment.path.clone(), offset: 0, reason });
        }
        tracing::error!(segment = %segment.path.display(), reason, "going on with a damaged log");
        self.recovered.was_repaired = true;
        Ok(())
    }

    fn frames_of(
        &mut self,
        segment: &Segment,
        scan: Scan,
        is_last: bool,
    ) -> Result<Vec<Frame>, StoreError> {
        let Some(damage) = scan.damage else { return Ok(scan.frames) };
        if is_last && !damage.was_synced {
            cut(segment, scan.good_bytes, &damage)?;
            return Ok(scan.frames);
        }
        let frames = beyond(segment, scan.frames, damage, self.repair)?;
        self.recovered.was_repaired = true;
        set_aside(segment)?;
        Ok(frames)
    }
}

/// Visits the frames of a log that somebody else may be writing, and changes nothing. Segments may
/// vanish meanwhile: then their rows are in the tables, which are to be read afterwards.
pub(crate) fn read_only(
    folder: &Path,
    repair: bool,
    mut visit: impl FnMut(&Frame) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let segments = list(folder)?;
    let last = segments.last().cloned();
    for segment in segments {
        let is_last = last.as_ref() == Some(&segment);
        let Some(scan) = segment.scan()? else { continue };
        let frames = match scan.damage {
            Some(damage) if !is_last || damage.was_synced => {
                beyond(&segment, scan.frames, damage, repair)?
            }
            Some(_) | None => scan.frames,
        };
        frames.iter().try_for_each(&mut visit)?;
    }
    Ok(())
}

/// The frames on both sides of the damage, if that is wanted.
fn beyond(
    segment: &Segment,
    mut frames: Vec<Frame>,
    damage: Damage,
    repair: bool,
) -> Result<Vec<Frame>, StoreError> {
    let Damage { offset, reason, frames_after, .. } = damage;
    let path = segment.path.clone();
    if !repair {
        return Err(StoreError::LogDamaged { path, offset, reason });
    }
    tracing::error!(
        segment = %path.display(),
        offset,
        reason,
        readable_behind = frames_after.len(),
        "going on with a damaged log"
    );
    frames.extend(frames_after);
    Ok(frames)
}

/// Removes what a crash left of a write that nobody was told had succeeded.
fn cut(segment: &Segment, good_bytes: u64, damage: &Damage) -> Result<(), StoreError> {
    let path = &segment.path;
    tracing::warn!(
        segment = %path.display(),
        offset = damage.offset,
        reason = damage.reason,
        "cutting an unfinished write off the end of the log"
    );
    let file = OpenOptions::new().write(true).open(path);
    let file = file.map_err(StoreError::folder("open", path))?;
    file.set_len(good_bytes).map_err(StoreError::folder("shorten", path))?;
    file.sync_all().map_err(StoreError::folder("sync", path))
}

/// Keeps a copy of a damaged segment for whoever wants to look at it.
fn set_aside(segment: &Segment) -> Result<(), StoreError> {
    let copy = segment.path.with_extension("damaged");
    fs::copy(&segment.path, &copy).map_err(StoreError::folder("copy a damaged log to", &copy))?;
    Ok(())
}

fn remove_empty(segment: &Segment) -> Result<(), StoreError> {
    fs::remove_file(&segment.path).map_err(StoreError::folder("remove", &segment.path))
}

/// Makes created, renamed and removed files of a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    // Folders cannot be opened for this elsewhere; there the file system is trusted.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
