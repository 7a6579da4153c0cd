//! Locations to frames, samples to stacks.
//!
//! A location is one address with the functions inlined there, and becomes one frame for each. What
//! a frame is called, where it lies and how its stack hashes is worked out once for each location.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::WHAT;
use super::message::{Line, Location, Mapping, Profile};
use super::tables::{IdIndex, Texts};
use crate::DecodeError;
use crate::frame_family::{Family, family};

/// The longest stack that is kept whole; of a longer one the frames nearest the leaf stay. Profilers
/// cut at 64 to 512 frames; what is longer is runaway recursion.
pub(super) const FRAMES_MAX: usize = 1024;

/// A frame of a stack.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    /// Position of its function and file among the symbols.
    pub(super) symbol: usize,
    /// Line in the file; 0 where unknown.
    pub(super) line: i64,
    /// File of the binary; empty where unknown.
    pub(super) mapping: &'a str,
    /// Build id of the binary; empty where unknown.
    pub(super) build_id: &'a str,
    /// Where the frame has no function: its place in the binary's file, or the address where the
    /// binary is unknown. Addresses of the kernel are above `i64::MAX` and are kept bit by bit.
    pub(super) address: Option<i64>,
    /// Whether the function was inlined into the next frame's.
    pub(super) inlined: bool,
}

/// A function by its name and file.
#[derive(Debug)]
pub(super) struct Symbol<'a> {
    /// The function, or `binary+0xplace` where it has none.
    pub(super) function: Cow<'a, str>,
    /// Source file; empty where unknown.
    pub(super) file: &'a str,
    /// What the runtime does in it.
    pub(super) family: Option<Family>,
}

/// All frames of a profile's locations.
#[derive(Debug)]
pub(super) struct FrameTable<'a> {
    symbols: Vec<Symbol<'a>>,
    frames: Vec<Frame<'a>>,
    hashes: Vec<u64>,
    locations: Vec<Range<u32>>,
    index: IdIndex,
    dangling: Cell<u64>,
}

impl<'a> FrameTable<'a> {
    /// The frames of every location of a profile.
    pub(super) fn new(profile: &'a Profile, texts: &'a Texts<'_>) -> Result<Self, DecodeError> {
        let names = Names {
            profile,
            texts,
            functions: IdIndex::new("functions", profile.function.iter().map(|f| f.id))?,
            mappings: IdIndex::new("mappings", profile.mapping.iter().map(|m| m.id))?,
            dangling: Cell::new(0),
        };
        let mut builder = Builder::default();
        let mut locations = Vec::with_capacity(profile.location.len());
        for location in &profile.location {
            let start = builder.position();
            names.frames_of(location, &mut builder);
            locations.push(start..builder.position());
        }
        Ok(Self {
            hashes: builder.frames.iter().map(|frame| builder.hash(frame)).collect(),
            symbols: builder.symbols,
            frames: builder.frames,
            locations,
            index: IdIndex::new("locations", profile.location.iter().map(|l| l.id))?,
            dangling: names.dangling,
        })
    }

    /// How many functions and mappings were missing.
    pub(super) fn dangling(&self) -> u64 {
        self.dangling.get()
    }

    /// The number of distinct functions.
    pub(super) fn symbol_count(&self) -> usize {
        self.symbols.len()
    }

    /// A frame with its function. Positions come from the stacks of the same profile.
    pub(super) fn frame(&self, position: u32) -> Option<(&Frame<'a>, &Symbol<'a>)> {
        self.with_symbol(self.frames.get(position as usize)?)
    }

    /// All frames with their functions, in the order of their positions.
    pub(super) fn frames(&self) -> impl Iterator<Item = (&Frame<'a>, &Symbol<'a>)> {
        self.frames.iter().filter_map(|frame| self.with_symbol(frame))
    }

    fn with_symbol<'t>(&'t self, frame: &'t Frame<'a>) -> Option<(&'t Frame<'a>, &'t Symbol<'a>)> {
        Some((frame, self.symbols.get(frame.symbol)?))
    }

    fn frames_at(&self, location_id: u64) -> Option<Range<u32>> {
        self.locations.get(self.index.position(location_id)?).cloned()
    }
}

/// The distinct stacks of a profile.
#[derive(Debug, Default)]
pub(super) struct Stacks {
    distinct: Vec<Stack>,
    known: HashSet<i64>,
    scratch: Vec<u32>,
    cut: u64,
}

/// A stack: its id and the positions of its frames, leaf first.
#[derive(Debug)]
pub(super) struct Stack {
    pub(super) id: i64,
    pub(super) frames: Vec<u32>,
}

impl Stacks {
    /// The id of the stack with these locations, leaf first; keeps the stack if it is new.
    ///
    /// The id is the XXH3 hash over the hashes of its frames, each of which is over everything that
    /// is stored of the frame: one id, one stack, from whatever profile.
    pub(super) fn intern(
        &mut self,
        location_ids: &[u64],
        table: &FrameTable<'_>,
    ) -> Result<i64, DecodeError> {
        self.scratch.clear();
        for id in location_ids {
            let frames = table.frames_at(*id).ok_or_else(|| missing_location(*id))?;
            self.scratch.extend(frames.take(FRAMES_MAX));
        }
        let cut = self.scratch.len() > FRAMES_MAX;
        self.scratch.truncate(FRAMES_MAX);
        let mut hash = Xxh3::new();
        for position in &self.scratch {
            let frame_hash = table.hashes.get(*position as usize).copied().unwrap_or_default();
            hash.update(&frame_hash.to_le_bytes());
        }
        let id = hash.digest().cast_signed();
        if self.known.insert(id) {
            self.cut = self.cut.saturating_add(u64::from(cut));
            self.distinct.push(Stack { id, frames: self.scratch.clone() });
        }
        Ok(id)
    }

    /// The stacks in the order in which they were first seen.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Stack> {
        self.distinct.iter()
    }

    /// How many stacks were longer than [`FRAMES_MAX`].
    pub(super) fn cut(&self) -> u64 {
        self.cut
    }
}

fn missing_location(id: u64) -> DecodeError {
    DecodeError::invalid(
        WHAT,
        format!(
            "a sample names location {id}, which the profile does not have, so that its values \
             would go to another function; take the profile again"
        ),
    )
}

/// What is needed to name a frame.
struct Names<'a> {
    profile: &'a Profile,
    texts: &'a Texts<'a>,
    functions: IdIndex,
    mappings: IdIndex,
    dangling: Cell<u64>,
}

impl<'a> Names<'a> {
    fn frames_of(&self, location: &Location, builder: &mut Builder<'a>) {
        let place = self.place(location);
        let Some(last) = location.line.len().checked_sub(1) else {
            builder.push(place.frame(None, false), place.text().into(), "");
            return;
        };
        for (position, line) in location.line.iter().enumerate() {
            let inlined = position < last;
            let (name, file) = self.function(line);
            let number = (line.line != 0).then_some(line.line);
            if name.is_empty() {
                builder.push(place.frame(number, inlined), place.text().into(), file);
            } else {
                let frame = Frame { address: None, ..place.frame(number, inlined) };
                builder.push(frame, name.into(), file);
            }
        }
    }

    /// Name and file of a line's function, empty where unknown.
    fn function(&self, line: &Line) -> (&'a str, &'a str) {
        if line.function_id == 0 {
            return ("", "");
        }
        let position = self.functions.position(line.function_id);
        let Some(function) = position.and_then(|at| self.profile.function.get(at)) else {
            self.dangling.set(self.dangling.get().saturating_add(1));
            return ("", "");
        };
        let name = match self.texts.or_empty(function.name) {
            "" => self.texts.or_empty(function.system_name),
            name => name,
        };
        (name, self.texts.or_empty(function.filename))
    }

    fn place(&self, location: &Location) -> Place<'a> {
        let address = location.address;
        if location.mapping_id == 0 {
            return Place { mapping: "", build_id: "", address };
        }
        let position = self.mappings.position(location.mapping_id);
        let Some(mapping) = position.and_then(|at| self.profile.mapping.get(at)) else {
            self.dangling.set(self.dangling.get().saturating_add(1));
            return Place { mapping: "", build_id: "", address };
        };
        Place {
            mapping: self.texts.or_empty(mapping.filename),
            build_id: self.texts.or_empty(mapping.build_id),
            address: place_in_file(mapping, address),
        }
    }
}

/// An address as an offset in the mapped file, which is the same wherever the file was loaded.
fn place_in_file(mapping: &Mapping, address: u64) -> u64 {
    if !(mapping.memory_start..mapping.memory_limit).contains(&address) {
        return address;
    }
    address.wrapping_sub(mapping.memory_start).wrapping_add(mapping.file_offset)
}

/// Where in which binary a location is.
struct Place<'a> {
    mapping: &'a str,
    build_id: &'a str,
    address: u64,
}

impl<'a> Place<'a> {
    fn frame(&self, line: Option<i64>, inlined: bool) -> Frame<'a> {
        Frame {
            symbol: 0,
            line: line.unwrap_or_default(),
            mapping: self.mapping,
            build_id: self.build_id,
            address: (self.address != 0).then_some(self.address.cast_signed()),
            inlined,
        }
    }

    /// The name of a frame that has no function.
    fn text(&self) -> String {
        let binary = self.mapping.rsplit(['/', '\\']).next().unwrap_or_default();
        match (binary, self.address) {
            ("", 0) => "unknown".to_owned(),
            ("", address) => format!("{address:#x}"),
            (binary, 0) => binary.to_owned(),
            (binary, address) => format!("{binary}+{address:#x}"),
        }
    }
}

/// Frames and symbols as they are found.
#[derive(Default)]
struct Builder<'a> {
    frames: Vec<Frame<'a>>,
    symbols: Vec<Symbol<'a>>,
    known: HashMap<(Cow<'a, str>, &'a str), usize>,
}

impl<'a> Builder<'a> {
    fn push(&mut self, mut frame: Frame<'a>, function: Cow<'a, str>, file: &'a str) {
        let symbols = &mut self.symbols;
        frame.symbol =
            *self.known.entry((function, file)).or_insert_with_key(|(function, file)| {
                symbols.push(Symbol {
                    function: function.clone(),
                    file,
                    family: family(function, file),
                });
                symbols.len().saturating_sub(1)
            });
        self.frames.push(frame);
    }

    /// The position of the next frame. There are fewer than entries in a body, which are limited.
    fn position(&self) -> u32 {
        u32::try_from(self.frames.len()).unwrap_or(u32::MAX)
    }

    fn hash(&self, frame: &Frame<'_>) -> u64 {
        let (function, file) =
            self.symbols.get(frame.symbol).map_or(("", ""), |s| (s.function.as_ref(), s.file));
        let mut bytes = Vec::new();
        for text in [function, file, frame.mapping, frame.build_id] {
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.extend_from_slice(&frame.line.to_le_bytes());
        bytes.extend_from_slice(&frame.address.unwrap_or_default().to_le_bytes());
        bytes.push(u8::from(frame.inlined));
        xxh3_64(&bytes)
    }
}

#[cfg(test)]
mod tests;
