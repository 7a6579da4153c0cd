//! Ids and texts.

use bytes::Bytes;

use super::{IdIndex, Texts};
use crate::pprof::message::Profile;

#[test]
fn ids_lead_to_positions() {
    let check = |ids: &[u64], expected: &[(u64, Option<usize>)]| {
        let index = IdIndex::new("entries", ids.iter().copied()).unwrap();
        for (id, position) in expected {
            assert_eq!(index.position(*id), *position, "{id} in {ids:?}");
        }
    };
    check(&[], &[(0, None), (1, None)]);
    check(&[1, 2, 3], &[(0, None), (1, Some(0)), (3, Some(2)), (4, None), (u64::MAX, None)]);
    check(&[7, u64::MAX, 0], &[(0, Some(2)), (1, None), (7, Some(0)), (u64::MAX, Some(1))]);
    assert!(IdIndex::new("entries", [3, 4, 3].into_iter()).is_err());
}

#[test]
fn indexes_that_lead_nowhere_are_counted() {
    let string_table = [&b""[..], b"a", b"\xfe"].map(Bytes::from_static).to_vec();
    let profile = Profile { string_table, ..Profile::default() };
    let texts = Texts::new(&profile).unwrap();
    assert_eq!((texts.or_empty(0), texts.or_empty(1), texts.or_empty(2)), ("", "a", "\u{fffd}"));
    assert_eq!(texts.dangling(), 0);
    assert_eq!((texts.or_empty(3), texts.or_empty(-1), texts.or_empty(i64::MIN)), ("", "", ""));
    assert_eq!(texts.dangling(), 3);
}
