//! A room on several workers.
//!
//! A room has a *part* on each worker it has grown to. A peer lives on one worker, and its tracks with it. To every
//! other part they are *piped tracks*: layers with packet caches of their own, and viewers of their own.
//! Slots, forwarders and rewriters work on these as on any track.
//!
//! [`poll_control`](Worker::poll_control) yields a worker's [`Control`] for others, and [`poll_batch`](Worker::poll_batch)
//! batches of packets. The driver of the workers carries them to [`handle_control`](Worker::handle_control) and
//! [`handle_batch`](Worker::handle_batch) of the other one, over whatever joins them ([`PipeEnd`](crate::pipe::PipeEnd) has
//! the contract). Control must arrive, in order, and before the batches that were handed out after it. A batch may be
//! lost, like packets on the way to a viewer: the viewer's NACKs then go unanswered, and it asks for a keyframe.
//!
//! - *Down* (from the publisher's worker) go tracks as they begin, change and end, layers as they come alive and die,
//!   and the packets, each with its layer's clock. Repaired packets go too: viewers elsewhere can only be sent again
//!   packets in the cache of their own worker.
//! - *Up* go keyframe requests, merged here and again there, and the layers that viewers here want: packets are sent
//!   only to parts with viewers of their track. A part that everybody has left costs the others only an entry in their
//!   list.
//! - Data channel messages go to every part, each of which delivers them to its own peers.
//!
//! # Who closes whom
//!
//! A peer that ends, ends its tracks; its worker tells the other parts ([`Control::Ended`]), and each frees its
//! viewers' slots. Only the publisher's worker emits the event. The control plane, which placed the parts, closes a
//! room part by part; a part that is told of tracks of a room it does not (or no longer) have ignores that. When a part
//! closes, its own tracks end at the other parts, and piped ones end with it. When a worker stops, the others end the
//! tracks it sent ([`pipe_lost`](Worker::pipe_lost)).

mod upstream;

use std::sync::Arc;
use std::time::Instant;

pub(super) use upstream::Upstream;

use super::Worker;
use super::room::Room;
use crate::drops::DropReason;
use crate::error::SfuError;
use crate::event::MediaKind;
use crate::id::{PeerId, RoomId, TrackId};
use crate::index::{TrackIx, WorkerIx};
use crate::ingress::Media;
use crate::packet::PassedOn;
use crate::pipe::{Batch, Control};
use crate::track::ladder::LayerSet;
use crate::track::{FromPipe, Piped, Source, Track, TrackState, Tracks};

/// Packets to be sent after which no more packets of other workers are taken in a turn. It is half of a turn, so that
/// neither these nor this worker's own peers wait for the other.
const BACKLOG: usize = 2_048;

impl Worker {
    /// Makes a part of a room that has `parts` already. Repeating it is no error.
    pub(crate) fn open_part(&mut self, room: RoomId, parts: &[WorkerIx]) {
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
    pub(crate) fn add_part(&mut self, room: RoomId, other: WorkerIx) -> Result<(), SfuError> {
        let part = self.rooms.get_mut(&room).ok_or(SfuError::NoSuchRoom)?;
        if part.parts.contains(&other) {
            return Ok(());
        }
        part.parts.push(other);
        let mut tracks: Vec<(PeerId, TrackState)> = part
            .tracks
            .values()
            .filter_map(|at| announced(&self.tracks, *at))
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
    pub(crate) fn poll_control(&mut self) -> Option<(WorkerIx, Control)> {
        while let Some(at) = self.upstream.take_changed() {
            self.tell_wanted(at);
        }
        self.outbox.pop_front()
    }

    /// The next batch for another worker, with that worker's index. Call it when [`poll_control`](Self::poll_control) has
    /// no more.
    pub(crate) fn poll_batch(&mut self) -> Option<(WorkerIx, Arc<Batch>)> {
        self.batches.poll()
    }

    /// Counts a batch that found no room in its pipe.
    pub(crate) fn batch_dropped(&mut self, batch: &Batch) {
        self.counters
            .drop_many(DropReason::RelayFull, batch.len() as u64);
    }

    /// Counts a data channel message that found no room in its pipe.
    pub(crate) fn control_dropped(&mut self) {
        self.counters.drop(DropReason::RelayControlFull);
    }

    /// Handles a control message of another worker.
    pub(crate) fn handle_control(&mut self, now: Instant, from: WorkerIx, control: Control) {
        match control {
            Control::Tracks { room, tracks } => {
                for (publisher, state) in tracks {
                    self.piped_track(now, from, room, publisher, state);
                }
            }
            Control::Layers {
                track,
                layers,
                order,
            } => {
                // Waiting packets were meant for the old layers.
                self.forward(now, usize::MAX);
                if let Some(at) = self.piped_at(track)
                    && let Some(track) = self.tracks.get_mut(at)
                    && track.follow_layers(&layers, order)
                {
                    self.retarget(now, at);
                }
            }
            Control::Ended { track } => {
                if let Some(at) = self.piped_at(track) {
                    self.end_piped(now, at);
                }
            }
            Control::Wanted {
                room,
                track,
                wanted,
            } => self.set_wanted(from, room, track, wanted),
            Control::Keyframe { room, track, layer } => {
                if let Some(at) = self.published_at(room, track) {
                    self.request_keyframe(now, at, layer);
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
            let Some(at) = self.tracks.find_next(packet.track) else {
                continue;
            };
            let Some(track) = self.tracks.get_mut(at) else {
                continue;
            };
            let Source::Pipe(piped) = &track.source else {
                continue;
            };
            if piped.wanted.is_empty() {
                continue;
            }
            let keep = track.kind == MediaKind::Video;
            let passed_on = PassedOn::find(&packet.header, datagram, &track.extensions);
            let Some(layer) = track.layers.get_mut(usize::from(packet.layer)) else {
                continue;
            };
            layer.receive_piped(
                now,
                FromPipe {
                    ssrc: packet.header.ssrc,
                    sequence: packet.sequence,
                    codec: packet.codec,
                    payload: packet.header.payload(datagram),
                    passed_on: &passed_on,
                    described: &packet.described,
                    sender: packet.sender,
                    keep,
                    caches: &piped.caches,
                    datagram,
                },
            );
            if packet.keyframe {
                layer.keyframes.received();
            }
            self.counters.relay_packets_in += 1;
            let media = Media {
                track: at,
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
            self.route(now, media, datagram);
        }
        taken
    }

    /// Ends the tracks that another worker sent, as that worker is gone.
    pub(crate) fn pipe_lost(&mut self, now: Instant, from: WorkerIx) {
        let is_lost = |track: &Track| track.piped().is_some_and(|piped| piped.from == from);
        let lost = self.tracks.iter().filter(|(_, track)| is_lost(track));
        for at in lost.map(|(at, _)| at).collect::<Vec<_>>() {
            self.end_piped(now, at);
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
        let at = part.tracks.get(&track);
        let Some(announced) = at.and_then(|at| announced(&self.tracks, *at)) else {
            return;
        };
        for other in &part.parts {
            let tracks = vec![announced.clone()];
            self.outbox
                .push_back((*other, Control::Tracks { room, tracks }));
        }
    }

    /// Tells the other parts of layers that came alive or died, if a peer of this worker publishes the track.
    pub(super) fn announce_layers(&mut self, at: TrackIx) {
        let track = self.tracks.get(at);
        let Some(track) = track.filter(|track| track.peer().is_some()) else {
            return;
        };
        let Some(room) = self.rooms.get(&track.room) else {
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
    pub(super) fn request_piped_keyframe(&mut self, now: Instant, at: TrackIx, layer: usize) {
        if self
            .upstream
            .request_keyframe(now, &mut self.tracks, at, layer)
        {
            self.ask_keyframe(at, layer);
        }
    }

    /// Sends the keyframe requests that are due for piped tracks.
    pub(super) fn poll_upstream(&mut self, now: Instant) {
        while let Some((at, layer)) = self.upstream.take_due(now, &mut self.tracks) {
            self.ask_keyframe(at, layer);
        }
    }

    /// Ends the tracks that other parts of a room send to this one.
    pub(super) fn end_part(&mut self, now: Instant, room: RoomId) {
        let is_piped = |track: &Track| track.room == room && track.piped().is_some();
        let piped = self.tracks.iter().filter(|(_, track)| is_piped(track));
        for at in piped.map(|(at, _)| at).collect::<Vec<_>>() {
            self.end_piped(now, at);
        }
    }

    fn ask_keyframe(&mut self, at: TrackIx, layer: usize) {
        // The new worker needs an answer even if the old one had one: the one that asked before may have left.
        self.tell_wanted(at);
        let Some(track) = self.tracks.get(at) else {
            return;
        };
        if let Some(piped) = track.piped().filter(|piped| !piped.wanted.is_empty()) {
            let (room, track) = (track.room, track.id);
            self.outbox
                .push_back((piped.from, Control::Keyframe { room, track, layer }));
        }
    }

    /// Tells the publisher's worker which layers viewers here want of a track, if that has changed.
    pub(super) fn tell_wanted(&mut self, at: TrackIx) {
        let Some(track) = self.tracks.get(at) else {
            return;
        };
        let wanted = self.wanted_of(track).layers;
        let Some(track) = self.tracks.get_mut(at) else {
            return;
        };
        let Some(piped) = track.piped_mut() else {
            return;
        };
        let from = piped.from;
        if std::mem::replace(&mut piped.wanted, wanted) == wanted {
            return;
        }
        if wanted.is_empty() {
            track.forget_packets();
        }
        let control = Control::Wanted {
            room: track.room,
            track: track.id,
            wanted,
        };
        self.outbox.push_back((from, control));
    }

    /// Forgets the layers that another worker wanted, as that worker is gone.
    fn forget_wants(&mut self, from: WorkerIx) {
        for (at, track) in self.tracks.iter_mut() {
            if track.sinks.set_pipe(from, LayerSet::NONE) {
                self.marks.mark(at);
            }
        }
        self.release_batches();
    }

    fn set_wanted(&mut self, from: WorkerIx, room: RoomId, track: TrackId, wanted: LayerSet) {
        let Some(at) = self.published_at(room, track) else {
            return;
        };
        let track = self.tracks.get_mut(at);
        if track.is_some_and(|track| track.sinks.set_pipe(from, wanted)) {
            self.marks.mark(at);
        }
        self.release_batches();
    }

    /// Frees the memory for batches once no track is sent to another worker.
    pub(super) fn release_batches(&mut self) {
        if self.batches.pooled() == 0 {
            return;
        }
        let mut tracks = self.tracks.iter();
        if tracks.all(|(_, track)| track.sinks.pipes().is_empty()) {
            self.batches.release();
        }
    }

    fn piped_track(
        &mut self,
        now: Instant,
        from: WorkerIx,
        room: RoomId,
        publisher: PeerId,
        state: TrackState,
    ) {
        // The room was closed meanwhile; the other worker will soon know.
        let Some(part) = self.rooms.get_mut(&room) else {
            return;
        };
        let id = state.id;
        if let Some(at) = self.tracks.find(id) {
            let track = self.tracks.get_mut(at);
            let Some(track) = track.filter(|track| track.piped().is_some()) else {
                return;
            };
            let other_codecs = track.codecs != state.codecs;
            let before = track.settings;
            let changed = track.follow(state);
            if track.settings != before {
                self.settings_changed(now, at);
            } else if changed {
                self.retarget(now, at);
            }
            if other_codecs {
                self.follow_publisher(now, at);
            }
            return;
        }
        let piped = Piped {
            from,
            wanted: LayerSet::NONE,
            caches: self.config.caches.share(),
        };
        let track = Track::from_pipe(state, room, publisher, piped);
        part.tracks.insert(id, self.tracks.insert(track));
        self.last_n_changed(now, room);
        self.auto_subscribe(now, room, id, None);
    }

    fn end_piped(&mut self, now: Instant, at: TrackIx) {
        let Some(track) = self.tracks.remove(at) else {
            return;
        };
        self.upstream.forget(at);
        self.forget_track(now, track.room, track.id, None);
    }

    /// A track that a peer of this worker publishes in a room.
    pub(super) fn published_at(&self, room: RoomId, track: TrackId) -> Option<TrackIx> {
        let at = *self.rooms.get(&room)?.tracks.get(&track)?;
        self.tracks.get(at)?.peer()?;
        Some(at)
    }

    /// A track that another worker sends.
    fn piped_at(&self, track: TrackId) -> Option<TrackIx> {
        let at = self.tracks.find(track)?;
        self.tracks.get(at)?.piped()?;
        Some(at)
    }
}

/// The state of a track that a peer of this worker publishes, to announce to other parts.
fn announced(tracks: &Tracks, at: TrackIx) -> Option<(PeerId, TrackState)> {
    let track = tracks.get(at)?;
    track.peer()?;
    Some((track.publisher, track.state()))
}
