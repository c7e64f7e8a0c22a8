//! What the media plane reports of a room's peers.

use tracing::info;

use super::Event;
use super::actor::Room;
use crate::media::{self, Change};

impl Room {
    pub(super) async fn media_changed(&mut self, event: media::Event) {
        // A peer that was closed, or replaced after it failed, may still have events on the way.
        let Some(id) = self.peers.get(&event.peer).cloned() else {
            return;
        };
        let peer = event.peer;
        match event.change {
            Change::Connected => {
                info!(room = %self.name, participant = %id, %peer, "peer connected");
                self.tell(&id, Event::MediaConnected);
            }
            Change::Failed(failure) => {
                let reason = failure.code();
                info!(room = %self.name, participant = %id, %peer, reason, "peer failed");
                self.lose_peer(&id);
                self.tell(&id, Event::MediaFailed(failure));
            }
            Change::TrackLive(track) => {
                if let Some((_, track)) = self.tracks.get(&track) {
                    info!(room = %self.name, participant = %id, %track, "track live");
                }
            }
            Change::TrackEnded(track) => self.unpublish(&id, track),
            Change::Slots(slots) => {
                let slots = self.name_slots(slots);
                self.tell(&id, Event::Slots(slots));
            }
            Change::Needs(needs) => {
                if let Some(participant) = self.participants.get_mut(&id) {
                    participant.new_needs = Some(needs);
                    self.needy.insert(id);
                }
            }
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
