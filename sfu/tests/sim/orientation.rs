//! Cameras on their side, and viewers that do not turn pictures.

use std::time::Duration;

use tertulia_sfu::TrackSettings;

use crate::harness::coding::Turning;
use crate::harness::{Sim, Video};

const SECOND: Duration = Duration::from_secs(1);

fn publisher(sim: &mut Sim, turning: Turning) -> usize {
    let index = sim.client();
    sim.clients[index].turning = turning;
    sim.clients[index].publish_video(Video::Single);
    sim.join(index);
    index
}

fn viewer(sim: &mut Sim, turns: bool) -> usize {
    let index = sim.client();
    if !turns {
        sim.clients[index].shows_as_they_come();
    }
    sim.clients[index].receive(0, 1);
    sim.join(index);
    index
}

fn packets(sim: &Sim, viewer: usize) -> u64 {
    let video = sim.clients[viewer].video();
    video.map_or(0, |(_, stream)| stream.packets)
}

const TURNED: Turning = Turning {
    is_turned: true,
    drops: false,
    seen: 0,
};

#[test]
fn a_publisher_turns_its_pictures_while_a_viewer_does_not() {
    let mut sim = Sim::new(1_100);
    let publisher = publisher(&mut sim, TURNED);
    let early = viewer(&mut sim, true);
    sim.run(3 * SECOND);
    assert!(sim.clients[early].turning.seen > 50, "it turns them itself");

    let late = viewer(&mut sim, false);
    sim.run(SECOND);
    assert_eq!(sim.clients[publisher].asked_to_offer, 1);
    let seen = sim.clients[early].turning.seen;
    let before = (packets(&sim, early), packets(&sim, late));
    sim.run(10 * SECOND);
    assert_eq!(sim.clients[early].turning.seen, seen);
    assert!(packets(&sim, early) > before.0 + 200 && packets(&sim, late) > before.1 + 200);
    assert_eq!(sim.clients[publisher].asked_to_offer, 1, "it follows");
    for viewer in [early, late] {
        let (_, report) = &sim.clients[viewer].reports()[0];
        assert_eq!(report.violations, [], "{report:?}");
    }
}

#[test]
fn who_has_turned_nothing_is_not_asked() {
    let mut sim = Sim::new(1_101);
    let publisher = publisher(&mut sim, Turning::default());
    sim.run(2 * SECOND);
    let viewer = viewer(&mut sim, false);
    sim.run(3 * SECOND);
    assert_eq!(sim.clients[publisher].asked_to_offer, 0);
    assert!(packets(&sim, viewer) > 50);
    // Once it sends turned pictures, it is.
    sim.clients[publisher].turning = TURNED;
    sim.run(3 * SECOND);
    assert_eq!(sim.clients[publisher].asked_to_offer, 1);
    assert_eq!(sim.clients[viewer].turning.seen, 0);
}

/// It acts like Chromium with frames that have a rotation of their own.
#[test]
fn a_publisher_that_cannot_turn_keeps_the_extension() {
    let mut sim = Sim::new(1_102);
    let publisher = publisher(
        &mut sim,
        Turning {
            drops: true,
            ..TURNED
        },
    );
    let early = viewer(&mut sim, true);
    sim.run(3 * SECOND);
    let late = viewer(&mut sim, false);
    sim.run(2 * SECOND);
    assert_eq!(sim.clients[publisher].asked_to_offer, 1);
    let silent = packets(&sim, early);
    sim.run(SECOND);
    assert_eq!(packets(&sim, early), silent, "nothing comes");
    sim.run(3 * SECOND);
    assert_eq!(sim.clients[publisher].asked_to_offer, 2);
    let before = (packets(&sim, early), packets(&sim, late));
    assert!(before.0 > silent, "it comes again");
    // That stays so, whichever viewers come.
    viewer(&mut sim, false);
    sim.run(20 * SECOND);
    assert_eq!(sim.clients[publisher].asked_to_offer, 2);
    assert!(packets(&sim, early) > before.0 + 200 && packets(&sim, late) > before.1 + 200);
}

/// It meets such a viewer, and sends nothing from the beginning.
#[test]
fn a_publisher_that_cannot_turn_and_comes_later_is_given_the_extension() {
    let mut sim = Sim::new(1_103);
    let early = viewer(&mut sim, true);
    let unturning = viewer(&mut sim, false);
    let turning = Turning {
        drops: true,
        ..TURNED
    };
    let publisher = publisher(&mut sim, turning);
    sim.run(2 * SECOND);
    assert_eq!(sim.clients[publisher].asked_to_offer, 0, "it may come yet");
    sim.run(6 * SECOND);
    assert_eq!(sim.clients[publisher].asked_to_offer, 1);
    let before = (packets(&sim, early), packets(&sim, unturning));
    assert!(before.0 > 0 && before.1 > 0);
    sim.run(20 * SECOND);
    assert_eq!(sim.clients[publisher].asked_to_offer, 1);
    assert!(packets(&sim, early) > before.0 + 200 && packets(&sim, unturning) > before.1 + 200);
}

/// Nothing comes because it is muted; that does not show whether it can turn.
#[test]
fn who_is_muted_is_waited_for() {
    for drops in [false, true] {
        let mut sim = Sim::new(1_104);
        let unturning = viewer(&mut sim, false);
        let publisher = publisher(&mut sim, Turning { drops, ..TURNED });
        let track = sim.clients[publisher].published[0];
        let peer = sim.clients[publisher].peer.unwrap();
        let mute = |sim: &mut Sim, muted| {
            let settings = TrackSettings::default().with_muted(muted);
            let set = sim.relay.set_track(sim.now, peer, track, settings);
            set.unwrap();
        };
        mute(&mut sim, true);
        sim.run(20 * SECOND);
        assert_eq!(sim.clients[publisher].asked_to_offer, 0);
        mute(&mut sim, false);
        sim.run(10 * SECOND);
        assert_eq!(sim.clients[publisher].asked_to_offer, usize::from(drops));
        assert!(packets(&sim, unturning) > 50);
        let now = sim.now;
        sim.relay.close_room(now, sim.room);
        sim.run(SECOND);
        assert_eq!(sim.relay.holdings(), 0);
    }
}

#[test]
fn a_publisher_that_does_not_follow_is_asked_rarely_whoever_comes_and_goes() {
    let mut sim = Sim::new(1_105);
    let publisher = publisher(&mut sim, TURNED);
    sim.clients[publisher].follows_renegotiation = false;
    viewer(&mut sim, true);
    sim.run(3 * SECOND);
    for _ in 0..30 {
        let unturning = viewer(&mut sim, false);
        sim.run(SECOND);
        let (now, peer) = (sim.now, sim.clients[unturning].peer.unwrap());
        sim.relay.close_peer(now, peer);
        sim.run(SECOND);
    }
    let asked = sim.clients[publisher].asked_to_offer;
    assert!((2..=3).contains(&asked), "{asked}");
}
