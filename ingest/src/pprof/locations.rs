//! The locations of a profile as frames.

use std::cell::Cell;
use std::ops::Range;

use super::message::{self, Location, Profile};
use super::tables::{IdIndex, Texts};
use super::{ROWS_BYTES_MAX, WHAT, too_many_rows};
use crate::DecodeError;
use crate::profiles::frames::{FrameTable, FrameTableBuilder, Line, MappedFile, Place};

/// The frames of every location of a profile, found by the locations' ids.
#[derive(Debug)]
pub(super) struct Locations<'a> {
    pub(super) frames: FrameTable<'a>,
    index: IdIndex,
    dangling: u64,
}

impl<'a> Locations<'a> {
    /// Names all locations of a profile.
    pub(super) fn new(profile: &'a Profile, texts: &'a Texts<'_>) -> Result<Self, DecodeError> {
        let names = Names {
            profile,
            texts,
            functions: IdIndex::new("functions", profile.function.iter().map(|f| f.id))?,
            mappings: IdIndex::new("mappings", profile.mapping.iter().map(|m| m.id))?,
            dangling: Cell::new(0),
        };
        let mut frames = FrameTableBuilder::new(ROWS_BYTES_MAX);
        let mut lines = Vec::new();
        for location in &profile.location {
            lines.clear();
            let place = names.place(location);
            lines.extend(location.line.iter().map(|line| names.line(line)));
            frames.push_location(&place, &lines).map_err(too_many_rows)?;
        }
        Ok(Self {
            frames: frames.finish(),
            index: IdIndex::new("locations", profile.location.iter().map(|l| l.id))?,
            dangling: names.dangling.get(),
        })
    }

    /// How many functions and mappings were missing.
    pub(super) fn dangling(&self) -> u64 {
        self.dangling
    }

    /// The frames of the location with this id.
    pub(super) fn frames_at(&self, id: u64) -> Result<Range<u32>, DecodeError> {
        let position = self.index.position(id);
        position.and_then(|at| self.frames.location(at)).ok_or_else(|| missing_location(id))
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
    fn line(&self, line: &message::Line) -> Line<'a> {
        let nameless = Line { function: "", file: "", number: line.line };
        if line.function_id == 0 {
            return nameless;
        }
        let position = self.functions.position(line.function_id);
        let Some(function) = position.and_then(|at| self.profile.function.get(at)) else {
            self.dangling.set(self.dangling.get().saturating_add(1));
            return nameless;
        };
        let name = match self.texts.or_empty(function.name) {
            "" => self.texts.or_empty(function.system_name),
            name => name,
        };
        Line { function: name, file: self.texts.or_empty(function.filename), number: line.line }
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
        let file = MappedFile {
            memory: mapping.memory_start..mapping.memory_limit,
            offset: mapping.file_offset,
        };
        Place {
            mapping: self.texts.or_empty(mapping.filename),
            build_id: self.texts.or_empty(mapping.build_id),
            address: file.place(address),
        }
    }
}

#[cfg(test)]
mod tests;
