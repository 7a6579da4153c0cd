//! What tests let go wrong in a running store. Nothing by default.

use std::time::Duration;

/// Faults of the disk below the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// How much longer every sync of the log takes.
    pub sync_delay: Duration,
}

/// Why a text says no faults.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no fault; known is sync-delay=<milliseconds>")]
pub struct UnknownFault(String);

impl std::str::FromStr for Faults {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let delay = text.strip_prefix("sync-delay=").and_then(|millis| millis.parse().ok());
        let millis = delay.ok_or_else(|| UnknownFault(text.to_owned()))?;
        Ok(Self { sync_delay: Duration::from_millis(millis) })
    }
}
