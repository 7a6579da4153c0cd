//! Where one query ends and the next begins: at a `;` outside of quotes and comments.

/// What the text is inside of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Inside {
    #[default]
    Nothing,
    /// A text or a name, up to the same quote. A doubled quote closes and opens again.
    Quotes(char),
    LineComment,
    BlockComment,
}

/// Cuts text into statements, and changes nothing inside of them.
#[derive(Debug, Default)]
pub(super) struct Statements {
    text: String,
    inside: Inside,
}

impl Statements {
    /// The statements that end in this piece, which is a line with its end.
    pub(super) fn push(&mut self, line: &str) -> Vec<String> {
        let mut ended = Vec::new();
        let mut characters = line.chars().peekable();
        while let Some(character) = characters.next() {
            self.text.push(character);
            let next = characters.peek().copied();
            self.inside = match (self.inside, character) {
                (Inside::Nothing, '\'' | '"') => Inside::Quotes(character),
                (Inside::Nothing, '-') if next == Some('-') => Inside::LineComment,
                (Inside::Nothing, '/') if next == Some('*') => {
                    self.text.extend(characters.next());
                    Inside::BlockComment
                }
                (Inside::Nothing, ';') => {
                    ended.extend(self.finish());
                    Inside::Nothing
                }
                (Inside::Quotes(quote), _) if character == quote => Inside::Nothing,
                (Inside::LineComment, '\n') => Inside::Nothing,
                (Inside::BlockComment, '*') if next == Some('/') => {
                    self.text.extend(characters.next());
                    Inside::Nothing
                }
                (inside, _) => inside,
            };
        }
        ended
    }

    /// What has come since the last `;`, if it is more than space.
    pub(super) fn finish(&mut self) -> Option<String> {
        let text = std::mem::take(&mut self.text);
        let text = text.trim().trim_end_matches(';').trim_end();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::Statements;

    #[test]
    fn a_semicolon_ends_a_statement_outside_of_quotes_and_comments() {
        let mut statements = Statements::default();
        assert_eq!(statements.push("SELECT 1; SELECT ';'\n"), ["SELECT 1"]);
        assert!(statements.push("  AS \"a;b\" -- no; it's\n").is_empty());
        assert!(statements.push("/* ; ' */ , 'x\r\n").is_empty());
        assert_eq!(
            statements.push("; ''y'; ;\n"),
            ["SELECT ';'\n  AS \"a;b\" -- no; it's\n/* ; ' */ , 'x\r\n; ''y'"]
        );
        assert!(statements.push("SELECT 2").is_empty());
        assert_eq!(statements.finish().as_deref(), Some("SELECT 2"));
        assert_eq!(statements.finish(), None);
    }
}
