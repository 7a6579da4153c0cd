//! Lines of OTLP JSON, each what one sender and one scope sent: as the Collector's file exporter
//! writes them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::attributes;
use super::rows::{Rows, text};

/// A line ends when it has this much. Import takes lines of 64 MiB, and readers hold one at a time.
const LINE_BYTES: usize = 1 << 20;

/// Lines, and how many items they hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Whole lines, each with its line feed.
    pub lines: Vec<u8>,
    /// Spans, data points, log records or changes in them.
    pub items: u64,
    /// Rows that could not be put back together, or were not there.
    pub left_out: u64,
}

/// The names of a signal's messages in JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signal {
    pub(super) resources: &'static str,
    pub(super) scopes: &'static str,
    pub(super) items: &'static str,
}

/// Resource and scope of some rows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sender<'a> {
    /// The attributes as JSON.
    resource: String,
    scope: Option<&'a str>,
    scope_version: Option<&'a str>,
}

#[derive(Serialize)]
struct Scope<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
}

/// The numbers of the rows of each sender, in their order.
pub(super) fn by_sender<'a>(
    rows: Rows<'a>,
    scope_version: Option<&'static str>,
) -> BTreeMap<Sender<'a>, Vec<usize>> {
    let resources = rows.maps("resource_attributes");
    let scopes = rows.texts("scope_name");
    let versions = scope_version.map(|column| rows.texts(column));
    let mut senders = BTreeMap::<_, Vec<_>>::new();
    for row in 0..rows.count() {
        let sender = Sender {
            resource: json(&attributes::of_row(resources, row)),
            scope: text(scopes, row),
            scope_version: versions.and_then(|versions| text(versions, row)),
        };
        senders.entry(sender).or_default().push(row);
    }
    senders
}

impl Encoded {
    /// Adds the items of a sender, as many to a line as fit.
    pub(super) fn push<T: Serialize>(
        &mut self,
        signal: Signal,
        sender: &Sender<'_>,
        items: impl IntoIterator<Item = T>,
    ) {
        let mut start = self.lines.len();
        for item in items {
            if self.lines.len() == start {
                self.begin(signal, sender);
            } else {
                self.lines.push(b',');
            }
            self.lines.extend_from_slice(json(&item).as_bytes());
            if self.lines.len() - start > LINE_BYTES {
                self.end();
                start = self.lines.len();
            }
        }
        if self.lines.len() > start {
            self.end();
        }
    }

    fn begin(&mut self, signal: Signal, sender: &Sender<'_>) {
        let Signal { resources, scopes, items } = signal;
        let scope = json(&Scope { name: sender.scope, version: sender.scope_version });
        let begin = format!(
            r#"{{"{resources}":[{{"resource":{{"attributes":{}}},"{scopes}":[{{"scope":{scope},"{items}":["#,
            sender.resource
        );
        self.lines.extend_from_slice(begin.as_bytes());
    }

    fn end(&mut self) {
        self.lines.extend_from_slice(b"]}]}]}\n");
    }

    /// Adds one line.
    pub(super) fn push_line(&mut self, item: &impl Serialize) {
        self.lines.extend_from_slice(json(item).as_bytes());
        self.lines.push(b'\n');
    }
}

/// Texts, numbers, lists of them and objects with texts as keys: nothing that JSON could not say.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("every value is one that JSON has")
}
