//! Audio on paths that lose packets: it is sent twice to viewers that lose some and take it so, and to no others.

use std::time::Duration;

use tertulia_sfu::stats::PeerStats;
use tertulia_sfu::testing::network::PathModel;

use crate::harness::{Client, Sim, Video};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Two people who are heard, and seen if `video`, by one.
struct Call {
    sim: Sim,
    viewer: usize,
}

impl Call {
    fn new(seed: u64, video: bool, takes_redundancy: bool, down: PathModel) -> Self {
        Self::with(seed, video, down, |viewer| {
            if takes_redundancy {
                viewer.takes_redundancy();
            }
        })
    }

    fn with(seed: u64, video: bool, down: PathModel, prepare: impl Fn(&mut Client)) -> Self {
        let mut sim = Sim::new(seed);
        for _ in 0..2 {
            let publisher = sim.client();
            sim.clients[publisher].publish_audio();
            if video {
                sim.clients[publisher].publish_video(Video::Simulcast);
                sim.clients[publisher].encodes_as_browsers();
            }
            sim.join(publisher);
        }
        sim.run(2 * SECOND);
        let viewer = sim.client();
        sim.clients[viewer].tolerates_lost_start = true;
        prepare(&mut sim.clients[viewer]);
        sim.clients[viewer].receive(2, if video { 2 } else { 0 });
        sim.join(viewer);
        sim.clients[viewer].up.set_model(PathModel {
            delay: down.delay,
            ..PathModel::CLEAR
        });
        sim.clients[viewer].down.set_model(down);
        Self { sim, viewer }
    }

    fn stats(&self) -> PeerStats {
        let peer = self.sim.clients[self.viewer].peer;
        let stats = self.sim.relay.peer_stats(peer.expect("it has joined"));
        stats.expect("it is there")
    }

    /// Packets with a copy of the one before.
    fn redundant(&self) -> u64 {
        let stats = self.stats();
        stats.subscriptions.iter().map(|told| told.redundant).sum()
    }

    /// The share of audio missed within a time from now on.
    fn missed(&mut self, time: Duration) -> f64 {
        let from = self.sim.now;
        self.sim.run(time);
        let until = self.sim.now - SECOND;
        let streams = self.sim.clients[self.viewer].streams.values();
        let (mut missed, mut all) = (Duration::ZERO, Duration::ZERO);
        for stream in streams {
            let (of, whole) = stream.hearing.missed(from, until);
            (missed, all) = (missed + of, all + whole);
        }
        assert!(all > time, "two are heard: {all:?} in {time:?}");
        missed.as_secs_f64() / all.as_secs_f64()
    }
}

fn lossy(loss: f64, delay: Duration) -> PathModel {
    PathModel {
        loss,
        delay,
        ..PathModel::CLEAR
    }
}

#[test]
fn sound_survives_loss_where_it_is_sent_twice() {
    for (seed, (loss, delay)) in [(0.02, 30), (0.02, 100), (0.05, 30), (0.05, 100)]
        .into_iter()
        .enumerate()
    {
        let what = format!("{loss} lost, {delay} ms");
        let mut call = Call::new(700 + seed as u64, false, true, lossy(loss, delay * MS));
        call.sim.run(8 * SECOND);
        assert_eq!(call.stats().bandwidth.redundancy, "sent", "{what}");
        let before = call.redundant();
        let missed = call.missed(30 * SECOND);
        // Lost are the packet and the one with its copy: 0.04% and 0.25%.
        assert!(missed < 0.007, "{what}: {missed}");
        let copied = call.redundant() - before;
        assert!(copied > 2_800, "{what}: {copied} of 3,000");
        for (_, report) in call.sim.clients[call.viewer].reports() {
            assert!(report.violations.is_empty(), "{what}: {report:?}");
        }
    }
}

#[test]
fn who_does_not_take_it_is_sent_sound_once() {
    let mut call = Call::new(710, false, false, lossy(0.05, 30 * MS));
    call.sim.run(8 * SECOND);
    assert_eq!(call.stats().bandwidth.redundancy, "not_negotiated");
    let missed = call.missed(20 * SECOND);
    assert!(missed > 0.03, "{missed}");
    assert_eq!(call.redundant(), 0);
}

#[test]
fn a_path_that_loses_nothing_is_not_sent_it_nor_one_that_lost_long_ago() {
    let mut call = Call::new(720, false, true, lossy(0.0, 30 * MS));
    call.sim.run(10 * SECOND);
    assert_eq!(call.redundant(), 0);
    assert_eq!(call.stats().bandwidth.redundancy, "no_loss");
    call.sim.clients[call.viewer]
        .down
        .set_model(lossy(0.03, 30 * MS));
    call.sim.run(10 * SECOND);
    assert_eq!(call.stats().bandwidth.redundancy, "sent");
    call.sim.clients[call.viewer]
        .down
        .set_model(lossy(0.0, 30 * MS));
    call.sim.run(50 * SECOND);
    assert_eq!(call.stats().bandwidth.redundancy, "no_loss");
    let before = call.redundant();
    let missed = call.missed(5 * SECOND);
    assert_eq!((missed, call.redundant()), (0.0, before));
}

#[test]
fn a_link_without_room_for_it_is_not_sent_it() {
    let narrow = PathModel {
        rate: Some(150_000),
        queue: 300 * MS,
        ..lossy(0.03, 30 * MS)
    };
    let mut call = Call::new(730, true, true, narrow);
    call.sim.run(20 * SECOND);
    let before = call.redundant();
    call.sim.run(20 * SECOND);
    let stats = call.stats();
    assert_eq!(stats.bandwidth.redundancy, "bandwidth", "{stats:?}");
    assert_eq!(call.redundant(), before, "{stats:?}");
}

#[test]
fn sound_is_sent_again_to_who_asks_for_it_and_is_near() {
    let down = lossy(0.05, 10 * MS);
    let mut call = Call::with(740, false, down, |viewer| viewer.repairs_sound = true);
    call.sim.run(5 * SECOND);
    let missed = call.missed(20 * SECOND);
    let again: u64 = call
        .stats()
        .subscriptions
        .iter()
        .map(|told| told.retransmitted)
        .sum();
    // It comes in time if the round trip is shorter than a player's wait.
    assert!(missed < 0.025, "{missed}, {again} again");
    assert!(again > 50, "{again}");
}

#[test]
fn sound_that_its_publisher_lost_is_asked_for_again() {
    let mut sim = Sim::new(750);
    let publisher = sim.client();
    sim.clients[publisher].repairs_sound = true;
    sim.clients[publisher].publish_audio();
    sim.join(publisher);
    let viewer = sim.client();
    sim.clients[viewer].receive(1, 0);
    sim.join(viewer);
    sim.run(2 * SECOND);
    sim.clients[publisher].up.set_model(lossy(0.05, 10 * MS));
    sim.run(20 * SECOND);
    let peer = sim.clients[publisher].peer.expect("it has joined");
    let stats = sim.relay.peer_stats(peer).expect("it is there");
    // `str0m` sends nothing again without RTX (RFC 4588), which there is none of for sound.
    let asked = stats.published[0].layers[0].nacks_sent;
    assert!(asked > 20, "{asked}");
}
