//! An export of tables (`upriver export --format parquet`): rows that are added as they are.
//!
//! The manifest says which files belong to it. All of them are read to their end, hashes and rows checked,
//! before any row is committed; each is then a source of its own, known by its hash.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail, ensure};
use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use indicatif::ProgressBar;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use upriver_store::batch::TableBatch;
use upriver_store::schema::Table;
use upriver_store::store::{Chunk, ImportedRows, Store};
use upriver_store::table_file::{TableFileReader, read_columns};

use super::CHUNK_BYTES_MAX;
use crate::bundle::{MANIFEST, PARQUET, SCHEMA, hexadecimal};
use crate::error::Advise;
use crate::output::Output;

/// A manifest of ten thousand files takes two megabytes.
const MANIFEST_BYTES_MAX: u64 = 64 << 20;
/// Families of stacks that are remembered while samples are imported, some 50 bytes each. A service has
/// thousands of stacks, of one or two families.
const STACK_FAMILIES_MAX: usize = 4_000_000;

/// What the folder says of itself.
#[derive(Debug, Deserialize)]
struct Manifest {
    schema: String,
    format: Option<String>,
    #[serde(default)]
    files: Vec<Listed>,
}

/// What it says of a file.
#[derive(Debug, Deserialize)]
struct Listed {
    name: String,
    records: u64,
    of: String,
    sha256: Option<String>,
    #[serde(default)]
    derived: bool,
}

/// An export of tables.
#[derive(Debug)]
pub(super) struct Tables {
    files: Vec<TableFile>,
}

/// Rows of one table.
#[derive(Debug)]
struct TableFile {
    table: Table,
    path: PathBuf,
    records: u64,
    sha256: String,
}

impl TableFile {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn source(&self) -> String {
        format!("import:{}", self.sha256)
    }

    fn open(&self) -> anyhow::Result<File> {
        File::open(&self.path).with_context(|| format!("could not open `{}`", self.name()))
    }

    fn rows(&self) -> anyhow::Result<impl Iterator<Item = anyhow::Result<RecordBatch>> + '_> {
        let reader = TableFileReader::open(self.open()?, self.table);
        let reader = reader.with_context(|| self.refusal())?;
        Ok(reader.map(|rows| rows.with_context(|| self.refusal())))
    }

    fn refusal(&self) -> String {
        format!("`{}` cannot be imported into the table {}", self.name(), self.table.name())
    }

    /// Whether it is the file that was exported.
    fn check_hash(&self) -> anyhow::Result<()> {
        let (mut hash, mut file) = (Sha256::new(), self.open()?);
        let copied = io::copy(&mut file, &mut hash);
        copied.with_context(|| format!("could not read `{}`", self.name()))?;
        if hexadecimal(hash.finalize()) == self.sha256 {
            return Ok(());
        }
        Err(anyhow!("`{}` is not the file that was exported: its hash is another", self.name()))
            .hint("it was cut off or changed on the way: copy it again, or export again")
    }

    /// Whether its rows are those of the table, to the last one.
    fn check_rows(&self, progress: &ProgressBar) -> anyhow::Result<()> {
        let mut found = 0;
        for rows in self.rows()? {
            found += rows?.num_rows() as u64;
            progress.tick();
        }
        let (name, said) = (self.name(), self.records);
        ensure!(found == said, "`{name}` has {found} rows where `{MANIFEST}` says {said}");
        Ok(())
    }
}

/// The export in a folder; `None` where it is something else.
pub(super) fn find(folder: &Path) -> anyhow::Result<Option<Tables>> {
    let path = folder.join(MANIFEST);
    if !path.is_file() {
        return Ok(None);
    }
    let failed = || format!("could not read `{}`", path.display());
    let mut json = Vec::new();
    let mut file = File::open(&path).with_context(failed)?.take(MANIFEST_BYTES_MAX + 1);
    file.read_to_end(&mut json).with_context(failed)?;
    ensure!(json.len() as u64 <= MANIFEST_BYTES_MAX, "`{}` is too large", path.display());
    let manifest: Manifest = match serde_json::from_slice(&json) {
        Ok(manifest) => manifest,
        // A case needs none.
        Err(_) if !json.windows(9).any(|text| text == b"\"parquet\"") => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("`{}` cannot be read", path.display()));
        }
    };
    match manifest.format.as_deref() {
        None => Ok(None),
        Some(PARQUET) if manifest.schema == SCHEMA => listed(folder, manifest.files).map(Some),
        Some(format) => {
            bail!(
                "`{}` is of schema {:?} and format {format:?}, which this version does not know",
                path.display(),
                manifest.schema
            )
        }
    }
}

fn listed(folder: &Path, files: Vec<Listed>) -> anyhow::Result<Tables> {
    let mut names = HashSet::new();
    let mut found = Vec::new();
    for Listed { name, records, of, sha256, derived } in files {
        ensure!(names.insert(name.clone()), "`{MANIFEST}` lists `{name}` twice");
        let table = Table::from_folder(&of)
            .with_context(|| format!("`{name}` is of a table `{of}`, which there is not"))
            .hint("import it with the version that exported it")?;
        let path = beside(folder, &name)?;
        let sha256 = sha256.with_context(|| format!("`{MANIFEST}` has no hash of `{name}`"))?;
        let is_minutes = table.is_rollup() && table.minutes().is_none();
        ensure!(is_minutes || !derived, "`{name}`: rows of `{of}` are not made of other rows");
        ensure!(
            table.minutes().is_none(),
            "`{name}`: rows of `{of}` are made of minutes, not imported"
        );
        if !derived {
            found.push(TableFile { table, path, records, sha256: sha256.to_ascii_lowercase() });
        }
    }
    let position = |table: Table| Table::ALL.iter().position(|known| *known == table);
    found.sort_by(|a, b| (position(a.table), &a.path).cmp(&(position(b.table), &b.path)));
    Ok(Tables { files: found })
}

/// A file below the folder, wherever links lead.
fn beside(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let file = Path::new(name);
    let outside = || anyhow!("`{MANIFEST}` names a file outside of its folder: `{name}`");
    let is_plain = file.components().all(|part| matches!(part, Component::Normal(_)));
    ensure!(is_plain && !name.is_empty(), outside());
    let path = folder.join(file);
    let canonical = |path: &Path| {
        fs::canonicalize(path).with_context(|| format!("could not read `{}`", path.display()))
    };
    ensure!(canonical(&path)?.starts_with(canonical(folder)?), outside());
    Ok(path)
}

impl Tables {
    /// Imports every file that is not in yet, once all of them are known to be good.
    pub(super) async fn import(
        &self,
        store: &Store,
        output: &mut Output<'_>,
    ) -> anyhow::Result<()> {
        let mut missing = Vec::new();
        for file in &self.files {
            if store.import_finished(&file.source()).await? {
                output.note(format!("{}: already in", file.name()))?;
            } else {
                missing.push(file);
            }
        }
        let progress = ProgressBar::new_spinner();
        let imported = self.import_missing(store, &missing, &progress).await;
        progress.finish_and_clear();
        imported?;
        for file in missing {
            output.note(format!("{}: {} rows", file.name(), file.records))?;
        }
        Ok(())
    }

    async fn import_missing(
        &self,
        store: &Store,
        missing: &[&TableFile],
        progress: &ProgressBar,
    ) -> anyhow::Result<()> {
        for file in missing {
            progress.set_message(format!("checking {}", file.name()));
            file.check_hash()?;
            file.check_rows(progress)?;
        }
        let has_samples = missing.iter().any(|file| file.table == Table::ProfileSamples);
        let frames = Arc::new(if has_samples { vec![self.families()?] } else { Vec::new() });
        for file in missing {
            progress.set_message(file.name());
            import(store, file, &frames, progress).await?;
        }
        Ok(())
    }

    /// The families of the frames of every stack, as rows of `profile_stack_frames`.
    fn families(&self) -> anyhow::Result<RecordBatch> {
        let mut families = BTreeSet::<(i64, Arc<str>)>::new();
        let mut names = HashSet::<Arc<str>>::new();
        for file in self.files.iter().filter(|file| file.table == Table::ProfileStackFrames) {
            let columns = ["stack_id", "family"];
            let read = read_columns(file.open()?, file.table, &columns);
            for rows in read.with_context(|| file.refusal())? {
                let rows = rows.with_context(|| file.refusal())?;
                let [Some(stacks), Some(texts)] = columns.map(|name| rows.column_by_name(name))
                else {
                    continue;
                };
                let (stacks, texts) =
                    (stacks.as_primitive::<Int64Type>(), texts.as_string::<i32>());
                for row in (0..rows.num_rows()).filter(|row| texts.is_valid(*row)) {
                    let name = texts.value(row);
                    let name = names.get(name).cloned().unwrap_or_else(|| {
                        let name = Arc::<str>::from(name);
                        names.insert(Arc::clone(&name));
                        name
                    });
                    families.insert((stacks.value(row), name));
                }
            }
            ensure!(
                families.len() <= STACK_FAMILIES_MAX,
                "the stacks have more than {STACK_FAMILIES_MAX} families of frames; export a shorter range"
            );
        }
        let stacks: Int64Array = families.iter().map(|(stack, _)| Some(*stack)).collect();
        let texts: StringArray = families.iter().map(|(_, name)| Some(name.as_ref())).collect();
        let schema = Schema::new(vec![
            Field::new("stack_id", DataType::Int64, false),
            Field::new("family", DataType::Utf8, true),
        ]);
        Ok(RecordBatch::try_new(Arc::new(schema), vec![Arc::new(stacks), Arc::new(texts)])?)
    }
}

/// Commits the rows of a file, some at a time.
async fn import(
    store: &Store,
    file: &TableFile,
    frames: &Arc<Vec<RecordBatch>>,
    progress: &ProgressBar,
) -> anyhow::Result<()> {
    let source = file.source();
    let mut rows = file.rows()?;
    let mut next = next_chunk(file.table, &mut rows, progress)?;
    for number in 0.. {
        let chunk = std::mem::replace(&mut next, next_chunk(file.table, &mut rows, progress)?);
        let is_last = next.is_empty();
        let stored = ImportedRows::Stored { rows: chunk, frames: Arc::clone(frames) };
        store.import(&source, Chunk { number, is_last }, stored).await?;
        if is_last {
            break;
        }
    }
    Ok(())
}

/// Rows up to the limit of a chunk; none at the end.
fn next_chunk(
    table: Table,
    rows: &mut impl Iterator<Item = anyhow::Result<RecordBatch>>,
    progress: &ProgressBar,
) -> anyhow::Result<Vec<TableBatch>> {
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    while bytes < CHUNK_BYTES_MAX {
        let Some(rows) = rows.next().transpose()? else { break };
        bytes += rows.get_array_memory_size();
        chunk.push(TableBatch::new(table, rows));
        progress.tick();
    }
    Ok(chunk)
}
