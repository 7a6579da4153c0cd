//! The rows of `profiles`, `profile_samples`, `profile_stacks` and `profile_stack_frames`.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, ListArray, ListBuilder, StringBuilder, StructArray, UInt32Array, new_empty_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::DataType;
use upriver_store::batch::TableBatch;
use upriver_store::schema::{Kind, Table, frame_fields};
use upriver_store::time::UnixNanos;

use super::frames::FrameTable;
use super::stacks::{Stack, Stacks};
use super::{ROW_BYTES, TooManyRows};
use crate::frame_family::Family;
use crate::otlp::AttributesBuilder;
use crate::rows::{
    BoolBuilder, BytesBuilder, ColumnBuilder, DateBuilder, IntBuilder, TextBuilder, TimeBuilder,
    element, table_rows,
};

table_rows! {
    /// Rows of `profiles`.
    ProfileRows of Table::Profiles, {
        time: TimeBuilder,
        time_unix_nano: IntBuilder,
        duration_ns: IntBuilder,
        service_name: TextBuilder,
        profile_id: IntBuilder,
        sample_types: TextListBuilder,
        service_version: TextBuilder,
        deployment_environment_name: TextBuilder,
        service_instance_id: TextBuilder,
        period_type: TextBuilder,
        period: IntBuilder,
        sample_count: IntBuilder,
        dangling_references: IntBuilder,
        labels: AttributesBuilder,
        date: DateBuilder,
    }
}

table_rows! {
    /// Rows of `profile_samples`.
    SampleRows of Table::ProfileSamples, {
        time: TimeBuilder,
        time_unix_nano: IntBuilder,
        service_name: TextBuilder,
        sample_type: TextBuilder,
        unit: TextBuilder,
        stack_id: IntBuilder,
        value: IntBuilder,
        service_version: TextBuilder,
        deployment_environment_name: TextBuilder,
        profile_id: IntBuilder,
        span_id: IntBuilder,
        trace_id: BytesBuilder,
        labels: AttributesBuilder,
        date: DateBuilder,
    }
}

table_rows! {
    /// Rows of `profile_stacks`.
    StackRows of Table::ProfileStacks, {
        time: TimeBuilder,
        stack_id: IntBuilder,
        leaf_function: TextBuilder,
        depth: IntBuilder,
        frames: FramesBuilder,
        date: DateBuilder,
    }
}

table_rows! {
    /// Rows of `profile_stack_frames`.
    StackFrameRows of Table::ProfileStackFrames, {
        time: TimeBuilder,
        function: TextBuilder,
        stack_id: IntBuilder,
        file: TextBuilder,
        family: TextBuilder,
        depth_min: IntBuilder,
        is_leaf: BoolBuilder,
        date: DateBuilder,
    }
}

/// What a value is: `cpu` and `nanoseconds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ValueName<'a> {
    pub(crate) name: &'a str,
    pub(crate) unit: &'a str,
}

impl ValueName<'_> {
    /// `cpu/nanoseconds`.
    pub(crate) fn with_unit(&self) -> String {
        format!("{}/{}", self.name, self.unit)
    }
}

/// What all rows of a profile share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    pub(crate) service: String,
    pub(crate) version: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) instance: Option<String>,
    /// The sender's other labels.
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) start: UnixNanos,
    /// 0 where unknown.
    pub(crate) duration_ns: i64,
    pub(crate) profile_id: i64,
}

impl Origin {
    /// What a row of `profiles` takes.
    pub(crate) fn bytes(&self) -> usize {
        let labels = self.labels.iter().map(|(k, v)| k.len().saturating_add(v.len()));
        labels.fold(self.constant_bytes(), usize::saturating_add)
    }

    /// What the columns that are the same in all rows of a profile take.
    fn constant_bytes(&self) -> usize {
        [&self.version, &self.environment]
            .into_iter()
            .flatten()
            .fold(self.service.len(), |bytes, text| bytes.saturating_add(text.len()))
            .saturating_add(ROW_BYTES)
    }
}

/// What only the row of `profiles` has.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) sample_types: &'a [ValueName<'a>],
    /// `cpu/nanoseconds`; none where unknown.
    pub(crate) period_type: Option<String>,
    pub(crate) period: i64,
    pub(crate) samples: usize,
    pub(crate) dangling: u64,
}

/// Labels of a sample, name to value.
pub(crate) type Labels<'a> = BTreeMap<Cow<'a, str>, Cow<'a, str>>;

/// A value of a sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured<'a> {
    pub(crate) what: ValueName<'a>,
    pub(crate) value: i64,
    /// The sample's own instant, else the start of its profile.
    pub(crate) time: UnixNanos,
    /// Position among the [`Stacks`].
    pub(crate) stack: usize,
    pub(crate) stack_id: i64,
    /// The span that ran.
    pub(crate) span_id: Option<i64>,
    /// Its trace.
    pub(crate) trace_id: Option<[u8; 16]>,
    pub(crate) labels: &'a Labels<'a>,
}

/// The rows of a request so far, and what they may still take. Stacks repeat the names of their
/// functions, so a small body can unfold without end.
#[derive(Debug)]
pub(crate) struct Rows {
    profiles: ProfileRows,
    samples: SampleRows,
    /// Where the stacks were seen: their positions, each once a day.
    seen: Vec<(usize, UnixNanos)>,
    seen_days: HashSet<(usize, i32)>,
    bytes_left: usize,
}

impl Rows {
    /// No rows yet, which may take `bytes_max`: less than the 2 GiB that offsets of text can address.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            profiles: ProfileRows::default(),
            samples: SampleRows::default(),
            seen: Vec::new(),
            seen_days: HashSet::new(),
            bytes_left: bytes_max,
        }
    }

    /// Takes this many bytes off what rows may take.
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), TooManyRows> {
        self.spend(bytes, [])
    }

    /// Adds a row of `profiles`.
    pub(crate) fn profile(&mut self, origin: &Origin, facts: Facts<'_>) -> Result<(), TooManyRows> {
        self.charge(origin.bytes())?;
        let rows = &mut self.profiles;
        rows.time.append_value(origin.start);
        rows.time_unix_nano.append_value(origin.start.0);
        rows.duration_ns.append_value(origin.duration_ns);
        rows.service_name.append_value(&origin.service);
        rows.profile_id.append_value(origin.profile_id);
        rows.sample_types.append(facts.sample_types.iter().map(ValueName::with_unit));
        rows.service_version.append_option(origin.version.as_ref());
        rows.deployment_environment_name.append_option(origin.environment.as_ref());
        rows.service_instance_id.append_option(origin.instance.as_ref());
        rows.period_type.append_option(facts.period_type);
        rows.period.append_value(facts.period);
        rows.sample_count.append_value(int(facts.samples));
        rows.dangling_references.append_value(i64::try_from(facts.dangling).unwrap_or(i64::MAX));
        rows.labels.append_texts(origin.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        rows.date.append_value(origin.start.date());
        Ok(())
    }

    /// Adds a row of `profile_samples`, unless the value is zero, and notes its stack.
    pub(crate) fn sample(
        &mut self,
        origin: &Origin,
        measured: &Measured<'_>,
    ) -> Result<(), TooManyRows> {
        self.see(measured.stack, measured.time);
        if measured.value == 0 {
            return Ok(());
        }
        let label_bytes = measured.labels.iter().map(|(k, v)| k.len().saturating_add(v.len()));
        let row_bytes = label_bytes.fold(origin.constant_bytes(), usize::saturating_add);
        self.spend(row_bytes, [measured.what.name, measured.what.unit])?;
        let rows = &mut self.samples;
        rows.time.append_value(measured.time);
        rows.time_unix_nano.append_value(measured.time.0);
        rows.service_name.append_value(&origin.service);
        rows.sample_type.append_value(measured.what.name);
        rows.unit.append_value(measured.what.unit);
        rows.stack_id.append_value(measured.stack_id);
        rows.value.append_value(measured.value);
        rows.service_version.append_option(origin.version.as_ref());
        rows.deployment_environment_name.append_option(origin.environment.as_ref());
        rows.profile_id.append_value(origin.profile_id);
        rows.span_id.append_option(measured.span_id);
        rows.trace_id.append_option(measured.trace_id);
        rows.labels.append_texts(measured.labels.iter().map(|(k, v)| (k.as_ref(), v.as_ref())));
        rows.date.append_value(measured.time.date());
        Ok(())
    }

    /// The batches of all four tables; tables without rows are left out.
    pub(crate) fn finish(
        mut self,
        stacks: &Stacks,
        table: &FrameTable<'_>,
    ) -> Result<Vec<TableBatch>, TooManyRows> {
        let stack_rows = self.stacks(stacks, table)?;
        let frame_rows = self.stack_frames(stacks, table)?;
        let batches = [self.profiles.finish(), self.samples.finish(), stack_rows, frame_rows];
        Ok(batches.into_iter().flatten().collect())
    }

    /// Notes that a stack was seen.
    fn see(&mut self, stack: usize, time: UnixNanos) {
        if self.seen_days.insert((stack, time.date())) {
            self.seen.push((stack, time));
        }
    }

    /// The rows of `profile_stacks`.
    fn stacks(
        &mut self,
        stacks: &Stacks,
        table: &FrameTable<'_>,
    ) -> Result<Option<TableBatch>, TooManyRows> {
        let mut rows = StackRows { frames: FramesBuilder::new(table), ..StackRows::default() };
        let seen = std::mem::take(&mut self.seen);
        for (position, time) in &seen {
            let Some(stack) = stacks.get(*position) else { continue };
            rows.time.append_value(*time);
            rows.stack_id.append_value(stack.id);
            rows.leaf_function.append_value(leaf_function(stack, table));
            rows.depth.append_value(int(stack.frames.len()));
            self.spend(ROW_BYTES, [leaf_function(stack, table)])?;
            for (frame, symbol) in stack.frames.iter().filter_map(|at| table.frame(*at)) {
                let texts = [&symbol.function, symbol.file, frame.mapping, frame.build_id];
                self.spend(ROW_BYTES, texts)?;
            }
            rows.frames.append(stack);
            rows.date.append_value(time.date());
        }
        self.seen = seen;
        Ok(rows.finish())
    }

    /// The rows of `profile_stack_frames`: the distinct functions (by name and file) of each stack.
    fn stack_frames(
        &mut self,
        stacks: &Stacks,
        table: &FrameTable<'_>,
    ) -> Result<Option<TableBatch>, TooManyRows> {
        let mut rows = StackFrameRows::default();
        // For each symbol the last stack that it was seen in, counted from 1.
        let mut seen_in = vec![0_usize; table.symbol_count()];
        let seen = std::mem::take(&mut self.seen);
        for ((position, time), number) in seen.iter().zip(1..) {
            let Some(stack) = stacks.get(*position) else { continue };
            for (depth, position) in stack.frames.iter().enumerate() {
                let Some((frame, symbol)) = table.frame(*position) else { continue };
                let Some(seen) = seen_in.get_mut(frame.symbol) else { continue };
                if *seen == number {
                    continue;
                }
                *seen = number;
                self.spend(ROW_BYTES, [&symbol.function, symbol.file])?;
                rows.time.append_value(*time);
                rows.function.append_value(&symbol.function);
                rows.stack_id.append_value(stack.id);
                rows.file.append_option(present(symbol.file));
                rows.family.append_option(symbol.family.map(Family::as_str));
                rows.depth_min.append_value(int(depth));
                rows.is_leaf.append_value(depth == 0);
                rows.date.append_value(time.date());
            }
        }
        Ok(rows.finish())
    }

    fn spend<const N: usize>(&mut self, bytes: usize, texts: [&str; N]) -> Result<(), TooManyRows> {
        let bytes = texts.iter().fold(bytes, |bytes, text| bytes.saturating_add(text.len()));
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(TooManyRows)?;
        Ok(())
    }
}

/// Builds the column of stacks' frames. A request has few distinct frames and many stacks of them,
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
        let mut functions = TextBuilder::default();
        let mut files = TextBuilder::default();
        let mut lines = IntBuilder::default();
        let mut mappings = TextBuilder::default();
        let mut build_ids = TextBuilder::default();
        let mut addresses = IntBuilder::default();
        let mut inlined = BoolBuilder::default();
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
