//! The known name that a person most likely meant.

/// The name nearest to what was typed, if any is near enough: at most a third of its letters wrong.
pub(crate) fn nearest<'a>(typed: &str, known: &[&'a str]) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let by_distance = known.iter().map(|name| (distance(&typed, name), *name));
    let (edits, name) = by_distance.min()?;
    (edits <= typed.chars().count().max(3) / 3 + 1).then_some(name)
}

/// Levenshtein distance: insertions, deletions and replacements of letters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (above, y) in row.iter_mut().skip(1).zip(&b) {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = *above;
            left = replaced.min(left + 1).min(diagonal + 1);
            *above = left;
        }
    }
    row.last().copied().unwrap_or_default()
}
