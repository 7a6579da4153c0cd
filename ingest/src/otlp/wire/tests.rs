use proptest::prelude::*;
use prost::encoding;

use super::*;

fn fields(bytes: &[u8]) -> Result<Vec<(u32, Field<'_>)>, WireError> {
    Reader::new(bytes, "Test").collect()
}

#[test]
fn fields_that_prost_writes_are_read_back() {
    let mut bytes = Vec::new();
    encoding::uint64::encode(1, &u64::MAX, &mut bytes);
    encoding::sint32::encode(2, &i32::MIN, &mut bytes);
    encoding::int32::encode(3, &-5, &mut bytes);
    encoding::fixed64::encode(4, &7, &mut bytes);
    encoding::double::encode(5, &-0.5, &mut bytes);
    encoding::fixed32::encode(16, &9, &mut bytes);
    encoding::string::encode(2047, &"grüß".to_owned(), &mut bytes);
    let fields = fields(&bytes).unwrap();
    let (numbers, values): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 16, 2047]);
    let [unsigned, zigzag, signed, fixed, double, half, text] = values.try_into().unwrap();
    assert_eq!(unsigned.varint("Test"), Ok(u64::MAX));
    assert_eq!(zigzag.sint32("Test"), Ok(i32::MIN));
    assert_eq!(signed.int32("Test"), Ok(-5));
    assert_eq!(fixed.fixed64("Test"), Ok(7));
    assert_eq!(double.double("Test"), Ok(-0.5));
    assert_eq!(half.fixed32("Test"), Ok(9));
    assert_eq!(text.text("Test"), Ok("grüß"));
    assert_eq!(text.varint("Test.g"), Err(WireError::new("Test.g", WRONG_TYPE)));
}

#[test]
fn lists_are_read_packed_and_single() {
    let mut bytes = Vec::new();
    encoding::fixed64::encode_packed(1, &[1, u64::MAX], &mut bytes);
    encoding::fixed64::encode_repeated(1, &[3], &mut bytes);
    encoding::uint64::encode_packed(2, &[1, 300], &mut bytes);
    encoding::uint64::encode_repeated(2, &[4], &mut bytes);
    let (mut fixed, mut varint) = (Vec::new(), Vec::new());
    for (number, field) in fields(&bytes).unwrap() {
        match number {
            1 => field.fixed64_list("fixed", |value| fixed.push(value)).unwrap(),
            _ => field.varint_list("varint", |value| varint.push(value)).unwrap(),
        }
    }
    assert_eq!(fixed, [1, u64::MAX, 3]);
    assert_eq!(varint, [1, 300, 4]);
    assert!(Field::Bytes(&[0; 9]).fixed64_list("fixed", |_| ()).is_err());
    assert!(Field::Bytes(&[0x80]).varint_list("varint", |_| ()).is_err());
}

#[test]
fn groups_are_skipped_and_must_close() {
    // Group 1 { field 2: 5, group 3 {} }, then field 4: 1.
    let bytes = [0x0b, 0x10, 5, 0x1b, 0x1c, 0x0c, 0x20, 1];
    assert_eq!(fields(&bytes), Ok(vec![(4, Field::Varint(1))]));
    for broken in [&[0x0b][..], &[0x0c], &[0x0b, 0x14], &[0x0b; 5000]] {
        assert!(fields(broken).is_err(), "{broken:?}");
    }
}

#[test]
fn broken_bytes_are_errors() {
    for (bytes, problem) in [
        (&[0x08][..], "the message ends inside a field"),
        (&[0x09, 1, 2], "the message ends inside a field"),
        (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], "a length goes past the end of the message"),
        (&[0x00], "a field number is out of range"),
        (&[0x0e, 0], "a field has an invalid wire type"),
        (&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2], "a number has more than 64 bits"),
    ] {
        assert_eq!(fields(bytes), Err(WireError::new("Test", problem)), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let read = fields(&bytes);
        // prost's generic walk over the same bytes is the judge of what is well formed.
        let mut rest = &bytes[..];
        let mut well_formed = true;
        while !rest.is_empty() && well_formed {
            well_formed = encoding::decode_key(&mut rest)
                .and_then(|(number, kind)| {
                    encoding::skip_field(kind, number, &mut rest, encoding::DecodeContext::default())
                })
                .is_ok();
        }
        prop_assert_eq!(read.is_ok(), well_formed, "{:?}", read);
    }
}
