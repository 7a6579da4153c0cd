//! Values of the configuration: `${env:NAME}`, durations, sizes, addresses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// Reads environment variables; a function, so that tests bring their own.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces every `${env:NAME}` and `${env:NAME:-default}`. `$$` stands for a dollar sign.
pub(super) fn expand(text: &str, environment: Environment<'_>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(escaped) = after.strip_prefix('$') {
            expanded.push('$');
            rest = escaped;
            continue;
        }
        let reference = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let Some((reference, following)) = reference else {
            return Err("a `$` stands alone; write `${env:NAME}`, or `$$` for a dollar sign".into());
        };
        let Some(name) = reference.strip_prefix("env:") else {
            return Err(format!("`${{{reference}}}` is not known; only `${{env:NAME}}` is"));
        };
        let (name, default) = match name.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (name, None),
        };
        let value = environment(name).or_else(|| default.map(str::to_owned));
        expanded
            .push_str(&value.ok_or_else(|| format!("the environment variable {name} is not set"))?);
        rest = following;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// `10s`, `1m`, `14d`, `1h30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration; write it as 10s, 5m or 14d");
    let span: Span = text.parse().map_err(|_error| wrong())?;
    let duration = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|error| format!("{}: {error}", wrong()))?;
    Duration::try_from(duration)
        .map_err(|_error| format!("{text:?} is negative; durations are not"))
}

/// `2GiB`, `512MiB`, `1000000`.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let wrong = || format!("{text:?} is not a size; write it as 512MiB, 2GiB or a number of bytes");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let number: usize = number.parse().map_err(|_error| wrong())?;
    let factor: usize = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(factor)
        .ok_or_else(|| format!("{text:?} is more than this machine can count"))
}

/// `127.0.0.1:4317`, `[::1]:4317`, `localhost:4317`; names other than `localhost` are not looked up.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix("localhost:")
        && let Ok(port) = port.parse()
    {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse().map_err(|_error| {
        format!(
            "{text:?} is not an address; write an IP address and a port, such as 127.0.0.1:4317"
        )
    })
}

/// `true` or `false`.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_error| format!("{text:?} is neither true nor false"))
}
