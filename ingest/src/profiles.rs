//! What a profile becomes, whatever format it came in: frames, stacks, and rows of `profiles`,
//! `profile_samples`, `profile_stacks` and `profile_stack_frames`.
//!
//! | module | is |
//! |---|---|
//! | `frames` | locations to frames: names, families, places in binaries |
//! | `stacks` | stacks of frames and their ids |
//! | `rows` | the columns of the four tables |
//!
//! Readers of a format look up its references and hand over names and places; so the same stack has
//! the same id and the same families through any of them.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub(crate) mod frames;
pub(crate) mod rows;
pub(crate) mod stacks;

/// The rows of a request would take more than they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyRows;

/// What a row or a frame takes beside its texts.
const ROW_BYTES: usize = 64;
