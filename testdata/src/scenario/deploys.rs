//! A change to a service, as a delivery pipeline reports it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A line of `deploys.jsonl`, and the body of a deploy event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deploy {
    /// Service that changed.
    pub service: String,
    /// Version after the change.
    pub version: String,
    /// Version before it.
    pub previous_version: String,
    /// Environment.
    pub environment: String,
    /// `deploy` or `rollback`.
    pub kind: String,
    /// Start of the rollout, in nanoseconds since 1970.
    pub time_unix_nano: i64,
    /// End of the rollout.
    pub end_unix_nano: i64,
    /// Commit of the version.
    pub commit: String,
    /// Where the change can be looked up.
    pub url: String,
    /// What changed.
    pub description: String,
}

impl Deploy {
    /// The id under which the change must be known: the first eight bytes of SHA-256 over service,
    /// environment, kind, version and start, each after its length in eight bytes, in hexadecimal.
    pub fn id(&self) -> String {
        let start = self.time_unix_nano.to_string();
        let mut hash = Sha256::new();
        for part in [&self.service, &self.environment, &self.kind, &self.version, &start] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let first = hash.finalize().iter().take(8).fold(0, |id, byte| id << 8 | u64::from(*byte));
        format!("{first:016x}")
    }
}
