//! The accumulators behind the histogram aggregates: a histogram per group, a figure at the end.

use std::mem::size_of;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Int64Type};
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use datafusion::scalar::ScalarValue;
use upriver_store::histogram::{
    Histogram, HistogramBuilder, HistogramColumn, StateBuilder, StateColumn,
};

/// What is made of a merged histogram.
#[derive(Clone, Debug)]
pub(super) enum Figure {
    /// The histogram itself.
    Histogram,
    /// A quantile of it.
    Quantile(f64),
    /// Several.
    Quantiles(Vec<f64>),
    /// The fraction of its values above a threshold.
    FractionAbove(f64),
}

impl Figure {
    fn of(&self, histograms: &[Histogram]) -> ArrayRef {
        match self {
            Self::Histogram => column_of(histograms),
            Self::Quantile(q) => quantiles_of(histograms, *q),
            Self::Quantiles(all) => {
                let columns = all.iter().map(|q| quantiles_of(histograms, *q)).collect();
                Arc::new(StructArray::new(quantile_fields(all.len()), columns, None))
            }
            Self::FractionAbove(x) => floats(histograms.iter().map(|h| h.fraction_above(*x))),
        }
    }
}

/// One histogram per group.
#[derive(Debug)]
pub(super) struct GroupHistograms {
    figure: Figure,
    groups: Vec<Histogram>,
}

impl GroupHistograms {
    pub(super) fn new(figure: Figure) -> Self {
        Self { figure, groups: Vec::new() }
    }

    fn add(&mut self, values: &ArrayRef, rows: impl Iterator<Item = (usize, usize)>) -> Result<()> {
        if let Some(column) = HistogramColumn::new(values) {
            for (row, group) in rows {
                column.merge_into(row, &mut self.groups[group]);
            }
            return Ok(());
        }
        let Some(integers) = values.as_primitive_opt::<Int64Type>() else {
            return internal_err!("histograms are made of histograms or integers");
        };
        for (row, group) in rows.filter(|(row, _)| integers.is_valid(*row)) {
            self.groups[group].record(integers.value(row));
        }
        Ok(())
    }

    fn merge(
        &mut self,
        states: &ArrayRef,
        rows: impl Iterator<Item = (usize, usize)>,
    ) -> Result<()> {
        let Some(mut column) = StateColumn::new(states) else {
            return internal_err!("{} is no state of a histogram", states.data_type());
        };
        for (row, group) in rows {
            if column.merge_into(row, &mut self.groups[group]).is_none() {
                return internal_err!("the state of a histogram is malformed");
            }
        }
        Ok(())
    }

    fn emit(&mut self, emit_to: EmitTo) -> Vec<Histogram> {
        emit_to.take_needed(&mut self.groups)
    }
}

impl GroupsAccumulator for GroupHistograms {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups.resize_with(total_num_groups, Histogram::default);
        let chosen = |row: usize| opt_filter.is_none_or(|f| f.is_valid(row) && f.value(row));
        let rows = group_indices.iter().copied().enumerate().filter(|(row, _)| chosen(*row));
        self.add(&values[0], rows)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let emitted = self.emit(emit_to);
        Ok(self.figure.of(&emitted))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![states_of(&self.emit(emit_to))])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups.resize_with(total_num_groups, Histogram::default);
        self.merge(&values[0], group_indices.iter().copied().enumerate())
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let rows = values[0].len();
        let mut own_groups = Self::new(Figure::Histogram);
        let indices: Vec<_> = (0..rows).collect();
        own_groups.update_batch(values, &indices, opt_filter, rows)?;
        own_groups.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.groups.iter().map(histogram_bytes).sum()
    }
}

/// The same for a single group.
#[derive(Debug)]
pub(super) struct OneHistogram(GroupHistograms);

impl OneHistogram {
    pub(super) fn new(figure: Figure) -> Self {
        let mut inner = GroupHistograms::new(figure);
        inner.groups.push(Histogram::default());
        Self(inner)
    }
}

impl Accumulator for OneHistogram {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.add(&values[0], (0..values[0].len()).map(|row| (row, 0)))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&self.0.figure.of(&self.0.groups), 0)
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::try_from_array(&states_of(&self.0.groups), 0)?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge(&states[0], (0..states[0].len()).map(|row| (row, 0)))
    }
}

fn column_of(histograms: &[Histogram]) -> ArrayRef {
    let mut builder = HistogramBuilder::default();
    for histogram in histograms {
        builder.append(histogram);
    }
    Arc::new(builder.finish())
}

fn states_of(histograms: &[Histogram]) -> ArrayRef {
    let mut builder = StateBuilder::default();
    for histogram in histograms {
        builder.append(histogram);
    }
    builder.finish()
}

/// The fields of so many quantiles, named by their places.
pub(super) fn quantile_fields(quantiles: usize) -> Fields {
    (0..quantiles).map(|place| Field::new(place.to_string(), DataType::Float64, true)).collect()
}

fn quantiles_of(histograms: &[Histogram], q: f64) -> ArrayRef {
    floats(histograms.iter().map(|histogram| histogram.quantile(q)))
}

fn floats(values: impl Iterator<Item = Option<f64>>) -> ArrayRef {
    let array: Float64Array = values.collect();
    Arc::new(array)
}

fn histogram_bytes(histogram: &Histogram) -> usize {
    size_of::<Histogram>() + histogram.counts.capacity() * size_of::<i64>()
}
