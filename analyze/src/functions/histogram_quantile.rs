//! `histogram_quantile(h, q) -> double`: the quantile of each row's histogram.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{internal_datafusion_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use upriver_store::histogram::HistogramColumn;

use super::histogram_aggregate::coerce_histogram;

const USAGE: &str = "histogram_quantile(histogram, quantile from 0 to 1)";

pub(super) fn histogram_quantile() -> ScalarUDF {
    HistogramQuantile { signature: Signature::user_defined(Volatility::Immutable) }.into()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct HistogramQuantile {
    signature: Signature,
}

impl ScalarUDFImpl for HistogramQuantile {
    fn name(&self) -> &'static str {
        "histogram_quantile"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [histogram, quantile] = arguments else {
            return plan_err!("histogram_quantile takes 2 arguments: {USAGE}");
        };
        if !quantile.is_numeric() && !quantile.is_null() {
            return plan_err!("{quantile} is no number: {USAGE}");
        }
        Ok(vec![coerce_histogram(histogram, USAGE)?, DataType::Float64])
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let quantiles = arrays[1].as_primitive::<Float64Type>();
        let column = HistogramColumn::new(&arrays[0])
            .ok_or_else(|| internal_datafusion_err!("coerced to a histogram"))?;
        let values = quantiles.iter().enumerate().map(|(row, q)| column.quantile(row, q?));
        let values: Float64Array = values.collect();
        Ok(ColumnarValue::Array(Arc::new(values) as ArrayRef))
    }
}
