//! Cameras on their side, and viewers that do not turn what they are sent.

use std::time::Duration;

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
    // It begins to: then it is.
    sim.clients[publisher].turning = TURNED;
    sim.run(3 * SECOND);
    assert_eq!(sim.clients[publisher].asked_to_offer, 1);
    assert_eq!(sim.clients[viewer].turning.seen, 0);
}

/// As Chromium with frames that bring a rotation of their own.
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
    // And it stays so, whoever comes.
    viewer(&mut sim, false);
    sim.run(20 * SECOND);
    assert_eq!(sim.clients[publisher].asked_to_offer, 2);
    assert!(packets(&sim, early) > before.0 + 200 && packets(&sim, late) > before.1 + 200);
}
