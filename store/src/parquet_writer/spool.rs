//! Bytes of a file that wait until it is their turn to be written to it.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::arrow::arrow_writer::{PageKey, PageStore, PageStoreArgs, PageStoreFactory};
use parquet::errors::{ParquetError, Result};
use tempfile::SpooledTempFile;

use crate::faults::DiskRoom;

/// What waits in memory; more of it is on the disk, in a file without a name.
const MEMORY_BYTES_MAX: usize = 4 << 20;

/// A place for bytes that is the end of the one before.
#[derive(Clone, Debug)]
pub(super) struct Spool(Arc<Mutex<Content>>);

#[derive(Debug)]
struct Content {
    bytes: SpooledTempFile,
    end: u64,
    room: DiskRoom,
}

/// Where bytes wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spooled {
    at: u64,
    length: usize,
}

impl Spool {
    /// An empty one, which takes its room from the disk of this folder.
    pub(super) fn new(folder: &Path, room: DiskRoom) -> Self {
        let bytes = SpooledTempFile::new_in(MEMORY_BYTES_MAX, folder);
        Self(Arc::new(Mutex::new(Content { bytes, end: 0, room })))
    }

    pub(super) fn put(&self, bytes: &[u8]) -> io::Result<Spooled> {
        let mut content = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if content.bytes.is_rolled() {
            content.room.take(bytes.len())?;
        }
        let at = content.end;
        content.bytes.seek(SeekFrom::Start(at))?;
        content.bytes.write_all(bytes)?;
        content.end += bytes.len() as u64;
        Ok(Spooled { at, length: bytes.len() })
    }

    pub(super) fn get(&self, spooled: Spooled) -> io::Result<Bytes> {
        let mut content = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = vec![0; spooled.length];
        content.bytes.seek(SeekFrom::Start(spooled.at))?;
        content.bytes.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

impl PageStoreFactory for Spool {
    fn create(&self, _column: &PageStoreArgs<'_>) -> Result<Box<dyn PageStore>> {
        Ok(Box::new(Pages { spool: self.clone(), pages: Vec::new() }))
    }
}

/// The pages of a column.
struct Pages {
    spool: Spool,
    pages: Vec<Spooled>,
}

impl PageStore for Pages {
    fn put(&mut self, page: Bytes) -> Result<PageKey> {
        self.pages.push(self.spool.put(&page)?);
        Ok(PageKey::new(self.pages.len() as u64 - 1))
    }

    fn take(&mut self, key: PageKey) -> Result<Bytes> {
        let place = usize::try_from(key.get()).ok().and_then(|place| self.pages.get(place));
        let unknown = || ParquetError::General(format!("there is no page {}", key.get()));
        Ok(self.spool.get(*place.ok_or_else(unknown)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_comes_back_from_memory_and_from_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path(), DiskRoom::default());
        let part = |number: u8| vec![number; 1 << 20];
        let places: Vec<_> = (0..9).map(|number| spool.put(&part(number)).unwrap()).collect();
        assert!(spool.0.lock().unwrap().bytes.is_rolled());
        for (number, place) in (0..9).zip(places) {
            assert_eq!(spool.get(place).unwrap(), part(number), "{number}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it has no name");
    }
}
