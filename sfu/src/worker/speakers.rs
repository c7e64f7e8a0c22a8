//! Active speakers of each room: the audio and video forwarded because of them, and the events about them.
//!
//! A worker hears the levels of its own publishers. The lowest-numbered worker with a part of a room decides for all of
//! it. The others report to it every 300 ms, while anybody is heard, the levels they heard ([`Control::Levels`]). It
//! tells them, and the control plane, of changes ([`Control::Speakers`], [`Event::SpeakersChanged`]). When another
//! worker becomes the lowest, it goes on from the last report.
//!
//! Each worker selects the audio tracks to forward by itself, among those it receives. The loudest of the room are
//! among the loudest of each of its parts, so that none of them is missing anywhere, and quiet tracks are not even
//! sent to other workers.

use std::time::Instant;

use super::{Control, Worker};
use crate::audio::{Hearing, Sound, decider};
use crate::event::Event;
use crate::id::{PeerId, RoomId, TrackId};
use crate::index::{TrackIx, WorkerIx};
use crate::ingress::Media;
use crate::rtp::extension::{AudioLevel, ExtensionKind};

impl Worker {
    /// Judges an audio packet; false if it is too quiet to be forwarded.
    pub(super) fn hear(&mut self, now: Instant, media: &Media, datagram: &[u8]) -> bool {
        let Some(track) = self.tracks.get(media.track) else {
            return true;
        };
        // A track without levels never speaks, and is always forwarded.
        let id = track.extensions.id(ExtensionKind::AudioLevel);
        let level = id.and_then(|id| media.header.extension(datagram, id));
        let Some(level) = level.and_then(AudioLevel::parse) else {
            return true;
        };
        let (id, room) = (track.id, track.room);
        let own = track.peer().map(|_| track.publisher);
        let loudness = level.loudness();
        let Some(part) = self.rooms.get_mut(&room) else {
            return true;
        };
        if let Some(publisher) = own
            && part
                .speakers
                .hear(now, id, publisher, loudness, level.voice)
            && let Some(due) = part.speakers.due()
        {
            self.speaking.insert((due, room));
        }
        let Some(most) = self.config.loudest_n else {
            return true;
        };
        let sound = Sound {
            track: id,
            loudness,
            sequence: media.sequence,
            speaks: part.speakers.speaks(id),
        };
        match part.loudest.hear(now, most, sound) {
            Hearing::Heard => true,
            Hearing::Quiet => false,
            Hearing::Resumed => {
                // Waiting packets came before the pause.
                self.forward(now, usize::MAX);
                self.resume(media.track);
                true
            }
        }
    }

    /// Tells the slots that unforwarded packets of a track are not lost.
    fn resume(&mut self, at: TrackIx) {
        let track = self.tracks.get(at);
        for target in track.into_iter().flat_map(|track| track.sinks.viewers()) {
            let peer = self.peers.get_mut(target.peer);
            if let Some(slot) = peer.and_then(|peer| peer.subscriber.slot_mut(target.slot.into())) {
                slot.resume();
            }
        }
    }

    /// Decides who speaks in the rooms that are due, or reports to the worker that decides.
    pub(super) fn poll_speakers(&mut self, now: Instant) {
        while let Some((due, room)) = self.speaking.first().copied()
            && due <= now
        {
            self.speaking.pop_first();
            self.decide_speakers(now, room);
        }
    }

    fn decide_speakers(&mut self, now: Instant, room: RoomId) {
        let here = self.config.index;
        let Some(part) = self.rooms.get_mut(&room) else {
            return;
        };
        if let Some(decider) = decider(here, &part.parts) {
            let levels = part.speakers.digests(now);
            if !levels.is_empty() {
                self.outbox
                    .push_back((decider, Control::Levels { room, levels }));
            }
        } else if part.speakers.decide(now) {
            self.tell_speakers(now, room);
        }
        let due = self.rooms.get(&room).and_then(|part| part.speakers.due());
        self.speaking.extend(due.map(|due| (due, room)));
    }

    /// Tells the other parts, or the control plane, who speaks now.
    fn tell_speakers(&mut self, now: Instant, room: RoomId) {
        let Some(part) = self.rooms.get(&room) else {
            return;
        };
        let (recent, speaking) = (part.speakers.recent().to_vec(), part.speakers.speaking());
        for other in &part.parts {
            let control = Control::Speakers {
                room,
                recent: recent.clone(),
                speaking,
            };
            self.outbox.push_back((*other, control));
        }
        tracing::debug!(%room, ?recent, speaking, "speakers changed");
        self.events.push_back(Event::SpeakersChanged {
            room,
            recent: recent.into_iter().map(|(track, _)| track).collect(),
            speaking,
        });
        self.speakers_changed(now, room);
    }

    /// Records the levels that another worker heard.
    pub(super) fn take_levels(
        &mut self,
        now: Instant,
        room: RoomId,
        levels: &[(TrackId, PeerId, crate::audio::Digest)],
    ) {
        let Some(part) = self.rooms.get_mut(&room) else {
            return;
        };
        for (track, publisher, digest) in levels {
            // A track that ended meanwhile does not count any more.
            if part.tracks.contains_key(track)
                && part.speakers.follow(now, *track, *publisher, digest)
                && let Some(due) = part.speakers.due()
            {
                self.speaking.insert((due, room));
            }
        }
    }

    /// Records the speakers that the deciding worker tells.
    pub(super) fn take_speakers(
        &mut self,
        now: Instant,
        room: RoomId,
        recent: Vec<(TrackId, PeerId)>,
        speaking: usize,
    ) {
        if let Some(part) = self.rooms.get_mut(&room) {
            part.speakers.set(recent, speaking);
            self.speakers_changed(now, room);
        }
    }

    /// Tells a new part of a room who speaks.
    pub(super) fn announce_speakers(&mut self, room: RoomId, other: WorkerIx) {
        let Some(part) = self.rooms.get(&room) else {
            return;
        };
        let recent = part.speakers.recent().to_vec();
        if !recent.is_empty() {
            let speaking = part.speakers.speaking();
            let control = Control::Speakers {
                room,
                recent,
                speaking,
            };
            self.outbox.push_back((other, control));
        }
    }

    /// Forgets a track of a room that ended.
    pub(super) fn forget_voice(&mut self, now: Instant, room: RoomId, track: TrackId) {
        let here = self.config.index;
        let Some(part) = self.rooms.get_mut(&room) else {
            return;
        };
        part.loudest.forget(track);
        if part.speakers.forget(track) && decider(here, &part.parts).is_none() {
            self.tell_speakers(now, room);
        }
    }

    /// Silences a muted track: its publisher's earlier speech does not count any more.
    pub(super) fn silence(&mut self, now: Instant, room: RoomId, track: TrackId) {
        let here = self.config.index;
        let Some(part) = self.rooms.get_mut(&room) else {
            return;
        };
        part.loudest.forget(track);
        let decides = decider(here, &part.parts).is_none();
        if part.speakers.silence(track) && decides && part.speakers.decide(now) {
            self.tell_speakers(now, room);
        }
    }

    fn speakers_changed(&mut self, now: Instant, room: RoomId) {
        self.choose_last_n(room);
        self.reallocate_room(now, room);
    }

    /// Chooses the last speakers again after tracks of a room began or ended.
    pub(super) fn last_n_changed(&mut self, now: Instant, room: RoomId) {
        if self.config.last_n.is_some() && self.choose_last_n(room) {
            self.reallocate_room(now, room);
        }
    }

    /// Chooses the publishers whose cameras are sent, if not all are; true if the choice changed.
    fn choose_last_n(&mut self, room: RoomId) -> bool {
        let (Some(most), Some(part)) = (self.config.last_n, self.rooms.get_mut(&room)) else {
            return false;
        };
        let cameras = part.tracks.iter().filter_map(|(id, at)| {
            let track = self.tracks.get(*at).filter(|track| track.is_camera())?;
            Some((*id, track.publisher))
        });
        let mut cameras: Vec<(TrackId, PeerId)> = cameras.collect();
        // In the order they were published, so that a run does not depend on a map's order.
        cameras.sort_unstable();
        let cameras: Vec<PeerId> = cameras.into_iter().map(|(_, peer)| peer).collect();
        let recent = part.speakers.recent().iter().map(|(_, peer)| *peer);
        part.last_n.choose(most, &cameras, recent)
    }

    /// Decides anew for every viewer of a room.
    fn reallocate_room(&mut self, now: Instant, room: RoomId) {
        let viewers = self.rooms.get(&room).map(|part| part.peers.clone());
        for viewer in viewers.into_iter().flatten() {
            self.decide(now, viewer);
        }
    }
}
