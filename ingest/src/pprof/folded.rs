//! Stacks as text, one a line, turned into pprof: what flame graph tools call folded or collapsed.
//!
//! | format | a line |
//! |---|---|
//! | folded | `main;work;leaf 12`: root first, then the number of samples |
//! | lines | `main;work;leaf`: one sample |
//!
//! The log then holds pprof as for every other profiler.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message;
use upriver_store::time::NANOS_PER_SECOND;

use super::message::{Function, Line, Location, Profile, Sample, ValueType};
use crate::DecodeError;
use crate::otlp::shown;

const WHAT: &str = "folded stacks";
/// Frames and stacks of one body, far above what profilers send; texts make their share of it anyway.
const FRAMES_MAX: usize = 4 << 20;

/// How stacks are written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folding {
    /// A stack and its number of samples on each line.
    Folded,
    /// A sample on each line.
    Lines,
}

/// The body as a pprof profile. With a sampling rate each sample also counts as that much CPU time.
pub fn to_pprof(body: &[u8], folding: Folding, sample_rate: u32) -> Result<Bytes, DecodeError> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let why = format!("the text is not UTF-8 at byte {}", error.valid_up_to());
        DecodeError::invalid(WHAT, why)
    })?;
    let mut table = Table::default();
    let period = NANOS_PER_SECOND.checked_div(i64::from(sample_rate)).unwrap_or_default();
    let mut samples = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let (stack, count) = match folding {
            Folding::Folded => counted(line).ok_or_else(|| {
                let number = number.saturating_add(1);
                let why = format!(
                    "line {number} does not end in a number of samples: {}; write `main;work;leaf 12`",
                    shown(line)
                );
                DecodeError::invalid(WHAT, why)
            })?,
            Folding::Lines => (line, 1),
        };
        let cpu = (period > 0).then(|| count.saturating_mul(period));
        samples.push(Sample {
            location_id: table.stack(stack)?,
            value: [count].into_iter().chain(cpu).collect(),
            label: Vec::new(),
        });
    }
    let samples_count = ValueType { r#type: table.text("samples"), unit: table.text("count") };
    let cpu = ValueType { r#type: table.text("cpu"), unit: table.text("nanoseconds") };
    let has_period = period > 0;
    let profile = Profile {
        sample_type: [samples_count].into_iter().chain(has_period.then_some(cpu)).collect(),
        sample: samples,
        location: table.locations,
        function: table.functions,
        string_table: table.texts,
        period_type: has_period.then_some(cpu),
        period,
        ..Profile::default()
    };
    Ok(profile.encode_to_vec().into())
}

/// A stack and the number behind its last space; frames may have spaces themselves.
fn counted(line: &str) -> Option<(&str, i64)> {
    let (stack, count) = line.rsplit_once(char::is_whitespace)?;
    let count: i64 = count.parse().ok()?;
    (count >= 0 && !stack.trim().is_empty()).then(|| (stack.trim(), count))
}

/// Functions by their names. A function has one location, with the same id.
#[derive(Default)]
struct Table {
    texts: Vec<Bytes>,
    known_texts: HashMap<String, i64>,
    functions: Vec<Function>,
    locations: Vec<Location>,
    known: HashMap<String, u64>,
    frames: usize,
}

impl Table {
    /// The locations of a stack, leaf first.
    fn stack(&mut self, stack: &str) -> Result<Vec<u64>, DecodeError> {
        let frames = stack.split(';').filter(|frame| !frame.is_empty());
        let frames: Vec<u64> = frames.rev().map(|frame| self.location(frame)).collect();
        self.frames = self.frames.saturating_add(frames.len());
        if self.frames > FRAMES_MAX {
            let why = format!("more than {FRAMES_MAX} frames; profile for a shorter time");
            return Err(DecodeError::too_large(WHAT, why));
        }
        Ok(frames)
    }

    fn location(&mut self, name: &str) -> u64 {
        if let Some(id) = self.known.get(name) {
            return *id;
        }
        let id = self.functions.len().saturating_add(1) as u64;
        let name_text = self.text(name);
        self.functions.push(Function { id, name: name_text, ..Function::default() });
        let line = Line { function_id: id, ..Line::default() };
        self.locations.push(Location { id, line: vec![line], ..Location::default() });
        self.known.insert(name.to_owned(), id);
        id
    }

    fn text(&mut self, text: &str) -> i64 {
        if self.texts.is_empty() {
            self.texts.push(Bytes::new());
        }
        if let Some(position) = self.known_texts.get(text) {
            return *position;
        }
        let position = i64::try_from(self.texts.len()).unwrap_or(i64::MAX);
        self.texts.push(Bytes::copy_from_slice(text.as_bytes()));
        self.known_texts.insert(text.to_owned(), position);
        position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, folding: Folding, sample_rate: u32) -> Vec<(Vec<String>, Vec<i64>)> {
        let raw = to_pprof(body.as_bytes(), folding, sample_rate).unwrap();
        let profile = Profile::decode(raw).unwrap();
        let text = |position: i64| {
            let position = usize::try_from(position).unwrap();
            String::from_utf8(profile.string_table[position].to_vec()).unwrap()
        };
        let name = |id: &u64| text(profile.function[usize::try_from(*id).unwrap() - 1].name);
        let types: Vec<_> = profile.sample_type.iter().map(|kind| text(kind.r#type)).collect();
        let expected = if sample_rate > 0 { &["samples", "cpu"][..] } else { &["samples"] };
        assert_eq!(types, expected);
        let stacks = profile.sample.iter();
        stacks.map(|s| (s.location_id.iter().map(name).collect(), s.value.clone())).collect()
    }

    #[test]
    fn folded_stacks_are_root_first_and_end_in_their_count() {
        let text = "main;work;operator new (std) 12\r\n\nmain;work 3\n";
        let read = read(text, Folding::Folded, 0);
        let stack = |frames: &[&str]| frames.iter().map(|&f| f.to_owned()).collect::<Vec<_>>();
        let expected = [
            (stack(&["operator new (std)", "work", "main"]), vec![12]),
            (stack(&["work", "main"]), vec![3]),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn lines_are_one_sample_each_and_a_rate_gives_cpu_time() {
        let read = read("main;42\nmain;42\n", Folding::Lines, 100);
        assert_eq!(read.len(), 2);
        assert_eq!(read[0], (vec!["42".to_owned(), "main".to_owned()], vec![1, 10_000_000]));
    }

    #[test]
    fn what_is_not_folded_says_which_line() {
        for (text, expected) in [
            ("main;work 1\nmain;work\n", "line 2"),
            ("12\n", "line 1"),
            ("main -1\n", "line 1"),
            ("main 99999999999999999999\n", "line 1"),
        ] {
            let error = to_pprof(text.as_bytes(), Folding::Folded, 0).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let error = to_pprof(b"main;\xff 1", Folding::Folded, 0).unwrap_err().to_string();
        assert!(error.contains("not UTF-8 at byte 5"), "{error}");
    }
}
