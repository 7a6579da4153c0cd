//! The folder that is written: under another name until it is complete, so that what an interrupted
//! export leaves does not look like one that ended.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde::Serialize;

use crate::args::ExportArgs;
use crate::error::Advise;

/// Says what the folder is. An import ignores it.
const MANIFEST: &str = "bundle.json";
const SCHEMA: &str = "upriver.bundle/v1";

/// A folder that is not complete yet. Dropped, it is removed.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    output: PathBuf,
    files: Vec<Written>,
}

/// A file of the folder.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Written {
    pub(super) name: String,
    /// How many spans, log records and so on are in it.
    pub(super) records: u64,
    /// What they are.
    pub(super) of: &'static str,
}

/// What the folder is, for people and scripts.
#[derive(Debug, Serialize)]
pub(super) struct Manifest {
    schema: &'static str,
    version: &'static str,
    from: String,
    to: String,
    files: Vec<Written>,
}

impl Manifest {
    /// What was asked for.
    pub(super) fn new(args: &ExportArgs) -> Self {
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            from: args.from.to_string(),
            to: args.to.to_string(),
            files: Vec::new(),
        }
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
        Ok(Self { path, output: output.to_path_buf(), files: Vec::new() })
    }

    /// A file of records, made when the first one comes.
    pub(super) fn lines(&mut self, name: &str, of: &'static str) -> Records<'_> {
        let written = Written { name: name.to_owned(), records: 0, of };
        Records { draft: self, written, file: None }
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
        let named = || -> std::io::Result<()> {
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
    file: Option<BufWriter<File>>,
}

impl Records<'_> {
    /// Adds some records.
    pub(super) fn write(&mut self, bytes: &[u8], records: u64) -> anyhow::Result<()> {
        let path = self.draft.path.join(&self.written.name);
        let failed = || format!("could not write `{}`", path.display());
        if self.file.is_none() && !bytes.is_empty() {
            self.file = Some(BufWriter::new(File::create(&path).with_context(failed)?));
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
        let file = file.into_inner().map_err(std::io::IntoInnerError::into_error);
        file.and_then(|file| file.sync_all()).with_context(failed)?;
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
