//! Which node keeps a table: an object beside it that names the node and an end, written only where it
//! is as it was read.

use std::time::Duration;

use object_store::path::Path as ObjectPath;
use object_store::{
    Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion,
};
use serde_json::{Value, json};

use crate::place::Place;
use crate::time::UnixNanos;

/// Vacuuming passes over names that begin with `_`.
const LEASE_PATH: &str = "_upriver/maintenance.json";
/// A round over a large table may take minutes.
const HELD_FOR: Duration = Duration::from_mins(10);
/// By how much clocks of nodes may differ.
const CLOCKS_DIFFER: Duration = Duration::from_secs(30);

/// Takes or renews the lease of a table for this node. False while another has it.
pub(crate) async fn take(place: &Place, node: &str, now: UnixNanos) -> Result<bool, Error> {
    // A folder has one writer already, by the lock on it.
    if place.local().is_some() {
        return Ok(true);
    }
    let objects = place.objects();
    let path = ObjectPath::from(LEASE_PATH);
    let mode = match objects.get(&path).await {
        Ok(found) => {
            let version = UpdateVersion {
                e_tag: found.meta.e_tag.clone(),
                version: found.meta.version.clone(),
            };
            let lease = found.bytes().await?;
            if is_held_by_another(&lease, node, now) {
                return Ok(false);
            }
            PutMode::Update(version)
        }
        Err(Error::NotFound { .. }) => PutMode::Create,
        Err(error) => return Err(error),
    };
    let end = now.0.saturating_add(nanos(HELD_FOR));
    let content = json!({ "node": node, "until_unix_nano": end }).to_string();
    let options = PutOptions { mode, ..PutOptions::default() };
    match objects.put_opts(&path, PutPayload::from(content), options).await {
        Ok(_) => Ok(true),
        Err(Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotFound { .. }) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Gives up the lease of a table, if this node has it: another need not wait for its end.
pub(crate) async fn release(place: &Place, node: &str) -> Result<(), Error> {
    if place.local().is_some() {
        return Ok(());
    }
    let objects = place.objects();
    let path = ObjectPath::from(LEASE_PATH);
    let found = match objects.get(&path).await {
        Ok(found) => found,
        Err(Error::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    let version =
        UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
    let lease: Value = serde_json::from_slice(&found.bytes().await?).unwrap_or_default();
    if lease["node"].as_str() != Some(node) {
        return Ok(());
    }
    let content = json!({ "node": null, "until_unix_nano": 0 }).to_string();
    let options = PutOptions { mode: PutMode::Update(version), ..PutOptions::default() };
    match objects.put_opts(&path, PutPayload::from(content), options).await {
        // Somebody else has it by now.
        Ok(_) | Err(Error::Precondition { .. } | Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A lease that cannot be read is nobody's.
fn is_held_by_another(lease: &[u8], node: &str, now: UnixNanos) -> bool {
    let lease: Value = serde_json::from_slice(lease).unwrap_or_default();
    let (Some(holder), Some(until)) = (lease["node"].as_str(), lease["until_unix_nano"].as_i64())
    else {
        return false;
    };
    holder != node && now.0 < until.saturating_add(nanos(CLOCKS_DIFFER))
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
