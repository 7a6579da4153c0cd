//! Frames of locations as the rest of the profile says.

use super::Locations;
use crate::DecodeError;
use crate::frame_family::Family;
use crate::pprof::message::Function;
use crate::pprof::tables::Texts;
use crate::pprof::tests::Build;
use crate::pprof::{ROWS_BYTES_MAX, stack};
use crate::profiles::stacks::Stacks;

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
    let locations = Locations::new(&build.profile, &texts).unwrap();
    assert_eq!(locations.frames.symbol_count(), 2);
    let family = |at| locations.frames.frame(at).unwrap().1.family;
    assert_eq!(
        [family(0), family(1), family(2)],
        [Some(Family::Serialization), None, Some(Family::Serialization)]
    );
    let mut stacks = Stacks::new(ROWS_BYTES_MAX);
    let ids = places.map(|place| {
        let position = stack(&mut stacks, &[place], &locations).unwrap();
        stacks.id(position)
    });
    assert_eq!(ids[0], ids[2], "two ids of one function");
    assert_ne!(ids[0], ids[1], "the file counts");
    assert_eq!(stacks.len(), 2);
}

#[test]
fn the_symbols_name_stands_in_for_a_missing_one() {
    let mut build = Build::new(&[("samples", "count")]);
    let place = build.location(&[""]);
    build.profile.function[0].system_name = build.text("_ZN3fooEv");
    let texts = Texts::new(&build.profile).unwrap();
    let locations = Locations::new(&build.profile, &texts).unwrap();
    assert_eq!(locations.frames.frame(0).unwrap().1.function, "_ZN3fooEv");
    assert!(stack(&mut Stacks::new(ROWS_BYTES_MAX), &[place, 2], &locations).is_err());
}

#[test]
fn a_long_name_on_many_lines_is_refused_before_it_takes_memory() {
    let mut build = Build::new(&[("samples", "count")]);
    let name = "f".repeat(1 << 20);
    build.location(&[&name]);
    let line = build.profile.location[0].line[0];
    build.profile.location[0].line = vec![line; 10_000];
    let texts = Texts::new(&build.profile).unwrap();
    let refused = Locations::new(&build.profile, &texts);
    assert!(matches!(refused, Err(DecodeError::TooLarge { .. })));
}

#[test]
fn many_long_stacks_are_refused_before_they_take_memory() {
    let mut build = Build::new(&[("samples", "count")]);
    let names = vec!["f"; 1000];
    let deep = build.location(&names);
    let leaves: Vec<_> =
        (0..200).map(|number| build.location(&[format!("f{number}").as_str()])).collect();
    let texts = Texts::new(&build.profile).unwrap();
    let locations = Locations::new(&build.profile, &texts).unwrap();
    let mut stacks = Stacks::new(100 * 1000 * 64);
    let taken = leaves
        .iter()
        .take_while(|leaf| stack(&mut stacks, &[**leaf, deep], &locations).is_ok())
        .count();
    assert_eq!(taken, 99);
}
