//! The importable case: a folder with what the Collector's file exporter, a profiler and a delivery
//! pipeline would have written, and the label.

use super::{ProfileEntry, Scenario, Slice};
use crate::case_folder::{Lines, make_folder, write_file, write_label};
use std::path::Path;

pub use crate::case_folder::CaseError;

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
        make_folder(&profile_folder)?;
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
                write_file(&folder.join(&profile.entry.file), &profile.bytes)?;
            }
            entries.write_all(slice.profiles.iter().map(|p| &p.entry as &ProfileEntry))?;
        }
        for lines in [traces, metrics, entries, deploys] {
            lines.finish()?;
        }
        write_label(folder, &self.label())?;
        Ok(summary)
    }
}
