//! Scripts: events on a link, and the expected estimate. Figures are medians over seeds, in virtual
//! time; `--nocapture` prints them.

use std::time::Duration;

use super::harness::{Run, Script, link, run};
use crate::testing::network::PathModel;

const SEEDS: u64 = 20;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs a script with all seeds, and returns the median of each figure.
fn medians<const N: usize>(
    name: &str,
    names: [&str; N],
    script: &Script,
    figures: impl Fn(&Run) -> [f64; N],
) -> [f64; N] {
    let runs: Vec<[f64; N]> = (0..SEEDS).map(|seed| figures(&run(script, seed))).collect();
    let medians = std::array::from_fn(|at| median(runs.iter().map(|run| run[at]).collect()));
    print!("{name:32}");
    for (name, value) in names.iter().zip(medians) {
        print!(" {name} {value:.2}");
    }
    println!();
    medians
}

const M: f64 = 1e6;

#[test]
fn steady_links_are_used() {
    for (rate, rtt, tracks) in [
        (3_000_000, 50, 3),
        (3_000_000, 300, 3),
        (1_000_000, 100, 3),
        (10_000_000, 50, 8),
        (600_000, 50, 2),
    ] {
        let script = Script::new(link(rate, rtt, 300), tracks, 30);
        let capacity = rate as f64;
        let [climb, estimate, used, p95, switches] = medians(
            &format!("steady {rate} rtt {rtt}"),
            ["climb s", "estimate", "used", "p95 ms", "switches"],
            &script,
            |run| {
                [
                    run.first(0.0, |p| p.estimate.bitrate as f64 > 0.85 * capacity),
                    run.mean(10.0, 30.0, |p| p.estimate.bitrate as f64) / capacity,
                    run.mean(10.0, 30.0, |p| p.arrived) / capacity,
                    run.p95_wait(0.0, 30.0),
                    run.switches(10.0, 30.0),
                ]
            },
        );
        assert!(climb <= 2.0, "{rate}: {climb}");
        assert!((0.85..=1.05).contains(&estimate), "{rate}: {estimate}");
        // Layers are discrete: three of them can use 1.54 or 2.74 of 3 Mbit/s.
        assert!(used > 0.45, "{rate}: {used}");
        assert!(p95 < 80.0, "{rate}: {p95}");
        assert!(switches <= 6.0, "{rate}: {switches}");
    }
}

#[test]
fn a_drop_is_followed_and_a_return_is_found() {
    for (rtt, queue) in [(50, 300), (150, 300), (50, 1000), (50, 40)] {
        let wide = link(3_000_000, rtt, queue);
        let narrow = link(600_000, rtt, queue);
        let mut script = Script::new(wide, 3, 60);
        script.changes = vec![(15.0, narrow), (35.0, wide)];
        let [under, p95, low, used, back, sent, switches] = medians(
            &format!("drop and return rtt {rtt} queue {queue}"),
            [
                "under s",
                "p95 ms",
                "low est",
                "low used",
                "back s",
                "back used s",
                "switches low",
            ],
            &script,
            |run| {
                [
                    run.first(15.0, |p| p.sent <= 0.6 * M),
                    run.p95_wait(0.0, 60.0),
                    run.mean(20.0, 35.0, |p| p.estimate.bitrate as f64) / 0.6 / M,
                    run.mean(20.0, 35.0, |p| p.arrived) / 0.6 / M,
                    run.first(35.0, |p| p.estimate.bitrate as f64 > 2.55 * M),
                    run.first(35.0, |p| p.allocated as f64 > 1.4 * M),
                    run.switches(18.0, 35.0),
                ]
            },
        );
        assert!(under <= 1.0, "{under}");
        assert!(p95 < 150.0, "{p95}");
        assert!((0.8..=1.04).contains(&low) && used > 0.7, "{low} {used}");
        assert!(back < 6.0 && sent < 8.0, "{back} {sent}");
        assert!(switches <= 2.0, "{switches}");
    }
}

#[test]
fn random_losses_do_not_matter() {
    for loss in [0.02, 0.05, 0.1, 0.2] {
        let mut script = Script::new(
            PathModel {
                loss,
                ..link(3_000_000, 80, 300)
            },
            3,
            30,
        );
        script.back.loss = loss / 2.0;
        let [estimate, worst, _, p95, _] = medians(
            &format!("loss {loss}"),
            ["estimate", "worst", "arrived", "p95 ms", "switches"],
            &script,
            figures,
        );
        assert!(estimate > 0.85 && worst > 0.7, "{loss}: {estimate} {worst}");
        assert!(p95 < 80.0, "{loss}: {p95}");
    }
    let mut script = Script::new(link(3_000_000, 80, 300), 3, 30);
    script.bursts = Some((0.005, 0.1));
    let [estimate, worst, ..] = medians(
        "bursts",
        ["estimate", "worst", "arrived", "p95 ms", "switches"],
        &script,
        figures,
    );
    assert!(estimate > 0.85 && worst > 0.7, "{estimate} {worst}");
}

fn figures(run: &Run) -> [f64; 5] {
    [
        run.mean(8.0, 30.0, |p| p.estimate.bitrate as f64) / 3.0 / M,
        run.points
            .iter()
            .filter(|p| p.at > 8.0)
            .map(|p| p.estimate.bitrate as f64)
            .fold(1e12, f64::min)
            / 3.0
            / M,
        run.mean(8.0, 30.0, |p| p.arrived) / 3.0 / M,
        run.p95_wait(8.0, 30.0),
        run.switches(8.0, 30.0),
    ]
}

#[test]
fn jitter_is_no_queue() {
    for (jitter, overtake) in [
        (10, true),
        (30, true),
        (60, true),
        (10, false),
        (30, false),
        (60, false),
    ] {
        let path = PathModel {
            jitter: Duration::from_millis(jitter),
            overtake,
            ..link(3_000_000, 80, 300)
        };
        let script = Script::new(path, 3, 30);
        let [estimate, worst, _, _, switches] = medians(
            &format!("jitter {jitter} overtake {overtake}"),
            ["estimate", "worst", "arrived", "p95 ms", "switches"],
            &script,
            figures,
        );
        assert!(
            estimate > 0.75 && worst > 0.55,
            "{jitter}: {estimate} {worst}"
        );
        assert!(switches <= 4.0, "{jitter}: {switches}");
    }
}

#[test]
fn short_queues_are_respected() {
    for queue in [10, 30] {
        let script = Script::new(link(3_000_000, 50, queue), 3, 30);
        let [estimate, _, _, loss, _] = medians(
            &format!("queue {queue}"),
            ["estimate", "worst", "arrived", "loss", "switches"],
            &script,
            |run| {
                let mut figures = figures(run);
                figures[3] = run.mean(8.0, 30.0, |p| p.estimate.loss);
                figures
            },
        );
        assert!(
            (0.8..1.1).contains(&estimate) && loss < 0.05,
            "{queue}: {estimate} {loss}"
        );
    }
}

#[test]
fn a_greedy_rival_leaves_a_share() {
    for queue in [100, 300] {
        let mut script = Script::new(link(3_000_000, 50, queue), 3, 60);
        script.rival = Some((15.0, 45.0));
        let [share, rival, after, ..] = medians(
            &format!("rival queue {queue}"),
            ["share", "rival", "after est", "p95 ms", "switches"],
            &script,
            |run| {
                [
                    run.mean(20.0, 45.0, |p| p.arrived) / 3.0 / M,
                    run.mean(20.0, 45.0, |p| p.rival) / 3.0 / M,
                    run.mean(53.0, 60.0, |p| p.estimate.bitrate as f64) / 3.0 / M,
                    run.p95_wait(20.0, 45.0),
                    run.switches(20.0, 45.0),
                ]
            },
        );
        // Half is fair. A flow that reacts to every delay gets next to nothing beside one that
        // fills the queue.
        assert!(
            (0.4..0.6).contains(&share) && rival > 0.4,
            "{queue}: {share} {rival}"
        );
        assert!(after > 0.8, "{queue}: {after}");
    }
}

#[test]
fn a_drop_beside_a_rival_is_followed() {
    let mut script = Script::new(link(3_000_000, 50, 200), 3, 45);
    script.rival = Some((10.0, 45.0));
    script.changes = vec![(25.0, link(800_000, 50, 200))];
    let [before, estimate, allocated, loss] = medians(
        "drop beside a rival",
        ["before", "estimate", "allocated", "loss"],
        &script,
        |run| {
            [
                run.mean(20.0, 25.0, |p| p.estimate.bitrate as f64) / M,
                run.mean(28.0, 45.0, |p| p.estimate.bitrate as f64) / M,
                run.mean(28.0, 45.0, |p| p.allocated as f64) / M,
                run.mean(28.0, 45.0, |p| p.estimate.loss),
            ]
        },
    );
    // The sender's share of the wide link must not be kept because its delay is another flow's.
    assert!(before > 1.0 && estimate < 0.8, "{before} {estimate}");
    assert!(allocated < 0.6 && loss < 0.1, "{allocated} {loss}");
}

#[test]
fn silence_is_survived() {
    let mut script = Script::new(link(3_000_000, 50, 300), 3, 40);
    script.silence = Some((15.0, 20.0));
    let [during, back] = medians("silence", ["during", "back s"], &script, |run| {
        [
            run.mean(19.0, 20.0, |p| p.estimate.bitrate as f64) / M,
            run.first(20.0, |p| p.estimate.bitrate as f64 > 2.5 * M),
        ]
    });
    assert!(during < 0.5 && back < 5.0, "{during} {back}");
}

#[test]
fn an_outage_that_left_nothing_to_send_is_survived() {
    for until in [25.0, 40.0] {
        let mut script = Script::new(link(3_000_000, 50, 300), 1, until as u64 + 15);
        script.audio = 0;
        script.silence = Some((15.0, until));
        let columns = ["sent in the end", "back s", "top layer s"];
        let [sent, back, top] = medians("outage without sound", columns, &script, |run| {
            [
                run.mean(until - 1.0, until, |p| p.sent) / M,
                run.first(until, |p| p.allocated > 0),
                run.first(until, |p| p.allocated > M as u64),
            ]
        });
        // A few packets ask, and hardly anything else is sent.
        assert!(sent > 0.0 && sent < 0.1, "{until}: {sent}");
        assert!(back < 8.0 && top < 10.0, "{until}: {back} {top}");
    }
}

#[test]
fn a_noisy_edge_is_no_reason_to_flap() {
    let mut script = Script::new(link(1_700_000, 60, 200), 3, 60);
    script.changes = (1..115)
        .map(|half| {
            let rate = if half % 2 == 0 { 1_950_000 } else { 1_450_000 };
            (f64::from(half) / 2.0, link(rate, 60, 200))
        })
        .collect();
    let [estimate, least, p95, _] = medians(
        "noisy edge",
        ["estimate", "least", "p95 ms", "switches"],
        &script,
        |run| {
            [
                run.mean(10.0, 57.0, |p| p.estimate.bitrate as f64) / 1.7 / M,
                run.points
                    .iter()
                    .filter(|p| p.at > 10.0)
                    .map(|p| p.estimate.bitrate as f64)
                    .fold(1e12, f64::min)
                    / 1.7
                    / M,
                run.p95_wait(10.0, 57.0),
                run.switches(10.0, 57.0),
            ]
        },
    );
    assert!(estimate > 0.8 && least > 0.6, "{estimate} {least}");
    assert!(p95 < 80.0, "{p95}");
}

#[test]
fn a_longer_way_is_no_queue() {
    let mut script = Script::new(link(3_000_000, 50, 300), 3, 40);
    script.changes = vec![(15.0, link(3_000_000, 200, 300))];
    let [_, back, estimate] = medians(
        "longer way",
        ["least", "back s", "estimate"],
        &script,
        |run| {
            [
                run.points
                    .iter()
                    .filter(|p| p.at > 15.0)
                    .map(|p| p.estimate.bitrate as f64)
                    .fold(1e12, f64::min)
                    / 3.0
                    / M,
                run.first(16.0, |p| {
                    p.estimate.bitrate as f64 > 2.55 * M && !p.estimate.congested
                }) + 1.0,
                run.mean(30.0, 40.0, |p| p.estimate.bitrate as f64) / 3.0 / M,
            ]
        },
    );
    assert!(back < 8.0 && estimate > 0.85, "{back} {estimate}");
}

#[test]
fn a_longer_way_hides_no_slower_link() {
    for (later, rate) in [(30, 1_000_000), (30, 500_000), (80, 500_000)] {
        let mut script = Script::new(link(3_000_000, 60, 250), 3, 45);
        let way = Duration::from_millis(30 + later);
        let longer = PathModel {
            delay: way,
            ..link(3_000_000, 60, 250)
        };
        script.changes = vec![
            (10.0, longer),
            (
                13.0,
                PathModel {
                    rate: Some(rate),
                    ..longer
                },
            ),
        ];
        let narrow = rate as f64;
        let [estimate, most, loss, p95, contested] = medians(
            &format!("{later} ms longer, then {rate}"),
            ["estimate", "most", "loss", "p95 ms", "contested"],
            &script,
            |run| {
                let most = run.points.iter().filter(|p| p.at > 18.0);
                [
                    run.mean(16.0, 45.0, |p| p.estimate.bitrate as f64) / narrow,
                    most.map(|p| p.estimate.bitrate as f64 / narrow)
                        .fold(0.0, f64::max),
                    run.mean(16.0, 45.0, |p| p.estimate.loss),
                    run.p95_wait(16.0, 45.0),
                    run.mean(16.0, 45.0, |p| f64::from(u8::from(p.estimate.contested))),
                ]
            },
        );
        assert!(contested < 0.1, "{contested}");
        assert!(
            (0.8..=1.04).contains(&estimate) && most < 1.15,
            "{estimate} {most}"
        );
        assert!(loss < 0.01 && p95 < 100.0, "{loss} {p95}");
    }
}

#[test]
fn a_receiver_that_reads_late_is_no_slower_link() {
    for (rate, lasts, most) in [
        (3_000_000, 0.2, 0.1),
        (3_000_000, 0.4, 0.25),
        (3_000_000, 0.6, 0.5),
        (1_000_000, 0.2, 0.1),
        (1_000_000, 0.4, 0.25),
        (1_000_000, 0.4, 0.35),
        (1_000_000, 0.6, 0.5),
    ] {
        let mut script = Script::new(link(rate, 60, 250), 1, 40);
        let starts = (0..6).map(|n| 10.0 + 5.0 * f64::from(n));
        script.late = starts.map(|start| (start, lasts, most)).collect();
        let [least, estimate, switches] = medians(
            &format!("reads {most} s late at {rate}"),
            ["least", "estimate", "switches"],
            &script,
            |run| {
                let after = run.points.iter().filter(|p| p.at > 10.0);
                let after = after.filter(|p| (p.at % 5.0) > 1.5);
                [
                    after
                        .map(|p| p.estimate.bitrate as f64 / rate as f64)
                        .fold(f64::MAX, f64::min),
                    run.mean(10.0, 40.0, |p| p.estimate.bitrate as f64 / rate as f64),
                    run.switches(10.0, 40.0),
                ]
            },
        );
        assert!(estimate > 0.8, "{estimate}");
        // Half a second is too late for video, whatever the cause.
        assert!(
            most >= 0.5 || least > 0.6 && switches <= 2.0,
            "{least} {switches}"
        );
    }
}

/// The receiver reads late just as the link becomes slower: the cut is taken back, which is wrong.
#[test]
fn a_cut_wrongly_taken_back_is_made_again() {
    let mut taken = 0.0;
    for (rate, lasts, most) in [
        (600_000, 0.4, 0.3),
        (800_000, 0.3, 0.2),
        (1_200_000, 0.4, 0.3),
    ] {
        let mut script = Script::new(link(3_000_000, 60, 250), 3, 40);
        script.changes = vec![(15.0, link(rate, 60, 250))];
        script.late = vec![(15.0, lasts, most)];
        let narrow = rate as f64;
        let [taken_back, over, estimate, loss, p95] = medians(
            &format!("late, and slower: {rate}"),
            ["taken back", "over s", "estimate", "loss", "p95 ms"],
            &script,
            |run| {
                let after = run.points.iter().filter(|p| p.at > 15.0);
                let lowest = after.clone().scan(f64::MAX, |lowest, p| {
                    let raised = p.estimate.bitrate as f64 > 1.5 * *lowest;
                    *lowest = lowest.min(p.estimate.bitrate as f64);
                    Some((raised, p.at))
                });
                let raised = lowest.into_iter().any(|(raised, at)| raised && at < 18.0);
                let over = after.filter(|p| p.estimate.bitrate as f64 > 1.15 * narrow);
                [
                    f64::from(u8::from(raised)),
                    over.count() as f64 / 10.0,
                    run.mean(19.0, 40.0, |p| p.estimate.bitrate as f64) / narrow,
                    run.mean(15.0, 40.0, |p| p.estimate.loss),
                    run.p95_wait(17.0, 40.0),
                ]
            },
        );
        taken += taken_back;
        assert!(over <= 1.5, "{over}");
        assert!((0.8..=1.04).contains(&estimate), "{estimate}");
        assert!(loss < 0.03 && p95 < 100.0, "{loss} {p95}");
    }
    assert!(taken > 0.0, "no cut was taken back");
}

#[test]
fn who_is_sent_nothing_is_asked_again() {
    for (narrow, queue, rtt) in [
        (100_000, 300, 60),
        (100_000, 1_000, 60),
        (60_000, 200, 200),
        (120_000, 100, 20),
    ] {
        let mut script = Script::new(link(3_000_000, rtt, queue), 2, 60);
        script.audio = 0;
        script.changes = vec![
            (10.0, link(narrow, rtt, queue)),
            (30.0, link(3_000_000, rtt, queue)),
        ];
        let backs = (0..SEEDS).map(|seed| {
            let run = run(&script, seed);
            run.first(30.0, |p| p.estimate.bitrate > 2_000_000)
        });
        let longest = backs.fold(0.0, f64::max);
        println!("sent nothing at {narrow}: back after {longest:.1} s at most");
        assert!(longest < 20.0, "{narrow}: {longest}");
    }
}
