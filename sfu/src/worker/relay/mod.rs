//! A room on several workers.
//!
//! A room has a *part* on each worker it has grown to. A peer lives on one worker, and its tracks with it. To every
//! other part they are *relayed tracks*: layers with packet caches of their own and a fan-out in that worker's router.
//! Slots, forwarders and rewriters work on these as on any track.
//!
//! [`poll_relay`](Worker::poll_relay) yields a worker's [`Control`] for others, and [`poll_batch`](Worker::poll_batch)
//! batches of packets. The driver of the workers carries them to [`handle_relay`](Worker::handle_relay) and
//! [`handle_batch`](Worker::handle_batch) of the other one. Control must arrive, in order, and before the batches that
//! were handed out after it. A batch may be lost, like packets on the way to a viewer: the viewer's NACKs then go
//! unanswered, and it asks for a keyframe.
//!
//! - *Down* (from the publisher's worker) go tracks as they begin, change and end, layers as they come alive and die,
//!   and the packets, each with its layer's clock. Repaired packets go too: viewers elsewhere can only be sent again
//!   packets in the cache of their own worker.
//! - *Up* go keyframe requests, merged here and again there, and the layers that viewers here want: packets are relayed
//!   only to parts with viewers of their track. A part that everybody has left costs the others only an entry in their
//!   list.
//! - Data channel messages go to every part, each of which delivers them to its own peers.
//!
//! # Who closes whom
//!
//! A peer that ends, ends its tracks; its worker tells the other parts ([`Control::Ended`]), and each frees its
//! viewers' slots. Only the publisher's worker emits the event. The control plane, which placed the parts, closes a
//! room part by part; a part that is told of tracks of a room it does not (or no longer) have ignores that. When a part
//! closes, its own tracks end at the other parts, and relayed ones end with it. When a worker stops, the others end the
//! tracks it relayed ([`relay_lost`](Worker::relay_lost)).

mod tracks;

use std::sync::Arc;
use std::time::Instant;

use tracks::RelayedTrack;
pub(super) use tracks::RelayedTracks;

use slab::Slab;

use super::Worker;
use super::codecs::Audience;
use super::data::Data;
use super::peer::Peer;
use crate::audio::Digest;
use crate::drops::DropReason;
use crate::error::SfuError;
use crate::event::MediaKind;
use crate::id::{PeerId, RoomId, TrackId};
use crate::ingress::{LayerState, Media, Relayed, Track, TrackState};
use crate::ladder::{LayerSet, Ranks};
use crate::packet::PassedOn;
use crate::place::Place;
use crate::router::{Batch, Room};

/// Packets to be sent after which no more packets of other workers are taken in a turn. It is half of a turn, so that
/// neither these nor this worker's own peers wait for the other.
const BACKLOG: usize = 2_048;

/// A message between workers about a room they share.
#[derive(Clone, Debug)]
pub(crate) enum Control {
    /// Tracks begin, or are renegotiated.
    Tracks {
        room: RoomId,
        tracks: Vec<(PeerId, TrackState)>,
    },
    /// Layers of a track came alive or died, or their order changed.
    Layers {
        track: TrackId,
        layers: Vec<LayerState>,
        order: Ranks,
    },
    /// A track is gone.
    Ended { track: TrackId },
    /// To the publisher's worker: the layers that viewers here want. The track's packets are relayed if there is any.
    Wanted {
        room: RoomId,
        track: TrackId,
        wanted: LayerSet,
    },
    /// To the publisher's worker: a viewer needs a keyframe.
    Keyframe {
        room: RoomId,
        track: TrackId,
        layer: usize,
    },
    /// From the publisher's worker: a viewer somewhere cannot decode a track; report which viewers can.
    Survey { room: RoomId, track: TrackId },
    /// To the publisher's worker: the viewers here, and those that cannot decode the track.
    Audience {
        room: RoomId,
        track: TrackId,
        /// Boxed, as it is rare and large: each place in a ring has room for the largest message.
        audience: Box<Audience>,
    },
    /// To each other part: whether all viewers here turn pictures.
    Turning { room: RoomId, all: bool },
    /// To the worker that decides about speakers: the levels heard in the last interval.
    Levels {
        room: RoomId,
        levels: Vec<(TrackId, PeerId, Digest)>,
    },
    /// From the worker that decides about speakers.
    Speakers {
        room: RoomId,
        recent: Vec<(TrackId, PeerId)>,
        speaking: usize,
    },
    /// A data channel message for all peers in the room.
    Data(Data),
}

impl Worker {
    /// Makes a part of a room that has `parts` already. Repeating it is no error.
    pub(crate) fn open_part(&mut self, room: RoomId, parts: &[u16]) {
        let part = self.rooms.entry(room).or_insert_with(|| {
            tracing::info!(%room, "room grows to this worker");
            Room::new()
        });
        for other in parts {
            if !part.parts.contains(other) {
                part.parts.push(*other);
            }
        }
    }

    /// Tells a part made on another worker of this part's tracks.
    pub(crate) fn add_part(&mut self, room: RoomId, other: u16) -> Result<(), SfuError> {
        let part = self.rooms.get_mut(&room).ok_or(SfuError::NoSuchRoom)?;
        if part.parts.contains(&other) {
            return Ok(());
        }
        part.parts.push(other);
        let mut tracks: Vec<(PeerId, TrackState)> = part
            .tracks
            .values()
            .filter_map(|place| announced(&self.peers, *place))
            .collect();
        tracks.sort_unstable_by_key(|(_, track)| track.id);
        if !tracks.is_empty() {
            self.outbox
                .push_back((other, Control::Tracks { room, tracks }));
        }
        self.announce_speakers(room, other);
        self.announce_turning(room, other);
        Ok(())
    }

    /// The next control message for another worker, with that worker's index.
    pub(crate) fn poll_relay(&mut self) -> Option<(u16, Control)> {
        while let Some(index) = self.router.take_changed() {
            self.tell_wanted(index);
        }
        self.outbox.pop_front()
    }

    /// The next batch for another worker, with that worker's index. Call it when [`poll_relay`](Self::poll_relay) has
    /// no more.
    pub(crate) fn poll_batch(&mut self) -> Option<(u16, Arc<Batch>)> {
        self.batches.poll()
    }

    /// Counts a batch that found no room in its ring.
    pub(crate) fn batch_dropped(&mut self, batch: &Batch) {
        self.counters
            .drop_many(DropReason::RelayFull, batch.len() as u64);
    }

    /// Counts a data channel message that found no room in its ring.
    pub(crate) fn control_dropped(&mut self) {
        self.counters.drop(DropReason::RelayControlFull);
    }

    /// Handles a control message of another worker.
    pub(crate) fn handle_relay(&mut self, now: Instant, from: u16, control: Control) {
        match control {
            Control::Tracks { room, tracks } => {
                for (publisher, state) in tracks {
                    self.relayed_track(now, from, room, publisher, state);
                }
            }
            Control::Layers {
                track,
                layers,
                order,
            } => {
                // Waiting packets were meant for the old layers.
                self.forward(now, usize::MAX);
                if let Some(index) = self.relayed.index_of(track)
                    && let Some(relayed) = self.relayed.get_mut(index)
                    && relayed.track.follow_layers(&layers, order)
                {
                    self.retarget(now, Place::Relayed(index));
                }
            }
            Control::Ended { track } => {
                if let Some(index) = self.relayed.index_of(track) {
                    self.end_relayed(now, index);
                }
            }
            Control::Wanted {
                room,
                track,
                wanted,
            } => self.set_wanted(from, room, track, wanted),
            Control::Keyframe { room, track, layer } => {
                if let Some(place) = self.published_place(room, track) {
                    self.request_keyframe(now, place, layer);
                }
            }
            Control::Survey { room, track } => self.survey(now, room, track),
            Control::Audience {
                room,
                track,
                audience,
            } => self.take_audience(now, from, (room, track), *audience),
            Control::Turning { room, all } => self.take_turning(now, from, room, all),
            Control::Levels { room, levels } => self.take_levels(now, room, &levels),
            Control::Speakers {
                room,
                recent,
                speaking,
            } => self.take_speakers(now, room, recent, speaking),
            Control::Data(data) => self.deliver_data(now, None, &data),
        }
    }

    /// Takes packets that another worker received, from index `from` of a batch on, until a turn is half full: the
    /// other half is the socket's. Returns the number taken.
    pub(crate) fn handle_batch(&mut self, now: Instant, batch: &Batch, from: usize) -> usize {
        let mut taken = 0;
        for (packet, datagram) in batch.packets().skip(from) {
            if self.backlog() >= BACKLOG {
                break;
            }
            taken += 1;
            // The track ended while the packet was on its way, or the packet is for other workers.
            let Some(index) = self.relayed.index_of_next(packet.track) else {
                continue;
            };
            let Some(relayed) = self
                .relayed
                .get_mut(index)
                .filter(|track| !track.wanted.is_empty())
            else {
                continue;
            };
            let keep = relayed.track.kind == MediaKind::Video;
            let passed_on = PassedOn::find(&packet.header, datagram, &relayed.track.extensions);
            let Some(layer) = relayed.track.layers.get_mut(usize::from(packet.layer)) else {
                continue;
            };
            layer.receive_relayed(
                now,
                Relayed {
                    ssrc: packet.header.ssrc,
                    sequence: packet.sequence,
                    codec: packet.codec,
                    payload: packet.header.payload(datagram),
                    passed_on: &passed_on,
                    described: &packet.described,
                    sender: packet.sender,
                    keep,
                    caches: &relayed.caches,
                    datagram,
                },
            );
            if packet.keyframe {
                layer.keyframes.received();
            }
            self.counters.relay_packets_in += 1;
            let media = Media {
                track: index,
                layer: usize::from(packet.layer),
                sequence: packet.sequence,
                start: 0,
                header: packet.header,
                codec: packet.codec,
                keyframe: packet.keyframe,
                described: packet.described,
                passed_on,
                first: false,
                anew: packet.anew,
                layers_changed: false,
            };
            self.route(now, Place::Relayed(index), media, datagram);
        }
        taken
    }

    /// Ends the tracks that another worker relayed, as that worker is gone.
    pub(crate) fn relay_lost(&mut self, now: Instant, from: u16) {
        let lost = self.relayed.iter().filter(|(_, track)| track.from == from);
        for index in lost.map(|(index, _)| index).collect::<Vec<_>>() {
            self.end_relayed(now, index);
        }
        for room in self.rooms.values_mut() {
            room.parts.retain(|part| *part != from);
            room.unturning_parts.retain(|part| *part != from);
        }
        self.forget_wants(from);
        self.forget_audience(now, from);
    }

    /// Tells the other parts of a track that began or changed.
    pub(super) fn announce(&mut self, room: RoomId, track: TrackId) {
        let Some(part) = self.rooms.get(&room).filter(|part| !part.parts.is_empty()) else {
            return;
        };
        let place = part.tracks.get(&track);
        let Some(announced) = place.and_then(|place| announced(&self.peers, *place)) else {
            return;
        };
        for other in &part.parts {
            let tracks = vec![announced.clone()];
            self.outbox
                .push_back((*other, Control::Tracks { room, tracks }));
        }
    }

    /// Tells the other parts of layers that came alive or died.
    pub(super) fn announce_layers(&mut self, place: Place) {
        let Place::Published { peer, track } = place else {
            return;
        };
        let Some(peer) = self.peers.get(peer) else {
            return;
        };
        let (Some(room), Some(track)) = (self.rooms.get(&peer.room), peer.publisher.track(track))
        else {
            return;
        };
        for other in &room.parts {
            let control = Control::Layers {
                track: track.id,
                layers: track.layer_states(),
                order: track.order(),
            };
            self.outbox.push_back((*other, control));
        }
    }

    /// Tells the other parts that a track is gone.
    pub(super) fn announce_end(&mut self, room: RoomId, track: TrackId) {
        for other in self.rooms.get(&room).iter().flat_map(|part| &part.parts) {
            self.outbox.push_back((*other, Control::Ended { track }));
        }
    }

    /// Asks the publisher's worker for a keyframe, merged with other requests here.
    pub(super) fn request_relayed_keyframe(&mut self, now: Instant, index: usize, layer: usize) {
        if self.relayed.request_keyframe(now, index, layer) {
            self.ask_keyframe(index, layer);
        }
    }

    /// Sends the keyframe requests that are due for relayed tracks.
    pub(super) fn poll_relayed(&mut self, now: Instant) {
        while let Some((index, layer)) = self.relayed.take_due(now) {
            self.ask_keyframe(index, layer);
        }
    }

    /// Ends the tracks that other parts of a room relay to this one.
    pub(super) fn end_part(&mut self, now: Instant, room: RoomId) {
        let relayed = self.relayed.iter().filter(|(_, track)| track.room == room);
        for index in relayed.map(|(index, _)| index).collect::<Vec<_>>() {
            self.end_relayed(now, index);
        }
    }

    fn ask_keyframe(&mut self, index: usize, layer: usize) {
        // The new worker needs an answer even if the old one had one: the one that asked before may have left.
        self.tell_wanted(index);
        let relayed = self.relayed.get(index);
        if let Some(relayed) = relayed.filter(|track| !track.wanted.is_empty()) {
            let (room, track) = (relayed.room, relayed.track.id);
            self.outbox
                .push_back((relayed.from, Control::Keyframe { room, track, layer }));
        }
    }

    /// Tells the publisher's worker which layers viewers here want of a track, if that has changed.
    pub(super) fn tell_wanted(&mut self, index: usize) {
        let Some(relayed) = self.relayed.get(index) else {
            return;
        };
        let (wanted, _) = self.wanted_of(&relayed.track);
        let Some(relayed) = self.relayed.get_mut(index) else {
            return;
        };
        if std::mem::replace(&mut relayed.wanted, wanted) == wanted {
            return;
        }
        if wanted.is_empty() {
            relayed.track.forget_packets();
        }
        let control = Control::Wanted {
            room: relayed.room,
            track: relayed.track.id,
            wanted,
        };
        self.outbox.push_back((relayed.from, control));
    }

    /// Forgets the layers that another worker wanted, as that worker is gone.
    fn forget_wants(&mut self, from: u16) {
        for (peer, publisher) in &mut self.peers {
            for (track, published) in publisher.publisher.tracks_mut() {
                published.relayed_to.retain(|other| *other != from);
                if published.demand.set_elsewhere(from, LayerSet::NONE) {
                    self.marks.mark(Place::Published { peer, track });
                }
            }
        }
        self.release_batches();
    }

    fn set_wanted(&mut self, from: u16, room: RoomId, track: TrackId, wanted: LayerSet) {
        let Some(place) = self.published_place(room, track) else {
            return;
        };
        let Place::Published { peer, track } = place else {
            return;
        };
        let peer = self.peers.get_mut(peer);
        if let Some(track) = peer.and_then(|peer| peer.publisher.track_mut(track)) {
            track.relayed_to.retain(|other| *other != from);
            if !wanted.is_empty() {
                track.relayed_to.push(from);
            }
            if track.demand.set_elsewhere(from, wanted) {
                self.marks.mark(place);
            }
        }
        self.release_batches();
    }

    /// Frees the memory for batches once no track is relayed.
    pub(super) fn release_batches(&mut self) {
        if self.batches.pooled() == 0 {
            return;
        }
        let mut tracks = self
            .peers
            .iter()
            .flat_map(|(_, peer)| peer.publisher.tracks());
        if tracks.all(|(_, track)| track.relayed_to.is_empty()) {
            self.batches.release();
        }
    }

    fn relayed_track(
        &mut self,
        now: Instant,
        from: u16,
        room: RoomId,
        publisher: PeerId,
        state: TrackState,
    ) {
        // The room was closed meanwhile; the other worker will soon know.
        let Some(part) = self.rooms.get_mut(&room) else {
            return;
        };
        let id = state.id;
        if let Some(index) = self.relayed.index_of(id) {
            let Some(relayed) = self.relayed.get_mut(index) else {
                return;
            };
            let other_codecs = relayed.track.codecs != state.codecs;
            let before = relayed.track.settings;
            let changed = relayed.track.follow(state);
            if relayed.track.settings != before {
                self.settings_changed(now, Place::Relayed(index));
            } else if changed {
                self.retarget(now, Place::Relayed(index));
            }
            if other_codecs {
                self.follow_publisher(now, Place::Relayed(index));
            }
            return;
        }
        let fanout = self.router.insert_watched(self.relayed.next_index());
        let index = self.relayed.insert(RelayedTrack {
            track: Track::relayed(state, fanout),
            room,
            publisher,
            from,
            wanted: LayerSet::NONE,
            caches: self.config.caches.share(),
        });
        part.tracks.insert(id, Place::Relayed(index));
        self.last_n_changed(now, room);
        self.auto_subscribe(now, room, id, None);
    }

    fn end_relayed(&mut self, now: Instant, index: usize) {
        let Some(relayed) = self.relayed.remove(index) else {
            return;
        };
        self.router.remove(relayed.track.fanout);
        self.forget_track(now, relayed.room, relayed.track.id, None);
    }

    fn published_place(&self, room: RoomId, track: TrackId) -> Option<Place> {
        let place = *self.rooms.get(&room)?.tracks.get(&track)?;
        matches!(place, Place::Published { .. }).then_some(place)
    }
}

/// A track, published here or relayed.
pub(super) fn track_at<'a>(
    peers: &'a Slab<Peer>,
    relayed: &'a RelayedTracks,
    place: Place,
) -> Option<&'a Track> {
    match place {
        Place::Published { peer, track } => peers.get(peer)?.publisher.track(track),
        Place::Relayed(index) => Some(&relayed.get(index)?.track),
    }
}

/// A track, published here or relayed, and one of its viewers.
pub(super) fn track_and_viewer<'a>(
    peers: &'a mut Slab<Peer>,
    relayed: &'a RelayedTracks,
    place: Place,
    viewer: usize,
) -> Option<(&'a Track, &'a mut Peer)> {
    match place {
        Place::Published { peer, track } => {
            let (publisher, viewer) = peers.get2_mut(peer, viewer)?;
            Some((publisher.publisher.track(track)?, viewer))
        }
        Place::Relayed(index) => Some((&relayed.get(index)?.track, peers.get_mut(viewer)?)),
    }
}

/// The state of a track of this part, to announce to other parts.
fn announced(peers: &Slab<Peer>, place: Place) -> Option<(PeerId, TrackState)> {
    let Place::Published { peer, track } = place else {
        return None;
    };
    let peer = peers.get(peer)?;
    Some((peer.id, peer.publisher.track(track)?.state()))
}
