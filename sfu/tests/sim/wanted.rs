//! Encodings without viewers cost nothing: they are off at their publishers.

use std::time::Duration;

use tertulia_sfu::testing::SimSharing;
use tertulia_sfu::{Event, Reason, TrackId, View};

use crate::harness::{Sim, Video};

const SECOND: Duration = Duration::from_secs(1);

/// A publisher that obeys, of three layers.
fn publisher(sim: &mut Sim) -> (usize, TrackId) {
    let index = sim.participant(Video::Simulcast);
    sim.clients[index].obeys = true;
    let track = sim.clients[index].published[1];
    (index, track)
}

fn shows(sim: &mut Sim, viewer: usize, track: TrackId, height: u16) {
    let view = View::of(track).with_visible(height > 0).with_height(height);
    let (now, peer) = (sim.now, sim.clients[viewer].peer.unwrap());
    sim.relay.set_views(now, peer, &[view]).unwrap();
}

fn layer(sim: &Sim, viewer: usize, track: TrackId) -> Option<usize> {
    let peer = sim.clients[viewer].peer.unwrap();
    let stats = sim.relay.peer_stats(peer).unwrap();
    let mut sent = stats.subscriptions.into_iter();
    sent.find(|sent| sent.track == track).unwrap().layer
}

fn until_asked(sim: &mut Sim, publisher: usize, asked: [bool; 3]) -> Duration {
    let limit = 5 * SECOND;
    let took = sim.run_until(limit, |sim| sim.clients[publisher].asked == asked);
    took.unwrap_or_else(|| panic!("still asked for {:?}", sim.clients[publisher].asked))
}

fn until_layer(sim: &mut Sim, viewer: usize, track: TrackId, wanted: usize) -> Duration {
    let limit = 5 * SECOND;
    let took = sim.run_until(limit, |sim| layer(sim, viewer, track) == Some(wanted));
    took.unwrap_or_else(|| panic!("still sent {:?}", layer(sim, viewer, track)))
}

/// Runs a test on one worker, and with each peer on its own.
fn both(seed: u64, test: impl Fn(Sim)) {
    test(Sim::new(seed));
    test(Sim::sharing(seed, 2, SimSharing::default()));
}

#[test]
fn encodings_unseen_are_off_within_two_seconds_and_back_with_a_keyframe() {
    both(1_000, |mut sim| {
        let (publisher, track) = publisher(&mut sim);
        let viewer = sim.viewer();
        sim.run(3 * SECOND);
        assert_eq!(layer(&sim, viewer, track), Some(2));
        assert_eq!(sim.clients[publisher].asked, [true, false, true]);

        shows(&mut sim, viewer, track, 180);
        let took = until_asked(&mut sim, publisher, [true, false, false]);
        assert!(took < 2 * SECOND, "{took:?}");
        sim.run(5 * SECOND);
        assert_eq!(layer(&sim, viewer, track), Some(0));
        let stats = sim.relay.peer_stats(sim.clients[publisher].peer.unwrap());
        let published = stats.unwrap().published.remove(1);
        let alive: Vec<bool> = published.layers.iter().map(|layer| layer.alive).collect();
        assert_eq!(alive, [true, false, false]);
        assert!(!published.layers[2].wanted);
        assert_eq!(published.layers[2].bitrate, 0, "nothing comes");

        shows(&mut sim, viewer, track, 720);
        let took = until_layer(&mut sim, viewer, track, 2);
        assert!(took < SECOND / 2, "{took:?}");
        until_asked(&mut sim, publisher, [true, false, true]);
        sim.run(2 * SECOND);
        sim.assert_clean(viewer, 2);
        assert_eq!(sim.relay.audit(), Vec::<String>::new());
    });
}

#[test]
fn what_nobody_shows_is_off_altogether() {
    both(1_001, |mut sim| {
        let (publisher, track) = publisher(&mut sim);
        let viewer = sim.viewer();
        sim.run(3 * SECOND);
        shows(&mut sim, viewer, track, 0);
        let took = until_asked(&mut sim, publisher, [false; 3]);
        assert!(took < 2 * SECOND, "{took:?}");
        sim.run(5 * SECOND);
        shows(&mut sim, viewer, track, 360);
        let took = until_layer(&mut sim, viewer, track, 1);
        assert!(took < SECOND / 2, "{took:?}");

        let (now, peer) = (sim.now, sim.clients[viewer].peer.unwrap());
        sim.relay.close_peer(now, peer);
        let took = until_asked(&mut sim, publisher, [false; 3]);
        assert!(took < 2 * SECOND, "{took:?}");
        sim.run(3 * SECOND);
        let late = sim.viewer();
        let took = until_layer(&mut sim, late, track, 2);
        assert!(took < SECOND, "{took:?}");
        sim.run(SECOND);
        sim.assert_clean(late, 2);
        assert_eq!(sim.relay.audit(), Vec::<String>::new());
    });
}

#[test]
fn viewers_of_different_layers_keep_both_on() {
    let mut sim = Sim::sharing(1_002, 2, SimSharing::default());
    let (publisher, track) = publisher(&mut sim);
    let viewers = [sim.viewer(), sim.viewer(), sim.viewer()];
    sim.run(2 * SECOND);
    for (viewer, height) in viewers.into_iter().zip([180, 720, 180]) {
        shows(&mut sim, viewer, track, height);
    }
    until_asked(&mut sim, publisher, [true, false, true]);
    sim.run(5 * SECOND);
    assert_eq!(sim.clients[publisher].asked, [true, false, true]);
    assert_eq!(layer(&sim, viewers[1], track), Some(2));
    assert_eq!(layer(&sim, viewers[2], track), Some(0));
}

#[test]
fn a_layer_that_does_not_come_back_is_given_up_for_the_best_that_does() {
    let mut sim = Sim::new(1_003);
    let (publisher, track) = publisher(&mut sim);
    let viewer = sim.viewer();
    sim.run(2 * SECOND);
    shows(&mut sim, viewer, track, 180);
    until_asked(&mut sim, publisher, [true, false, false]);
    sim.run(3 * SECOND);
    // Its link carries only the smallest, whatever it is asked for.
    let asked = |event: &Event| match event {
        Event::LayersWanted { layers, .. } => {
            Some(layers.iter().map(|layer| layer.active).collect::<Vec<_>>())
        }
        _ => None,
    };
    let before = sim.events.len();
    sim.clients[publisher].obeys = false;
    shows(&mut sim, viewer, track, 720);
    sim.run(10 * SECOND);
    assert_eq!(layer(&sim, viewer, track), Some(0));
    let (_, stream) = sim.clients[viewer].video().unwrap();
    assert!(sim.now - stream.last_at < SECOND / 10, "goes on as it was");
    let asked: Vec<_> = sim.events.iter().skip(before).filter_map(asked).collect();
    assert!(asked.len() <= 4, "nobody is asked for ever: {asked:?}");
    // The link carries more again.
    sim.clients[publisher].set_layer_active("f", true);
    until_layer(&mut sim, viewer, track, 2);
}

/// Its publisher's own estimate keeps an encoding off that was asked for.
#[test]
fn an_encoding_that_does_not_come_is_told_as_its_publishers_within_a_second() {
    for comes_after in [None, Some(1_800), Some(300), Some(700)] {
        let mut sim = Sim::new(1_010);
        let (publisher, track) = publisher(&mut sim);
        let viewer = sim.viewer();
        sim.run(3 * SECOND);
        shows(&mut sim, viewer, track, 180);
        until_asked(&mut sim, publisher, [true, false, false]);
        sim.run(2 * SECOND);
        sim.clients[publisher].obeys = false;
        let before = sim.events.len();
        let peer = sim.clients[viewer].peer.unwrap();
        let told = |sim: &Sim| -> Vec<(Option<u8>, Reason)> {
            let events = sim.events[before..].iter();
            let of_viewer = events.filter_map(|event| match event {
                Event::SubscriptionsChanged {
                    peer: of,
                    subscriptions,
                    ..
                } if *of == peer => subscriptions.first(),
                _ => None,
            });
            of_viewer.map(|told| (told.layer, told.reason)).collect()
        };
        shows(&mut sim, viewer, track, 720);
        sim.run(Duration::from_millis(comes_after.unwrap_or(1_200)));
        let (best, late) = ((Some(2), Reason::Best), (Some(0), Reason::Publisher));
        if comes_after.is_none_or(|ms| ms > 1_000) {
            assert_eq!(told(&sim), [best, late], "{comes_after:?}");
        }
        match comes_after {
            Some(ms) => {
                sim.clients[publisher].set_layer_active("f", true);
                sim.run(2 * SECOND);
                let expected = if ms < 1_000 {
                    vec![best]
                } else {
                    vec![best, late, best]
                };
                assert_eq!(told(&sim), expected, "{ms}");
                assert_eq!(layer(&sim, viewer, track), Some(2));
            }
            None => {
                sim.run(5 * SECOND);
                let told = told(&sim);
                assert!(!told[2..].contains(&best), "{told:?}");
                assert_eq!(told.last().map(|told| told.1), Some(Reason::Publisher));
            }
        }
    }
}
