//! What a diagnosis read: its document, and the parts of time that it is made from.

use std::io::Read;
use std::path::Path;
use std::{fs, io};

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use upriver_rules::time::Time;
use upriver_rules::{Diagnosis, Reads};

use super::parts::Parts;
use super::rows::Source;
use crate::error::Advise;

/// A diagnosis whose data is exported.
#[derive(Debug)]
pub(super) struct Diagnosed {
    pub(super) id: String,
    /// The document as it came.
    pub(super) json: Vec<u8>,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) parts: Parts,
}

impl Diagnosed {
    /// The diagnosis in a file, on standard input, or with this id among the stored ones.
    pub(super) async fn find(name: &str, source: &Source) -> anyhow::Result<Self> {
        let json = if name == "-" {
            let mut json = Vec::new();
            io::stdin().lock().read_to_end(&mut json).context("could not read standard input")?;
            json
        } else if Path::new(name).exists() {
            fs::read(name).with_context(|| format!("could not read `{name}`"))?
        } else {
            let stored = source.stored_diagnosis(name).await?;
            stored
                .ok_or_else(|| anyhow!("`{name}` is no file and no stored diagnosis"))
                .hint("`upriver diagnose --format json` prints the document that this takes")?
        };
        let document: Diagnosis = serde_json::from_slice(&json)
            .with_context(|| format!("`{name}` is not the document of a diagnosis"))?;
        let reads = Reads::of(&document);
        let instant = |time: Time| Timestamp::from_nanosecond(time.nanos().into());
        let span = reads.span();
        let (from, to) = (instant(span.start)?, instant(span.end)?);
        Ok(Self { id: document.id, json, from, to, parts: Parts::of_diagnosis(&reads)? })
    }
}
