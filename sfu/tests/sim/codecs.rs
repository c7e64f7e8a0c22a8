//! Viewers that cannot decode a published codec.

use std::time::Duration;

use str0m::format::Codec;
use tertulia_sfu::stats::SubscriptionStats;
use tertulia_sfu::testing::SimSharing;
use tertulia_sfu::testing::network::PathModel;
use tertulia_sfu::{Event, PeerId, Reason, SubscriptionState, TrackId, Unwatchable};

use crate::harness::{Sim, Video};

const SECOND: Duration = Duration::from_secs(1);
const BOTH: [Codec; 2] = [Codec::Vp9, Codec::Vp8];

/// A client with these codecs that has not joined.
fn client(sim: &mut Sim, codecs: &[Codec]) -> usize {
    let index = sim.client();
    sim.clients[index].has_codecs(codecs);
    index
}

fn publisher(sim: &mut Sim, codecs: &[Codec], video: Video) -> usize {
    let index = client(sim, codecs);
    sim.clients[index].publish_audio();
    sim.clients[index].publish_video(video);
    sim.clients[index].obeys = true;
    sim.join(index);
    index
}

fn viewer(sim: &mut Sim, codecs: &[Codec]) -> usize {
    let index = client(sim, codecs);
    sim.clients[index].receive(1, 1);
    sim.join(index);
    index
}

fn camera(sim: &Sim, publisher: usize) -> TrackId {
    sim.clients[publisher].published[1]
}

fn peer(sim: &Sim, client: usize) -> PeerId {
    sim.clients[client].peer.unwrap()
}

/// The state of a track that a viewer was last told.
fn told(sim: &Sim, viewer: usize, of: TrackId) -> Option<SubscriptionState> {
    let viewer = peer(sim, viewer);
    let mut events = sim.events.iter().rev();
    events.find_map(|event| match event {
        Event::SubscriptionsChanged {
            peer,
            subscriptions,
            ..
        } if *peer == viewer => subscriptions
            .iter()
            .rev()
            .find(|state| state.track == of)
            .cloned(),
        _ => None,
    })
}

fn is_told_codec(sim: &Sim, viewer: usize, of: TrackId) -> bool {
    told(sim, viewer, of).is_some_and(|state| (state.layer, state.reason) == (None, Reason::Codec))
}

/// The events that a publisher was told, in order.
fn unwatchable(sim: &Sim, publisher: usize) -> Vec<Unwatchable> {
    let publisher = peer(sim, publisher);
    let events = sim.events.iter();
    let told = events.filter_map(|event| match event {
        Event::UnwatchableChanged {
            peer, unwatchable, ..
        } if *peer == publisher => Some(unwatchable.clone()),
        _ => None,
    });
    told.collect()
}

fn cannot(track: TrackId, viewers: &[PeerId]) -> Unwatchable {
    Unwatchable {
        track,
        count: viewers.len(),
        viewers: viewers
            .iter()
            .map(|viewer| (*viewer, Reason::Codec))
            .collect(),
    }
}

fn subscription(sim: &Sim, viewer: usize, of: TrackId) -> SubscriptionStats {
    let stats = sim.relay.peer_stats(peer(sim, viewer)).unwrap();
    let mut subscriptions = stats.subscriptions.into_iter();
    subscriptions.find(|sent| sent.track == of).unwrap()
}

fn packets(sim: &Sim, viewer: usize) -> u64 {
    let video = sim.clients[viewer].video();
    video.map_or(0, |(_, stream)| stream.packets)
}

/// Every frame decoded before and after a change of codec was whole.
fn assert_clean(sim: &Sim, viewer: usize) {
    for stream in sim.clients[viewer].streams.values() {
        for report in stream.before.iter().chain([stream.report()]) {
            assert_eq!(report.violations, [], "client {viewer}: {report:?}");
            assert!(report.decodable_frames > 0, "client {viewer}: {report:?}");
        }
    }
}

fn assert_sound(sim: &Sim) {
    assert_eq!(sim.relay.audit(), Vec::<String>::new());
}

#[test]
fn who_has_none_of_the_codecs_is_told_and_costs_nothing() {
    let mut sim = Sim::new(1_000);
    let publisher = publisher(&mut sim, &[Codec::Vp9], Video::Single);
    let viewer = viewer(&mut sim, &[Codec::Vp8]);
    let track = camera(&sim, publisher);
    sim.run(SECOND);
    assert!(is_told_codec(&sim, viewer, track));
    sim.run(4 * SECOND);
    assert_eq!(
        unwatchable(&sim, publisher),
        [cannot(track, &[peer(&sim, viewer)])]
    );
    assert_eq!(
        sim.clients[publisher].asked_to_offer, 0,
        "nothing would help"
    );
    // The publisher is asked for nothing, and the viewer for no second m-line.
    assert_eq!(sim.clients[publisher].asked, [false]);
    assert_eq!(sim.clients[publisher].keyframe_requests, 0);
    assert_eq!(sim.clients[viewer].slots.len(), 2);
    let stats = sim.relay.peer_stats(peer(&sim, viewer)).unwrap();
    assert_eq!((stats.bandwidth.desired, stats.bandwidth.allocated), (0, 0));
    assert_eq!(
        subscription(&sim, viewer, track).reason,
        "codec_not_negotiated"
    );
    let published = sim
        .relay
        .peer_stats(peer(&sim, publisher))
        .unwrap()
        .published;
    let said = (peer(&sim, viewer), "codec_not_negotiated");
    assert_eq!(published[1].unwatchable, [said]);
    assert_sound(&sim);

    // Its end is told as well.
    let now = sim.now;
    sim.relay.close_peer(now, peer(&sim, viewer));
    sim.run(SECOND);
    assert_eq!(
        unwatchable(&sim, publisher).last(),
        Some(&cannot(track, &[]))
    );
    sim.relay.close_room(sim.now, sim.room);
    sim.run(SECOND);
    assert_eq!(sim.relay.holdings(), 0);
}

#[test]
fn a_publisher_who_finds_viewers_is_answered_with_what_they_can_decode() {
    for (theirs, expected) in [
        (&[&[Codec::Vp8][..]][..], Codec::Vp8),
        (&[&BOTH, &[Codec::Vp8]], Codec::Vp8),
        (&[&BOTH], Codec::Vp9),
        (&[&[Codec::Vp9], &[Codec::Vp8], &[Codec::Vp8]], Codec::Vp8),
        (&[&[Codec::H264]], Codec::Vp9),
    ] {
        let mut sim = Sim::new(1_001);
        let viewers: Vec<usize> = theirs
            .iter()
            .map(|codecs| viewer(&mut sim, codecs))
            .collect();
        let publisher = publisher(&mut sim, &BOTH, Video::Single);
        sim.run(3 * SECOND);
        assert_eq!(
            sim.clients[publisher].encodes(),
            Some(expected),
            "{theirs:?}"
        );
        assert_eq!(sim.clients[publisher].asked_to_offer, 0);
        let track = camera(&sim, publisher);
        for (viewer, codecs) in viewers.into_iter().zip(theirs) {
            let able = codecs.contains(&expected);
            assert_eq!(is_told_codec(&sim, viewer, track), !able, "{theirs:?}");
            assert_eq!(packets(&sim, viewer) > 50, able, "{theirs:?}");
        }
    }
}

#[test]
fn a_publisher_changes_to_a_codec_that_a_late_viewer_has_and_stays_with_it() {
    for (seed, video) in [(1_002, Video::Single), (1_003, Video::Simulcast)] {
        let mut sim = Sim::new(seed);
        let publisher = publisher(&mut sim, &BOTH, video);
        let early = viewer(&mut sim, &BOTH);
        sim.run(3 * SECOND);
        assert_eq!(sim.clients[publisher].encodes(), Some(Codec::Vp9));
        let track = camera(&sim, publisher);

        let late = viewer(&mut sim, &[Codec::Vp8]);
        sim.run(SECOND / 100);
        assert!(is_told_codec(&sim, late, track), "at once");
        sim.run(2 * SECOND);
        assert_eq!(sim.clients[publisher].encodes(), Some(Codec::Vp8));
        assert_eq!(sim.clients[publisher].asked_to_offer, 1);
        sim.run(3 * SECOND);
        let state = told(&sim, late, track).unwrap();
        assert_eq!(state.reason, Reason::Best, "{video:?} {state:?}");
        let last = unwatchable(&sim, publisher);
        assert_eq!(last.last(), Some(&cannot(track, &[])));
        let shown = packets(&sim, late);
        assert!(shown > 100, "{video:?} {shown}");
        for viewer in [early, late] {
            assert_clean(&sim, viewer);
        }
        assert_sound(&sim);

        // Viewers that come and go now change nothing.
        let before = sim.clients[publisher].asked_to_offer;
        let now = sim.now;
        sim.relay.close_peer(now, peer(&sim, late));
        for _ in 0..3 {
            let next = viewer(&mut sim, &[Codec::Vp8]);
            sim.run(3 * SECOND);
            let now = sim.now;
            sim.relay.close_peer(now, peer(&sim, next));
            sim.run(SECOND);
        }
        assert_eq!(sim.clients[publisher].encodes(), Some(Codec::Vp8));
        assert_eq!(sim.clients[publisher].asked_to_offer, before);
        assert_clean(&sim, early);
    }
}

#[test]
fn a_publisher_that_does_not_follow_is_asked_rarely() {
    let mut sim = Sim::new(1_004);
    let publisher = publisher(&mut sim, &BOTH, Video::Single);
    sim.clients[publisher].follows_renegotiation = false;
    let viewer = viewer(&mut sim, &[Codec::Vp8]);
    let track = camera(&sim, publisher);
    sim.run(60 * SECOND);
    assert_eq!(sim.clients[publisher].asked_to_offer, 3);
    assert!(is_told_codec(&sim, viewer, track));
    assert_eq!(unwatchable(&sim, publisher).len(), 1);
}

#[test]
fn a_change_in_the_middle_pauses_and_a_change_back_resumes() {
    for (seed, video) in [(1_005, Video::Single), (1_006, Video::Simulcast)] {
        let mut sim = Sim::new(seed);
        let publisher = publisher(&mut sim, &[Codec::Vp8, Codec::Vp9], video);
        sim.clients[publisher].follows_renegotiation = false;
        // It acts like most clients other than browsers.
        sim.clients[publisher].obeys = false;
        let viewer = viewer(&mut sim, &[Codec::Vp8]);
        sim.run(4 * SECOND);
        let track = camera(&sim, publisher);
        let before = packets(&sim, viewer);
        assert!(before > 50);

        let now = sim.now;
        sim.clients[publisher].encode_in(now, Codec::Vp9);
        sim.run(SECOND / 2);
        assert!(is_told_codec(&sim, viewer, track));
        let (seen, asked) = (
            packets(&sim, viewer),
            sim.clients[publisher].keyframe_requests,
        );
        sim.run(5 * SECOND);
        assert_eq!(packets(&sim, viewer), seen);
        assert_eq!(sim.clients[publisher].keyframe_requests, asked);
        let stats = sim.relay.peer_stats(peer(&sim, viewer)).unwrap();
        assert_eq!((stats.bandwidth.desired, stats.bandwidth.allocated), (0, 0));

        let now = sim.now;
        sim.clients[publisher].encode_in(now, Codec::Vp8);
        sim.run(4 * SECOND);
        let state = told(&sim, viewer, track).unwrap();
        assert_eq!(state.reason, Reason::Best, "{state:?}");
        assert!(packets(&sim, viewer) > seen + 50);
        assert_clean(&sim, viewer);
        assert_sound(&sim);
    }
}

/// A track that nobody can decode takes nothing from the others.
#[test]
fn a_narrow_link_is_left_to_what_can_be_decoded() {
    let picture = |with: bool| {
        let mut sim = Sim::new(1_007);
        let seen = publisher(&mut sim, &[Codec::Vp8], Video::Simulcast);
        if with {
            publisher(&mut sim, &[Codec::Vp9], Video::Simulcast);
        }
        let viewer = viewer(&mut sim, &[Codec::Vp8]);
        let mut narrow = PathModel::LAN;
        narrow.rate = Some(900_000);
        narrow.queue = SECOND / 4;
        sim.clients[viewer].down.set_model(narrow);
        sim.run(20 * SECOND);
        let sent = subscription(&sim, viewer, camera(&sim, seen));
        let stats = sim.relay.peer_stats(peer(&sim, viewer)).unwrap();
        (sent.layer, sent.allocated == stats.bandwidth.allocated)
    };
    assert_eq!(picture(true), (Some(1), true));
    assert_eq!(picture(false), (Some(1), true));
}

#[test]
fn workers_tell_each_other_who_can_decode() {
    let sharing = SimSharing::default();
    let mut sim = Sim::sharing(1_008, 3, sharing);
    let publisher = publisher(&mut sim, &BOTH, Video::Simulcast);
    let able = viewer(&mut sim, &BOTH);
    sim.run(3 * SECOND);
    let track = camera(&sim, publisher);
    assert!(packets(&sim, able) > 50);
    let unable = viewer(&mut sim, &[Codec::Vp8]);
    let workers: Vec<usize> = [publisher, able, unable]
        .map(|client| sim.relay.worker_of(peer(&sim, client)))
        .into();
    assert_eq!(workers, [0, 1, 2]);
    sim.run(SECOND / 100);
    assert!(is_told_codec(&sim, unable, track));
    sim.run(5 * SECOND);
    assert_eq!(sim.clients[publisher].encodes(), Some(Codec::Vp8));
    assert_eq!(sim.clients[publisher].asked_to_offer, 1);
    for viewer in [able, unable] {
        assert_eq!(told(&sim, viewer, track).unwrap().reason, Reason::Best);
        assert!(packets(&sim, viewer) > 50);
        assert_clean(&sim, viewer);
    }
    let heard = unwatchable(&sim, publisher);
    assert_eq!(
        heard,
        [cannot(track, &[peer(&sim, unable)]), cannot(track, &[])]
    );
    assert_sound(&sim);
    let now = sim.now;
    sim.relay.close_room(now, sim.room);
    sim.run(SECOND);
    assert_eq!(sim.relay.holdings(), 0);
}

/// On the other workers most viewers can decode the track: the one here that cannot does not
/// decide.
#[test]
fn viewers_on_other_workers_count() {
    let sharing = SimSharing {
        room_peers_per_worker: 2,
        ..SimSharing::default()
    };
    let mut sim = Sim::sharing(1_009, 2, sharing);
    let publisher = publisher(&mut sim, &BOTH, Video::Single);
    let unable = viewer(&mut sim, &[Codec::Vp8]);
    sim.run(SECOND);
    assert_eq!(sim.clients[publisher].encodes(), Some(Codec::Vp8));
    for _ in 0..2 {
        viewer(&mut sim, &[Codec::Vp9]);
    }
    sim.run(15 * SECOND);
    // Two on the other worker have VP9 alone.
    assert_eq!(sim.clients[publisher].encodes(), Some(Codec::Vp9));
    let track = camera(&sim, publisher);
    assert_eq!(
        unwatchable(&sim, publisher).last(),
        Some(&cannot(track, &[peer(&sim, unable)]))
    );
    sim.run(60 * SECOND);
    assert_eq!(
        sim.clients[publisher].asked_to_offer, 2,
        "and there it stays"
    );
}
