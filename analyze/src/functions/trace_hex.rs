//! `trace_hex(trace_id) -> text`: a trace id as the 32 hexadecimal digits that other tools show.

use std::sync::Arc;

use arrow::array::{AsArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::hex;

pub(super) fn trace_hex() -> ScalarUDF {
    TraceHex { signature: Signature::exact(vec![DataType::BinaryView], Volatility::Immutable) }
        .into()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TraceHex {
    signature: Signature,
}

impl ScalarUDFImpl for TraceHex {
    fn name(&self) -> &'static str {
        "trace_hex"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let ids = arrays[0].as_binary_view();
        let texts: StringArray = ids.iter().map(|id| id.map(hex::encode)).collect();
        Ok(ColumnarValue::Array(Arc::new(texts)))
    }
}
