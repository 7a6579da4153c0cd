//! The minutes whose rollups may not be those of the rows: an object beside the table `spans`, written
//! before rows are replaced, and emptied when the rollups are right again.

use object_store::path::Path as ObjectPath;
use object_store::{Error, ObjectStoreExt, PutPayload};
use serde_json::{Value, json};

use super::rows::Minutes;
use crate::place::Place;

/// Vacuuming passes over names that begin with `_`.
const PATH: &str = "_upriver/repair.json";

/// The minutes that are noted. A note that cannot be read notes nothing: it is written as a whole.
pub(super) async fn read(spans: &Place) -> Result<Minutes, Error> {
    let content = match spans.objects().get(&ObjectPath::from(PATH)).await {
        Ok(found) => found.bytes().await?,
        Err(Error::NotFound { .. }) => return Ok(Minutes::new()),
        Err(error) => return Err(error),
    };
    let note: Value = serde_json::from_slice(&content).unwrap_or_default();
    let minutes = note["minutes"].as_array().into_iter().flatten();
    Ok(minutes.filter_map(Value::as_i64).collect())
}

/// Notes these minutes and no others.
pub(super) async fn write(spans: &Place, minutes: &Minutes) -> Result<(), Error> {
    let content = json!({ "minutes": minutes }).to_string();
    spans.objects().put(&ObjectPath::from(PATH), PutPayload::from(content)).await?;
    Ok(())
}
