//! The start of a store: its folder, its tables, and what the log still holds for them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::commit::{TableWriter, Writers, committed, table_error};
use super::prepare::{Enricher, Passed};
use super::state::{SharedState, State};
use super::{Core, Store, StoreOptions, local_rows};
use crate::batch::TableBatch;
use crate::blocking;
use crate::delta::{TableError, TableHandle};
use crate::error::StoreError;
use crate::folder::{DataFolder, FolderLock};
use crate::hot_buffer::HotBatch;
use crate::record::{Decode, LogRecord};
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
        let replay = Replay::new(decode, passed.clone(), options.wal_repair);
        let wal_folder = folder.wal()?.to_owned();
        let recover = move || replay.recover(&wal_folder);
        let (replay, recovered) = blocking::run("replaying the log", recover).await??;
        let opened = Opened { folder, lock, node, tables, replay, recovered };
        opened.start(options).await
    }
}

/// All parts of a store that is about to start.
struct Opened {
    folder: DataFolder,
    lock: FolderLock,
    node: String,
    tables: BTreeMap<Table, TableHandle>,
    replay: Replay,
    recovered: Recovered,
}

impl Opened {
    async fn start(self, options: StoreOptions) -> Result<Store, StoreError> {
        let Self { folder, lock, node, tables, replay, mut recovered } = self;
        let has_log = !recovered.closed.is_empty();
        let Replay { mut state, enricher, passed, .. } = replay;
        let newest_committed = Table::ALL.map(|table| passed.of(table)).into_iter().max();
        let after_committed = newest_committed.unwrap_or(0) + 1;
        // The log lost its end, which was committed already (no sync, then a loss of power), or
        // something in it could not be read.
        let has_hole = after_committed > recovered.next_sequence || recovered.was_repaired;
        recovered.next_sequence = recovered.next_sequence.max(after_committed);
        let newest = recovered.next_sequence - 1;

        let is_all_committed = state.hot.newest().is_none();
        let writers = writers(tables, &mut state);
        let wal_options = WalOptions {
            folder: folder.wal()?.to_owned(),
            durability: options.durability,
            compression: options.wal_compression,
            segment_bytes_max: wal::SEGMENT_BYTES_MAX,
            disk: wal::Disk::with(&options.faults),
        };
        let core = Arc::new(Core {
            shared: SharedState::new(folder.clone(), state, enricher),
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
        });
        let delivered = Arc::clone(&core);
        let wal = Wal::start(wal_options, recovered, move |rows| delivered.deliver(rows))?;
        let store = Store { core, wal, _lock: lock };
        if has_log && (has_hole || is_all_committed) {
            store.core.commit_up_to(&store.wal, newest).await?;
            store.wal.clear(newest).await?;
        }
        Ok(store)
    }
}

fn writers(tables: BTreeMap<Table, TableHandle>, state: &mut State) -> Writers {
    let mut writers = Writers::new();
    for (table, handle) in tables {
        state.replaced(table, handle.files());
        writers.insert(table, TableWriter::new(handle));
    }
    writers
}

/// Opens all tables at once, creating the missing ones.
async fn open_tables(folder: &DataFolder) -> Result<BTreeMap<Table, TableHandle>, StoreError> {
    let mut opening = JoinSet::new();
    for table in Table::ALL {
        let place = folder.table(table);
        opening.spawn(async move { (table, TableHandle::open_or_create(&place, table).await) });
    }
    gather(opening).await
}

/// Opens the tables that exist.
pub(crate) async fn open_existing(
    folder: &DataFolder,
) -> Result<BTreeMap<Table, TableHandle>, StoreError> {
    let mut opening = JoinSet::new();
    for table in Table::ALL {
        let place = folder.table(table);
        opening.spawn(async move {
            let opened = match TableHandle::exists(&place, table).await {
                Ok(true) => TableHandle::open(&place, table).await.map(Some),
                Ok(false) => Ok(None),
                Err(error) => Err(error),
            };
            (table, opened)
        });
    }
    let tables = gather(opening).await?;
    Ok(tables.into_iter().filter_map(|(table, handle)| Some((table, handle?))).collect())
}

async fn gather<T: 'static>(
    mut opening: JoinSet<(Table, Result<T, TableError>)>,
) -> Result<BTreeMap<Table, T>, StoreError> {
    let mut tables = BTreeMap::new();
    while let Some(opened) = opening.join_next().await {
        let (table, opened) = opened.map_err(|_panic| StoreError::Stopped("opening a table"))?;
        tables.insert(table, opened.map_err(table_error("open", table))?);
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
    }
    Ok(passed)
}

/// The log on its way back into the hot buffer.
pub(crate) struct Replay {
    decode: Decode,
    passed: Passed,
    /// Whether what cannot be decoded is left out.
    repair: bool,
    pub(crate) state: State,
    pub(crate) enricher: Enricher,
}

impl Replay {
    pub(crate) fn new(decode: Decode, passed: Passed, repair: bool) -> Self {
        let state = State::new(passed.clone());
        Self { decode, passed, repair, state, enricher: Enricher::default() }
    }

    fn recover(mut self, wal_folder: &std::path::Path) -> Result<(Self, Recovered), StoreError> {
        let repair = self.repair;
        let recovered = wal::recover(wal_folder, repair, |frame| {
            let record = frame.record();
            self.add(frame.sequence, frame.kind, record.map_err(|error| error.to_string()))
        })?;
        Ok((self, recovered))
    }

    /// Keeps the rows that some table lacks; all spans may be somebody's parent.
    pub(crate) fn add(
        &mut self,
        sequence: u64,
        kind: u8,
        record: Result<LogRecord, String>,
    ) -> Result<(), StoreError> {
        let decoded = record.and_then(|record| {
            let rows = decode_record(&self.decode, &record).map_err(|failure| failure.0)?;
            Ok(HotBatch::new(sequence, record.received, rows))
        });
        let batch = match decoded {
            Ok(batch) => batch,
            Err(reason) if self.repair => {
                tracing::error!(sequence, kind, reason, "leaving out a record of the log");
                return Ok(());
            }
            Err(reason) => return Err(StoreError::Undecodable { sequence, kind, reason }),
        };
        if self.passed.needs(&batch) {
            self.state.hot.push(batch);
        } else {
            self.enricher.learn_batch(&batch);
        }
        Ok(())
    }
}

fn decode_record(
    decode: &Decode,
    record: &LogRecord,
) -> Result<Vec<TableBatch>, crate::record::DecodeFailure> {
    if record.kind == local_rows::KIND {
        local_rows::decode(&record.payload)
    } else {
        decode(record)
    }
}
