//! Many at once: joins, keyframe requests, retransmission requests.

use std::time::Duration;

use tertulia_sfu::DropReason;
use tertulia_sfu::rtp::rtcp;

use crate::harness::{Sim, Video};

const SECOND: Duration = Duration::from_secs(1);

/// Requests for a keyframe in a time, at one each 300 ms.
fn throttled(time: Duration) -> usize {
    1 + (time.as_millis() / 300) as usize
}

#[test]
fn fifty_joining_viewers_cost_a_publisher_few_keyframes() {
    let mut sim = Sim::new(700);
    let publisher = sim.participant(Video::Single);
    sim.run(2 * SECOND);
    let before = sim.clients[publisher].keyframe_requests;
    let viewers: Vec<usize> = (0..50).map(|_| sim.viewer()).collect();
    sim.run(2 * SECOND);
    let requests = sim.clients[publisher].keyframe_requests - before;
    assert!(
        (1..=throttled(2 * SECOND)).contains(&requests),
        "{requests}"
    );
    for viewer in viewers {
        sim.assert_clean(viewer, 2);
    }
}

#[test]
fn a_hundred_joining_do_not_disturb_who_is_there() {
    let mut sim = Sim::new(701);
    sim.participant(Video::Single);
    let viewer = sim.viewer();
    sim.run(3 * SECOND);
    let turns = sim.handshake_turns;
    let joining: Vec<usize> = (0..100).map(|_| sim.viewer()).collect();
    // Each client's two flights are at least two datagrams, three a turn (asserted by the harness).
    let all_there = sim.run_until(10 * SECOND, |sim| {
        let mut clients = joining.iter().map(|index| &sim.clients[*index]);
        clients.all(|client| client.connected_at.is_some())
    });
    assert!(all_there.is_some());
    assert!(sim.handshake_turns - turns >= 200 / 3);
    sim.run(SECOND);
    sim.assert_clean(viewer, 2);
    for (_, report) in sim.clients[viewer].reports() {
        assert!(
            report.longest_freeze < Duration::from_millis(60),
            "{report:?}"
        );
    }
    for index in joining {
        sim.assert_clean(index, 2);
    }
}

#[test]
fn a_viewer_that_asks_for_everything_again_is_bounded() {
    for without_rtx in [false, true] {
        asks_for_everything(without_rtx);
    }
}

fn asks_for_everything(without_rtx: bool) {
    let mut sim = Sim::new(702);
    sim.participant(Video::Simulcast);
    let greedy = sim.client();
    sim.clients[greedy].without_rtx = without_rtx;
    sim.clients[greedy].receive(1, 1);
    sim.join(greedy);
    let modest = sim.viewer();
    sim.run(3 * SECOND);
    let peer = sim.clients[greedy].peer.unwrap();
    let packets = |sim: &Sim| {
        let stats = sim.relay.peer_stats(peer).unwrap();
        let sent = stats.subscriptions.iter().map(|s| s.packets);
        let again = stats.subscriptions.iter().map(|s| s.retransmitted);
        (sent.sum::<u64>(), again.sum::<u64>())
    };
    let (before, _) = packets(&sim);
    for _ in 0..500 {
        let (ssrc, stream) = sim.clients[greedy].video().unwrap();
        let lost: Vec<u16> = (0..250)
            .map(|back| stream.sequence.wrapping_sub(back))
            .collect();
        let mut nack = Vec::new();
        rtcp::nack(&mut nack, 1, ssrc, &lost);
        let now = sim.now;
        sim.relay.handle_rtcp(now, peer, &nack);
        sim.run(Duration::from_millis(10));
    }
    let (sent, again) = packets(&sim);
    // Repairs are bounded by half of the packets sent, and those saved up: not the 125,000 asked
    // for.
    let share = (sent - before) / 2 + 250;
    assert!((100..=share).contains(&again), "{again} of {share}");
    let refused = sim.relay.stats().drops.get(DropReason::RepairRefused);
    assert!(refused > 80_000, "{refused:?}");
    sim.assert_clean(greedy, 2);
    sim.assert_clean(modest, 2);
}

/// A viewer sends a PLI every 10 ms; returns the requests that its publisher gets.
fn sends_plis(sim: &mut Sim, viewer: usize, publisher: usize, plis: usize) -> usize {
    let peer = sim.clients[viewer].peer.unwrap();
    let before = sim.clients[publisher].keyframe_requests;
    for _ in 0..plis {
        let (ssrc, _) = sim.clients[viewer].video().unwrap();
        let mut pli = Vec::new();
        rtcp::pli(&mut pli, 1, ssrc);
        let now = sim.now;
        sim.relay.handle_rtcp(now, peer, &pli);
        sim.run(Duration::from_millis(10));
    }
    sim.clients[publisher].keyframe_requests - before
}

#[test]
fn keyframes_asked_for_without_end_are_throttled() {
    let mut sim = Sim::new(703);
    let publisher = sim.participant(Video::Simulcast);
    let viewer = sim.viewer();
    sim.run(3 * SECOND);
    let requests = sends_plis(&mut sim, viewer, publisher, 300);
    assert!(
        (8..=throttled(3 * SECOND)).contains(&requests),
        "{requests}"
    );
    sim.assert_clean(viewer, 2);
}

/// Keyframes that one m-line may cause in a time: 16 at once, and one in two seconds.
fn allowed(time: Duration) -> usize {
    16 + (time.as_secs() / 2) as usize
}

#[test]
fn a_viewer_that_asks_for_keyframes_for_a_minute_is_refused_most() {
    let mut sim = Sim::new(704);
    let publisher = sim.participant(Video::Simulcast);
    let (greedy, modest) = (sim.viewer(), sim.viewer());
    sim.run(3 * SECOND);
    let requests = sends_plis(&mut sim, greedy, publisher, 6_000);
    let most = allowed(60 * SECOND);
    assert!((16..=most).contains(&requests), "{requests} of {most}");
    let refused = sim.relay.stats().drops.get(DropReason::KeyframeRefused);
    assert!(refused > 4_000, "{refused}");
    for viewer in [greedy, modest] {
        sim.assert_clean(viewer, 2);
    }
}

#[test]
fn a_viewer_that_changes_its_view_all_the_time_costs_few_keyframes() {
    let mut sim = Sim::new(705);
    let publisher = sim.participant(Video::Simulcast);
    let (restless, modest) = (sim.viewer(), sim.viewer());
    sim.run(3 * SECOND);
    let camera = sim.clients[publisher].published[1];
    let before = sim.clients[publisher].keyframe_requests;
    for step in 0..1_200 {
        sim.shows(restless, camera, [180, 720][step % 2]);
        sim.run(Duration::from_millis(50));
    }
    let requests = sim.clients[publisher].keyframe_requests - before;
    let most = allowed(60 * SECOND);
    assert!((8..=most).contains(&requests), "{requests} of {most}");
    sim.shows(restless, camera, 720);
    sim.run(5 * SECOND);
    for viewer in [restless, modest] {
        sim.assert_clean(viewer, 2);
    }
}
