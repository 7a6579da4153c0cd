//! The built-in rules. Each file below `rules/library/` is one of them.

use crate::error::RulesError;
use crate::rule_file::{RuleFile, parse};

#[cfg(test)]
mod tests;

const FILES: [(&str, &str); 4] = [
    ("frame_jump.yaml", include_str!("../library/frame_jump.yaml")),
    ("payload_growth.yaml", include_str!("../library/payload_growth.yaml")),
    ("recent_deploys.yaml", include_str!("../library/recent_deploys.yaml")),
    ("span_inflation.yaml", include_str!("../library/span_inflation.yaml")),
];

/// All built-in rule files by name.
pub fn files() -> Result<Vec<(&'static str, RuleFile)>, RulesError> {
    FILES.into_iter().map(|(name, text)| Ok((name, parse(name, text)?))).collect()
}
