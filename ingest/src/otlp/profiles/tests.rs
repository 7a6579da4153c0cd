//! Whole requests: the shapes of samples, what they share with pprof, what dangles, older layouts.
#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::profiles::v1development as proto;
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use prost::Message;
use upriver_store::schema::Table;

use super::*;
use crate::pprof::message as pprof;
use crate::rows::tests::cells;
use crate::{DecodeError, DecodeErrorKind};

const START: u64 = 1_795_226_603_510_000_123;
const RECEIVED: UnixNanos = UnixNanos(1_795_226_700_000_000_000);

/// Builds requests as a sender does that keeps to the specification.
struct Build {
    request: ExportProfilesServiceRequest,
    dictionary: proto::ProfilesDictionary,
}

impl Build {
    fn new() -> Self {
        let dictionary = proto::ProfilesDictionary {
            mapping_table: vec![proto::Mapping::default()],
            location_table: vec![proto::Location::default()],
            function_table: vec![proto::Function::default()],
            link_table: vec![proto::Link::default()],
            string_table: vec![String::new()],
            attribute_table: vec![proto::KeyValueAndUnit::default()],
            stack_table: vec![proto::Stack::default()],
        };
        Self { request: ExportProfilesServiceRequest::default(), dictionary }
    }

    fn text(&mut self, text: &str) -> i32 {
        let texts = &mut self.dictionary.string_table;
        let known = texts.iter().position(|known| known == text);
        let position = known.unwrap_or_else(|| {
            texts.push(text.to_owned());
            texts.len() - 1
        });
        i32::try_from(position).unwrap()
    }

    /// A location with these functions of `app.go` inlined, innermost first, on lines 1, 2 and so on.
    fn location(&mut self, functions: &[&str]) -> i32 {
        let mut lines = Vec::new();
        for (name, line) in functions.iter().zip(1..) {
            let (name_strindex, filename_strindex) = (self.text(name), self.text("app.go"));
            let function =
                proto::Function { name_strindex, filename_strindex, ..proto::Function::default() };
            let function_index = add(&mut self.dictionary.function_table, function);
            lines.push(proto::Line { function_index, line, column: 0 });
        }
        add(
            &mut self.dictionary.location_table,
            proto::Location { lines, ..proto::Location::default() },
        )
    }

    fn stack(&mut self, location_indices: Vec<i32>) -> i32 {
        add(&mut self.dictionary.stack_table, proto::Stack { location_indices })
    }

    fn attribute(&mut self, key: &str, value: Any, unit: &str) -> i32 {
        let attribute = proto::KeyValueAndUnit {
            key_strindex: self.text(key),
            value: Some(AnyValue { value: Some(value) }),
            unit_strindex: self.text(unit),
        };
        add(&mut self.dictionary.attribute_table, attribute)
    }

    fn value_type(&mut self, name: &str, unit: &str) -> proto::ValueType {
        proto::ValueType { type_strindex: self.text(name), unit_strindex: self.text(unit) }
    }

    fn profile(&mut self, samples: Vec<proto::Sample>) -> proto::Profile {
        proto::Profile {
            sample_type: Some(self.value_type("cpu", "nanoseconds")),
            samples,
            time_unix_nano: START,
            duration_nano: 10_000_000_000,
            ..proto::Profile::default()
        }
    }

    fn resource(&mut self, attributes: Vec<KeyValue>, profiles: Vec<proto::Profile>) {
        let resource = ProtoResource { attributes, ..ProtoResource::default() };
        let scope_profiles = vec![proto::ScopeProfiles { profiles, ..Default::default() }];
        self.request.resource_profiles.push(proto::ResourceProfiles {
            resource: Some(resource),
            scope_profiles,
            schema_url: String::new(),
        });
    }

    fn bytes(&self) -> Vec<u8> {
        let dictionary = Some(self.dictionary.clone());
        ExportProfilesServiceRequest { dictionary, ..self.request.clone() }.encode_to_vec()
    }

    fn decoded(&self) -> Decoded {
        decode(&self.bytes(), RECEIVED).unwrap()
    }
}

fn add<T>(table: &mut Vec<T>, entry: T) -> i32 {
    table.push(entry);
    i32::try_from(table.len() - 1).unwrap()
}

fn entry(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Any::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, key_strindex: 0 }
}

fn sample(stack_index: i32, values: &[i64], times: &[u64]) -> proto::Sample {
    proto::Sample {
        stack_index,
        values: values.to_vec(),
        timestamps_unix_nano: times.to_vec(),
        ..proto::Sample::default()
    }
}

/// One profile of the service `shop` with one stack, whose samples are made from the stack's index.
fn small(samples: impl FnOnce(i32) -> Vec<proto::Sample>) -> Build {
    let mut build = Build::new();
    let locations = vec![build.location(&["inner", "work"]), build.location(&["main"])];
    let stack = build.stack(locations);
    let profile = build.profile(samples(stack));
    build.resource(vec![entry("service.name", "shop")], vec![profile]);
    build
}

fn refusal(body: &[u8]) -> DecodeError {
    super::super::decode_profiles(body, RECEIVED).unwrap_err()
}

#[test]
fn every_shape_of_a_sample_becomes_its_observations() {
    let times = [START + 5, START + 6, START + 7];
    for (values, times, expected) in [
        (&[10][..], &[][..], vec![format!("10 | {START}")]),
        (&[2, 0, 3], &times, vec![format!("2 | {}", START + 5), format!("3 | {}", START + 7)]),
        (&[], &times[..2], vec![format!("1 | {}", START + 5), format!("1 | {}", START + 6)]),
        (&[4], &[0], vec![format!("4 | {START}")]),
        (&[], &[], vec![]),
    ] {
        let decoded = small(|stack| vec![sample(stack, values, times)]).decoded();
        let rows = cells(&decoded, Table::ProfileSamples, &["value", "time_unix_nano"]);
        assert_eq!(rows, expected);
        assert_eq!((decoded.accepted, decoded.rejected, &decoded.message), (1, 0, &None));
        assert_eq!(cells(&decoded, Table::Profiles, &["sample_count"]), ["1"]);
    }
}

#[test]
fn a_request_without_profiles_has_no_rows() {
    for body in [Vec::new(), Build::new().bytes()] {
        let decoded = decode(&body, RECEIVED).unwrap();
        assert!(decoded.batches.is_empty());
        assert_eq!((decoded.accepted, decoded.message), (0, None));
    }
}

/// A profile that uses every field, and a sample with a link and one without.
fn full() -> Build {
    let mut build = Build::new();
    let location = build.location(&["main"]);
    let stack_index = build.stack(vec![location]);
    let link = proto::Link { trace_id: (1..=16).collect(), span_id: vec![0, 0, 0, 0, 0, 0, 0, 7] };
    let link_index = add(&mut build.dictionary.link_table, link);
    let attribute_indices = vec![
        build.attribute("thread.name", Any::StringValue("worker".into()), ""),
        build.attribute("allocated", Any::IntValue(12), "By"),
        build.attribute("thread.name", Any::StringValue("another".into()), ""),
        build.attribute("empty", Any::ArrayValue(ArrayValue { values: Vec::new() }), ""),
    ];
    let values = vec![10];
    let linked = proto::Sample {
        stack_index,
        link_index,
        attribute_indices,
        values,
        ..proto::Sample::default()
    };
    let mut profile = build.profile(vec![linked, sample(stack_index, &[1], &[])]);
    profile.period_type = Some(build.value_type("cpu", "nanoseconds"));
    profile.period = 50_000_000;
    profile.attribute_indices =
        vec![build.attribute("profile.kind", Any::StringValue("x".into()), "")];
    let attributes = [
        ("service.name", "shop"),
        ("service.version", "1.4.2"),
        ("deployment.environment", "production"),
        ("host.name", "h1"),
        ("process.pid", "7"),
    ];
    build.resource(attributes.map(|(key, value)| entry(key, value)).into(), vec![profile]);
    let scope = InstrumentationScope { name: "ebpf".into(), ..InstrumentationScope::default() };
    build.request.resource_profiles[0].scope_profiles[0].scope = Some(scope);
    build
}

#[test]
fn fields_land_in_their_columns() {
    let decoded = full().decoded();
    let columns = [
        "time",
        "time_unix_nano",
        "duration_ns",
        "service_name",
        "sample_types",
        "service_version",
        "deployment_environment_name",
        "service_instance_id",
        "period_type",
        "period",
        "sample_count",
        "dangling_references",
        "labels",
        "date",
    ];
    assert_eq!(
        cells(&decoded, Table::Profiles, &columns),
        [
            "2026-11-21T02:03:23.510Z | 1795226603510000123 | 10000000000 | shop | [cpu/nanoseconds] \
          | 1.4.2 | production | h1/7 | cpu/nanoseconds | 50000000 | 2 | 0 \
          | {host.name: h1, otel.scope.name: ebpf, process.pid: 7, profile.kind: x} | 2026-11-21"
        ]
    );
    let columns = [
        "service_name",
        "sample_type",
        "unit",
        "value",
        "service_version",
        "deployment_environment_name",
        "span_id",
        "trace_id",
        "labels",
    ];
    let sender = "shop | cpu | nanoseconds";
    assert_eq!(
        cells(&decoded, Table::ProfileSamples, &columns),
        [
            format!(
                "{sender} | 10 | 1.4.2 | production | 7 | 0102030405060708090a0b0c0d0e0f10 \
                 | {{allocated: 12, allocated.unit: By, empty: [], thread.name: worker}}"
            ),
            format!("{sender} | 1 | 1.4.2 | production | ∅ | ∅ | {{}}"),
        ]
    );
    let ids = [
        cells(&decoded, Table::Profiles, &["profile_id"]),
        cells(&decoded, Table::ProfileSamples, &["profile_id"]),
    ];
    assert_eq!(ids[1], [ids[0][0].clone(), ids[0][0].clone()]);
}

/// The same stacks by both formats: inlined functions, a bare address in a mapped library, a line
/// without a function.
fn both_formats() -> (Build, pprof::Profile) {
    let mut build = Build::new();
    let build_id =
        build.attribute("process.executable.build_id.gnu", Any::StringValue("abc".into()), "");
    let other =
        build.attribute("process.executable.build_id.htlhash", Any::StringValue("no".into()), "");
    let mapping = proto::Mapping {
        memory_start: 0x7f00_0000,
        memory_limit: 0x7f01_0000,
        file_offset: 0x2000,
        filename_strindex: build.text("/usr/lib/libx.so.1"),
        attribute_indices: vec![other, build_id],
    };
    let mapping_index = add(&mut build.dictionary.mapping_table, mapping);
    let address = 0x7f00_0123;
    let bare = proto::Location { mapping_index, address, ..proto::Location::default() };
    let places = vec![
        build.location(&["encoding/json.Marshal", "work"]),
        add(&mut build.dictionary.location_table, bare),
        build.location(&["main"]),
    ];
    let stack = build.stack(places);
    let profile = build.profile(vec![sample(stack, &[10], &[])]);
    build.resource(vec![entry("service.name", "shop")], vec![profile]);

    let mut texts: Vec<&str> =
        vec!["", "cpu", "nanoseconds", "app.go", "/usr/lib/libx.so.1", "abc"];
    let names = ["encoding/json.Marshal", "work", "main"];
    texts.extend(names);
    let function = |id: u64| pprof::Function {
        id,
        name: 5 + i64::try_from(id).unwrap(),
        filename: 3,
        ..pprof::Function::default()
    };
    let line = |function_id, line| pprof::Line { function_id, line, column: 0 };
    let location = |id, line| pprof::Location { id, line, ..pprof::Location::default() };
    let own = pprof::Profile {
        sample_type: vec![pprof::ValueType { r#type: 1, unit: 2 }],
        sample: vec![pprof::Sample {
            location_id: vec![1, 2, 3],
            value: vec![10],
            label: Vec::new(),
        }],
        mapping: vec![pprof::Mapping {
            id: 1,
            memory_start: 0x7f00_0000,
            memory_limit: 0x7f01_0000,
            file_offset: 0x2000,
            filename: 4,
            build_id: 5,
            ..pprof::Mapping::default()
        }],
        location: vec![
            location(1, vec![line(1, 1), line(2, 2)]),
            pprof::Location { id: 2, mapping_id: 1, address, ..pprof::Location::default() },
            location(3, vec![line(3, 1)]),
        ],
        function: vec![function(1), function(2), function(3)],
        string_table: texts.iter().map(|text| text.as_bytes().to_vec().into()).collect(),
        time_nanos: i64::try_from(START).unwrap(),
        ..pprof::Profile::default()
    };
    (build, own)
}

#[test]
fn a_stack_is_the_same_through_otlp_and_pprof() {
    let (build, own) = both_formats();
    let otlp = build.decoded();
    let record =
        crate::pprof::PprofUpload::new("shop").into_record(own.encode_to_vec().into(), RECEIVED);
    let pprof = crate::decode(&record).unwrap();
    for table in [Table::ProfileStacks, Table::ProfileStackFrames] {
        let columns: Vec<_> = table.columns().iter().map(|column| column.name).collect();
        assert_eq!(cells(&otlp, table, &columns), cells(&pprof, table, &columns));
    }
    let families = cells(&otlp, Table::ProfileStackFrames, &["function", "family"]);
    assert_eq!(families[0], "encoding/json.Marshal | serialization");
    assert_eq!(families[2], "libx.so.1+0x2123 | ∅");
    let columns = ["service_name", "sample_type", "unit", "stack_id", "value", "time"];
    assert_eq!(
        cells(&otlp, Table::ProfileSamples, &columns),
        cells(&pprof, Table::ProfileSamples, &columns)
    );
}

#[test]
fn index_0_is_an_entry_for_senders_without_placeholders() {
    let mut build = small(|_| Vec::new());
    let dictionary = &mut build.dictionary;
    let shift = |index: &mut i32| *index -= 1;
    dictionary.mapping_table.clear();
    dictionary.location_table.remove(0);
    dictionary.function_table.remove(0);
    dictionary.attribute_table.remove(0);
    dictionary.stack_table.remove(0);
    let lines = dictionary.location_table.iter_mut().flat_map(|location| &mut location.lines);
    lines.for_each(|line| shift(&mut line.function_index));
    let stacks = dictionary.stack_table.iter_mut().flat_map(|stack| &mut stack.location_indices);
    stacks.for_each(shift);
    build.attribute("thread.name", Any::StringValue("first".into()), "");
    let with_attribute =
        proto::Sample { attribute_indices: vec![0], ..sample(0, &[3], &[START + 1]) };
    build.request.resource_profiles[0].scope_profiles[0].profiles[0].samples = vec![with_attribute];
    let decoded = build.decoded();
    assert_eq!(decoded.message, None);
    assert_eq!(
        cells(&decoded, Table::ProfileSamples, &["value", "labels"]),
        ["3 | {thread.name: first}"]
    );
    let functions = cells(&decoded, Table::ProfileStackFrames, &["function", "depth_min"]);
    assert_eq!(functions, ["inner | 0", "work | 1", "main | 2"]);
    assert_eq!(cells(&decoded, Table::Profiles, &["dangling_references"]), ["0"]);
}

#[test]
fn a_sample_without_a_stack_keeps_its_value() {
    let decoded = small(|_| vec![sample(0, &[3], &[])]).decoded();
    assert_eq!(cells(&decoded, Table::ProfileSamples, &["value"]), ["3"]);
    assert_eq!(cells(&decoded, Table::ProfileStacks, &["depth"]), ["0"]);
}

#[test]
fn attributes_of_a_resource_may_refer_to_the_dictionary() {
    let mut build = small(|stack| vec![sample(stack, &[1], &[])]);
    let mut refer = |key: &str, value: &str| KeyValue {
        key: String::new(),
        key_strindex: build.text(key),
        value: Some(AnyValue { value: Some(Any::StringValueStrindex(build.text(value))) }),
    };
    let mut attributes = vec![
        refer("service.name", "cart"),
        refer("service.version", "2.0"),
        refer("container.id", ""),
        entry("process.command_line", "/bin/cart"),
    ];
    let nested = KeyValueList { values: vec![refer("inner key", "inner value")] };
    let inner = vec![
        AnyValue { value: Some(Any::KvlistValue(nested)) },
        AnyValue { value: Some(Any::StringValueStrindex(9999)) },
    ];
    attributes.push(KeyValue {
        value: Some(AnyValue { value: Some(Any::ArrayValue(ArrayValue { values: inner })) }),
        ..entry("list", "")
    });
    attributes.push(KeyValue { key: String::new(), key_strindex: 9999, ..entry("", "x") });
    let resource = build.request.resource_profiles[0].resource.as_mut().unwrap();
    resource.attributes = attributes;
    let decoded = build.decoded();
    assert_eq!(
        cells(&decoded, Table::Profiles, &["service_name", "service_version", "labels"]),
        ["cart | 2.0 | {container.id: , list: [{\"inner key\":\"inner value\"},null], \
          process.command_line: /bin/cart}"]
    );
    assert_eq!(cells(&decoded, Table::ProfileSamples, &["service_name"]), ["cart"]);
    assert!(decoded.message.unwrap().starts_with("2 references to missing"));
}

#[test]
fn a_process_that_names_no_service_is_named_by_its_workload_or_executable() {
    for (attributes, expected) in [
        (&[("service.name", "a"), ("k8s.deployment.name", "b")][..], "a"),
        (&[("service.name", ""), ("k8s.deployment.name", "b"), ("container.name", "c")], "b"),
        (&[("container.name", "c"), ("process.executable.name", "d")], "c"),
        (
            &[("process.executable.name", "d"), ("process.executable.path", "/e/f")],
            "unknown_service:d",
        ),
        (&[("process.executable.path", "/usr/bin/f")], "unknown_service:f"),
        (&[("process.pid", "1")], "unknown_service"),
    ] {
        let mut build = small(|stack| vec![sample(stack, &[1], &[])]);
        let resource = build.request.resource_profiles[0].resource.as_mut().unwrap();
        resource.attributes = attributes.iter().map(|(key, value)| entry(key, value)).collect();
        assert_eq!(cells(&build.decoded(), Table::Profiles, &["service_name"]), [expected]);
    }
}

#[test]
fn what_dangles_without_harm_is_left_out_and_counted() {
    let mut build = small(|stack| {
        let attribute_indices = vec![77, -1];
        vec![proto::Sample { link_index: 9, attribute_indices, ..sample(stack, &[10], &[]) }]
    });
    let dictionary = &mut build.dictionary;
    dictionary.location_table[1].lines[0].function_index = 99;
    dictionary.location_table[2].mapping_index = 99;
    dictionary.function_table[3].filename_strindex = 999;
    let decoded = build.decoded();
    assert_eq!((decoded.accepted, decoded.rejected), (1, 0));
    let message = decoded.message.clone().unwrap();
    assert!(message.starts_with("6 references to missing functions"), "{message}");
    assert_eq!(cells(&decoded, Table::Profiles, &["dangling_references"]), ["6"]);
    assert_eq!(
        cells(&decoded, Table::ProfileSamples, &["value", "span_id", "labels"]),
        ["10 | ∅ | {}"]
    );
    let functions = cells(&decoded, Table::ProfileStackFrames, &["function", "file"]);
    assert_eq!(functions, ["unknown | ∅", "work | app.go", "main | ∅"]);
}

#[test]
fn what_would_falsify_values_rejects_the_profile_alone() {
    let check = |change: fn(&mut Build), expected: &str| {
        let mut build = small(|stack| vec![sample(stack, &[10], &[]), sample(stack, &[5], &[])]);
        let good = build.profile(vec![sample(1, &[7], &[])]);
        build.resource(vec![entry("service.name", "good")], vec![good]);
        change(&mut build);
        let decoded = build.decoded();
        assert_eq!((decoded.accepted, decoded.rejected, decoded.rejected_profiles), (1, 2, 1));
        let message = decoded.message.clone().unwrap();
        assert!(message.starts_with("1 profile rejected because "), "{message}");
        assert!(message.contains(expected), "`{message}` has no `{expected}`");
        assert!(message.contains("(service \"shop\")"), "{message}");
        assert_eq!(cells(&decoded, Table::Profiles, &["service_name"]), ["good"]);
        assert_eq!(cells(&decoded, Table::ProfileSamples, &["value"]), ["7"]);
    };
    fn first(build: &mut Build) -> &mut proto::Profile {
        &mut build.request.resource_profiles[0].scope_profiles[0].profiles[0]
    }
    check(|build| first(build).samples[1].stack_index = 9, "a sample names stack 9");
    check(|build| first(build).samples[1].stack_index = -1, "a sample names stack -1");
    check(
        |build| {
            build.dictionary.stack_table.push(proto::Stack { location_indices: vec![1, 44] });
            first(build).samples[1].stack_index = 2;
        },
        "stack 2 names location 44",
    );
    check(
        |build| first(build).samples[1].timestamps_unix_nano = vec![START; 2],
        "sample 1 has 1 values for 2 timestamps",
    );
    check(|build| first(build).sample_type = None, "it has no sample type");
    check(
        |build| first(build).sample_type.as_mut().unwrap().type_strindex = 99,
        "it has no sample type",
    );
}

#[test]
fn broken_dictionaries_refuse_the_request() {
    let check = |bytes: Vec<u8>, kind: DecodeErrorKind, expected: &str| {
        let error = refusal(&bytes);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    };
    let mut build = small(|stack| vec![sample(stack, &[10], &[])]);
    let twice = [build.bytes(), build.bytes()].concat();
    check(twice, DecodeErrorKind::InvalidArgument, "it has two dictionaries");
    build.dictionary.string_table.remove(0);
    check(build.bytes(), DecodeErrorKind::InvalidArgument, "does not begin with an empty text");
    // dictionary { string_table: "" } many times over.
    let mut many = vec![0x12, 0x80, 0x80, 0x80, 0x08];
    many.extend([0x2a, 0x00].repeat(8 << 20));
    check(many, DecodeErrorKind::TooLarge, "more than 4194304 entries");
    check(b"<html>".to_vec(), DecodeErrorKind::InvalidArgument, "cannot read OTLP profiles: ");
}

#[test]
fn a_small_request_that_unfolds_without_end_is_refused() {
    // A text that many elements of a list refer to.
    let mut build = small(|stack| vec![sample(stack, &[10], &[])]);
    let long = build.text(&"x".repeat(1 << 20));
    let element = AnyValue { value: Some(Any::StringValueStrindex(long)) };
    let list = Any::ArrayValue(ArrayValue { values: vec![element; 1000] });
    build.attribute("list", list, "");
    let error = refusal(&build.bytes());
    assert!(error.to_string().contains("unfold to more than 256 MiB"), "{error}");
    // A label that is on every observation.
    let times: Vec<u64> = (0..100_000).map(|number| START + number).collect();
    let mut build = small(|_| Vec::new());
    let label = build.attribute("k", Any::StringValue("v".repeat(100_000)), "");
    let mut many = sample(1, &[], &times);
    many.attribute_indices = vec![label];
    build.request.resource_profiles[0].scope_profiles[0].profiles[0].samples = vec![many];
    assert_eq!(refusal(&build.bytes()).kind(), DecodeErrorKind::TooLarge);
}

#[test]
fn a_profile_has_the_same_id_whatever_came_with_it() {
    let id = |build: &Build, row: usize| {
        cells(&build.decoded(), Table::Profiles, &["profile_id"]).swap_remove(row)
    };
    let alone = small(|stack| vec![sample(stack, &[10], &[])]);
    let mut second = Build::new();
    let other = second.location(&["elsewhere"]);
    let other = second.stack(vec![other]);
    let profile = second.profile(vec![sample(other, &[1], &[])]);
    second.resource(vec![entry("service.name", "other")], vec![profile]);
    let locations = vec![second.location(&["inner", "work"]), second.location(&["main"])];
    let stack = second.stack(locations);
    let profile = second.profile(vec![sample(stack, &[10], &[])]);
    second.resource(vec![entry("service.name", "shop")], vec![profile]);
    assert_eq!(id(&alone, 0), id(&second, 1));
    assert_ne!(id(&second, 0), id(&second, 1));
    let changed = small(|stack| vec![sample(stack, &[11], &[])]);
    assert_ne!(id(&alone, 0), id(&changed, 0));
}

/// `Sample` as OTLP 1.8 and 1.9 had it.
#[derive(Clone, PartialEq, Message)]
struct EarlierSample {
    #[prost(int32, tag = "1")]
    stack_index: i32,
    #[prost(int64, repeated, tag = "2")]
    values: Vec<i64>,
    #[prost(int32, repeated, tag = "3")]
    attribute_indices: Vec<i32>,
    #[prost(int32, tag = "4")]
    link_index: i32,
    #[prost(fixed64, repeated, tag = "5")]
    timestamps_unix_nano: Vec<u64>,
}

/// A request whose samples are these bytes and whose other messages are today's.
fn with_samples(samples: &[Vec<u8>], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut build = small(|_| Vec::new());
    build.attribute("thread.name", Any::StringValue("worker".into()), "");
    build.attribute("thread.id", Any::IntValue(7), "");
    let profile = build.profile(Vec::new());
    let mut bytes = profile.encode_to_vec();
    for sample in samples {
        bytes.push(0x12);
        bytes.push(u8::try_from(sample.len()).unwrap());
        bytes.extend_from_slice(sample);
    }
    change(&mut bytes);
    let dictionary = Some(build.dictionary);
    let mut request =
        ExportProfilesServiceRequest { dictionary, ..Default::default() }.encode_to_vec();
    for tag in [0x12, 0x12, 0x0a] {
        let mut outer = vec![tag];
        prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
        outer.extend_from_slice(&bytes);
        bytes = outer;
    }
    request.extend_from_slice(&bytes);
    request
}

#[test]
fn the_layout_of_1_8_and_1_9_is_read_as_such() {
    let earlier = |values: &[i64], attributes: &[i32], link_index: i32, times: &[u64]| {
        EarlierSample {
            stack_index: 1,
            values: values.to_vec(),
            attribute_indices: attributes.to_vec(),
            link_index,
            timestamps_unix_nano: times.to_vec(),
        }
        .encode_to_vec()
    };
    for (samples, expected) in [
        // Told by attributes or links.
        (vec![earlier(&[2], &[1], 0, &[START])], "2"),
        (vec![earlier(&[2], &[], 1, &[START])], "2"),
        (vec![earlier(&[1], &[], 0, &[START]), earlier(&[], &[1], 0, &[START, START])], "1,1,1"),
        // Told by what field 2 can be.
        (vec![earlier(&[1], &[], 0, &[])], "1"),
        (vec![earlier(&[1_000_000], &[], 0, &[START])], "1000000"),
        (vec![earlier(&[-1], &[], 0, &[START])], "-1"),
        (vec![earlier(&[1, 1], &[], 0, &[START, START + 1])], "1,1"),
    ] {
        let decoded = decode(&with_samples(&samples, |_| ()), RECEIVED).unwrap();
        let values = cells(&decoded, Table::ProfileSamples, &["value"]).join(",");
        assert_eq!(values, expected, "{samples:?}");
        assert_eq!(decoded.rejected_profiles, 0);
    }
}

#[test]
fn the_current_layout_is_read_as_such() {
    let current = |attributes: &[i32], link_index: i32, values: &[i64], times: &[u64]| {
        proto::Sample {
            stack_index: 1,
            attribute_indices: attributes.to_vec(),
            link_index,
            values: values.to_vec(),
            timestamps_unix_nano: times.to_vec(),
        }
        .encode_to_vec()
    };
    for (samples, expected) in [
        (vec![current(&[1], 0, &[2], &[START])], "2 | {thread.name: worker}"),
        (vec![current(&[1, 2], 0, &[], &[START])], "1 | {thread.id: 7, thread.name: worker}"),
        // Nothing tells: the attribute could be a value of 1.9.
        (vec![current(&[1], 0, &[], &[START])], "1 | {thread.name: worker}"),
        (vec![current(&[], 0, &[], &[START])], "1 | {}"),
    ] {
        let decoded = decode(&with_samples(&samples, |_| ()), RECEIVED).unwrap();
        let rows = cells(&decoded, Table::ProfileSamples, &["value", "labels"]);
        assert_eq!(rows, [expected], "{samples:?}");
    }
}

#[test]
fn layouts_that_cannot_be_told_apart_are_refused() {
    let earlier =
        EarlierSample { stack_index: 1, attribute_indices: vec![1], ..Default::default() };
    let current = sample(1, &[2], &[]);
    let mixed = [earlier.encode_to_vec(), current.encode_to_vec()];
    let error = refusal(&with_samples(&mixed, |_| ()));
    assert_eq!(error.kind(), DecodeErrorKind::InvalidArgument);
    assert!(error.to_string().contains("partly of the layout of OTLP 1.8 and 1.9"), "{error}");
}

#[test]
fn profiles_of_1_7_and_earlier_are_refused_by_name() {
    let good = sample(1, &[2], &[]).encode_to_vec();
    let cases: [(Vec<u8>, Vec<u8>); 4] = [
        // `Profile.location_indices` of 1.7.
        (good.clone(), vec![0x1a, 2, 1, 2]),
        // A second sample type.
        (good.clone(), vec![0x0a, 0]),
        // The start in a `ProfileContainer` of 1.3.
        (good.clone(), [vec![0x11], START.to_le_bytes().to_vec()].concat()),
        // `Sample.timestamps` of 1.7.
        ([good, vec![0x32, 0]].concat(), Vec::new()),
    ];
    for (sample, more) in cases {
        let bytes = with_samples(&[sample], |profile| profile.extend_from_slice(&more));
        let error = refusal(&bytes);
        assert_eq!(error.kind(), DecodeErrorKind::InvalidArgument);
        assert!(error.to_string().contains("OTLP profiles of version 1.7 or earlier"), "{error}");
    }
}

#[test]
fn the_attributes_of_a_profile_are_found_in_any_layout() {
    let earlier =
        EarlierSample { stack_index: 1, attribute_indices: vec![2], ..Default::default() };
    for (fields, expected) in [
        // 1.9: an id in field 7, attributes in 11.
        (vec![0x3a, 2, 9, 9, 0x5a, 1, 1], "{thread.name: worker}"),
        // 1.8: comments in field 7, an id in 8, attributes in 12.
        (vec![0x3a, 1, 1, 0x42, 1, 9, 0x62, 1, 1], "{thread.name: worker}"),
        // 1.8 with an original payload in 11.
        (vec![0x52, 1, b'x', 0x5a, 1, 1], "{}"),
    ] {
        let bytes = with_samples(&[earlier.encode_to_vec()], |profile| {
            profile.extend_from_slice(&fields);
        });
        let decoded = decode(&bytes, RECEIVED).unwrap();
        assert_eq!(cells(&decoded, Table::Profiles, &["labels"]), [expected], "{fields:?}");
    }
}

#[test]
fn profiles_that_repeat_much_are_refused_even_where_each_is_rejected() {
    // A long label of the sender, and a long stack that cannot be used, in many small profiles.
    let mut build = small(|_| Vec::new());
    let location_indices = [vec![1; 1 << 20], vec![99]].concat();
    let stack = build.stack(location_indices);
    let profile = build.profile(vec![sample(stack, &[1], &[])]);
    let resource = &mut build.request.resource_profiles[0];
    resource.scope_profiles[0].profiles = vec![profile; 20_000];
    let decoded = build.decoded();
    assert_eq!((decoded.rejected_profiles, decoded.accepted), (20_000, 0));
    let resource = &mut build.request.resource_profiles[0];
    let long = entry("k", &"v".repeat(1 << 20));
    resource.resource.as_mut().unwrap().attributes.push(long);
    assert_eq!(refusal(&build.bytes()).kind(), DecodeErrorKind::TooLarge);
}
