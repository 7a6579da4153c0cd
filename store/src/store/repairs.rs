//! A running store's share in the repair of traces that came apart.

use std::sync::PoisonError;

use super::commit::CommitStep;
use super::{Core, Store};
use crate::error::StoreError;
use crate::maintenance::expired;
use crate::repair::{self, CONCERNED, RepairReport, RepairStep, Tables};
use crate::schema::Table;
use crate::time::UnixNanos;

impl Store {
    /// Completes spans whose parents or children were committed apart from them, and makes what they were
    /// rolled up to again. `None` while another node keeps these tables.
    pub async fn repair(&self, now: UnixNanos) -> Result<Option<RepairReport>, StoreError> {
        self.core.repair(now).await
    }
}

impl Core {
    /// A round of repair; what fails is logged and tried again in the next one.
    pub(super) async fn keep_traces(&self, now: UnixNanos) {
        if let Err(error) = self.repair(now).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "traces were not put together; it is tried again");
            self.count_repair(RepairReport { failures: 1, ..RepairReport::default() });
        }
    }

    async fn repair(&self, now: UnixNanos) -> Result<Option<RepairReport>, StoreError> {
        if !self.has_lease(Table::Spans, now).await? {
            return Ok(None);
        }
        let mut repairer = self.repairer.lock().await;
        let on_step = |step: RepairStep| self.reached(CommitStep::Repair(step));
        let mut tables = Tables::open(&self.folder).await?;
        let mut report = repairer.look(&mut tables, &on_step).await?;
        let limit = self.options.maintenance.retention.of(Table::Spans);
        repair::store_minutes(&mut tables, |files| expired(files, limit, now), &on_step).await?;
        if tables.has_noted() {
            // Between two commits of this node, whose tables are then equally far.
            let between = self.writers.lock().await;
            tables.refresh().await?;
            drop(between);
            report += repair::recompute(&mut tables, &on_step).await?;
        }
        for table in CONCERNED {
            self.refresh_table(table).await?;
        }
        self.count_repair(report);
        Ok(Some(report))
    }

    fn count_repair(&self, report: RepairReport) {
        *self.repaired.lock().unwrap_or_else(PoisonError::into_inner) += report;
    }
}
