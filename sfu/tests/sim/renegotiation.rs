//! Offers in the middle of a call, and subscriptions one by one.

use std::time::Duration;

use str0m::media::MediaKind;
use tertulia_sfu::{Event, SfuError, TrackId};

use crate::harness::{Sim, Video};

const SECOND: Duration = Duration::from_secs(1);

/// The tracks in a client's slots, as the client was told.
fn carried(sim: &Sim, client: usize) -> Vec<TrackId> {
    let slots = sim.clients[client].slots.iter();
    slots.filter_map(|slot| slot.track).collect()
}

fn assert_sound(sim: &Sim) {
    assert_eq!(sim.relay.audit(), Vec::<String>::new());
}

#[test]
fn a_camera_is_unpublished_and_published_again() {
    let mut sim = Sim::new(600);
    let publisher = sim.participant(Video::Single);
    let viewer = sim.viewer();
    sim.run(3 * SECOND);
    let first = sim.clients[publisher].published.clone();
    assert_eq!(carried(&sim, viewer), first);

    sim.clients[publisher].unpublish(MediaKind::Video);
    sim.join(publisher);
    sim.run(SECOND);
    assert_sound(&sim);
    assert_eq!(carried(&sim, viewer), first[..1]);
    let ended =
        |event: &&Event| matches!(event, Event::TrackEnded { track, .. } if *track == first[1]);
    assert_eq!(sim.events.iter().filter(ended).count(), 1);
    let before = sim.clients[viewer].video().unwrap().1.packets;
    sim.run(SECOND);
    assert_eq!(sim.clients[viewer].video().unwrap().1.packets, before);

    sim.clients[publisher].publish_video(Video::Single);
    sim.join(publisher);
    sim.run(3 * SECOND);
    assert_sound(&sim);
    // It is on another m-line of the publisher, and so another track; in the viewer it is in the
    // same slot.
    let second = sim.clients[publisher].published.clone();
    assert_eq!(second.len(), 2);
    assert_ne!(second[1], first[1]);
    assert_eq!(carried(&sim, viewer), second);
    assert!(sim.clients[viewer].video().unwrap().1.packets > before);
    sim.assert_clean(viewer, 2);
}

#[test]
fn an_m_line_is_published_on_again() {
    for (seed, video) in [(603, Video::Single), (604, Video::Simulcast)] {
        let mut sim = Sim::new(seed);
        let publisher = sim.participant(video);
        let viewer = sim.viewer();
        sim.run(3 * SECOND);
        let first = sim.clients[publisher].published.clone();
        for round in 0..3 {
            sim.clients[publisher].unpublish(MediaKind::Video);
            sim.join(publisher);
            sim.run(2 * SECOND);
            let now = sim.now;
            let before = sim.clients[viewer].video().unwrap().1.packets;
            sim.clients[publisher].republish(now);
            sim.join(publisher);
            sim.run(3 * SECOND);
            assert_sound(&sim);
            let again = sim.clients[publisher].published.clone();
            assert!(
                again[1] != first[1],
                "the track that ended does not come back"
            );
            assert_eq!(carried(&sim, viewer), again, "{video:?}, round {round}");
            assert!(sim.clients[viewer].video().unwrap().1.packets > before + 50);
        }
        sim.assert_clean(viewer, 2);
    }
}

/// aiortc keeps its transport, and is answered with the description of it that it knows.
#[test]
fn a_client_that_stops_every_m_line_goes_on_over_the_transport_it_kept() {
    let mut sim = Sim::new(605);
    sim.participant(Video::Single);
    let viewer = sim.viewer();
    sim.run(3 * SECOND);
    let peer = sim.clients[viewer].peer.unwrap();
    sim.clients[viewer].receive(1, 1);
    let (offer, _) = sim.clients[viewer].offer();
    let stopped = offer.replace("m=audio 9 ", "m=audio 0 ");
    let stopped = stopped.replace("m=video 9 ", "m=video 0 ");
    let received = |sim: &Sim| sim.clients[viewer].datagram_bytes;
    for round in 0..2 {
        let answer = sim.relay.offer(sim.now, peer, &stopped).unwrap();
        assert!(answer.slots.is_empty());
        sim.run(SECOND);
        let before = received(&sim);
        // This is longer than consent lasts.
        sim.run(40 * SECOND);
        let checks = received(&sim) - before;
        assert!((1..10_000).contains(&checks), "{checks} in round {round}");

        let before = received(&sim);
        let answer = sim.relay.offer(sim.now, peer, &offer).unwrap();
        assert_eq!(answer.slots.len(), 4);
        sim.run(SECOND);
        let came = received(&sim) - before;
        assert!(came > 30_000, "{came} in round {round}");
        assert_sound(&sim);
    }
    let failed = |event: &&Event| matches!(event, Event::PeerFailed { .. });
    assert_eq!(sim.events.iter().find(failed), None);
}

#[test]
fn subscriptions_come_and_go_one_by_one() {
    let mut sim = Sim::new(601);
    let publishers = [
        sim.participant(Video::Single),
        sim.participant(Video::Single),
    ];
    let tracks: Vec<TrackId> = publishers
        .iter()
        .flat_map(|publisher| sim.clients[*publisher].published.clone())
        .collect();
    let viewer = sim.client();
    sim.clients[viewer].auto_subscribe = false;
    sim.clients[viewer].receive(1, 1);
    sim.join(viewer);
    sim.run(2 * SECOND);
    assert_eq!(carried(&sim, viewer), []);
    assert!(sim.clients[viewer].streams.is_empty());

    let peer = sim.clients[viewer].peer.unwrap();
    let now = sim.now;
    for track in [tracks[1], tracks[1]] {
        sim.relay.subscribe(now, peer, track).unwrap();
    }
    sim.run(2 * SECOND);
    assert_sound(&sim);
    assert_eq!(carried(&sim, viewer), [tracks[1]]);
    assert_eq!(sim.clients[viewer].streams.len(), 1);

    // The slot is taken: the next camera waits for a second m-line, which the relay asks for.
    let now = sim.now;
    sim.relay.subscribe(now, peer, tracks[3]).unwrap();
    sim.run(2 * SECOND);
    assert_sound(&sim);
    assert_eq!(carried(&sim, viewer).len(), 2);
    assert_eq!(sim.clients[viewer].streams.len(), 2);

    let now = sim.now;
    sim.relay.unsubscribe(now, peer, tracks[1]).unwrap();
    sim.relay.unsubscribe(now, peer, tracks[0]).unwrap();
    sim.run(2 * SECOND);
    assert_sound(&sim);
    assert_eq!(carried(&sim, viewer), [tracks[3]]);
    let silent = sim.clients[viewer].streams.values();
    let silent = silent.filter(|stream| sim.now - stream.last_at > SECOND);
    assert_eq!(silent.count(), 1);

    // It returns into the slot that was freed.
    let now = sim.now;
    sim.relay.subscribe(now, peer, tracks[1]).unwrap();
    sim.run(2 * SECOND);
    sim.assert_clean(viewer, 2);

    let own = sim.clients[publishers[0]].peer.unwrap();
    let now = sim.now;
    let refused = sim.relay.subscribe(now, own, tracks[0]);
    assert_eq!(
        refused,
        Err(SfuError::NoSuchTrack),
        "nobody hears themselves"
    );
}

#[test]
fn a_call_that_ends_leaves_nothing() {
    let mut sim = Sim::new(602);
    for _ in 0..3 {
        sim.participant(Video::Simulcast);
    }
    sim.viewer();
    sim.run(3 * SECOND);
    let leaver = sim.clients[1].peer.unwrap();
    let now = sim.now;
    sim.relay.close_peer(now, leaver);
    sim.run(SECOND);
    assert_sound(&sim);
    assert_eq!(sim.relay.stats().peers.len(), 3);
    let now = sim.now;
    sim.relay.close_room(now, sim.room);
    sim.run(SECOND);
    assert_eq!(sim.relay.holdings(), 0);
    assert_sound(&sim);
}
