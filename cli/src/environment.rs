//! The environment of the process and the system's clock: read here and nowhere else.
#![expect(clippy::disallowed_methods, reason = "the command line is where both are read")]

use std::time::{SystemTime, UNIX_EPOCH};

use upriver_ingest::server::Clock;
use upriver_store::place::BucketOptions;
use upriver_store::time::UnixNanos;

/// A variable, where it is set and text.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// How buckets are reached, by the variables that the tools of the clouds read too.
pub(crate) fn bucket_options() -> BucketOptions {
    let text = |name: std::ffi::OsString| name.into_string().ok();
    let variables = std::env::vars_os();
    BucketOptions::from_variables(
        variables.filter_map(|(name, value)| Some((text(name)?, text(value)?))),
    )
}

/// Nanoseconds since 1970 by the system's clock; before 1970 it is 0.
pub(crate) fn system_clock() -> Clock {
    Clock::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixNanos::from_wire(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    })
}
