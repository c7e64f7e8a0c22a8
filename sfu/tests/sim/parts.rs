//! Rooms on several workers: what one peer publishes reaches those who live on others.

use std::time::Duration;

use str0m::media::MediaKind;
use tertulia_sfu::rtp::rtcp;
use tertulia_sfu::testing::network::PathModel;
use tertulia_sfu::testing::{OracleReport, SimPipe, SimSharing};
use tertulia_sfu::{DropReason, Event};

use crate::harness::{Sim, Video};

const SECOND: Duration = Duration::from_secs(1);

/// A room whose peers alternate between two workers.
fn two(seed: u64) -> Sim {
    Sim::sharing(seed, 2, SimSharing::default())
}

fn worker_of(sim: &Sim, client: usize) -> usize {
    sim.relay.worker_of(sim.clients[client].peer.unwrap())
}

/// A publisher and a viewer on different workers.
fn apart(seed: u64, video: Video) -> (Sim, usize, usize) {
    let mut sim = two(seed);
    let publisher = sim.participant(video);
    let viewer = sim.viewer();
    assert_ne!(worker_of(&sim, publisher), worker_of(&sim, viewer));
    sim.run(3 * SECOND);
    (sim, publisher, viewer)
}

fn layer(sim: &Sim, viewer: usize) -> Option<usize> {
    let peer = sim.clients[viewer].peer.unwrap();
    let stats = sim.relay.peer_stats(peer).unwrap();
    let video = stats.subscriptions.iter().max_by_key(|sent| sent.bytes);
    video.unwrap().layer
}

fn video_report(sim: &Sim, viewer: usize) -> OracleReport {
    let reports = sim.clients[viewer].reports().into_iter();
    let reports = reports.map(|(_, report)| report);
    reports.max_by_key(|report| report.packets).unwrap()
}

fn assert_sound(sim: &Sim) {
    assert_eq!(sim.relay.audit(), Vec::<String>::new());
}

/// Everybody goes, and nothing is left of them.
fn close(mut sim: Sim) {
    assert_sound(&sim);
    let now = sim.now;
    sim.relay.close_room(now, sim.room);
    sim.run(SECOND / 10);
    assert_eq!(sim.relay.holdings(), 0);
}

#[test]
fn participants_on_two_workers_see_and_hear_each_other() {
    let mut sim = two(900);
    for _ in 0..4 {
        sim.participant(Video::Simulcast);
    }
    sim.run(5 * SECOND);
    for client in 0..4 {
        assert_eq!(worker_of(&sim, client), client % 2);
        sim.assert_clean(client, 6);
        let peer = sim.clients[client].peer.unwrap();
        let stats = sim.relay.peer_stats(peer).unwrap();
        let top = stats.subscriptions.iter().filter(|s| s.layer == Some(2));
        assert_eq!(top.count(), 3, "{stats:?}");
    }
    let live = |event: &&Event| matches!(event, Event::TrackLive { .. });
    assert_eq!(sim.events.iter().filter(live).count(), 8);
    for worker in 0..2 {
        let stats = sim.relay.worker_stats(worker);
        assert_eq!(stats.relayed_tracks, 4);
        let other = sim.relay.worker_stats(1 - worker);
        assert!(stats.relay_packets_in > 1_000);
        assert_eq!(stats.relay_packets_in, other.relay_packets_out);
        assert_eq!(stats.drops.get(DropReason::RelayFull), 0);
    }
    close(sim);
}

#[test]
fn nothing_is_relayed_in_a_room_on_one_worker() {
    let mut sim = Sim::sharing(
        901,
        2,
        SimSharing {
            room_peers_per_worker: 3,
            ..SimSharing::default()
        },
    );
    for _ in 0..3 {
        sim.participant(Video::Single);
    }
    sim.run(3 * SECOND);
    let stats = sim.relay.stats();
    assert_eq!((stats.relay_packets_out, stats.relayed_tracks), (0, 0));
    close(sim);
}

#[test]
fn a_running_call_grows_to_further_workers_unnoticed() {
    let sharing = SimSharing {
        room_peers_per_worker: 2,
        ..SimSharing::default()
    };
    let mut sim = Sim::sharing(902, 3, sharing);
    for _ in 0..2 {
        sim.participant(Video::Simulcast);
    }
    sim.run(3 * SECOND);
    for _ in 0..4 {
        sim.participant(Video::Simulcast);
        sim.run(2 * SECOND);
        assert_sound(&sim);
    }
    for client in 0..6 {
        assert_eq!(worker_of(&sim, client), client / 2);
        sim.assert_clean(client, 10);
        for (_, report) in sim.clients[client].reports() {
            assert!(report.longest_freeze < SECOND / 10, "{report:?}");
        }
    }
    close(sim);
}

#[test]
fn workers_have_a_pipe_when_a_room_spans_them_and_not_before() {
    let sharing = SimSharing {
        room_peers_per_worker: 1,
        pipes: 1,
        ..SimSharing::default()
    };
    let mut sim = Sim::sharing(920, 3, sharing);
    sim.participant(Video::Single);
    assert_eq!(sim.relay.pipes(), (0, 0));
    sim.participant(Video::Single);
    assert_eq!(sim.relay.pipes(), (1, 0));
    // No memory for more rings: the room stays on the workers it has.
    for _ in 0..4 {
        sim.participant(Video::Single);
    }
    sim.run(3 * SECOND);
    assert_eq!(sim.relay.pipes(), (1, 4));
    for client in 0..6 {
        assert_eq!(worker_of(&sim, client), client % 2);
        sim.assert_clean(client, 10);
    }
    assert_sound(&sim);
    let now = sim.now;
    sim.relay.close_room(now, sim.room);
    sim.run(SECOND / 10);
    assert_eq!(sim.relay.holdings(), 0);
    assert_eq!(sim.relay.pipes(), (1, 4), "and stay so");
}

#[test]
fn layers_switch_across_workers() {
    let (mut sim, publisher, viewer) = apart(903, Video::Simulcast);
    assert_eq!(layer(&sim, viewer), Some(2));
    sim.clients[publisher].set_layer_active("f", false);
    sim.run(4 * SECOND);
    assert_eq!(layer(&sim, viewer), Some(1));
    sim.clients[publisher].set_layer_active("f", true);
    sim.run(3 * SECOND);
    assert_eq!(layer(&sim, viewer), Some(2));
    sim.assert_clean(viewer, 2);
    close(sim);
}

#[test]
fn a_late_viewer_on_another_worker_sees_a_keyframe_within_a_second() {
    let mut sim = two(904);
    sim.participant(Video::Simulcast);
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
    sim.run(3 * SECOND);
    sim.assert_clean(viewer, 2);
    assert_eq!(layer(&sim, viewer), Some(2));
    close(sim);
}

#[test]
fn keyframe_requests_of_all_workers_are_merged() {
    let mut sim = Sim::sharing(905, 3, SimSharing::default());
    let publisher = sim.participant(Video::Single);
    let viewers: Vec<usize> = (0..5).map(|_| sim.viewer()).collect();
    sim.run(3 * SECOND);
    let before = sim.clients[publisher].keyframe_requests;
    for _ in 0..300 {
        for viewer in &viewers {
            let (ssrc, _) = sim.clients[*viewer].video().unwrap();
            let mut pli = Vec::new();
            rtcp::pli(&mut pli, 1, ssrc);
            let (now, peer) = (sim.now, sim.clients[*viewer].peer.unwrap());
            sim.relay.handle_rtcp(now, peer, &pli);
        }
        sim.run(SECOND / 100);
    }
    // There is one each 300 ms for three seconds, however many ask on any worker.
    let requests = sim.clients[publisher].keyframe_requests - before;
    assert!((8..=11).contains(&requests), "{requests}");
    for viewer in viewers {
        sim.assert_clean(viewer, 2);
    }
    close(sim);
}

#[test]
fn a_keyframe_asked_for_too_soon_comes_later() {
    let (mut sim, publisher, viewer) = apart(906, Video::Single);
    sim.run(SECOND);
    let peer = sim.clients[viewer].peer.unwrap();
    let (ssrc, _) = sim.clients[viewer].video().unwrap();
    let before = sim.clients[publisher].keyframe_requests;
    let mut pli = Vec::new();
    rtcp::pli(&mut pli, 1, ssrc);
    // The second comes when the first is answered already.
    for _ in 0..2 {
        let now = sim.now;
        sim.relay.handle_rtcp(now, peer, &pli);
        sim.run(SECOND / 5);
    }
    sim.run(SECOND);
    assert_eq!(sim.clients[publisher].keyframe_requests - before, 2);
    close(sim);
}

#[test]
fn losses_on_either_side_are_repaired() {
    let lossy = PathModel {
        loss: 0.05,
        delay: Duration::from_millis(30),
        ..PathModel::LAN
    };
    for (seed, publishers) in [(910, false), (911, false), (912, true), (913, true)] {
        let (mut sim, publisher, viewer) = apart(seed, Video::Single);
        let client = if publishers { publisher } else { viewer };
        sim.set_path(client, lossy);
        sim.run(15 * SECOND);
        sim.set_path(client, PathModel::LAN);
        sim.run(2 * SECOND);
        let report = video_report(&sim, viewer);
        assert!(report.violations.is_empty(), "seed {seed}: {report:?}");
        let whole = report.decodable_frames as f64 / report.frames as f64;
        assert!(whole > 0.99, "seed {seed}: {whole} {report:?}");
        let peer = sim.clients[viewer].peer.unwrap();
        let stats = sim.relay.peer_stats(peer).unwrap();
        let again: u64 = stats.subscriptions.iter().map(|s| s.retransmitted).sum();
        assert!(again > 20 || publishers, "seed {seed}: {again}");
        close(sim);
    }
}

#[test]
fn sound_and_picture_stay_in_sync_across_workers() {
    let (mut sim, publisher, viewer) = apart(914, Video::Simulcast);
    let jittery = PathModel {
        jitter: Duration::from_millis(40),
        overtake: true,
        ..PathModel::LAN
    };
    sim.clients[publisher].up.set_model(jittery);
    for layers in [[true, true], [true, false], [false, false], [true, true]] {
        for (rid, active) in ["h", "f"].iter().zip(layers) {
            sim.clients[publisher].set_layer_active(rid, active);
        }
        sim.run(8 * SECOND);
        let streams = sim.clients[viewer].streams.values();
        let ahead: Vec<f64> = streams
            .map(|stream| stream.ahead().expect("a sender report came"))
            .collect();
        assert_eq!(ahead.len(), 2);
        let apart = (ahead[0] - ahead[1]).abs();
        assert!(apart < 0.012, "{layers:?}: {apart} s apart");
    }
    close(sim);
}

#[test]
fn a_publisher_stops_and_publishes_again() {
    let (mut sim, publisher, viewer) = apart(915, Video::Simulcast);
    sim.clients[publisher].unpublish(MediaKind::Video);
    sim.join(publisher);
    sim.run(2 * SECOND);
    let peer = sim.clients[viewer].peer.unwrap();
    let carried = |sim: &Sim| sim.relay.peer_stats(peer).unwrap().subscriptions.len();
    assert_eq!(carried(&sim), 1, "sound is left");
    assert_eq!(sim.relay.stats().relayed_tracks, 1);
    assert_sound(&sim);
    let now = sim.now;
    sim.clients[publisher].republish(now);
    sim.join(publisher);
    sim.run(6 * SECOND);
    assert_eq!(carried(&sim), 2);
    assert_eq!(layer(&sim, viewer), Some(2));
    sim.assert_clean(viewer, 2);
    close(sim);
}

#[test]
fn tracks_end_everywhere_with_their_publisher_and_others_go_on() {
    let mut sim = two(916);
    let gone = sim.participant(Video::Single);
    let stays = sim.participant(Video::Single);
    let viewers = [sim.viewer(), sim.viewer()];
    sim.run(3 * SECOND);
    assert_eq!(viewers.map(|viewer| worker_of(&sim, viewer)), [0, 1]);
    // One leaves without a word; a close_notify would have the same effects here.
    sim.clients[gone].frozen = true;
    sim.run(40 * SECOND);
    let tracks = sim.clients[stays].published.clone();
    for viewer in viewers {
        let peer = sim.clients[viewer].peer.unwrap();
        let stats = sim.relay.peer_stats(peer).unwrap();
        assert_eq!(stats.subscriptions.len(), 2);
        assert!(
            stats
                .subscriptions
                .iter()
                .all(|s| tracks.contains(&s.track))
        );
        sim.assert_clean(viewer, 4);
    }
    let ended = |event: &&Event| matches!(event, Event::TrackEnded { .. });
    assert_eq!(sim.events.iter().filter(ended).count(), 2, "each once");
    close(sim);
}

#[test]
fn packets_go_only_to_workers_with_viewers_of_the_track() {
    let (mut sim, publisher, viewer) = apart(917, Video::Simulcast);
    let out = |sim: &Sim| sim.relay.stats().relay_packets_out;
    let peer = sim.clients[viewer].peer.unwrap();
    for track in sim.clients[publisher].published.clone() {
        let now = sim.now;
        sim.relay.unsubscribe(now, peer, track).unwrap();
    }
    sim.run(SECOND / 10);
    assert_sound(&sim);
    let before = out(&sim);
    sim.run(2 * SECOND);
    assert_eq!(out(&sim), before);
    // Layers came and went while nobody watched.
    sim.clients[publisher].set_layer_active("f", false);
    sim.run(3 * SECOND);
    for track in sim.clients[publisher].published.clone() {
        let now = sim.now;
        sim.relay.subscribe(now, peer, track).unwrap();
    }
    // The relay had asked for none of them, and waits for all to come back.
    sim.run(5 * SECOND);
    assert_eq!(layer(&sim, viewer), Some(1));
    assert!(out(&sim) > before + 100);
    sim.assert_clean(viewer, 2);
    // The part stays when its last peer leaves, and costs nothing.
    let now = sim.now;
    sim.relay.close_peer(now, peer);
    sim.run(SECOND / 10);
    let before = out(&sim);
    sim.run(2 * SECOND);
    assert_eq!(out(&sim), before);
    let again = sim.viewer();
    assert_eq!(worker_of(&sim, again), 1);
    sim.run(2 * SECOND);
    sim.assert_clean(again, 2);
    close(sim);
}

#[test]
fn a_track_can_be_subscribed_to_everywhere_once_its_answer_is_there() {
    let mut sim = Sim::sharing(918, 3, SimSharing::default());
    let viewers: Vec<usize> = (0..6)
        .map(|_| {
            let viewer = sim.client();
            sim.clients[viewer].auto_subscribe = false;
            sim.clients[viewer].receive(1, 1);
            sim.join(viewer);
            viewer
        })
        .collect();
    sim.run(SECOND);
    let publisher = sim.participant(Video::Single);
    let now = sim.now;
    for viewer in &viewers {
        let peer = sim.clients[*viewer].peer.unwrap();
        for track in sim.clients[publisher].published.clone() {
            sim.relay.subscribe(now, peer, track).unwrap();
        }
    }
    sim.run(3 * SECOND);
    for viewer in viewers {
        sim.assert_clean(viewer, 2);
    }
    close(sim);
}

#[test]
fn full_rings_lose_media_and_no_control() {
    let sharing = SimSharing {
        room_peers_per_worker: 1,
        batches: 4,
        control: 1,
        ..SimSharing::default()
    };
    let mut sim = Sim::sharing(919, 2, sharing);
    let first = sim.participant(Video::Simulcast);
    let viewer = sim.viewer();
    sim.clients[viewer].tolerates_lost_start = true;
    sim.run(3 * SECOND);
    sim.assert_clean(viewer, 2);
    // The viewer's worker hears nothing; meanwhile tracks and layers come and go.
    sim.relay.stall(1, true);
    sim.clients[first].set_layer_active("f", false);
    let second = sim.participant(Video::Single);
    assert_eq!(worker_of(&sim, second), 0);
    sim.run(3 * SECOND);
    sim.clients[second].unpublish(MediaKind::Audio);
    sim.join(second);
    sim.run(SECOND);
    sim.relay.stall(1, false);
    sim.run(4 * SECOND);
    assert!(sim.relay.worker_stats(0).drops.get(DropReason::RelayFull) > 500);
    assert_eq!(sim.relay.worker_stats(1).relayed_tracks, 3);
    let peer = sim.clients[viewer].peer.unwrap();
    let stats = sim.relay.peer_stats(peer).unwrap();
    assert_eq!(stats.subscriptions.len(), 3, "{stats:?}");
    let frames = |sim: &Sim| video_report(sim, viewer).decodable_frames;
    let before = frames(&sim);
    sim.run(2 * SECOND);
    assert!(frames(&sim) >= before + 55, "the picture goes on");
    for (ssrc, report) in sim.clients[viewer].reports() {
        assert!(report.violations.is_empty(), "{ssrc:#x} {report:?}");
    }
    close(sim);
}

/// A pipe need not be a ring. Here it loses one batch in 500 without a word, and control overtakes batches.
#[test]
fn a_pipe_that_loses_and_delays_batches_costs_packets_and_no_control() {
    let sharing = SimSharing {
        script: SimPipe {
            lose_every: 500,
            behind: 3,
        },
        ..SimSharing::default()
    };
    let mut sim = Sim::sharing(922, 2, sharing);
    let first = sim.participant(Video::Simulcast);
    for _ in 0..3 {
        sim.participant(Video::Simulcast);
    }
    for client in &mut sim.clients {
        client.tolerates_lost_start = true;
        client.wants_pictures = true;
    }
    sim.run(4 * SECOND);
    sim.clients[first].set_layer_active("f", false);
    sim.run(4 * SECOND);
    sim.clients[first].set_layer_active("f", true);
    sim.clients[first].unpublish(MediaKind::Audio);
    sim.join(first);
    sim.run(8 * SECOND);
    for worker in 0..2 {
        let stats = sim.relay.worker_stats(worker);
        let sent = sim.relay.worker_stats(1 - worker).relay_packets_out;
        let lost = sent - stats.relay_packets_in;
        // The audio track that the first one ended is gone on the other worker too.
        assert_eq!(stats.relayed_tracks, if worker == 0 { 4 } else { 3 });
        assert_eq!(stats.drops.get(DropReason::RelayFull), 0);
        // Few batches are of more than one packet: less than twice the share of lost batches is lost.
        assert!(lost > 0 && lost < sent / 250, "{lost} of {sent}");
    }
    for client in 0..4 {
        let reports = sim.clients[client].reports().into_iter();
        let video = reports.filter(|(_, report)| report.dimensions.is_some());
        let video: Vec<OracleReport> = video.map(|(_, report)| report).collect();
        assert_eq!(video.len(), 3, "{client}");
        // One of the three is published on the client's own worker.
        let damaged = video.iter().filter(|report| report.lost > 0);
        assert_eq!(damaged.count(), 2, "{client}");
        for report in video {
            assert_eq!(report.violations, [], "{client}");
            // A client asks for a keyframe 250 ms after the last picture. The next frame is one, if the request is not
            // lost: 333 ms pass between pictures.
            let freeze = report.longest_freeze;
            assert!(freeze < SECOND * 2 / 5, "{client} {freeze:?}");
            // The oracle waits 2 s for a lost packet.
            let last = report.last_decodable.unwrap();
            assert!(sim.now - last < 3 * SECOND, "{client}");
        }
    }
    close(sim);
}

#[test]
fn messages_reach_everybody_on_every_worker() {
    let mut sim = Sim::sharing(920, 3, SimSharing::default());
    for _ in 0..6 {
        let index = sim.client();
        sim.clients[index].receive(1, 0);
        sim.clients[index].open_channels();
        sim.join(index);
    }
    sim.run_until(5 * SECOND, |sim| {
        let mut clients = sim.clients.iter();
        clients.all(|client| client.channels.len() == 2)
    })
    .expect("both channels open everywhere");
    assert!(sim.clients[1].send("reliable", b"hello"));
    sim.run(SECOND);
    for (index, client) in sim.clients.iter().enumerate() {
        let expected = (index != 1).then(|| ("reliable".to_owned(), b"hello".to_vec()));
        assert_eq!(client.messages, Vec::from_iter(expected), "client {index}");
    }
    close(sim);
}

#[test]
fn a_run_over_two_workers_repeats_with_its_seed() {
    let run = || {
        let (mut sim, publisher, viewer) = apart(921, Video::Single);
        let lossy = PathModel {
            loss: 0.02,
            jitter: Duration::from_millis(10),
            overtake: true,
            ..PathModel::LAN
        };
        sim.set_path(publisher, lossy);
        sim.set_path(viewer, lossy);
        sim.run(10 * SECOND);
        let report = video_report(&sim, viewer);
        let stats = sim.relay.stats();
        (
            (report.packets, report.frames),
            [stats.packets_forwarded, stats.relay_packets_out],
        )
    };
    // Since the relay checks addresses, a packet or two of audio more or less arrive: `str0m` draws numbers of its own
    // when it answers, and the next draw of loss may fall on another datagram.
    let ((pictures, sent), (again, sent_again)) = (run(), run());
    assert_eq!(pictures, again);
    for (one, other) in sent.iter().zip(sent_again) {
        assert!(one.abs_diff(other) <= 4, "{sent:?} {sent_again:?}");
    }
}
