//! How long rows are kept. Whole partitions go, which rewrites nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::since;
use crate::schema::Table;
use crate::snapshot::DataFile;
use crate::time::UnixNanos;

const DAY_NANOS: i64 = 86_400_000_000_000;

const fn days(days: u64) -> Duration {
    Duration::from_hours(days * 24)
}

/// How long rows are kept, by what they are; `None` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Spans, their events, and body sizes.
    pub spans: Option<Duration>,
    /// Profiles.
    pub profiles: Option<Duration>,
    /// Points of metrics.
    pub metrics: Option<Duration>,
    /// Log records.
    pub logs: Option<Duration>,
    /// Minutes and hours of operations, edges and profiles: a year and a month, so that a month compares with last year's.
    pub rollups: Option<Duration>,
    /// Deploys and other changes, findings and diagnoses.
    pub changes: Option<Duration>,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            spans: Some(days(14)),
            profiles: Some(days(14)),
            metrics: Some(days(14)),
            logs: Some(days(7)),
            rollups: Some(days(400)),
            changes: Some(days(400)),
        }
    }
}

impl Retention {
    /// That of a table.
    pub fn of(&self, table: Table) -> Option<Duration> {
        match table {
            Table::Spans | Table::SpanEvents | Table::FormerPayloadSizes => self.spans,
            Table::Profiles
            | Table::ProfileSamples
            | Table::ProfileStacks
            | Table::ProfileStackFrames => self.profiles,
            Table::Metrics | Table::MetricHistograms => self.metrics,
            Table::Logs => self.logs,
            Table::OperationMinutes
            | Table::EdgeMinutes
            | Table::ProfileMinutes
            | Table::OperationHours
            | Table::EdgeHours
            | Table::ProfileHours => self.rollups,
            Table::Deploys | Table::Findings | Table::Diagnoses => self.changes,
        }
    }
}

/// The files of partitions that are past their retention: both the date and the newest file of it are
/// older than the limit, so that old data can be imported and looked at.
pub(crate) fn expired(
    files: &[DataFile],
    limit: Option<Duration>,
    now: UnixNanos,
) -> Vec<DataFile> {
    let Some(limit) = limit else { return Vec::new() };
    let mut newest = BTreeMap::<i32, i64>::new();
    for file in files {
        let known = newest.entry(file.date).or_insert(i64::MIN);
        *known = file.written_unix_ms.max(*known);
    }
    let is_past = |instant: i64| since(UnixNanos(instant), now) > limit;
    let is_expired = |file: &&DataFile| {
        let end_of_date = (i64::from(file.date) + 1).saturating_mul(DAY_NANOS);
        let written = newest.get(&file.date).copied().unwrap_or(i64::MAX);
        is_past(end_of_date) && is_past(written.saturating_mul(1_000_000))
    };
    files.iter().filter(is_expired).cloned().collect()
}
