//! The start of a store: its folder, its tables, and what the log still holds for them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::commit::{TableWriter, Writers, committed, table_error};
use super::prepare::{Enricher, Passed};
use super::replay::StoreReplay;
use super::state::{SharedState, State};
use super::{Core, Store, StoreOptions};
use crate::blocking;
use crate::delta::{TableError, TableHandle};
use crate::error::StoreError;
use crate::folder::{DataFolder, FolderLock};
use crate::record::Decode;
use crate::schema::Table;
use crate::wal::{self, Recovered, Wal, WalOptions};

impl Store {
    /// Opens the folder for writing, creating what is missing, and replays the log.
    pub async fn open(options: StoreOptions, decode: Decode) -> Result<Self, StoreError> {
        let folder = options.folder()?;
        let locked = folder.clone();
        let claim = move || Ok::<_, StoreError>((locked.lock()?, locked.node_or_new()?));
        let (lock, node) = blocking::run("locking the folder", claim).await??;
        let tables = open_tables(&folder).await?;
        let passed = passed(&tables, &node).await?;
        let core = core(options, folder, node, (tables, passed.clone()));
        let replay = StoreReplay::new(Arc::clone(&core), decode, passed.clone(), Handle::current());
        let wal_folder = core.folder.wal()?.to_owned();
        let recover = move || replay.recover(&wal_folder);
        let recovered = blocking::run("replaying the log", recover).await??;
        start(core, lock, &passed, recovered).await
    }
}

/// A store that shows what its tables have.
fn core(
    options: StoreOptions,
    folder: DataFolder,
    node: String,
    (tables, passed): (BTreeMap<Table, TableHandle>, Passed),
) -> Arc<Core> {
    let mut state = State::new(passed);
    let writers = writers(tables, &mut state);
    Arc::new(Core {
        shared: SharedState::new(folder.clone(), state, Enricher::default()),
        folder,
        node,
        options,
        writers: tokio::sync::Mutex::new(writers),
        over_limit: Notify::new(),
        commits: Mutex::default(),
        upkeep: Mutex::default(),
        leases: Mutex::default(),
        repairer: tokio::sync::Mutex::default(),
        repaired: Mutex::default(),
        #[cfg(test)]
        stop_at: Mutex::new(None),
    })
}

/// Goes on behind what was replayed. `passed` is what the tables had before.
async fn start(
    core: Arc<Core>,
    lock: FolderLock,
    passed: &Passed,
    mut recovered: Recovered,
) -> Result<Store, StoreError> {
    let has_log = !recovered.closed.is_empty();
    let newest_committed = Table::ALL.map(|table| passed.of(table)).into_iter().max();
    let after_committed = newest_committed.unwrap_or(0) + 1;
    // The log lost its end, which was committed already (no sync, then a loss of power), or
    // something in it could not be read.
    let has_hole = after_committed > recovered.next_sequence || recovered.was_repaired;
    recovered.next_sequence = recovered.next_sequence.max(after_committed);
    let newest = recovered.next_sequence - 1;
    let is_all_committed = core.shared.lock().hot.newest().is_none();
    let wal_options = WalOptions {
        folder: core.folder.wal()?.to_owned(),
        durability: core.options.durability,
        compression: core.options.wal_compression,
        segment_bytes_max: wal::SEGMENT_BYTES_MAX,
        disk: wal::Disk::with(&core.options.faults),
    };
    let delivered = Arc::clone(&core);
    let wal = Wal::start(wal_options, recovered, move |rows| delivered.deliver(rows))?;
    let store = Store { core, wal, _lock: lock };
    if has_log && (has_hole || is_all_committed) {
        store.core.commit_up_to(&store.wal, newest).await?;
        store.wal.clear(newest).await?;
    }
    Ok(store)
}

fn writers(tables: BTreeMap<Table, TableHandle>, state: &mut State) -> Writers {
    let mut writers = Writers::new();
    for (table, handle) in tables {
        state.replaced(table, handle.files());
        writers.insert(table, TableWriter::new(handle));
    }
    writers
}

/// Opens all tables at once, creating the missing ones that this version fills.
async fn open_tables(folder: &DataFolder) -> Result<BTreeMap<Table, TableHandle>, StoreError> {
    let mut opening = JoinSet::new();
    for table in Table::ALL {
        let place = folder.table(table);
        opening.spawn(async move {
            let opened = if table.is_former() {
                TableHandle::open_existing(&place, table).await
            } else {
                TableHandle::open_or_create(&place, table).await.map(Some)
            };
            (table, opened)
        });
    }
    gather(opening).await
}

/// Opens the tables that exist. Spans are last: what other tables have passed is then in them, also where they
/// are what minutes are made of.
pub(crate) async fn open_existing(
    folder: &DataFolder,
) -> Result<BTreeMap<Table, TableHandle>, StoreError> {
    let mut opening = JoinSet::new();
    for table in Table::ALL.into_iter().filter(|table| *table != Table::Spans) {
        let place = folder.table(table);
        opening.spawn(async move { (table, TableHandle::open_existing(&place, table).await) });
    }
    let mut tables = gather(opening).await?;
    let spans = TableHandle::open_existing(&folder.table(Table::Spans), Table::Spans).await;
    let spans = spans.map_err(table_error("open", Table::Spans))?;
    tables.extend(spans.map(|handle| (Table::Spans, handle)));
    Ok(tables)
}

/// The tables that are there.
async fn gather(
    mut opening: JoinSet<(Table, Result<Option<TableHandle>, TableError>)>,
) -> Result<BTreeMap<Table, TableHandle>, StoreError> {
    let mut tables = BTreeMap::new();
    while let Some(opened) = opening.join_next().await {
        let (table, opened) = opened.map_err(|_panic| StoreError::Stopped("opening a table"))?;
        let handle = opened.map_err(table_error("open", table))?;
        tables.extend(handle.map(|handle| (table, handle)));
    }
    Ok(tables)
}

/// How far this node's rows have come, by table.
pub(crate) async fn passed(
    tables: &BTreeMap<Table, TableHandle>,
    node: &str,
) -> Result<Passed, StoreError> {
    let mut passed = Passed::default();
    for (table, handle) in tables {
        passed.advance(*table, committed(*table, handle, node).await?);
        if *table == Table::Spans {
            passed.learn_from_spans(&handle.files(), node);
        }
    }
    Ok(passed)
}
