use super::*;

#[test]
fn values_are_put_in_once() {
    let values = [("a", "'$b'".to_owned()), ("b", "2".to_owned()), ("a_long", "3".to_owned())];
    assert_eq!(bind("x $a y $b, $a_long$a", &values).unwrap(), "x '$b' y 2, 3'$b'");
    assert!(bind("$missing", &values).is_err());
    assert_eq!(bind("no names", &[]).unwrap(), "no names");
}
