//! Files of a local folder that the operating system has in memory: they are read where they are asked for.
//!
//! Other reads go to a thread of their own, since a disk may take its time. That thread has to be woken, and then
//! the one that waits: a seventh of the time of looking up a trace, a twentieth of that of aggregates over two
//! hours (five million spans, two processors). Linux says of a read whether it would have to wait
//! (`RWF_NOWAIT`, preadv2(2)).

use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;

/// A file that may be in memory.
#[derive(Debug)]
pub(super) struct CachedFile {
    path: PathBuf,
    file: Option<File>,
}

impl CachedFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// The bytes; `None` where they are not all in memory, or not all there.
    pub(super) fn read(&mut self, ranges: &[Range<u64>]) -> Option<Vec<Bytes>> {
        let file = match &mut self.file {
            Some(file) => file,
            unopened => unopened.insert(File::open(&self.path).ok()?),
        };
        ranges.iter().map(|range| read_at_once(file, range)).collect()
    }
}

#[cfg(target_os = "linux")]
fn read_at_once(file: &File, range: &Range<u64>) -> Option<Bytes> {
    use std::io::IoSliceMut;

    use rustix::io::{ReadWriteFlags, preadv2};

    let mut bytes = vec![0; usize::try_from(range.end.checked_sub(range.start)?).ok()?];
    let buffers = &mut [IoSliceMut::new(&mut bytes)];
    let read = preadv2(file, buffers, range.start, ReadWriteFlags::NOWAIT).ok()?;
    (read == bytes.len()).then(|| bytes.into())
}

#[cfg(not(target_os = "linux"))]
fn read_at_once(_file: &File, _range: &Range<u64>) -> Option<Bytes> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_the_file_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let content: Vec<_> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(&path, &content).unwrap();
        let mut file = CachedFile::new(path);
        assert_eq!(file.read(&[0..4, 399_990..400_001]), None, "behind its end");
        assert_eq!(file.read(&[0..4, 500_000..500_001]), None, "behind its end");
        assert_eq!(CachedFile::new(folder.path().join("another")).read(&[0..4, 4..8]), None);
        let Some(parts) = file.read(&[0..4, 70_001..300_000, 8..8]) else {
            return eprintln!("left out: this file system does not say what is in memory");
        };
        assert_eq!(parts, [&content[..4], &content[70_001..300_000], &[]]);
    }
}
