//! Real profiles: every one gives the totals and top functions of an independent decoder, and what
//! is no profile is refused by its name.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::Path;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use prost::Message;
use serde_json::Value;
use upriver_ingest::pprof::message::Profile;
use upriver_ingest::pprof::{PprofUpload, UNPACKED_BYTES_MAX, decode_within};
use upriver_ingest::{DecodeError, DecodeErrorKind, Decoded};
use upriver_store::schema::Table;
use upriver_store::time::UnixNanos;

use crate::support::{fixtures, read};

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn decode(body: Vec<u8>) -> Result<Decoded, DecodeError> {
    let received = UnixNanos(1_800_000_000_000_000_000);
    let record = PprofUpload::new("fixture").into_record(body.into(), received);
    decode_within(&record, UNPACKED_BYTES_MAX)
}

/// What the tests ask of the rows of one profile.
struct Rows {
    /// Sample type, stack and value.
    samples: Vec<(String, i64, i64)>,
    leaves: HashMap<i64, String>,
    /// Stack, function and family.
    functions: Vec<(i64, String, Option<String>)>,
    profile: RecordBatch,
}

impl Rows {
    fn new(decoded: &Decoded) -> Self {
        let table =
            |table: Table| &decoded.batches.iter().find(|batch| batch.table == table).unwrap().rows;
        let samples = table(Table::ProfileSamples);
        let stacks = table(Table::ProfileStacks);
        let frames = table(Table::ProfileStackFrames);
        let names = texts(samples, "sample_type").into_iter().zip(texts(samples, "unit"));
        let names = names.map(|(name, unit)| format!("{}/{}", name.unwrap(), unit.unwrap()));
        let ids = ints(samples, "stack_id").into_iter().zip(ints(samples, "value"));
        let leaves = texts(stacks, "leaf_function").into_iter().map(Option::unwrap);
        let functions = texts(frames, "function").into_iter().zip(texts(frames, "family"));
        Self {
            samples: names.zip(ids).map(|(name, (stack, value))| (name, stack, value)).collect(),
            leaves: ints(stacks, "stack_id").into_iter().zip(leaves).collect(),
            functions: ints(frames, "stack_id")
                .into_iter()
                .zip(functions)
                .map(|(stack, (function, family))| (stack, function.unwrap(), family))
                .collect(),
            profile: table(Table::Profiles).clone(),
        }
    }

    fn total(&self, sample_type: &str) -> i64 {
        self.of_type(sample_type).map(|(_, value)| value).sum()
    }

    fn of_type(&self, sample_type: &str) -> impl Iterator<Item = (i64, i64)> {
        let samples = self.samples.iter().filter(move |(name, ..)| name == sample_type);
        samples.map(|(_, stack, value)| (*stack, *value))
    }

    /// The sum of the values whose stack has a frame that `matches`.
    fn sum_over(&self, sample_type: &str, matches: impl Fn(&str, Option<&str>) -> bool) -> i64 {
        let stacks: HashSet<i64> = self
            .functions
            .iter()
            .filter(|(_, function, family)| matches(function, family.as_deref()))
            .map(|(stack, ..)| *stack)
            .collect();
        let samples = self.of_type(sample_type).filter(|(stack, _)| stacks.contains(stack));
        samples.map(|(_, value)| value).sum()
    }

    fn flat(&self, sample_type: &str) -> HashMap<&str, i64> {
        let mut sums = HashMap::new();
        for (stack, value) in self.of_type(sample_type) {
            *sums.entry(self.leaves[&stack].as_str()).or_default() += value;
        }
        sums
    }

    /// One count for each stack and name.
    fn cumulative(&self, sample_type: &str) -> HashMap<&str, i64> {
        let mut of_stack: HashMap<i64, i64> = HashMap::new();
        for (stack, value) in self.of_type(sample_type) {
            *of_stack.entry(stack).or_default() += value;
        }
        let distinct: HashSet<(i64, &str)> =
            self.functions.iter().map(|(stack, function, _)| (*stack, function.as_str())).collect();
        let mut sums = HashMap::new();
        for (stack, function) in distinct {
            if let Some(value) = of_stack.get(&stack) {
                *sums.entry(function).or_default() += value;
            }
        }
        sums
    }
}

fn ints(rows: &RecordBatch, column: &str) -> Vec<i64> {
    rows.column_by_name(column).unwrap().as_primitive::<Int64Type>().values().to_vec()
}

fn texts(rows: &RecordBatch, column: &str) -> Vec<Option<String>> {
    let column = rows.column_by_name(column).unwrap();
    column.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
}

fn rows_of(folder: &Path, file: &str) -> Rows {
    Rows::new(&decode(fs::read(folder.join(file)).unwrap()).unwrap())
}

/// What locations without functions are called in our rows, by the bare address that
/// `expected.json` has.
fn names_of_addresses(path: &Path) -> HashMap<String, String> {
    let profile = Profile::decode(read(path).as_slice()).unwrap();
    let unnamed = profile.location.iter().filter(|location| location.line.is_empty());
    let name = |location: &upriver_ingest::pprof::message::Location| {
        let address = location.address;
        let Some(mapping) = profile.mapping.iter().find(|m| m.id == location.mapping_id) else {
            return format!("{address:#x}");
        };
        let file = &profile.string_table[usize::try_from(mapping.filename).unwrap()];
        let file = String::from_utf8(file.to_vec()).unwrap();
        let binary = file.rsplit('/').next().unwrap();
        let inside = (mapping.memory_start..mapping.memory_limit).contains(&address);
        let moved = address.wrapping_sub(mapping.memory_start).wrapping_add(mapping.file_offset);
        format!("{binary}+{:#x}", if inside { moved } else { address })
    };
    unnamed.map(|location| (format!("{:#x}", location.address), name(location))).collect()
}

#[test]
fn valid_profiles_have_the_totals_and_top_functions_of_an_independent_decoder() {
    let Some(folder) = fixtures("pprof") else { return };
    let expected = json(&folder.join("expected.json"));
    let valid = expected.as_object().unwrap().iter().filter(|(_, facts)| facts["kind"] == "pprof");
    let mut checked = 0;
    for (file, facts) in valid {
        check_valid(&folder, file, facts);
        checked += 1;
    }
    assert_eq!(checked, 14);
}

fn check_valid(folder: &Path, file: &str, facts: &Value) {
    let path = folder.join(file);
    let decoded =
        decode(fs::read(&path).unwrap()).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert_eq!((&decoded.message, decoded.rejected), (&None, 0), "{file}");
    assert_eq!(decoded.accepted, facts["n_samples"].as_u64().unwrap(), "{file}");
    let rows = Rows::new(&decoded);
    let one = |column: &str| ints(&rows.profile, column)[0];
    assert_eq!(one("sample_count"), facts["n_samples"].as_i64().unwrap(), "{file}");
    assert_eq!(one("period"), facts["period"].as_i64().unwrap(), "{file}");
    assert_eq!(one("duration_ns"), facts["duration_nanos"].as_i64().unwrap(), "{file}");
    assert_eq!(one("dangling_references"), facts["dangling_refs"].as_i64().unwrap(), "{file}");
    let time = match facts["time_nanos"].as_i64().unwrap() {
        0 => 1_800_000_000_000_000_000,
        time => time,
    };
    assert_eq!(one("time_unix_nano"), time, "{file}");
    let period_type = facts["period_type"].as_str().unwrap();
    assert_eq!(texts(&rows.profile, "period_type")[0].as_deref(), Some(period_type), "{file}");

    let addresses = names_of_addresses(&path);
    let sample_types = facts["sample_types"].as_array().unwrap();
    for (sample_type, total) in sample_types.iter().zip(facts["totals"].as_array().unwrap()) {
        let sample_type = sample_type.as_str().unwrap();
        assert_eq!(rows.total(sample_type), total.as_i64().unwrap(), "{file} {sample_type}");
        let top = &facts["top"][sample_type];
        check_top(&rows.flat(sample_type), &top["flat"], &addresses, file);
        check_top(&rows.cumulative(sample_type), &top["cum"], &addresses, file);
    }
}

/// Each name has its value, and no name outside has more than the last one.
fn check_top(
    found: &HashMap<&str, i64>,
    expected: &Value,
    addresses: &HashMap<String, String>,
    file: &str,
) {
    let expected: Vec<(&str, i64)> = expected
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row[0].as_str().unwrap(), row[1].as_i64().unwrap()))
        .collect();
    let mut names = HashSet::new();
    for (name, value) in &expected {
        let name = addresses.get(*name).map_or(*name, String::as_str);
        assert_eq!(found.get(name), Some(value), "{file}: {name}");
        names.insert(name);
    }
    let least = expected.iter().map(|(_, value)| *value).min().unwrap();
    for (name, value) in found {
        assert!(names.contains(name) || *value <= least, "{file}: {name} has {value}");
    }
}

#[test]
fn labels_of_samples_are_kept() {
    let Some(folder) = fixtures("pprof") else { return };
    let check = |file: &str, key: &str, distinct: usize| {
        let decoded = decode(fs::read(folder.join(file)).unwrap()).unwrap();
        let samples = decoded.batches.iter().find(|b| b.table == Table::ProfileSamples).unwrap();
        let labels = samples.rows.column_by_name("labels").unwrap().as_map();
        let keys = labels.keys().as_string::<i32>().iter();
        let values = labels.values().as_string::<i32>().iter();
        let of_key = keys.zip(values).filter(|(found, _)| *found == Some(key));
        let found: BTreeSet<_> = of_key.map(|(_, value)| value.unwrap()).collect();
        assert_eq!(found.len(), distinct, "{file} {key}");
    };
    check("go-cpu-labels-goroutines.pprof", "mylabel", 3);
    check("go-cpu-parca-agent.pb.gz", "api", 1);
    check("go-heap-4types.pb.gz", "bytes", 173);
    check("ebpf-parca-agent-labels.pb.gz", "thread_id", 6);
    check("ebpf-parca-agent-labels.pb.gz", "thread_name", 1);
}

#[test]
fn what_is_no_profile_is_refused_by_its_name() {
    let Some(folder) = fixtures("pprof") else { return };
    use DecodeErrorKind::{InvalidArgument, Unsupported};
    let cases = [
        ("legacy-cpp.cpu", Unsupported, "binary CPU profile of gperftools"),
        ("legacy-java.cpu", Unsupported, "binary CPU profile of gperftools"),
        ("legacy-cpp.heap", Unsupported, "heapz_v2 text format"),
        ("legacy-go.heap", Unsupported, "text format of Go heap profiles (debug=1)"),
        ("legacy-cpp.growth", Unsupported, "gperftools growthz text format"),
        ("legacy-cpp.contention", Unsupported, "text format of contention profiles"),
        ("legacy-cpp.thread", Unsupported, "gperftools threadz text format"),
        ("corrupt-empty.pprof", InvalidArgument, "the profile is empty"),
        ("corrupt-gzip-of-empty.pprof", InvalidArgument, "the profile is empty"),
        ("corrupt-gzip-truncated.pprof", InvalidArgument, "the gzip data is truncated"),
        ("corrupt-gzip-crc.pprof", InvalidArgument, "the gzip data is damaged"),
        ("corrupt-gzip-bitflip.pprof", InvalidArgument, "the gzip data is damaged"),
        ("corrupt-gzip-trailing-garbage.pprof", InvalidArgument, "bytes that are not gzip follow"),
    ];
    for (file, kind, expected) in cases {
        let error = decode(fs::read(folder.join(file)).unwrap()).unwrap_err();
        assert!(error.to_string().contains(expected), "{file}: `{error}` has no `{expected}`");
        assert_eq!(error.kind(), kind, "{file}");
        assert!(error.to_string().contains("; ") || error.to_string().contains(": "), "{error}");
    }
    let listed: HashSet<&str> = cases.iter().map(|(file, ..)| *file).collect();
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let bad = name.starts_with("legacy-") || name.starts_with("corrupt-");
        assert!(!bad || listed.contains(name.as_str()), "{name} is not tested");
    }
}

/// The functions (or, with `*`, packages) of our families that make our figures larger than those of
/// `gc_shares.expected.json`, whose lists are short. Each does what its family says.
const BEYOND: [(&str, &[&str]); 3] = [
    (
        "gc",
        &[
            // Write barriers, which run only while the collector marks.
            "runtime.bulkBarrierPreWrite",
            "runtime.bulkBarrierPreWriteSrcOnly",
            "runtime.typeBitsBulkBarrier",
            "runtime.(*wbBuf).get1",
            "runtime.(*wbBuf).get2",
            "gcWriteBarrier",
            // Marking what is allocated meanwhile.
            "runtime.gcmarknewobject",
            // Queues of work, sweeping for room, the end of a cycle.
            "runtime.(*gcWork).empty",
            "runtime.(*mheap).reclaim",
            "runtime.(*mheap).reclaimChunk",
            "runtime.gcMarkDone.func1",
        ],
    ),
    ("allocation", &["runtime.makechan", "runtime.newarray"]),
    ("serialization", &["github.com/goccy/go-json*", "github.com/segmentio/encoding/thrift.*"]),
];

/// Our figures: file, family, nanoseconds.
const WHOLE: [(&str, &str, i64); 12] = [
    ("go-cpu-golbat-prod-greentea.pprof", "gc", 275_200_000_000),
    ("go-cpu-golbat-prod-greentea.pprof", "allocation", 76_660_000_000),
    ("go-cpu-golbat-prod-greentea.pprof", "serialization", 96_250_000_000),
    ("go-cpu-labels-goroutines.pprof", "gc", 300_000_000),
    ("go-cpu-labels-goroutines.pprof", "allocation", 5_320_000_000),
    ("go-cpu-labels-goroutines.pprof", "serialization", 0),
    ("go-cpu-parca-agent.pb.gz", "gc", 60_000_000),
    ("go-cpu-parca-agent.pb.gz", "allocation", 460_000_000),
    ("go-cpu-parca-agent.pb.gz", "serialization", 60_000_000),
    ("go-cpu-fib.pb.gz", "gc", 180_000_000),
    ("go-cpu-fib.pb.gz", "allocation", 450_000_000),
    ("go-cpu-fib.pb.gz", "serialization", 0),
];

const CPU: &str = "cpu/nanoseconds";

#[test]
fn families_have_the_shares_of_an_independent_count() {
    let Some(folder) = fixtures("pprof") else { return };
    let expected = json(&folder.join("gc_shares.expected.json"));
    let keys = [("gc", "gc"), ("alloc", "allocation"), ("serde", "serialization")];
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for (file, shares) in expected["cpu_nanoseconds"].as_object().unwrap() {
        let rows = rows_of(&folder, file);
        assert_eq!(rows.total(CPU), shares["total"].as_i64().unwrap(), "{file}");
        for (key, family) in keys {
            check_listed(&rows, family, &expected["patterns"][key]);
            let (_, beyond) = BEYOND.iter().find(|(name, _)| *name == family).unwrap();
            let is_beyond = |function: &str| beyond.iter().find(|name| matches(name, function));
            used.extend(rows.functions.iter().filter_map(|(_, function, _)| is_beyond(function)));
            let without = rows.sum_over(CPU, |function, found| {
                found == Some(family) && is_beyond(function).is_none()
            });
            assert_eq!(without, shares[key].as_i64().unwrap(), "{file} {family}");
            let whole = rows.sum_over(CPU, |_, found| found == Some(family));
            assert!(WHOLE.contains(&(file, family, whole)), "{file} {family} {whole}");
        }
        let both = rows.sum_over(CPU, |function, found| {
            let listed = |key: &str| is_listed(&expected["patterns"][key], function);
            matches!(found, Some("gc" | "allocation")) && (listed("gc") || listed("alloc"))
        });
        assert_eq!(both, shares["gc_or_alloc"].as_i64().unwrap(), "{file}");
    }
    let unused = BEYOND.iter().flat_map(|(_, names)| *names).find(|name| !used.contains(*name));
    assert_eq!(unused, None);
}

/// Every function of the short lists is in our family.
fn check_listed(rows: &Rows, family: &str, patterns: &Value) {
    for (_, function, found) in &rows.functions {
        let ours = found.as_deref() == Some(family);
        assert!(ours || !is_listed(patterns, function), "{function}: {found:?}, not {family}");
    }
}

fn is_listed(patterns: &Value, function: &str) -> bool {
    let patterns = patterns.as_array().unwrap();
    patterns.iter().any(|pattern| matches(pattern.as_str().unwrap(), function))
}

fn matches(pattern: &str, function: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => function.starts_with(prefix),
        None => function == pattern,
    }
}
