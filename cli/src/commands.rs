//! One file per command.

pub(crate) mod demo;
pub(crate) mod deploy;
pub(crate) mod diagnose;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod key;
pub(crate) mod rules;
pub(crate) mod serve;
pub(crate) mod sql;
pub(crate) mod storage;
pub(crate) mod verify;
