//! Profiles as pprof, and the lines of `profiles.jsonl` that say whose they are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write;

use arrow::array::{Array, AsArray};
use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use serde::Serialize;
use upriver_store::batch::TableBatch;

use super::EncodeError;
use super::attributes::texts_of_row;
use super::lines::json;
use super::rows::{Hex, Rows, SpanId, elements, int, text};
use super::stacks::{Measured, ProfileBuilder, Stacks};

/// A profile as it is written into a case.
#[derive(Clone, Debug)]
pub struct ProfileFile {
    /// pprof, gzip.
    pub body: Vec<u8>,
    /// Its samples.
    pub samples: u64,
    entry: Entry,
}

/// A line of `profiles.jsonl`.
#[derive(Clone, Debug, Serialize)]
struct Entry {
    file: String,
    service: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    profile_type: Option<String>,
    time_unix_nano: i64,
    duration_nano: i64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
}

impl ProfileFile {
    /// The line of `profiles.jsonl` with its line feed, once the file has a name.
    pub fn line(&self, file: &str) -> String {
        let entry = Entry { file: file.to_owned(), ..self.entry.clone() };
        let mut line = json(&entry);
        line.push('\n');
        line
    }
}

/// Rows of `profiles`, `profile_samples` and `profile_stacks` as files, one for each profile.
pub fn profiles(
    profiles: &TableBatch,
    samples: &TableBatch,
    stacks: &TableBatch,
) -> Result<Vec<ProfileFile>, EncodeError> {
    let (profiles, samples) = (Rows::new(profiles), Rows::new(samples));
    let stacks = Stacks::new(Rows::new(stacks));
    let ids = profiles.ints("profile_id");
    let mut shares = Shares::new(profiles, samples);
    (0..profiles.count())
        .map(|row| {
            let own = shares.take(ids.value(row));
            Ok(ProfileFile {
                body: body(profiles, row, samples, &own, &stacks)?,
                samples: own.len() as u64,
                entry: entry(profiles, row),
            })
        })
        .collect()
}

/// The rows of `profile_samples` of each profile. A profile that was sent twice is there twice, and so
/// are its samples: they are dealt out in turn.
struct Shares(HashMap<i64, Vec<Vec<usize>>>);

impl Shares {
    fn new(profiles: Rows<'_>, samples: Rows<'_>) -> Self {
        let mut shares = HashMap::<_, Vec<Vec<usize>>>::new();
        for id in profiles.ints("profile_id").values() {
            shares.entry(*id).or_default().push(Vec::new());
        }
        let mut dealt = HashMap::<i64, usize>::new();
        for (row, id) in samples.ints("profile_id").values().iter().enumerate() {
            if let Some(takers) = shares.get_mut(id) {
                let turn = dealt.entry(*id).or_default();
                let taker = *turn % takers.len();
                takers[taker].push(row);
                *turn += 1;
            }
        }
        Self(shares)
    }

    fn take(&mut self, id: i64) -> Vec<usize> {
        self.0.get_mut(&id).and_then(Vec::pop).unwrap_or_default()
    }
}

fn entry(rows: Rows<'_>, row: usize) -> Entry {
    let of_row = |name| text(rows.texts(name), row).map(str::to_owned);
    let labels = texts_of_row(rows.maps("labels"), row);
    let mut labels: BTreeMap<_, _> =
        labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let profile_type = labels.remove("type");
    if let Some(instance) = of_row("service_instance_id") {
        labels.insert("service.instance.id".to_owned(), instance);
    }
    Entry {
        file: String::new(),
        service: rows.texts("service_name").value(row).to_owned(),
        version: of_row("service_version"),
        environment: of_row("deployment_environment_name"),
        profile_type,
        time_unix_nano: rows.ints("time_unix_nano").value(row),
        duration_nano: rows.ints("duration_ns").value(row),
        labels,
    }
}

/// What tells the samples of a profile apart: values of one sample may be of several types.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SampleKey<'a> {
    stack: i64,
    time: i64,
    span: Option<SpanId>,
    trace: Option<Hex<'a>>,
    labels: BTreeMap<&'a str, &'a str>,
}

fn body(
    profiles: Rows<'_>,
    row: usize,
    samples: Rows<'_>,
    own: &[usize],
    stacks: &Stacks<'_>,
) -> Result<Vec<u8>, EncodeError> {
    let start = profiles.ints("time_unix_nano").value(row);
    let types = SampleTypes::new(profiles, row, samples, own);
    let mut builder = ProfileBuilder::default();
    for (name, unit) in &types.0 {
        builder.sample_type(name, unit);
    }
    for (key, values) in by_sample(samples, own, &types) {
        // Values of one type with the same stack and labels are those of several samples.
        let alike = values.iter().map(Vec::len).max().unwrap_or_default();
        for number in 0..alike {
            let values = values.iter().map(|values| values.get(number).copied().unwrap_or(0));
            builder.sample(
                stacks,
                &Measured {
                    stack: key.stack,
                    values: values.collect(),
                    time: (key.time != start).then_some(key.time),
                    span: key.span,
                    trace: key.trace,
                    labels: &key.labels,
                },
            );
        }
    }
    let count = usize::try_from(profiles.ints("sample_count").value(row)).unwrap_or_default();
    builder.pad(count);
    if let Some(period_type) = text(profiles.texts("period_type"), row) {
        let (name, unit) = split(period_type);
        builder.period_type(name, unit);
    }
    let mut profile = builder.finish();
    profile.time_nanos = start;
    profile.duration_nanos = profiles.ints("duration_ns").value(row);
    profile.period = profiles.ints("period").value(row);
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&profile.encode_to_vec())?;
    Ok(packed.finish()?)
}

/// The values of each sample by type.
fn by_sample<'a>(
    samples: Rows<'a>,
    own: &[usize],
    types: &SampleTypes<'a>,
) -> BTreeMap<SampleKey<'a>, Vec<Vec<i64>>> {
    let traces = samples.bytes("trace_id");
    let mut found = BTreeMap::<_, Vec<Vec<i64>>>::new();
    for row in own {
        let key = SampleKey {
            stack: samples.ints("stack_id").value(*row),
            time: samples.ints("time_unix_nano").value(*row),
            span: int(samples.ints("span_id"), *row).map(SpanId),
            trace: traces.is_valid(*row).then(|| Hex(traces.value(*row))),
            labels: texts_of_row(samples.maps("labels"), *row),
        };
        let values = found.entry(key).or_insert_with(|| vec![Vec::new(); types.0.len()]);
        if let Some(of_type) = types.position(samples, *row) {
            values[of_type].push(samples.ints("value").value(*row));
        }
    }
    found
}

/// Name and unit of each value of a sample.
struct SampleTypes<'a>(Vec<(&'a str, &'a str)>);

impl<'a> SampleTypes<'a> {
    /// The row says `cpu/nanoseconds`; which slash it is, where there are several, the samples say.
    fn new(profiles: Rows<'a>, row: usize, samples: Rows<'a>, own: &[usize]) -> Self {
        let known: BTreeSet<_> = own.iter().map(|row| Self::of_sample(samples, *row)).collect();
        let list = profiles.lists("sample_types");
        let texts = list.values().as_string::<i32>();
        let types = elements(list.value_offsets(), row).map(|at| {
            let joined = texts.value(at);
            let is_known = |(name, unit): &&(&str, &str)| {
                joined.strip_prefix(name).and_then(|rest| rest.strip_prefix('/')) == Some(unit)
            };
            known.iter().find(is_known).copied().unwrap_or_else(|| split(joined))
        });
        Self(types.collect())
    }

    fn of_sample(samples: Rows<'a>, row: usize) -> (&'a str, &'a str) {
        (samples.texts("sample_type").value(row), samples.texts("unit").value(row))
    }

    fn position(&self, samples: Rows<'a>, row: usize) -> Option<usize> {
        let wanted = Self::of_sample(samples, row);
        self.0.iter().position(|known| *known == wanted)
    }
}

/// Name and unit of `cpu/nanoseconds`.
fn split(joined: &str) -> (&str, &str) {
    joined.rsplit_once('/').unwrap_or((joined, ""))
}
