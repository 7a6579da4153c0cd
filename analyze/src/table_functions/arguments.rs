//! The arguments of a table function's call: literals, checked one by one.

use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::scalar::ScalarValue;
use jiff::Timestamp;
use upriver_store::time::{NANOS_PER_MINUTE, NANOS_PER_SECOND, UnixNanos};

#[cfg(test)]
mod tests;

const NANOS_PER_DAY: i64 = 86_400 * NANOS_PER_SECOND;

/// The arguments of a call, and how the function is called, for messages.
pub(super) struct Arguments<'a> {
    usage: &'static str,
    values: &'a [Expr],
}

/// A half-open span of time, `start` before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start: UnixNanos,
    pub(super) end: UnixNanos,
}

impl<'a> Arguments<'a> {
    pub(super) fn new(usage: &'static str, values: &'a [Expr]) -> Self {
        Self { usage, values }
    }

    /// The arguments, exactly `N` of them.
    pub(super) fn all<const N: usize>(&self) -> Result<[&'a Expr; N]> {
        let values: Vec<_> = self.values.iter().collect();
        values.try_into().or_else(|values: Vec<_>| {
            plan_err!("{} argument(s) where {N} are needed: {}", values.len(), self.usage)
        })
    }

    /// An instant: `TIMESTAMP '...'`, in UTC where it names no zone, or RFC 3339 text.
    pub(super) fn instant(&self, value: &Expr) -> Result<UnixNanos> {
        let nanos = match literal(value) {
            Some(ScalarValue::TimestampSecond(Some(t), _)) => t.checked_mul(NANOS_PER_SECOND),
            Some(ScalarValue::TimestampMillisecond(Some(t), _)) => t.checked_mul(1_000_000),
            Some(ScalarValue::TimestampMicrosecond(Some(t), _)) => t.checked_mul(1_000),
            Some(ScalarValue::TimestampNanosecond(Some(t), _)) => Some(*t),
            Some(ScalarValue::Date32(Some(day))) => i64::from(*day).checked_mul(NANOS_PER_DAY),
            Some(text) => text_of(text)
                .and_then(|text| text.parse::<Timestamp>().ok())
                .and_then(|time| i64::try_from(time.as_nanosecond()).ok()),
            None => None,
        };
        let Some(nanos) = nanos else {
            return plan_err!(
                "{value} is no instant such as TIMESTAMP '2026-01-02T03:04:05Z': {}",
                self.usage
            );
        };
        Ok(UnixNanos(nanos))
    }

    /// A window between two instants.
    pub(super) fn window(&self, start: &Expr, end: &Expr) -> Result<Window> {
        let window = Window { start: self.instant(start)?, end: self.instant(end)? };
        if window.start >= window.end {
            return plan_err!("the window from {start} to {end} is empty: {}", self.usage);
        }
        Ok(window)
    }

    /// A length of time, `INTERVAL '7 days'`, in nanoseconds; a day has 24 hours. Months have no
    /// fixed length and are refused.
    pub(super) fn interval(&self, value: &Expr) -> Result<i64> {
        let nanos = match literal(value) {
            Some(ScalarValue::IntervalDayTime(Some(i))) => i64::from(i.days)
                .checked_mul(NANOS_PER_DAY)
                .and_then(|days| days.checked_add(i64::from(i.milliseconds) * 1_000_000)),
            Some(ScalarValue::IntervalMonthDayNano(Some(i))) if i.months == 0 => i64::from(i.days)
                .checked_mul(NANOS_PER_DAY)
                .and_then(|days| days.checked_add(i.nanoseconds)),
            _ => None,
        };
        match nanos {
            Some(nanos) if nanos > 0 => Ok(nanos),
            _ => plan_err!(
                "{value} is no length of time such as INTERVAL '5 minutes': {}",
                self.usage
            ),
        }
    }

    /// A text.
    pub(super) fn text(&self, value: &'a Expr) -> Result<&'a str> {
        let Some(text) = literal(value).and_then(text_of) else {
            return plan_err!("{value} is no text such as 'checkout': {}", self.usage);
        };
        Ok(text)
    }

    /// The instant so much earlier.
    pub(super) fn before(&self, instant: UnixNanos, nanos: i64) -> Result<UnixNanos> {
        let Some(earlier) = instant.0.checked_sub(nanos) else {
            return plan_err!("the window begins before the year 1678: {}", self.usage);
        };
        Ok(UnixNanos(earlier))
    }
}

impl Window {
    /// The whole minutes of the window: rollup rows cover a minute each, and one that reaches out of
    /// the window would bring rows from outside.
    pub(super) fn whole_minutes(self) -> Self {
        let start = UnixNanos(self.start.0.saturating_add(NANOS_PER_MINUTE - 1)).minute();
        Self { start, end: self.end.minute() }
    }
}

fn literal(value: &Expr) -> Option<&ScalarValue> {
    match value {
        Expr::Literal(value, _) => Some(value),
        _ => None,
    }
}

fn text_of(value: &ScalarValue) -> Option<&str> {
    match value {
        ScalarValue::Utf8(Some(text))
        | ScalarValue::Utf8View(Some(text))
        | ScalarValue::LargeUtf8(Some(text)) => Some(text),
        _ => None,
    }
}
