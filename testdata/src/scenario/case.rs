//! The importable case: a folder with what the Collector's file exporter, a profiler and a delivery
//! pipeline would have written, and the label.

use super::{ProfileEntry, Scenario, Slice};
use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Level of zstd for `traces.jsonl.zst`: the text repeats itself, more effort gains little.
const COMPRESSION_LEVEL: i32 = 1;

/// A file of the case could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: check that the folder exists, is writable and has space", path.display())]
pub struct CaseError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaseSummary {
    /// Number of spans.
    pub spans: usize,
    /// Number of profiles.
    pub profiles: usize,
    /// Number of changes.
    pub deploys: usize,
}

impl Scenario {
    /// Generates the scenario into a folder, which is made if missing: `traces.jsonl.zst`,
    /// `metrics.jsonl.zst`, `profiles/` with `profiles.jsonl`, `deploys.jsonl`, `label.json`.
    pub fn write_case(&self, folder: &Path) -> Result<CaseSummary, CaseError> {
        self.write_part_of_case(folder, |_| true)
    }

    /// The same with the slices that are wanted alone.
    pub fn write_part_of_case(
        &self,
        folder: &Path,
        is_wanted: impl Fn(&Slice) -> bool,
    ) -> Result<CaseSummary, CaseError> {
        let profile_folder = folder.join("profiles");
        fs::create_dir_all(&profile_folder).map_err(failed(&profile_folder))?;
        let mut summary = CaseSummary::default();
        let mut traces = Lines::compressed(folder.join("traces.jsonl.zst"))?;
        let mut metrics = Lines::compressed(folder.join("metrics.jsonl.zst"))?;
        let mut entries = Lines::plain(folder.join("profiles.jsonl"))?;
        let mut deploys = Lines::plain(folder.join("deploys.jsonl"))?;
        for slice in self.slices().filter(is_wanted) {
            summary.spans += slice.span_count();
            summary.profiles += slice.profiles.len();
            summary.deploys += slice.deploys.len();
            traces.write_all(&slice.traces)?;
            metrics.write_all(&slice.metrics)?;
            deploys.write_all(&slice.deploys)?;
            for profile in &slice.profiles {
                let path = folder.join(&profile.entry.file);
                fs::write(&path, &profile.bytes).map_err(failed(&path))?;
            }
            entries.write_all(slice.profiles.iter().map(|p| &p.entry as &ProfileEntry))?;
        }
        for lines in [traces, metrics, entries, deploys] {
            lines.finish()?;
        }
        let path = folder.join("label.json");
        let label = serde_json::to_vec_pretty(&self.label()).map_err(io::Error::from);
        label.and_then(|label| fs::write(&path, label)).map_err(failed(&path))?;
        Ok(summary)
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> CaseError + use<> {
    let path = path.to_owned();
    |source| CaseError { path, source }
}

/// A file of JSON lines.
struct Lines {
    path: PathBuf,
    out: Out,
}

enum Out {
    Plain(BufWriter<File>),
    Compressed(Box<zstd::Encoder<'static, BufWriter<File>>>),
}

impl Lines {
    fn plain(path: PathBuf) -> Result<Self, CaseError> {
        let file = File::create(&path).map_err(failed(&path))?;
        Ok(Self { path, out: Out::Plain(BufWriter::new(file)) })
    }

    fn compressed(path: PathBuf) -> Result<Self, CaseError> {
        let encoder = File::create(&path)
            .and_then(|file| zstd::Encoder::new(BufWriter::new(file), COMPRESSION_LEVEL))
            .map_err(failed(&path))?;
        Ok(Self { path, out: Out::Compressed(Box::new(encoder)) })
    }

    fn write_all<'a, T: Serialize + 'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a T>,
    ) -> Result<(), CaseError> {
        for record in records {
            let mut line = serde_json::to_vec(record)
                .map_err(|error| failed(&self.path)(io::Error::from(error)))?;
            line.push(b'\n');
            let written = match &mut self.out {
                Out::Plain(out) => out.write_all(&line),
                Out::Compressed(out) => out.write_all(&line),
            };
            written.map_err(failed(&self.path))?;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), CaseError> {
        let flushed = match self.out {
            Out::Plain(mut out) => out.flush(),
            Out::Compressed(encoder) => encoder.finish().and_then(|mut out| out.flush()),
        };
        flushed.map_err(failed(&self.path))
    }
}
