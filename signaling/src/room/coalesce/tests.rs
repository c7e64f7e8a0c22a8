use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::media::{MediaKind, Needs, Reason};
use crate::room::moderation::{Outcome, WaitingPerson};
use crate::room::{ChatEntry, LeaveReason, Metadata, Rules, Source, Speakers, TrackInfo};
use crate::session::{BEHIND, Queue, coalesced};

/// A picture of the room, as a client knows it.
#[derive(Clone, PartialEq, Debug, Default)]
struct Picture {
    people: BTreeMap<ParticipantId, Person>,
    hands: Vec<ParticipantId>,
    slots: BTreeMap<String, Option<TrackName>>,
    layers: BTreeMap<TrackName, Option<u8>>,
    speakers: Vec<ParticipantId>,
    rules: Option<Rules>,
    needs: Needs,
    chat: Vec<u64>,
}

#[derive(Clone, PartialEq, Debug, Default)]
struct Person {
    name: String,
    connected: bool,
    tracks: BTreeMap<TrackName, bool>,
}

impl Picture {
    fn knows(&self, track: &TrackName) -> bool {
        self.people.values().any(|it| it.tracks.contains_key(track))
    }

    /// Applies an event as a client does, and panics at one that refers to something that was not announced.
    fn apply(&mut self, told: &Told) {
        let person = |info: &ParticipantInfo| Person {
            name: info.name.clone(),
            connected: info.connected,
            tracks: info
                .tracks
                .iter()
                .map(|it| (it.name.clone(), it.muted))
                .collect(),
        };
        match &**told {
            Event::Batch(parts) => parts.iter().for_each(|part| self.apply(part)),
            Event::ParticipantJoined(info) => {
                assert!(self.people.insert(info.id.clone(), person(info)).is_none());
            }
            Event::ParticipantUpdated(info) => {
                *self.people.get_mut(&info.id).expect("known") = person(info);
            }
            Event::Presence {
                participant,
                connected,
            } => self.people.get_mut(participant).expect("known").connected = *connected,
            Event::ParticipantLeft { participant, .. } => {
                self.people.remove(participant).expect("known");
                self.hands.retain(|id| id != participant);
            }
            Event::TrackPublished { participant, track }
            | Event::TrackUpdated { participant, track } => {
                let person = self.people.get_mut(participant).expect("known");
                let before = person.tracks.insert(track.name.clone(), track.muted);
                let is_update = matches!(**told, Event::TrackUpdated { .. });
                assert!(before.is_some() || !is_update, "{told:?}");
            }
            Event::TrackUnpublished { participant, track } => {
                let person = self.people.get_mut(participant).expect("known");
                person.tracks.remove(track).expect("known");
            }
            Event::Hand {
                participant,
                raised,
                ..
            } => {
                assert!(self.people.contains_key(participant));
                if *raised && !self.hands.contains(participant) {
                    self.hands.push(participant.clone());
                }
                if !raised {
                    self.hands.retain(|id| id != participant);
                }
            }
            Event::Slots(slots) => {
                for slot in slots {
                    assert!(slot.track.as_ref().is_none_or(|track| self.knows(track)));
                    self.slots.insert(slot.mid.clone(), slot.track.clone());
                }
            }
            Event::Subscriptions(states) => {
                for state in states {
                    assert!(self.knows(&state.track));
                    self.layers.insert(state.track.clone(), state.layer);
                }
            }
            Event::Speakers(speakers) => self.speakers.clone_from(&speakers.recent),
            Event::Rules { rules, .. } => self.rules = Some(*rules),
            Event::Needs(needs) => self.needs = *needs,
            Event::Chat(entry) => self.chat.push(entry.id),
            other => panic!("{other:?}"),
        }
    }

    /// Leaves what a person sees: a slot, or a subscription, of a track that is gone is none.
    fn seen(mut self) -> Self {
        let known: Vec<_> = self
            .people
            .values()
            .flat_map(|it| it.tracks.keys().cloned())
            .collect();
        for slot in self.slots.values_mut() {
            slot.take_if(|track| !known.contains(track));
        }
        self.slots.retain(|_, track| track.is_some());
        self.layers.retain(|track, _| known.contains(track));
        self
    }
}

/// A room that tells a viewer what happens in it.
#[derive(Default)]
struct Play {
    people: Vec<(ParticipantInfo, bool)>,
    slots: [Option<TrackName>; 3],
    said: u64,
}

impl Play {
    /// The events of a step, by three numbers at random.
    fn step(&mut self, step: (u8, u8, u8)) -> Vec<Event> {
        let mut events = self.act(step);
        events.retain(|event| !matches!(event, Event::Slots(slots) if slots.is_empty()));
        events
    }

    fn act(&mut self, (what, who, which): (u8, u8, u8)) -> Vec<Event> {
        let who = usize::from(who) % self.people.len().max(1);
        let flag = which.is_multiple_of(2);
        if matches!(what, 0..=1) && self.people.len() < 6 {
            let info = info(which);
            self.people.push((info.clone(), false));
            return vec![Event::ParticipantJoined(info)];
        }
        match what {
            12 => {
                self.said += 1;
                return vec![chat(self.said)];
            }
            13 => {
                return vec![Event::Needs(Needs {
                    audio: which.into(),
                    video: 0,
                })];
            }
            14 => {
                let rules = Rules {
                    locked: flag,
                    ..Rules::default()
                };
                return vec![Event::Rules { rules, by: None }];
            }
            _ => {}
        }
        let Some((info, hand)) = self.people.get_mut(who) else {
            return Vec::new();
        };
        let participant = info.id.clone();
        match what {
            2 => {
                let (gone, _) = self.people.remove(who);
                let left = Event::ParticipantLeft {
                    participant,
                    reason: LeaveReason::Left,
                };
                let tracks = gone.tracks.iter().map(|it| &it.name);
                let freed = tracks.flat_map(|track| self.free(track)).collect();
                vec![left, Event::Slots(freed)]
            }
            3..=4 => {
                info.name = format!("name {which}");
                vec![Event::ParticipantUpdated(info.clone())]
            }
            5..=6 if info.tracks.len() < 2 => {
                let track = track(flag);
                info.tracks.push(track.clone());
                let mid = usize::from(which) % 3;
                self.slots[mid] = Some(track.name.clone());
                let carried = slot(mid, Some(track.name.clone()));
                let sent = subscription(&track.name, which);
                vec![
                    Event::TrackPublished { participant, track },
                    Event::Slots(vec![carried]),
                    Event::Subscriptions(vec![sent]),
                ]
            }
            7 if !info.tracks.is_empty() => {
                let track = info
                    .tracks
                    .remove(usize::from(which) % info.tracks.len())
                    .name;
                let freed = self.free(&track);
                let ended = Event::TrackUnpublished { participant, track };
                // The media plane may tell it later than the track's end, or not at all.
                match flag {
                    true => vec![ended, Event::Slots(freed)],
                    false => vec![ended],
                }
            }
            8 if !info.tracks.is_empty() => {
                let at = usize::from(which) % info.tracks.len();
                let track = &mut info.tracks[at];
                track.muted = !track.muted;
                vec![Event::TrackUpdated {
                    participant,
                    track: track.clone(),
                }]
            }
            9..=10 => {
                *hand = !*hand;
                vec![Event::Hand {
                    participant,
                    raised: *hand,
                    by: None,
                }]
            }
            11 => vec![Event::Speakers(Speakers {
                recent: vec![participant],
                speaking: 1,
            })],
            15 => {
                info.connected = flag;
                vec![Event::Presence {
                    participant,
                    connected: flag,
                }]
            }
            _ => Vec::new(),
        }
    }

    fn free(&mut self, track: &TrackName) -> Vec<NamedSlot> {
        let slots = self.slots.iter_mut().enumerate();
        let freed = slots.filter_map(|(mid, carried)| {
            carried.take_if(|it| it == track).map(|_| slot(mid, None))
        });
        freed.collect()
    }
}

fn info(number: u8) -> ParticipantInfo {
    ParticipantInfo {
        id: ParticipantId::random(),
        name: format!("name {number}"),
        metadata: Metadata::default(),
        connected: true,
        tracks: Vec::new(),
    }
}

fn track(muted: bool) -> TrackInfo {
    TrackInfo {
        name: TrackName::random(),
        kind: MediaKind::Audio,
        source: Source::Microphone,
        muted,
        simulcast: false,
        codec: "opus",
    }
}

fn slot(mid: usize, track: Option<TrackName>) -> NamedSlot {
    NamedSlot {
        mid: mid.to_string(),
        kind: MediaKind::Audio,
        track,
    }
}

fn subscription(track: &TrackName, layer: u8) -> NamedSubscription {
    NamedSubscription {
        track: track.clone(),
        layer: Some(layer),
        temporal: Some(0),
        reason: Reason::Best,
    }
}

fn chat(id: u64) -> Event {
    Event::Chat(ChatEntry {
        id,
        participant: ParticipantId::server(),
        name: String::new(),
        text: "text".into(),
        at_ms: 0,
    })
}

/// The events that are left of these for a client that was not told any.
fn left_of(events: Vec<Event>) -> Vec<Event> {
    let told = coalesced(events.into_iter().map(Told::several));
    told.iter().map(|told| (**told).clone()).collect()
}

#[track_caller]
fn assert_left(events: Vec<Event>, expected: &[Event]) {
    assert_eq!(format!("{:?}", left_of(events)), format!("{expected:?}"));
}

#[test]
fn a_state_takes_the_place_of_an_older_one_behind_what_was_told_between() {
    let (mut ada, done) = (info(1), Event::Done { request: Some(1) });
    let first = Event::ParticipantUpdated(ada.clone());
    ada.name = "other".into();
    let second = Event::ParticipantUpdated(ada);
    assert_left(vec![first, done.clone(), second.clone()], &[done, second]);
}

#[test]
fn replies_and_chat_stay() {
    let events = vec![
        chat(1),
        Event::Done { request: None },
        chat(2),
        Event::Done { request: None },
    ];
    assert_left(events.clone(), &events);
}

#[test]
fn who_came_and_went_is_not_told_of() {
    let (ada, track) = (info(1), track(false));
    let participant = ada.id.clone();
    let chat = chat(1);
    let events = vec![
        Event::ParticipantJoined(ada),
        Event::TrackPublished {
            participant: participant.clone(),
            track: track.clone(),
        },
        Event::Slots(vec![slot(0, Some(track.name.clone())), slot(1, None)]),
        Event::Subscriptions(vec![subscription(&track.name, 1)]),
        Event::Hand {
            participant: participant.clone(),
            raised: true,
            by: None,
        },
        chat.clone(),
        Event::ParticipantLeft {
            participant,
            reason: LeaveReason::Left,
        },
    ];
    let slots = Event::Slots(vec![slot(0, None), slot(1, None)]);
    assert_left(events, &[slots, chat]);
}

#[test]
fn who_was_known_and_left_is_told_of_alone() {
    let participant = info(1).id;
    let left = Event::ParticipantLeft {
        participant: participant.clone(),
        reason: LeaveReason::Left,
    };
    let events = vec![
        Event::Hand {
            participant: participant.clone(),
            raised: true,
            by: None,
        },
        Event::TrackPublished {
            participant: participant.clone(),
            track: track(false),
        },
        Event::TrackUnpublished {
            participant,
            track: TrackName::random(),
        },
        left.clone(),
    ];
    assert_left(events, &[left]);
}

#[test]
fn a_hand_raised_again_stands_behind_the_others() {
    let [ada, grace] = [1, 2].map(|number| info(number).id);
    let hand = |who: &ParticipantId, raised| Event::Hand {
        participant: who.clone(),
        raised,
        by: None,
    };
    let events = vec![hand(&ada, false), hand(&grace, true), hand(&ada, true)];
    assert_left(events.clone(), &events);
    let again = [hand(&ada, false), hand(&ada, true)];
    let more = events.into_iter().chain(again.clone()).collect();
    assert_left(
        more,
        &[hand(&grace, true), again[0].clone(), again[1].clone()],
    );
}

#[test]
fn who_waited_and_gave_up_is_taken_out_of_the_list() {
    let [ada, grace] = [1, 2].map(|number| WaitingPerson {
        id: info(number).id,
        name: "Ada".into(),
    });
    let gone = Event::WaitingLeft {
        participant: ada.id.clone(),
        outcome: Outcome::Left,
        by: None,
    };
    let events = vec![Event::Waiting(vec![ada, grace.clone()]), gone];
    assert_left(events, &[Event::Waiting(vec![grace])]);
}

proptest! {
    /// A client that is told the events whenever it reads ends with the picture of one that was told each at once, and
    /// is never told of something that was not announced.
    #[test]
    fn a_slow_reader_ends_with_the_same_picture(
        steps in prop::collection::vec((0..16_u8, any::<u8>(), any::<u8>(), 0..12_u8), 0..200),
        behind in prop_oneof![Just(0), Just(3), Just(BEHIND)],
        batch in 1..4_usize,
    ) {
        let mut play = Play::default();
        let (mut exact, mut slow) = (Picture::default(), Picture::default());
        let mut waiting = Queue::new(behind);
        let mut batched = VecDeque::new();
        for (what, who, which, reads) in steps {
            for event in play.step((what, who, which)) {
                let told = Told::several(event);
                exact.apply(&told);
                batched.push_back(told);
            }
            while batched.len() >= batch {
                let parts: Vec<_> = batched.drain(..batch).collect();
                let bytes = 7 * parts.len();
                match batch {
                    1 => waiting.push(parts[0].clone(), bytes),
                    _ => waiting.push(Told::several(Event::Batch(parts)), bytes),
                }
            }
            // A reader that reads nothing, a bit, or much.
            for _ in 0..reads.saturating_sub(6) {
                if let Some((told, _)) = waiting.pop() {
                    slow.apply(&told);
                }
            }
        }
        for told in batched {
            waiting.push(told, 7);
        }
        prop_assert!(waiting.bytes() >= waiting.len());
        while let Some((told, _)) = waiting.pop() {
            slow.apply(&told);
        }
        prop_assert_eq!(waiting.bytes(), 0);
        prop_assert_eq!(slow.seen(), exact.seen());
    }

    /// However much happens, a reader that reads nothing has no more waiting than the room's state takes.
    #[test]
    fn what_waits_is_bounded_by_the_state_of_the_room(
        steps in prop::collection::vec((0..16_u8, any::<u8>(), any::<u8>()), 2_000),
    ) {
        let mut play = Play::default();
        let mut waiting = Queue::new(BEHIND);
        for step in steps {
            for event in play.step(step) {
                if !matches!(event, Event::Chat(_)) {
                    waiting.push(Told::several(event), 1);
                }
            }
            // Six people, each with a profile, hands and two tracks with their states; three slots; and a few more.
            prop_assert!(waiting.len() <= 6 * 10 + 3 + 8, "{}", waiting.len());
        }
    }
}
