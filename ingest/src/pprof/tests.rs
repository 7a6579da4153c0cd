//! Whole profiles: what becomes of totals, stacks, what dangles, and anything random.

use std::io::Write;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use prost::Message;
use upriver_store::record::LogRecord;
use upriver_store::schema::Table;
use upriver_store::time::UnixNanos;

use super::message::{Function, Label, Line, Location, Mapping, Profile, Sample, ValueType};
use super::{FRAMES_MAX, PprofUpload, UNPACKED_BYTES_MAX, decode_within};
use crate::{DecodeError, DecodeErrorKind, Decoded, decode, record_kind};

const RECEIVED: UnixNanos = UnixNanos(1_800_000_000_000_000_123);

pub(super) fn gzip(raw: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(raw).unwrap();
    encoder.finish().unwrap()
}

/// Builds profiles as a profiler does.
#[derive(Default)]
pub(super) struct Build {
    pub(super) profile: Profile,
}

impl Build {
    pub(super) fn new(sample_types: &[(&str, &str)]) -> Self {
        let mut build = Self::default();
        build.text("");
        for (name, unit) in sample_types {
            let value_type = ValueType { r#type: build.text(name), unit: build.text(unit) };
            build.profile.sample_type.push(value_type);
        }
        build
    }

    pub(super) fn text(&mut self, text: &str) -> i64 {
        let texts = &mut self.profile.string_table;
        let known = texts.iter().position(|known| known == text.as_bytes());
        let position = known.unwrap_or_else(|| {
            texts.push(Bytes::copy_from_slice(text.as_bytes()));
            texts.len() - 1
        });
        i64::try_from(position).unwrap()
    }

    /// A location with these functions inlined, innermost first.
    pub(super) fn location(&mut self, functions: &[&str]) -> u64 {
        let line = functions.iter().map(|name| {
            let id = self.profile.function.len() as u64 + 1;
            let name = self.text(name);
            self.profile.function.push(Function { id, name, ..Function::default() });
            Line { function_id: id, line: 7, column: 0 }
        });
        let line = line.collect();
        let id = self.profile.location.len() as u64 + 1;
        self.profile.location.push(Location { id, line, ..Location::default() });
        id
    }

    pub(super) fn sample(&mut self, location_id: &[u64], value: &[i64]) -> &mut Sample {
        let sample =
            Sample { location_id: location_id.to_vec(), value: value.to_vec(), label: Vec::new() };
        self.profile.sample.push(sample);
        self.profile.sample.last_mut().unwrap()
    }
}

/// `main` calls `work`, into which `inner` was inlined: 3 samples, 30 ms.
fn small() -> Build {
    let mut build = Build::new(&[("samples", "count"), ("cpu", "nanoseconds")]);
    let leaf = build.location(&["inner", "work"]);
    let root = build.location(&["main"]);
    build.sample(&[leaf, root], &[2, 20_000_000]);
    build.sample(&[root], &[1, 10_000_000]);
    build
}

fn record(profile: &Profile) -> LogRecord {
    PprofUpload::new("shop").into_record(profile.encode_to_vec().into(), RECEIVED)
}

fn rows_of(profile: &Profile) -> Decoded {
    decode(&record(profile)).unwrap()
}

fn error_of(profile: &Profile) -> String {
    decode(&record(profile)).unwrap_err().to_string()
}

fn table(decoded: &Decoded, table: Table) -> &RecordBatch {
    &decoded.batches.iter().find(|batch| batch.table == table).unwrap().rows
}

fn ints(rows: &RecordBatch, column: &str) -> Vec<i64> {
    let column = rows.column_by_name(column).unwrap();
    assert_eq!(column.null_count(), 0);
    column.as_primitive::<Int64Type>().values().to_vec()
}

fn texts(rows: &RecordBatch, column: &str) -> Vec<Option<String>> {
    let column = rows.column_by_name(column).unwrap();
    column.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

/// Function, line, mapping, address and inlining of each frame of a stack.
fn frames(decoded: &Decoded, stack: usize) -> Vec<(String, Option<i64>, bool)> {
    let rows = table(decoded, Table::ProfileStacks);
    let frames = rows.column_by_name("frames").unwrap().as_list::<i32>().value(stack);
    let frames = frames.as_struct();
    let functions = frames.column_by_name("function").unwrap().as_string::<i32>();
    let addresses = frames.column_by_name("address").unwrap().as_primitive::<Int64Type>();
    let inlined = frames.column_by_name("inlined").unwrap().as_boolean();
    let frame = |at| {
        let address = addresses.is_valid(at).then(|| addresses.value(at));
        (functions.value(at).to_owned(), address, inlined.value(at))
    };
    (0..frames.len()).map(frame).collect()
}

#[test]
fn samples_stacks_and_functions_become_rows() {
    let decoded = rows_of(&small().profile);
    assert_eq!((decoded.accepted, decoded.rejected, &decoded.message), (2, 0, &None));

    let samples = table(&decoded, Table::ProfileSamples);
    assert_eq!(texts(samples, "sample_type"), some(&["samples", "cpu", "samples", "cpu"]));
    assert_eq!(ints(samples, "value"), [2, 20_000_000, 1, 10_000_000]);
    let stacks = table(&decoded, Table::ProfileStacks);
    let ids = ints(stacks, "stack_id");
    assert_eq!(ints(samples, "stack_id"), [ids[0], ids[0], ids[1], ids[1]]);
    assert_eq!(texts(stacks, "leaf_function"), some(&["inner", "main"]));
    assert_eq!(ints(stacks, "depth"), [3, 1]);
    let expected = [("inner", true), ("work", false), ("main", false)];
    let expected = expected.map(|(name, inlined)| (name.to_owned(), None, inlined));
    assert_eq!(frames(&decoded, 0), expected);

    let functions = table(&decoded, Table::ProfileStackFrames);
    assert_eq!(texts(functions, "function"), some(&["inner", "work", "main", "main"]));
    assert_eq!(ints(functions, "depth_min"), [0, 1, 2, 0]);
    assert_eq!(ints(functions, "stack_id"), [ids[0], ids[0], ids[0], ids[1]]);
}

#[test]
fn a_recursive_function_is_one_row_at_its_nearest_frame() {
    let mut build = Build::new(&[("samples", "count")]);
    let (leaf, again) = (build.location(&["leaf"]), build.location(&["again"]));
    build.sample(&[leaf, again, again, again], &[1]);
    let decoded = rows_of(&build.profile);
    let functions = table(&decoded, Table::ProfileStackFrames);
    assert_eq!(texts(functions, "function"), some(&["leaf", "again"]));
    assert_eq!(ints(functions, "depth_min"), [0, 1]);
    assert_eq!(ints(table(&decoded, Table::ProfileStacks), "depth"), [4]);
}

#[test]
fn values_of_zero_have_no_row_and_negative_ones_do() {
    let mut build = Build::new(&[("samples", "count"), ("cpu", "nanoseconds")]);
    let place = build.location(&["f"]);
    build.sample(&[place], &[0, -5]);
    build.sample(&[], &[1, 0]);
    let decoded = rows_of(&build.profile);
    assert_eq!(ints(table(&decoded, Table::ProfileSamples), "value"), [-5, 1]);
    assert_eq!(texts(table(&decoded, Table::ProfileStacks), "leaf_function"), some(&["f", ""]));
}

#[test]
fn a_profile_without_samples_is_kept() {
    let decoded = rows_of(&Build::new(&[("samples", "count")]).profile);
    assert_eq!(decoded.batches.len(), 1);
    assert_eq!(ints(table(&decoded, Table::Profiles), "sample_count"), [0]);
}

#[test]
fn time_is_the_profiles_then_the_senders_then_the_arrival() {
    let time = |profile: &Profile, upload: PprofUpload| {
        let record = upload.into_record(profile.encode_to_vec().into(), RECEIVED);
        let decoded = decode(&record).unwrap();
        let rows = table(&decoded, Table::Profiles);
        let micros = rows.column_by_name("time").unwrap();
        let micros = micros.as_primitive::<TimestampMicrosecondType>().value(0);
        let exact = ints(rows, "time_unix_nano")[0];
        assert_eq!(micros, exact / 1000);
        (exact, ints(rows, "duration_ns")[0])
    };
    let mut profile = small().profile;
    let sent = || PprofUpload {
        from: Some(UnixNanos(1_700_000_000_000_000_000)),
        until: Some(UnixNanos(1_700_000_010_000_000_000)),
        ..PprofUpload::new("shop")
    };
    assert_eq!(time(&profile, PprofUpload::new("shop")), (RECEIVED.0, 0));
    assert_eq!(time(&profile, sent()), (1_700_000_000_000_000_000, 10_000_000_000));
    profile.time_nanos = 1_600_000_000_000_000_001;
    profile.duration_nanos = 7;
    assert_eq!(time(&profile, sent()), (1_600_000_000_000_000_001, 7));
}

#[test]
fn the_senders_labels_fill_the_columns_of_the_semantic_conventions() {
    let mut upload = PprofUpload::new("shop");
    for (key, value) in [("version", "2"), ("env", "prod"), ("instance", "a1"), ("zone", "b")] {
        upload.set_label(key, value.to_owned());
    }
    upload.sample_rate = 100;
    let record = upload.into_record(small().profile.encode_to_vec().into(), RECEIVED);
    let decoded = decode(&record).unwrap();
    let profiles = table(&decoded, Table::Profiles);
    assert_eq!(texts(profiles, "service_version"), some(&["2"]));
    assert_eq!(texts(profiles, "deployment_environment_name"), some(&["prod"]));
    assert_eq!(texts(profiles, "service_instance_id"), some(&["a1"]));
    assert_eq!(texts(profiles, "period_type"), some(&["cpu/nanoseconds"]));
    assert_eq!(ints(profiles, "period"), [10_000_000]);
    let labels = profiles.column_by_name("labels").unwrap().as_map().value(0);
    assert_eq!(labels.column(0).as_string::<i32>().value(0), "zone");
    assert_eq!(labels.len(), 1);
    let samples = table(&decoded, Table::ProfileSamples);
    assert_eq!(texts(samples, "service_version"), some(&["2"; 4]));
}

#[test]
fn a_profile_keeps_its_id_however_it_was_packed() {
    let id = |body: Vec<u8>, service: &str| {
        let record = PprofUpload::new(service).into_record(body.into(), RECEIVED);
        ints(table(&decode(&record).unwrap(), Table::Profiles), "profile_id")[0]
    };
    let raw = small().profile.encode_to_vec();
    let packed = gzip(&raw);
    assert_eq!(id(raw.clone(), "a"), id(packed, "a"));
    assert_ne!(id(raw.clone(), "a"), id(raw, "b"));
}

#[test]
fn frames_without_a_function_are_named_by_their_place() {
    let mut build = Build::new(&[("samples", "count")]);
    let (filename, build_id) = (build.text("/usr/lib/libx.so.1"), build.text("abc"));
    build.profile.mapping.push(Mapping {
        id: 1,
        memory_start: 0x7f00_0000,
        memory_limit: 0x7f01_0000,
        file_offset: 0x2000,
        filename,
        build_id,
        ..Mapping::default()
    });
    // Mapped, outside its mapping, in no mapping, in the kernel, and nowhere.
    let kernel = 0xffff_ffff_8100_0000_u64;
    let places = [(1, 0x7f00_0123), (1, 0x10), (0, 0x42), (0, kernel), (0, 0)];
    for (number, (mapping_id, address)) in places.into_iter().enumerate() {
        let id = number as u64 + 1;
        build.profile.location.push(Location { id, mapping_id, address, ..Location::default() });
    }
    build.sample(&[1, 2, 3, 4, 5], &[1]);
    let decoded = rows_of(&build.profile);
    let expected = [
        ("libx.so.1+0x2123", Some(0x2123)),
        ("libx.so.1+0x10", Some(0x10)),
        ("0x42", Some(0x42)),
        ("0xffffffff81000000", Some(kernel.cast_signed())),
        ("unknown", None),
    ];
    let expected = expected.map(|(name, address)| (name.to_owned(), address, false));
    assert_eq!(frames(&decoded, 0), expected);
    assert_eq!(ints(table(&decoded, Table::Profiles), "dangling_references"), [0]);
}

#[test]
fn what_dangles_without_harm_is_left_out_and_counted() {
    let mut build = small();
    let profile = &mut build.profile;
    profile.function.pop(); // `main`
    profile.location[0].mapping_id = 9;
    profile.location[1].address = 0x99;
    profile.function[0].filename = 1000;
    let key = 1; // "samples"
    profile.sample[0].label.push(Label { key: -1, str: key, ..Label::default() });
    profile.sample[0].label.push(Label { key, str: 1000, ..Label::default() });
    let decoded = rows_of(profile);
    assert_eq!(ints(table(&decoded, Table::Profiles), "dangling_references"), [5]);
    assert!(decoded.message.as_ref().unwrap().starts_with("5 references"), "{decoded:?}");
    assert_eq!(
        ints(table(&decoded, Table::ProfileSamples), "value").iter().sum::<i64>(),
        30_000_003
    );
    assert_eq!(frames(&decoded, 0)[2], ("0x99".to_owned(), Some(0x99), false));
}

#[test]
fn what_would_falsify_values_refuses_the_profile() {
    let check = |change: fn(&mut Profile), expected: &str| {
        let mut build = small();
        change(&mut build.profile);
        let error = error_of(&build.profile);
        assert!(error.contains(expected), "`{error}` has no `{expected}`");
    };
    check(|profile| profile.sample[1].location_id[0] = 77, "a sample names location 77");
    check(|profile| profile.sample_type[0].r#type = 77, "name of a sample type");
    check(|profile| profile.sample_type.clear(), "no sample types");
    check(|profile| profile.sample[1].value.push(1), "sample 1 has 3 values for 2 sample types");
    check(|profile| profile.location[1].id = 1, "two locations have the id 1");
    check(|profile| profile.function[1].id = 1, "two functions have the id 1");
    check(|profile| profile.mapping = vec![Mapping::default(); 2], "two mappings have the id 0");
    check(|profile| profile.string_table[0] = Bytes::from_static(b"x"), "string table");
    check(|profile| profile.string_table.clear(), "string table");
}

#[test]
fn two_profiles_in_one_body_are_refused() {
    let mut twice = small().profile.encode_to_vec();
    twice.extend(small().profile.encode_to_vec());
    let record = PprofUpload::new("shop").into_record(twice.into(), RECEIVED);
    let error = decode(&record).unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::InvalidArgument);
    assert!(error.to_string().contains("two profiles"), "{error}");
}

#[test]
fn a_name_that_is_not_utf8_is_replaced() {
    let mut build = small();
    let inner = build.text("inner");
    build.profile.string_table[usize::try_from(inner).unwrap()] = Bytes::from_static(b"in\xffner");
    let decoded = rows_of(&build.profile);
    let stacks = table(&decoded, Table::ProfileStacks);
    assert_eq!(texts(stacks, "leaf_function"), some(&["in\u{fffd}ner", "main"]));
}

#[test]
fn long_stacks_keep_their_leaf() {
    let mut build = Build::new(&[("samples", "count")]);
    let (leaf, deep, root) =
        (build.location(&["leaf"]), build.location(&["deep"]), build.location(&["root"]));
    let whole: Vec<u64> =
        [leaf].into_iter().chain(vec![deep; FRAMES_MAX - 2]).chain([root]).collect();
    let long: Vec<u64> =
        [leaf].into_iter().chain(vec![deep; FRAMES_MAX - 1]).chain([root]).collect();
    build.sample(&whole, &[1]);
    build.sample(&long, &[1]);
    let decoded = rows_of(&build.profile);
    let depth = i64::try_from(FRAMES_MAX).unwrap();
    assert_eq!(ints(table(&decoded, Table::ProfileStacks), "depth"), [depth, depth]);
    let last = |stack| frames(&decoded, stack).pop().unwrap().0;
    assert_eq!((last(0), last(1)), ("root".to_owned(), "deep".to_owned()));
    assert_eq!(frames(&decoded, 1)[0].0, "leaf");
    assert!(decoded.message.unwrap().starts_with("1 stacks were cut"));
}

#[test]
fn a_small_body_that_unfolds_without_end_is_refused() {
    let mut build = Build::new(&[("samples", "count")]);
    let name = "f".repeat(100_000);
    let functions = vec![name.as_str(); 1000];
    let place = build.location(&functions);
    for number in 0..20_u64 {
        let other = build.location(&[&number.to_string()]);
        build.sample(&[other, place], &[1]);
    }
    let error = decode(&record(&build.profile)).unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::TooLarge, "{error}");
}

#[test]
fn one_id_is_one_stack_in_any_profile() {
    let ids = |build: &Build| {
        let decoded = rows_of(&build.profile);
        ints(table(&decoded, Table::ProfileStacks), "stack_id")
    };
    let first = ids(&small());
    let mut other = Build::new(&[("samples", "count")]);
    let root = other.location(&["main"]);
    let unrelated = other.location(&["other"]);
    let leaf = other.location(&["inner", "work"]);
    other.sample(&[unrelated], &[1]);
    other.sample(&[leaf, root], &[1]);
    other.profile.location[0].address = 0x1234;
    assert_eq!(ids(&other)[1], first[0], "addresses do not count where the function is known");
    let mut changed = small();
    changed.profile.location[0].line[0].line = 8;
    assert_ne!(ids(&changed)[0], first[0]);
}

#[test]
fn a_logged_record_that_is_no_profile_is_refused() {
    let payload = Bytes::from_static(b"\xff\xff\xff");
    let record = LogRecord { kind: record_kind::PPROF, received: RECEIVED, payload };
    assert!(matches!(decode(&record), Err(DecodeError::Invalid { .. })));
}

/// A profile whose references all lead somewhere, or not.
fn any_profile(dangling: bool) -> impl Strategy<Value = Profile> {
    let reach = if dangling { 9_u64 } else { 4 };
    let sample = (
        prop::collection::vec(1..=reach, 0..6),
        prop::collection::vec(-1_000_000_i64..1_000_000_000, 2),
        prop::collection::vec((0..8_i64, 0..8_i64, any::<i64>()), 0..3),
    );
    prop::collection::vec(sample, 0..20).prop_map(move |samples| {
        let mut build = Build::new(&[("samples", "count"), ("cpu", "nanoseconds")]);
        for functions in [&["a"][..], &["b", "c"], &["a", "d"], &[]] {
            build.location(functions);
        }
        for (locations, values, labels) in samples {
            build.sample(&locations, &values).label = labels
                .into_iter()
                .map(|(key, str, num)| Label { key, str, num, num_unit: 0 })
                .collect();
        }
        build.profile
    })
}

proptest! {
    #[test]
    fn totals_survive(profile in any_profile(false)) {
        let decoded = rows_of(&profile);
        for (position, name) in ["samples", "cpu"].into_iter().enumerate() {
            let total: i64 = profile.sample.iter().map(|sample| sample.value[position]).sum();
            let found: i64 = decoded
                .batches
                .iter()
                .filter(|batch| batch.table == Table::ProfileSamples)
                .map(|batch| {
                    let names = texts(&batch.rows, "sample_type");
                    let values = ints(&batch.rows, "value");
                    let of_type = names.iter().zip(values);
                    let of_type = of_type.filter(|(found, _)| found.as_deref() == Some(name));
                    of_type.map(|(_, value)| value).sum::<i64>()
                })
                .sum();
            prop_assert_eq!(total, found);
        }
        // Each stack of a sample is there once.
        if !profile.sample.is_empty() {
            let mut ids = ints(table(&decoded, Table::ProfileStacks), "stack_id");
            let stacks = ids.len();
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(ids.len(), stacks);
        }
    }

    #[test]
    fn the_same_record_gives_the_same_rows(profile in any_profile(false)) {
        let rows = |decoded: Decoded| {
            decoded.batches.into_iter().map(|batch| batch.rows).collect::<Vec<_>>()
        };
        prop_assert_eq!(rows(rows_of(&profile)), rows(rows_of(&profile)));
    }

    #[test]
    fn dangling_references_give_rows_or_an_error(profile in any_profile(true)) {
        let missing = profile.sample.iter().any(|s| s.location_id.iter().any(|id| *id > 4));
        prop_assert_eq!(decode(&record(&profile)).is_err(), missing);
    }

    #[test]
    fn random_bytes_give_rows_or_an_error(body in prop::collection::vec(any::<u8>(), 0..400)) {
        let record = PprofUpload::new("shop").into_record(body.clone().into(), RECEIVED);
        drop(decode_within(&record, UNPACKED_BYTES_MAX));
        let payload = body.into();
        drop(decode(&LogRecord { kind: record_kind::PPROF, received: RECEIVED, payload }));
    }

    #[test]
    fn damaged_profiles_give_rows_or_an_error(
        profile in any_profile(false),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut body = profile.encode_to_vec();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        drop(decode(&PprofUpload::new("shop").into_record(body.into(), RECEIVED)));
    }
}
