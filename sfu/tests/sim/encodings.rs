//! The order of encodings, whatever their names and their order in the list, and while their sizes change.

use std::time::Duration;

use tertulia_sfu::testing::{LayerConfig, SimSharing};
use tertulia_sfu::{Event, Reason};

use crate::harness::Sim;
use crate::harness::client::hand::Hand;

const SECOND: Duration = Duration::from_secs(1);

/// An encoding of a height, on the SSRC of the same number.
fn encoding(rid: Option<&str>, height: u16) -> LayerConfig {
    LayerConfig {
        ssrc: height.into(),
        rid: rid.map(str::to_owned),
        width: height / 9 * 16,
        height,
        bitrate: u64::from(height) * u64::from(height) * 3,
    }
}

/// The simulcast attributes of an m-line: `a=rid` in one order, `a=simulcast` in another.
fn simulcast(rids: &[&str], order: &[&str]) -> Vec<String> {
    let rid = |rid: &&str| format!("a=rid:{rid} send");
    let list = format!("a=simulcast:send {}", order.join(";"));
    rids.iter().map(rid).chain([list]).collect()
}

/// The layer of a viewer's only subscription, and the height of the picture it shows.
fn seen(sim: &Sim, viewer: usize) -> (Option<usize>, u16) {
    let peer = sim.clients[viewer].peer.unwrap();
    let stats = sim.relay.peer_stats(peer).unwrap();
    let (_, stream) = sim.clients[viewer].video().unwrap();
    let (_, height) = stream.screen.dimensions.unwrap();
    (stats.subscriptions[0].layer, height)
}

/// Layers and reasons that a viewer was told since an event.
fn told(sim: &Sim, viewer: usize, since: usize) -> Vec<(Option<u8>, Reason)> {
    let of = sim.clients[viewer].peer.unwrap();
    let mut told = Vec::new();
    for event in &sim.events[since..] {
        if let Event::SubscriptionsChanged {
            peer,
            subscriptions,
            ..
        } = event
            && *peer == of
        {
            told.extend(
                subscriptions
                    .iter()
                    .map(|state| (state.layer, state.reason)),
            );
        }
    }
    told
}

/// Runs a test on one worker, and with viewer and publisher on different ones.
fn both(seed: u64, test: impl Fn(Sim)) {
    test(Sim::new(seed));
    test(Sim::sharing(seed, 2, SimSharing::default()));
}

fn assert_sound(sim: &Sim, viewer: usize) {
    sim.assert_clean(viewer, 1);
    assert_eq!(sim.relay.audit(), Vec::<String>::new());
}

#[test]
fn a_layer_is_counted_from_the_smallest_picture_whatever_the_names_and_their_order() {
    for (seed, rids, order, heights) in [
        (0, ["f", "h", "q"], ["f", "h", "q"], [720, 360, 180]),
        (1, ["f", "h", "q"], ["q", "h", "f"], [720, 360, 180]),
        (2, ["q", "h", "f"], ["f", "h", "q"], [180, 360, 720]),
        // Names that say the contrary.
        (3, ["q", "h", "f"], ["q", "h", "f"], [720, 360, 180]),
        (4, ["hi", "mid", "lo"], ["mid", "lo", "hi"], [720, 360, 180]),
        (5, ["0", "1", "2"], ["0", "1", "2"], [720, 360, 180]),
        (6, ["r2", "r1", "r0"], ["r1", "r0", "r2"], [720, 360, 180]),
        (
            7,
            ["zebra", "apple", "pear"],
            ["pear", "zebra", "apple"],
            [360, 720, 180],
        ),
    ] {
        both(2_000 + seed, |mut sim| {
            let mut hand = Hand::join(&mut sim, &[simulcast(&rids, &order)]);
            let layers = rids.iter().zip(heights);
            let layers = layers.map(|(rid, height)| encoding(Some(rid), height));
            hand.film(&sim, layers.collect());
            let viewer = sim.viewer();
            let track = hand.track(0);
            hand.run(&mut sim, 4 * SECOND);
            for (place, expected) in [
                (0, (2, 720)),
                (180, (0, 180)),
                (360, (1, 360)),
                (720, (2, 720)),
            ] {
                sim.shows(viewer, track, place);
                hand.run(&mut sim, 2 * SECOND);
                let expected = (Some(expected.0), expected.1);
                assert_eq!(
                    seen(&sim, viewer),
                    expected,
                    "{rids:?} {order:?}, {place} lines"
                );
            }
            let stats = sim.relay.peer_stats(hand.peer).unwrap();
            let layers = stats.published[0].layers.iter();
            let heights: Vec<_> = layers.map(|layer| layer.height.unwrap()).collect();
            assert_eq!(
                heights,
                [180, 360, 720],
                "as the publisher's statistics list them"
            );
            let listed = sim.events.iter().rev().find_map(|event| match event {
                Event::LayersWanted { layers, .. } => Some(layers),
                _ => None,
            });
            let listed = listed
                .unwrap()
                .iter()
                .map(|layer| layer.rid.clone().unwrap());
            let by_height = |height| rids[heights_of(&rids, &stats.published[0].layers, height)];
            let expected = [180, 360, 720].map(by_height);
            assert_eq!(listed.collect::<Vec<_>>(), expected, "lowest first");
            assert_sound(&sim, viewer);
        });
    }
}

/// The place among `rids` of the layer with a height.
fn heights_of(rids: &[&str], layers: &[tertulia_sfu::stats::LayerStats], height: u16) -> usize {
    let layer = layers
        .iter()
        .find(|layer| layer.height == Some(height))
        .unwrap();
    let rid = layer.rid.as_deref().unwrap();
    rids.iter().position(|other| *other == rid).unwrap()
}

#[test]
fn before_the_first_keyframe_restrictions_hint_and_a_lowest_that_comes_alone_is_the_lowest() {
    let mut sim = Sim::new(2_010);
    let lines = vec![
        "a=rid:a send max-width=1280;max-height=720".to_owned(),
        "a=rid:b send max-width=320;max-height=180".to_owned(),
        "a=simulcast:send a;b".to_owned(),
    ];
    let mut hand = Hand::join(&mut sim, &[lines]);
    hand.film(&sim, vec![encoding(Some("b"), 180)]);
    let viewer = sim.viewer();
    hand.run(&mut sim, 2 * SECOND);
    assert_eq!(seen(&sim, viewer), (Some(0), 180));
    let asked = sim.relay.peer_stats(hand.peer).unwrap().published.remove(0);
    let rids: Vec<_> = asked
        .layers
        .iter()
        .map(|layer| layer.rid.as_deref().unwrap())
        .collect();
    assert_eq!(rids, ["b", "a"]);
}

/// A window is resized: both encodings change, one after the other, and for a moment the upper is the
/// smaller one. Then an encoder without time makes it the smaller one for good.
#[test]
fn an_encoding_that_becomes_smaller_for_a_while_is_followed_only_when_it_stays_so() {
    both(2_020, |mut sim| {
        let mut hand = Hand::join(&mut sim, &[simulcast(&["l", "h"], &["l", "h"])]);
        hand.film(
            &sim,
            vec![encoding(Some("l"), 180), encoding(Some("h"), 360)],
        );
        let viewer = sim.viewer();
        let small = sim.viewer();
        let track = hand.track(0);
        sim.shows(small, track, 20);
        hand.run(&mut sim, 4 * SECOND);
        assert_eq!(seen(&sim, viewer), (Some(1), 360));
        assert_eq!(seen(&sim, small), (Some(0), 180));

        let before = sim.events.len();
        hand.cameras[0].set_size(360, (160, 90));
        hand.run(&mut sim, SECOND / 2);
        hand.cameras[0].set_size(180, (80, 45));
        hand.run(&mut sim, 5 * SECOND);
        assert_eq!(seen(&sim, viewer), (Some(1), 90));
        assert_eq!(seen(&sim, small), (Some(0), 45));
        let reordered = told(&sim, viewer, before);
        assert!(
            reordered.iter().all(|(layer, _)| *layer == Some(1)),
            "{reordered:?}"
        );

        hand.cameras[0].set_size(180, (640, 360));
        hand.run(&mut sim, 4 * SECOND);
        assert_eq!(
            seen(&sim, viewer),
            (Some(1), 360),
            "the larger is the upper one"
        );
        assert_eq!(seen(&sim, small), (Some(0), 90));
        let (_, stream) = sim.clients[viewer].video().unwrap();
        assert!(
            sim.now - stream.screen.last.unwrap() < SECOND / 10,
            "it goes on"
        );
        for viewer in [viewer, small] {
            assert_sound(&sim, viewer);
        }
    });
}

#[test]
fn sizes_that_flap_for_ever_take_no_viewer_along() {
    let mut sim = Sim::new(2_030);
    let mut hand = Hand::join(&mut sim, &[simulcast(&["l", "h"], &["l", "h"])]);
    hand.film(
        &sim,
        vec![encoding(Some("l"), 180), encoding(Some("h"), 360)],
    );
    let viewer = sim.viewer();
    hand.run(&mut sim, 4 * SECOND);
    let before = sim.events.len();
    for round in 0..40 {
        let small = round % 2 == 0;
        hand.cameras[0].set_size(360, if small { (160, 90) } else { (640, 360) });
        hand.run(&mut sim, Duration::from_millis(1_500));
    }
    let told = told(&sim, viewer, before).len();
    assert!(told <= 12, "told {told} times in a minute");
    let (_, stream) = sim.clients[viewer].video().unwrap();
    assert!(
        sim.now - stream.screen.last.unwrap() < SECOND / 10,
        "it goes on"
    );
    assert_sound(&sim, viewer);
}

#[test]
fn encodings_of_one_size_are_ordered_by_what_they_cost() {
    let mut sim = Sim::new(2_040);
    let mut hand = Hand::join(&mut sim, &[simulcast(&["a", "b"], &["a", "b"])]);
    let rich = LayerConfig {
        ssrc: 1,
        bitrate: 1_200_000,
        ..encoding(Some("a"), 360)
    };
    let poor = LayerConfig {
        ssrc: 2,
        bitrate: 300_000,
        ..encoding(Some("b"), 360)
    };
    hand.film(&sim, vec![rich, poor]);
    let viewer = sim.viewer();
    hand.run(&mut sim, 6 * SECOND);
    let stats = sim.relay.peer_stats(hand.peer).unwrap().published.remove(0);
    let rids: Vec<_> = stats
        .layers
        .iter()
        .map(|layer| layer.rid.as_deref().unwrap())
        .collect();
    assert_eq!(rids, ["b", "a"], "{:?}", stats.layers);
    assert_sound(&sim, viewer);
}

#[test]
fn a_later_offer_reorders_removes_and_adds_encodings_under_its_viewers() {
    both(2_050, |mut sim| {
        let rids = ["q", "h", "f"];
        let mut hand = Hand::join(&mut sim, &[simulcast(&rids, &rids)]);
        let heights = [180, 360, 720];
        let layers = rids.iter().zip(heights);
        hand.film(
            &sim,
            layers
                .map(|(rid, height)| encoding(Some(rid), height))
                .collect(),
        );
        let (large, small) = (sim.viewer(), sim.viewer());
        let track = hand.track(0);
        sim.shows(small, track, 180);
        hand.run(&mut sim, 4 * SECOND);

        hand.offer_again(&mut sim, &[simulcast(&["f", "h", "q"], &["h", "f", "q"])]);
        hand.run(&mut sim, 2 * SECOND);
        assert_eq!(
            (seen(&sim, large), seen(&sim, small)),
            ((Some(2), 720), (Some(0), 180))
        );

        // The top goes, then the lowest.
        hand.offer_again(&mut sim, &[simulcast(&["h", "q"], &["h", "q"])]);
        hand.cameras[0].set_enabled(720, false);
        hand.run(&mut sim, 2 * SECOND);
        assert_eq!(
            (seen(&sim, large), seen(&sim, small)),
            ((Some(1), 360), (Some(0), 180))
        );
        hand.offer_again(&mut sim, &[simulcast(&["h"], &["h"])]);
        hand.cameras[0].set_enabled(180, false);
        hand.run(&mut sim, 2 * SECOND);
        assert_eq!(
            (seen(&sim, large), seen(&sim, small)),
            ((Some(0), 360), (Some(0), 360))
        );

        // The encodings come again, with another between them.
        hand.offer_again(&mut sim, &[simulcast(&["f", "x", "h"], &["f", "x", "h"])]);
        let again = [("f", 720), ("x", 90)].map(|(rid, height)| LayerConfig {
            ssrc: 5_000 + u32::from(height),
            ..encoding(Some(rid), height)
        });
        hand.cameras.clear();
        let kept = encoding(Some("h"), 360);
        hand.film(
            &sim,
            again
                .into_iter()
                .chain([LayerConfig {
                    ssrc: 5_360,
                    ..kept
                }])
                .collect(),
        );
        hand.run(&mut sim, 5 * SECOND);
        assert_eq!(
            (seen(&sim, large), seen(&sim, small)),
            ((Some(2), 720), (Some(1), 360))
        );
        sim.shows(small, track, 90);
        hand.run(&mut sim, 2 * SECOND);
        assert_eq!(seen(&sim, small), (Some(0), 90));
        for viewer in [large, small] {
            assert_sound(&sim, viewer);
        }
    });
}

/// Most stacks but browsers' know nothing of being asked to pause an encoding.
#[test]
fn an_encoding_that_was_asked_off_and_still_comes_can_be_chosen() {
    for viewer_first in [true, false] {
        both(2_060, |mut sim| {
            let mut hand = Hand::join(&mut sim, &[simulcast(&["l", "h"], &["l", "h"])]);
            let early = viewer_first.then(|| sim.viewer());
            sim.run(SECOND);
            hand.film(
                &sim,
                vec![encoding(Some("l"), 180), encoding(Some("h"), 360)],
            );
            hand.run(&mut sim, 5 * SECOND);
            let viewer = early.unwrap_or_else(|| {
                assert_eq!(hand.asked(&sim), [false, false]);
                sim.viewer()
            });
            let track = hand.track(0);
            hand.run(&mut sim, 2 * SECOND);
            assert_eq!(seen(&sim, viewer), (Some(1), 360));
            assert_eq!(told(&sim, viewer, 0).last(), Some(&(Some(1), Reason::Best)));

            sim.shows(viewer, track, 180);
            hand.run(&mut sim, 3 * SECOND);
            assert_eq!(hand.asked(&sim), [true, false]);
            let before = sim.events.len();
            sim.shows(viewer, track, 0);
            hand.run(&mut sim, SECOND / 2);
            assert_eq!(seen(&sim, viewer), (Some(1), 360), "at once");
            let told = told(&sim, viewer, before);
            assert_eq!(told.last(), Some(&(Some(1), Reason::Best)));
            let false_reason = told.iter().any(|(_, reason)| *reason == Reason::Publisher);
            assert!(!false_reason, "its publisher sends more: {told:?}");
            assert_sound(&sim, viewer);
        });
    }
}
