//! Locations to frames.
//!
//! A location is one address with the functions inlined there, and becomes one frame for each. What
//! a frame is called, where it lies and how its stack hashes is worked out once for each location.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use super::{ROW_BYTES, TooManyRows};
use crate::frame_family::{Family, family};

/// A frame of a stack.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    /// Position of its function and file among the symbols.
    pub(crate) symbol: usize,
    /// Line in the file; 0 where unknown.
    pub(crate) line: i64,
    /// File of the binary; empty where unknown.
    pub(crate) mapping: &'a str,
    /// Build id of the binary; empty where unknown.
    pub(crate) build_id: &'a str,
    /// Where the frame has no function: its place in the binary's file, or the address where the
    /// binary is unknown. Addresses of the kernel are above `i64::MAX` and are kept bit by bit.
    pub(crate) address: Option<i64>,
    /// Whether the function was inlined into the next frame's.
    pub(crate) inlined: bool,
}

/// A function by its name and file.
#[derive(Debug)]
pub(crate) struct Symbol<'a> {
    /// The function, or `binary+0xplace` where it has none.
    pub(crate) function: Cow<'a, str>,
    /// Source file; empty where unknown.
    pub(crate) file: &'a str,
    /// What the runtime does in it.
    pub(crate) family: Option<Family>,
}

/// A function at a location; empty texts and 0 where unknown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) function: &'a str,
    pub(crate) file: &'a str,
    pub(crate) number: i64,
}

/// Where in which binary a location is; empty texts and 0 where unknown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) mapping: &'a str,
    pub(crate) build_id: &'a str,
    pub(crate) address: u64,
}

/// The part of the address space that a binary's file is mapped to.
#[derive(Clone, Debug)]
pub(crate) struct MappedFile {
    pub(crate) memory: Range<u64>,
    /// What of the file is at the first address.
    pub(crate) offset: u64,
}

impl MappedFile {
    /// An address as an offset in the mapped file, which is the same wherever the file was loaded.
    pub(crate) fn place(&self, address: u64) -> u64 {
        if !self.memory.contains(&address) {
            return address;
        }
        address.wrapping_sub(self.memory.start).wrapping_add(self.offset)
    }
}

impl<'a> Place<'a> {
    fn frame(&self, line: i64, inlined: bool) -> Frame<'a> {
        Frame {
            symbol: 0,
            line,
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

/// All frames of the locations of a request.
#[derive(Debug, Default)]
pub(crate) struct FrameTable<'a> {
    symbols: Vec<Symbol<'a>>,
    frames: Vec<Frame<'a>>,
    hashes: Vec<u64>,
    locations: Vec<Range<u32>>,
}

impl<'a> FrameTable<'a> {
    /// The number of distinct functions.
    pub(crate) fn symbol_count(&self) -> usize {
        self.symbols.len()
    }

    /// A frame with its function. Positions come from stacks of the same table.
    pub(crate) fn frame(&self, position: u32) -> Option<(&Frame<'a>, &Symbol<'a>)> {
        self.with_symbol(self.frames.get(position as usize)?)
    }

    /// All frames with their functions, in the order of their positions.
    pub(crate) fn frames(&self) -> impl Iterator<Item = (&Frame<'a>, &Symbol<'a>)> {
        self.frames.iter().filter_map(|frame| self.with_symbol(frame))
    }

    /// The positions of the frames of the location that was added as this one, from 0.
    pub(crate) fn location(&self, position: usize) -> Option<Range<u32>> {
        self.locations.get(position).cloned()
    }

    /// The hash over everything that is stored of a frame.
    pub(super) fn hash(&self, position: u32) -> u64 {
        self.hashes.get(position as usize).copied().unwrap_or_default()
    }

    fn with_symbol<'t>(&'t self, frame: &'t Frame<'a>) -> Option<(&'t Frame<'a>, &'t Symbol<'a>)> {
        Some((frame, self.symbols.get(frame.symbol)?))
    }
}

/// Makes a [`FrameTable`], location by location.
#[derive(Debug)]
pub(crate) struct FrameTableBuilder<'a> {
    table: FrameTable<'a>,
    known: HashMap<(Cow<'a, str>, &'a str), usize>,
    /// What the frames may still take. Each is written and hashed with all of its texts, so a long
    /// name on many lines would take memory and time without end.
    bytes_left: usize,
}

impl<'a> FrameTableBuilder<'a> {
    /// A table whose frames, written out, may take `bytes_max`.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { table: FrameTable::default(), known: HashMap::new(), bytes_left: bytes_max }
    }

    /// Adds a location: its place, and the functions there, the innermost inlined one first.
    pub(crate) fn push_location(
        &mut self,
        place: &Place<'a>,
        lines: &[Line<'a>],
    ) -> Result<(), TooManyRows> {
        let start = self.position();
        if lines.is_empty() {
            self.push(place.frame(0, false), place.text().into(), "")?;
        }
        let last = lines.len().saturating_sub(1);
        for (position, line) in lines.iter().enumerate() {
            let frame = place.frame(line.number, position < last);
            if line.function.is_empty() {
                self.push(frame, place.text().into(), line.file)?;
            } else {
                self.push(Frame { address: None, ..frame }, line.function.into(), line.file)?;
            }
        }
        let end = self.position();
        self.table.locations.push(start..end);
        Ok(())
    }

    /// The finished table.
    pub(crate) fn finish(mut self) -> FrameTable<'a> {
        self.table.hashes = self.table.frames.iter().map(|frame| self.hash(frame)).collect();
        self.table
    }

    fn push(
        &mut self,
        mut frame: Frame<'a>,
        function: Cow<'a, str>,
        file: &'a str,
    ) -> Result<(), TooManyRows> {
        let texts = [function.as_ref(), file, frame.mapping, frame.build_id];
        let bytes = texts.iter().fold(ROW_BYTES, |bytes, text| bytes.saturating_add(text.len()));
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(TooManyRows)?;
        let symbols = &mut self.table.symbols;
        frame.symbol =
            *self.known.entry((function, file)).or_insert_with_key(|(function, file)| {
                symbols.push(Symbol {
                    function: function.clone(),
                    file,
                    family: family(function, file),
                });
                symbols.len().saturating_sub(1)
            });
        self.table.frames.push(frame);
        Ok(())
    }

    /// The position of the next frame. There are fewer than entries in a body, which are limited.
    fn position(&self) -> u32 {
        u32::try_from(self.table.frames.len()).unwrap_or(u32::MAX)
    }

    fn hash(&self, frame: &Frame<'_>) -> u64 {
        let symbol = self.table.symbols.get(frame.symbol);
        let (function, file) = symbol.map_or(("", ""), |s| (s.function.as_ref(), s.file));
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
