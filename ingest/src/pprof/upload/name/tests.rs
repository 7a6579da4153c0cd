//! Application names as agents write them.

use super::parse;

fn check(text: &str, app: &str, profile_type: Option<&str>, labels: &[(&str, &str)]) {
    let name = parse(text).unwrap();
    let found: Vec<_> = name.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(
        (name.app.as_str(), name.profile_type.as_deref(), found.as_slice()),
        (app, profile_type, labels),
        "{text}"
    );
}

#[test]
fn names_are_taken_apart() {
    check("app", "app", None, &[]);
    check("", "", None, &[]);
    check("app{}", "app", None, &[]);
    check("simple.golang.app{a=b}", "simple.golang.app", None, &[("a", "b")]);
    check("app.cpu{a=b,c=d}", "app", Some("cpu"), &[("a", "b"), ("c", "d")]);
    check("my.app.alloc_space", "my.app", Some("alloc_space"), &[]);
    check(".cpu", ".cpu", None, &[]);
    check(" app { a = b , c = \"d\" , } ", "app", None, &[("a", "b"), ("c", "d")]);
    check("app{a=}", "app", None, &[]);
    check("app{url=http://x/?q=1}", "app", None, &[("url", "http://x/?q=1")]);
    check(r#"app{a="x,y}=\"z\"\\"}"#, "app", None, &[("a", r#"x,y}="z"\"#)]);
    check("caf\u{e9}{\u{e4}=\u{f6}}", "caf\u{e9}", None, &[("\u{e4}", "\u{f6}")]);
}

#[test]
fn defects_are_named() {
    for (text, expected) in [
        ("app}", "`}` without `{`"),
        ("app{", "`}` is missing"),
        ("app{a", "`}` is missing"),
        ("app{a=b", "`}` is missing"),
        ("app{a}", "the label \"a\" has no value"),
        ("app{=b}", "a label has no name"),
        ("app{a=\"b}", "a quote is not closed"),
        ("app{a=\"b\"c}", "'c' where"),
        ("app{a=b}rest", "text after `}`"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(expected), "{text}: `{error}` has no `{expected}`");
    }
}
