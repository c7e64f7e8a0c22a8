//! Clients that change their address in the middle of a call.

use std::net::SocketAddr;
use std::time::Duration;

use tertulia_sfu::Event;
use tertulia_sfu::stats::SubscriptionStats;
use tertulia_sfu::testing::network::PathModel;

use crate::harness::{Sim, Video};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

fn elsewhere(host: u8) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, host], 4_000))
}

fn call(seed: u64) -> (Sim, usize, usize) {
    let mut sim = Sim::new(seed);
    let publisher = sim.participant(Video::Single);
    let viewer = sim.viewer();
    sim.run(3 * SECOND);
    (sim, publisher, viewer)
}

/// Both streams flow, no client failed, and the picture stood still for `freeze` at most.
fn assert_going_on(sim: &Sim, viewer: usize, freeze: Duration) {
    for (ssrc, stream) in &sim.clients[viewer].streams {
        let silent = sim.now - stream.last_at;
        assert!(silent < SECOND, "{ssrc:#x} silent for {silent:?}");
    }
    for (ssrc, report) in sim.clients[viewer].reports() {
        assert!(report.violations.is_empty(), "{ssrc:#x}: {report:?}");
        assert!(report.longest_freeze < freeze, "{ssrc:#x}: {report:?}");
    }
    let failed = |event: &Event| matches!(event, Event::PeerFailed { .. });
    assert!(!sim.events.iter().any(failed), "{:?}", sim.events);
    assert_eq!(sim.relay.stats().peers.len(), 2);
    assert_eq!(sim.relay.audit(), Vec::<String>::new());
}

#[test]
fn a_publisher_whose_nat_rebinds_is_heard_again() {
    let (mut sim, publisher, viewer) = call(500);
    sim.clients[publisher].rebind(elsewhere(1));
    sim.run(15 * SECOND);
    assert_going_on(&sim, viewer, 8 * SECOND);
}

#[test]
fn a_viewer_whose_nat_rebinds_is_sent_to_where_it_is() {
    let (mut sim, _, viewer) = call(501);
    sim.clients[viewer].rebind(elsewhere(2));
    sim.run(25 * SECOND);
    assert_going_on(&sim, viewer, 15 * SECOND);
    let peer = sim.clients[viewer].peer.unwrap();
    let stats = sim.relay.peer_stats(peer).unwrap();
    assert_eq!(stats.remote_addr, Some(elsewhere(2)));
}

/// A NAT that gives a client another port leaves its address. Media tells of it at once, the reports of a client that only
/// receives within a second or so, and checks later.
#[test]
fn whose_nat_gives_another_port_is_followed_at_once() {
    for (seed, moves_viewer, ms) in [(506, false, 100), (507, true, 1_500)] {
        let freeze = ms * MILLISECOND;
        let (mut sim, publisher, viewer) = call(seed);
        let moved = if moves_viewer { viewer } else { publisher };
        let peer = sim.clients[moved].peer.unwrap();
        let at = sim.relay.peer_stats(peer).unwrap().remote_addr.unwrap();
        let port = SocketAddr::new(at.ip(), 65_000);
        let before = sim.relay.stats();
        sim.clients[moved].rebind(port);
        sim.run(2 * SECOND);
        let stats = sim.relay.peer_stats(peer).unwrap();
        assert_eq!(stats.remote_addr, Some(port), "moves_viewer {moves_viewer}");
        assert_going_on(&sim, viewer, freeze);
        let after = sim.relay.stats();
        assert_eq!(after.addresses_rebound, before.addresses_rebound + 1);
        assert!(after.addresses_proven > before.addresses_proven);
        // The checks that follow change nothing any more.
        sim.run(20 * SECOND);
        assert_going_on(&sim, viewer, freeze);
        assert_eq!(sim.relay.stats().addresses_rebound, after.addresses_rebound);
    }
}

#[test]
fn a_viewer_that_roams_is_followed() {
    let (mut sim, _, viewer) = call(502);
    sim.clients[viewer].roam(elsewhere(3));
    sim.run(15 * SECOND);
    assert_going_on(&sim, viewer, 8 * SECOND);
}

#[test]
fn a_viewer_that_is_heard_again_is_sent_a_keyframe_before_it_asks() {
    let (mut sim, publisher, viewer) = call(504);
    assert_asked_after_an_outage(&mut sim, viewer, [publisher, viewer]);
}

#[test]
fn a_publisher_that_is_heard_again_is_asked_for_a_keyframe_before_a_viewer_asks() {
    let (mut sim, publisher, viewer) = call(505);
    assert_asked_after_an_outage(&mut sim, publisher, [publisher, viewer]);
}

/// Cuts `lost` off for three seconds. The relay asks for one keyframe when it is heard again.
fn assert_asked_after_an_outage(sim: &mut Sim, lost: usize, [publisher, viewer]: [usize; 2]) {
    // Browsers ask when they have waited for a picture for three seconds; this one never does.
    sim.clients[viewer].wants_pictures = false;
    let outage = PathModel {
        loss: 1.0,
        ..PathModel::LAN
    };
    sim.set_path(lost, outage);
    sim.run(3 * SECOND);
    let before = sim.clients[publisher].keyframe_requests;
    sim.set_path(lost, PathModel::LAN);
    sim.run(SECOND);
    assert_eq!(sim.clients[publisher].keyframe_requests, before + 1);
    assert_going_on(sim, viewer, 4 * SECOND);
}

#[test]
fn ice_restarts_by_a_later_offer_and_media_goes_on() {
    let (mut sim, publisher, viewer) = call(503);
    for client in [publisher, viewer] {
        sim.clients[client].restart_ice();
        sim.join(client);
        sim.run(2 * SECOND);
    }
    sim.run(35 * SECOND);
    assert_going_on(&sim, viewer, SECOND);
    let moved = elsewhere(4);
    sim.clients[viewer].roam(moved);
    sim.clients[viewer].restart_ice();
    sim.join(viewer);
    sim.run(10 * SECOND);
    assert_going_on(&sim, viewer, 5 * SECOND);
}

/// A receiver asks for everything that an outage has lost. What it needs is the present: repairs of the past would go
/// before it, and use up the repairs that a later loss needs.
#[test]
fn what_an_outage_has_lost_is_not_sent_after_it() {
    for (seed, kbit, seconds) in [(506, 400, 3), (507, 400, 8), (508, 1_500, 4)] {
        let mut sim = Sim::new(seed);
        let publisher = sim.participant(Video::Simulcast);
        sim.clients[publisher].auto_subscribe = false;
        let viewer = sim.viewer();
        let link = PathModel {
            rate: Some(kbit * 1_000),
            delay: 20 * MILLISECOND,
            queue: 300 * MILLISECOND,
            ..PathModel::LAN
        };
        sim.set_path(viewer, link);
        sim.run(12 * SECOND);
        // Browsers ask when they have waited for a picture for three seconds; this one never does.
        sim.clients[viewer].wants_pictures = false;
        let repairs = |sim: &Sim| {
            let peer = sim.clients[viewer].peer.unwrap();
            let subscriptions = sim.relay.peer_stats(peer).unwrap().subscriptions;
            let counts = |s: &SubscriptionStats| (s.nacks_received, s.retransmitted);
            let counts = subscriptions.iter().map(counts);
            counts.fold((0, 0), |sum, each| (sum.0 + each.0, sum.1 + each.1))
        };
        let pictures = |sim: &Sim| {
            let reports = sim.clients[viewer].reports().into_iter();
            let video = reports.filter(|(_, report)| report.dimensions.is_some());
            let counts = video.map(|(_, report)| report.decodable_frames);
            counts.sum::<u64>()
        };
        let cut = PathModel { loss: 1.0, ..link };
        sim.set_path(viewer, cut);
        sim.run(seconds * SECOND);
        let before = repairs(&sim);
        let shown = pictures(&sim);
        sim.set_path(viewer, link);
        sim.run(5 * SECOND);
        let what = format!("seed {seed}, {kbit} kbit/s, {seconds} s");
        let after = repairs(&sim);
        assert!(after.0 > before.0 + 20, "{what}: it does not ask");
        assert!(after.1 < before.1 + 5, "{what}: {before:?}, {after:?}");
        assert!(
            pictures(&sim) > shown + 75,
            "{what}: {shown} {}",
            pictures(&sim)
        );
        for (ssrc, report) in sim.clients[viewer].reports() {
            let freeze = report.longest_freeze;
            assert!(
                freeze < seconds * SECOND + SECOND / 2,
                "{what}: {ssrc:#x} {freeze:?}"
            );
        }
    }
}
