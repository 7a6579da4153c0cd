//! The checkout incident in memory: the same document however the rows are cut, and whatever comes
//! later. What it says, of the variants too, is tested through the binary.

use anyhow::Result;
use upriver_rules::diagnosis::document::Diagnosis;
use upriver_rules::{DiagnoseRequest, diagnose, render};
use upriver_testdata::scenario::Variant;

use crate::incident::{Incident, MINUTE};

async fn diagnosis(incident: &Incident, partitions: usize) -> Result<Diagnosis> {
    let request = DiagnoseRequest::new(incident.at());
    Ok(diagnose(&incident.session(partitions)?, &request).await?)
}

#[tokio::test]
async fn the_deploy_of_inventory_is_blamed_on_any_partitioning() -> Result<()> {
    let incident = Incident::new(Variant::Checkout, 0)?;
    let found = diagnosis(&incident, 2).await?;
    let expected = incident.label.expected.root_cause.clone().unwrap();
    let page = render::text(&found);
    let cause = found.root_cause.clone().unwrap_or_else(|| panic!("{page}"));
    assert_eq!(cause.kind.name(), expected.kind, "{page}");
    assert_eq!(cause.service, expected.service, "{page}");
    assert_eq!(cause.deploy.map(|deploy| deploy.id), expected.deploy_id, "{page}");
    let alone = diagnosis(&incident, 1).await?;
    assert_eq!(serde_json::to_string(&alone)?, serde_json::to_string(&found)?);
    // What came later, the rollback and the recovery among it, changes nothing.
    let with_later = diagnosis(&Incident::new(Variant::Checkout, 39 * MINUTE)?, 2).await?;
    assert_eq!(serde_json::to_string(&with_later)?, serde_json::to_string(&found)?);
    Ok(())
}
