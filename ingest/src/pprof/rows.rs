//! The rows of `profiles`, `profile_samples`, `profile_stacks` and `profile_stack_frames`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Int64Builder, ListArray, ListBuilder,
    StringBuilder, StructArray, UInt32Array, new_empty_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::DataType;
use upriver_store::batch::TableBatch;
use upriver_store::schema::{Kind, Table, frame_fields};

use super::WHAT;
use super::labels::SampleLabels;
use super::message::{Profile, Sample};
use super::origin::Origin;
use super::stacks::{FrameTable, Stack, Stacks};
use super::tables::{Texts, ValueName};
use crate::DecodeError;
use crate::frame_family::Family;
use crate::otlp::AttributesBuilder;
use crate::rows::{ColumnBuilder, TimeBuilder, element, table_rows};

/// What the rows of one profile may take. Stacks repeat the names of their functions, so a small
/// body can unfold without end. A minute of a busy 15-core service (golbat) takes 100 MB; the
/// limit also keeps the text of every column below the 2 GiB that its offsets can address.
const ROWS_BYTES_MAX: usize = 768 << 20;

/// What a row or a frame takes beside its texts.
const ROW_BYTES: usize = 64;

table_rows! {
    /// The row of `profiles`.
    ProfileRows of Table::Profiles, {
        time: TimeBuilder,
        time_unix_nano: Int64Builder,
        duration_ns: Int64Builder,
        service_name: StringBuilder,
        profile_id: Int64Builder,
        sample_types: TextListBuilder,
        service_version: StringBuilder,
        deployment_environment_name: StringBuilder,
        service_instance_id: StringBuilder,
        period_type: StringBuilder,
        period: Int64Builder,
        sample_count: Int64Builder,
        dangling_references: Int64Builder,
        labels: AttributesBuilder,
        date: Date32Builder,
    }
}

table_rows! {
    /// Rows of `profile_samples`.
    SampleRows of Table::ProfileSamples, {
        time: TimeBuilder,
        time_unix_nano: Int64Builder,
        service_name: StringBuilder,
        sample_type: StringBuilder,
        unit: StringBuilder,
        stack_id: Int64Builder,
        value: Int64Builder,
        service_version: StringBuilder,
        deployment_environment_name: StringBuilder,
        profile_id: Int64Builder,
        span_id: Int64Builder,
        trace_id: BinaryBuilder,
        labels: AttributesBuilder,
        date: Date32Builder,
    }
}

table_rows! {
    /// Rows of `profile_stacks`.
    StackRows of Table::ProfileStacks, {
        time: TimeBuilder,
        stack_id: Int64Builder,
        leaf_function: StringBuilder,
        depth: Int64Builder,
        frames: FramesBuilder,
        date: Date32Builder,
    }
}

table_rows! {
    /// Rows of `profile_stack_frames`.
    StackFrameRows of Table::ProfileStackFrames, {
        time: TimeBuilder,
        function: StringBuilder,
        stack_id: Int64Builder,
        file: StringBuilder,
        family: StringBuilder,
        depth_min: Int64Builder,
        is_leaf: BooleanBuilder,
        date: Date32Builder,
    }
}

/// Makes the rows of one profile.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    profile: &'a Profile,
    texts: &'a Texts<'a>,
    sample_types: &'a [ValueName<'a>],
    origin: Origin,
    bytes_left: usize,
}

impl<'a> Rows<'a> {
    /// Starts with nothing used of the limit.
    pub(super) fn new(
        profile: &'a Profile,
        texts: &'a Texts<'_>,
        sample_types: &'a [ValueName<'a>],
        origin: Origin,
    ) -> Self {
        Self { profile, texts, sample_types, origin, bytes_left: ROWS_BYTES_MAX }
    }

    /// The one row of `profiles`.
    pub(super) fn profile(&self, dangling: u64) -> Option<TableBatch> {
        let origin = &self.origin;
        let (period_type, period) = self.period();
        let mut rows = ProfileRows::default();
        rows.time.append_value(origin.start);
        rows.time_unix_nano.append_value(origin.start.0);
        rows.duration_ns.append_value(origin.duration_ns);
        rows.service_name.append_value(&origin.service);
        rows.profile_id.append_value(origin.profile_id);
        rows.sample_types.append(self.sample_types.iter().map(ValueName::with_unit));
        rows.service_version.append_option(origin.version.as_ref());
        rows.deployment_environment_name.append_option(origin.environment.as_ref());
        rows.service_instance_id.append_option(origin.instance.as_ref());
        rows.period_type.append_option(period_type);
        rows.period.append_value(period);
        rows.sample_count.append_value(int(self.profile.sample.len()));
        rows.dangling_references.append_value(i64::try_from(dangling).unwrap_or(i64::MAX));
        rows.labels.append_texts(origin.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        rows.date.append_value(origin.start.date());
        rows.finish()
    }

    /// The profile's period; from the sender's sampling rate where the profile has none.
    fn period(&self) -> (Option<String>, i64) {
        const CPU: &str = "cpu/nanoseconds";
        let own = self.profile.period_type.map(|kind| {
            let (name, unit) = (self.texts.or_empty(kind.r#type), self.texts.or_empty(kind.unit));
            ValueName { name, unit }.with_unit()
        });
        let of_time = own.as_deref().is_none_or(|own| own == CPU);
        if self.profile.period == 0 && self.origin.sample_period_ns > 0 && of_time {
            return (Some(CPU.to_owned()), self.origin.sample_period_ns);
        }
        (own, self.profile.period)
    }

    /// The rows of `profile_samples`: one for each value that is not zero. `stack_ids` has one id for
    /// each sample.
    pub(super) fn samples(&mut self, stack_ids: &[i64]) -> Result<Option<TableBatch>, DecodeError> {
        let mut rows = SampleRows::default();
        let profile = self.profile;
        for (sample, stack_id) in profile.sample.iter().zip(stack_ids) {
            self.sample(sample, *stack_id, &mut rows)?;
        }
        Ok(rows.finish())
    }

    fn sample(
        &mut self,
        sample: &Sample,
        stack_id: i64,
        rows: &mut SampleRows,
    ) -> Result<(), DecodeError> {
        let labels = SampleLabels::new(&sample.label, self.texts);
        let label_bytes = labels.labels.iter().map(|(k, v)| k.len().saturating_add(v.len()));
        let row_bytes = label_bytes.fold(self.constant_bytes(), usize::saturating_add);
        for (sample_type, value) in self.sample_types.iter().zip(&sample.value) {
            if *value == 0 {
                continue;
            }
            self.spend(row_bytes, [sample_type.name, sample_type.unit])?;
            let origin = &self.origin;
            rows.time.append_value(origin.start);
            rows.time_unix_nano.append_value(origin.start.0);
            rows.service_name.append_value(&origin.service);
            rows.sample_type.append_value(sample_type.name);
            rows.unit.append_value(sample_type.unit);
            rows.stack_id.append_value(stack_id);
            rows.value.append_value(*value);
            rows.service_version.append_option(origin.version.as_ref());
            rows.deployment_environment_name.append_option(origin.environment.as_ref());
            rows.profile_id.append_value(origin.profile_id);
            rows.span_id.append_option(labels.span_id);
            rows.trace_id.append_option(labels.trace_id);
            rows.labels.append_texts(labels.labels.iter().map(|(k, v)| (k.as_ref(), v.as_ref())));
            rows.date.append_value(origin.start.date());
        }
        Ok(())
    }

    /// The rows of `profile_stacks`.
    pub(super) fn stacks(
        &mut self,
        stacks: &Stacks,
        table: &FrameTable<'_>,
    ) -> Result<Option<TableBatch>, DecodeError> {
        let mut rows = StackRows { frames: FramesBuilder::new(table), ..StackRows::default() };
        for stack in stacks.iter() {
            rows.time.append_value(self.origin.start);
            rows.stack_id.append_value(stack.id);
            rows.leaf_function.append_value(leaf_function(stack, table));
            rows.depth.append_value(int(stack.frames.len()));
            self.spend(ROW_BYTES, [leaf_function(stack, table)])?;
            for (frame, symbol) in stack.frames.iter().filter_map(|at| table.frame(*at)) {
                let texts = [&symbol.function, symbol.file, frame.mapping, frame.build_id];
                self.spend(ROW_BYTES, texts)?;
            }
            rows.frames.append(stack);
            rows.date.append_value(self.origin.start.date());
        }
        Ok(rows.finish())
    }

    /// The rows of `profile_stack_frames`: the distinct functions (by name and file) of each stack.
    pub(super) fn stack_frames(
        &mut self,
        stacks: &Stacks,
        table: &FrameTable<'_>,
    ) -> Result<Option<TableBatch>, DecodeError> {
        let mut rows = StackFrameRows::default();
        // For each symbol the last stack that it was seen in, counted from 1.
        let mut seen_in = vec![0_usize; table.symbol_count()];
        for (stack, number) in stacks.iter().zip(1..) {
            for (depth, position) in stack.frames.iter().enumerate() {
                let Some((frame, symbol)) = table.frame(*position) else { continue };
                let Some(seen) = seen_in.get_mut(frame.symbol) else { continue };
                if *seen == number {
                    continue;
                }
                *seen = number;
                self.spend(ROW_BYTES, [&symbol.function, symbol.file])?;
                rows.time.append_value(self.origin.start);
                rows.function.append_value(&symbol.function);
                rows.stack_id.append_value(stack.id);
                rows.file.append_option(present(symbol.file));
                rows.family.append_option(symbol.family.map(Family::as_str));
                rows.depth_min.append_value(int(depth));
                rows.is_leaf.append_value(depth == 0);
                rows.date.append_value(self.origin.start.date());
            }
        }
        Ok(rows.finish())
    }

    /// What the columns that are the same in all rows of samples take.
    fn constant_bytes(&self) -> usize {
        let origin = &self.origin;
        [&origin.version, &origin.environment]
            .into_iter()
            .flatten()
            .fold(origin.service.len(), |bytes, text| bytes.saturating_add(text.len()))
            .saturating_add(ROW_BYTES)
    }

    fn spend<const N: usize>(&mut self, bytes: usize, texts: [&str; N]) -> Result<(), DecodeError> {
        let bytes = texts.iter().fold(bytes, |bytes, text| bytes.saturating_add(text.len()));
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or_else(|| {
            DecodeError::too_large(
                WHAT,
                format!(
                    "its stacks and labels unfold to more than {ROWS_BYTES_MAX} bytes; \
                     profile for a shorter time"
                ),
            )
        })?;
        Ok(())
    }
}

/// Builds the column of stacks' frames. A profile has few distinct frames and many stacks of them,
/// so the frames are written once and then taken by position.
#[derive(Debug)]
struct FramesBuilder {
    distinct: ArrayRef,
    positions: Vec<u32>,
    lengths: Vec<usize>,
}

impl Default for FramesBuilder {
    fn default() -> Self {
        let distinct = new_empty_array(&DataType::Struct(frame_fields()));
        Self { distinct, positions: Vec::new(), lengths: Vec::new() }
    }
}

impl FramesBuilder {
    /// A builder for stacks of these frames.
    fn new(table: &FrameTable<'_>) -> Self {
        let mut functions = StringBuilder::new();
        let mut files = StringBuilder::new();
        let mut lines = Int64Builder::new();
        let mut mappings = StringBuilder::new();
        let mut build_ids = StringBuilder::new();
        let mut addresses = Int64Builder::new();
        let mut inlined = BooleanBuilder::new();
        for (frame, symbol) in table.frames() {
            functions.append_value(&symbol.function);
            files.append_option(present(symbol.file));
            lines.append_option((frame.line != 0).then_some(frame.line));
            mappings.append_option(present(frame.mapping));
            build_ids.append_option(present(frame.build_id));
            addresses.append_option(frame.address);
            inlined.append_value(frame.inlined);
        }
        let columns = vec![
            functions.column(),
            files.column(),
            lines.column(),
            mappings.column(),
            build_ids.column(),
            addresses.column(),
            inlined.column(),
        ];
        Self {
            distinct: Arc::new(StructArray::new(frame_fields(), columns, None)),
            ..Self::default()
        }
    }

    /// Adds a row.
    fn append(&mut self, stack: &Stack) {
        self.positions.extend_from_slice(&stack.frames);
        self.lengths.push(stack.frames.len());
    }
}

impl ColumnBuilder for FramesBuilder {
    fn column(&mut self) -> ArrayRef {
        let positions = UInt32Array::from(std::mem::take(&mut self.positions));
        let frames = take(&self.distinct, &positions, None)
            .expect("positions are those of the frames, and the limit keeps offsets in range");
        let offsets = OffsetBuffer::from_lengths(std::mem::take(&mut self.lengths));
        Arc::new(ListArray::new(element(Kind::Frames), offsets, frames, None))
    }
}

/// Builds a column of lists of texts.
#[derive(Debug)]
struct TextListBuilder(ListBuilder<StringBuilder>);

impl Default for TextListBuilder {
    fn default() -> Self {
        Self(ListBuilder::new(StringBuilder::new()).with_field(element(Kind::TextList)))
    }
}

impl TextListBuilder {
    /// Adds a row.
    fn append(&mut self, texts: impl Iterator<Item = String>) {
        self.0.append_value(texts.map(Some));
    }
}

impl ColumnBuilder for TextListBuilder {
    fn column(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

fn leaf_function<'a>(stack: &Stack, table: &'a FrameTable<'_>) -> &'a str {
    let leaf = stack.frames.first().and_then(|position| table.frame(*position));
    leaf.map_or("", |(_, symbol)| &symbol.function)
}

fn present(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn int(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
