//! Unusual SSRCs of publishers: several on one m-line, new ones, and moves from one m-line to another.

use std::time::Duration;

use tertulia_sfu::rtp::rtcp;
use tertulia_sfu::testing::{LayerConfig, SimSharing};
use tertulia_sfu::{DropReason, TrackId};

use crate::harness::Sim;
use crate::harness::client::hand::{Hand, named};

const SECOND: Duration = Duration::from_secs(1);

fn encoding(ssrc: u32, height: u16) -> LayerConfig {
    LayerConfig {
        ssrc,
        rid: None,
        width: height / 9 * 16,
        height,
        bitrate: u64::from(height) * u64::from(height) * 3,
    }
}

fn both(seed: u64, test: impl Fn(Sim)) {
    test(Sim::new(seed));
    test(Sim::sharing(seed, 2, SimSharing::default()));
}

/// The height of the picture that a viewer now shows of a track.
fn sees(sim: &Sim, viewer: usize, track: TrackId) -> Option<u16> {
    let stream = sim.clients[viewer].stream_of(track)?;
    let now = stream
        .screen
        .last
        .is_some_and(|at| sim.now - at < SECOND / 10);
    stream
        .screen
        .dimensions
        .filter(|_| now)
        .map(|(_, height)| height)
}

fn keyframe_requests(sim: &Sim, hand: &Hand) -> u64 {
    let stats = sim.relay.peer_stats(hand.peer).unwrap();
    stats
        .published
        .iter()
        .map(|track| track.keyframe_requests)
        .sum()
}

fn assert_sound(sim: &Sim, viewer: usize, streams: usize) {
    sim.assert_clean(viewer, streams);
    assert_eq!(sim.relay.audit(), Vec::<String>::new());
}

/// Chromium did so before it had RIDs, and Plan-B clients do.
#[test]
fn simulcast_by_ssrc_group_is_simulcast() {
    both(2_100, |mut sim| {
        let streams = [
            (1_001, 1_002, 720),
            (2_001, 2_002, 180),
            (3_001, 3_002, 360),
        ];
        let mut lines = vec!["a=ssrc-group:SIM 1001 2001 3001".to_owned()];
        for (ssrc, rtx, _) in streams {
            lines.push(format!("a=ssrc-group:FID {ssrc} {rtx}"));
            lines.push(format!("a=ssrc:{ssrc} cname:c"));
            lines.push(format!("a=ssrc:{rtx} cname:c"));
        }
        let mut hand = Hand::join(&mut sim, &[lines]);
        assert!(hand.published[0].simulcast);
        hand.film(
            &sim,
            streams
                .map(|(ssrc, _, height)| encoding(ssrc, height))
                .to_vec(),
        );
        let viewer = sim.viewer();
        let track = hand.track(0);
        hand.run(&mut sim, 4 * SECOND);
        for (place, height, layer) in [(0, 720, 2), (180, 180, 0), (360, 360, 1), (720, 720, 2)] {
            sim.shows(viewer, track, place);
            hand.run(&mut sim, 2 * SECOND);
            assert_eq!(sees(&sim, viewer, track), Some(height));
            let peer = sim.clients[viewer].peer.unwrap();
            let stats = sim.relay.peer_stats(peer).unwrap();
            assert_eq!(stats.subscriptions[0].layer, Some(layer));
        }
        assert_sound(&sim, viewer, 1);
    });
}

#[test]
fn of_two_streams_on_one_m_line_the_first_stands() {
    let mut sim = Sim::new(2_110);
    let mut hand = Hand::join(&mut sim, &[vec![]]);
    hand.film(&sim, vec![encoding(1_001, 360), encoding(2_001, 180)]);
    let viewer = sim.viewer();
    let (track, ids, mid) = (hand.track(0), hand.ids, hand.mids[0].clone());
    // Both name the m-line in every packet.
    let both = |_, packet: Vec<u8>| {
        let ssrc = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
        vec![named(&packet, &ids, ssrc, Some(&mid), None)]
    };
    hand.run_altered(&mut sim, 5 * SECOND, both);
    assert_eq!(sees(&sim, viewer, track), Some(360));
    let asked = keyframe_requests(&sim, &hand);
    assert!(asked <= 3, "{asked} keyframe requests");
    assert!(hand.requests.iter().all(|(_, ssrc)| *ssrc == 1_001));
    assert!(sim.relay.stats().drops.get(DropReason::RtpSecondStream) > 100);

    // The first falls silent, and the second is heard a second later.
    hand.cameras[0].set_enabled(1_001, false);
    hand.run_altered(&mut sim, SECOND * 9 / 10, both);
    assert_ne!(sees(&sim, viewer, track), Some(180));
    hand.run_altered(&mut sim, SECOND / 2, both);
    assert_eq!(sees(&sim, viewer, track), Some(180));
    assert_sound(&sim, viewer, 1);
}

#[test]
fn a_sender_that_begins_anew_is_seen_again() {
    for (seed, bye) in [(2_120, false), (2_121, true)] {
        both(seed, |mut sim| {
            let mut hand = Hand::join(&mut sim, &[vec![]]);
            hand.film(&sim, vec![encoding(1_001, 360)]);
            let viewer = sim.viewer();
            let (track, ids, mid) = (hand.track(0), hand.ids, hand.mids[0].clone());
            hand.run(&mut sim, 3 * SECOND);
            for ssrc in [7_001, 8_001, 9_001] {
                if bye {
                    let before = if ssrc == 7_001 { 1_001 } else { ssrc - 1_000 };
                    let mut out = Vec::new();
                    rtcp::bye(&mut out, &[before]);
                    sim.relay.handle_rtcp(sim.now, hand.peer, &out);
                }
                hand.cameras.clear();
                hand.film(&sim, vec![encoding(ssrc, 180)]);
                let named = |_, packet: Vec<u8>| vec![named(&packet, &ids, ssrc, Some(&mid), None)];
                hand.run_altered(&mut sim, SECOND / 2, named);
                assert_eq!(sees(&sim, viewer, track).is_some(), bye, "{ssrc}");
                hand.run_altered(&mut sim, SECOND * 3 / 4, named);
                assert_eq!(sees(&sim, viewer, track), Some(180), "{ssrc}");
            }
            assert!(keyframe_requests(&sim, &hand) <= 10);
            assert_sound(&sim, viewer, 1);
        });
    }
}

/// With any made-up SSRCs, encoders are not asked for more than they can make.
#[test]
fn a_new_ssrc_for_each_packet_asks_for_few_keyframes_and_leaves_nothing() {
    let mut sim = Sim::new(2_130);
    let mut hand = Hand::join(&mut sim, &[vec![]]);
    hand.film(&sim, vec![encoding(1_001, 360)]);
    let viewer = sim.viewer();
    let (ids, mid) = (hand.ids, hand.mids[0].clone());
    sim.run(SECOND);
    let held = sim.relay.holdings();
    let mut ssrc = 10_000;
    hand.run_altered(&mut sim, 5 * SECOND, |_, packet| {
        ssrc += 1;
        vec![named(&packet, &ids, ssrc, Some(&mid), None)]
    });
    let asked = keyframe_requests(&sim, &hand);
    assert!(asked <= 18, "{asked} keyframe requests");
    assert_eq!(sim.relay.holdings(), held);
    for (_, report) in sim.clients[viewer].reports() {
        assert_eq!(report.violations, [], "{report:?}");
    }
}

/// RFC 9143 section 9.2: the latest MID counts.
#[test]
fn a_stream_that_names_another_m_line_moves_there() {
    both(2_140, |mut sim| {
        let mut hand = Hand::join(&mut sim, &[vec![], vec![]]);
        hand.film(&sim, vec![encoding(1_001, 360)]);
        let viewer = sim.viewer();
        let (first, second) = (hand.track(0), hand.track(1));
        let (ids, mids) = (hand.ids, hand.mids.clone());
        let on = |line: usize| {
            let mid = mids[line].clone();
            move |_: usize, packet: Vec<u8>| vec![named(&packet, &ids, 1_001, Some(&mid), None)]
        };
        hand.run_altered(&mut sim, 3 * SECOND, on(0));
        assert_eq!(sees(&sim, viewer, first), Some(360));
        let place = |sim: &Sim, hand: &Hand| {
            let stats = sim.relay.peer_stats(hand.peer).unwrap();
            stats
                .published
                .iter()
                .map(|track| track.layers[0].packets)
                .collect::<Vec<_>>()
        };
        for line in [1, 0, 1] {
            let before = place(&sim, &hand);
            hand.run_altered(&mut sim, 2 * SECOND, on(line));
            let (to, from) = if line == 1 {
                (second, first)
            } else {
                (first, second)
            };
            assert_eq!(sees(&sim, viewer, to), Some(360));
            assert_eq!(sees(&sim, viewer, from), None);
            let after = place(&sim, &hand);
            assert!(after[line] > before[line] + 100 && after[1 - line] == before[1 - line]);
        }
        // Once it has moved, its packets need not say so again.
        hand.run_altered(&mut sim, SECOND, |_, packet| {
            vec![named(&packet, &ids, 1_001, None, None)]
        });
        assert_eq!(sees(&sim, viewer, second), Some(360));
        assert_sound(&sim, viewer, 2);
    });
}

#[test]
fn two_streams_that_change_places_are_both_seen() {
    let mut sim = Sim::new(2_150);
    let mut hand = Hand::join(&mut sim, &[vec![], vec![]]);
    hand.film(&sim, vec![encoding(1_001, 360)]);
    hand.film(&sim, vec![encoding(2_001, 180)]);
    let viewer = sim.viewer();
    let (first, second) = (hand.track(0), hand.track(1));
    let (ids, mids) = (hand.ids, hand.mids.clone());
    let on = |swapped: bool| {
        let mids = mids.clone();
        move |camera: usize, packet: Vec<u8>| {
            let mid = &mids[usize::from(swapped) ^ camera];
            vec![named(
                &packet,
                &ids,
                [1_001, 2_001][camera],
                Some(mid),
                None,
            )]
        }
    };
    hand.run_altered(&mut sim, 3 * SECOND, on(false));
    assert_eq!(
        (sees(&sim, viewer, first), sees(&sim, viewer, second)),
        (Some(360), Some(180))
    );
    hand.run_altered(&mut sim, 2 * SECOND, on(true));
    assert_eq!(
        (sees(&sim, viewer, first), sees(&sim, viewer, second)),
        (Some(180), Some(360))
    );
    assert_sound(&sim, viewer, 2);
}

#[test]
fn a_stream_that_names_another_m_line_each_time_costs_next_to_nothing() {
    let mut sim = Sim::new(2_160);
    let mut hand = Hand::join(&mut sim, &[vec![], vec![], vec![]]);
    hand.film(&sim, vec![encoding(1_001, 360)]);
    let viewer = sim.viewer();
    let honest = sim.participant(crate::harness::Video::Single);
    let (ids, mids) = (hand.ids, hand.mids.clone());
    sim.run(SECOND);
    let held = sim.relay.holdings();
    let mut at = 0;
    hand.run_altered(&mut sim, 5 * SECOND, |_, packet| {
        at += 1;
        // Under one name and under ever new ones.
        let ssrc = if at % 2 == 0 {
            1_001
        } else {
            10_000 + at as u32 / 4
        };
        vec![named(&packet, &ids, ssrc, Some(&mids[at % 3]), None)]
    });
    let asked = keyframe_requests(&sim, &hand);
    assert!(
        asked <= 3 * 18,
        "{asked} keyframe requests of three m-lines"
    );
    assert_eq!(sim.relay.holdings(), held);
    assert_eq!(sim.relay.audit(), Vec::<String>::new());
    let (_, report) = sim.clients[viewer].reports().remove(0);
    assert_eq!(report.violations, [], "{report:?}");
    assert_eq!(
        sees(&sim, viewer, sim.clients[honest].published[1]),
        Some(360)
    );
}
