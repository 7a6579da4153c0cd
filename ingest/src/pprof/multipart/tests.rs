use proptest::prelude::*;

use super::*;

fn form(parts: &[(&str, &[u8])]) -> Bytes {
    let mut body = b"a preamble\r\n".to_vec();
    for (name, content) in parts {
        let head = format!(
            "--b0undary\r\nContent-Type: x/y\r\ncontent-disposition: form-data; filename=\"f\"; name=\"{name}\"\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b0undary--\r\nan epilogue");
    body.into()
}

#[test]
fn the_boundary_is_found_however_it_is_written() {
    for (content_type, expected) in [
        ("multipart/form-data; boundary=abc", Some("abc")),
        ("multipart/form-data;charset=utf-8; Boundary=\"a b\"", Some("a b")),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
    ] {
        assert_eq!(boundary(content_type).ok().as_deref(), expected, "{content_type}");
    }
    assert!(boundary(&format!("multipart/form-data; boundary={}", "a".repeat(71))).is_err());
}

#[test]
fn contents_may_look_like_the_form_itself() {
    let parts: [(&str, &[u8]); 4] = [
        ("profile", b"\r\n--b0undar\r\n\r\n\x00\xff--b0undary"),
        ("prev_profile", b""),
        ("labels", b"\r\n\r\n"),
        ("last", b"x\r"),
    ];
    let fields = fields(&form(&parts), "b0undary").unwrap();
    let found: Vec<_> = fields.iter().map(|f| (f.name.as_str(), &f.content[..])).collect();
    assert_eq!(found, parts);
}

#[test]
fn a_form_that_is_cut_anywhere_is_refused() {
    let body = form(&[("profile", b"content")]);
    let end = body.len() - "--\r\nan epilogue".len();
    for end in 0..end {
        assert!(fields(&body.slice(..end), "b0undary").is_err(), "{end}");
    }
}

#[test]
fn too_many_fields_are_refused() {
    let parts = vec![("a", &b"x"[..]); FIELDS_MAX + 1];
    assert!(fields(&form(&parts), "b0undary").is_err());
    assert_eq!(fields(&form(&parts[1..]), "b0undary").unwrap().len(), FIELDS_MAX);
}

proptest! {
    #[test]
    fn any_bytes_give_fields_or_a_refusal(body in "(--b|\r\n|: ;=\"|name|[a-z]){0,40}") {
        let _read = fields(&Bytes::from(body), "b");
    }
}
