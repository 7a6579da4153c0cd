//! What must hold on the checkout incident, and what must not be said of its variants.

use anyhow::Result;
use upriver_rules::diagnosis::document::{Diagnosis, Verdict};
use upriver_rules::{DiagnoseRequest, diagnose, render};
use upriver_testdata::scenario::Variant;

use crate::incident::{Incident, MINUTE};

async fn diagnosis(incident: &Incident, partitions: usize) -> Result<Diagnosis> {
    let request = DiagnoseRequest::new(incident.at());
    Ok(diagnose(&incident.session(partitions)?, &request).await?)
}

/// The diagnosis says what the label says is true.
async fn agrees_with_label(variant: Variant) -> Result<Diagnosis> {
    let incident = Incident::new(variant, MINUTE)?;
    let found = diagnosis(&incident, 2).await?;
    let expected = &incident.label.expected;
    let page = render::text(&found);
    assert!(expected.verdict.iter().any(|verdict| verdict == found.verdict.name()), "{page}");
    let deploy = found.root_cause.as_ref().and_then(|cause| cause.deploy.as_ref());
    if let Some(deploy) = deploy {
        assert!(!expected.no_deploy_blame, "{page}");
        assert!(!expected.must_not_blame.contains(&deploy.id), "{page}");
    }
    assert!(found.root_cause.as_ref().is_none_or(|cause| cause.confidence <= 0.95), "{page}");
    Ok(found)
}

#[tokio::test]
async fn the_deploy_of_inventory_is_blamed_on_any_partitioning() -> Result<()> {
    let found = agrees_with_label(Variant::Checkout).await?;
    let incident = Incident::new(Variant::Checkout, MINUTE)?;
    let expected = incident.label.expected.root_cause.clone();
    let (cause, expected) = (found.root_cause.clone().unwrap(), expected.unwrap());
    assert_eq!(cause.kind.name(), expected.kind);
    assert_eq!(cause.service, expected.service);
    assert_eq!(cause.deploy.map(|deploy| deploy.id), expected.deploy_id);
    let alone = diagnosis(&incident, 1).await?;
    assert_eq!(serde_json::to_string(&alone)?, serde_json::to_string(&found)?);
    Ok(())
}

#[tokio::test]
async fn an_inflation_before_the_deploy_is_not_the_deploys() -> Result<()> {
    agrees_with_label(Variant::InflationBeforeDeploy).await?;
    Ok(())
}

#[tokio::test]
async fn a_deploy_without_inflation_is_healthy() -> Result<()> {
    let found = agrees_with_label(Variant::DeployWithoutInflation).await?;
    assert_eq!(found.verdict, Verdict::Healthy);
    Ok(())
}

#[tokio::test]
async fn an_inflation_without_a_deploy_blames_none() -> Result<()> {
    agrees_with_label(Variant::InflationWithoutDeploy).await?;
    Ok(())
}

#[tokio::test]
async fn hostile_names_change_nothing() -> Result<()> {
    let found = agrees_with_label(Variant::HostileNames).await?;
    assert!(found.root_cause.is_some());
    for page in [render::text(&found), render::markdown(&found)] {
        let broken = page.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(broken, None, "{page}");
    }
    Ok(())
}
