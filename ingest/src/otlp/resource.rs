//! Who sent it: the resource and the instrumentation scope.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::borrow::Cow;

use super::attributes::{Attributes, RenderedAttributes};
use super::strings::Strings;
use super::wire::{Reader, WireError, messages};
use super::{Budget, Fault};

/// The name of a service that does not say its own, as the semantic conventions have it.
pub(super) const UNKNOWN_SERVICE: &str = "unknown_service";

/// The resource of what was sent, with what has a column of its own.
#[derive(Debug)]
pub(super) struct Resource<'a> {
    pub(super) attributes: Attributes<'a>,
    pub(super) rendered: RenderedAttributes,
    pub(super) service_name: Cow<'a, str>,
    pub(super) service_version: Option<Cow<'a, str>>,
    pub(super) service_namespace: Option<Cow<'a, str>>,
    pub(super) service_instance_id: Option<Cow<'a, str>>,
    pub(super) environment: Option<Cow<'a, str>>,
    pub(super) host_name: Option<Cow<'a, str>>,
}

impl<'a> Resource<'a> {
    /// Reads field 1 of `ResourceSpans` and its kin.
    pub(super) fn read(
        parent: &'a [u8],
        message: &'static str,
        budget: &mut Budget,
    ) -> Result<Self, Fault> {
        Self::read_with(parent, message, Strings::default(), budget)
    }

    /// The same of `ResourceProfiles`, whose attributes may refer to `strings`.
    pub(super) fn read_with(
        parent: &'a [u8],
        message: &'static str,
        strings: Strings<'a>,
        budget: &mut Budget,
    ) -> Result<Self, Fault> {
        let mut attributes = Attributes::with_strings(strings);
        for resource in messages(parent, message, 1) {
            for attribute in messages(resource?, "Resource", 1) {
                attributes.read(attribute?, budget)?;
            }
        }
        let service_name = attributes.text(&["service.name"])?.filter(|name| !name.is_empty());
        Ok(Self {
            rendered: attributes.render()?,
            service_name: service_name.unwrap_or(Cow::Borrowed(UNKNOWN_SERVICE)),
            service_version: attributes.text(&["service.version"])?,
            service_namespace: attributes.text(&["service.namespace"])?,
            service_instance_id: instance(&attributes)?,
            environment: attributes
                .text(&["deployment.environment.name", "deployment.environment"])?,
            host_name: attributes.text(&["host.name", "k8s.pod.name"])?,
            attributes,
        })
    }

    /// What one row of it takes: the map, and as much again for the columns taken from it.
    pub(super) fn row_bytes(&self) -> usize {
        self.rendered.bytes().saturating_mul(2)
    }
}

/// `service.instance.id`, else `<host.name>/<process.pid>`: what sends its spans together.
fn instance<'a>(attributes: &Attributes<'a>) -> Result<Option<Cow<'a, str>>, WireError> {
    if let Some(id) = attributes.text(&["service.instance.id"])? {
        return Ok(Some(id));
    }
    let host = attributes.text(&["host.name"])?;
    let process = attributes.text(&["process.pid"])?;
    Ok(host.zip(process).map(|(host, process)| Cow::Owned(format!("{host}/{process}"))))
}

/// The instrumentation scope of what was sent.
#[derive(Debug, Default)]
pub(super) struct Scope<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) version: Option<&'a str>,
    pub(super) attributes: Attributes<'a>,
}

impl<'a> Scope<'a> {
    /// Reads field 1 of `ScopeSpans` and its kin.
    pub(super) fn read(
        parent: &'a [u8],
        message: &'static str,
        budget: &mut Budget,
    ) -> Result<Self, Fault> {
        let mut scope = Self::default();
        for bytes in messages(parent, message, 1) {
            for field in Reader::new(bytes?, "InstrumentationScope") {
                match field? {
                    (1, field) => scope.name = text(field.text("InstrumentationScope.name")?),
                    (2, field) => scope.version = text(field.text("InstrumentationScope.version")?),
                    (3, field) => {
                        let attribute = field.bytes("InstrumentationScope.attributes")?;
                        scope.attributes.read(attribute, budget)?;
                    }
                    _ => {}
                }
            }
        }
        Ok(scope)
    }

    /// What one row of it takes.
    pub(super) fn row_bytes(&self) -> usize {
        let name = self.name.map_or(0, str::len);
        name.saturating_add(self.version.map_or(0, str::len))
    }
}

/// A text of the wire, where empty means missing.
pub(super) fn text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
