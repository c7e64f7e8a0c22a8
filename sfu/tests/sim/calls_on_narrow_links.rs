//! Calls on narrow links: the bounds that hold in every run. The figures are in `narrow.md`, with what does not hold
//! yet.

use crate::narrow::{CALLS, Calm, calm_median, calm_page};

/// The medians of five seeds: `str0m` draws the order of its streams, so that a run repeats only nearly, and now and
/// then begins otherwise.
fn medians(name: &str) -> Calm {
    let mut calls = CALLS.iter();
    let call = calls.find(|call| call.name == name);
    let call = call.expect("there is such a call");
    let runs: Vec<Calm> = (1..6).map(|seed| call.run(seed)).collect();
    calm_median(&runs)
}

#[test]
fn sound_is_whole_and_pictures_go_on_where_there_is_room_for_both() {
    for name in ["2 at 1M", "2 at 700k", "1 at 1M", "1 at 500k"] {
        let calm = medians(name);
        let what = format!("{name}: {calm:?}");
        assert!(calm.missed < 0.02, "{what}");
        assert!(calm.lost < 0.01 && calm.frozen < 2.0, "{what}");
        assert!(calm.changes <= 20.0 && calm.shown > 0.9, "{what}");
    }
}

#[test]
fn two_people_are_heard_and_seen_on_half_a_megabit() {
    let calm = medians("2 at 500k");
    assert!(calm.missed < 0.04 && calm.lost < 0.01, "{calm:?}");
    assert!(calm.frozen < 2.0 && calm.shown > 0.6, "{calm:?}");
}

#[test]
fn sound_is_whole_where_there_are_more_pictures_than_room() {
    // The shares before were 25%, 16% and 23% of the audio.
    for name in ["3 at 500k", "6 at 700k", "2 at 1.5M, then 400k"] {
        let calm = medians(name);
        let what = format!("{name}: {calm:?}");
        assert!(calm.missed < 0.04 && calm.lost < 0.01, "{what}");
        assert!(calm.frozen < 3.0 && calm.shown > 0.1, "{what}");
    }
}

#[test]
fn medians_and_the_page_hold_every_call() {
    let run = |missed: f64| Calm {
        missed,
        ..Calm::default()
    };
    let of = calm_median(&[run(0.4), run(0.1), run(0.2), run(0.3)]);
    assert!((of.missed - 0.25).abs() < 1e-9, "{of:?}");
    let committed = include_str!("narrow.md");
    let page = calm_page(&[]);
    assert!(
        committed.starts_with(&page),
        "the page is to be written anew"
    );
    for call in CALLS {
        let row = format!("\n| {} |", call.name);
        assert!(committed.contains(&row), "{}", call.name);
    }
}
