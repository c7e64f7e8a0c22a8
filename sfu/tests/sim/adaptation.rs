//! Viewers on scripted networks get what they can: the bounds that hold in every run. The figures are
//! the scoreboard's.

use crate::scoreboard::{CASES, Case, Figures, Sender};

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
