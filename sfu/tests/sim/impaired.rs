//! Calls on bad networks: repair, reordering, address changes.

use std::time::Duration;

use tertulia_sfu::testing::network::PathModel;

use crate::harness::{Sim, Video};

const SECOND: Duration = Duration::from_secs(1);

fn run_with(up: PathModel, down: PathModel, seed: u64) -> (Sim, usize) {
    let mut sim = Sim::new(seed);
    let publisher = sim.participant(Video::Single);
    let viewer = sim.viewer();
    sim.run(2 * SECOND);
    sim.set_path(publisher, up);
    sim.set_path(viewer, down);
    sim.run(20 * SECOND);
    sim.set_path(publisher, PathModel::LAN);
    sim.set_path(viewer, PathModel::LAN);
    sim.run(2 * SECOND);
    (sim, viewer)
}

/// Of the video, how many packets came in the end, and what the decoder says.
fn video(sim: &mut Sim, viewer: usize) -> tertulia_sfu::testing::OracleReport {
    let reports = sim.clients[viewer].reports();
    reports
        .into_iter()
        .map(|(_, report)| report)
        .max_by_key(|report| report.packets)
        .unwrap()
}

#[test]
fn loss_towards_a_viewer_is_repaired() {
    for seed in 0..5 {
        let lossy = PathModel {
            loss: 0.05,
            delay: Duration::from_millis(30),
            ..PathModel::LAN
        };
        let (mut sim, viewer) = run_with(PathModel::LAN, lossy, 100 + seed);
        let report = video(&mut sim, viewer);
        assert!(
            report.violations.is_empty(),
            "seed {seed}: {:?}",
            report.violations
        );
        let whole = report.decodable_frames as f64 / report.frames as f64;
        assert!(whole > 0.99, "seed {seed}: {whole} {report:?}");
    }
}

#[test]
fn loss_from_a_publisher_is_repaired() {
    for seed in 0..5 {
        let lossy = PathModel {
            loss: 0.05,
            delay: Duration::from_millis(30),
            ..PathModel::LAN
        };
        let (mut sim, viewer) = run_with(lossy, PathModel::LAN, 200 + seed);
        let report = video(&mut sim, viewer);
        assert!(
            report.violations.is_empty(),
            "seed {seed}: {:?}",
            report.violations
        );
        let whole = report.decodable_frames as f64 / report.frames as f64;
        assert!(whole > 0.99, "seed {seed}: {whole} {report:?}");
        let nacks: u64 = sim
            .relay
            .stats()
            .peers
            .iter()
            .flat_map(|p| &p.published)
            .flat_map(|t| &t.layers)
            .map(|l| l.nacks_sent)
            .sum();
        assert!(nacks > 0, "seed {seed}: losses were asked for again");
    }
}

#[test]
fn reordering_is_not_loss() {
    let jittery = PathModel {
        jitter: Duration::from_millis(4),
        delay: Duration::from_millis(20),
        ..PathModel::LAN
    };
    let (mut sim, viewer) = run_with(jittery, jittery, 300);
    let report = video(&mut sim, viewer);
    assert!(report.violations.is_empty(), "{:?}", report.violations);
    assert_eq!(report.lost, 0);
}

#[test]
fn a_run_repeats_with_its_seed() {
    let run = || {
        let lossy = PathModel {
            loss: 0.02,
            jitter: Duration::from_millis(10),
            ..PathModel::LAN
        };
        let (mut sim, viewer) = run_with(lossy, lossy, 400);
        let report = video(&mut sim, viewer);
        (
            report.packets,
            report.lost,
            report.frames,
            sim.relay.stats().packets_forwarded,
        )
    };
    assert_eq!(run(), run());
}
