//! Rules in YAML.
