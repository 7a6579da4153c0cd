//! `multipart/form-data` bodies (RFC 7578), which older Pyroscope clients send. The body is in
//! memory already, so fields are slices of it.

use bytes::Bytes;

use super::refusal::Refusal;

/// Most fields in a body. Pyroscope's clients send up to four.
const FIELDS_MAX: usize = 32;

/// One field of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) content: Bytes,
}

/// The boundary that the content type names.
pub(super) fn boundary(content_type: &str) -> Result<String, Refusal> {
    let parameters = content_type.split(';').skip(1).map(str::trim);
    let value = parameters
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"))
        .map(|(_, value)| value.trim().trim_matches('"').to_owned());
    // RFC 2046 allows 1 to 70 characters.
    value
        .filter(|value| (1..=70).contains(&value.len()))
        .ok_or_else(|| Refusal::invalid("the multipart content type has no usable boundary"))
}

/// The fields of a form, in order.
pub(super) fn fields(body: &Bytes, boundary: &str) -> Result<Vec<Field>, Refusal> {
    let delimiter = format!("--{boundary}");
    let mut rest = match find(body, delimiter.as_bytes()) {
        Some(start) => body.slice(start + delimiter.len()..),
        None => return Err(broken("its boundary does not occur")),
    };
    let delimiter = format!("\r\n--{boundary}");
    let mut fields = Vec::new();
    while !rest.starts_with(b"--") {
        if fields.len() == FIELDS_MAX {
            return Err(broken("it has too many fields"));
        }
        let line_end = find(&rest, b"\r\n").ok_or_else(|| broken("a boundary has no line end"))?;
        let part = rest.slice(line_end..);
        let header_end =
            find(&part, b"\r\n\r\n").ok_or_else(|| broken("a field's headers have no end"))?;
        let headers = part.slice(..header_end);
        let content = part.slice(header_end + 4..);
        let end = find(&content, delimiter.as_bytes())
            .ok_or_else(|| broken("it ends before its last boundary"))?;
        fields.push(Field { name: field_name(&headers)?, content: content.slice(..end) });
        rest = content.slice(end + delimiter.len()..);
    }
    Ok(fields)
}

/// The `name` of `Content-Disposition: form-data; name="profile"; filename="cpu.pprof"`.
fn field_name(headers: &[u8]) -> Result<String, Refusal> {
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

fn broken(why: &str) -> Refusal {
    Refusal::invalid(format!("cannot read the multipart form: {why}"))
}

/// Where `needle` begins. Candidates are found by its first byte, which is rare in binary bodies.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = needle.first()?;
    let mut start = 0;
    while let Some(rest) = haystack.get(start..) {
        let candidate = start + rest.iter().position(|byte| byte == first)?;
        if haystack.get(candidate..)?.starts_with(needle) {
            return Some(candidate);
        }
        start = candidate + 1;
    }
    None
}

#[cfg(test)]
mod tests;
