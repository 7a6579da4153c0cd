//! Traces that came apart: their spans were committed by more than one commit, or by more than one node, so
//! that a row did not know its parent or one of its children.
//!
//! A file says which commit it came from until upkeep has looked at it (`Repairer::look`): spans whose
//! parent lies elsewhere, and spans elsewhere that lacked a parent which is here, name the traces to look
//! up in the minutes around. Rows that can be completed are written again with their files. What they were
//! rolled up to is then made again from the rows (`recompute`).
//!
//! Whatever step this stops at, the next run ends it. Before the first file is replaced the minutes are
//! noted (`intent`), and the note goes when their rollups are those of the rows. The file whose looking
//! at began it is replaced last, so until then it is looked at again. Completing a row twice changes nothing.

mod apart;
mod completion;
mod intent;
mod recompute;
mod rows;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::AddAssign;
use std::sync::Arc;

pub(crate) use self::apart::lacks_callees;
use self::completion::Completion;
pub(crate) use self::recompute::recompute;
pub(crate) use self::rows::OpenFile;
use self::rows::{Minutes, Wanted, overlaps};
use crate::blocking;
use crate::delta::{TableError, TableHandle};
use crate::error::StoreError;
use crate::folder::DataFolder;
use crate::parquet_writer::WriteError;
use crate::schema::Table;
use crate::snapshot::DataFile;
use crate::store::commit::table_error;

/// Rows of files that are looked at together: their ids and traces take some 50 MB.
const GROUP_ROWS: u64 = 262_144;
/// Rows that a round looks at; what is left is for the next one, so that other upkeep has its turn. Two
/// minutes at 35,000 spans a second.
const ROUND_ROWS: u64 = 1 << 22;

/// What was done about traces that came apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Files of spans that were looked at.
    pub files_examined: u64,
    /// Spans of which a parent, a child or an answer was found.
    pub spans_completed: u64,
    /// Those of them that got to know their parent.
    pub parents_found: u64,
    /// Files that were written again.
    pub files_rewritten: u64,
    /// Minutes whose rollups were made again.
    pub minutes_recomputed: u64,
    /// Minutes that wait for a commit to end, in the newest run.
    pub minutes_waiting: u64,
    /// Runs that failed; the next one ends what they began.
    pub failures: u64,
}

impl AddAssign for RepairReport {
    fn add_assign(&mut self, other: Self) {
        self.files_examined += other.files_examined;
        self.spans_completed += other.spans_completed;
        self.parents_found += other.parents_found;
        self.files_rewritten += other.files_rewritten;
        self.minutes_recomputed += other.minutes_recomputed;
        self.minutes_waiting = other.minutes_waiting;
        self.failures += other.failures;
    }
}

impl std::fmt::Display for RepairReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} files of spans examined, {} spans completed, {} minutes rolled up again",
            self.files_examined, self.spans_completed, self.minutes_recomputed
        )?;
        if self.minutes_waiting > 0 {
            write!(f, ", {} minutes wait for a commit to end", self.minutes_waiting)?;
        }
        Ok(())
    }
}

/// Where a repair may stop; tests stop it at each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RepairStep {
    FilesWritten,
    Noted,
    Replaced(Table),
    Cleared,
}

impl RepairStep {
    /// Its name among [`crate::faults::REPAIR_STEPS`].
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FilesWritten => "repair-files-written",
            Self::Noted => "repair-noted",
            Self::Replaced(_) => "repair-replaced",
            Self::Cleared => "repair-cleared",
        }
    }
}

/// Told of every step; an error ends the run.
pub(crate) type OnStep<'a> = &'a (dyn Fn(RepairStep) -> Result<(), StoreError> + Sync);

/// The tables that a repair reads and writes, with handles of its own, so that commits go on meanwhile.
pub(crate) struct Tables {
    handles: BTreeMap<Table, TableHandle>,
    /// Up to which version of a source all of them go.
    rolled_up: BTreeMap<String, Option<i64>>,
    /// Files of rows that somebody else wrote again since this was opened.
    foreign: HashSet<String>,
    /// Minutes whose rollups may not be those of the rows.
    noted: Minutes,
}

/// The tables that a repair writes, rollups first: so their commits are never ahead of those of the rows.
pub(crate) const CONCERNED: [Table; 3] =
    [Table::OperationMinutes, Table::EdgeMinutes, Table::Spans];
/// Read besides, where it is there: the minutes of edges are made of it too.
const FORMER: Table = Table::FormerPayloadSizes;

impl Tables {
    pub(crate) async fn open(folder: &DataFolder) -> Result<Self, StoreError> {
        let mut handles = BTreeMap::new();
        for table in CONCERNED {
            let opened = TableHandle::open(&folder.table(table), table).await;
            handles.insert(table, opened.map_err(table_error("read", table))?);
        }
        let former = TableHandle::open_existing(&folder.table(FORMER), FORMER).await;
        let former = former.map_err(table_error("read", FORMER))?;
        handles.extend(former.map(|handle| (FORMER, handle)));
        let mut tables = Self {
            handles,
            rolled_up: BTreeMap::new(),
            foreign: HashSet::new(),
            noted: Minutes::new(),
        };
        let noted = intent::read(tables.of(Table::Spans).place()).await;
        tables.noted = noted.map_err(unnoted)?;
        Ok(tables)
    }

    /// Whether rollups have to be made again.
    pub(crate) fn has_noted(&self) -> bool {
        !self.noted.is_empty()
    }

    fn of(&self, table: Table) -> &TableHandle {
        self.handles.get(&table).expect("all concerned tables are opened together")
    }

    fn of_mut(&mut self, table: Table) -> &mut TableHandle {
        self.handles.get_mut(&table).expect("all concerned tables are opened together")
    }

    /// None of a table that is not there.
    fn files(&self, table: Table) -> Arc<Vec<DataFile>> {
        self.handles.get(&table).map(TableHandle::files).unwrap_or_default()
    }

    /// Whether the commit that a file came from has ended: `edge_minutes` is the last of the tables to get
    /// its rows. A file without a commit was looked at already.
    async fn is_rolled_up(&mut self, file: &DataFile) -> Result<bool, StoreError> {
        let Some((source, version)) = &file.committed_as else { return Ok(true) };
        if let Some(reached) = self.rolled_up.get(source) {
            return Ok(*reached >= Some(*version));
        }
        let reached = self.of(Table::EdgeMinutes).committed_version(source).await;
        let reached = reached.map_err(table_error("read", Table::EdgeMinutes))?;
        self.rolled_up.insert(source.clone(), reached);
        Ok(reached >= Some(*version))
    }

    /// Reads the tables again, rollups first: what is in them is then also in the rows.
    pub(crate) async fn refresh(&mut self) -> Result<(), StoreError> {
        self.rolled_up.clear();
        for table in CONCERNED {
            let before = self.files(table);
            let before: HashSet<_> = before.iter().map(|file| &file.path).collect();
            let refreshed = self.of_mut(table).refresh().await;
            refreshed.map_err(table_error("read", table))?;
            let files = self.files(table);
            let is_foreign =
                |file: &&DataFile| file.committed_as.is_none() && !before.contains(&file.path);
            self.foreign.extend(files.iter().filter(is_foreign).map(|file| file.path.clone()));
        }
        Ok(())
    }

    async fn note(&mut self, minutes: &Minutes) -> Result<(), StoreError> {
        self.noted.extend(minutes);
        intent::write(self.of(Table::Spans).place(), &self.noted).await.map_err(unnoted)
    }

    async fn replace(
        &mut self,
        table: Table,
        done: Completion,
        on_step: OnStep<'_>,
    ) -> Result<(), StoreError> {
        if !done.removed.is_empty() || !done.written.is_empty() {
            let replaced = self.of_mut(table).replace(&done.removed, done.written).await;
            replaced.map_err(table_error("repair", table))?;
            on_step(RepairStep::Replaced(table))?;
        }
        Ok(())
    }
}

/// Has the minutes of spans stored that are past their retention and of which none are: they outlive the
/// spans. Notes these minutes; [`recompute()`] makes them.
pub(crate) async fn store_minutes(
    tables: &mut Tables,
    expired: impl FnOnce(&[DataFile]) -> Vec<DataFile>,
    on_step: OnStep<'_>,
) -> Result<(), StoreError> {
    let mut files = expired(&tables.files(Table::Spans));
    files.retain(|file| file.without_minutes);
    if files.is_empty() {
        return Ok(());
    }
    let minutes = files.iter().map(rows::minutes_of).flat_map(|(first, last)| first..=last);
    let minutes = tables.noted.iter().copied().chain(minutes).collect();
    tables.note(&minutes).await?;
    on_step(RepairStep::Noted)?;
    for file in &mut files {
        file.without_minutes = false;
    }
    let described = tables.of_mut(Table::Spans).describe(files).await;
    described.map_err(table_error("repair", Table::Spans))?;
    on_step(RepairStep::Replaced(Table::Spans))
}

/// Completes rows, run by run.
#[derive(Debug, Default)]
pub(crate) struct Repairer {
    /// Files of spans that came straight from a commit and were looked at.
    looked_at: HashSet<String>,
}

impl Repairer {
    /// Whether a file may be put together with others: then it is not known any more which commit it came
    /// from, so it must have been looked at.
    pub(crate) fn has_seen(&self, table: Table, file: &DataFile) -> bool {
        table != Table::Spans || file.committed_as.is_none() || self.looked_at.contains(&file.path)
    }

    /// Looks at files that no run has looked at, and completes rows.
    pub(crate) async fn look(
        &mut self,
        tables: &mut Tables,
        on_step: OnStep<'_>,
    ) -> Result<RepairReport, StoreError> {
        let mut report = RepairReport::default();
        for group in self.new_files(tables).await? {
            let paths: Vec<_> = group.iter().map(|file| file.path.clone()).collect();
            report += look_at(tables, group, on_step).await?;
            self.looked_at.extend(paths);
        }
        let files = tables.files(Table::Spans);
        let is_there: HashSet<_> = files.iter().map(|file| &file.path).collect();
        self.looked_at.retain(|path| is_there.contains(path));
        Ok(report)
    }

    /// Files to look at, a group at a time.
    async fn new_files(&self, tables: &mut Tables) -> Result<Vec<Vec<DataFile>>, StoreError> {
        let (mut groups, mut group) = (Vec::new(), Vec::new());
        let (mut group_rows, mut rows) = (0, 0);
        let mut files = Arc::unwrap_or_clone(tables.files(Table::Spans));
        files.sort_by_key(|file| (file.written_unix_ms, file.path.clone()));
        for file in files {
            if self.has_seen(Table::Spans, &file) || !tables.is_rolled_up(&file).await? {
                continue;
            }
            if rows >= ROUND_ROWS {
                break;
            }
            rows += file.rows;
            group_rows += file.rows;
            group.push(file);
            if group_rows >= GROUP_ROWS {
                groups.push(std::mem::take(&mut group));
                group_rows = 0;
            }
        }
        groups.push(group);
        groups.retain(|group| !group.is_empty());
        Ok(groups)
    }
}

/// Looks at a group of files, and completes what it can in them and around them.
async fn look_at(
    tables: &mut Tables,
    group: Vec<DataFile>,
    on_step: OnStep<'_>,
) -> Result<RepairReport, StoreError> {
    let examined = group.len() as u64;
    let Some((around, wanted)) = apart_of(tables, group).await? else {
        return Ok(RepairReport { files_examined: examined, ..RepairReport::default() });
    };
    let (index, around) = {
        let wanted = wanted.clone();
        working(Table::Spans, move || Ok((completion::index(&around, &wanted)?, around))).await?
    };
    let done = completion::complete(tables.of(Table::Spans), around, &wanted, index).await?;
    let report = RepairReport {
        files_examined: examined,
        spans_completed: done.counts.rows,
        parents_found: done.counts.parents,
        files_rewritten: done.removed.len() as u64,
        ..RepairReport::default()
    };
    if report.files_rewritten == 0 {
        return Ok(report);
    }
    on_step(RepairStep::FilesWritten)?;
    if !done.counts.minutes.is_empty() {
        tables.note(&done.counts.minutes).await?;
    }
    on_step(RepairStep::Noted)?;
    tables.replace(Table::Spans, done, on_step).await?;
    Ok(report)
}

/// The files of spans in the minutes around a group of them, and which traces have spans both in the
/// group and elsewhere; `None` where there are none.
async fn apart_of(
    tables: &mut Tables,
    group: Vec<DataFile>,
) -> Result<Option<(Vec<OpenFile>, Wanted)>, StoreError> {
    let spans = Table::Spans;
    let all = tables.files(spans);
    if group.iter().all(apart::has_no_parents) && !all.iter().any(apart::has_lost_parents) {
        return Ok(None);
    }
    let in_group: BTreeSet<_> = group.iter().map(|file| file.path.clone()).collect();
    let group = open(tables, spans, group).await?;
    let (mut found, group) = working(spans, move || Ok((apart::in_files(&group)?, group))).await?;
    found.leave_out(all.iter().filter(|file| lacks_callees(file)));
    let mut around = completed_files(tables, &found.minutes).await?;
    around.retain(|file| !in_group.contains(&file.path));
    let around = open(tables, spans, around).await?;
    let (found, around) = working(spans, move || {
        found.add_children(&around)?;
        Ok((found, around.into_iter().chain(group).collect::<Vec<_>>()))
    })
    .await?;
    let is_any = !found.traces.is_empty();
    Ok(is_any.then(|| (around, Wanted::new(found.minutes, found.traces))))
}

/// The files of spans with rows in these minutes, of commits that have ended.
async fn completed_files(
    tables: &mut Tables,
    minutes: &Minutes,
) -> Result<Vec<DataFile>, StoreError> {
    let mut files = Vec::new();
    for file in tables.files(Table::Spans).iter().filter(|file| overlaps(file, minutes)) {
        if tables.is_rolled_up(file).await? {
            files.push(file.clone());
        }
    }
    Ok(files)
}

async fn open(
    tables: &Tables,
    table: Table,
    files: Vec<DataFile>,
) -> Result<Vec<OpenFile>, StoreError> {
    let opened = rows::open(tables.of(table).place(), table, files).await;
    opened.map_err(unreadable(table))
}

/// Work on rows, away from the threads that serve requests.
async fn working<T: Send + 'static>(
    table: Table,
    work: impl FnOnce() -> Result<T, WriteError> + Send + 'static,
) -> Result<T, StoreError> {
    blocking::run("repairing tables", work).await?.map_err(unreadable(table))
}

fn unreadable(table: Table) -> impl FnOnce(WriteError) -> StoreError {
    move |source| {
        let source = TableError::Write { table: table.name(), source };
        StoreError::Table { action: "repair", table, source }
    }
}

fn unnoted(source: object_store::Error) -> StoreError {
    StoreError::Note { source }
}
