//! `upriver deploy`: changes to services.

use upriver_analyze::literal;

use crate::args::DeployListArgs;
use crate::output::Output;
use crate::run::Outcome;
use crate::target::{self, Target};

/// Lists the changes, explicit and inferred, oldest first.
pub(crate) async fn list(args: DeployListArgs, output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let target = Target::open(&args.source).await?;
    let only = args
        .service
        .as_deref()
        .map(|service| format!("WHERE service_name = {}", literal::text(service)))
        .unwrap_or_default();
    let rows = target.query(&format!("{COLUMNS} {only} ORDER BY start_unix_nano, id")).await?;
    target::write_rows(&rows, args.format, output)?;
    Ok(Outcome::Done)
}

const COLUMNS: &str = "\
SELECT id, service_name AS service, service_version AS version, previous_version, \
deployment_environment_name AS environment, kind, time, \
to_timestamp_nanos(end_unix_nano) AS end_time, source, commit, url FROM changes";
