//! `profile_diff(service, current_start, current_end, baseline_start, baseline_end)`: the share of
//! CPU of every function and every family of functions, now and before.
//!
//! A share is a union over stacks: a stack counts once for a name, however often the name is on it.
//! Shares of `family` rows therefore do not add up; `families` rows are the unions of the families
//! that pressure by payloads raises together. Values are those of `cpu` where a profile has it, else
//! of `samples`; `samples_*` count what the profiler hit, the number that significance rests on.

use datafusion::error::Result;

use super::TableFunction;
use super::arguments::Arguments;
use crate::{literal, template};

pub(super) const PROFILE_DIFF: TableFunction = TableFunction {
    name: "profile_diff",
    usage: "profile_diff(service text, current_start timestamp, current_end timestamp, baseline_start timestamp, baseline_end timestamp)",
    sql,
};

fn sql(arguments: &Arguments) -> Result<String> {
    let [service, start, end, baseline_start, baseline_end] = arguments.all()?;
    let service = arguments.text(service)?;
    let current = arguments.window(start, end)?;
    let baseline = arguments.window(baseline_start, baseline_end)?;
    template::bind(
        include_str!("profile_diff.sql"),
        &[
            ("service", literal::text(service)),
            ("current_start", literal::timestamp(current.start)),
            ("current_end", literal::timestamp(current.end)),
            ("baseline_start", literal::timestamp(baseline.start)),
            ("baseline_end", literal::timestamp(baseline.end)),
        ],
    )
}
