//! Pyroscope's application names: `app.cpu{key=value,key2="value"}`.

use std::iter::Peekable;
use std::str::Chars;

use crate::otlp::shown;

/// Profile types that older agents append to the name of the application.
const PROFILE_TYPES: [&str; 19] = [
    "cpu",
    "wall",
    "itimer",
    "exceptions",
    "goroutines",
    "alloc_objects",
    "alloc_space",
    "inuse_objects",
    "inuse_space",
    "alloc_in_new_tlab_objects",
    "alloc_in_new_tlab_bytes",
    "alloc_outside_tlab_objects",
    "alloc_outside_tlab_bytes",
    "lock_count",
    "lock_duration",
    "mutex_count",
    "mutex_duration",
    "block_count",
    "block_duration",
];

/// A name taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Name {
    /// The application.
    pub(super) app: String,
    /// The profile type that was appended to it.
    pub(super) profile_type: Option<String>,
    /// The labels in their order.
    pub(super) labels: Vec<(String, String)>,
}

/// Takes a name apart. Values may be quoted, with `\"` and `\\` inside; spaces around names and
/// values do not count.
pub(super) fn parse(text: &str) -> Result<Name, String> {
    let (app, labels) = match text.split_once('{') {
        None if text.contains('}') => return Err("`}` without `{`".to_owned()),
        None => (text, Vec::new()),
        Some((app, rest)) => (app, parse_labels(rest)?),
    };
    let app = app.trim();
    let (app, profile_type) = match app.rsplit_once('.') {
        Some((app, last)) if !app.is_empty() && PROFILE_TYPES.contains(&last) => {
            (app, Some(last.to_owned()))
        }
        _ => (app, None),
    };
    Ok(Name { app: app.to_owned(), profile_type, labels })
}

/// What follows `{`.
fn parse_labels(rest: &str) -> Result<Vec<(String, String)>, String> {
    let mut labels = Vec::new();
    let mut chars = rest.chars().peekable();
    loop {
        skip_spaces(&mut chars);
        if chars.next_if_eq(&'}').is_some() {
            break;
        }
        let key = parse_key(&mut chars)?;
        skip_spaces(&mut chars);
        let value = if chars.next_if_eq(&'"').is_some() {
            parse_quoted(&mut chars)?
        } else {
            take_until(&mut chars, &[',', '}'])
        };
        if !value.is_empty() {
            labels.push((key, value));
        }
        skip_spaces(&mut chars);
        match chars.next() {
            Some(',') => {}
            Some('}') => break,
            Some(other) => return Err(format!("{other:?} where `,` or `}}` was expected")),
            None => return Err("`}` is missing".to_owned()),
        }
    }
    skip_spaces(&mut chars);
    match chars.next() {
        None => Ok(labels),
        Some(_) => Err("text after `}`".to_owned()),
    }
}

fn parse_key(chars: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let key = take_until(chars, &['=', ',', '}']);
    match chars.next() {
        Some('=') if key.is_empty() => Err("a label has no name".to_owned()),
        Some('=') => Ok(key),
        Some(_) => Err(format!("the label {} has no value; write it as label=value", shown(&key))),
        None => Err("`}` is missing".to_owned()),
    }
}

/// What follows an opening quote.
fn parse_quoted(chars: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let mut value = String::new();
    loop {
        match chars.next() {
            Some('"') => return Ok(value),
            Some('\\') => value.extend(chars.next()),
            Some(char) => value.push(char),
            None => return Err("a quote is not closed".to_owned()),
        }
    }
}

fn take_until(chars: &mut Peekable<Chars<'_>>, ends: &[char]) -> String {
    let mut taken = String::new();
    while let Some(char) = chars.next_if(|char| !ends.contains(char)) {
        taken.push(char);
    }
    taken.trim().to_owned()
}

fn skip_spaces(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|char| char.is_whitespace()).is_some() {}
}

#[cfg(test)]
mod tests;
