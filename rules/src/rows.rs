//! Rows of a query as plain columns.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use upriver_analyze::Session;
use upriver_analyze::histogram::{Histogram, HistogramColumn};

use crate::error::RulesError;
use crate::time::Time;

/// The result of a query.
#[derive(Debug)]
pub(crate) struct Rows {
    what: &'static str,
    batch: RecordBatch,
}

impl Rows {
    /// Runs a query; `what` says in an error message what it was to find out.
    pub(crate) async fn query(
        session: &Session,
        what: &'static str,
        sql: &str,
    ) -> Result<Self, RulesError> {
        let failed = |source| RulesError::Query { what: what.to_owned(), source };
        let batches = session.query(sql).await.map_err(failed)?;
        let column = || RulesError::Column { what: what.to_owned(), column: "*".to_owned() };
        let schema = batches.first().ok_or_else(column)?.schema();
        let batch = concat_batches(&schema, &batches).map_err(|_mixed| column())?;
        Ok(Self { what, batch })
    }

    pub(crate) fn len(&self) -> usize {
        self.batch.num_rows()
    }

    pub(crate) fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// Texts; null is empty.
    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>, RulesError> {
        Ok(self.optional_texts(name)?.into_iter().map(Option::unwrap_or_default).collect())
    }

    pub(crate) fn optional_texts(&self, name: &str) -> Result<Vec<Option<String>>, RulesError> {
        let array = self.cast(name, &DataType::Utf8)?;
        Ok(array.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect())
    }

    /// Integers; null is 0.
    pub(crate) fn ints(&self, name: &str) -> Result<Vec<i64>, RulesError> {
        Ok(self.optional_ints(name)?.into_iter().map(Option::unwrap_or_default).collect())
    }

    pub(crate) fn optional_ints(&self, name: &str) -> Result<Vec<Option<i64>>, RulesError> {
        let array = self.cast(name, &DataType::Int64)?;
        Ok(array.as_primitive::<Int64Type>().iter().collect())
    }

    pub(crate) fn floats(&self, name: &str) -> Result<Vec<Option<f64>>, RulesError> {
        let array = self.cast(name, &DataType::Float64)?;
        let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
        Ok(array.as_primitive::<Float64Type>().iter().map(finite).collect())
    }

    pub(crate) fn times(&self, name: &str) -> Result<Vec<Option<Time>>, RulesError> {
        let utc = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
        let array = self.cast(name, &utc)?;
        let array = cast(&array, &DataType::Int64).map_err(|_wrong| self.missing(name))?;
        Ok(array.as_primitive::<Int64Type>().iter().map(|nanos| nanos.map(Time::of)).collect())
    }

    pub(crate) fn binaries(&self, name: &str) -> Result<Vec<Vec<u8>>, RulesError> {
        let array = self.cast(name, &DataType::Binary)?;
        let bytes = array.as_binary::<i32>().iter();
        Ok(bytes.map(|bytes| bytes.unwrap_or_default().to_vec()).collect())
    }

    /// Histograms; null is empty.
    pub(crate) fn histograms(&self, name: &str) -> Result<Vec<Histogram>, RulesError> {
        let array = self.batch.column_by_name(name).ok_or_else(|| self.missing(name))?;
        let column = HistogramColumn::new(array.as_ref()).ok_or_else(|| self.missing(name))?;
        Ok((0..array.len()).map(|row| column.get(row).unwrap_or_default()).collect())
    }

    fn cast(&self, name: &str, to: &DataType) -> Result<ArrayRef, RulesError> {
        let array = self.batch.column_by_name(name).ok_or_else(|| self.missing(name))?;
        cast(array, to).map_err(|_wrong| self.missing(name))
    }

    fn missing(&self, column: &str) -> RulesError {
        RulesError::Column { what: self.what.to_owned(), column: column.to_owned() }
    }
}
