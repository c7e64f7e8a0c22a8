//! The states that events tell, and the things that they are about: what a client that is behind need not be told.

use super::{Event, NamedSlot, NamedSubscription, ParticipantId, ParticipantInfo, Told, TrackName};
use crate::session::{Coalesce, Role};

/// A state that one event tells as a whole.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum State {
    /// Name and metadata of a participant.
    Profile(ParticipantId),
    /// Whether a participant's session has a connection.
    Presence(ParticipantId),
    /// A participant's raised hand.
    RaisedHand(ParticipantId),
    /// The end of that. It has a place of its own: who lowers a hand and raises it again stands behind the others.
    LoweredHand(ParticipantId),
    /// A published track.
    Track(TrackName),
    /// A receiving m-line.
    Slot(String),
    /// A subscription.
    Subscription(TrackName),
    /// The layers of an own track that anybody is sent.
    Layers(TrackName),
    /// The viewers who cannot watch an own track.
    Unwatchable(TrackName),
    Speakers,
    Rules,
    Needs,
    Permissions,
    Renegotiate,
    Audience,
    /// STUN and TURN servers.
    IceServers,
}

/// A thing that begins and ends.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Thing {
    Participant(ParticipantId),
    Track(TrackName),
    /// Somebody who waits to be let in.
    Waiter(ParticipantId),
}

impl Coalesce for Told {
    type State = State;
    type Thing = Thing;

    fn parts(&self) -> Option<&[Self]> {
        match &**self {
            Event::Batch(parts) => Some(parts),
            _ => None,
        }
    }

    fn states(&self, each: &mut dyn FnMut(State)) {
        match &**self {
            Event::ParticipantUpdated(info) => each(State::Profile(info.id.clone())),
            Event::Presence { participant, .. } => each(State::Presence(participant.clone())),
            Event::TrackUpdated { track, .. } => each(State::Track(track.name.clone())),
            Event::Hand {
                participant,
                raised,
                ..
            } => {
                each(State::RaisedHand(participant.clone()));
                if !raised {
                    each(State::LoweredHand(participant.clone()));
                }
            }
            Event::Slots(slots) => {
                let mids = slots.iter().map(|slot| slot.mid.clone());
                mids.map(State::Slot).for_each(each);
            }
            Event::Subscriptions(states) => {
                let tracks = states.iter().map(|state| state.track.clone());
                tracks.map(State::Subscription).for_each(each);
            }
            Event::Layers { track, .. } => each(State::Layers(track.clone())),
            Event::Unwatchable(told) => each(State::Unwatchable(told.track.clone())),
            Event::Speakers(_) => each(State::Speakers),
            Event::Rules { .. } => each(State::Rules),
            Event::Needs(_) => each(State::Needs),
            Event::Permissions(_) => each(State::Permissions),
            Event::Renegotiate(_) => each(State::Renegotiate),
            Event::Audience(_) => each(State::Audience),
            Event::IceServers(_) => each(State::IceServers),
            _ => {}
        }
    }

    fn things(&self, each: &mut dyn FnMut(Thing, Role)) {
        match &**self {
            Event::ParticipantJoined(info) => {
                each(Thing::Participant(info.id.clone()), Role::Begins);
                tracks_of(info, |track| each(track, Role::Begins));
            }
            Event::ParticipantUpdated(info) => {
                each(Thing::Participant(info.id.clone()), Role::Tells);
                tracks_of(info, |track| each(track, Role::Names));
            }
            Event::TrackPublished { participant, track } => {
                each(Thing::Participant(participant.clone()), Role::Tells);
                each(Thing::Track(track.name.clone()), Role::Begins);
            }
            Event::TrackUpdated { participant, track } => {
                each(Thing::Participant(participant.clone()), Role::Tells);
                each(Thing::Track(track.name.clone()), Role::Tells);
            }
            Event::TrackUnpublished { participant, .. }
            | Event::Hand { participant, .. }
            | Event::Presence { participant, .. } => {
                each(Thing::Participant(participant.clone()), Role::Tells);
            }
            Event::Slots(slots) => carried(slots, |track| each(track, Role::Names)),
            Event::Answered { answer, .. } => {
                carried(&answer.slots, |track| each(track, Role::Names));
            }
            Event::Subscriptions(states) => {
                let tracks = states.iter().map(|state| state.track.clone());
                tracks.for_each(|track| each(Thing::Track(track), Role::Names));
            }
            Event::Waiting(people) => {
                let ids = people.iter().map(|person| person.id.clone());
                ids.for_each(|id| each(Thing::Waiter(id), Role::Begins));
            }
            _ => {}
        }
    }

    fn ends(&self) -> Option<Thing> {
        match &**self {
            Event::ParticipantLeft { participant, .. } => {
                Some(Thing::Participant(participant.clone()))
            }
            Event::TrackUnpublished { track, .. } => Some(Thing::Track(track.clone())),
            Event::WaitingLeft { participant, .. } => Some(Thing::Waiter(participant.clone())),
            _ => None,
        }
    }

    fn without(&self, state: &State) -> Option<Self> {
        match (&**self, state) {
            (Event::Slots(slots), State::Slot(mid)) => {
                let others = slots.iter().filter(|slot| slot.mid != *mid);
                unless_empty(others.cloned(), Event::Slots)
            }
            (Event::Subscriptions(states), State::Subscription(track)) => {
                without_track(states, track)
            }
            // The hand is lowered by it: that it was raised before is another event's.
            (Event::Hand { raised: false, .. }, State::RaisedHand(_)) => Some(self.clone()),
            _ => None,
        }
    }

    fn forget(&self, thing: &Thing) -> Option<Self> {
        match (&**self, thing) {
            (Event::ParticipantJoined(info), Thing::Track(track)) => Some(Self::several(
                Event::ParticipantJoined(info_without(info, track)),
            )),
            (Event::ParticipantUpdated(info), Thing::Track(track)) => Some(Self::several(
                Event::ParticipantUpdated(info_without(info, track)),
            )),
            (Event::Slots(slots), Thing::Track(track)) => {
                Some(Self::one(Event::Slots(freed(slots, track))))
            }
            (Event::Answered { request, answer }, Thing::Track(track)) => {
                let mut answer = answer.clone();
                answer.slots = freed(&answer.slots, track);
                let request = *request;
                Some(Self::one(Event::Answered { request, answer }))
            }
            (Event::Subscriptions(states), Thing::Track(track)) => without_track(states, track),
            (Event::Waiting(people), Thing::Waiter(id)) => {
                let others = people.iter().filter(|person| person.id != *id);
                unless_empty(others.cloned(), Event::Waiting)
            }
            _ => None,
        }
    }
}

fn tracks_of(info: &ParticipantInfo, each: impl FnMut(Thing)) {
    let tracks = info.tracks.iter().map(|track| track.name.clone());
    tracks.map(Thing::Track).for_each(each);
}

fn carried(slots: &[NamedSlot], each: impl FnMut(Thing)) {
    let tracks = slots.iter().filter_map(|slot| slot.track.clone());
    tracks.map(Thing::Track).for_each(each);
}

fn info_without(info: &ParticipantInfo, track: &TrackName) -> ParticipantInfo {
    let mut info = info.clone();
    info.tracks.retain(|other| other.name != *track);
    info
}

/// A slot whose track has ended is free for all the client can tell.
fn freed(slots: &[NamedSlot], track: &TrackName) -> Vec<NamedSlot> {
    let mut slots = slots.to_vec();
    for slot in &mut slots {
        slot.track.take_if(|carried| carried == track);
    }
    slots
}

fn without_track(states: &[NamedSubscription], track: &TrackName) -> Option<Told> {
    let others = states.iter().filter(|state| state.track != *track);
    unless_empty(others.cloned(), Event::Subscriptions)
}

fn unless_empty<T>(
    left: impl Iterator<Item = T>,
    event: impl FnOnce(Vec<T>) -> Event,
) -> Option<Told> {
    let left: Vec<T> = left.collect();
    (!left.is_empty()).then(|| Told::one(event(left)))
}

#[cfg(test)]
mod tests;
