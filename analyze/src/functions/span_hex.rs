//! `span_hex(span_id) -> text`: a span id as the 16 hexadecimal digits that other tools show.

use std::sync::Arc;

use arrow::array::{AsArray, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::hex;

pub(super) fn span_hex() -> ScalarUDF {
    SpanHex { signature: Signature::exact(vec![DataType::Int64], Volatility::Immutable) }.into()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SpanHex {
    signature: Signature,
}

impl ScalarUDFImpl for SpanHex {
    fn name(&self) -> &'static str {
        "span_hex"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let ids = arrays[0].as_primitive::<Int64Type>();
        let texts = ids.iter().map(|id| id.map(|id| hex::encode(&id.to_be_bytes())));
        Ok(ColumnarValue::Array(Arc::new(texts.collect::<StringArray>())))
    }
}
