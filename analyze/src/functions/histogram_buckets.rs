//! `histogram_buckets(h) -> list`: what each row's histogram counts.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayBuilder, ArrayRef, Float64Builder, Int64Builder, ListArray, NullBufferBuilder,
    StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{internal_datafusion_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use upriver_store::histogram::{Histogram, HistogramColumn};

use super::histogram_aggregate::coerce_histogram;

const USAGE: &str = "histogram_buckets(histogram)";

pub(super) fn histogram_buckets() -> ScalarUDF {
    HistogramBuckets { signature: Signature::user_defined(Volatility::Immutable) }.into()
}

fn bucket_fields() -> Fields {
    Fields::from(vec![
        Field::new("above", DataType::Float64, false),
        Field::new("up_to", DataType::Float64, false),
        Field::new("count", DataType::Int64, false),
    ])
}

fn element() -> Arc<Field> {
    Arc::new(Field::new_list_field(DataType::Struct(bucket_fields()), false))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct HistogramBuckets {
    signature: Signature,
}

impl ScalarUDFImpl for HistogramBuckets {
    fn name(&self) -> &'static str {
        "histogram_buckets"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(element()))
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [histogram] = arguments else {
            return plan_err!("histogram_buckets takes 1 argument: {USAGE}");
        };
        Ok(vec![coerce_histogram(histogram, USAGE)?])
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let column = HistogramColumn::new(&arrays[0])
            .ok_or_else(|| internal_datafusion_err!("coerced to a histogram"))?;
        let (mut above, mut up_to) = (Float64Builder::new(), Float64Builder::new());
        let mut counts = Int64Builder::new();
        let mut lengths = Vec::with_capacity(arrays[0].len());
        let mut validity = NullBufferBuilder::new(arrays[0].len());
        for row in 0..arrays[0].len() {
            let histogram = column.get(row);
            let before = counts.len();
            for (low, high, count) in histogram.iter().flat_map(Histogram::buckets) {
                above.append_value(low);
                up_to.append_value(high);
                counts.append_value(count);
            }
            lengths.push(counts.len() - before);
            validity.append(histogram.is_some());
        }
        let buckets: Vec<ArrayRef> =
            vec![Arc::new(above.finish()), Arc::new(up_to.finish()), Arc::new(counts.finish())];
        let buckets = StructArray::try_new(bucket_fields(), buckets, None)?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        let lists = ListArray::try_new(element(), offsets, Arc::new(buckets), validity.finish())?;
        Ok(ColumnarValue::Array(Arc::new(lists)))
    }
}
