//! Calls on a good network: joining, switching, leaving.

use std::time::Duration;

use tertulia_sfu::{DropReason, Event, Limit, Limits, PeerFailure, SfuError};

use crate::harness::{Sim, Video};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn three_participants_see_and_hear_each_other() {
    let mut sim = Sim::new(1);
    for _ in 0..3 {
        sim.participant(Video::Simulcast);
    }
    sim.run(5 * SECOND);
    for client in 0..3 {
        assert!(
            sim.clients[client].connected_at.is_some(),
            "client {client} is connected"
        );
        sim.assert_clean(client, 4);
    }
    let live = sim
        .events
        .iter()
        .filter(|event| matches!(event, Event::TrackLive { .. }))
        .count();
    assert_eq!(live, 6);
    for peer in sim.relay.stats().peers {
        assert_eq!(peer.srtp_profile, Some("AEAD_AES_256_GCM"));
        for track in &peer.published {
            let bytes: Vec<u64> = track.layers.iter().map(|layer| layer.bytes).collect();
            assert!(bytes.is_sorted(), "layers by their RIDs: {track:?}");
        }
        for subscription in peer.subscriptions {
            let top = if subscription.bytes > 200_000 {
                Some(2)
            } else {
                Some(0)
            };
            assert_eq!(subscription.layer, top, "{subscription:?}");
        }
    }
    assert_eq!(sim.relay.stats().drops.get(DropReason::SrtpAuthFailed), 0);
}

#[test]
fn packets_padded_to_one_length_stay_whole() {
    let mut sim = Sim::new(70);
    for _ in 0..6 {
        sim.participant(Video::Simulcast);
    }
    sim.run(5 * SECOND);
    for client in 0..6 {
        sim.assert_clean(client, 10);
    }
    let stats = sim.relay.stats();
    assert!(stats.padding_bytes > 0, "streams met and were padded");
    assert!(
        stats.padding_bytes < stats.bytes_sent / 50,
        "by little: {} of {}",
        stats.padding_bytes,
        stats.bytes_sent
    );
    assert_eq!(stats.drops.get(DropReason::SealFailed), 0);
}

#[test]
fn a_late_viewer_sees_a_keyframe_within_a_second() {
    let mut sim = Sim::new(2);
    sim.participant(Video::Single);
    sim.run(10 * SECOND);
    let viewer = sim.viewer();
    let took = sim.run_until(3 * SECOND, |sim| {
        let reports = sim.clients[viewer].reports();
        reports.len() == 2
            && reports
                .iter()
                .all(|(_, report)| report.decodable_frames > 0)
    });
    assert!(took.is_some_and(|took| took < SECOND), "{took:?}");
    sim.run(SECOND);
    sim.assert_clean(viewer, 2);
}

#[test]
fn a_layer_that_its_publisher_stops_is_replaced_and_comes_back() {
    let mut sim = Sim::new(3);
    let publisher = sim.participant(Video::Simulcast);
    let viewer = sim.viewer();
    sim.run(3 * SECOND);
    let layer = |sim: &Sim| {
        let peer = sim.clients[viewer].peer.unwrap();
        let stats = sim.relay.peer_stats(peer).unwrap();
        stats
            .subscriptions
            .iter()
            .find(|s| s.bytes > 200_000)
            .unwrap()
            .layer
    };
    assert_eq!(layer(&sim), Some(2));
    sim.clients[publisher].set_layer_active("f", false);
    sim.run(4 * SECOND);
    assert_eq!(layer(&sim), Some(1));
    sim.clients[publisher].set_layer_active("f", true);
    sim.run(3 * SECOND);
    assert_eq!(layer(&sim), Some(2));
    sim.assert_clean(viewer, 2);
}

#[test]
fn who_was_there_first_begins_with_the_first_keyframe_of_the_lowest_layer() {
    // All layers begin with one, in an order that the client chooses: in some of these runs the upper layer's comes in
    // the middle of a lower layer's. Each step up takes another, once the link has shown that it carries it.
    for seed in 50..62 {
        let mut sim = Sim::new(seed);
        let viewer = sim.viewer();
        sim.run(SECOND);
        let publisher = sim.participant(Video::Simulcast);
        sim.run(2 * SECOND);
        let peer = sim.clients[viewer].peer.unwrap();
        let stats = sim.relay.peer_stats(peer).unwrap();
        let layers: Vec<_> = stats.subscriptions.iter().map(|s| s.layer).collect();
        let requests = sim.clients[publisher].keyframe_requests;
        assert_eq!(layers.iter().max(), Some(&Some(2)), "seed {seed}");
        assert!(requests <= 2, "seed {seed}: {requests}");
        sim.assert_clean(viewer, 2);
    }
}

#[test]
fn slots_are_pointed_at_other_tracks_without_renegotiation() {
    let mut sim = Sim::new(4);
    let first = sim.participant(Video::Single);
    let second = sim.participant(Video::Single);
    sim.run(3 * SECOND);
    let viewer = sim.client();
    sim.clients[viewer].follows_needs = false;
    sim.clients[viewer].receive(1, 1);
    sim.join(viewer);
    sim.run(3 * SECOND);
    assert_eq!(sim.clients[viewer].streams.len(), 2);
    let offers_before = sim.clients[viewer].slots.clone();
    let peer = sim.clients[first].peer.unwrap();
    let now = sim.now;
    sim.relay.close_peer(now, peer);
    sim.run(3 * SECOND);
    // The second participant's tracks took the freed slots, under the same SSRCs.
    let tracks = sim.clients[second].published.clone();
    let moved: Vec<_> = sim
        .events
        .iter()
        .filter_map(|event| match event {
            Event::SlotsChanged { slots, .. } => Some(slots.clone()),
            _ => None,
        })
        .flatten()
        .filter(|slot| slot.track.is_some_and(|track| tracks.contains(&track)))
        .filter(|slot| offers_before.iter().any(|before| before.mid == slot.mid))
        .collect();
    assert!(moved.len() >= 2, "{moved:?}");
    assert!(
        sim.clients[viewer]
            .streams
            .values()
            .all(|stream| sim.now - stream.last_at < SECOND)
    );
    sim.assert_clean(viewer, 2);
}

#[test]
fn a_peer_that_vanishes_is_noticed_and_leaves_nothing() {
    let mut sim = Sim::new(5);
    let publisher = sim.participant(Video::Single);
    let viewer = sim.viewer();
    sim.run(3 * SECOND);
    sim.clients[publisher].frozen = true;
    sim.run(40 * SECOND);
    let failed = sim.events.iter().find_map(|event| match event {
        Event::PeerFailed { peer, reason, .. } => Some((*peer, *reason)),
        _ => None,
    });
    assert_eq!(
        failed,
        Some((
            sim.clients[publisher].peer.unwrap(),
            PeerFailure::ConsentExpired
        ))
    );
    let ended = sim
        .events
        .iter()
        .filter(|event| matches!(event, Event::TrackEnded { .. }))
        .count();
    assert_eq!(ended, 2);
    let stats = sim.relay.stats();
    assert_eq!(stats.peers.len(), 1);
    assert_eq!(Some(stats.peers[0].peer), sim.clients[viewer].peer);
    assert!(stats.peers[0].subscriptions.is_empty());
}

#[test]
fn a_client_that_offers_and_sends_nothing_is_given_up() {
    let mut sim = Sim::new(6);
    let silent = sim.client();
    sim.clients[silent].publish_audio();
    sim.clients[silent].frozen = true;
    sim.join(silent);
    sim.run(35 * SECOND);
    let reason = sim.events.iter().find_map(|event| match event {
        Event::PeerFailed { reason, .. } => Some(*reason),
        _ => None,
    });
    assert_eq!(reason, Some(PeerFailure::NeverConnected));
    assert!(sim.relay.stats().peers.is_empty());
}

#[test]
fn a_full_room_refuses_and_keeps_nothing() {
    let mut limits = Limits::default();
    limits.peers_per_room = 2;
    let mut sim = Sim::with_limits(7, limits);
    sim.viewer();
    sim.viewer();
    let third = sim.client();
    sim.clients[third].receive(1, 1);
    let (offer, _) = sim.clients[third].offer();
    let refused = sim.relay.join(sim.now, sim.room, &offer, true).unwrap_err();
    assert_eq!(
        refused,
        SfuError::Limit {
            what: Limit::PeersPerRoom,
            limit: 2
        }
    );
    assert_eq!(sim.relay.stats().peers.len(), 2);
}

#[test]
fn twenty_join_at_once_and_all_receive_all() {
    let mut sim = Sim::new(8);
    for _ in 0..4 {
        sim.participant(Video::Single);
    }
    for _ in 0..16 {
        sim.viewer();
    }
    sim.run(5 * SECOND);
    for client in 0..20 {
        let streams = if client < 4 { 6 } else { 8 };
        sim.assert_clean(client, streams);
    }
}
