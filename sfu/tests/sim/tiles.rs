//! A large call in which a viewer shows one page: the server and the publishers spend only on that page.

use std::time::{Duration, Instant};

use tertulia_sfu::rtp::codec::Codec;
use tertulia_sfu::testing::SimSharing;
use tertulia_sfu::{TrackId, View};

use crate::harness::{Sim, Video};

const SECOND: Duration = Duration::from_secs(1);
const PUBLISHERS: usize = 20;
/// Heights of the places of a page: one large, and a row of small ones.
const HEIGHTS: [u16; 6] = [720, 180, 180, 180, 180, 180];
/// The layer that fits each place.
const LAYERS: [usize; 6] = [2, 0, 0, 0, 0, 0];
/// Length of a measurement: a frame more or less at either end hardly matters.
const WINDOW: Duration = Duration::from_secs(10);
/// Bytes allowed for a packet beside its payload, a share of other datagrams included. Header, extensions and
/// authentication tag are 48; the rest is reports and padding of runs.
const OVERHEAD: u64 = 60;

/// Publishers that watch nobody, and viewers; all hear each other.
struct Call {
    sim: Sim,
    viewer: usize,
    /// Sees no one.
    listener: usize,
}

impl Call {
    fn new(mut sim: Sim) -> Self {
        for _ in 0..PUBLISHERS {
            let publisher = sim.client();
            sim.clients[publisher].auto_subscribe = false;
            sim.clients[publisher].obeys = true;
            sim.clients[publisher].publish_audio();
            sim.clients[publisher].publish_video(Video::Simulcast);
            sim.join(publisher);
        }
        let viewer = sim.viewer();
        let listener = sim.viewer();
        sim.run(3 * SECOND);
        let mut call = Self {
            sim,
            viewer,
            listener,
        };
        call.shows(call.listener, &[]);
        call
    }

    fn track(&self, publisher: usize) -> TrackId {
        self.sim.clients[publisher].published[1]
    }

    /// A viewer's page from now on: these publishers in the places in order, and no others.
    fn shows(&mut self, viewer: usize, page: &[usize]) {
        let place = |publisher| page.iter().position(|shown| *shown == publisher);
        let view = |publisher| {
            let place = place(publisher);
            View::of(self.track(publisher))
                .with_visible(place.is_some())
                .with_height(place.map_or(0, |place| HEIGHTS[place]))
        };
        let views: Vec<View> = (0..PUBLISHERS).map(view).collect();
        let peer = self.sim.clients[viewer].peer.unwrap();
        self.sim
            .relay
            .set_views(self.sim.now, peer, &views)
            .unwrap();
    }

    /// The layers that a publisher should be asked for while it is shown in a place.
    fn wanted(place: Option<usize>) -> [bool; 3] {
        // A viewer of a large picture may fall back to the smallest at any moment, so that that is on as well.
        place.map_or([false; 3], |place| [true, false, LAYERS[place] == 2])
    }

    /// The time after `since` at which the last packet was sent of a layer that this page does not need.
    fn until_off(&self, page: &[usize], since: Instant) -> Duration {
        let mut last = since;
        for publisher in 0..PUBLISHERS {
            let place = page.iter().position(|shown| *shown == publisher);
            let sent = self.sim.clients[publisher].video_sent();
            for (sent, wanted) in sent.iter().zip(Self::wanted(place)) {
                let at = sent.last_at.expect("every layer was on");
                if !wanted {
                    last = last.max(at);
                }
            }
        }
        last - since
    }

    /// The time until each place of a page shows its publisher's picture in the right size.
    fn until_shown(&mut self, page: &[usize]) -> Duration {
        let since = self.sim.now;
        let tracks: Vec<TrackId> = page.iter().map(|shown| self.track(*shown)).collect();
        let viewer = self.viewer;
        let took = self.sim.run_until(5 * SECOND, |sim| {
            tracks.iter().zip(LAYERS).all(|(track, layer)| {
                let stream = sim.clients[viewer].stream_of(*track);
                stream.is_some_and(|stream| {
                    let fits =
                        stream.screen.dimensions.map(|(_, height)| height) == Some(180 << layer);
                    fits && stream.screen.last.is_some_and(|at| at > since)
                })
            })
        });
        took.expect("every place shows a picture")
    }

    /// Runs for a while without events: the viewer gets this page's layers, and no layer is sent without a viewer.
    fn assert_costs_only(&mut self, page: &[usize]) {
        let probes = self.sim.relay.stats().probe_packets;
        let before = self.tally();
        self.sim.run(WINDOW);
        let after = self.tally();
        // The links' bandwidth is known, and no more is wanted.
        assert_eq!(self.sim.relay.stats().probe_packets, probes);
        assert!(probes > 0);
        for publisher in 0..PUBLISHERS {
            let place = page.iter().position(|shown| *shown == publisher);
            let what = format!("publisher {publisher} in {place:?}");
            let wanted = Self::wanted(place);
            assert_eq!(self.sim.clients[publisher].asked, wanted, "{what}");
            let sent = after.sent[publisher].iter().zip(&before.sent[publisher]);
            let sent: Vec<u64> = sent.map(|(after, before)| after - before).collect();
            for (layer, wanted) in wanted.into_iter().enumerate() {
                assert_eq!(sent[layer] > 0, wanted, "{what}: {sent:?}");
            }
            let expected = place.map_or(0, |place| sent[LAYERS[place]]);
            let received = after.video[publisher] - before.video[publisher];
            assert!(
                received.abs_diff(expected) <= expected / 50,
                "{what}: {received} bytes of {expected}"
            );
        }
        assert_eq!(after.keyframe_requests, before.keyframe_requests);
        let heard = (PUBLISHERS * 50) as u64 * WINDOW.as_secs();
        for (viewer, frames) in [(0, page.len()), (1, 0)] {
            let (before, after) = (before.viewers[viewer], after.viewers[viewer]);
            let sound = after.sound - before.sound;
            assert!(
                sound.abs_diff(heard) <= PUBLISHERS as u64,
                "{sound} of {heard}"
            );
            let video = after.video - before.video;
            assert_eq!(video > 0, frames > 0, "viewer {viewer}");
            let rest = (after.datagrams - before.datagrams) - (after.payload - before.payload);
            let each = rest / (sound + video);
            assert!(each <= OVERHEAD, "viewer {viewer}: {each} bytes a packet");
        }
    }

    fn tally(&self) -> Tally {
        let publishers = || (0..PUBLISHERS).map(|publisher| &self.sim.clients[publisher]);
        let viewer = &self.sim.clients[self.viewer];
        let streams = (0..PUBLISHERS).map(|publisher| viewer.stream_of(self.track(publisher)));
        let sent = publishers().map(|client| client.video_sent());
        let requests = publishers().map(|client| client.keyframe_requests);
        Tally {
            video: streams
                .map(|stream| stream.map_or(0, |stream| stream.bytes))
                .collect(),
            sent: sent
                .map(|layers| layers.iter().map(|layer| layer.bytes).collect())
                .collect(),
            keyframe_requests: requests.sum(),
            viewers: [self.viewer, self.listener].map(|viewer| {
                let client = &self.sim.clients[viewer];
                let packets = |codec| {
                    let streams = client.streams.values();
                    let of = streams.filter(|stream| stream.codec == codec);
                    of.map(|stream| stream.packets).sum()
                };
                Received {
                    sound: packets(Codec::Opus),
                    video: packets(Codec::Vp8),
                    payload: client.streams.values().map(|stream| stream.bytes).sum(),
                    datagrams: client.datagram_bytes,
                }
            }),
        }
    }
}

/// Bytes and packets sent and received so far, as the clients count them.
struct Tally {
    /// Payload bytes that the viewer received of each publisher's video.
    video: Vec<u64>,
    /// Payload bytes that each publisher sent of each layer.
    sent: Vec<Vec<u64>>,
    keyframe_requests: usize,
    /// Counts of the viewer, and of the listener.
    viewers: [Received; 2],
}

#[derive(Clone, Copy)]
struct Received {
    /// Packets.
    sound: u64,
    video: u64,
    /// Bytes of their payloads.
    payload: u64,
    /// Bytes of all datagrams.
    datagrams: u64,
}

/// Runs a test on one worker, and on two that relay to each other.
fn both(seed: u64, test: impl Fn(Call)) {
    test(Call::new(Sim::new(seed)));
    test(Call::new(Sim::sharing(seed, 2, SimSharing::default())));
}

#[test]
fn a_page_of_six_costs_six_and_the_other_fourteen_are_off_within_two_seconds() {
    both(1_100, |mut call| {
        let page = [0, 1, 2, 3, 4, 5];
        call.shows(call.viewer, &page);
        let since = call.sim.now;
        call.sim.run(5 * SECOND);
        let took = call.until_off(&page, since);
        assert!(took < 2 * SECOND, "{took:?}");
        call.assert_costs_only(&page);

        // The next page has none of the first.
        let next = [6, 7, 8, 9, 10, 11];
        call.shows(call.viewer, &next);
        let since = call.sim.now;
        let took = call.until_shown(&next);
        assert!(took < SECOND, "{took:?}");
        call.sim.run(5 * SECOND);
        let took = call.until_off(&next, since);
        assert!(took < 2 * SECOND, "{took:?}");
        call.assert_costs_only(&next);
        assert_eq!(call.sim.relay.audit(), Vec::<String>::new());
    });
}
