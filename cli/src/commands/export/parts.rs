//! Which parts of time are written of each table.

use jiff::Timestamp;
use upriver_rules::Reads;
use upriver_rules::time::{Time, Window};

use super::range::Range;

/// Ranges of each sort of rows, oldest first and apart from each other.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    /// All spans.
    pub(super) spans: Vec<Range>,
    /// Of the spans those that say which versions ran when.
    pub(super) versions: Vec<Range>,
    pub(super) metrics: Vec<Range>,
    pub(super) logs: Vec<Range>,
    pub(super) profiles: Vec<Range>,
    pub(super) deploys: Vec<Range>,
}

impl Parts {
    /// Everything of a range.
    pub(super) fn whole(range: Range) -> Self {
        let all = vec![range];
        Self {
            spans: all.clone(),
            versions: Vec::new(),
            metrics: all.clone(),
            logs: all.clone(),
            profiles: all.clone(),
            deploys: all,
        }
    }

    /// What a diagnosis reads. It reads no logs; frames of stacks it reads for whole days.
    pub(super) fn of_diagnosis(reads: &Reads) -> anyhow::Result<Self> {
        let ranges = |windows: &[Window]| -> anyhow::Result<Vec<Range>> {
            windows.iter().map(|window| range(*window)).collect()
        };
        let (whole, span) = (ranges(&reads.whole)?, range(reads.span())?);
        let days = whole.iter().map(|part| Range { first: part.days().first, ..*part }).collect();
        Ok(Self {
            spans: whole.clone(),
            versions: ranges(&reads.versions)?,
            metrics: whole,
            logs: Vec::new(),
            profiles: apart(days),
            deploys: vec![span],
        })
    }
}

fn range(window: Window) -> anyhow::Result<Range> {
    let instant = |time: Time| Timestamp::from_nanosecond(time.nanos().into());
    Range::new(instant(window.start)?, instant(window.end)?)
}

/// Ranges that overlap are one.
fn apart(ranges: Vec<Range>) -> Vec<Range> {
    let mut apart: Vec<Range> = Vec::new();
    for range in ranges {
        match apart.last_mut().filter(|last| range.first <= last.last) {
            Some(last) => last.last = last.last.max(range.last),
            None => apart.push(range),
        }
    }
    apart
}
