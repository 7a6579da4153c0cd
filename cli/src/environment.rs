//! The environment of the process: read here and nowhere else.
#![expect(clippy::disallowed_methods, reason = "the command line is where the environment is read")]

use upriver_store::place::BucketOptions;

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
