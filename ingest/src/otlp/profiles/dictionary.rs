//! The dictionary of a request: the tables that its profiles refer to by index.
//!
//! Index 0 of a table stands for "none" and its entry is empty. Some senders have real entries there,
//! so an index is always looked up, 0 too, and an empty entry then says nothing by itself; where a
//! table is empty altogether, 0 stands for none. Links and texts are the exceptions: a field that is
//! absent cannot be told from one that is 0, so link 0 is never a link, and a table of texts that
//! does not begin with an empty one is refused.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::Range;

use xxhash_rust::xxh3::Xxh3;

use super::super::attributes::{Value, push_part};
use super::super::strings::{StringTable, Strings};
use super::super::traces::{span_id, trace_id};
use super::super::wire::{Reader, WireError, messages};
use super::super::{Fault, ROWS_BYTES_MAX};
use super::layout::check_attribute_key;
use crate::profiles::frames::{FrameTable, FrameTableBuilder, Line, MappedFile, Place};

/// Entries of all tables. An empty one takes two bytes on the wire and up to 90 in memory, so that
/// the size of a request alone bounds little. The largest dictionary that we know has 2,000.
const ENTRIES_MAX: usize = 4 << 20;

/// Attributes of a mapping that hold the build id of its file, the first of them first.
const BUILD_IDS: [&str; 3] = [
    "process.executable.build_id.gnu",
    "process.executable.build_id.go",
    "process.executable.build_id.htlhash",
];

/// The entries of the tables as they came.
#[derive(Debug, Default)]
pub(super) struct Tables<'a> {
    mappings: Vec<&'a [u8]>,
    locations: Vec<&'a [u8]>,
    functions: Vec<&'a [u8]>,
    links: Vec<&'a [u8]>,
    strings: Vec<&'a [u8]>,
    attributes: Vec<&'a [u8]>,
    stacks: Vec<&'a [u8]>,
}

impl<'a> Tables<'a> {
    /// Finds the tables of an `ExportProfilesServiceRequest`.
    pub(super) fn of(body: &'a [u8]) -> Result<Self, Fault> {
        let mut dictionaries = messages(body, "ExportProfilesServiceRequest", 2);
        let Some(dictionary) = dictionaries.next().transpose()? else { return Ok(Self::default()) };
        if dictionaries.next().is_some() {
            return Err(Fault::Invalid(
                "it has two dictionaries, as when two requests are written one after the other; \
                 send each by itself"
                    .to_owned(),
            ));
        }
        let mut tables = Self::default();
        let mut entries = 0_usize;
        for field in Reader::new(dictionary, "ProfilesDictionary") {
            let (number, field) = field?;
            let table = match number {
                1 => &mut tables.mappings,
                2 => &mut tables.locations,
                3 => &mut tables.functions,
                4 => &mut tables.links,
                5 => &mut tables.strings,
                6 => &mut tables.attributes,
                7 => &mut tables.stacks,
                _ => continue,
            };
            table.push(field.bytes("ProfilesDictionary")?);
            entries = entries.saturating_add(1);
            if entries > ENTRIES_MAX {
                return Err(Fault::TooMany(format!(
                    "its dictionary has more than {ENTRIES_MAX} entries; send smaller batches"
                )));
            }
        }
        Ok(tables)
    }

    /// The texts. A table that does not begin with an empty one would give a name to everything that
    /// has none.
    pub(super) fn strings(&self) -> Result<StringTable<'a>, Fault> {
        let strings = StringTable::new(self.strings.iter().copied());
        if strings.begins_empty() {
            return Ok(strings);
        }
        Err(Fault::Invalid(
            "the string table does not begin with an empty text, so that everything without a \
             name would get the first one; send an empty text as entry 0, as OTLP prescribes"
                .to_owned(),
        ))
    }

    /// The attributes.
    pub(super) fn attributes(
        &self,
        strings: &'a StringTable<'a>,
    ) -> Result<Vec<Attribute<'a>>, Fault> {
        read_all(&self.attributes, |bytes| read_attribute(bytes, strings))
    }

    /// The number of attributes.
    pub(super) fn attribute_count(&self) -> usize {
        self.attributes.len()
    }
}

/// An attribute of the table.
#[derive(Debug)]
pub(super) struct Attribute<'a> {
    /// Empty for the entry that stands for none.
    pub(super) key: &'a str,
    /// The value as text; none where it is empty.
    pub(super) value: Option<Cow<'a, str>>,
    /// Empty where there is none.
    pub(super) unit: &'a str,
    /// Hash of all three.
    pub(super) hash: u64,
}

/// A span.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: i64,
}

/// The tables, read.
#[derive(Debug)]
pub(super) struct Dictionary<'a> {
    pub(super) strings: &'a StringTable<'a>,
    attributes: &'a [Attribute<'a>],
    links: Vec<Option<Link>>,
    pub(super) frames: FrameTable<'a>,
    stacks: Vec<&'a [u8]>,
    /// References from one table to another that led nowhere.
    pub(super) dangling: u64,
}

impl<'a> Dictionary<'a> {
    /// Reads the tables that remain; `attributes` are read already.
    pub(super) fn read(
        tables: &Tables<'a>,
        strings: &'a StringTable<'a>,
        attributes: &'a [Attribute<'a>],
    ) -> Result<Self, Fault> {
        let references = References { strings, attributes, dangling: Cell::new(0) };
        let names = Names {
            functions: read_all(&tables.functions, |bytes| references.function(bytes))?,
            mappings: read_all(&tables.mappings, |bytes| references.mapping(bytes))?,
            references,
        };
        let mut frames = FrameTableBuilder::new(ROWS_BYTES_MAX);
        let mut lines = Vec::new();
        for location in &tables.locations {
            lines.clear();
            let place = names.location(location, &mut lines)?;
            frames.push_location(&place, &lines)?;
        }
        Ok(Self {
            strings,
            attributes,
            links: read_all(&tables.links, read_link)?,
            frames: frames.finish(),
            stacks: tables.stacks.clone(),
            dangling: names.references.dangling.get().saturating_add(strings.dangling()),
        })
    }

    /// An attribute; none where the index leads nowhere.
    pub(super) fn attribute(&self, index: i32) -> Option<&Attribute<'a>> {
        self.attributes.get(usize::try_from(index).ok()?)
    }

    /// The span of a sample; `Err` where the index leads nowhere.
    pub(super) fn link(&self, index: i32) -> Result<Option<Link>, ()> {
        if index == 0 {
            return Ok(None);
        }
        let position = usize::try_from(index).ok();
        position.and_then(|position| self.links.get(position)).copied().ok_or(())
    }

    /// How many stacks there are.
    pub(super) fn stack_count(&self) -> usize {
        self.stacks.len()
    }

    /// The frames of each location of a stack, leaf first; `Err` says what is missing.
    pub(super) fn stack(
        &self,
        index: i32,
        locations: &mut Vec<Range<u32>>,
    ) -> Result<Result<(), String>, WireError> {
        locations.clear();
        if index == 0 && self.stacks.is_empty() {
            return Ok(Ok(()));
        }
        let position = usize::try_from(index).ok();
        let Some(stack) = position.and_then(|position| self.stacks.get(position)) else {
            return Ok(Err(format!("a sample names stack {index}, which the dictionary lacks")));
        };
        let mut missing = None;
        for field in Reader::new(stack, "Stack") {
            let (1, field) = field? else { continue };
            field.varint_list("Stack.location_indices", |index| {
                let position = usize::try_from(index).ok();
                match position.and_then(|position| self.frames.location(position)) {
                    Some(frames) => locations.push(frames),
                    None => drop(missing.get_or_insert_with(|| index.cast_signed())),
                }
            })?;
        }
        Ok(match missing {
            None => Ok(()),
            Some(location) => {
                Err(format!("stack {index} names location {location}, which the dictionary lacks"))
            }
        })
    }
}

fn read_all<'a, T, E>(
    entries: &[&'a [u8]],
    read: impl Fn(&'a [u8]) -> Result<T, E>,
) -> Result<Vec<T>, E> {
    entries.iter().map(|entry| read(entry)).collect()
}

fn read_attribute<'a>(
    bytes: &'a [u8],
    strings: &'a StringTable<'a>,
) -> Result<Attribute<'a>, Fault> {
    let (mut key, mut unit, mut value) = (0, 0, Value::Empty);
    for field in Reader::new(bytes, "KeyValueAndUnit") {
        match field? {
            (1, field) => key = check_attribute_key(field)?,
            (2, field) => {
                value = Value::read(field.bytes("KeyValueAndUnit.value")?, Strings::of(strings))?;
            }
            (3, field) => unit = field.int32("KeyValueAndUnit.unit_strindex")?,
            _ => {}
        }
    }
    let (key, unit) = (strings.or_empty(key), strings.or_empty(unit));
    let value = value.text()?;
    let mut identity = Vec::new();
    for part in [Some(key), value.as_deref(), Some(unit)] {
        push_part(&mut identity, part);
    }
    let mut hash = Xxh3::new();
    hash.update(&identity);
    Ok(Attribute { key, value, unit, hash: hash.digest() })
}

fn read_link(bytes: &[u8]) -> Result<Option<Link>, WireError> {
    let (mut trace, mut span): (&[u8], &[u8]) = (&[], &[]);
    for field in Reader::new(bytes, "Link") {
        match field? {
            (1, field) => trace = field.bytes("Link.trace_id")?,
            (2, field) => span = field.bytes("Link.span_id")?,
            _ => {}
        }
    }
    let ids = trace_id(trace).zip(span_id(span).filter(|id| *id != 0));
    Ok(ids.map(|(trace_id, span_id)| Link { trace_id: *trace_id, span_id }))
}

/// A function: its name, else its symbol's, and its file.
type Function<'a> = (&'a str, &'a str);

/// A binary or library.
#[derive(Debug)]
struct Mapping<'a> {
    file: MappedFile,
    name: &'a str,
    build_id: &'a str,
}

/// What other tables refer to, and how often a reference led nowhere. Texts count for themselves.
struct References<'a> {
    strings: &'a StringTable<'a>,
    attributes: &'a [Attribute<'a>],
    dangling: Cell<u64>,
}

impl<'a> References<'a> {
    fn function(&self, bytes: &[u8]) -> Result<Function<'a>, WireError> {
        let (mut name, mut system_name, mut file) = (0, 0, 0);
        for field in Reader::new(bytes, "Function") {
            match field? {
                (1, field) => name = field.int32("Function.name_strindex")?,
                (2, field) => system_name = field.int32("Function.system_name_strindex")?,
                (3, field) => file = field.int32("Function.filename_strindex")?,
                _ => {}
            }
        }
        let name = match self.strings.or_empty(name) {
            "" => self.strings.or_empty(system_name),
            name => name,
        };
        Ok((name, self.strings.or_empty(file)))
    }

    fn mapping(&self, bytes: &[u8]) -> Result<Mapping<'a>, WireError> {
        let (mut memory, mut offset, mut name) = (0..0, 0, 0);
        // How it ranks among build ids, and its text.
        let mut build_id: Option<(usize, &'a str)> = None;
        for field in Reader::new(bytes, "Mapping") {
            match field? {
                (1, field) => memory.start = field.varint("Mapping.memory_start")?,
                (2, field) => memory.end = field.varint("Mapping.memory_limit")?,
                (3, field) => offset = field.varint("Mapping.file_offset")?,
                (4, field) => name = field.int32("Mapping.filename_strindex")?,
                (5, field) => field.varint_list("Mapping.attribute_indices", |index| {
                    let found = self.build_id(index);
                    build_id = [build_id, found].into_iter().flatten().min_by_key(|found| found.0);
                })?,
                _ => {}
            }
        }
        Ok(Mapping {
            file: MappedFile { memory, offset },
            name: self.strings.or_empty(name),
            build_id: build_id.map_or("", |(_, text)| text),
        })
    }

    /// The build id in an attribute of a mapping, and how it ranks among others.
    fn build_id(&self, index: u64) -> Option<(usize, &'a str)> {
        let position = usize::try_from(index).ok();
        let Some(attribute) = position.and_then(|position| self.attributes.get(position)) else {
            self.dangle();
            return None;
        };
        let rank = BUILD_IDS.iter().position(|name| *name == attribute.key)?;
        Some((rank, attribute.value.as_deref()?))
    }

    /// An entry of a table; counted where the index leads nowhere.
    fn entry<'e, T>(&self, table: &'e [T], index: i32) -> Option<&'e T> {
        if index == 0 && table.is_empty() {
            return None;
        }
        let found = usize::try_from(index).ok().and_then(|position| table.get(position));
        if found.is_none() {
            self.dangle();
        }
        found
    }

    fn dangle(&self) {
        self.dangling.set(self.dangling.get().saturating_add(1));
    }
}

/// What is needed to name a location.
struct Names<'a> {
    functions: Vec<Function<'a>>,
    mappings: Vec<Mapping<'a>>,
    references: References<'a>,
}

impl<'a> Names<'a> {
    /// The place of a location; what is there goes into `lines`.
    fn location(&self, bytes: &[u8], lines: &mut Vec<Line<'a>>) -> Result<Place<'a>, WireError> {
        let (mut mapping, mut address) = (0, 0);
        for field in Reader::new(bytes, "Location") {
            match field? {
                (1, field) => mapping = field.int32("Location.mapping_index")?,
                (2, field) => address = field.varint("Location.address")?,
                (3, field) => lines.push(self.line(field.bytes("Location.lines")?)?),
                _ => {}
            }
        }
        let none = Place { mapping: "", build_id: "", address };
        let place = |mapping: &Mapping<'a>| Place {
            mapping: mapping.name,
            build_id: mapping.build_id,
            address: mapping.file.place(address),
        };
        Ok(self.references.entry(&self.mappings, mapping).map_or(none, place))
    }

    fn line(&self, bytes: &[u8]) -> Result<Line<'a>, WireError> {
        let (mut function, mut number) = (0, 0);
        for field in Reader::new(bytes, "Line") {
            match field? {
                (1, field) => function = field.int32("Line.function_index")?,
                (2, field) => number = field.varint("Line.line")?.cast_signed(),
                _ => {}
            }
        }
        let found = self.references.entry(&self.functions, function);
        let (name, file) = found.copied().unwrap_or_default();
        Ok(Line { function: name, file, number })
    }
}
