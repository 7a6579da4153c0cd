//! Files of an importable case: JSON lines, plain or compressed, and the error that names the file.

use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Level of zstd for large files: the text repeats itself, more effort gains little.
const COMPRESSION_LEVEL: i32 = 1;

/// A file of the case could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: check that the folder exists, is writable and has space", path.display())]
pub struct CaseError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Makes a folder if it is missing.
pub(crate) fn make_folder(folder: &Path) -> Result<(), CaseError> {
    fs::create_dir_all(folder).map_err(failed(folder))
}

/// Writes a file of the case.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), CaseError> {
    fs::write(path, bytes).map_err(failed(path))
}

/// Writes `label.json`.
pub(crate) fn write_label(folder: &Path, label: &impl Serialize) -> Result<(), CaseError> {
    let path = folder.join("label.json");
    let label = serde_json::to_vec_pretty(label).map_err(io::Error::from).map_err(failed(&path))?;
    write_file(&path, &label)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> CaseError + use<> {
    let path = path.to_owned();
    |source| CaseError { path, source }
}

/// A file of JSON lines.
pub(crate) struct Lines {
    path: PathBuf,
    out: Out,
}

enum Out {
    Plain(BufWriter<File>),
    Compressed(Box<zstd::Encoder<'static, BufWriter<File>>>),
}

impl Lines {
    pub(crate) fn plain(path: PathBuf) -> Result<Self, CaseError> {
        let file = File::create(&path).map_err(failed(&path))?;
        Ok(Self { path, out: Out::Plain(BufWriter::new(file)) })
    }

    pub(crate) fn compressed(path: PathBuf) -> Result<Self, CaseError> {
        let encoder = File::create(&path)
            .and_then(|file| zstd::Encoder::new(BufWriter::new(file), COMPRESSION_LEVEL))
            .map_err(failed(&path))?;
        Ok(Self { path, out: Out::Compressed(Box::new(encoder)) })
    }

    pub(crate) fn write_all<'a, T: Serialize + 'a>(
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

    pub(crate) fn finish(self) -> Result<(), CaseError> {
        let flushed = match self.out {
            Out::Plain(mut out) => out.flush(),
            Out::Compressed(encoder) => encoder.finish().and_then(|mut out| out.flush()),
        };
        flushed.map_err(failed(&self.path))
    }
}
