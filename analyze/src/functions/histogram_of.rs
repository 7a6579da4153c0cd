//! `histogram_of(int) -> histogram`: each row's number as a histogram of one value.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use upriver_store::histogram;

const USAGE: &str = "histogram_of(integer)";

pub(crate) fn histogram_of() -> ScalarUDF {
    HistogramOf { signature: Signature::user_defined(Volatility::Immutable) }.into()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct HistogramOf {
    signature: Signature,
}

impl ScalarUDFImpl for HistogramOf {
    fn name(&self) -> &'static str {
        "histogram_of"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(histogram::data_type())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let nullable = arguments.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), histogram::data_type(), nullable)))
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments {
            [number] if number.is_integer() || number.is_null() => Ok(vec![DataType::Int64]),
            [other] => plan_err!("{other} is no integer: {USAGE}"),
            _ => plan_err!("histogram_of takes 1 argument: {USAGE}"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let histograms = histogram::of_each(arrays[0].as_primitive::<Int64Type>());
        Ok(ColumnarValue::Array(Arc::new(histograms)))
    }
}
