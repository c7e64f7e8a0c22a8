//! A muted track is not forwarded, whatever its publisher sends; unmuted, it goes on at once.

use std::time::Duration;

use str0m::media::MediaKind;
use tertulia_sfu::rtp::extension::AudioLevel;
use tertulia_sfu::stats::SubscriptionStats;
use tertulia_sfu::testing::SimSharing;
use tertulia_sfu::testing::network::PathModel;
use tertulia_sfu::{Event, Reason, SfuError, TrackId, TrackSettings};

use crate::harness::{Sim, Video};

const SECOND: Duration = Duration::from_secs(1);
/// The way from a publisher over the relay to a viewer, twice.
const UNDER_WAY: Duration = Duration::from_millis(20);

fn set_muted(sim: &mut Sim, publisher: usize, track: TrackId, muted: bool) {
    let settings = TrackSettings::default().with_muted(muted);
    let (now, peer) = (sim.now, sim.clients[publisher].peer.unwrap());
    sim.relay.set_track(now, peer, track, settings).unwrap();
}

/// A viewer's subscription to a track, as far as it is known.
fn sent(sim: &Sim, viewer: usize, track: TrackId) -> SubscriptionStats {
    let peer = sim.clients[viewer].peer.unwrap();
    let stats = sim.relay.peer_stats(peer).unwrap();
    let mut sent = stats.subscriptions.into_iter();
    sent.find(|sent| sent.track == track).unwrap()
}

/// The layers and reasons that a viewer was told of a track.
fn told(sim: &Sim, viewer: usize, track: TrackId) -> Vec<(Option<u8>, Reason)> {
    let of = sim.clients[viewer].peer;
    let changes = sim.events.iter().filter_map(|event| match event {
        Event::SubscriptionsChanged {
            peer,
            subscriptions,
            ..
        } if Some(*peer) == of => Some(subscriptions),
        _ => None,
    });
    let about = changes.flatten().filter(|state| state.track == track);
    about.map(|state| (state.layer, state.reason)).collect()
}

fn received(sim: &Sim, viewer: usize, track: TrackId) -> u64 {
    let stream = sim.clients[viewer].stream_of(track);
    stream.map_or(0, |stream| stream.packets)
}

fn speakers(sim: &Sim) -> Vec<(Vec<TrackId>, usize)> {
    let changes = sim.events.iter().filter_map(|event| match event {
        Event::SpeakersChanged {
            recent, speaking, ..
        } => Some((recent.clone(), *speaking)),
        _ => None,
    });
    changes.collect()
}

/// Syllables: what a microphone picks up while its publisher speaks.
fn speak(sim: &mut Sim, client: usize, duration: Duration) {
    let end = sim.now + duration;
    while sim.now < end {
        for (level, ms) in [(30, 200), (80, 40)] {
            sim.clients[client].level = AudioLevel { voice: true, level };
            sim.run(Duration::from_millis(ms));
        }
    }
}

/// Runs a test on one worker, and with each participant on its own.
fn both(seed: u64, test: impl Fn(Sim)) {
    test(Sim::new(seed));
    test(Sim::sharing(seed, 2, SimSharing::default()));
}

#[test]
fn a_muted_microphone_is_silent_speaks_for_nobody_and_goes_on_with_the_next_packet() {
    both(1_200, |mut sim| {
        let publisher = sim.client();
        sim.clients[publisher].publish_audio();
        sim.join(publisher);
        let track = sim.clients[publisher].published[0];
        let viewer = sim.viewer();
        sim.run(SECOND);
        speak(&mut sim, publisher, 3 * SECOND);
        assert_eq!(speakers(&sim), [(vec![track], 1)]);
        assert_eq!(sent(&sim, viewer, track).reason, "best");
        assert_eq!(told(&sim, viewer, track), [], "nothing was decided");

        for round in 1..3 {
            set_muted(&mut sim, publisher, track, true);
            let forwarded = sim.relay.stats().packets_forwarded;
            let back = sim.clients[publisher].datagram_bytes;
            speak(&mut sim, publisher, 2 * SECOND);
            let stats = sim.relay.stats();
            assert_eq!(stats.packets_forwarded, forwarded, "not one packet");
            let muted = sent(&sim, viewer, track);
            assert_eq!((muted.reason, muted.layer), ("muted", None));
            assert_eq!(muted.bitrate, 0);
            // The publisher's own library goes on to be told how its packets came.
            assert!(sim.clients[publisher].datagram_bytes - back > 1_000);
            // Spoke, and speaks no more, from the mute on.
            assert_eq!(speakers(&sim).last(), Some(&(vec![track], 0)));
            assert_eq!(speakers(&sim).len(), 2 * round);

            set_muted(&mut sim, publisher, track, false);
            let before = received(&sim, viewer, track);
            let heard = |sim: &mut Sim| received(sim, viewer, track) > before;
            let took = sim.run_until(SECOND, heard).expect("it goes on");
            assert!(took <= UNDER_WAY + Duration::from_millis(20), "{took:?}");
            assert_eq!(sent(&sim, viewer, track).reason, "best");
            assert_eq!(told(&sim, viewer, track).len(), 2 * round);
            assert_eq!(
                told(&sim, viewer, track)[2 * round - 2..],
                [(None, Reason::Muted), (Some(0), Reason::Best)]
            );
            speak(&mut sim, publisher, 2 * SECOND);
            assert_eq!(speakers(&sim).last(), Some(&(vec![track], 1)));
        }
        sim.assert_clean(viewer, 1);
        assert_eq!(sim.relay.audit(), Vec::<String>::new());
    });
}

#[test]
fn sound_after_a_mute_is_as_late_by_its_timestamps_as_it_was() {
    both(1_201, |mut sim| {
        let publisher = sim.participant(Video::Single);
        let track = sim.clients[publisher].published[0];
        let viewer = sim.viewer();
        // Sender reports tell when something was captured; a receiver plays all by that.
        sim.run(8 * SECOND);
        let ahead = |sim: &Sim| {
            let stream = sim.clients[viewer].stream_of(track).unwrap();
            stream.ahead().expect("a sender report came")
        };
        let before = ahead(&sim);
        set_muted(&mut sim, publisher, track, true);
        sim.run(17 * SECOND);
        set_muted(&mut sim, publisher, track, false);
        sim.run(10 * SECOND);
        let moved = (ahead(&sim) - before).abs();
        assert!(moved < 0.02, "moved by {moved} s");
        sim.assert_clean(viewer, 2);
    });
}

#[test]
fn who_is_muted_when_they_publish_is_never_heard() {
    both(1_202, |mut sim| {
        let publisher = sim.participant(Video::Simulcast);
        let [sound, camera] = [0, 1].map(|at: usize| sim.clients[publisher].published[at]);
        let early = sim.viewer();
        // Neither is connected yet.
        set_muted(&mut sim, publisher, sound, true);
        set_muted(&mut sim, publisher, camera, true);
        speak(&mut sim, publisher, 3 * SECOND);
        let late = sim.viewer();
        speak(&mut sim, publisher, 3 * SECOND);
        assert_eq!(sim.relay.stats().packets_forwarded, 0);
        assert_eq!(speakers(&sim), []);
        for viewer in [early, late] {
            for track in [sound, camera] {
                assert_eq!(sent(&sim, viewer, track).reason, "muted");
                let last = told(&sim, viewer, track).pop();
                assert_eq!(last, Some((None, Reason::Muted)), "of {track}");
            }
            let peer = sim.clients[viewer].peer.unwrap();
            let link = sim.relay.peer_stats(peer).unwrap().bandwidth;
            assert_eq!((link.allocated, link.desired), (0, 0));
        }
        // A later offer for something else leaves it so.
        sim.clients[publisher].receive(0, 1);
        sim.join(publisher);
        sim.run(SECOND);
        assert_eq!(sim.relay.stats().packets_forwarded, 0);
        set_muted(&mut sim, publisher, sound, false);
        set_muted(&mut sim, publisher, camera, false);
        sim.run(3 * SECOND);
        for viewer in [early, late] {
            sim.assert_clean(viewer, 2);
            assert_eq!(sent(&sim, viewer, camera).layer, Some(2));
        }
        assert_eq!(sim.relay.audit(), Vec::<String>::new());
    });
}

#[test]
fn a_muted_camera_goes_off_at_its_publisher_and_comes_back_with_a_keyframe() {
    both(1_203, |mut sim| {
        let publisher = sim.participant(Video::Simulcast);
        sim.clients[publisher].obeys = true;
        let track = sim.clients[publisher].published[1];
        let viewer = sim.viewer();
        sim.run(3 * SECOND);
        for pause in [100, 900, 7_000] {
            assert_eq!(sent(&sim, viewer, track).layer, Some(2));
            set_muted(&mut sim, publisher, track, true);
            let before = sent(&sim, viewer, track).packets;
            sim.run(Duration::from_millis(pause));
            let muted = sent(&sim, viewer, track);
            assert_eq!((muted.packets, muted.layer), (before, None));
            assert_eq!((muted.reason, muted.allocated), ("muted", 0));
            if pause > 2_000 {
                assert_eq!(sim.clients[publisher].asked, [false; 3]);
            }
            set_muted(&mut sim, publisher, track, false);
            let sent_again = |sim: &mut Sim| sent(sim, viewer, track).packets > before;
            let took = sim.run_until(SECOND, sent_again).expect("it goes on");
            assert!(took < SECOND / 5, "after {pause} ms it took {took:?}");
            sim.run(4 * SECOND);
        }
        for (ssrc, report) in sim.clients[viewer].reports() {
            assert!(report.violations.is_empty(), "{ssrc:#x}: {report:?}");
            // If a mute cut a frame in two, a number stands for its other half.
            assert!(report.lost <= 3, "{ssrc:#x}: {report:?}");
        }
        assert_eq!(sim.relay.audit(), Vec::<String>::new());
    });
}

#[test]
fn a_camera_that_goes_on_is_not_sent_repaired_or_asked_for_keyframes() {
    both(1_204, |mut sim| {
        let publisher = sim.participant(Video::Single);
        let track = sim.clients[publisher].published[1];
        let viewer = sim.viewer();
        sim.clients[viewer].wants_pictures = true;
        sim.run(3 * SECOND);
        let lossy = PathModel {
            loss: 0.1,
            ..PathModel::LAN
        };
        sim.clients[publisher].up.set_model(lossy);
        sim.clients[viewer].down.set_model(lossy);
        sim.run(2 * SECOND);
        set_muted(&mut sim, publisher, track, true);
        // The viewer's requests for lost packets are in vain.
        let counts = |sim: &Sim| {
            let sent = sent(sim, viewer, track);
            let peer = sim.clients[publisher].peer.unwrap();
            let published = sim.relay.peer_stats(peer).unwrap().published.remove(1);
            let nacks = published.layers[0].nacks_sent;
            let asked = sim.clients[publisher].keyframe_requests;
            (sent.packets, sent.retransmitted, nacks, asked)
        };
        // A request for a keyframe may be under way.
        sim.run(UNDER_WAY);
        let before = counts(&sim);
        assert!(before.2 > 0, "there was something to repair");
        sim.run(5 * SECOND);
        assert_eq!(counts(&sim), before);
        sim.clients[publisher].up.set_model(PathModel::LAN);
        sim.clients[viewer].down.set_model(PathModel::LAN);
        set_muted(&mut sim, publisher, track, false);
        let shown = sim.now;
        sim.run(SECOND);
        let stream = sim.clients[viewer].stream_of(track).unwrap();
        assert!(stream.screen.last > Some(shown));
        for (ssrc, report) in sim.clients[viewer].reports() {
            assert!(report.violations.is_empty(), "{ssrc:#x}: {report:?}");
        }
    });
}

#[test]
fn the_muted_take_nobodys_place() {
    both(1_205, |mut sim| {
        sim.relay.bound_speakers(Some(2), Some(2));
        for _ in 0..4 {
            let client = sim.participant(Video::Single);
            // None of these levels is speech.
            let level = 66 + 4 * client as u8;
            sim.clients[client].level = AudioLevel { voice: true, level };
        }
        let viewer = sim.viewer();
        sim.run(3 * SECOND);
        let seen = |sim: &Sim, at: usize| -> Vec<usize> {
            let tracks = (0..4).map(|client| sim.clients[client].published[at]);
            let sent = tracks.map(|track| sent(sim, viewer, track).reason == "best");
            let sent = sent.enumerate().filter(|(_, sent)| *sent);
            sent.map(|(client, _)| client).collect()
        };
        assert_eq!((seen(&sim, 0), seen(&sim, 1)), (vec![0, 1], vec![0, 1]));
        for at in [0, 1] {
            let track = sim.clients[0].published[at];
            set_muted(&mut sim, 0, track, true);
        }
        sim.run(SECOND);
        assert_eq!((seen(&sim, 0), seen(&sim, 1)), (vec![1, 2], vec![1, 2]));
        let microphone = sim.clients[0].published[0];
        assert_eq!(sent(&sim, viewer, microphone).reason, "muted");
        set_muted(&mut sim, 0, microphone, false);
        sim.run(SECOND);
        assert_eq!(seen(&sim, 0), [0, 1], "the louder");
    });
}

#[test]
fn only_its_publisher_mutes_a_track() {
    both(1_206, |mut sim| {
        let publisher = sim.participant(Video::Single);
        let other = sim.participant(Video::Single);
        let track = sim.clients[publisher].published[0];
        let muted = TrackSettings::default().with_muted(true);
        let (now, peer) = (sim.now, sim.clients[other].peer.unwrap());
        let refused = sim.relay.set_track(now, peer, track, muted);
        assert_eq!(refused, Err(SfuError::NoSuchTrack));
        sim.run(SECOND);
        assert!(received(&sim, other, track) > 0);
        assert!(sim.clients[other].publishes(MediaKind::Audio));
    });
}
