//! A running store's share in the upkeep of its tables, and what other nodes did to them.

use std::pin::pin;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::commit::table_error;
use super::{Core, Store};
use crate::delta::TableHandle;
use crate::error::StoreError;
use crate::maintenance::{Maintainer, TableUpkeep, hours, kept_with, lease};
use crate::schema::Table;
use crate::snapshot::DataFile;
use crate::time::UnixNanos;

impl Store {
    /// Keeps the tables at every interval until `stop` is ready. What fails is logged and tried again
    /// at the next interval.
    pub async fn keep(
        &self,
        clock: impl Fn() -> UnixNanos + Send,
        stop: impl Future<Output = ()> + Send,
    ) {
        let interval = self.core.options.maintenance.interval;
        let mut stop = pin!(stop);
        if interval.is_zero() {
            return stop.await;
        }
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first comes at once, while a server has other things to do.
        ticks.tick().await;
        let mut maintainer = Maintainer::default();
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return,
                _ = ticks.tick() => {}
            }
            tokio::select! {
                biased;
                () = &mut stop => return,
                () = self.core.keep_traces(clock()) => {}
            }
            for table in Table::ALL {
                // A round ends at a table; what it was doing there is left to the next start.
                tokio::select! {
                    biased;
                    () = &mut stop => return,
                    () = self.core.keep_table(&mut maintainer, table, clock()) => {}
                }
            }
        }
    }

    /// Keeps every table once, as of `now`.
    pub async fn keep_once(&self, now: UnixNanos) {
        let mut maintainer = Maintainer::default();
        self.core.keep_traces(now).await;
        for table in Table::ALL {
            self.core.keep_table(&mut maintainer, table, now).await;
        }
    }

    /// Whether this node, of all that write to the tables, is the one to do what is done once: it takes or
    /// renews the lease of a table, which is given up when the store is closed.
    pub async fn keeps(&self, table: Table, now: UnixNanos) -> Result<bool, StoreError> {
        self.core.has_lease(table, now).await
    }

    /// Makes the hours that are due, without waiting for more minutes of their dates. Gives the number of
    /// dates, by table counted; tables that another node keeps are left to it.
    pub async fn roll_up_hours(&self, now: UnixNanos) -> Result<u64, StoreError> {
        let mut dates = 0;
        for table in Table::ALL {
            let Some(minutes) = table.minutes() else { continue };
            if !self.core.has_lease(table, now).await? {
                continue;
            }
            let made = async {
                let open =
                    async |table| TableHandle::open(&self.core.folder.table(table), table).await;
                let (stored, spans) = (open(minutes).await?, open(Table::Spans).await?);
                let minutes = hours::Minutes { stored: &stored, spans: Some(&spans) };
                hours::roll_up(minutes, &mut open(table).await?, now, &|_| true).await
            };
            let made = made.await;
            self.core.refresh_table(table).await?;
            dates += made.map_err(table_error("roll up", table))?.len() as u64;
        }
        Ok(dates)
    }

    /// Reads what other nodes commit, at every interval until `stop` is ready. A folder has one writer,
    /// so there is nothing to read.
    pub async fn follow(&self, stop: impl Future<Output = ()> + Send) {
        let mut stop = pin!(stop);
        if self.core.folder.tables().local().is_some() {
            return stop.await;
        }
        let interval = self.core.options.refresh_interval.max(Duration::from_millis(1));
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return,
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.refresh().await {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(
                    error,
                    "what other nodes committed could not be read; it is tried again"
                );
            }
        }
    }

    /// Reads what other nodes committed so far.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        for table in Table::ALL {
            self.core.refresh_table(table).await?;
        }
        Ok(())
    }
}

impl Core {
    async fn keep_table(&self, maintainer: &mut Maintainer, table: Table, now: UnixNanos) {
        let done = match self.try_keep_table(maintainer, table, now).await {
            Ok(Some(done)) => done,
            Ok(None) => return,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(
                    error,
                    table = table.name(),
                    "a table was not kept; it is tried again"
                );
                TableUpkeep { failures: 1, ..TableUpkeep::default() }
            }
        };
        let mut all = self.upkeep.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry(table).or_default() += done;
    }

    /// `None` while another node keeps the table.
    async fn try_keep_table(
        &self,
        maintainer: &mut Maintainer,
        table: Table,
        now: UnixNanos,
    ) -> Result<Option<TableUpkeep>, StoreError> {
        let is_there = !table.is_former() || self.writers.lock().await.contains_key(&table);
        if !is_there || !self.has_lease(table, now).await? {
            return Ok(None);
        }
        let (tables, options) = (self.folder.tables(), &self.options.maintenance);
        let repairer = self.repairer.lock().await;
        let may_go = |file: &DataFile| repairer.has_seen(table, file);
        let kept = maintainer.keep((tables, table), &may_go, options, now).await;
        drop(repairer);
        // Also after a failure: a part may have been done.
        self.refresh_table(table).await?;
        kept.map(Some).map_err(table_error("keep", table))
    }

    /// Takes or renews the lease by which a table is kept.
    pub(super) async fn has_lease(&self, table: Table, now: UnixNanos) -> Result<bool, StoreError> {
        let kept_with = kept_with(table);
        let is_ours = lease::take(&self.folder.table(kept_with), &self.node, now).await;
        let is_ours = is_ours.map_err(|source| StoreError::Lease { table, source })?;
        if is_ours {
            self.leases.lock().unwrap_or_else(PoisonError::into_inner).insert(kept_with);
        }
        Ok(is_ours)
    }

    /// Gives up the leases that this node took. One that cannot be given up runs out.
    pub(super) async fn release_leases(&self) {
        let taken =
            std::mem::take(&mut *self.leases.lock().unwrap_or_else(PoisonError::into_inner));
        for table in taken {
            if let Err(error) = lease::release(&self.folder.table(table), &self.node).await {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(
                    error,
                    table = table.name(),
                    "a lease was not given up; it runs out"
                );
            }
        }
    }

    /// Shows what is in the log of a table and was not committed here.
    pub(super) async fn refresh_table(&self, table: Table) -> Result<(), StoreError> {
        let mut writers = self.writers.lock().await;
        let Some(writer) = writers.get_mut(&table) else { return Ok(()) };
        if writer.is_doubtful {
            // Its rows may be in the table and in memory; the next commit finds out.
            return Ok(());
        }
        let is_behind = writer.handle.refresh_if_behind().await;
        if is_behind.map_err(table_error("read", table))? {
            self.shared.lock().replaced(table, writer.handle.files());
        }
        Ok(())
    }
}
