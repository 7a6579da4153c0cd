//! The folder that is written: under another name until it is complete, so that what an interrupted
//! export leaves does not look like one that ended.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use serde::Serialize;

use super::diagnosed::Diagnosed;
use crate::bundle::{MANIFEST, PARQUET, SCHEMA};
use crate::error::Advise;

/// Half of the size of level 3 for lines that repeat their resource, at a speed that the queries have too.
const ZSTD_LEVEL: i32 = 9;

/// A folder that is not complete yet. Dropped, it is removed.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    output: PathBuf,
    files: Vec<Written>,
    is_compressed: bool,
}

/// A file of the folder.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Written {
    pub(super) name: String,
    /// How many spans, log records and so on are in it.
    pub(super) records: u64,
    /// What they are.
    pub(super) of: &'static str,
    /// The file's hash in hexadecimal, of rows of a table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<String>,
    /// Whether its rows are made again of other rows when they are imported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) derived: Option<bool>,
}

/// What the folder is, for people and scripts.
#[derive(Debug, Serialize)]
pub(super) struct Manifest {
    schema: &'static str,
    version: &'static str,
    /// `parquet` where the files are rows of tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'static str>,
    /// The diagnosis that the data is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    diagnosis: Option<String>,
    pub(super) from: String,
    pub(super) to: String,
    files: Vec<Written>,
}

impl Manifest {
    /// Of the data of a range.
    pub(super) fn of_range(from: Timestamp, to: Timestamp) -> Self {
        let (from, to) = (from.to_string(), to.to_string());
        let version = env!("CARGO_PKG_VERSION");
        Self { schema: SCHEMA, version, format: None, diagnosis: None, from, to, files: Vec::new() }
    }

    /// Of rows of tables.
    pub(super) fn of_tables(from: Timestamp, to: Timestamp) -> Self {
        Self { format: Some(PARQUET), ..Self::of_range(from, to) }
    }

    /// Of what a diagnosis read.
    pub(super) fn of_diagnosis(diagnosed: &Diagnosed) -> Self {
        let of_range = Self::of_range(diagnosed.from, diagnosed.to);
        Self { diagnosis: Some(diagnosed.id.clone()), ..of_range }
    }
}

impl Draft {
    /// A draft beside the folder that it becomes, which must not be there, or be empty, or, if it may be
    /// replaced, be an export.
    pub(super) fn new(output: &Path, force: bool) -> anyhow::Result<Self> {
        let shown = output.display();
        check(output, force)?;
        let name =
            output.file_name().ok_or_else(|| anyhow!("`{shown}` is no name for a folder"))?;
        let parent = output.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or_else(|| Path::new("."));
        fs::create_dir_all(parent)
            .with_context(|| format!("could not make the folder `{}`", parent.display()))?;
        let draft = format!(".{}.incomplete-{}", name.to_string_lossy(), std::process::id());
        let path = parent.join(draft);
        fs::create_dir(&path)
            .with_context(|| format!("could not make the folder `{}`", path.display()))?;
        Ok(Self { path, output: output.to_path_buf(), files: Vec::new(), is_compressed: false })
    }

    /// Files of records are compressed from now on.
    pub(super) fn compress(&mut self) {
        self.is_compressed = true;
    }

    /// A file of records, made when the first one comes.
    pub(super) fn lines(&mut self, name: &str, of: &'static str) -> Records<'_> {
        let suffix = if self.is_compressed { ".zst" } else { "" };
        let name = format!("{name}{suffix}");
        let written = Written { name, records: 0, of, sha256: None, derived: None };
        Records { draft: self, written, file: None }
    }

    /// A whole file that is not records.
    pub(super) fn file(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        write(&self.path.join(name), bytes)
    }

    /// A new file in a folder of its own, to be added once it is written.
    pub(super) fn create(&self, name: &str) -> anyhow::Result<File> {
        let path = self.path.join(name);
        let failed = || format!("could not write `{}`", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(failed)?;
        }
        File::create_new(&path).with_context(failed)
    }

    /// Adds a file that was written and synced.
    pub(super) fn add(&mut self, written: Written) {
        self.files.push(written);
    }

    /// The folder that it becomes.
    pub(super) fn output(&self) -> &Path {
        &self.output
    }

    /// The files so far.
    pub(super) fn files(&self) -> &[Written] {
        &self.files
    }

    /// Whether nothing was there to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Gives the folder its name.
    pub(super) fn finish(self, manifest: Manifest) -> anyhow::Result<()> {
        let manifest = Manifest { files: self.files.clone(), ..manifest };
        let mut json = serde_json::to_vec_pretty(&manifest)?;
        json.push(b'\n');
        write(&self.path.join(MANIFEST), &json)?;
        let output = &self.output;
        let named = || -> io::Result<()> {
            if output.exists() {
                let old = self.path.with_extension("replaced");
                fs::rename(output, &old)?;
                fs::rename(&self.path, output)?;
                return fs::remove_dir_all(old);
            }
            fs::rename(&self.path, output)
        };
        named().with_context(|| format!("could not give `{}` its name", output.display()))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Once it has its name, nothing is here.
        let _gone = fs::remove_dir_all(&self.path);
    }
}

/// Whether the folder may be written.
fn check(output: &Path, force: bool) -> anyhow::Result<()> {
    let shown = output.display();
    let Ok(found) = fs::symlink_metadata(output) else { return Ok(()) };
    if !found.is_dir() {
        return Err(anyhow!("`{shown}` is there and is no folder"));
    }
    let is_empty =
        fs::read_dir(output).with_context(|| format!("could not read `{shown}`"))?.next().is_none();
    if is_empty {
        return Ok(());
    }
    if !force {
        return Err(anyhow!("`{shown}` is not empty"))
            .hint("name a new folder, or replace an earlier export with `--force`");
    }
    if !output.join(MANIFEST).is_file() {
        return Err(anyhow!("`{shown}` is no export: it has no `{MANIFEST}`"))
            .hint("`--force` replaces an earlier export alone; name another folder");
    }
    Ok(())
}

/// A file of the draft that is being written.
pub(super) struct Records<'a> {
    draft: &'a mut Draft,
    written: Written,
    file: Option<Sink>,
}

/// A file, plain or compressed.
enum Sink {
    Plain(BufWriter<File>),
    Compressed(zstd::Encoder<'static, BufWriter<File>>),
}

impl Sink {
    fn create(path: &Path, is_compressed: bool) -> io::Result<Self> {
        let file = BufWriter::new(File::create(path)?);
        if is_compressed {
            return Ok(Self::Compressed(zstd::Encoder::new(file, ZSTD_LEVEL)?));
        }
        Ok(Self::Plain(file))
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.write_all(bytes),
            Self::Compressed(file) => file.write_all(bytes),
        }
    }

    /// Writes what is left; the file is on disk then.
    fn end(self) -> io::Result<()> {
        let file = match self {
            Self::Plain(file) => file,
            Self::Compressed(file) => file.finish()?,
        };
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }
}

impl Records<'_> {
    /// Adds some records.
    pub(super) fn write(&mut self, bytes: &[u8], records: u64) -> anyhow::Result<()> {
        let path = self.draft.path.join(&self.written.name);
        let failed = || format!("could not write `{}`", path.display());
        if self.file.is_none() && !bytes.is_empty() {
            let file = Sink::create(&path, self.draft.is_compressed);
            self.file = Some(file.with_context(failed)?);
        }
        if let Some(file) = &mut self.file {
            file.write_all(bytes).with_context(failed)?;
        }
        self.written.records += records;
        Ok(())
    }

    /// Writes a whole file that records refer to.
    pub(super) fn beside(&self, name: &Path, bytes: &[u8]) -> anyhow::Result<()> {
        write(&self.draft.path.join(name), bytes)
    }

    /// Ends the file; without a record there is none.
    pub(super) fn end(self) -> anyhow::Result<()> {
        let Some(file) = self.file else { return Ok(()) };
        let failed = || format!("could not write `{}`", self.written.name);
        file.end().with_context(failed)?;
        self.draft.files.push(self.written);
        Ok(())
    }
}

/// Writes a file, and the folder that it is in.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let failed = || format!("could not write `{}`", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(failed)?;
    }
    let mut file = File::create(path).with_context(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).with_context(failed)
}
