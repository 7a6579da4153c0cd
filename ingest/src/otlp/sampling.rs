//! How many spans a sampled one stands for.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// One span, in the unit of `adjusted_count_micros`.
const ONE: i64 = 1_000_000;

/// The most spans that one stands for. Samplers below one in a million are not in use; a sender's
/// claim above it would drown the sums of everybody else.
const ADJUSTED_COUNT_MAX: i64 = 1_000_000;

/// Hexadecimal digits of a threshold: 56 bits.
const THRESHOLD_DIGITS: usize = 14;

/// The adjusted count of a span in millionths, from the rejection threshold in its `tracestate`
/// (`ot=th:<hex>`): a span is kept with probability `(2^56 - T) / 2^56`, so it stands for the
/// inverse. 1 without a threshold, or where it cannot be read.
///
/// OpenTelemetry specification, "TraceState: Probability Sampling": `th` is 1 to 14 lower-case
/// hexadecimal digits, trailing zeros left out.
pub(super) fn adjusted_count_micros(trace_state: &str) -> i64 {
    let Some(rejected) = threshold(trace_state) else {
        return ONE;
    };
    let whole = 1u128 << 56;
    let kept = whole.saturating_sub(u128::from(rejected)).max(1);
    let scaled = whole.saturating_mul(u128::from(ONE.unsigned_abs()));
    let rounded = scaled.saturating_add(kept >> 1).checked_div(kept).unwrap_or_default();
    i64::try_from(rounded).unwrap_or(i64::MAX).min(ADJUSTED_COUNT_MAX.saturating_mul(ONE))
}

fn threshold(trace_state: &str) -> Option<u64> {
    let mut members = trace_state.split(',').map(str::trim);
    let ours = members.find_map(|member| member.strip_prefix("ot="))?;
    let digits = ours.split(';').find_map(|field| field.strip_prefix("th:"))?;
    let hexadecimal = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if digits.is_empty() || digits.len() > THRESHOLD_DIGITS || !hexadecimal {
        return None;
    }
    u64::from_str_radix(&format!("{digits:0<THRESHOLD_DIGITS$}"), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_the_inverse_of_the_probability() {
        for (trace_state, expected) in [
            ("", ONE),
            ("ot=th:0", ONE),
            ("ot=th:8", 2 * ONE),
            ("ot=th:c", 4 * ONE),
            ("ot=rv:abcdefabcdefab;th:e", 8 * ONE),
            ("vendor=th:8, ot=th:fd70a3d70a3d7 , x=y", 100 * ONE),
            ("ot=th:55555555555555", 1_500_000),
            // One in 2^56, which nobody samples.
            ("ot=th:ffffffffffffff", ADJUSTED_COUNT_MAX * ONE),
        ] {
            assert_eq!(adjusted_count_micros(trace_state), expected, "{trace_state}");
        }
    }

    #[test]
    fn what_cannot_be_read_counts_as_one() {
        for broken in ["ot=th:", "ot=th:xyz", "ot=th:FF", "ot=th:123456789abcdef", "ot=p:3", "th:8"]
        {
            assert_eq!(adjusted_count_micros(broken), ONE, "{broken}");
        }
    }
}
