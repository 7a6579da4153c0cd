//! The one escaping function for each place that text from telemetry goes to. SQL has its own in
//! `upriver_analyze::literal`.
//!
//! Anyone who can send a span chooses `service.name`: a name may carry line breaks, terminal
//! escapes, shell and markup syntax.

use std::fmt::Write;

#[cfg(test)]
mod tests;

/// Text for a terminal or a line of a file: control characters, line and paragraph separators and
/// characters that reorder or hide text become visible escapes, so it stays on one line and moves
/// no cursor.
pub fn terminal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if is_invisible(character) {
            // Writing to a string does not fail.
            let _infallible = write!(out, "\\u{{{:x}}}", u32::from(character));
        } else {
            out.push(character);
        }
    }
    out
}

/// Text inside a Markdown paragraph or table cell: on one line, and every ASCII punctuation that can
/// begin markup is escaped (`CommonMark` allows a backslash before any of them); `<`, `>` and `&`
/// become character references, since HTML passes through Markdown.
pub fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in terminal(text).chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '#' | '+' | '!' | '|'
            | '~' | '@' | '$' | ':' => {
                out.push('\\');
                out.push(character);
            }
            _ => out.push(character),
        }
    }
    out
}

/// Lines as a fenced Markdown code block of a language. The fence is longer than any run of
/// backticks inside, so the block ends where it should. Line breaks stay.
pub fn markdown_block(language: &str, text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(terminal).collect();
    let longest = lines.iter().flat_map(|line| line.split(|c| c != '`')).map(str::len).max();
    let fence = "`".repeat(longest.unwrap_or(0).max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n", lines.join("\n"))
}

/// A text as one word of a POSIX shell. Plain words stay as they are; the rest goes into single
/// quotes. A word with control characters is written with `$'...'` (POSIX 2024, and bash, zsh, ksh
/// before it), so that what is printed stays on one line and means the exact bytes.
pub fn shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+=,".contains(c);
    if !text.is_empty() && !text.starts_with(['-', '=']) && text.chars().all(plain) {
        return text.to_owned();
    }
    if !text.chars().any(is_invisible) {
        return format!("'{}'", text.replace('\'', r"'\''"));
    }
    let mut out = String::from("$'");
    for character in text.chars() {
        match character {
            '\'' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            _ if is_invisible(character) => {
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    let _infallible = write!(out, "\\{byte:03o}");
                }
            }
            _ => out.push(character),
        }
    }
    out.push('\'');
    out
}

/// Characters that a terminal acts upon or that deceive the eye: control characters (C0, DEL, C1),
/// line and paragraph separators, and the marks that change direction or take no room.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}
