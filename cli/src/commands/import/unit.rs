//! What there is to import: files by what they hold, found by name or by their first line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, anyhow};
use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};
use upriver_ingest::pprof::ProfileEntry;

use crate::bundle::hexadecimal;
use crate::error::Advise;

/// What a file unpacks to at most: a month of a busy shop; a bomb ends here.
const UNPACKED_BYTES_MAX: u64 = 64 << 30;
/// The start of a file by which it is recognised.
const SNIFFED_BYTES: u64 = 4096;

/// What the records of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// OTLP JSON lines of spans.
    Traces,
    /// OTLP JSON lines of metrics.
    Metrics,
    /// OTLP JSON lines of log records.
    Logs,
    /// OTLP JSON lines of profiles; in a case `profiles.jsonl` is a list of pprof files.
    OtlpProfiles,
    /// Deploy events.
    Deploys,
    /// A list of profiles with the files beside it.
    Profiles,
    /// One pprof file.
    Pprof,
}

/// A file to import.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    pub(super) service: Option<String>,
}

impl Unit {
    /// The file's name for messages.
    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The name under which tables remember the file: a hash of its bytes, for a list of profiles of
    /// theirs too.
    pub(super) fn source(&self) -> anyhow::Result<String> {
        let mut hash = Sha256::new();
        add_file(&mut hash, &self.path)?;
        if self.kind == Kind::Profiles {
            for (_, entry) in self.profile_entries()? {
                add_file(&mut hash, &self.beside(Path::new(&entry.file))?)?;
            }
        }
        Ok(format!("import:{}", hexadecimal(hash.finalize())))
    }

    /// The unpacked file.
    pub(super) fn open(&self) -> anyhow::Result<Box<dyn BufRead>> {
        open(&self.path)
    }

    /// The entries of a list of profiles with the numbers of their lines.
    pub(super) fn profile_entries(&self) -> anyhow::Result<Vec<(usize, ProfileEntry)>> {
        let mut entries = Vec::new();
        for (i, line) in self.open()?.lines().enumerate() {
            let line = line.with_context(|| format!("could not read `{}`", self.name()))?;
            if line.trim().is_empty() {
                continue;
            }
            let entry = ProfileEntry::from_json(&line)
                .with_context(|| format!("{}:{}", self.name(), i + 1))?;
            entries.push((i + 1, entry));
        }
        Ok(entries)
    }

    /// A file that the list names: below the list's folder, wherever links lead.
    pub(super) fn beside(&self, file: &Path) -> anyhow::Result<PathBuf> {
        let folder = self.path.parent().unwrap_or_else(|| Path::new("."));
        let plain = file.components().all(|part| matches!(part, Component::Normal(_)));
        let outside = || {
            anyhow!("`{}` names a file outside of its folder: `{}`", self.name(), file.display())
        };
        if !plain {
            return Err(outside());
        }
        let read = |path: &Path| {
            path.canonicalize().with_context(|| format!("could not read `{}`", path.display()))
        };
        let (found, folder) = (read(&folder.join(file))?, read(folder)?);
        if found.starts_with(folder) { Ok(found) } else { Err(outside()) }
    }
}

/// The files of a case folder, or the one file.
pub(super) fn find(path: &Path, service: Option<&str>) -> anyhow::Result<Vec<Unit>> {
    if !path.is_dir() {
        let kind = sniff(path)?;
        if kind == Kind::Pprof && service.is_none() {
            return Err(anyhow!("`{}` does not say which service it is of", path.display()))
                .hint("name the service with `--service NAME`");
        }
        let service = service.map(str::to_owned);
        return Ok(vec![Unit { path: path.to_path_buf(), kind, service }]);
    }
    const NAMES: [(&str, Kind); 5] = [
        ("deploys.jsonl", Kind::Deploys),
        ("traces.jsonl", Kind::Traces),
        ("metrics.jsonl", Kind::Metrics),
        ("logs.jsonl", Kind::Logs),
        ("profiles.jsonl", Kind::Profiles),
    ];
    let mut units = Vec::new();
    for (name, kind) in NAMES {
        for suffix in ["", ".gz", ".zst"] {
            let path = path.join(format!("{name}{suffix}"));
            if path.is_file() {
                units.push(Unit { path, kind, service: None });
            }
        }
    }
    if units.is_empty() {
        return Err(anyhow!("`{}` holds none of the files of a case", path.display())).hint(
            "a case has some of traces.jsonl, metrics.jsonl, logs.jsonl, profiles.jsonl, deploys.jsonl, plain, .gz or .zst; an export as Parquet has a bundle.json",
        );
    }
    Ok(units)
}

/// What a file holds, by its first line.
fn sniff(path: &Path) -> anyhow::Result<Kind> {
    if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("profiles.jsonl")) {
        return Ok(Kind::Profiles);
    }
    let mut start = Vec::new();
    let read = open(path)?.take(SNIFFED_BYTES).read_to_end(&mut start);
    read.with_context(|| format!("could not read `{}`", path.display()))?;
    if start.starts_with(b"PAR1") {
        return Err(anyhow!("`{}` is a Parquet file by itself", path.display()))
            .hint("name the folder of an export (`upriver export --format parquet`)");
    }
    let text = String::from_utf8_lossy(&start);
    if !text.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '[']) {
        return Ok(Kind::Pprof);
    }
    let first = text.lines().next().unwrap_or_default();
    if first.contains("\"resourceSpans\"") {
        Ok(Kind::Traces)
    } else if first.contains("\"resourceMetrics\"") {
        Ok(Kind::Metrics)
    } else if first.contains("\"resourceLogs\"") {
        Ok(Kind::Logs)
    } else if first.contains("\"resourceProfiles\"") {
        Ok(Kind::OtlpProfiles)
    } else {
        Ok(Kind::Deploys)
    }
}

fn open(path: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    let file = File::open(path).with_context(|| format!("could not open `{}`", path.display()))?;
    let extension = path.extension().unwrap_or_default();
    let is_pprof = path.to_string_lossy().ends_with(".pb.gz");
    let unpacked: Box<dyn Read> = if extension == "gz" && !is_pprof {
        Box::new(MultiGzDecoder::new(BufReader::new(file)))
    } else if extension == "zst" {
        Box::new(zstd::Decoder::new(file)?)
    } else {
        Box::new(file)
    };
    Ok(Box::new(BufReader::new(unpacked.take(UNPACKED_BYTES_MAX))))
}

fn add_file(hash: &mut Sha256, path: &Path) -> anyhow::Result<()> {
    let mut read = || -> std::io::Result<()> {
        let mut file = File::open(path)?;
        hash.update(file.metadata()?.len().to_le_bytes());
        std::io::copy(&mut file, hash)?;
        Ok(())
    };
    read().with_context(|| format!("could not read `{}`", path.display()))
}
