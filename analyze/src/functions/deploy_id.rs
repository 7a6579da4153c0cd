//! `deploy_id(service, environment, kind, version, start) -> text`: the id of a change, the same that
//! a received one gets.

use std::sync::Arc;

use arrow::array::{Array, AsArray, StringViewArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use upriver_store::ids;

pub(super) fn deploy_id() -> ScalarUDF {
    let text = DataType::Utf8View;
    let arguments = vec![text.clone(), text.clone(), text.clone(), text, DataType::Int64];
    DeployId { signature: Signature::exact(arguments, Volatility::Immutable) }.into()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DeployId {
    signature: Signature,
}

impl ScalarUDFImpl for DeployId {
    fn name(&self) -> &'static str {
        "deploy_id"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let starts = arrays[4].as_primitive::<Int64Type>();
        let text = |column: usize, row: usize| {
            let texts = arrays[column].as_string_view();
            texts.is_valid(row).then(|| texts.value(row))
        };
        let ids = starts.iter().enumerate().map(|(row, start)| {
            let (service, environment) = (text(0, row)?, text(1, row)?);
            Some(ids::deploy_id(service, environment, text(2, row)?, text(3, row)?, start?))
        });
        let ids: StringViewArray = ids.collect();
        Ok(ColumnarValue::Array(Arc::new(ids)))
    }
}
