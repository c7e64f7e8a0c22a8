//! Events that wait to be taken. The sender of an event never waits for its reader, so that each may wait for the
//! other's answers. The number of waiting events is bounded by the number of subjects, not by time: a newer state of a
//! subject replaces the older one.

use std::collections::{BTreeMap, HashMap};

use crate::event::{DataRefusal, Event, RenegotiationReason, Slot, SubscriptionState};
use crate::id::{PeerId, RoomId, TrackId};

/// [`Event`]s in the order in which they are to be told, at most one for each subject. Only messages of data channels
/// ([`Event::DataReceived`]) have none: each waits for itself. A newer event of a subject moves
/// to the end; it takes along what the older one said of other slots and subscriptions.
#[derive(Debug, Default)]
pub struct EventBacklog {
    told: u64,
    events: BTreeMap<u64, Event>,
    places: HashMap<Subject, u64>,
    weight: usize,
}

/// Capacity kept once all events are taken; a larger one was needed for a storm only.
const KEPT: usize = 1_024;

/// The thing that an event speaks of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Subject {
    Connected(PeerId),
    Failed(PeerId),
    Live(TrackId),
    Ended(TrackId),
    Slots(PeerId),
    Needs(PeerId),
    Subscriptions(PeerId),
    Layers(TrackId),
    Data(PeerId, DataRefusal),
    Unwatchable(TrackId),
    Renegotiation(PeerId, RenegotiationReason),
    Speakers(RoomId),
    Worker(usize),
    Room(RoomId),
}

impl EventBacklog {
    /// Puts an event behind all others.
    pub fn push(&mut self, mut event: Event) {
        self.told += 1;
        if let Some(subject) = Subject::of(&event)
            && let Some(place) = self.places.insert(subject, self.told)
            && let Some(earlier) = self.events.remove(&place)
        {
            self.weight -= weight(&earlier);
            event = after(earlier, event);
        }
        self.weight += weight(&event);
        self.events.insert(self.told, event);
    }

    /// Takes the event that has waited longest.
    pub fn pop(&mut self) -> Option<Event> {
        let (_, event) = self.events.pop_first()?;
        if let Some(subject) = Subject::of(&event) {
            self.places.remove(&subject);
        }
        self.weight -= weight(&event);
        if self.events.is_empty() && self.places.capacity() > KEPT {
            self.places = HashMap::new();
        }
        Some(event)
    }

    /// Whether no event waits.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Events and the entries of their lists: a measure of the memory they take.
    pub fn weight(&self) -> usize {
        self.weight
    }
}

impl Subject {
    /// None: it replaces nothing.
    fn of(event: &Event) -> Option<Self> {
        Some(match event {
            Event::PeerConnected { peer, .. } => Self::Connected(*peer),
            Event::PeerFailed { peer, .. } => Self::Failed(*peer),
            Event::TrackLive { track, .. } => Self::Live(*track),
            Event::TrackEnded { track, .. } => Self::Ended(*track),
            Event::SlotsChanged { peer, .. } => Self::Slots(*peer),
            Event::NeedsChanged { peer, .. } => Self::Needs(*peer),
            Event::SubscriptionsChanged { peer, .. } => Self::Subscriptions(*peer),
            Event::LayersWanted { track, .. } => Self::Layers(*track),
            Event::DataRefused { peer, reason, .. } => Self::Data(*peer, *reason),
            Event::DataReceived { .. } => return None,
            Event::UnwatchableChanged { unwatchable, .. } => Self::Unwatchable(unwatchable.track),
            Event::RenegotiationWanted { peer, reason, .. } => Self::Renegotiation(*peer, *reason),
            Event::SpeakersChanged { room, .. } => Self::Speakers(*room),
            Event::WorkerFailed { worker } => Self::Worker(*worker),
            Event::RoomFailed { room, .. } => Self::Room(*room),
        })
    }
}

/// `event` with what `earlier`, of the same subject, said beside it.
fn after(earlier: Event, event: Event) -> Event {
    match (earlier, event) {
        // An event older than an answer is not told after it.
        (
            Event::SlotsChanged {
                slots: old,
                offers: before,
                ..
            },
            Event::SlotsChanged {
                room,
                peer,
                slots,
                offers,
            },
        ) if before == offers => Event::SlotsChanged {
            room,
            peer,
            slots: merged(old, slots, |slot: &Slot, other| slot.mid == other.mid),
            offers,
        },
        (
            Event::SubscriptionsChanged {
                subscriptions: old, ..
            },
            Event::SubscriptionsChanged {
                room,
                peer,
                subscriptions,
            },
        ) => Event::SubscriptionsChanged {
            room,
            peer,
            subscriptions: merged(old, subscriptions, |one: &SubscriptionState, other| {
                one.track == other.track
            }),
        },
        (_, event) => event,
    }
}

/// The entries of `old` that `new` does not replace, then `new`.
fn merged<T>(mut old: Vec<T>, new: Vec<T>, is_same: impl Fn(&T, &T) -> bool) -> Vec<T> {
    old.retain(|old| !new.iter().any(|new| is_same(old, new)));
    old.extend(new);
    old
}

fn weight(event: &Event) -> usize {
    let listed = match event {
        Event::SlotsChanged { slots, .. } => slots.len(),
        Event::SubscriptionsChanged { subscriptions, .. } => subscriptions.len(),
        // An entry of a list takes some 64 bytes.
        Event::DataReceived { payload, .. } => payload.len().div_ceil(64),
        _ => 0,
    };
    1 + listed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{MediaKind, Needs, PeerFailure};

    const ROOM: RoomId = RoomId::from_u64(1);

    fn peer(number: u64) -> PeerId {
        PeerId::from_u64(number)
    }

    fn slot(mid: u8, track: Option<u64>) -> Slot {
        Slot {
            mid: mid.to_string(),
            kind: MediaKind::Video,
            track: track.map(TrackId::from_u64),
        }
    }

    fn slots(viewer: u64, slots: &[Slot]) -> Event {
        Event::SlotsChanged {
            room: ROOM,
            peer: peer(viewer),
            slots: slots.to_vec(),
            offers: 1,
        }
    }

    fn needs(viewer: u64, video: u16) -> Event {
        Event::NeedsChanged {
            room: ROOM,
            peer: peer(viewer),
            needs: Needs { audio: 0, video },
            offers: 1,
        }
    }

    /// Told after one more answer.
    fn answered(mut event: Event) -> Event {
        if let Event::SlotsChanged { offers, .. } = &mut event {
            *offers += 1;
        }
        event
    }

    fn ended(track: u64) -> Event {
        Event::TrackEnded {
            room: ROOM,
            peer: peer(1),
            track: TrackId::from_u64(track),
        }
    }

    fn all(events: impl IntoIterator<Item = Event>) -> Vec<Event> {
        let mut backlog = EventBacklog::default();
        for event in events {
            backlog.push(event);
        }
        std::iter::from_fn(|| backlog.pop()).collect()
    }

    #[test]
    fn a_state_told_again_takes_the_place_of_the_one_before() {
        let failed = Event::PeerFailed {
            room: ROOM,
            peer: peer(1),
            reason: PeerFailure::ClosedByClient,
        };
        for (told, left) in [
            (
                vec![needs(1, 1), needs(2, 1), needs(1, 2)],
                vec![needs(2, 1), needs(1, 2)],
            ),
            (
                vec![ended(1), ended(2), failed.clone()],
                vec![ended(1), ended(2), failed],
            ),
            // A slot told of earlier is kept when another slot changes.
            (
                vec![
                    slots(1, &[slot(0, Some(7)), slot(1, Some(8))]),
                    ended(7),
                    slots(1, &[slot(0, None)]),
                ],
                vec![ended(7), slots(1, &[slot(1, Some(8)), slot(0, None)])],
            ),
            // After an answer it is dropped: the answer told of all slots.
            (
                vec![
                    slots(1, &[slot(0, Some(7))]),
                    answered(slots(1, &[slot(1, Some(8))])),
                ],
                vec![answered(slots(1, &[slot(1, Some(8))]))],
            ),
        ] {
            assert_eq!(all(told.clone()), left, "{told:?}");
        }
    }

    #[test]
    fn each_message_waits_for_itself_and_weighs_what_it_takes() {
        let message = |bytes: usize| Event::DataReceived {
            room: ROOM,
            peer: peer(1),
            reliable: true,
            binary: true,
            payload: vec![0; bytes].into(),
        };
        let told = vec![message(1), message(640), message(1)];
        assert_eq!(all(told.clone()), told);
        let mut backlog = EventBacklog::default();
        backlog.push(message(640));
        assert_eq!(backlog.weight(), 11);
        backlog.pop();
        assert_eq!(backlog.weight(), 0);
    }

    proptest! {
        /// A reader that takes events late knows in the end what a reader of every event knows, and never more events
        /// wait than there are subjects.
        #[test]
        fn late_is_as_good(
            told in prop::collection::vec((0..3u64, 0..4u8, prop::option::of(0..5u64)), 0..60),
            taken in prop::collection::vec(any::<bool>(), 60),
        ) {
            let mut known = BTreeMap::new();
            let mut backlog = EventBacklog::default();
            let mut heard = BTreeMap::new();
            let mut hear = |event: Option<Event>| {
                if let Some(Event::SlotsChanged { peer, slots, .. }) = event {
                    heard.extend(slots.into_iter().map(|slot| ((peer, slot.mid), slot.track)));
                }
            };
            for ((viewer, mid, track), taken) in told.into_iter().zip(taken) {
                let slot = slot(mid, track);
                known.insert((peer(viewer), slot.mid.clone()), slot.track);
                backlog.push(slots(viewer, &[slot]));
                prop_assert!(backlog.weight() <= 3 + 3 * 4);
                if taken {
                    hear(backlog.pop());
                }
            }
            while !backlog.is_empty() {
                hear(backlog.pop());
            }
            prop_assert_eq!(backlog.weight(), 0);
            prop_assert_eq!(heard, known);
        }
    }
}
