//! OTLP profiles (`v1development`) to the same rows as pprof's.
//!
//! | module | is |
//! |---|---|
//! | `layout` | which version of OTLP wrote the request: 1.10 and later, 1.8 and 1.9, or older |
//! | `dictionary` | the tables that profiles refer to, as frames, attributes and links |
//! | `sample` | the samples of a profile |
//!
//! An observation of a sample becomes a row: a value with its timestamp where it has one; where there
//! are timestamps alone each counts 1, as the protocol says.
//!
//! What dangles, that is names an entry that the dictionary does not have: a function, a mapping, a
//! text, an attribute or a link is left out and counted (`profiles.dangling_references`, and in the
//! answer to the sender), because the values stay true without it. A stack, a location of a stack or
//! the sample type refuses the profile, because values would move to another function or lose their
//! meaning; so does a sample whose values and timestamps differ in number. Other profiles of the
//! request are kept (partial success).
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod dictionary;
mod layout;
mod sample;

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use upriver_store::time::UnixNanos;
use xxhash_rust::xxh3::Xxh3;

use self::dictionary::{Dictionary, Tables};
use self::layout::Layout;
use self::sample::Sample;
use super::resource::{Resource, Scope, UNKNOWN_SERVICE};
use super::strings::{StringTable, Strings};
use super::wire::{Reader, WireError, messages};
use super::{Budget, Fault, ROWS_BYTES_MAX, Rejections, shown};
use crate::Decoded;
use crate::profiles::rows::{Facts, Labels, Measured, Origin, Rows, ValueName};
use crate::profiles::stacks::{FRAMES_MAX, Stacks};

/// Reads an `ExportProfilesServiceRequest` that arrived at `received`.
pub(super) fn decode(body: &[u8], received: UnixNanos) -> Result<Decoded, Fault> {
    let tables = Tables::of(body)?;
    let layout = Layout::of(body, tables.attribute_count())?;
    let strings = tables.strings()?;
    let attributes = tables.attributes(&strings)?;
    let dictionary = Dictionary::read(&tables, &strings, &attributes)?;
    let mut profiles = ProfilesSoFar::new(layout, &dictionary, received);
    let mut budget = Budget::default();
    for resource_profiles in messages(body, "ExportProfilesServiceRequest", 1) {
        let resource_profiles = resource_profiles?;
        let known = strings.dangling();
        let (references, name) = (Strings::of(&strings), "ResourceProfiles");
        let resource = Resource::read_with(resource_profiles, name, references, &mut budget)?;
        let dangling = strings.dangling().saturating_sub(known);
        for scope_profiles in messages(resource_profiles, "ResourceProfiles", 2) {
            let scope_profiles = scope_profiles?;
            let scope = Scope::read(scope_profiles, "ScopeProfiles", &mut budget)?;
            let origin = origin(&resource, &scope)?;
            for profile in messages(scope_profiles, "ScopeProfiles", 2) {
                profiles.append(profile?, &Sender { origin: &origin, dangling })?;
            }
        }
    }
    profiles.finish()
}

/// Calls `each` with every profile of a request.
fn each_profile<'a>(
    body: &'a [u8],
    mut each: impl FnMut(&'a [u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    for resource_profiles in messages(body, "ExportProfilesServiceRequest", 1) {
        for scope_profiles in messages(resource_profiles?, "ResourceProfiles", 2) {
            for profile in messages(scope_profiles?, "ScopeProfiles", 2) {
                each(profile?)?;
            }
        }
    }
    Ok(())
}

/// What all profiles of a scope share.
struct Sender<'a> {
    origin: &'a Origin,
    /// References of the resource that led nowhere.
    dangling: u64,
}

/// Attributes of a resource that have columns of their own.
const PROMOTED: [&str; 5] = [
    "service.name",
    "service.version",
    "service.instance.id",
    "deployment.environment.name",
    "deployment.environment",
];

fn origin(resource: &Resource<'_>, scope: &Scope<'_>) -> Result<Origin, WireError> {
    let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let mut origin = Origin {
        service: service(resource)?,
        version: given(resource.service_version.as_deref()),
        environment: given(resource.environment.as_deref()),
        instance: given(resource.service_instance_id.as_deref()),
        ..Origin::default()
    };
    for (key, value) in resource.attributes.iter() {
        if let Some(text) = value.text()?
            && !PROMOTED.contains(&key.name)
        {
            origin.labels.insert(key.name.to_owned(), text.into_owned());
        }
    }
    for (key, value) in [("otel.scope.name", scope.name), ("otel.scope.version", scope.version)] {
        if let Some(text) = value {
            origin.labels.insert(key.to_owned(), text.to_owned());
        }
    }
    Ok(origin)
}

/// `service.name`. Profilers of a whole host know it of few processes; of the others the workload or
/// container tells, else `unknown_service:<executable>`, as the semantic conventions have it.
fn service(resource: &Resource<'_>) -> Result<String, WireError> {
    const WORKLOADS: [&str; 7] = [
        "k8s.deployment.name",
        "k8s.statefulset.name",
        "k8s.daemonset.name",
        "k8s.cronjob.name",
        "k8s.job.name",
        "k8s.container.name",
        "container.name",
    ];
    let named = |keys: &[&str]| -> Result<Option<String>, WireError> {
        let text = resource.attributes.text(keys)?;
        Ok(text.filter(|text| !text.is_empty()).map(Cow::into_owned))
    };
    if let Some(name) = named(&["service.name"])? {
        return Ok(name);
    }
    if let Some(name) = named(&WORKLOADS)? {
        return Ok(name);
    }
    let executable = named(&["process.executable.name", "process.executable.path"])?;
    let name = executable.as_deref().and_then(|path| path.rsplit(['/', '\\']).next());
    Ok(match name {
        Some(name) if !name.is_empty() => format!("{UNKNOWN_SERVICE}:{name}"),
        _ => UNKNOWN_SERVICE.to_owned(),
    })
}

/// The fields of a profile but its samples, as sent.
#[derive(Debug, Default)]
struct Profile<'a> {
    bytes: &'a [u8],
    sample_type: ValueType,
    time: u64,
    duration: u64,
    period_type: ValueType,
    period: i64,
    id: &'a [u8],
    attributes: Vec<i32>,
}

/// Two texts of the dictionary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ValueType {
    name: i32,
    unit: i32,
}

impl ValueType {
    fn read(bytes: &[u8]) -> Result<Self, WireError> {
        let mut read = Self::default();
        for field in Reader::new(bytes, "ValueType") {
            match field? {
                (1, field) => read.name = field.int32("ValueType.type_strindex")?,
                (2, field) => read.unit = field.int32("ValueType.unit_strindex")?,
                _ => {}
            }
        }
        Ok(read)
    }
}

impl<'a> Profile<'a> {
    fn read(bytes: &'a [u8], layout: Layout) -> Result<Self, Fault> {
        let attributes = layout::attributes_field(bytes, layout)?;
        let mut profile = Self { bytes, ..Self::default() };
        for field in Reader::new(bytes, "Profile") {
            match field? {
                (1, field) => {
                    profile.sample_type = ValueType::read(field.bytes("Profile.sample_type")?)?;
                }
                (3, field) => profile.time = field.fixed64("Profile.time_unix_nano")?,
                (4, field) => profile.duration = field.varint("Profile.duration_nano")?,
                (5, field) => {
                    profile.period_type = ValueType::read(field.bytes("Profile.period_type")?)?;
                }
                (6, field) => profile.period = field.varint("Profile.period")?.cast_signed(),
                (7, field) => profile.id = field.bytes("Profile.profile_id")?,
                (number, field) if number == attributes => {
                    sample::indices(field, "Profile.attribute_indices", &mut profile.attributes)?;
                }
                _ => {}
            }
        }
        Ok(profile)
    }

    fn samples(&self) -> impl Iterator<Item = Result<&'a [u8], WireError>> + use<'a> {
        messages(self.bytes, "Profile", 2)
    }
}

/// Why something is not taken.
enum Refusal {
    /// The profile alone.
    Profile(String),
    /// The request as a whole.
    Request(Fault),
}

impl<F: Into<Fault>> From<F> for Refusal {
    fn from(fault: F) -> Self {
        Self::Request(fault.into())
    }
}

/// What a look at all samples of a profile found.
#[derive(Debug)]
struct Checked {
    samples: usize,
    dangling: u64,
    profile_id: i64,
}

/// The rows of a request so far.
struct ProfilesSoFar<'a> {
    layout: Layout,
    dictionary: &'a Dictionary<'a>,
    received: UnixNanos,
    stacks: Stacks,
    /// For each stack of the dictionary its position among `stacks`, once it is known.
    positions: Vec<Option<usize>>,
    /// What is missing of stacks that cannot be used. They are not walked through again.
    unusable: HashMap<i32, String>,
    locations: Vec<Range<u32>>,
    sample: Sample,
    rows: Rows,
    accepted: u64,
    rejected: u64,
    rejections: Rejections,
    dangling: u64,
}

impl<'a> ProfilesSoFar<'a> {
    fn new(layout: Layout, dictionary: &'a Dictionary<'a>, received: UnixNanos) -> Self {
        Self {
            layout,
            dictionary,
            received,
            stacks: Stacks::new(ROWS_BYTES_MAX),
            positions: vec![None; dictionary.stack_count().max(1)],
            unusable: HashMap::new(),
            locations: Vec::new(),
            sample: Sample::default(),
            rows: Rows::new(ROWS_BYTES_MAX),
            accepted: 0,
            rejected: 0,
            rejections: Rejections::default(),
            dangling: dictionary.dangling,
        }
    }

    fn append(&mut self, bytes: &[u8], sender: &Sender<'_>) -> Result<(), Fault> {
        let profile = Profile::read(bytes, self.layout)?;
        // What a profile repeats of its sender counts, also where the profile is then rejected.
        self.rows.charge(sender.origin.bytes())?;
        let mut origin = sender.origin.clone();
        let start =
            if profile.time == 0 { self.received } else { UnixNanos::from_wire(profile.time) };
        origin.start = start;
        origin.duration_ns = UnixNanos::from_wire(profile.duration).0;
        let dangling = self.labels(&profile, &mut origin)?;
        match self.check(&profile, &origin) {
            Ok(checked) => {
                let own = checked.dangling.saturating_add(dangling).saturating_add(sender.dangling);
                self.dangling = self.dangling.saturating_add(own);
                origin.profile_id = checked.profile_id;
                self.append_profile(&profile, &origin, &checked, own)?;
                self.append_samples(&profile, &origin)
            }
            Err(Refusal::Profile(why)) => {
                self.rejections.note(|| format!("{why} (service {})", shown(&origin.service)));
                self.rejected = self.rejected.saturating_add(profile.samples().count() as u64);
                Ok(())
            }
            Err(Refusal::Request(fault)) => Err(fault),
        }
    }

    /// Adds the profile's own attributes to the labels; says how many led nowhere.
    fn labels(&mut self, profile: &Profile<'_>, origin: &mut Origin) -> Result<u64, Fault> {
        let mut labels = Labels::default();
        let dangling = self.add_labels(&profile.attributes, &mut labels);
        for (key, value) in labels {
            self.rows.charge(key.len().saturating_add(value.len()))?;
            origin.labels.insert(key.into_owned(), value.into_owned());
        }
        Ok(dangling)
    }

    /// Adds attributes by their indices, of a repeated key the first; says how many led nowhere.
    fn add_labels(&self, indices: &[i32], labels: &mut Labels<'a>) -> u64 {
        let mut dangling = 0_u64;
        for index in indices {
            let Some(attribute) = self.dictionary.attribute(*index) else {
                // A sender without attributes may still write a 0 for none.
                dangling = dangling.saturating_add(u64::from(*index != 0));
                continue;
            };
            let Some(value) = attribute.value.as_deref().filter(|_| !attribute.key.is_empty())
            else {
                continue;
            };
            if !labels.contains_key(attribute.key) {
                labels.insert(attribute.key.into(), value.into());
                if !attribute.unit.is_empty() {
                    labels.insert(format!("{}.unit", attribute.key).into(), attribute.unit.into());
                }
            }
        }
        dangling
    }

    /// Looks at every sample before the first row is made, so that a refused profile leaves none.
    fn check(&mut self, profile: &Profile<'_>, origin: &Origin) -> Result<Checked, Refusal> {
        let mut identity = Identity::new(profile, origin, self.dictionary.strings);
        let mut checked = Checked { samples: 0, dangling: 0, profile_id: 0 };
        for bytes in profile.samples() {
            self.sample.read(bytes?, self.layout)?;
            let number = checked.samples;
            self.sample
                .check_numbers()
                .map_err(|why| Refusal::Profile(format!("sample {number} {why}")))?;
            let stack = self.stack(self.sample.stack)?;
            identity.add_sample(self.stacks.id(stack), &self.sample, self.dictionary);
            let mut dangle = |led_nowhere: bool| {
                checked.dangling = checked.dangling.saturating_add(u64::from(led_nowhere));
            };
            dangle(self.dictionary.link(self.sample.link).is_err());
            for index in &self.sample.attributes {
                dangle(*index != 0 && self.dictionary.attribute(*index).is_none());
            }
            checked.samples = checked.samples.saturating_add(1);
        }
        if checked.samples > 0 && self.text(profile.sample_type.name).is_none_or(str::is_empty) {
            return Err(Refusal::Profile(
                "it has no sample type, so that nothing says what was measured".to_owned(),
            ));
        }
        checked.profile_id = identity.digest();
        Ok(checked)
    }

    /// The position of a stack of the dictionary among those of the request.
    fn stack(&mut self, index: i32) -> Result<usize, Refusal> {
        let slot = usize::try_from(index).ok().and_then(|index| self.positions.get(index));
        if let Some(Some(position)) = slot {
            return Ok(*position);
        }
        let dictionary = self.dictionary;
        let missing = match self.unusable.get(&index) {
            Some(why) => Err(why.clone()),
            None => dictionary.stack(index, &mut self.locations)?,
        };
        if let Err(why) = missing {
            if self.unusable.len() < self.positions.len() {
                self.unusable.insert(index, why.clone());
            }
            let why = format!("{why}, so that values would go to another function");
            return Err(Refusal::Profile(why));
        }
        let locations = self.locations.iter().cloned().map(Ok);
        let position = self.stacks.intern(locations, &dictionary.frames, Fault::from)?;
        let slot = usize::try_from(index).ok().and_then(|index| self.positions.get_mut(index));
        if let Some(slot) = slot {
            *slot = Some(position);
        }
        Ok(position)
    }

    fn text(&self, number: i32) -> Option<&'a str> {
        self.dictionary.strings.get(number)
    }

    fn value_name(&self, of: ValueType) -> ValueName<'a> {
        let text = |number| self.text(number).unwrap_or_default();
        ValueName { name: text(of.name), unit: text(of.unit) }
    }

    fn append_profile(
        &mut self,
        profile: &Profile<'_>,
        origin: &Origin,
        checked: &Checked,
        dangling: u64,
    ) -> Result<(), Fault> {
        let has_period = profile.period_type != ValueType::default();
        let facts = Facts {
            sample_types: &[self.value_name(profile.sample_type)],
            period_type: has_period.then(|| self.value_name(profile.period_type).with_unit()),
            period: profile.period,
            samples: checked.samples,
            dangling: dangling.saturating_add(self.dictionary.dangling),
        };
        self.rows.profile(origin, facts)?;
        self.accepted = self.accepted.saturating_add(checked.samples as u64);
        Ok(())
    }

    fn append_samples(&mut self, profile: &Profile<'_>, origin: &Origin) -> Result<(), Fault> {
        let what = self.value_name(profile.sample_type);
        for bytes in profile.samples() {
            self.sample.read(bytes?, self.layout)?;
            let stack = match self.stack(self.sample.stack) {
                Ok(stack) => stack,
                Err(Refusal::Request(fault)) => return Err(fault),
                // All stacks of the profile were looked up before.
                Err(Refusal::Profile(_)) => continue,
            };
            let mut labels = Labels::default();
            self.add_labels(&self.sample.attributes, &mut labels);
            let link = self.dictionary.link(self.sample.link).unwrap_or_default();
            for (time, value) in self.sample.observations() {
                let measured = Measured {
                    what,
                    value,
                    time: time.unwrap_or(origin.start),
                    stack,
                    stack_id: self.stacks.id(stack),
                    span_id: link.map(|link| link.span_id),
                    trace_id: link.map(|link| link.trace_id),
                    labels: &labels,
                };
                self.rows.sample(origin, &measured)?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Decoded, Fault> {
        let cut = self.stacks.cut();
        let rejected_profiles = self.rejections.count;
        let parts = [
            self.rejections.message("profile"),
            (self.dangling > 0).then(|| {
                format!(
                    "{} references to missing functions, mappings, attributes, links or texts \
                     were left out",
                    self.dangling
                )
            }),
            (cut > 0).then(|| {
                format!("{cut} stacks were cut to the {FRAMES_MAX} frames nearest the leaf")
            }),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        Ok(Decoded {
            batches: self.rows.finish(&self.stacks, &self.dictionary.frames)?,
            accepted: self.accepted,
            rejected: self.rejected,
            rejected_profiles,
            message: (!parts.is_empty()).then(|| parts.join("; ")),
        })
    }
}

/// The identity of a profile: a hash of the sender and of what was measured, by content and not by
/// index, so that it does not depend on what else was in the request.
struct Identity(Xxh3);

impl Identity {
    fn new(profile: &Profile<'_>, origin: &Origin, strings: &StringTable<'_>) -> Self {
        let mut identity = Self(Xxh3::new());
        identity.add(origin.service.as_bytes());
        for part in [&origin.version, &origin.environment, &origin.instance] {
            identity.add(part.as_deref().unwrap_or_default().as_bytes());
        }
        for (key, value) in &origin.labels {
            identity.add(key.as_bytes());
            identity.add(value.as_bytes());
        }
        for of in [profile.sample_type, profile.period_type] {
            identity.add(strings.get(of.name).unwrap_or_default().as_bytes());
            identity.add(strings.get(of.unit).unwrap_or_default().as_bytes());
        }
        let numbers = [origin.start.0, origin.duration_ns, profile.period];
        for number in numbers {
            identity.0.update(&number.to_le_bytes());
        }
        identity.add(profile.id);
        identity
    }

    fn add(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn add_sample(&mut self, stack_id: i64, sample: &Sample, dictionary: &Dictionary<'_>) {
        self.0.update(&stack_id.to_le_bytes());
        for attribute in sample.attributes.iter().filter_map(|index| dictionary.attribute(*index)) {
            self.0.update(&attribute.hash.to_le_bytes());
        }
        if let Ok(Some(link)) = dictionary.link(sample.link) {
            self.0.update(&link.trace_id);
            self.0.update(&link.span_id.to_le_bytes());
        }
        for (time, value) in sample.observations() {
            self.0.update(&time.map_or(0, |time| time.0).to_le_bytes());
            self.0.update(&value.to_le_bytes());
        }
    }

    fn digest(self) -> i64 {
        self.0.digest().cast_signed()
    }
}

#[cfg(test)]
mod tests;
