//! Who turns a picture that was taken with the camera on its side: its publisher or its viewers.
//!
//! A publisher that agrees on the orientation extension (3GPP TS 26.114 section 7.4.5) sends pictures as they
//! were taken and says how they are to be turned. A viewer that has not negotiated it shows them lying on
//! their side. So an answer agrees on it only while every viewer in the room has it, on whatever worker; a
//! room without viewers is no obstacle. Without it a publisher turns its pictures before it encodes them.
//!
//! When a viewer without it comes, a publisher that has sent turned pictures is asked to offer again; most never
//! do, and are left in peace. When the last such viewer has gone, the next offer is answered with the extension
//! again: pictures are right either way.
//!
//! Chromium (156) does not turn frames that bring a rotation of their own, but drops them. A publisher of whom
//! nothing comes any more once the extension was left out is therefore asked to offer once more, and keeps it:
//! a picture on its side is better than none.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Control, Worker};
use crate::event::{Event, MediaKind, RenegotiationReason};
use crate::id::{PeerId, RoomId};
use crate::ingress::Media;
use crate::rtp::extension::ExtensionKind;
use crate::transport::sdp::Offer;

use super::codecs::publishes_video;

/// What comes within this of an answer was made before it.
const UNDER_WAY: Duration = Duration::from_secs(1);
/// For an encoder that starts anew with pictures of another shape.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is known of the pictures that a publisher sends.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pictures {
    /// Some are to be turned by the viewers.
    turned: bool,
    /// The extension was left out then, and none came since.
    awaited: Option<Instant>,
    /// None come without it.
    insists: bool,
}

/// Publishers whose pictures are awaited.
#[derive(Debug, Default)]
pub(super) struct Awaited(BTreeSet<(Instant, PeerId)>);

impl Awaited {
    /// When one has been awaited for long enough.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.0.first().map(|(due, _)| *due)
    }
}

impl Worker {
    /// Whether a room has a viewer that shows pictures as they come.
    fn has_viewers_that_do_not_turn(&self, room: RoomId) -> bool {
        let room = self.rooms.get(&room);
        room.is_some_and(|room| room.unturning > 0 || !room.unturning_parts.is_empty())
    }

    /// Takes the extension from what an offer publishes if not all viewers have it. Whether it did.
    pub(super) fn agree_on_orientation(
        &self,
        room: RoomId,
        peer: Option<usize>,
        offer: &mut Offer,
    ) -> bool {
        let peer = peer.and_then(|peer| self.peers.get(peer));
        let insists = peer.is_some_and(|peer| peer.pictures.insists);
        // Whoever offers does not watch itself.
        let own = peer.is_some_and(|peer| !peer.subscriber.turns());
        let lacking = self.rooms.get(&room).is_some_and(|room| {
            room.unturning > usize::from(own) || !room.unturning_parts.is_empty()
        });
        if insists || !lacking {
            return false;
        }
        let mut left_out = false;
        for media in offer
            .media
            .iter_mut()
            .filter(|media| publishes_video(media))
        {
            let before = media.extensions.len();
            media
                .extensions
                .retain(|extension| extension.kind != ExtensionKind::VideoOrientation);
            left_out |= media.extensions.len() < before;
        }
        left_out
    }

    /// A publisher was answered; `left_out`: without the extension that it offered.
    pub(super) fn orientation_answered(&mut self, now: Instant, index: usize, left_out: bool) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let pictures = &mut peer.pictures;
        if !left_out || !std::mem::take(&mut pictures.turned) {
            return;
        }
        pictures.awaited = Some(now);
        self.awaited.0.insert((now + PATIENCE, peer.id));
    }

    /// Looks at a packet of a publisher's.
    pub(super) fn look_at_orientation(
        &mut self,
        now: Instant,
        index: usize,
        media: &Media,
        datagram: &[u8],
    ) {
        let Some(peer) = self.peers.get_mut(index) else {
            return;
        };
        let pictures = &mut peer.pictures;
        pictures.awaited = pictures.awaited.filter(|at| now < *at + UNDER_WAY);
        if pictures.turned || !media.passed_on.is_turned(datagram) {
            return;
        }
        pictures.turned = true;
        let room = peer.room;
        if self.has_viewers_that_do_not_turn(room) {
            self.ask_to_turn(index);
        }
    }

    /// A viewer's m-lines changed, or it is gone: it showed pictures as they come before, and does now.
    pub(super) fn turning_changed(&mut self, room: RoomId, (before, now): (bool, bool)) {
        let Some(part) = self.rooms.get_mut(&room).filter(|_| before != now) else {
            return;
        };
        let had = part.unturning > 0;
        part.unturning = part.unturning + usize::from(now) - usize::from(before);
        let has = part.unturning > 0;
        if had == has {
            return;
        }
        for other in &part.parts {
            let control = Control::Turning { room, all: !has };
            self.outbox.push_back((*other, control));
        }
        if has {
            self.ask_all_to_turn(room);
        }
    }

    /// Another part says whether all of its viewers turn pictures.
    pub(super) fn take_turning(&mut self, from: u16, room: RoomId, all: bool) {
        let Some(part) = self.rooms.get_mut(&room) else {
            return;
        };
        part.unturning_parts.retain(|other| *other != from);
        if !all {
            part.unturning_parts.push(from);
            self.ask_all_to_turn(room);
        }
    }

    /// Tells a new part of the room.
    pub(super) fn announce_turning(&mut self, room: RoomId, other: u16) {
        if self.rooms.get(&room).is_some_and(|room| room.unturning > 0) {
            let control = Control::Turning { room, all: false };
            self.outbox.push_back((other, control));
        }
    }

    fn ask_all_to_turn(&mut self, room: RoomId) {
        let peers = self.rooms.get(&room).map(|room| room.peers.clone());
        for index in peers.into_iter().flatten() {
            let peer = self.peers.get(index);
            if peer.is_some_and(|peer| peer.pictures.turned && !peer.pictures.insists) {
                self.ask_to_turn(index);
            }
        }
    }

    fn ask_to_turn(&mut self, index: usize) {
        let Some(peer) = self.peers.get(index).filter(|peer| !peer.pictures.insists) else {
            return;
        };
        let (room, peer) = (peer.room, peer.id);
        tracing::info!(%room, %peer, "asked to offer again, for the orientation of its pictures");
        let reason = RenegotiationReason::Extension;
        self.events
            .push_back(Event::RenegotiationWanted { room, peer, reason });
    }

    /// Looks at who was awaited for long enough.
    pub(super) fn poll_awaited(&mut self, now: Instant) {
        while let Some((_, id)) = self.awaited.0.first().copied().filter(|(at, _)| *at <= now) {
            self.awaited.0.pop_first();
            let Some(index) = self.by_id.get(&id).copied() else {
                continue;
            };
            let Some(peer) = self.peers.get_mut(index) else {
                continue;
            };
            if peer.pictures.awaited.take().is_none() || !self.is_watched(index) {
                continue;
            }
            self.ask_to_turn(index);
            if let Some(peer) = self.peers.get_mut(index) {
                peer.pictures.insists = true;
            }
        }
    }

    /// Whether any video of a peer is to be sent to anybody.
    fn is_watched(&self, index: usize) -> bool {
        let tracks = self.peers.get(index).map(|peer| peer.publisher.tracks());
        let mut videos = tracks
            .into_iter()
            .flatten()
            .filter(|(_, track)| track.kind == MediaKind::Video && track.live);
        videos.any(|(_, track)| !self.wanted_of(track).0.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::event::Answer;
    use crate::testing::{SimRelay, SimSharing, epoch};

    const ORIENTATION: &str = "a=extmap:13 urn:3gpp:video-orientation\r\n";

    struct Call {
        relay: SimRelay,
        room: RoomId,
    }

    impl Call {
        fn new(workers: u16) -> Self {
            let addrs: Vec<_> = (0..workers)
                .map(|at| ([10, 0, 0, 1], 1 + at).into())
                .collect();
            let limits = Limits::default();
            let mut relay =
                SimRelay::with_workers(epoch(), &addrs, 1, limits, SimSharing::default());
            let room = relay.create_room();
            Self { relay, room }
        }

        fn join(&mut self, direction: &str, turns: bool) -> (PeerId, Answer) {
            let offer = offer(direction, turns);
            let joined = self.relay.join(epoch(), self.room, &offer, true);
            joined.expect("joins")
        }

        fn again(&mut self, peer: PeerId, direction: &str, turns: bool) -> Answer {
            let offer = offer(direction, turns);
            self.relay.offer(epoch(), peer, &offer).expect("an answer")
        }
    }

    fn offer(direction: &str, turns: bool) -> String {
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=ice-ufrag:Wj1g\r\n\
             a=ice-pwd:YIeTuvxYyPudqoT4P6vMAjRk\r\na=setup:actpass\r\na=fingerprint:sha-256 \
             05:5E:B5:FD:A2:A4:2F:6C:59:02:BE:36:5E:68:81:72:34:7F:E8:34:4F:15:3F:CC:90:C7:BA:64:2B:46:D8:A9\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=mid:0\r\na={direction}\r\n\
             {}a=rtpmap:96 VP8/90000\r\n",
            if turns { ORIENTATION } else { "" }
        )
    }

    fn agrees(answer: &Answer) -> bool {
        answer.sdp.contains(ORIENTATION)
    }

    #[test]
    fn it_is_agreed_on_while_all_viewers_turn_on_whatever_worker() {
        for workers in [1, 2] {
            let mut call = Call::new(workers);
            let (publisher, answer) = call.join("sendonly", true);
            assert!(agrees(&answer), "nobody is there");
            let (_, answer) = call.join("recvonly", true);
            assert!(agrees(&answer), "viewers may always");
            assert!(agrees(&call.again(publisher, "sendonly", true)));

            let (viewer, _) = call.join("recvonly", false);
            assert!(!agrees(&call.again(publisher, "sendonly", true)));
            assert!(!agrees(&call.join("sendonly", true).1), "{workers} workers");

            // It goes, or negotiates it.
            call.again(viewer, "recvonly", true);
            assert!(agrees(&call.again(publisher, "sendonly", true)));
            call.again(viewer, "recvonly", false);
            assert!(!agrees(&call.again(publisher, "sendonly", true)));
            call.relay.close_peer(epoch(), viewer);
            assert!(
                agrees(&call.again(publisher, "sendonly", true)),
                "{workers} workers"
            );
        }
    }

    #[test]
    fn a_part_that_is_opened_later_knows_of_viewers_that_do_not_turn() {
        let mut call = Call::new(2);
        call.join("recvonly", false);
        let (publisher, answer) = call.join("sendonly", true);
        assert_eq!(call.relay.worker_of(publisher), 1);
        assert!(!agrees(&answer));
    }
}
