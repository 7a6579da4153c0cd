//! Instants from one to another, and slices of them whose rows fit into memory.

use anyhow::anyhow;
use jiff::Timestamp;
use upriver_analyze::literal;
use upriver_store::schema::Table;
use upriver_store::time::UnixNanos;

use super::rows::Source;
use crate::error::Advise;

/// Rows that are in memory at a time, with what belongs to them: some 25 MB of spans. A server answers
/// with 256 MiB at most.
const SLICE_ROWS: i64 = 10_000;

const MICROSECOND: i64 = 1_000;
const MINUTE: i64 = 60_000_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// Instants in nanoseconds since 1970, the first and the last one included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: i64,
    pub(super) last: i64,
}

impl Range {
    /// From an instant to before another. Instants that no row can have are as good as the nearest one.
    pub(super) fn new(from: Timestamp, to: Timestamp) -> anyhow::Result<Self> {
        if from >= to {
            return Err(anyhow!("--from {from} is not before --to {to}"))
                .hint("the range is from the first instant to before the second");
        }
        // The literal of the very first microseconds would not fit.
        let clamped = |nanos: i128| {
            i64::try_from(nanos.clamp(i128::from(i64::MIN) + 1_000, i128::from(i64::MAX)))
        };
        Ok(Self { first: clamped(from.as_nanosecond())?, last: clamped(to.as_nanosecond() - 1)? })
    }

    /// The range with this much more on both sides.
    pub(super) fn widened(self, nanos: i64) -> Self {
        self.begun_earlier(nanos).ended_later(nanos)
    }

    /// The range with this much more before it.
    pub(super) fn begun_earlier(self, nanos: i64) -> Self {
        Self { first: self.first.saturating_sub(nanos).max(i64::MIN + MICROSECOND), ..self }
    }

    /// The range with this much more after it.
    pub(super) fn ended_later(self, nanos: i64) -> Self {
        Self { last: self.last.saturating_add(nanos), ..self }
    }

    /// What of the range lies in another; it may be empty.
    pub(super) fn within(self, other: Self) -> Self {
        Self { first: self.first.max(other.first), last: self.last.min(other.last) }
    }

    /// The whole days that the range is in.
    pub(super) fn days(self) -> Self {
        let first = self.first.div_euclid(DAY).saturating_mul(DAY);
        let last = self.last.div_euclid(DAY).saturating_mul(DAY).saturating_add(DAY - 1);
        Self { first: first.max(i64::MIN + MICROSECOND), last }
    }

    /// The parts of the range on each day that it is in.
    pub(super) fn by_days(self) -> impl Iterator<Item = Self> {
        let next_day = |start: i64| start.div_euclid(DAY).saturating_add(1).saturating_mul(DAY);
        std::iter::successors(Some(self.first), move |start| {
            Some(next_day(*start)).filter(|next| next > start)
        })
        .take_while(move |start| *start <= self.last)
        .map(move |start| Self { first: start, last: self.last.min(next_day(start) - 1) })
    }

    /// The condition that selects a table's rows.
    pub(super) fn condition(self, table: Table) -> String {
        let time = |nanos| literal::timestamp(UnixNanos(nanos));
        let coarse = format!("time >= {} AND time <= {}", time(self.first), time(self.last));
        match table.exact_time() {
            Some(column) => {
                format!("{coarse} AND {column} >= {} AND {column} <= {}", self.first, self.last)
            }
            None => coarse,
        }
    }

    /// Both halves; none where there is one microsecond alone, which no condition on time divides.
    fn halves(self) -> Option<(Self, Self)> {
        let (first, last) = (self.first.div_euclid(MICROSECOND), self.last.div_euclid(MICROSECOND));
        if first >= last {
            return None;
        }
        let middle = (first + (last - first) / 2) * MICROSECOND + MICROSECOND - 1;
        Some((Self { last: middle, ..self }, Self { first: middle + 1, ..self }))
    }
}

/// What a row brings with it, in rows.
fn weight(table: Table) -> &'static str {
    match table {
        Table::Spans => "count(*) + coalesce(sum(event_count), 0)",
        Table::Profiles => "count(*) + coalesce(sum(sample_count), 0)",
        _ => "count(*)",
    }
}

/// The slices of several ranges, one after the other.
pub(super) async fn all_slices(
    source: &Source,
    table: Table,
    ranges: &[Range],
) -> anyhow::Result<Vec<Range>> {
    let mut all = Vec::new();
    for range in ranges {
        all.extend(slices(source, table, *range).await?);
    }
    Ok(all)
}

/// Cuts a range so that each slice has some rows of a table and not too many, in the order of time.
async fn slices(source: &Source, table: Table, range: Range) -> anyhow::Result<Vec<Range>> {
    let mut slices = Vec::new();
    let mut waiting = vec![range];
    while let Some(range) = waiting.pop() {
        let Some((held, weight)) = held(source, table, range).await? else { continue };
        match held.halves().filter(|_| weight > SLICE_ROWS) {
            Some((earlier, later)) => waiting.extend([later, earlier]),
            None => slices.push(held),
        }
    }
    Ok(slices)
}

/// The part of a range that has rows, and their weight.
async fn held(source: &Source, table: Table, range: Range) -> anyhow::Result<Option<(Range, i64)>> {
    // The microsecond of the last row is taken whole, for tables without a column for nanoseconds.
    let nanos = format!("arrow_cast(time, 'Int64') * {MICROSECOND}");
    let exact = table.exact_time();
    let first = format!("min({})", exact.unwrap_or(&nanos));
    let last = exact.map_or_else(
        || format!("max({nanos}) + {}", MICROSECOND - 1),
        |column| format!("max({column})"),
    );
    let sql = format!(
        "SELECT {first}, {last}, {} FROM {} WHERE {}",
        weight(table),
        table.name(),
        range.condition(table)
    );
    let [first, last, weight] = source.integers(&sql).await?;
    let held = first.zip(last).map(|(first, last)| Range { first, last });
    Ok(held.zip(weight))
}
