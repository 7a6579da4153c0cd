//! Frames of locations as the rest of the profile says.

use super::{FrameTable, Stacks};
use crate::frame_family::Family;
use crate::pprof::message::Function;
use crate::pprof::tables::Texts;
use crate::pprof::tests::Build;

#[test]
fn a_function_is_classified_once_by_name_and_file() {
    let mut build = Build::new(&[("samples", "count")]);
    let (name, file) = (build.text("encode"), build.text("/usr/lib/python3.12/json/encoder.py"));
    let own = build.text("/app/encode.py");
    for (id, filename) in [(1, file), (2, own), (3, file)] {
        build.profile.function.push(Function { id, name, filename, ..Function::default() });
    }
    let places = [build.location(&[]), build.location(&[]), build.location(&[])];
    for (place, function_id) in build.profile.location.iter_mut().zip(1..) {
        place.line.push(crate::pprof::message::Line { function_id, line: 0, column: 0 });
    }
    let texts = Texts::new(&build.profile).unwrap();
    let table = FrameTable::new(&build.profile, &texts).unwrap();
    assert_eq!(table.symbol_count(), 2);
    let family = |at| table.frame(at).unwrap().1.family;
    assert_eq!(
        [family(0), family(1), family(2)],
        [Some(Family::Serialization), None, Some(Family::Serialization)]
    );
    let mut stacks = Stacks::default();
    let ids = places.map(|place| stacks.intern(&[place], &table).unwrap());
    assert_eq!(ids[0], ids[2], "two ids of one function");
    assert_ne!(ids[0], ids[1], "the file counts");
    assert_eq!(stacks.iter().len(), 2);
}

#[test]
fn the_symbols_name_stands_in_for_a_missing_one() {
    let mut build = Build::new(&[("samples", "count")]);
    let place = build.location(&[""]);
    build.profile.function[0].system_name = build.text("_ZN3fooEv");
    let texts = Texts::new(&build.profile).unwrap();
    let table = FrameTable::new(&build.profile, &texts).unwrap();
    assert_eq!(table.frame(0).unwrap().1.function, "_ZN3fooEv");
    assert!(Stacks::default().intern(&[place, 2], &table).is_err());
}
