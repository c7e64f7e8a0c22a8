//! Active speakers, and the audio and video forwarded because of them.

use std::time::Duration;

use tertulia_sfu::rtp::codec::Codec;
use tertulia_sfu::rtp::extension::AudioLevel;
use tertulia_sfu::testing::SimSharing;
use tertulia_sfu::{Event, TrackId};

use crate::harness::{Sim, Video};

const SECOND: Duration = Duration::from_secs(1);

fn set_level(sim: &mut Sim, client: usize, level: u8) {
    sim.clients[client].level = AudioLevel { voice: true, level };
}

/// Somebody speaks, in syllables; the others are silent.
fn speak(sim: &mut Sim, client: usize, duration: Duration) {
    let end = sim.now + duration;
    while sim.now < end {
        set_level(sim, client, 30);
        sim.run(Duration::from_millis(200));
        set_level(sim, client, 80);
        sim.run(Duration::from_millis(40));
    }
}

/// Joins so many silent participants, and returns their audio tracks.
fn meeting(sim: &mut Sim, people: usize) -> Vec<TrackId> {
    let join = |sim: &mut Sim| {
        let client = sim.participant(Video::Single);
        set_level(sim, client, 80);
        sim.clients[client].published[0]
    };
    let microphones = (0..people).map(|_| join(sim)).collect();
    sim.run(3 * SECOND);
    microphones
}

fn changes(sim: &Sim) -> Vec<(Vec<TrackId>, usize)> {
    let events = sim.events.iter();
    let changes = events.filter_map(|event| match event {
        Event::SpeakersChanged {
            recent, speaking, ..
        } => Some((recent.clone(), *speaking)),
        _ => None,
    });
    changes.collect()
}

/// Audio packets that a client received.
fn heard(sim: &Sim, client: usize) -> u64 {
    let streams = sim.clients[client].streams.values();
    let sound = streams.filter(|stream| stream.codec == Codec::Opus);
    sound.map(|stream| stream.packets).sum()
}

#[test]
fn each_change_of_speakers_is_told_once_wherever_they_live() {
    for workers in [1, 2, 3] {
        let mut sim = Sim::sharing(1_100, workers, SimSharing::default());
        let microphones = meeting(&mut sim, 3);
        assert_eq!(changes(&sim), []);
        let mut expected = Vec::new();
        let mut recent: Vec<TrackId> = Vec::new();
        for speaker in [2, 0, 1] {
            speak(&mut sim, speaker, 3 * SECOND);
            recent.insert(0, microphones[speaker]);
            expected.push((recent.clone(), 1));
            sim.run(2 * SECOND);
            expected.push((recent.clone(), 0));
        }
        assert_eq!(changes(&sim), expected, "{workers} workers");
        // A participant who leaves is no speaker any more.
        let (now, peer) = (sim.now, sim.clients[1].peer.unwrap());
        sim.relay.close_peer(now, peer);
        sim.run(SECOND / 10);
        recent.remove(0);
        expected.push((recent.clone(), 0));
        assert_eq!(changes(&sim), expected, "{workers} workers");
        assert_eq!(sim.relay.audit(), Vec::<String>::new());
    }
}

#[test]
fn a_cough_is_no_speech() {
    let mut sim = Sim::new(1_101);
    meeting(&mut sim, 2);
    for _ in 0..5 {
        set_level(&mut sim, 0, 10);
        sim.run(SECOND / 4);
        set_level(&mut sim, 0, 80);
        sim.run(2 * SECOND);
    }
    assert_eq!(changes(&sim), []);
}

#[test]
fn sound_that_has_not_come_waits_for_its_publisher_and_not_for_a_keyframe() {
    let mut sim = Sim::new(1_104);
    let publisher = sim.participant(Video::Single);
    let viewer = sim.viewer();
    let reason = |sim: &Sim| {
        let peer = sim.clients[viewer].peer.unwrap();
        let sound = sim.clients[publisher].published[0];
        let mut sent = sim
            .relay
            .peer_stats(peer)
            .unwrap()
            .subscriptions
            .into_iter();
        sent.find(|sent| sent.track == sound).unwrap().reason
    };
    assert_eq!(reason(&sim), "waiting_for_publisher");
    sim.run(SECOND);
    assert_eq!(reason(&sim), "best");
}

#[test]
fn only_the_loudest_are_forwarded_and_who_begins_to_speak_is_heard_within_100_ms() {
    for workers in [1, 2] {
        let mut sim = Sim::sharing(1_102, workers, SimSharing::default());
        sim.relay.bound_speakers(None, Some(2));
        meeting(&mut sim, 5);
        let viewer = sim.viewer();
        set_level(&mut sim, 0, 30);
        set_level(&mut sim, 1, 30);
        sim.run(2 * SECOND);
        let before = heard(&sim, viewer);
        sim.run(10 * SECOND);
        let rate = (heard(&sim, viewer) - before) as f64 / 500.0;
        assert!((1.9..2.1).contains(&rate), "{rate} sounds at a time");

        for speaker in [4, 2, 3] {
            let peer = sim.clients[viewer].peer.unwrap();
            let track = sim.clients[speaker].published[0];
            let packets = |sim: &Sim| {
                let stats = sim.relay.peer_stats(peer).unwrap();
                let mut sent = stats.subscriptions.into_iter();
                sent.find(|sent| sent.track == track).unwrap().packets
            };
            let before = packets(&sim);
            sim.run(SECOND);
            assert_eq!(packets(&sim), before, "{speaker} is not sent");
            let reason = |sim: &Sim| {
                let stats = sim.relay.peer_stats(peer).unwrap();
                let mut sent = stats.subscriptions.into_iter();
                sent.find(|sent| sent.track == track).unwrap().reason
            };
            assert_eq!(reason(&sim), "quiet", "{speaker} on {workers} workers");
            let total = heard(&sim, viewer);
            set_level(&mut sim, speaker, 15);
            let limit = SECOND / 10;
            let took = sim.run_until(limit, |sim| packets(sim) > before);
            assert!(took.is_some(), "{speaker} on {workers} workers");
            assert_ne!(reason(&sim), "quiet");
            // The audio arrives within the 20 ms of a LAN beside that of the others.
            sim.run(SECOND / 50);
            assert!(heard(&sim, viewer) > total);
            sim.run(SECOND);
            set_level(&mut sim, speaker, 80);
            sim.run(3 * SECOND);
        }
        // Packets were left out, but nothing looks lost.
        for (ssrc, report) in sim.clients[viewer].reports() {
            let what = format!("{ssrc:#x} on {workers} workers: {report:?}");
            assert!(report.violations.is_empty() && report.lost == 0, "{what}");
        }
        assert_eq!(sim.relay.audit(), Vec::<String>::new());
    }
}

#[test]
fn only_the_last_speakers_pictures_are_sent() {
    for workers in [1, 2] {
        let mut sim = Sim::sharing(1_103, workers, SimSharing::default());
        sim.relay.bound_speakers(Some(2), None);
        meeting(&mut sim, 4);
        let viewer = sim.viewer();
        sim.run(2 * SECOND);
        let seen = |sim: &Sim| seen(sim, viewer, 4);
        assert_eq!(seen(&sim), [0, 1], "who came first, before anybody speaks");
        speak(&mut sim, 3, 3 * SECOND);
        assert_eq!(seen(&sim), [0, 3]);
        speak(&mut sim, 2, 3 * SECOND);
        sim.run(SECOND);
        assert_eq!(seen(&sim), [2, 3]);
        let (now, peer) = (sim.now, sim.clients[3].peer.unwrap());
        sim.relay.close_peer(now, peer);
        sim.run(SECOND);
        assert_eq!(seen(&sim), [0, 2], "a place that is free is taken");
    }
}

/// The first so many people whose pictures a client is sent.
fn seen(sim: &Sim, client: usize, people: usize) -> Vec<usize> {
    let peer = sim.clients[client].peer.unwrap();
    let stats = sim.relay.peer_stats(peer).unwrap();
    let sent = |publisher: &usize| {
        let track = sim.clients[*publisher].published[1];
        let mut all = stats.subscriptions.iter();
        all.any(|sent| sent.track == track && sent.layer.is_some())
    };
    (0..people).filter(sent).collect()
}

/// The speaker is sent those who spoke before: their own camera, which they are not sent, takes no
/// place.
#[test]
fn ones_own_picture_is_none_of_the_last_n() {
    for workers in [1, 2] {
        for (most, expected) in [
            (0, [[&[][..], &[], &[], &[]]; 3]),
            (
                1,
                [
                    // Nobody has spoken: the first to come counts, then the next.
                    [&[1], &[0], &[0], &[0]],
                    [&[2], &[2], &[0], &[2]],
                    [&[1], &[2], &[1], &[1]],
                ],
            ),
            (
                2,
                [
                    [&[1, 2], &[0, 2], &[0, 1], &[0, 1]],
                    [&[1, 2], &[0, 2], &[0, 1], &[0, 2]],
                    [&[1, 2], &[0, 2], &[0, 1], &[1, 2]],
                ],
            ),
            // The bound is as many as there are, or more.
            (3, [[&[1, 2], &[0, 2], &[0, 1], &[0, 1, 2]]; 3]),
            (9, [[&[1, 2], &[0, 2], &[0, 1], &[0, 1, 2]]; 3]),
        ] {
            let mut sim = Sim::sharing(1_105, workers, SimSharing::default());
            sim.relay.bound_speakers(Some(most), None);
            meeting(&mut sim, 3);
            let viewer = sim.viewer();
            sim.run(2 * SECOND);
            for (speaker, expected) in [None, Some(2), Some(1)].into_iter().zip(expected) {
                if let Some(speaker) = speaker {
                    speak(&mut sim, speaker, 3 * SECOND);
                    sim.run(SECOND);
                }
                let got = [0, 1, 2, viewer].map(|client| seen(&sim, client, 3));
                let what = format!("{most} of the last, after {speaker:?}, {workers} workers");
                assert_eq!(got, expected.map(<[usize]>::to_vec), "{what}");
            }
            assert_eq!(sim.relay.audit(), Vec::<String>::new());
        }
    }
}
