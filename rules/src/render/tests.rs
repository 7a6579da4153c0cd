use super::page::{Body, Page, Step};
use super::{markdown, text};

fn page() -> Page {
    let mut page = Page { headline: "LIKELY: it was x\u{1b}[31m".to_owned(), ..Page::default() };
    let long = "word ".repeat(40);
    page.add("Why", Body::Points(vec![long.clone(), "a | b".to_owned()]));
    page.add(
        "Where",
        Body::Figures(vec![
            (vec!["+1 ms".to_owned(), "5 %".to_owned()], long),
            (vec!["+100 ms".to_owned(), "95 %".to_owned()], "b".to_owned()),
        ]),
    );
    let step = Step { title: "do".to_owned(), command: Some("x --y".to_owned()), detail: None };
    page.add("What to do", Body::Steps(vec![step]));
    page.add("Nothing", Body::Points(Vec::new()));
    page
}

#[test]
fn text_keeps_to_its_width_and_shows_no_control_character() {
    let shown = text::render(&page());
    assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown}");
    assert!(shown.contains("    +1 ms   5 %  word"), "figures stand right: {shown}");
    assert!(shown.contains("\n     $ x --y\n"), "{shown}");
    assert!(!shown.contains("Nothing"), "an empty section is left out");
}

#[test]
fn markdown_escapes_what_would_be_markup() {
    let shown = markdown::render(&page());
    assert!(shown.contains("- a \\| b\n"), "{shown}");
    assert!(shown.contains("| +100 ms | 95 % | b |") || shown.contains("| \\+100 ms | 95 % | b |"));
    assert!(shown.contains("   ```sh\n   x --y\n   ```\n"), "{shown}");
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown}");
}
