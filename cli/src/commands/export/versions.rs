//! The few spans that say which versions of services ran when: changes are inferred from them.
//!
//! The view `changes` looks at the minutes in which a version was seen: where another one follows it, how
//! long it was gone before, and whether the one before is seen 15 to 30 minutes later. So of each version
//! the first span of each minute is enough, and of minutes in which nothing turns for longer than that not
//! even these, but for the first one ever.

use upriver_store::batch::TableBatch;
use upriver_store::schema::Table;

use super::range::Range;
use super::rows::Source;

/// What is looked at around a turn from a version to another, in minutes: 30 after it, and what was there
/// before it.
const AROUND_MINUTES: u32 = 35;
/// Turns this far outside of a range have minutes in it.
const WIDENED: i64 = 60 * 60 * 1_000_000_000;

/// The spans of a range that say it.
pub(super) async fn spans(source: &Source, range: Range) -> anyhow::Result<TableBatch> {
    source.rows_where(Table::Spans, &condition(range)).await
}

fn condition(range: Range) -> String {
    let of_spans = range.condition(Table::Spans);
    let of_minutes = range.widened(WIDENED).condition(Table::OperationMinutes);
    // Other spans that happen to begin in the same nanosecond are as true.
    format!(
        "{of_spans} AND service_version IS NOT NULL AND start_unix_nano IN (\n{}\n)",
        minutes(&of_minutes)
    )
}

/// Minutes around turns, and the first of each version.
fn minutes(of_minutes: &str) -> String {
    let service = "service_name, deployment_environment_name";
    format!(
        "SELECT first_unix_nano FROM (\n  SELECT *, max(turned) OVER (PARTITION BY {service} ORDER BY minute\n    RANGE BETWEEN INTERVAL '{AROUND_MINUTES} minutes' PRECEDING AND INTERVAL '{AROUND_MINUTES} minutes' FOLLOWING) AS turns_near\n  FROM (\n    SELECT *, CASE WHEN before IS NULL OR before <> service_version THEN 1 ELSE 0 END AS turned FROM (\n      SELECT *, lag(service_version) OVER (PARTITION BY {service} ORDER BY minute, first_unix_nano, service_version) AS before FROM (\n        SELECT {service}, service_version, time AS minute, min(first_unix_nano) AS first_unix_nano FROM operation_minutes\n        WHERE service_version IS NOT NULL AND {of_minutes}\n        GROUP BY {service}, service_version, time\n      ) AS seen\n    ) AS in_order\n  ) AS turns\n) AS near WHERE turns_near = 1"
    )
}
