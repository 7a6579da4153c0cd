//! Labels of samples, and the span that they name.

use std::borrow::Cow;

use upriver_store::time::UnixNanos;

use super::message::Label;
use super::tables::Texts;
use crate::encode::SAMPLE_TIME;
use crate::profiles::rows::Labels;

/// Label with the span that ran: 16 hexadecimal digits, or a number.
const SPAN_ID: &str = "span_id";
/// Label with its trace: 32 hexadecimal digits.
const TRACE_ID: &str = "trace_id";

/// The labels of one sample.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SampleLabels<'a> {
    /// Name to value. Values of a repeated name are joined with commas; the unit of a number, where
    /// it has one, is under `NAME.unit`.
    pub(super) labels: Labels<'a>,
    /// The span that ran.
    pub(super) span_id: Option<i64>,
    /// Its trace.
    pub(super) trace_id: Option<[u8; 16]>,
    /// The sample's own instant, which only our own exports say.
    pub(super) time: Option<UnixNanos>,
}

impl<'a> SampleLabels<'a> {
    /// Reads the labels of a sample. One whose name or value is missing from the string table is
    /// left out; `texts` counts it.
    pub(super) fn new(labels: &[Label], texts: &'a Texts<'_>) -> Self {
        let mut read = Self::default();
        for label in labels {
            let key = texts.or_empty(label.key);
            if !key.is_empty() {
                read.take(key, label, texts);
            }
        }
        read
    }

    fn take(&mut self, key: &'a str, label: &Label, texts: &'a Texts<'_>) {
        if label.str == 0 {
            return self.take_number(key, label, texts);
        }
        let value = texts.or_empty(label.str);
        match key {
            _ if value.is_empty() => {}
            SPAN_ID if span_id(value).is_some() => self.span_id = span_id(value),
            TRACE_ID if trace_id(value).is_some() => self.trace_id = trace_id(value),
            key => self.insert(key.into(), value.into()),
        }
    }

    fn take_number(&mut self, key: &'a str, label: &Label, texts: &'a Texts<'_>) {
        if key == SPAN_ID && label.num != 0 {
            self.span_id = Some(label.num);
            return;
        }
        if key == SAMPLE_TIME && label.num > 0 {
            self.time = Some(UnixNanos(label.num));
            return;
        }
        self.insert(key.into(), label.num.to_string().into());
        let unit = texts.or_empty(label.num_unit);
        if !unit.is_empty() {
            self.insert(format!("{key}.unit").into(), unit.into());
        }
    }

    fn insert(&mut self, key: Cow<'a, str>, value: Cow<'a, str>) {
        self.labels
            .entry(key)
            .and_modify(|known| *known = format!("{known},{value}").into())
            .or_insert(value);
    }
}

/// A span id as it is stored: its eight bytes as one big-endian integer. All zeros are no id.
fn span_id(hexadecimal: &str) -> Option<i64> {
    let digits = hexadecimal.len() == 16 && is_hexadecimal(hexadecimal);
    let id = digits.then(|| u64::from_str_radix(hexadecimal, 16).ok())??;
    (id != 0).then_some(id.cast_signed())
}

/// The bytes of a trace id. All zeros are no id.
fn trace_id(hexadecimal: &str) -> Option<[u8; 16]> {
    let digits = hexadecimal.len() == 32 && is_hexadecimal(hexadecimal);
    let id = digits.then(|| u128::from_str_radix(hexadecimal, 16).ok())??;
    (id != 0).then_some(id.to_be_bytes())
}

/// `from_str_radix` alone would take a sign.
fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests;
