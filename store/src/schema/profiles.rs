//! Profiles, and the samples, stacks and frames inside them.

use super::Kind::{Attributes, Bool, Frames, Int, Text, TextList, Time, TraceId};
use super::{DATE, Definition, column, optional};

pub(super) const PROFILES: Definition = Definition {
    name: "profiles",
    row: "a received profile",
    sort: &["service_name", "time"],
    columns: &[
        column("time", Time, "Start of the profile."),
        column("time_unix_nano", Int, "Start, exact."),
        column("duration_ns", Int, "Length of the profile; 0 where unknown."),
        column("service_name", Text, "Service that was profiled."),
        column("profile_id", Int, "Hash of the sender's labels and the profile's bytes."),
        column("sample_types", TextList, "`type/unit` of each value, such as `cpu/nanoseconds`."),
        optional("service_version", Text, "`service.version` of the service."),
        optional("deployment_environment_name", Text, "Environment of the service."),
        optional("service_instance_id", Text, "Instance of the service."),
        optional("period_type", Text, "`type/unit` of the period."),
        column("period", Int, "Sampling period in its unit."),
        column("sample_count", Int, "Number of samples."),
        column("dangling_references", Int, "References to missing entries that were left out."),
        column("labels", Attributes, "Labels of the sender."),
        DATE,
    ],
};

pub(super) const PROFILE_SAMPLES: Definition = Definition {
    name: "profile_samples",
    row: "one value of one sample of a profile: a stack and what was measured on it",
    sort: &["service_name", "sample_type", "time"],
    columns: &[
        column("time", Time, "Start of the profile, or the sample's own instant where it has one."),
        column("time_unix_nano", Int, "The same, exact."),
        column("service_name", Text, "Service that was profiled."),
        column("sample_type", Text, "`cpu`, `samples`, `alloc_space`, `wall` and so on."),
        column("unit", Text, "`nanoseconds`, `bytes`, `count`."),
        column("stack_id", Int, "Hash of the stack; see `profile_stacks`."),
        column("value", Int, "What was measured, in `unit`."),
        optional("service_version", Text, "`service.version` of the service."),
        optional("deployment_environment_name", Text, "Environment of the service."),
        column("profile_id", Int, "The profile; see `profiles`."),
        optional("span_id", Int, "Span that ran, where the sample says so."),
        optional("trace_id", TraceId, "Its trace."),
        column("labels", Attributes, "Labels of the sample."),
        DATE,
    ],
};

pub(super) const PROFILE_STACKS: Definition = Definition {
    name: "profile_stacks",
    row: "a stack, for flame graphs; written at least once on each day on which it was seen, so select distinct ones",
    sort: &["stack_id"],
    columns: &[
        column("time", Time, "Start of the profile that brought the stack."),
        column("stack_id", Int, "Hash of the frames."),
        column("leaf_function", Text, "Function of the leaf frame."),
        column("depth", Int, "Number of frames."),
        column("frames", Frames, "The frames, leaf first, inlined ones expanded."),
        DATE,
    ],
};

pub(super) const PROFILE_STACK_FRAMES: Definition = Definition {
    name: "profile_stack_frames",
    row: "a distinct function of a stack; written with the stack, so select distinct ones",
    sort: &["function", "stack_id"],
    columns: &[
        column("time", Time, "Start of the profile that brought the stack."),
        column("function", Text, "Name of the function; mapping and address where it has none."),
        column("stack_id", Int, "The stack."),
        optional("file", Text, "Source file."),
        optional(
            "family",
            Text,
            "Family of the frame: `gc`, `allocation`, `serialization`, `lock` and so on.",
        ),
        column(
            "depth_min",
            Int,
            "Distance from the leaf, 0 for the leaf, of the function's nearest frame.",
        ),
        column("is_leaf", Bool, "Whether the function is the leaf."),
        DATE,
    ],
};
