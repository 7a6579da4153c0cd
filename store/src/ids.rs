//! Ids that are hashes of content, never random and never by arrival.

use sha2::{Digest, Sha256};

/// Sixteen hexadecimal digits over the parts, each taken with its length, so that `("ab", "c")` and
/// `("a", "bc")` differ.
pub fn content_id<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The id of a change: a hash of service, environment, kind, version and start.
pub fn deploy_id(
    service: &str,
    environment: &str,
    kind: &str,
    version: &str,
    start_unix_nano: i64,
) -> String {
    content_id([service, environment, kind, version, &start_unix_nano.to_string()])
}
