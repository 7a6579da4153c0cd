//! Windows cut at minutes.

use super::{Piece, pieces};
use crate::time::{MINUTE, SECOND, Time, Window};

fn check(start: i64, end: i64, at: i64, expected: &[Piece]) {
    let time = |seconds| Time::of(seconds * SECOND);
    assert_eq!(pieces(Window::new(time(start), time(end)), time(at)), expected);
}

fn window(start: i64, end: i64) -> Window {
    Window::new(Time::of(start * SECOND), Time::of(end * SECOND))
}

#[test]
fn whole_minutes_come_from_rollups_and_the_edges_from_spans() {
    assert_eq!(MINUTE, 60 * SECOND);
    check(600, 1200, 9000, &[Piece::Minutes(window(600, 1200))]);
    check(
        610,
        1210,
        9000,
        &[
            Piece::Spans(window(610, 660)),
            Piece::Minutes(window(660, 1200)),
            Piece::Spans(window(1200, 1210)),
        ],
    );
}

#[test]
fn minutes_just_before_the_diagnosis_come_from_spans() {
    check(600, 1200, 1200, &[Piece::Minutes(window(600, 1080)), Piece::Spans(window(1080, 1200))]);
    check(1090, 1200, 1200, &[Piece::Spans(window(1090, 1200))]);
}

#[test]
fn a_window_is_never_without_a_piece() {
    check(610, 650, 9000, &[Piece::Spans(window(610, 650))]);
    check(600, 600, 9000, &[Piece::Spans(window(600, 600))]);
}
