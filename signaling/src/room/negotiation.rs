//! Offers, and the tracks that they publish.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::actor::Room;
use super::errands::Then;
use super::participant::{Silenced, Track};
use super::permission::{may_publish, refusal};
use super::{
    Answered, Carried, Change, Event, LeaveReason, NamedSlot, ParticipantId, PublicTrack, Refusal,
    Source, TrackInfo, TrackName,
};
use crate::hooks::Permissions;
use crate::media::{
    Answer, ClientOffer, EventBacklog, Join, MediaKind, Needs, PeerFailure, PeerId, PublishedTrack,
    RefusedMedia, SdpError, SfuError, Slot, TrackId,
};

/// A participant's offer, until it is answered.
pub(super) struct Offer {
    pub(super) id: ParticipantId,
    pub(super) request: Option<u32>,
    pub(super) sdp: String,
    pub(super) carries: Vec<Carried>,
}

/// Time from which on a transport that is not connected counts as one that cannot be: ICE and DTLS take five round trips,
/// and a few more if packets are lost.
const NOT_CONNECTED: Duration = Duration::from_secs(5);

impl Room {
    /// The first offer makes a peer, a later one renegotiates it.
    pub(super) fn offer(&mut self, offer: Offer) {
        match self.participants.get(&offer.id).and_then(|p| p.peer) {
            Some(peer) => self.renegotiate(peer, offer),
            None => self.join_media(offer),
        }
    }

    fn renegotiate(&mut self, peer: PeerId, offer: Offer) {
        let offered = self.client_offer(&offer);
        self.ask(
            move |media| media.offer(peer, offered),
            move |room, answer| match answer {
                Ok(answer) => room.answered(offer, answer, false),
                // The peer failed and its event is still on the way. The client knows: it starts anew.
                Err(SfuError::NoSuchPeer) => {
                    room.lose_peer(&offer.id);
                    room.join_media(offer);
                }
                // Said first, so that the client knows why its offer is refused, and makes a new transport: what
                // this one has agreed on was lost.
                Err(SfuError::WorkerFailed) => {
                    if room.peers.contains_key(&peer) {
                        room.lose_peer(&offer.id);
                        room.tell(&offer.id, Event::MediaFailed(PeerFailure::WorkerFailed));
                    }
                    room.refuse_offer(&offer, &SfuError::WorkerFailed);
                }
                Err(error) => room.refuse_offer(&offer, &error),
            },
        );
    }

    fn join_media(&mut self, offer: Offer) {
        let participant = self.participants.get(&offer.id);
        let name = participant.map(|p| p.name.as_str());
        let join = Join::new(self.client_offer(&offer))
            .with_announce(self.shared.announced_to(name.unwrap_or_default()))
            .with_sender(offer.id.as_str())
            .with_may_send_data(participant.is_some_and(|p| p.permissions.data))
            .with_hear_data(self.shared.hear_data);
        let media_room = self.media_room;
        self.ask(
            move |media| media.join(media_room, join),
            move |room, joined| match joined {
                Ok((peer, answer)) => room.joined_media(offer, peer, answer),
                Err(error) => room.refuse_offer(&offer, &error),
            },
        );
    }

    /// The offer with what its sender may publish. One who has left meanwhile publishes nothing.
    fn client_offer(&self, offer: &Offer) -> ClientOffer {
        let participant = self.participants.get(&offer.id);
        let permissions = participant.map_or(Permissions::listener(), |p| p.permissions);
        let tracks = participant.map_or(&[][..], |p| p.tracks.as_slice());
        ClientOffer {
            sdp: offer.sdp.clone(),
            may_publish: may_publish(permissions, &offer.carries, tracks),
        }
    }

    fn joined_media(&mut self, offer: Offer, peer: PeerId, answer: Answer) {
        let id = &offer.id;
        let Some(participant) = self.participants.get_mut(id) else {
            // It left meanwhile.
            self.close_peer(peer);
            return self.done(id);
        };
        participant.peer = Some(peer);
        participant.connecting_since = Some(Instant::now());
        self.peers.insert(peer, id.clone());
        info!(room = %self.name, participant = %id, %peer, "peer created");
        self.cap(peer);
        self.answered(offer, answer, true);
    }

    fn refuse_offer(&mut self, offer: &Offer, error: &SfuError) {
        let Offer { id, request, .. } = offer;
        warn!(room = %self.name, participant = %id, code = error.code(), "offer refused");
        let (request, refusal) = (*request, Refusal::of_media(error));
        self.answer(id, Event::Refused { request, refusal });
    }

    fn answered(&mut self, offer: Offer, answer: Answer, new_peer: bool) {
        let Offer {
            id,
            request,
            carries,
            ..
        } = offer;
        let Some(participant) = self.participants.get_mut(&id) else {
            return self.done(&id);
        };
        participant.told_needs = answer.needs;
        participant.new_needs = None;
        participant.offers = answer.offers;
        let kept: Vec<TrackId> = answer.published.iter().map(|track| track.track).collect();
        let tracks = participant.tracks.iter().map(|track| track.id);
        let gone: Vec<TrackId> = tracks.filter(|track| !kept.contains(track)).collect();
        for track in gone {
            self.unpublish(&id, track);
        }
        // Tracks that this offer has ended were meant to end.
        let mut silenced = self.take_silenced(&id);
        if !new_peer {
            silenced.clear();
        }
        let mut told_muted = Vec::new();
        let mut new = Vec::new();
        let mut to_set = Vec::new();
        let mut published = Vec::new();
        for track in answer.published {
            let carried = carries.iter().find(|carried| carried.mid == track.mid);
            let key = track.track;
            let name = match self.tracks.get(&key) {
                Some((_, name)) => {
                    let name = name.clone();
                    self.names_m_line(&id, &track);
                    if self.carries(&id, &track, carried) {
                        to_set.push(key);
                    }
                    name
                }
                None => {
                    new.push(key);
                    let source = carried.map_or(Source::Other, |carried| carried.source);
                    let by = silenced.remove(&(track.kind, source));
                    let name = self.publish(&id, &track, carried, by.clone());
                    // Its client may not have heard of it before its transport ended.
                    if let Some(by) = by.filter(|_| carried.is_none_or(|it| !it.muted)) {
                        told_muted.push((by, name.clone()));
                    }
                    if self.needs_settings(key) {
                        to_set.push(key);
                    }
                    name
                }
            };
            published.push((track.mid, name));
        }
        // One line tells of all: an offer may have many m-lines.
        if let Some(first) = answer.refused.first() {
            let (count, code) = (answer.refused.len(), Refusal::of_sdp(&first.reason).code);
            // A client offers what its user may not send, too: most viewers of a webinar do.
            let is_meant = |line: &RefusedMedia| matches!(line.reason, SdpError::NotAllowed { .. });
            match answer.refused.iter().all(is_meant) {
                true => {
                    info!(room = %self.name, participant = %id, mid = first.mid, code, count, "m-lines refused")
                }
                false => {
                    warn!(room = %self.name, participant = %id, mid = first.mid, code, count, "m-lines refused")
                }
            }
        }
        let refused = answer.refused.into_iter().map(|line| {
            let reason = match line.reason {
                SdpError::NotAllowed { .. } => {
                    refusal(carries.iter().find(|carried| carried.mid == line.mid))
                }
                fault => Refusal::of_sdp(&fault),
            };
            (line.mid, reason)
        });
        let refused: Vec<_> = refused.collect();
        self.hold_events(&id);
        let viewer = id.clone();
        // The media plane is told before the answer, so that no packet of a track announced as muted is ever forwarded.
        self.tell_settings(
            &to_set,
            Box::new(move |room| {
                let answer = Answered {
                    sdp: answer.sdp,
                    published,
                    refused,
                    slots: room.name_slots(answer.slots),
                    needs: answer.needs,
                };
                room.tell(&id, Event::Answered { request, answer });
                for (by, track) in told_muted {
                    room.tell_silenced(&id, by, track);
                }
                room.release_events(&id);
                let then: Then = Box::new(move |room| {
                    let done: Then = Box::new(move |room| room.done(&id));
                    room.subscribe_viewers(&new, done);
                });
                match new_peer {
                    true => room.subscribe_to_wanted(&viewer, then),
                    false => then(room),
                }
            }),
        );
    }

    fn take_silenced(&mut self, id: &ParticipantId) -> HashMap<(MediaKind, Source), ParticipantId> {
        let participant = self.participants.get_mut(id);
        participant.map_or_else(HashMap::new, |it| std::mem::take(&mut it.silenced))
    }

    /// Lets the events of its transport wait: they are newer than an answer that it has not been told yet.
    fn hold_events(&mut self, id: &ParticipantId) {
        if let Some(participant) = self.participants.get_mut(id) {
            participant.lane.held = Some(EventBacklog::default());
        }
    }

    fn release_events(&mut self, id: &ParticipantId) {
        let participant = self.participants.get_mut(id);
        let held = participant.and_then(|participant| participant.lane.held.take());
        let mut held = held.unwrap_or_default();
        while let Some(event) = held.pop() {
            self.media_changed(event);
        }
    }

    fn publish(
        &mut self,
        id: &ParticipantId,
        track: &PublishedTrack,
        carried: Option<&Carried>,
        silenced: Option<ParticipantId>,
    ) -> TrackName {
        let info = TrackInfo {
            name: TrackName::random(),
            kind: track.kind,
            source: carried.map_or(Source::Other, |carried| carried.source),
            muted: silenced.is_some() || carried.is_some_and(|carried| carried.muted),
            simulcast: track.simulcast,
            codec: track.codec,
        };
        let name = info.name.clone();
        info!(
            room = %self.name, participant = %id, track = %name, media_track = %track.track,
            source = ?info.source, codec = info.codec, "track published"
        );
        self.tracks.insert(track.track, (id.clone(), name.clone()));
        self.track_ids.insert(name.clone(), track.track);
        for participant in self.participants.values_mut() {
            if participant.id == *id {
                participant.tracks.push(Track {
                    id: track.track,
                    mid: track.mid.clone(),
                    info: info.clone(),
                    silenced: silenced.clone().map(|by| Silenced {
                        by,
                        source: info.source,
                    }),
                });
            } else if participant.auto_subscribe {
                participant.wanted.insert(track.track);
            }
        }
        self.report_of(id, |person| Change::Published {
            person,
            track: PublicTrack::from(&info),
        });
        self.tell_others(
            id,
            Event::TrackPublished {
                participant: id.clone(),
                track: info,
            },
        );
        name
    }

    /// A later offer may give an m-line a name.
    fn names_m_line(&mut self, id: &ParticipantId, track: &PublishedTrack) {
        let participant = self.participants.get_mut(id);
        let mut tracks = participant.into_iter().flat_map(|it| &mut it.tracks);
        if let Some(known) = tracks.find(|known| known.id == track.track) {
            known.mid.clone_from(&track.mid);
        }
    }

    /// A later offer may say that a known track carries something else now, and be answered with another
    /// codec. Returns whether it carries something else.
    fn carries(
        &mut self,
        id: &ParticipantId,
        track: &PublishedTrack,
        carried: Option<&Carried>,
    ) -> bool {
        let Some(participant) = self.participants.get_mut(id) else {
            return false;
        };
        let mut tracks = participant.tracks.iter_mut();
        let Some(known) = tracks.find(|known| known.id == track.track) else {
            return false;
        };
        let before = known.info.clone();
        known.info.codec = track.codec;
        known.info.simulcast = track.simulcast;
        if let Some(carried) = carried {
            known.info.source = carried.source;
            known.info.muted = carried.muted || known.silenced.is_some();
        }
        let track = known.info.clone();
        if track == before {
            return false;
        }
        let other = (track.source, track.muted) != (before.source, before.muted);
        self.tell_others(
            id,
            Event::TrackUpdated {
                participant: id.clone(),
                track,
            },
        );
        other
    }

    /// A track that is gone already is ignored: an answer and an event may both say so.
    pub(super) fn unpublish(&mut self, id: &ParticipantId, track: TrackId) {
        let Some(participant) = self.participants.get_mut(id) else {
            return;
        };
        let tracks = &mut participant.tracks;
        let Some(index) = tracks.iter().position(|known| known.id == track) else {
            return;
        };
        let Track { info, silenced, .. } = tracks.remove(index);
        if let Some(Silenced { by, source }) = silenced {
            let sources = [source, info.source].map(|source| ((info.kind, source), by.clone()));
            participant.silenced.extend(sources);
        }
        let name = info.name;
        self.forget_track(track);
        info!(room = %self.name, participant = %id, track = %name, "track unpublished");
        self.report_of(id, |person| Change::Unpublished {
            person,
            track: name.clone(),
        });
        self.tell_others(
            id,
            Event::TrackUnpublished {
                participant: id.clone(),
                track: name,
            },
        );
    }

    /// Tells of a transport that was given up before it was connected: most likely the client's UDP does not reach the
    /// server.
    pub(super) fn look_at_connecting(&self, id: &ParticipantId, since: Option<Instant>) {
        let Some(waited) = since.map(|since| since.elapsed()) else {
            return;
        };
        if waited < NOT_CONNECTED {
            return;
        }
        self.shared.count_never_connected();
        warn!(
            room = %self.name, participant = %id, seconds = waited.as_secs(),
            "media was never connected: is the server's UDP port open, and does the client reach the address it was told?"
        );
    }

    /// The participant stays and may offer anew.
    pub(super) fn lose_peer(&mut self, id: &ParticipantId) {
        if let Some(peer) = self.take_peer(id) {
            info!(
                room = %self.name, participant = %id, %peer,
                reason = LeaveReason::MediaFailed.as_str(), "peer lost"
            );
        }
    }

    /// Takes the transport of a participant, which has no tracks any more.
    pub(super) fn take_peer(&mut self, id: &ParticipantId) -> Option<PeerId> {
        let participant = self.participants.get_mut(id)?;
        let peer = participant.peer.take()?;
        participant.told_needs = Needs::default();
        participant.new_needs = None;
        let connecting_since = participant.connecting_since.take();
        let tracks: Vec<TrackId> = participant.tracks.iter().map(|track| track.id).collect();
        self.look_at_connecting(id, connecting_since);
        self.peers.remove(&peer);
        self.former.peer(peer, id.clone());
        for track in tracks {
            self.unpublish(id, track);
        }
        Some(peer)
    }

    /// A slot whose track has just ended is free for all the client can tell.
    pub(super) fn name_slots(&self, slots: Vec<Slot>) -> Vec<NamedSlot> {
        slots
            .into_iter()
            .map(|slot| NamedSlot {
                mid: slot.mid,
                kind: slot.kind,
                track: slot.track.and_then(|track| self.name_of(track)),
            })
            .collect()
    }
}
