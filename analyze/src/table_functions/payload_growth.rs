//! `payload_growth(now, window, before)`: body sizes per edge in `[now - window, now)` and in the
//! same window shifted back by `before`, from `edge_minutes` alone.
//!
//! Windows are cut to their whole minutes, since a rollup row covers a minute. Sizes are in bytes.
//! Per edge, direction and measure the server's report is used where it has any now, else the
//! client's, never both; histograms of the instrumentation (`source` is `metrics`) only where no
//! span tells. `growth` is the ratio of the 99th percentiles.

use datafusion::error::Result;

use super::TableFunction;
use super::arguments::{Arguments, Window};
use crate::{literal, template};

pub(super) const PAYLOAD_GROWTH: TableFunction = TableFunction {
    name: "payload_growth",
    usage: "payload_growth(now timestamp, window interval, before interval)",
    sql,
};

fn sql(arguments: &Arguments) -> Result<String> {
    let [now, window, before] = arguments.all()?;
    let now = arguments.instant(now)?;
    let (window, before) = (arguments.interval(window)?, arguments.interval(before)?);
    let start = arguments.before(now, window)?;
    let baseline =
        Window { start: arguments.before(start, before)?, end: arguments.before(now, before)? };
    let (current, baseline) =
        (Window { start, end: now }.whole_minutes(), baseline.whole_minutes());
    template::bind(
        include_str!("payload_growth.sql"),
        &[
            ("current_start", literal::timestamp(current.start)),
            ("current_end", literal::timestamp(current.end)),
            ("baseline_start", literal::timestamp(baseline.start)),
            ("baseline_end", literal::timestamp(baseline.end)),
        ],
    )
}
