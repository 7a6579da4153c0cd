//! What the histogram aggregates have in common: their arguments, and one accumulator.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, ColumnarValue, GroupsAccumulator, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use upriver_store::histogram::{self, StateColumn};

use super::accumulator::{Figure, GroupHistograms, OneHistogram, quantile_fields};

/// What an aggregate takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Input {
    /// Histograms.
    Histogram,
    /// Integers.
    Integer,
}

/// What an aggregate gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Output {
    /// The merged histogram.
    Histogram,
    /// Its quantile; takes one more argument.
    Quantile,
    /// Its quantiles; takes one or more further arguments.
    Quantiles,
    /// The fraction of its values above a threshold; takes one more argument.
    FractionAbove,
}

/// An aggregate over histograms.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct HistogramAggregate {
    name: &'static str,
    input: Input,
    output: Output,
    signature: Signature,
}

impl HistogramAggregate {
    pub(super) fn new(name: &'static str, input: Input, output: Output) -> Self {
        Self { name, input, output, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn usage(&self) -> String {
        let input = match self.input {
            Input::Histogram => "histogram",
            Input::Integer => "integer",
        };
        match self.output {
            Output::Histogram => format!("{}({input})", self.name),
            Output::Quantile => format!("{}({input}, quantile from 0 to 1)", self.name),
            Output::Quantiles => format!("{}({input}, quantile from 0 to 1, ...)", self.name),
            Output::FractionAbove => format!("{}({input}, threshold)", self.name),
        }
    }

    fn figure(&self, arguments: &AccumulatorArgs) -> Result<Figure> {
        match self.output {
            Output::Histogram => Ok(Figure::Histogram),
            Output::FractionAbove => Ok(Figure::FractionAbove(self.parameter(arguments, 1)?)),
            Output::Quantile => Ok(Figure::Quantile(self.quantile(arguments, 1)?)),
            Output::Quantiles => {
                let places = 1..arguments.exprs.len();
                let quantiles: Result<_> =
                    places.map(|place| self.quantile(arguments, place)).collect();
                Ok(Figure::Quantiles(quantiles?))
            }
        }
    }

    fn quantile(&self, arguments: &AccumulatorArgs, place: usize) -> Result<f64> {
        let q = self.parameter(arguments, place)?;
        if !(0.0..=1.0).contains(&q) {
            return exec_err!("the quantile {q} is not between 0 and 1: {}", self.usage());
        }
        Ok(q)
    }

    /// An argument that is the same for all rows.
    fn parameter(&self, arguments: &AccumulatorArgs, place: usize) -> Result<f64> {
        let no_rows = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let parameter = arguments.exprs.get(place);
        let value = parameter.and_then(|parameter| parameter.evaluate(&no_rows).ok());
        match value {
            Some(ColumnarValue::Scalar(ScalarValue::Float64(Some(number))))
                if number.is_finite() =>
            {
                Ok(number)
            }
            _ => exec_err!(
                "argument {} is a number, the same for all rows: {}",
                place + 1,
                self.usage()
            ),
        }
    }
}

impl AggregateUDFImpl for HistogramAggregate {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.output {
            Output::Histogram => histogram::data_type(),
            Output::Quantile | Output::FractionAbove => DataType::Float64,
            Output::Quantiles => {
                DataType::Struct(quantile_fields(arguments.len().saturating_sub(1)))
            }
        })
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let parameters = usize::from(self.output != Output::Histogram);
        let may_be_more = self.output == Output::Quantiles;
        let fits = |n: usize| n == parameters || may_be_more && n > parameters;
        let Some((first, rest)) = arguments.split_first().filter(|(_, rest)| fits(rest.len()))
        else {
            return plan_err!(
                "{} takes {} argument(s){}: {}",
                self.name,
                1 + parameters,
                if may_be_more { " or more" } else { "" },
                self.usage()
            );
        };
        let input = match self.input {
            Input::Histogram => coerce_histogram(first, &self.usage())?,
            Input::Integer if first.is_integer() || first.is_null() => DataType::Int64,
            Input::Integer => return plan_err!("{first} is no integer: {}", self.usage()),
        };
        if let Some(other) = rest.iter().find(|kind| !kind.is_numeric()) {
            return plan_err!("{other} is no number: {}", self.usage());
        }
        Ok(std::iter::once(input).chain(rest.iter().map(|_| DataType::Float64)).collect())
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        no_distinct(&arguments)?;
        Ok(Box::new(OneHistogram::new(self.figure(&arguments)?)))
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs) -> bool {
        !arguments.is_distinct
    }

    fn create_groups_accumulator(
        &self,
        arguments: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(GroupHistograms::new(self.figure(&arguments)?)))
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = format_state_name(arguments.name, "histogram");
        Ok(vec![Arc::new(Field::new(name, StateColumn::TYPE, true))])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

fn no_distinct(arguments: &AccumulatorArgs) -> Result<()> {
    if arguments.is_distinct {
        return exec_err!("DISTINCT is not possible in {}", arguments.name);
    }
    Ok(())
}

/// The histogram type for an argument that is one, or null.
pub(super) fn coerce_histogram(argument: &DataType, usage: &str) -> Result<DataType> {
    let kind = histogram::data_type();
    if *argument == kind || argument.is_null() {
        return Ok(kind);
    }
    let found =
        if argument.is_nested() { "this nested column".to_owned() } else { argument.to_string() };
    plan_err!("{found} is no histogram such as operation_minutes.duration: {usage}")
}
