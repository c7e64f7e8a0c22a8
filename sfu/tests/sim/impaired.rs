//! Calls on bad networks: repair, reordering, address changes.

use std::collections::HashMap;
use std::time::Duration;

use tertulia_sfu::rtp::RtpHeader;
use tertulia_sfu::testing::network::PathModel;
use tertulia_sfu::{DropReason, TrackSettings};

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

/// The oracle's report on the video, with the number of packets that came in the end.
fn video_report(sim: &Sim, viewer: usize) -> tertulia_sfu::testing::OracleReport {
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
        let (sim, viewer) = run_with(PathModel::LAN, lossy, 100 + seed);
        let report = video_report(&sim, viewer);
        assert!(
            report.violations.is_empty(),
            "seed {seed}: {:?}",
            report.violations
        );
        let whole = report.decodable_frames as f64 / report.frames as f64;
        assert!(whole > 0.99, "seed {seed}: {whole} {report:?}");
    }
}

/// Without RTX the packet itself comes again (RFC 4585 section 6.2.1): identical to the bit, or AES-GCM would have
/// sealed two texts with one nonce.
#[test]
fn loss_towards_a_viewer_without_rtx_is_repaired_by_the_very_bytes() {
    for seed in 0..5 {
        let mut sim = Sim::new(120 + seed);
        let _publisher = sim.participant(Video::Simulcast);
        let viewer = sim.client();
        sim.clients[viewer].without_rtx = true;
        sim.clients[viewer].receive(1, 1);
        sim.tap(viewer);
        sim.join(viewer);
        sim.run(4 * SECOND);
        sim.clients[viewer].down.set_model(PathModel {
            loss: 0.05,
            jitter: Duration::from_millis(10),
            overtake: true,
            delay: Duration::from_millis(30),
            ..PathModel::LAN
        });
        sim.run(15 * SECOND);
        sim.clients[viewer].down.set_model(PathModel::LAN);
        sim.run(2 * SECOND);

        let mut texts: HashMap<(u32, u16), (Vec<u8>, u32)> = HashMap::new();
        for sealed in &sim.tapped {
            let rtp = sealed[0] >> 6 == 2 && !(192..224).contains(&sealed[1]);
            let Some(header) = RtpHeader::parse_sealed(sealed).ok().filter(|_| rtp) else {
                continue;
            };
            let sent = texts
                .entry((header.ssrc, header.sequence))
                .or_insert_with(|| (sealed.clone(), 0));
            assert_eq!(&sent.0, sealed, "seed {seed}: two texts under one number");
            sent.1 += 1;
        }
        let again = texts.values().filter(|(_, times)| *times > 1).count();
        let most = texts.values().map(|(_, times)| *times).max();
        assert!(
            again > 50 && most <= Some(6),
            "seed {seed}: {again} {most:?}"
        );
        let peer = sim.clients[viewer].peer.unwrap();
        let stats = sim.relay.peer_stats(peer).unwrap();
        let repaired: u64 = stats.subscriptions.iter().map(|s| s.retransmitted).sum();
        assert!(
            repaired >= again as u64,
            "seed {seed}: {repaired} of {again}"
        );
        let report = video_report(&sim, viewer);
        assert!(report.violations.is_empty(), "seed {seed}: {report:?}");
        let whole = report.decodable_frames as f64 / report.frames as f64;
        assert!(whole > 0.99, "seed {seed}: {whole} {report:?}");
    }
}

/// Whether its publisher falls silent, or the server has nothing more to forward.
#[test]
fn what_is_kept_for_a_viewer_without_rtx_is_given_back_when_nothing_is_sent() {
    for (seed, muted) in [(140, false), (141, true)] {
        let mut sim = Sim::new(seed);
        let publisher = sim.participant(Video::Simulcast);
        let viewer = sim.client();
        sim.clients[viewer].without_rtx = true;
        sim.clients[viewer].receive(1, 1);
        sim.join(viewer);
        sim.run(4 * SECOND);
        // Three layers are published, and one is forwarded.
        let (published, track) = (sim.relay.caches().0, sim.clients[publisher].published[1]);
        let settings = |muted| TrackSettings::default().with_muted(muted);
        let (now, peer) = (sim.now, sim.clients[publisher].peer.unwrap());
        if muted {
            sim.relay
                .set_track(now, peer, track, settings(true))
                .unwrap();
        } else {
            sim.clients[publisher].up.set_model(PathModel {
                loss: 1.0,
                ..PathModel::LAN
            });
        }
        sim.run(5 * SECOND);
        let left = sim.relay.caches().0;
        assert!(published > 500_000, "seed {seed}: {published}");
        assert!(left < published - 50_000, "seed {seed}: {left}");
        assert!(muted || left == 0, "seed {seed}: {left}");
        sim.relay
            .set_track(sim.now, peer, track, settings(false))
            .unwrap();
        sim.clients[publisher].up.set_model(PathModel::LAN);
        sim.run(5 * SECOND);
        let report = video_report(&sim, viewer);
        assert!(report.violations.is_empty(), "seed {seed}: {report:?}");
        assert!(sim.relay.caches().0 > left, "seed {seed}");
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
        let (sim, viewer) = run_with(lossy, PathModel::LAN, 200 + seed);
        let report = video_report(&sim, viewer);
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
        overtake: true,
        delay: Duration::from_millis(20),
        ..PathModel::LAN
    };
    let (sim, viewer) = run_with(jittery, jittery, 300);
    let report = video_report(&sim, viewer);
    assert!(report.violations.is_empty(), "{:?}", report.violations);
    assert_eq!(report.lost, 0);
}

#[test]
fn a_run_repeats_with_its_seed() {
    let run = || {
        let lossy = PathModel {
            loss: 0.02,
            jitter: Duration::from_millis(10),
            overtake: true,
            ..PathModel::LAN
        };
        let (sim, viewer) = run_with(lossy, lossy, 400);
        let report = video_report(&sim, viewer);
        (
            report.packets,
            report.lost,
            report.frames,
            sim.relay.stats().packets_forwarded,
        )
    };
    assert_eq!(run(), run());
}

#[test]
fn loss_from_a_simulcast_publisher_is_repaired_on_every_layer() {
    let mut sim = Sim::new(310);
    let publisher = sim.participant(Video::Simulcast);
    let viewer = sim.viewer();
    sim.run(3 * SECOND);
    let lossy = PathModel {
        loss: 0.05,
        delay: Duration::from_millis(20),
        ..PathModel::LAN
    };
    sim.clients[publisher].up.set_model(lossy);
    sim.run(15 * SECOND);
    sim.clients[publisher].up.set_model(PathModel::LAN);
    sim.run(SECOND);
    let peer = sim.clients[publisher].peer.unwrap();
    let stats = sim.relay.peer_stats(peer).unwrap();
    let video = stats.published.iter().find(|track| track.layers.len() == 3);
    for layer in &video.unwrap().layers {
        // The repair streams are told apart by repaired-rid alone.
        assert!(
            layer.repaired > 0 && layer.lost * 50 <= layer.repaired,
            "{layer:?}"
        );
    }
    let report = video_report(&sim, viewer);
    assert!(report.violations.is_empty(), "{report:?}");
    assert!(
        report.decodable_frames * 100 >= report.frames * 99,
        "{report:?}"
    );
}

#[test]
fn sequence_numbers_roll_over_under_loss() {
    let mut sim = Sim::new(311);
    let publisher = sim.client();
    sim.clients[publisher].begin_at(65_000);
    sim.clients[publisher].publish_audio();
    sim.clients[publisher].publish_video(Video::Simulcast);
    sim.join(publisher);
    let viewer = sim.viewer();
    sim.run(2 * SECOND);
    let lossy = PathModel {
        loss: 0.03,
        delay: Duration::from_millis(10),
        ..PathModel::LAN
    };
    sim.set_path(publisher, lossy);
    sim.set_path(viewer, lossy);
    // 720p sends 200 packets a second and rolls over in the third second, sound in the eleventh.
    sim.run(15 * SECOND);
    sim.set_path(publisher, PathModel::LAN);
    sim.set_path(viewer, PathModel::LAN);
    sim.run(2 * SECOND);
    let report = video_report(&sim, viewer);
    assert!(report.violations.is_empty(), "{report:?}");
    assert!(
        report.decodable_frames * 100 >= report.frames * 98,
        "{report:?}"
    );
    for (ssrc, report) in sim.clients[viewer].reports() {
        assert!(report.violations.is_empty(), "{ssrc:#x}: {report:?}");
    }
    assert_eq!(sim.relay.stats().drops.get(DropReason::SrtpAuthFailed), 0);
}

#[test]
fn sound_and_picture_stay_in_sync() {
    // Reports of audio and video are delayed differently; the publisher's clock is years ahead.
    let jittery = PathModel {
        jitter: Duration::from_millis(40),
        overtake: true,
        ..PathModel::LAN
    };
    let mut beyond = Vec::new();
    for seed in 312..352 {
        let mut sim = Sim::new(seed);
        let publisher = sim.participant(Video::Simulcast);
        let viewer = sim.viewer();
        sim.clients[publisher].up.set_model(jittery);
        for layers in [[true, true], [true, false], [false, false], [true, true]] {
            for (rid, active) in ["h", "f"].iter().zip(layers) {
                sim.clients[publisher].set_layer_active(rid, active);
            }
            sim.run(8 * SECOND);
            let ahead: Vec<f64> = sim.clients[viewer]
                .streams
                .values()
                .map(|stream| stream.ahead().expect("a sender report came"))
                .collect();
            assert_eq!(ahead.len(), 2);
            let apart = (ahead[0] - ahead[1]).abs();
            let what = format!("seed {seed}, {layers:?}: {apart} s apart");
            assert!(apart < 0.02, "{what}");
            beyond.extend((apart >= 0.012).then_some(what));
        }
    }
    // The comparison uses the least delayed of some packets on a path that delays each by up to 40 ms.
    assert!(beyond.len() <= 3, "{beyond:?}");
}
