//! `upriver import`: files, case folders and exports into a data folder, each file once.
//!
//! A file is known by the hash of its bytes. It is checked to its end before any of it is committed,
//! so a bad record leaves nothing behind, and what was committed when an import was cut off is not
//! committed again by the next one.

mod decode;
mod tables;
mod unit;

use anyhow::Context;
use indicatif::ProgressBar;
use upriver_store::batch::TableBatch;
use upriver_store::store::{Chunk, ImportedRows, Store};

use crate::args::ImportArgs;
use crate::output::Output;
use crate::run::Outcome;

use decode::Decoder;
use tables::Tables;
use unit::Unit;

/// Rows held in memory between commits.
const CHUNK_BYTES_MAX: usize = 512 << 20;

/// Imports every file that is not in yet.
pub(crate) async fn run(args: ImportArgs, output: &mut Output<'_>) -> anyhow::Result<Outcome> {
    let mut found = Vec::new();
    for path in &args.paths {
        found.push(match tables::find(path)? {
            Some(tables) => Found::Tables(tables),
            None => Found::Units(unit::find(path, args.service.as_deref())?),
        });
    }
    let store = Store::open(args.tables.options(), upriver_ingest::replay()).await?;
    let imported = import_found(&store, &found, output).await;
    let closed = store.close().await;
    imported?;
    closed.context("could not close the data folder")?;
    Ok(Outcome::Done)
}

/// What a path leads to.
enum Found {
    Units(Vec<Unit>),
    Tables(Tables),
}

async fn import_found(
    store: &Store,
    found: &[Found],
    output: &mut Output<'_>,
) -> anyhow::Result<()> {
    for found in found {
        match found {
            Found::Units(units) => import_all(store, units, output).await?,
            Found::Tables(tables) => tables.import(store, output).await?,
        }
    }
    Ok(())
}

async fn import_all(store: &Store, units: &[Unit], output: &mut Output<'_>) -> anyhow::Result<()> {
    for unit in units {
        let source = unit.source()?;
        let name = unit.name();
        if store.import_finished(&source).await? {
            output.note(format!("{name}: already in"))?;
            continue;
        }
        let progress = ProgressBar::new_spinner().with_message(name.clone());
        let taken = import(store, unit, &source, &progress).await;
        progress.finish_and_clear();
        let taken = taken?;
        output.note(format!("{name}: {taken}"))?;
    }
    Ok(())
}

/// How much of a file was taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    accepted: u64,
    rejected: u64,
    why: Option<String>,
}

impl std::fmt::Display for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} records", self.accepted)?;
        if self.rejected > 0 {
            let why = self.why.as_deref().unwrap_or("no reason given");
            write!(f, ", {} rejected ({why})", self.rejected)?;
        }
        Ok(())
    }
}

/// Checks the whole unit, then commits it. One that fits into a chunk is read once, a larger one
/// twice.
async fn import(
    store: &Store,
    unit: &Unit,
    source: &str,
    progress: &ProgressBar,
) -> anyhow::Result<Taken> {
    let mut checked = Decoder::open(unit)?;
    let first = next_chunk(&mut checked, progress)?;
    let mut ahead = next_chunk(&mut checked, progress)?;
    let is_single = ahead.is_empty();
    while !ahead.is_empty() {
        ahead = next_chunk(&mut checked, progress)?;
    }
    if is_single {
        let chunk = Chunk { number: 0, is_last: true };
        store.import(source, chunk, ImportedRows::Received(first)).await?;
        return Ok(checked.taken().clone());
    }
    drop(first);
    let mut decoder = Decoder::open(unit)?;
    let mut chunk = next_chunk(&mut decoder, progress)?;
    for number in 0.. {
        let next = next_chunk(&mut decoder, progress)?;
        let is_last = next.is_empty();
        let rows = ImportedRows::Received(chunk);
        store.import(source, Chunk { number, is_last }, rows).await?;
        if is_last {
            break;
        }
        chunk = next;
    }
    Ok(checked.taken().clone())
}

/// Rows up to the limit of a chunk; none at the end.
fn next_chunk(
    decoder: &mut Decoder<'_>,
    progress: &ProgressBar,
) -> anyhow::Result<Vec<TableBatch>> {
    let mut chunk = Vec::new();
    let mut bytes = 0;
    while bytes < CHUNK_BYTES_MAX {
        let Some(batches) = decoder.next_record()? else { break };
        bytes += batches.iter().map(|batch| batch.rows.get_array_memory_size()).sum::<usize>();
        chunk.extend(batches);
        progress.tick();
    }
    Ok(chunk)
}
