use super::*;

#[test]
fn a_request_beyond_the_limit_is_too_large() {
    let body = vec![0; REQUEST_BYTES_MAX + 1];
    let expected = "OTLP traces too large: 268435457 bytes, at most 268435456 are decoded at once; \
                    send smaller batches";
    assert_eq!(decode_traces(&body).unwrap_err().to_string(), expected);
}

#[test]
fn errors_name_the_field() {
    for (body, expected) in [
        (
            &b"<html>"[..],
            "cannot read OTLP traces: ExportTraceServiceRequest: a field has an invalid wire type",
        ),
        (
            // resource_spans { scope_spans { spans { name: ff } } }
            &[0x0a, 7, 0x12, 5, 0x12, 3, 0x2a, 1, 0xff],
            "cannot read OTLP traces: Span.name: the text is not UTF-8",
        ),
    ] {
        assert_eq!(decode_traces(body).unwrap_err().to_string(), expected);
    }
}

#[test]
fn names_in_messages_are_short_and_escaped() {
    assert_eq!(shown("a\u{1b}[31m\"b"), r#""a\u{1b}[31m\"b""#);
    assert_eq!(shown(&"é".repeat(100)), format!("\"{}…\"", "é".repeat(80)));
}
