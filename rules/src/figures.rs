//! Figures as people read them.

/// `1,412 ms`, `34.2 ms`, `0.52 ms`.
pub(crate) fn milliseconds(value: f64) -> String {
    format!("{} ms", number(value))
}

/// `8.0 KB`, `85.2 KB`, `1.3 MB`; a KB is 1,000 bytes.
pub(crate) fn bytes(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        v if v < 1e3 => return format!("{value:.0} B"),
        v if v < 1e6 => (value / 1e3, "KB"),
        v if v < 1e9 => (value / 1e6, "MB"),
        _ => (value / 1e9, "GB"),
    };
    format!("{scaled:.1} {unit}")
}

/// `31 %`, `4.2 %`.
pub(crate) fn percent(value: f64) -> String {
    let digits = usize::from(value.abs() < 9.95);
    format!("{value:.digits$} %")
}

/// `10.6x`, `1.00x`.
pub(crate) fn times(value: f64) -> String {
    let digits = match value.abs() {
        v if v < 1.995 => 2,
        v if v < 99.5 => 1,
        _ => 0,
    };
    format!("{value:.digits$}x")
}

/// Three or more significant digits, thousands grouped.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        v if v < 0.995 => 2,
        v if v < 99.5 => 1,
        _ => 0,
    };
    grouped(&format!("{value:.digits$}"))
}

/// A count with its thousands grouped.
pub(crate) fn count(value: i64) -> String {
    grouped(&value.to_string())
}

fn grouped(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let (whole, fraction) =
        digits.split_once('.').map_or((digits, None), |(whole, rest)| (whole, Some(rest)));
    let mut out = String::from(sign);
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// A figure in its unit, as findings name units.
pub(crate) fn with_unit(value: f64, unit: &str) -> String {
    match unit {
        "ms" => milliseconds(value),
        "bytes" => bytes(value),
        "%" => percent(value),
        "x" => times(value),
        "count" => number(value),
        _ => format!("{} {unit}", number(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::with_unit;

    #[test]
    fn figures_read_as_people_write_them() {
        let cases = [
            (1412.3, "ms", "1,412 ms"),
            (34.24, "ms", "34.2 ms"),
            (0.523, "ms", "0.52 ms"),
            (8_012.0, "bytes", "8.0 KB"),
            (85_140.0, "bytes", "85.1 KB"),
            (812.0, "bytes", "812 B"),
            (31.2, "%", "31 %"),
            (4.21, "%", "4.2 %"),
            (10.62, "x", "10.6x"),
            (1.0, "x", "1.00x"),
            (-1234567.0, "count", "-1,234,567"),
            (5.15, "requests/s", "5.2 requests/s"),
            (0.0, "ms", "0 ms"),
        ];
        for (value, unit, expected) in cases {
            assert_eq!(with_unit(value, unit), expected);
        }
    }
}
