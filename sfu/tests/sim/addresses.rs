//! Addresses of clients: forged ones, shared ones, and clients that fall silent.

use std::net::SocketAddr;
use std::time::Duration;

use tertulia_sfu::DropReason;
use tertulia_sfu::testing::network::PathModel;

use crate::harness::{Sim, Video};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
/// Two checks of ours and the time until the next are in vain before media stops.
const SILENT: Duration = Duration::from_secs(18);

fn stranger(port: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 1], port))
}

/// A publisher, a viewer, and one more viewer who means ill.
fn call(seed: u64) -> (Sim, usize, usize, usize) {
    let mut sim = Sim::new(seed);
    let publisher = sim.participant(Video::Single);
    let (viewer, hostile) = (sim.viewer(), sim.viewer());
    sim.run(5 * SECOND);
    (sim, publisher, viewer, hostile)
}

#[test]
fn checks_from_a_forged_address_take_nothing_from_who_is_there() {
    let (mut sim, publisher, viewer, hostile) = call(600);
    let victims = [publisher, viewer].map(|client| sim.clients[client].seen_at());
    for round in 0..1_000_u16 {
        for victim in victims {
            sim.forge(hostile, victim);
        }
        // A sweep over the ports of one host, so that it forgets old addresses again and again.
        let mut swept = victims[1];
        swept.set_port(10_000 + round % 40);
        sim.forge(hostile, swept);
        sim.run(Duration::from_millis(10));
    }
    sim.run(2 * SECOND);
    sim.assert_clean(viewer, 2);
    let stats = sim.relay.stats();
    assert!(stats.address_claims_refused >= 2_000, "{stats:?}");
    for (client, victim) in [publisher, viewer].into_iter().zip(victims) {
        let peer = sim.clients[client].peer.unwrap();
        let stats = sim.relay.peer_stats(peer).unwrap();
        assert_eq!(stats.remote_addr, Some(victim));
        assert_eq!(stats.media_held, None);
    }
    assert_eq!(stats.drops.get(DropReason::UnknownAddress), 0);
    assert_eq!(sim.relay.audit(), Vec::<String>::new());
}

#[test]
fn media_does_not_follow_a_nomination_to_a_strangers_address() {
    let (mut sim, _, _, hostile) = call(601);
    let mut came = 0;
    for _ in 0..400 {
        came += sim.forge(hostile, stranger(9));
        sim.run(Duration::from_millis(50));
    }
    let went = sim.astray[&stranger(9)];
    assert!(went <= 3 * came, "{went} bytes for {came}");
    // Its media still goes to its own address.
    sim.assert_clean(hostile, 2);
}

/// The neighbour's keys do not open it. Nothing is sent there, and nobody is moved.
#[test]
fn media_of_a_stranger_behind_the_nat_of_others_is_dropped() {
    let (mut sim, publisher, viewer, _) = call(604);
    let port = |mut addr: SocketAddr, port| {
        addr.set_port(port);
        addr
    };
    let before = sim.relay.stats();
    let victims = [publisher, viewer].map(|client| sim.clients[client].seen_at());
    for round in 0..1_000_u32 {
        let mut packet = vec![0x80, 111];
        packet.extend((round as u16).to_be_bytes());
        packet.extend([0x5a; 80]);
        // RTP and RTCP.
        packet[1] = if round % 2 == 0 { 111 } else { 200 };
        for victim in victims {
            let from = port(victim, 40_000 + (round % 20_000) as u16);
            sim.inject(from, packet.clone());
        }
        sim.run(MILLISECOND);
    }
    let after = sim.relay.stats();
    let dropped =
        |stats: &tertulia_sfu::stats::WorkerStats| stats.drops.get(DropReason::UnknownAddress);
    assert_eq!(dropped(&after) - dropped(&before), 2_000);
    assert_eq!(after.addresses_rebound, 0);
    assert!(sim.astray.is_empty(), "{:?}", sim.astray);
    sim.run(SECOND);
    sim.assert_clean(viewer, 2);
    assert_eq!(sim.relay.audit(), Vec::<String>::new());
}

/// It cannot answer at the stranger's address, and is silent at its own. Without proof 4 Mbit/s would go on for as long
/// as it forges a check now and then.
#[test]
fn media_stops_for_who_says_nothing_but_checks() {
    let (mut sim, _, viewer, hostile) = call(602);
    let home = sim.clients[hostile].seen_at();
    sim.clients[hostile].frozen = true;
    for _ in 0..60 {
        sim.forge(hostile, stranger(9));
        sim.forge(hostile, home);
        sim.run(SILENT / 60);
    }
    let peer = sim.clients[hostile].peer.unwrap();
    let stats = sim.relay.peer_stats(peer).unwrap();
    assert_eq!(stats.media_held, Some("silent"));
    assert!(!stats.subscriptions.is_empty());
    for subscription in &stats.subscriptions {
        assert_eq!(subscription.reason, "unreachable");
        assert_eq!(subscription.layer, None);
    }
    let held: Vec<u64> = stats.subscriptions.iter().map(|s| s.packets).collect();
    for _ in 0..60 {
        sim.forge(hostile, stranger(9));
        sim.forge(hostile, home);
        sim.run(Duration::from_millis(200));
    }
    let stats = sim.relay.peer_stats(peer).unwrap();
    let sent: Vec<u64> = stats.subscriptions.iter().map(|s| s.packets).collect();
    assert_eq!(sent, held);
    assert_eq!(sim.relay.stats().media_held.get("silent"), Some(&1));
    sim.assert_clean(viewer, 2);

    // Media goes on when it answers again.
    sim.clients[hostile].frozen = false;
    let before = sim.clients[hostile].video().map(|(_, video)| video.packets);
    let back = sim.run_until(8 * SECOND, |sim| {
        let now = sim.clients[hostile].video().map(|(_, video)| video.packets);
        now > before
    });
    assert!(back.is_some(), "media goes on");
    sim.run(3 * SECOND);
    let stats = sim.relay.peer_stats(peer).unwrap();
    assert_eq!(stats.media_held, None);
    assert!(stats.subscriptions.iter().all(|s| s.reason == "best"));
    for (_, report) in sim.clients[hostile].reports() {
        assert!(report.violations.is_empty(), "{report:?}");
    }
}

/// Muted, alone, or with everything hidden: a viewer that is sent nothing has nothing to report.
#[test]
fn who_has_nothing_to_say_answers_checks() {
    let mut sim = Sim::new(603);
    let viewer = sim.viewer();
    sim.run(60 * SECOND);
    let publisher = sim.participant(Video::Single);
    sim.run(5 * SECOND);
    sim.assert_clean(viewer, 2);
    let stats = sim.relay.stats();
    assert!(stats.media_held.is_empty(), "{:?}", stats.media_held);
    assert!(!sim.clients[publisher].failed);
}

#[test]
fn media_follows_a_client_that_moves_within_a_round_trip() {
    let (mut sim, _, viewer, _) = call(604);
    sim.set_path(
        viewer,
        PathModel {
            delay: Duration::from_millis(50),
            ..PathModel::LAN
        },
    );
    sim.run(2 * SECOND);
    let elsewhere = SocketAddr::from(([198, 51, 100, 9], 4_000));
    sim.clients[viewer].nomination.clear();
    sim.clients[viewer].roam(elsewhere);
    let nominated = sim.run_until(10 * SECOND, |sim| {
        !sim.clients[viewer].nomination.is_empty()
    });
    assert!(nominated.is_some(), "it nominates");
    let packets = |sim: &Sim| -> u64 {
        let streams = sim.clients[viewer].streams.values();
        streams.map(|stream| stream.packets).sum()
    };
    let before = packets(&sim);
    // The nomination, our check, its answer, and the media: two round trips of 100 ms and a frame.
    let followed = sim.run_until(SECOND, |sim| packets(sim) > before);
    let followed = followed.expect("media follows");
    assert!(followed < Duration::from_millis(300), "{followed:?}");
}

/// A NAT or a host that puts several clients behind one port: their keys tell them apart.
#[test]
fn two_clients_at_one_address_are_both_served() {
    let mut sim = Sim::new(605);
    let publisher = sim.participant(Video::Single);
    let first = sim.participant(Video::Single);
    sim.run(5 * SECOND);
    let shared = sim.clients[first].seen_at();
    let second = sim.client();
    sim.clients[second].publish_audio();
    sim.clients[second].receive(1, 1);
    sim.clients[second].rebind(shared);
    sim.join(second);
    sim.run(20 * SECOND);
    for (ssrc, report) in sim.clients[first].reports() {
        assert!(report.violations.is_empty(), "{ssrc:#x}: {report:?}");
        assert_eq!(report.lost, 0, "{ssrc:#x}: {report:?}");
    }
    for client in [first, second] {
        assert!(sim.clients[client].connected_at.is_some());
        let (_, video) = sim.clients[client].video().expect("a picture");
        assert!(sim.now - video.last_at < SECOND, "client {client}");
        let peer = sim.clients[client].peer.unwrap();
        let stats = sim.relay.peer_stats(peer).unwrap();
        assert_eq!(stats.remote_addr, Some(shared));
        assert_eq!(stats.media_held, None);
        let sent = stats.published.iter().flat_map(|track| &track.layers);
        assert!(sent.map(|layer| layer.lost).sum::<u64>() == 0);
    }
    // Packets of each of them are accepted.
    let heard = sim.clients[publisher].reports().len();
    assert_eq!(heard, 3, "two microphones and a camera");
    // A client that leaves takes no other's address with it.
    let peer = sim.clients[first].peer.unwrap();
    sim.relay.close_peer(sim.now, peer);
    let before = sim.clients[second]
        .streams
        .values()
        .map(|s| s.packets)
        .max();
    sim.run(3 * SECOND);
    let after = sim.clients[second]
        .streams
        .values()
        .map(|s| s.packets)
        .max();
    assert!(after > before);
    assert_eq!(sim.relay.audit(), Vec::<String>::new());
}
