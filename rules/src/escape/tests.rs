//! Hostile names in every place where text goes.

use super::{markdown, markdown_block, shell, terminal};

const HOSTILE: [&str; 6] = [
    "a\u{1b}[2Jb\r\nc",
    "'); DROP TABLE spans; --",
    "$(touch x) `id` \"$HOME\" '",
    "<script>alert(1)</script> [a](javascript:x) | * _ #",
    "```\n# heading\n```",
    "\u{9b}31m\u{202e}gnp.exe\u{7f}\u{0}",
];

#[test]
fn a_terminal_never_sees_a_control_character() {
    for text in HOSTILE {
        let shown = terminal(text);
        assert!(shown.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{shown}");
    }
    assert_eq!(terminal("a\u{1b}[1m\n"), "a\\u{1b}[1m\\u{a}");
    assert_eq!(terminal("Größe 8 → 85 KB"), "Größe 8 → 85 KB");
}

#[test]
fn markdown_has_no_markup_from_data() {
    for text in HOSTILE {
        let shown = markdown(text);
        assert!(!shown.contains(['<', '>', '\n', '\r', '\u{1b}']), "{shown}");
    }
    assert_eq!(markdown("a|b *c* [d](e)"), r"a\|b \*c\* \[d\]\(e\)");
}

#[test]
fn a_block_ends_at_its_own_fence() {
    let block = markdown_block("sql", "SELECT '\n```\nx\u{1b}'");
    assert_eq!(block, "````sql\nSELECT '\n```\nx\\u{1b}'\n````\n");
}

/// The words of a shell command are what they were before quoting: asked from the shell itself.
#[test]
fn the_shell_reads_back_every_word() -> anyhow::Result<()> {
    for text in HOSTILE.into_iter().chain(["plain", "", "--help", "it's", "a b", "~x", "é\n"]) {
        let text = text.replace('\0', "");
        let command = format!("printf %s {}", shell(&text));
        assert!(!command.contains(|c: char| c.is_control()), "{command:?}");
        let output = std::process::Command::new("bash").args(["-c", &command]).output()?;
        assert_eq!(String::from_utf8_lossy(&output.stdout), text, "{command}");
    }
    Ok(())
}
