//! `multipart/form-data` bodies (RFC 7578), which older Pyroscope clients send. The body is in
//! memory already, so fields are slices of it.

use bytes::Bytes;

use crate::DecodeError;

const WHAT: &str = "the multipart form";
/// Most fields in a body. Pyroscope's clients send up to four.
const FIELDS_MAX: usize = 32;

/// One field of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// What the form calls it.
    pub name: String,
    /// What it holds.
    pub content: Bytes,
}

/// The boundary that the content type names.
pub fn boundary(content_type: &str) -> Result<String, DecodeError> {
    let parameters = content_type.split(';').skip(1).map(str::trim);
    let value = parameters
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"))
        .map(|(_, value)| value.trim().trim_matches('"').to_owned());
    // RFC 2046 allows 1 to 70 characters.
    value
        .filter(|value| (1..=70).contains(&value.len()))
        .ok_or_else(|| broken("its content type has no usable boundary"))
}

/// The fields of a form, in order.
pub fn fields(body: &Bytes, boundary: &str) -> Result<Vec<Field>, DecodeError> {
    let delimiter = format!("--{boundary}");
    let (_, mut rest) =
        split(body, delimiter.as_bytes()).ok_or_else(|| broken("its boundary does not occur"))?;
    let delimiter = format!("\r\n--{boundary}");
    let mut fields = Vec::new();
    while !rest.starts_with(b"--") {
        if fields.len() == FIELDS_MAX {
            return Err(broken("it has too many fields"));
        }
        // A field may have no headers at all: then their end is that of the boundary's line.
        let line = find(&rest, b"\r\n").ok_or_else(|| broken("a boundary has no line end"))?;
        let (headers, content) = split(&rest.slice(line..), b"\r\n\r\n")
            .ok_or_else(|| broken("a field's headers have no end"))?;
        let (content, after) = split(&content, delimiter.as_bytes())
            .ok_or_else(|| broken("it ends before its last boundary"))?;
        fields.push(Field { name: field_name(&headers)?, content });
        rest = after;
    }
    Ok(fields)
}

/// The `name` of `Content-Disposition: form-data; name="profile"; filename="cpu.pprof"`.
fn field_name(headers: &[u8]) -> Result<String, DecodeError> {
    let headers = String::from_utf8_lossy(headers);
    let disposition = headers
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))
        .map(|(_, value)| value);
    let parameters = disposition.into_iter().flat_map(|value| value.split(';').skip(1));
    parameters
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("name"))
        .map(|(_, value)| value.trim().trim_matches('"').to_owned())
        .ok_or_else(|| broken("a field has no name"))
}

fn broken(why: &str) -> DecodeError {
    DecodeError::invalid(WHAT, why)
}

/// What is before and what is behind the first `needle`.
fn split(haystack: &Bytes, needle: &[u8]) -> Option<(Bytes, Bytes)> {
    let mut before = haystack.clone();
    let mut behind = before.split_off(find(haystack, needle)?);
    Some((before, behind.split_off(needle.len())))
}

/// Where `needle` begins. Candidates are found by its first byte, which is rare in binary bodies.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = needle.first()?;
    let candidates = haystack.iter().enumerate().filter(|(_, byte)| *byte == first);
    candidates
        .map(|(start, _)| start)
        .find(|start| haystack.get(*start..).is_some_and(|rest| rest.starts_with(needle)))
}

#[cfg(test)]
mod tests;
