//! Watching the memory of the process, and committing early when it gets scarce.

use std::sync::Arc;
use std::time::Duration;

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use tokio_util::sync::CancellationToken;
use upriver_ingest::server::{MemoryLimits, MemoryMeter};
use upriver_store::store::Store;

use crate::config::MemoryMark;

/// How often the system is asked: at the rate at which a machine can take requests, memory grows by a
/// few ten MiB in between.
const SAMPLING: Duration = Duration::from_millis(100);

/// The marks in bytes. Shares are of what the process may take: its control group's limit, else the
/// machine's memory.
pub(super) fn limits([soft, hard]: [MemoryMark; 2]) -> MemoryLimits {
    let mut system = System::new();
    system.refresh_memory();
    let available = system.cgroup_limits().map_or(0, |limits| limits.total_memory);
    let available = if available > 0 { available } else { system.total_memory() };
    let bytes = |mark: MemoryMark| match mark {
        MemoryMark::Bytes(bytes) => bytes,
        // Unknown: no limit.
        MemoryMark::Percent(_) if available == 0 => u64::MAX,
        MemoryMark::Percent(percent) => available / 100 * u64::from(percent),
    };
    let hard = bytes(hard);
    MemoryLimits { soft: bytes(soft).min(hard), hard }
}

/// Tells the meter what the process takes, until `stop`.
pub(super) async fn watch(meter: Arc<MemoryMeter>, stop: CancellationToken) {
    let process = Pid::from_u32(std::process::id());
    let mut system = System::new();
    let mut ticks = tokio::time::interval(SAMPLING);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Some(bytes) = anonymous_bytes().or_else(|| resident_bytes(&mut system, process)) {
            meter.set_used(bytes);
        }
    }
}

/// Resident memory without pages of files, where the system tells it (Linux).
fn anonymous_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

fn resident_bytes(system: &mut System, process: Pid) -> Option<u64> {
    let memory = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[process]), true, memory);
    system.process(process).map(sysinfo::Process::memory)
}

/// Commits what is in memory whenever it is scarce, until `stop`: rows do not wait for the rest of their
/// traces then.
pub(super) async fn relieve(store: Arc<Store>, meter: Arc<MemoryMeter>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(SAMPLING);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if meter.is_scarce()
            && let Err(error) = store.flush().await
        {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(name: "server.memory.keep", error, "server.memory.keep: an early commit failed");
        }
    }
}
