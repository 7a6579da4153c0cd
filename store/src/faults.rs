//! What tests let go wrong in a running store. Nothing by default.

use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

/// Room on the disk of the tables, as far as a test limits it.
#[derive(Clone, Debug, Default)]
pub struct DiskRoom(Option<Arc<AtomicI64>>);

impl DiskRoom {
    /// So many bytes; clones share them.
    pub fn of(bytes: i64) -> Self {
        Self(Some(Arc::new(AtomicI64::new(bytes))))
    }

    /// There are so many bytes now.
    pub fn set(&self, bytes: i64) {
        if let Some(room) = &self.0 {
            room.store(bytes, Ordering::SeqCst);
        }
    }

    /// Takes the room for bytes that are to be written; an error where there is too little.
    pub(crate) fn take(&self, bytes: usize) -> io::Result<()> {
        let Some(room) = &self.0 else { return Ok(()) };
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let left = room.fetch_sub(bytes, Ordering::SeqCst) - bytes;
        if left < 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

/// Faults of a store, such as `sync-delay=500,abort-at=files-written:3`.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// How much longer every sync of the log takes.
    pub sync_delay: Duration,
    /// After how many bytes the disk of the tables is full.
    pub table_room: DiskRoom,
    abort: Option<Abort>,
}

/// The steps of a commit, after each of which a process can end. In this order, the middle three for
/// every table.
pub const STEPS: [&str; 6] =
    ["prepared", "files-written", "committed", "shown", "all-passed", "log-shortened"];

/// The steps of a repair, after each of which a process can end.
pub const REPAIR_STEPS: [&str; 4] =
    ["repair-files-written", "repair-noted", "repair-replaced", "repair-cleared"];

/// Ends the process, as a kill would, when a step of commits is reached for the nth time.
#[derive(Clone, Debug)]
struct Abort {
    step: &'static str,
    left: Arc<AtomicU32>,
}

impl Faults {
    /// Ends the process if that was asked for at this step.
    pub(crate) fn reached(&self, step: &'static str) {
        let Some(abort) = self.abort.as_ref().filter(|abort| abort.step == step) else { return };
        if abort.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            std::process::abort();
        }
    }
}

/// Why a text says no faults.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no fault; known are sync-delay=<milliseconds>, table-room=<bytes> and abort-at=<step>:<n>"
)]
pub struct UnknownFault(String);

impl FromStr for Faults {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut faults = Self::default();
        for fault in text.split(',') {
            faults.add(fault).ok_or_else(|| UnknownFault(fault.to_owned()))?;
        }
        Ok(faults)
    }
}

impl Faults {
    fn add(&mut self, text: &str) -> Option<()> {
        let (name, value) = text.split_once('=')?;
        match name {
            "sync-delay" => self.sync_delay = Duration::from_millis(value.parse().ok()?),
            "table-room" => self.table_room = DiskRoom::of(value.parse().ok()?),
            "abort-at" => {
                let (step, count) = value.split_once(':')?;
                let mut known = STEPS.iter().chain(&REPAIR_STEPS);
                let step = known.find(|known| **known == step)?;
                let left = Arc::new(AtomicU32::new(count.parse().ok()?));
                self.abort = Some(Abort { step, left });
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_and_unknown_ones_named() {
        let faults: Faults = "sync-delay=500,abort-at=files-written:3".parse().unwrap();
        assert_eq!(faults.sync_delay, Duration::from_millis(500));
        assert_eq!(faults.abort.map(|abort| abort.step), Some("files-written"));
        let faults: Faults = "abort-at=repair-noted:1".parse().unwrap();
        assert_eq!(faults.abort.map(|abort| abort.step), Some("repair-noted"));
        for wrong in ["", "sync-delay", "abort-at=nowhere:1", "abort-at=shown", "other=1"] {
            assert_eq!(wrong.parse::<Faults>().unwrap_err(), UnknownFault(wrong.to_owned()));
        }
    }
}
