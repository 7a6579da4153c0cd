//! pprof profiles to rows.
//!
//! | module | is |
//! |---|---|
//! | [`upload`] | what comes beside a profile: Pyroscope's parameters, plain ones, a line of a case |
//! | [`message`] | the protobuf messages: pprof's own and the logged one |
//! | [`folded`] | stacks as text to pprof |
//! | [`multipart`] | the forms that carry a profile |
//! | [`raw_series`] | many profiles in one message: Pyroscope's `Push`, Parca's `WriteRaw` |
//! | `body` | gunzip, limits, parsing; `format` names what is not pprof |
//! | `origin` | whose profile it is, its time, period and identity |
//! | `tables` | the profile's tables looked up by id and index; counts what dangles |
//! | `locations` | the names and places of locations |
//! | `labels` | labels of samples, and the span that they name |
//! | `rows` | a profile as rows |
//!
//! Frames, stacks and the columns of the four tables are `crate::profiles`.
//!
//! What dangles, that is names an entry that the profile does not have: a function, a mapping or a
//! text is left out and counted (`profiles.dangling_references`, and in the answer to the sender),
//! because the measured values stay true without it. A location of a sample or the name of a sample
//! type refuses the profile, because values would move to another function or lose their meaning;
//! so do two entries with one id (two profiles written one after the other) and a sample with more
//! or fewer values than there are sample types.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod body;
pub mod folded;
mod format;
mod labels;
mod locations;
pub mod message;
pub mod multipart;
mod origin;
pub mod raw_series;
mod rows;
mod tables;
pub mod upload;

use prost::Message;
use upriver_store::record::LogRecord;

pub use self::folded::Folding;
use self::locations::Locations;
use self::message::{LoggedProfile, Profile};
use self::origin::Logged;
use self::rows::Source;
use self::tables::{Texts, sample_types};
pub use self::upload::{PprofUpload, ProfileEntry};
use crate::profiles::TooManyRows;
use crate::profiles::rows::Rows;
use crate::profiles::stacks::{FRAMES_MAX, Stacks};
use crate::{DecodeError, Decoded};

/// The default limit of what a profile may unpack to: OTLP's recommended limit of a request. The
/// largest real profile that we know unpacks to 2.4 MB.
pub const UNPACKED_BYTES_MAX: usize = 64 << 20;

/// The limit on replay. It is above any sensible configuration of the limit on arrival, so that
/// what was acknowledged under a higher limit than today's is still replayed.
const REPLAY_BYTES_MAX: usize = 1 << 30;

/// What the rows of one profile may take. Stacks repeat the names of their functions, so a small
/// body can unfold without end. A minute of a busy 15-core service (golbat) takes 100 MB; the
/// limit also keeps the text of every column below the 2 GiB that its offsets can address.
const ROWS_BYTES_MAX: usize = 768 << 20;

/// What errors call the input.
const WHAT: &str = "pprof profile";

/// Turns a logged profile, which was accepted once, into rows; on arrival use [`decode_within`].
pub fn decode_record(record: &LogRecord) -> Result<Decoded, DecodeError> {
    decode_within(record, REPLAY_BYTES_MAX)
}

/// Turns a profile that may unpack to `unpacked_bytes_max` bytes into rows of `profiles`,
/// `profile_samples`, `profile_stacks` and `profile_stack_frames`. The same code decides before the
/// acknowledgement and makes the rows on replay.
pub fn decode_within(
    record: &LogRecord,
    unpacked_bytes_max: usize,
) -> Result<Decoded, DecodeError> {
    let logged = LoggedProfile::decode(record.payload.clone())
        .map_err(|why| DecodeError::invalid("logged profile", why.to_string()))?;
    let (raw, profile) = body::read(&logged.body, unpacked_bytes_max)?;
    let texts = Texts::new(&profile)?;
    let logged = Logged::new(logged, &raw, &profile, record.received);
    decode_profile(&profile, &texts, logged)
}

fn decode_profile(
    profile: &Profile,
    texts: &Texts<'_>,
    logged: Logged,
) -> Result<Decoded, DecodeError> {
    let sample_types = sample_types(profile, texts)?;
    let locations = Locations::new(profile, texts)?;
    let mut stacks = Stacks::new(ROWS_BYTES_MAX);
    let mut rows = Rows::new(ROWS_BYTES_MAX);
    let source = Source { profile, texts, sample_types: &sample_types, logged };
    for sample in &profile.sample {
        let position = stack(&mut stacks, &sample.location_id, &locations)?;
        let stack = (position, stacks.id(position));
        source.append_sample(sample, stack, &mut rows).map_err(too_many_rows)?;
    }
    let dangling = texts.dangling().saturating_add(locations.dangling());
    source.append_profile(&mut rows, dangling).map_err(too_many_rows)?;
    Ok(Decoded {
        batches: rows.finish(&stacks, &locations.frames).map_err(too_many_rows)?,
        accepted: profile.sample.len() as u64,
        message: warning(dangling, stacks.cut()),
        ..Decoded::default()
    })
}

/// The position of the stack with these locations, leaf first.
fn stack(
    stacks: &mut Stacks,
    location_ids: &[u64],
    locations: &Locations<'_>,
) -> Result<usize, DecodeError> {
    let frames = location_ids.iter().map(|id| locations.frames_at(*id));
    stacks.intern(frames, &locations.frames, too_many_rows)
}

fn too_many_rows(_: TooManyRows) -> DecodeError {
    DecodeError::too_large(
        WHAT,
        format!(
            "its stacks and labels unfold to more than {ROWS_BYTES_MAX} bytes; \
             profile for a shorter time"
        ),
    )
}

/// What the sender should know about a profile that was taken.
fn warning(dangling: u64, cut: u64) -> Option<String> {
    let mut parts = Vec::new();
    if dangling > 0 {
        parts.push(format!(
            "{dangling} references to missing functions, mappings or texts were left out"
        ));
    }
    if cut > 0 {
        parts.push(format!("{cut} stacks were cut to the {FRAMES_MAX} frames nearest the leaf"));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

#[cfg(test)]
mod tests;
