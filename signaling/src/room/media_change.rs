//! What the media plane reports of a room's peers.

use tracing::info;

use super::Event;
use super::actor::Room;
use crate::media::{self, PeerId};

impl Room {
    pub(super) fn media_changed(&mut self, peer: PeerId, event: media::Event) {
        use media::Event as E;
        // A peer that was closed, or replaced after it failed, may still have events on the way.
        let Some(id) = self.peers.get(&peer).cloned() else {
            return;
        };
        match event {
            E::PeerConnected { .. } => {
                info!(room = %self.name, participant = %id, %peer, "peer connected");
                self.tell(&id, Event::MediaConnected);
            }
            E::PeerFailed { reason, .. } => {
                let code = reason.code();
                info!(room = %self.name, participant = %id, %peer, reason = code, "peer failed");
                self.lose_peer(&id);
                self.tell(&id, Event::MediaFailed(reason));
            }
            E::TrackLive { track, .. } => {
                if let Some((_, track)) = self.tracks.get(&track) {
                    info!(room = %self.name, participant = %id, %track, "track live");
                }
            }
            E::TrackEnded { track, .. } => self.unpublish(&id, track),
            E::SlotsChanged { slots, .. } => {
                let slots = self.name_slots(slots);
                self.tell(&id, Event::Slots(slots));
            }
            E::NeedsChanged { needs, .. } => {
                if let Some(participant) = self.participants.get_mut(&id) {
                    participant.new_needs = Some(needs);
                    self.needy.insert(id);
                }
            }
            // The pump lets only these through.
            _ => {}
        }
    }

    /// Subscribing to many tracks changes the needs as often; only where they end up is told, and
    /// not again what an answer has said.
    pub(super) fn tell_needs(&mut self) {
        for id in std::mem::take(&mut self.needy) {
            let Some(participant) = self.participants.get_mut(&id) else {
                continue;
            };
            if let Some(needs) = participant.new_needs.take()
                && needs != participant.told_needs
            {
                participant.told_needs = needs;
                self.tell(&id, Event::Needs(needs));
            }
        }
    }
}
