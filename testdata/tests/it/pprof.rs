//! A reader of pprof files, for the samples that hold a function.

use flate2::read::GzDecoder;
use prost::Message;
use std::collections::BTreeMap;
use std::io::Read;

#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<Pair>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Pair>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(int64, tag = "12")]
    period: i64,
}

/// Two numbers: type and unit of a value, or id and name of a function.
#[derive(Clone, Copy, PartialEq, Message)]
struct Pair {
    #[prost(int64, tag = "1")]
    first: i64,
    #[prost(int64, tag = "2")]
    second: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Pair>,
}

/// A profile as its samples: the functions of a stack, leaf first, and how often it was seen.
#[derive(Debug)]
pub(crate) struct Samples {
    pub(crate) time_unix_nano: i64,
    pub(crate) duration_nano: i64,
    pub(crate) stacks: Vec<(Vec<String>, i64)>,
}

pub(crate) fn read(bytes: &[u8]) -> Samples {
    let mut raw = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut raw).unwrap();
    let profile = Profile::decode(raw.as_slice()).unwrap();
    let string = |index: i64| &profile.string_table[usize::try_from(index).unwrap()];
    let types: Vec<_> =
        profile.sample_type.iter().map(|t| (string(t.first), string(t.second))).collect();
    assert_eq!(types.len(), 2);
    assert_eq!((types[0].0.as_str(), types[0].1.as_str()), ("samples", "count"));
    assert_eq!((types[1].0.as_str(), types[1].1.as_str()), ("cpu", "nanoseconds"));
    let functions: BTreeMap<i64, &String> =
        profile.function.iter().map(|f| (f.first, string(f.second))).collect();
    let locations: BTreeMap<u64, &Location> = profile.location.iter().map(|l| (l.id, l)).collect();
    let stacks = profile
        .sample
        .iter()
        .map(|sample| {
            assert_eq!(sample.value[1], sample.value[0] * profile.period);
            let frames = sample.location_id.iter().flat_map(|id| &locations[id].line);
            (frames.map(|line| functions[&line.first].clone()).collect(), sample.value[0])
        })
        .collect();
    Samples { time_unix_nano: profile.time_nanos, duration_nano: profile.duration_nanos, stacks }
}

/// Number of samples, and of those whose stack holds one of the functions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) total: i64,
    pub(crate) matching: i64,
}

impl Count {
    pub(crate) fn add(&mut self, samples: &Samples, functions: &[&str]) {
        for (stack, count) in &samples.stacks {
            self.total += count;
            if stack.iter().any(|function| functions.contains(&function.as_str())) {
                self.matching += count;
            }
        }
    }

    pub(crate) fn percent(&self) -> f64 {
        100.0 * self.matching as f64 / self.total as f64
    }
}
