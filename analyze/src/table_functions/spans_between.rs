//! `spans_between(start, end)`: the spans that started in `[start, end)`, all columns.

use datafusion::error::Result;

use super::TableFunction;
use super::arguments::Arguments;
use crate::{literal, template};

pub(super) const SPANS_BETWEEN: TableFunction = TableFunction {
    name: "spans_between",
    usage: "spans_between(start timestamp, end timestamp)",
    sql,
};

fn sql(arguments: &Arguments) -> Result<String> {
    let [start, end] = arguments.all()?;
    let window = arguments.window(start, end)?;
    template::bind(
        "SELECT * FROM spans WHERE time >= $start AND time < $end",
        &[("start", literal::timestamp(window.start)), ("end", literal::timestamp(window.end))],
    )
}
