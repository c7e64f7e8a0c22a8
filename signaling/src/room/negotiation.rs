//! Offers, and the tracks that they publish.

use tracing::{info, warn};

use super::actor::{Room, within};
use super::participant::Track;
use super::{
    Answered, Carried, Event, LeaveReason, NamedSlot, ParticipantId, Refusal, Source, TrackInfo,
    TrackName,
};
use crate::media::{Answer, Needs, PeerFailure, PublishedTrack, SfuError, Slot, TrackId};

impl Room {
    pub(super) async fn offer(
        &mut self,
        id: &ParticipantId,
        request: Option<u32>,
        sdp: String,
        carries: &[Carried],
    ) {
        let had_peer = self.participants.get(id).and_then(|p| p.peer);
        match self.negotiate(id, sdp).await {
            Ok(answer) => {
                let is_new = self.participants.get(id).and_then(|p| p.peer) != had_peer;
                self.answered(id, request, answer, carries, is_new).await;
            }
            Err(error) => {
                warn!(room = %self.name, participant = %id, code = error.code(), "offer refused");
                let refusal = Refusal::of_media(&error);
                self.tell(id, Event::Refused { request, refusal });
            }
        }
    }

    /// The first offer makes a peer, a later one renegotiates it.
    async fn negotiate(&mut self, id: &ParticipantId, sdp: String) -> Result<Answer, SfuError> {
        if let Some(peer) = self.participants.get(id).and_then(|p| p.peer) {
            match within(self.shared.media.offer(peer, sdp.clone())).await {
                // The peer failed and its event is still on the way. The client knows: it starts anew.
                Err(SfuError::NoSuchPeer) => self.lose_peer(id),
                // Said first, so that the client knows why its offer is refused, and makes a new transport: what
                // this one has agreed on was lost.
                Err(SfuError::WorkerFailed) => {
                    self.lose_peer(id);
                    self.tell(id, Event::MediaFailed(PeerFailure::WorkerFailed));
                    return Err(SfuError::WorkerFailed);
                }
                result => return result,
            }
        }
        let name = self.participants.get(id).map(|p| p.name.as_str());
        let announce = self.shared.announced_to(name.unwrap_or_default());
        let (media, sender) = (&self.shared.media, id.as_str().to_owned());
        let joined = media.join(self.media_room, sdp, announce, sender);
        let (peer, answer) = within(joined).await?;
        if let Some(participant) = self.participants.get_mut(id) {
            participant.peer = Some(peer);
            self.peers.insert(peer, id.clone());
            info!(room = %self.name, participant = %id, %peer, "peer created");
        }
        self.cap(peer).await;
        Ok(answer)
    }

    async fn answered(
        &mut self,
        id: &ParticipantId,
        request: Option<u32>,
        answer: Answer,
        carries: &[Carried],
        new_peer: bool,
    ) {
        let Some(participant) = self.participants.get_mut(id) else {
            return;
        };
        participant.told_needs = answer.needs;
        participant.new_needs = None;
        participant.offers = answer.offers;
        let kept: Vec<TrackId> = answer.published.iter().map(|track| track.track).collect();
        let tracks = participant.tracks.iter().map(|track| track.id);
        let gone: Vec<TrackId> = tracks.filter(|track| !kept.contains(track)).collect();
        for track in gone {
            self.unpublish(id, track);
        }
        let mut new = Vec::new();
        let mut changed = Vec::new();
        let mut published = Vec::new();
        for track in answer.published {
            let carried = carries.iter().find(|carried| carried.mid == track.mid);
            let key = track.track;
            let name = match self.tracks.get(&key) {
                Some((_, name)) => {
                    let name = name.clone();
                    if self.carries(id, &track, carried) {
                        changed.push(key);
                    }
                    name
                }
                None => {
                    new.push(key);
                    self.publish(id, &track, carried)
                }
            };
            published.push((track.mid, name));
        }
        // The media plane is told before the answer, so that no packet of a track announced as muted is ever forwarded.
        self.tell_new_settings(&new).await;
        for track in changed {
            let _ = self.tell_settings(track).await;
        }
        // One line tells of all: an offer may have many m-lines.
        if let Some(first) = answer.refused.first() {
            let (count, code) = (answer.refused.len(), Refusal::of_sdp(&first.reason).code);
            warn!(room = %self.name, participant = %id, mid = first.mid, code, count, "m-lines refused");
        }
        let refused = answer.refused.into_iter().map(|line| {
            let reason = Refusal::of_sdp(&line.reason);
            (line.mid, reason)
        });
        let answer = Answered {
            sdp: answer.sdp,
            published,
            refused: refused.collect(),
            slots: self.name_slots(answer.slots),
            needs: answer.needs,
        };
        self.tell(id, Event::Answered { request, answer });
        if new_peer {
            self.subscribe_to_wanted(id).await;
        }
        self.subscribe_viewers(&new).await;
    }

    fn publish(
        &mut self,
        id: &ParticipantId,
        track: &PublishedTrack,
        carried: Option<&Carried>,
    ) -> TrackName {
        let info = TrackInfo {
            name: TrackName::random(),
            kind: track.kind,
            source: carried.map_or(Source::Other, |carried| carried.source),
            muted: carried.is_some_and(|carried| carried.muted),
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
                    info: info.clone(),
                });
            } else if participant.auto_subscribe {
                participant.wanted.insert(track.track);
            }
        }
        self.tell_others(
            id,
            Event::TrackPublished {
                participant: id.clone(),
                track: info,
            },
        );
        name
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
            known.info.muted = carried.muted;
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
        let name = tracks.remove(index).info.name;
        self.forget_track(track);
        info!(room = %self.name, participant = %id, track = %name, "track unpublished");
        self.tell_others(
            id,
            Event::TrackUnpublished {
                participant: id.clone(),
                track: name,
            },
        );
    }

    /// The participant stays and may offer anew.
    pub(super) fn lose_peer(&mut self, id: &ParticipantId) {
        let Some(participant) = self.participants.get_mut(id) else {
            return;
        };
        let Some(peer) = participant.peer.take() else {
            return;
        };
        participant.told_needs = Needs::default();
        participant.new_needs = None;
        let tracks: Vec<TrackId> = participant.tracks.iter().map(|track| track.id).collect();
        self.peers.remove(&peer);
        self.former.peer(peer, id.clone());
        for track in tracks {
            self.unpublish(id, track);
        }
        info!(
            room = %self.name, participant = %id, %peer,
            reason = LeaveReason::MediaFailed.as_str(), "peer lost"
        );
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
