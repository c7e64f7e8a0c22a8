//! Viewers on scripted networks get the layers that fit: bounds that hold in every run. The figures are on the
//! scoreboard.

use crate::scoreboard::{CASES, Case, Figures, Sender, median, page};

fn case(name: &str) -> &'static Case {
    let mut cases = CASES.iter();
    cases
        .find(|case| case.name == name)
        .expect("there is such a script")
}

fn ours(name: &str, seed: u64) -> Figures {
    let figures = case(name).run(Sender::Ours, seed).expect("it runs");
    assert_eq!(figures.violations, 0, "{name}, seed {seed}: {figures:?}");
    figures
}

#[test]
fn every_script_can_be_read() {
    for case in CASES {
        let script = case.script();
        let last = script
            .changes
            .last()
            .map_or(0, |change| change.at.as_secs());
        assert!(
            last < case.seconds,
            "{}: it ends before its last change",
            case.name
        );
        let changes = |at: Option<u64>| {
            at.is_none_or(|at| {
                script
                    .changes
                    .iter()
                    .any(|change| change.at.as_secs() == at)
            })
        };
        assert!(changes(case.drop) && changes(case.back), "{}", case.name);
    }
}

#[test]
fn medians_and_the_page_hold_every_script() {
    let run = |used: f64, back: Option<f64>| Figures {
        utilisation: used,
        back,
        ..Figures::default()
    };
    let runs = [
        run(0.2, None),
        run(0.9, Some(3.0)),
        run(0.4, Some(1.0)),
        run(0.6, None),
    ];
    let of = median(&runs).expect("runs");
    assert_eq!((of.utilisation, of.back, of.under), (0.5, Some(2.0), None));
    assert!(median(&[]).is_none());
    // The committed page has these scripts and this explanation.
    let committed = include_str!("scoreboard.md");
    let explained = page(20, &[]);
    let explained = explained.split("\n20 seeds").next().expect("a head");
    assert!(
        committed.starts_with(explained),
        "the page is to be written anew"
    );
    for case in CASES {
        assert!(
            committed.contains(&format!("\n| {} | ours |", case.name)),
            "{}",
            case.name
        );
    }
}

#[test]
fn a_link_with_room_is_used_and_left_in_peace() {
    for name in ["steady", "jitter", "reordering"] {
        let figures = ours(name, 1);
        assert!(
            figures.utilisation > 0.85 && figures.freezes == 0.0,
            "{name}: {figures:?}"
        );
        assert!(figures.switches_per_minute <= 4.0, "{name}: {figures:?}");
    }
    let figures = ours("middle", 1);
    assert!(
        figures.freezes == 0.0 && figures.queue_p95_ms < 150.0,
        "{figures:?}"
    );
}

#[test]
fn after_a_drop_less_is_sent_and_the_picture_goes_on() {
    for (name, seed) in [("drop", 1), ("drop", 2), ("rtt150", 3)] {
        let figures = ours(name, seed);
        assert!(
            figures.under.is_some_and(|under| under < 2.0),
            "{name}: {figures:?}"
        );
        assert!(figures.queue_p95_ms < 150.0, "{name}: {figures:?}");
        assert!(figures.longest_ms < 1_500.0, "{name}: {figures:?}");
        assert!(
            figures.back.is_some_and(|back| back < 15.0),
            "{name}: {figures:?}"
        );
    }
}

#[test]
fn losses_are_repaired() {
    for name in ["loss2", "loss5", "bursts"] {
        let figures = ours(name, 1);
        assert!(
            figures.complete > 0.9 && figures.longest_ms < 3_000.0,
            "{name}: {figures:?}"
        );
    }
}

#[test]
fn a_weak_one_among_twenty_sees_something() {
    let figures = ours("weak", 1);
    assert!(
        figures.longest_ms < 1_500.0 && figures.queue_p95_ms < 150.0,
        "{figures:?}"
    );
    assert!(figures.utilisation > 0.2, "{figures:?}");
}

#[test]
fn sound_fits_where_little_does() {
    let figures = ours("sound", 1);
    assert!(
        figures.utilisation > 0.9 && figures.queue_p95_ms < 50.0,
        "{figures:?}"
    );
}

#[test]
fn the_reference_plays_the_same_scripts() {
    let figures = case("steady").run(Sender::Reference, 1).expect("it runs");
    assert_eq!(figures.violations, 0, "{figures:?}");
    assert!(
        figures.utilisation > 0.85 && figures.estimate_error.is_some(),
        "{figures:?}"
    );
    assert!(case("uplink").run(Sender::Reference, 1).is_none());
}
