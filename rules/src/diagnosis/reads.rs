//! What a diagnosis reads of the time before its instant, for taking it along.

use super::document::Diagnosis;
use crate::time::{HOUR, MINUTE, Time, WEEK, Window};

/// Onsets are sought for six hours, held against a day before that; signals of a change a day before the
/// onset are read half an hour further back, and traces have a margin of ten minutes.
const NEAR: i64 = 31 * HOUR;
/// Changes are counted over the week before the onset.
const FAR: i64 = WEEK + 30 * HOUR;
/// Around the same window last week: traces have a margin of ten minutes.
const MARGIN: i64 = 15 * MINUTE;

/// What a diagnosis read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reads {
    /// Time of which everything was read, oldest first.
    pub whole: Vec<Window>,
    /// Time of which it was read which versions ran, and nothing else: whether a change is inferred from
    /// them depends on what ran before.
    pub versions: Vec<Window>,
}

impl Reads {
    /// What the diagnosis of a document read.
    pub fn of(diagnosis: &Diagnosis) -> Self {
        let at = diagnosis.at;
        let all = Window::new(at - FAR, at);
        let asked = diagnosis.request.as_ref().and_then(|request| seconds(request.window_seconds));
        // A document that does not say how long its window was, or a symptom that began before all that
        // is known of it: then who called whom was read over all of the week.
        let is_weekly = diagnosis.baseline.start < at - NEAR;
        let Some(window) = asked.filter(|_| !is_weekly) else {
            return Self { whole: vec![all], versions: Vec::new() };
        };
        let near = Window::new((at - NEAR).min(at - window - HOUR), at);
        let week = Window::new(at - WEEK - window - MARGIN, at - WEEK + MARGIN);
        if near.start <= week.end {
            return Self { whole: vec![all], versions: Vec::new() };
        }
        let versions = vec![Window::new(all.start, week.start), Window::new(week.end, near.start)];
        let versions = versions.into_iter().filter(|window| window.nanos() > 0).collect();
        Self { whole: vec![week, near], versions }
    }

    /// From the first instant to the last.
    pub fn span(&self) -> Window {
        let all = || self.whole.iter().chain(&self.versions);
        let start = all().map(|window| window.start).min().unwrap_or_else(|| Time::of(0));
        Window::new(start, all().map(|window| window.end).max().unwrap_or(start))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a float that is too large saturates")]
fn seconds(seconds: f64) -> Option<i64> {
    let nanos = (seconds * 1e9) as i64;
    (nanos > 0 && nanos < WEEK).then_some(nanos)
}
