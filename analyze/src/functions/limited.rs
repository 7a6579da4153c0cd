//! Built-in functions that can make a huge value out of a small one, with a limit in front.
//!
//! What they allocate is outside of the memory pool, so `repeat('x', 1e10)` would take the whole
//! process. The size of a result is bounded from the arguments before the function runs.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Float64Type};
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature,
};

use super::series;
use crate::error::QueryError;

/// What one call may give for a batch of rows: far above any text worth reading, far below what
/// would hurt.
const RESULT_BYTES_MAX: f64 = (256 << 20) as f64;

pub(super) fn register(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for (name, growth) in [
        ("repeat", Growth::Repeat),
        ("lpad", Growth::Pad),
        ("rpad", Growth::Pad),
        ("replace", Growth::Replace),
        ("regexp_replace", Growth::Replace),
        ("array_repeat", Growth::ArrayRepeat),
        ("array_resize", Growth::ArrayResize),
        ("range", Growth::Series),
        ("generate_series", Growth::Series),
    ] {
        let inner = registry.udf(name)?;
        registry.register_udf(Arc::new(Limited { inner, growth }.into()))?;
    }
    Ok(())
}

/// How a function's result grows with its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Growth {
    /// Text times number.
    Repeat,
    /// Number of characters.
    Pad,
    /// Every character of a text may become another text.
    Replace,
    /// Element times number.
    ArrayRepeat,
    /// Number of elements.
    ArrayResize,
    /// Distance divided by step.
    Series,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Limited {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl Limited {
    fn check(&self, arguments: &ScalarFunctionArgs) -> Result<()> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let bytes = self.growth.bytes(&arrays)?;
        if bytes <= RESULT_BYTES_MAX {
            return Ok(());
        }
        let message = format!(
            "{}() would give up to {:.0} MiB at once, at most {:.0} are allowed: use a smaller number or text",
            self.inner.name(),
            bytes / f64::from(1 << 20),
            RESULT_BYTES_MAX / f64::from(1 << 20),
        );
        Err(QueryError::TooLarge { message }.into())
    }
}

impl Growth {
    /// An upper bound of what the function gives for all rows.
    fn bytes(self, arguments: &[ArrayRef]) -> Result<f64> {
        let rows = arguments.first().map_or(0, Array::len);
        let numbers = |i: usize| arguments.get(i).map(number).transpose();
        let texts = |i: usize| arguments.get(i).map(text_bytes).transpose();
        let row = |column: &Option<Vec<f64>>, i: usize| column.as_ref().map_or(0.0, |c| c[i]);
        let (first, second): (Option<Vec<f64>>, Option<Vec<f64>>) = match self {
            Self::Repeat => (texts(0)?, numbers(1)?),
            Self::Pad => (None, numbers(1)?),
            Self::Replace => (texts(0)?, texts(2)?),
            Self::ArrayRepeat => (arguments.first().map(element_bytes), numbers(1)?),
            Self::ArrayResize => (None, numbers(1)?),
            Self::Series => return Ok(series::elements(arguments)? * ELEMENT_BYTES),
        };
        Ok((0..rows)
            .map(|i| match self {
                Self::Replace => (row(&first, i) + 1.0) * (row(&second, i) + 1.0),
                Self::Pad => row(&second, i).max(0.0) * CHARACTER_BYTES_MAX,
                Self::ArrayResize => row(&second, i).max(0.0) * ELEMENT_BYTES,
                _ => row(&first, i) * row(&second, i).max(0.0),
            })
            .sum())
    }
}

/// A list element of the usual kinds.
const ELEMENT_BYTES: f64 = 8.0;
const CHARACTER_BYTES_MAX: f64 = 4.0;

fn number(array: &ArrayRef) -> Result<Vec<f64>> {
    let numbers = cast(array, &DataType::Float64)?;
    Ok(numbers.as_primitive::<Float64Type>().iter().map(Option::unwrap_or_default).collect())
}

fn text_bytes(array: &ArrayRef) -> Result<Vec<f64>> {
    let texts = cast(array, &DataType::Utf8View)?;
    let texts = texts.as_string_view();
    Ok(texts.iter().map(|text| text.map_or(0.0, |text| text.len() as f64)).collect())
}

/// Bytes of an element, on average, and at least those of a number.
fn element_bytes(array: &ArrayRef) -> Vec<f64> {
    let rows = array.len().max(1);
    let each = (array.get_array_memory_size() as f64 / rows as f64).max(ELEMENT_BYTES);
    vec![each; array.len()]
}

impl ScalarUDFImpl for Limited {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(arguments)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    fn simplify(
        &self,
        arguments: Vec<Expr>,
        context: &SimplifyContext,
    ) -> Result<ExprSimplifyResult> {
        self.inner.simplify(arguments, context)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&arguments)?;
        self.inner.invoke_with_args(arguments)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}
