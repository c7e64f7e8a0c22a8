//! Reports of the media plane about a room's peers.

use tracing::{error, info};

use super::actor::Room;
use super::crowd::Scope;
use super::{Change, Event, NamedSubscription, NamedUnwatchable, Speakers};
use crate::media::{self, SubscriptionState, TrackId, Unwatchable};

impl Room {
    pub(super) fn media_changed(&mut self, event: media::Event) {
        use media::Event as E;
        let Some(peer) = event.peer() else {
            match event {
                E::SpeakersChanged {
                    recent, speaking, ..
                } => self.speakers_changed(&recent, speaking),
                E::RoomFailed { dropped, .. } => {
                    error!(room = %self.name, dropped, "room failed: its events were not taken");
                    self.failed = true;
                }
                // `WorkerFailed`, of which the room hears peer by peer.
                _ => {}
            }
            return;
        };
        // A peer that was closed, or replaced after it failed, may still have events on the way.
        let Some(id) = self.peers.get(&peer).cloned() else {
            return;
        };
        if let Some(participant) = self.participants.get_mut(&id)
            && let Some(held) = &mut participant.lane.held
        {
            return held.push(event);
        }
        // The answer has overtaken this event.
        if let E::SlotsChanged { offers, .. }
        | E::NeedsChanged { offers, .. }
        | E::RenegotiationWanted { offers, .. } = event
            && self
                .participants
                .get(&id)
                .is_some_and(|it| offers < it.offers)
        {
            return;
        }
        match event {
            E::PeerConnected { .. } => {
                info!(room = %self.name, participant = %id, %peer, "peer connected");
                if let Some(participant) = self.participants.get_mut(&id) {
                    participant.connecting_since = None;
                }
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
            E::SubscriptionsChanged { subscriptions, .. } => {
                let named = self.name_subscriptions(subscriptions);
                if !named.is_empty() {
                    self.tell(&id, Event::Subscriptions(named));
                }
            }
            E::LayersWanted { track, layers, .. } => {
                if let Some(track) = self.name_of(track) {
                    self.tell(&id, Event::Layers { track, layers });
                }
            }
            E::DataReceived {
                reliable,
                binary,
                payload,
                ..
            } => self.report_of(&id, |person| Change::Data {
                person,
                reliable,
                binary,
                payload,
            }),
            E::DataRefused { reason, .. } => self.tell(&id, Event::DataRefused(reason)),
            E::UnwatchableChanged { unwatchable, .. } => {
                if let Some(named) = self.name_unwatchable(unwatchable) {
                    self.tell(&id, Event::Unwatchable(named));
                }
            }
            E::RenegotiationWanted { reason, .. } => self.tell(&id, Event::Renegotiate(reason)),
            // One that the relay learned to tell and rooms have not learned to hear.
            _ => {}
        }
    }

    /// A subscription whose track has just ended is left out: the client knows that it is over.
    fn name_subscriptions(&self, states: Vec<SubscriptionState>) -> Vec<NamedSubscription> {
        let named = states.into_iter().filter_map(|state| {
            Some(NamedSubscription {
                track: self.name_of(state.track)?,
                layer: state.layer,
                temporal: state.temporal,
                reason: state.reason,
            })
        });
        named.collect()
    }

    /// Names the viewers. One that has just left has no name any more, and is counted until the
    /// next event.
    fn name_unwatchable(&self, unwatchable: Unwatchable) -> Option<NamedUnwatchable> {
        let viewers = unwatchable.viewers.into_iter();
        let named = viewers.filter_map(|(viewer, reason)| {
            let participant = self.peers.get(&viewer)?;
            Some((participant.clone(), reason))
        });
        Some(NamedUnwatchable {
            track: self.name_of(unwatchable.track)?,
            count: unwatchable.count,
            participants: named.collect(),
        })
    }

    /// Turns tracks into people: a person who speaks and shares audio counts once.
    fn speakers_changed(&mut self, tracks: &[TrackId], speaking: usize) {
        let mut speakers = Speakers::default();
        for (index, track) in tracks.iter().enumerate() {
            let Some((id, _)) = self.tracks.get(track) else {
                continue;
            };
            if !speakers.recent.contains(id) {
                speakers.recent.push(id.clone());
                speakers.speaking += usize::from(index < speaking);
            }
        }
        if speakers != self.speakers {
            self.speakers = speakers.clone();
            self.spread(Event::Speakers(speakers), Scope::Everybody, None);
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
