//! The layers that viewers get when their links change.

use std::time::Duration;

use tertulia_sfu::stats::SubscriptionStats;
use tertulia_sfu::testing::network::PathModel;
use tertulia_sfu::{Cap, Event, Reason, View};

use crate::harness::remb::Receiver;
use crate::harness::{Sim, Video};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn link(kbit: u64) -> PathModel {
    PathModel {
        rate: Some(kbit * 1_000),
        delay: 20 * MS,
        queue: 300 * MS,
        ..PathModel::LAN
    }
}

/// The video that a client is sent.
fn video(sim: &Sim, client: usize) -> SubscriptionStats {
    let peer = sim.clients[client].peer.unwrap();
    let stats = sim.relay.peer_stats(peer).unwrap();
    let track = sim.clients[0].published[1];
    let mut subscriptions = stats.subscriptions.into_iter();
    subscriptions.find(|s| s.track == track).unwrap()
}

fn longest_freeze(sim: &Sim, client: usize) -> Duration {
    let reports = sim.clients[client].reports().into_iter();
    reports
        .map(|(_, report)| report.longest_freeze)
        .max()
        .unwrap()
}

#[test]
fn a_link_that_narrows_is_sent_less_at_once_and_more_when_it_is_wide_again() {
    for seed in 0..3 {
        let mut sim = Sim::new(400 + seed);
        let _publisher = sim.participant(Video::Simulcast);
        let (viewer, other) = (sim.viewer(), sim.viewer());
        sim.clients[viewer].down.set_model(link(3_000));
        sim.run(15 * SECOND);
        assert_eq!(video(&sim, viewer).layer, Some(2), "seed {seed}");
        sim.clients[viewer].down.set_model(link(600));
        sim.run(SECOND);
        let narrow = video(&sim, viewer);
        // The middle layer and the sound take 90% of the link: they may stay, or go for a while.
        assert!(narrow.layer < Some(2), "seed {seed}");
        assert_eq!(narrow.reason, "bandwidth", "seed {seed}");
        sim.run(20 * SECOND);
        let peer = sim.clients[viewer].peer.unwrap();
        let estimate = sim.relay.peer_stats(peer).unwrap().bandwidth.estimate;
        assert!(
            (400_000..750_000).contains(&estimate.unwrap()),
            "seed {seed}: {estimate:?}"
        );
        sim.clients[viewer].down.set_model(link(3_000));
        sim.run(8 * SECOND);
        let wide = video(&sim, viewer);
        assert_eq!((wide.layer, wide.reason), (Some(2), "best"), "seed {seed}");
        assert!(
            longest_freeze(&sim, viewer) < 700 * MS,
            "seed {seed}: {:?}",
            longest_freeze(&sim, viewer)
        );
        assert!(sim.relay.stats().probe_packets > 0, "how it was found out");
        // A viewer on another link notices nothing.
        assert_eq!(video(&sim, other).layer, Some(2), "seed {seed}");
        assert!(longest_freeze(&sim, other) < 200 * MS, "seed {seed}");
        for (_, report) in sim.clients[viewer].reports() {
            assert!(report.violations.is_empty(), "seed {seed}: {report:?}");
        }
        let room = sim.room;
        let told = sim.relay.timeline(room).unwrap();
        let told: Vec<_> = told
            .iter()
            .filter(|decision| decision.peer == peer)
            .collect();
        assert!(
            told.iter()
                .any(|decision| decision.reason == "bandwidth" && decision.layer == Some(0)),
            "{told:?}"
        );
    }
}

#[test]
fn what_does_not_fit_is_paused_and_resumes_by_itself_while_sound_goes_on() {
    let mut sim = Sim::new(420);
    let _publisher = sim.participant(Video::Simulcast);
    let viewer = sim.viewer();
    sim.run(5 * SECOND);
    sim.clients[viewer].down.set_model(link(110));
    sim.run(10 * SECOND);
    let paused = video(&sim, viewer);
    assert_eq!((paused.layer, paused.reason), (None, "bandwidth"));
    let sound = |sim: &Sim| {
        let reports = sim.clients[viewer].reports().into_iter();
        reports
            .map(|(_, report)| report.packets)
            .collect::<Vec<_>>()
    };
    let before = sound(&sim);
    sim.run(2 * SECOND);
    let heard: u64 = sound(&sim)
        .iter()
        .zip(before)
        .map(|(after, before)| after - before)
        .sum();
    assert!(heard >= 90, "{heard} of 100 packets of sound");
    sim.clients[viewer].down.set_model(link(5_000));
    sim.run(12 * SECOND);
    assert_eq!(video(&sim, viewer).layer, Some(2));
}

#[test]
fn a_picture_without_sound_comes_back_after_an_outage() {
    for (seed, seconds) in [(440, 12), (441, 25)] {
        let mut sim = Sim::new(seed);
        let publisher = sim.client();
        sim.clients[publisher].publish_video(Video::Simulcast);
        sim.join(publisher);
        let viewer = sim.viewer();
        sim.run(5 * SECOND);
        let layer = |sim: &Sim| {
            let peer = sim.clients[viewer].peer.unwrap();
            sim.relay.peer_stats(peer).unwrap().subscriptions[0].layer
        };
        assert_eq!(layer(&sim), Some(2), "seed {seed}");
        let lost = PathModel {
            loss: 1.0,
            ..PathModel::LAN
        };
        sim.clients[viewer].down.set_model(lost);
        sim.run(seconds * SECOND);
        // Nothing is left to send, and so no feedback comes.
        assert_eq!(layer(&sim), None, "seed {seed}");
        sim.clients[viewer].down.set_model(PathModel::LAN);
        sim.run(8 * SECOND);
        assert_eq!(layer(&sim), Some(2), "seed {seed}");
    }
}

#[test]
fn a_viewer_gets_what_its_screen_shows() {
    let mut sim = Sim::new(430);
    let _publisher = sim.participant(Video::Simulcast);
    let viewer = sim.viewer();
    sim.run(5 * SECOND);
    let (track, peer) = (
        sim.clients[0].published[1],
        sim.clients[viewer].peer.unwrap(),
    );
    let small = View::of(track).with_height(180);
    for (view, layer, reason) in [
        (small, Some(0), "size_hint"),
        (small.with_visible(false), None, "hidden"),
        (small.with_height(400), Some(1), "size_hint"),
        (View::of(track), Some(2), "best"),
    ] {
        let now = sim.now;
        sim.relay.set_views(now, peer, &[view]).unwrap();
        sim.run(2 * SECOND);
        let got = video(&sim, viewer);
        assert_eq!((got.layer, got.reason), (layer, reason), "{view:?}");
    }
    let cap = Cap {
        bitrate: Some(700_000),
        height: None,
    };
    let now = sim.now;
    sim.relay.set_cap(now, peer, cap).unwrap();
    sim.run(2 * SECOND);
    assert_eq!(video(&sim, viewer).layer, Some(1));
    for (_, report) in sim.clients[viewer].reports() {
        assert!(report.violations.is_empty(), "{report:?}");
    }
}

/// The server's limit holds from the first packet on, and is told for as long as it is the reason for no higher layer.
#[test]
fn a_cap_is_kept_before_rates_are_known() {
    for (seed, camera, kbit, layer) in [
        (440, Video::Single, 400, None),
        (441, Video::Simulcast, 100, None),
        (442, Video::Simulcast, 400, Some(0)),
        (443, Video::Simulcast, 900, Some(1)),
    ] {
        let mut sim = Sim::new(seed);
        let viewer = sim.client();
        sim.clients[viewer].receive(1, 1);
        sim.join(viewer);
        let peer = sim.clients[viewer].peer.unwrap();
        let cap = Cap {
            bitrate: Some(kbit * 1_000),
            height: None,
        };
        sim.relay.set_cap(sim.now, peer, cap).unwrap();
        sim.run(SECOND);
        let publisher = sim.participant(camera);
        let mut flips = Vec::new();
        for half in 0..40 {
            let before = sim.clients[viewer].datagram_bytes;
            sim.run(SECOND / 2);
            let came = (sim.clients[viewer].datagram_bytes - before) * 16 / 1_000;
            // A keyframe may come in a half second.
            assert!(
                came <= kbit * 3 / 2,
                "{camera:?}, {kbit} kbit/s: {came} after {half} halves"
            );
            let told = sim.events.iter().rev().find_map(|event| match event {
                Event::SubscriptionsChanged {
                    peer: of,
                    subscriptions,
                    ..
                } if *of == peer => subscriptions
                    .iter()
                    .find(|told| told.reason != Reason::Best)
                    .cloned(),
                _ => None,
            });
            if let Some(told) = told
                && told.layer.is_none_or(|at| at < 2)
            {
                flips.push(told.reason.code());
            }
        }
        let track = sim.clients[publisher].published[1];
        let got = sim.relay.peer_stats(peer).unwrap().subscriptions;
        let got = got.iter().find(|got| got.track == track).unwrap();
        assert_eq!(
            (got.layer, got.reason),
            (layer, "cap"),
            "{camera:?}, {kbit} kbit/s"
        );
        assert!(
            !flips.contains(&"bandwidth"),
            "{camera:?}, {kbit} kbit/s: {flips:?}"
        );
    }
}

/// A viewer that is not heard at all does not have a slow link.
#[test]
fn a_network_that_is_cut_is_not_called_slow() {
    let cut = PathModel {
        loss: 1.0,
        ..PathModel::LAN
    };
    for (seed, by_reports, seconds) in [
        (450, false, 3),
        (451, false, 5),
        (452, false, 12),
        (453, true, 5),
        (454, true, 12),
    ] {
        let mut sim = Sim::new(seed);
        let publisher = sim.participant(Video::Simulcast);
        sim.clients[publisher].auto_subscribe = false;
        let viewer = sim.client();
        sim.clients[viewer].tolerates_lost_start = true;
        if by_reports {
            sim.clients[viewer].receiver = Some(Receiver::default());
        }
        sim.clients[viewer].receive(1, 1);
        sim.join(viewer);
        sim.set_path(viewer, link(4_000));
        sim.run(12 * SECOND);
        let what = format!("seed {seed}, {seconds} s");
        assert_eq!(video(&sim, viewer).layer, Some(2), "{what}");
        let before = sim.events.len();
        sim.set_path(viewer, cut);
        sim.run(seconds * SECOND);
        sim.set_path(viewer, link(4_000));
        let received = sim.clients[viewer].datagram_bytes;
        let again = sim.run_until(10 * SECOND, |sim| {
            sim.clients[viewer].datagram_bytes > received + 250_000
        });
        assert!(
            again.is_some_and(|took| took < 4 * SECOND),
            "{what}: {again:?}"
        );
        sim.run(5 * SECOND);
        let peer = sim.clients[viewer].peer.unwrap();
        let slow = sim.events[before..].iter().find(|event| {
            matches!(event, Event::SubscriptionsChanged { peer: of, subscriptions, .. }
                if *of == peer && subscriptions.iter().any(|told| told.reason == Reason::Bandwidth))
        });
        assert_eq!(slow, None, "{what}");
        assert_eq!(video(&sim, viewer).layer, Some(2), "{what}");
    }
}
