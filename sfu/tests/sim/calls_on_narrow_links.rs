//! Calls on narrow links: the bounds that hold in every run. The figures are in `narrow.md`, with what does not hold
//! yet.

use crate::narrow::{CALLS, Calm, calm_median, calm_page};

fn run(name: &str, seed: u64) -> Calm {
    let mut calls = CALLS.iter();
    let call = calls.find(|call| call.name == name);
    call.expect("there is such a call").run(seed)
}

#[test]
fn sound_is_whole_and_pictures_go_on_where_there_is_room_for_both() {
    for name in ["2 at 1M", "2 at 700k", "1 at 1M", "1 at 500k"] {
        for seed in 1..4 {
            let calm = run(name, seed);
            let what = format!("{name}, seed {seed}: {calm:?}");
            assert!(calm.missed < 0.03, "{what}");
            assert!(calm.lost < 0.01 && calm.frozen < 1.5, "{what}");
            assert!(calm.changes <= 12.0 && calm.shown > 0.9, "{what}");
        }
    }
}

#[test]
fn two_people_are_heard_and_seen_on_half_a_megabit() {
    for seed in 1..4 {
        let calm = run("2 at 500k", seed);
        let what = format!("seed {seed}: {calm:?}");
        // It was 30% of what was said, 11% of all packets, and 39 s of 54.
        assert!(calm.missed < 0.1 && calm.lost < 0.02, "{what}");
        assert!(calm.frozen < 3.0, "{what}");
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
        assert_eq!(committed.matches(&row).count(), 2, "{}", call.name);
    }
}
