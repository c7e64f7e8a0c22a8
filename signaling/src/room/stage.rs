//! The stage of a room and its audience: a viewer in a crowd is told of those who publish or hold up a hand, how many
//! others there are, and of these a page when they ask.

use std::collections::HashSet;
use std::ops::Bound;
use std::time::Duration;

use tokio::time::Instant;

use super::actor::Room;
use super::command::Audience;
use super::crowd::Scope;
use super::participant::Participant;
use super::{Event, LeaveReason, ParticipantId, ParticipantInfo};

/// Raised hands that bring somebody onto the stage: more than a speaker takes in at a glance.
const HANDS: usize = 32;
/// Shortest time between two counts that the audience is told.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// People of a page, unless a client asks for fewer or more.
const PAGE: u16 = 50;
/// People of the longest page: some 20 kB without metadata.
pub(super) const LONGEST_PAGE: u16 = 100;
/// Bytes of people on a page, before the last of them: a short question costs no more than a busy second of chat. A
/// hundred people with names, tracks and metadata of 400 bytes each fit.
const PAGE_BYTES: usize = 64 << 10;

/// The numbers of people in a room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Everybody.
    pub participants: usize,
    /// People who publish a track.
    pub publishers: usize,
    /// Raised hands.
    pub hands: usize,
}

/// Some of the people in a room, in the order they joined.
#[derive(Clone, Debug)]
pub struct Page {
    /// The people, without the one who asks.
    pub participants: Vec<ParticipantInfo>,
    /// The number of everybody in the room.
    pub total: usize,
    /// The place of the next page; none: this is the last.
    pub next: Option<u64>,
}

/// The people whom the audience knows.
#[derive(Default)]
pub(super) struct Stage {
    people: HashSet<ParticipantId>,
    /// The counts may differ from those that were told.
    is_outdated: bool,
    told: Counts,
    told_at: Option<Instant>,
}

impl Stage {
    pub(super) fn holds(&self, id: &ParticipantId) -> bool {
        self.people.contains(id)
    }

    fn due(&self) -> Option<Instant> {
        self.is_outdated.then(|| match self.told_at {
            Some(told_at) => told_at + COUNT_EVERY,
            None => Instant::now(),
        })
    }
}

impl Room {
    /// Whether an entrant sees the room as its audience does.
    pub(super) fn is_audience(&self, wish: Option<Audience>) -> bool {
        match wish {
            Some(Audience::Always) => true,
            Some(Audience::Large) => self.participants.len() >= self.shared.limits.audience_from,
            None => false,
        }
    }

    /// Tells the others something about somebody: those who know that participant.
    pub(super) fn tell_others(&mut self, about: &ParticipantId, event: Event) {
        self.stage.is_outdated = true;
        let is_known = self.stage.holds(about);
        let scope = match is_known {
            true => Scope::Everybody,
            false => Scope::Members,
        };
        match event {
            Event::TrackPublished { .. } if !is_known => {
                self.spread(event, Scope::Members, Some(about));
                // Says which tracks there are, too.
                self.enter_stage(about);
            }
            Event::TrackUnpublished { .. } => {
                self.spread(event, scope, Some(about));
                self.leave_stage(about);
            }
            Event::ParticipantLeft { .. } => {
                self.stage.people.remove(about);
                self.spread(event, scope, Some(about));
            }
            event => self.spread(event, scope, Some(about)),
        }
    }

    /// Tells that somebody has raised or lowered a hand.
    pub(super) fn tell_hand(
        &mut self,
        about: &ParticipantId,
        raised: bool,
        by: Option<ParticipantId>,
    ) {
        self.stage.is_outdated = true;
        if raised && self.hands.len() <= HANDS {
            self.enter_stage(about);
        }
        let event = Event::Hand {
            participant: about.clone(),
            raised,
            by,
        };
        match self.stage.holds(about) {
            true => self.spread(event, Scope::Everybody, None),
            false => {
                self.spread(event.clone(), Scope::Members, None);
                if self
                    .participants
                    .get(about)
                    .is_some_and(|it| it.is_audience)
                {
                    self.tell(about, event);
                }
            }
        }
        if !raised {
            self.leave_stage(about);
        }
    }

    fn enter_stage(&mut self, id: &ParticipantId) {
        let Some(participant) = self.participants.get(id) else {
            return;
        };
        if self.stage.people.insert(id.clone()) {
            let event = Event::ParticipantJoined(participant.info());
            self.spread(event, Scope::Audience, Some(id));
        }
    }

    /// Takes somebody off the stage who has nothing to show there any more.
    fn leave_stage(&mut self, id: &ParticipantId) {
        let publishes = self
            .participants
            .get(id)
            .is_some_and(|it| !it.tracks.is_empty());
        if !publishes && !self.hands.is_raised(id) && self.stage.people.remove(id) {
            let event = Event::ParticipantLeft {
                participant: id.clone(),
                reason: LeaveReason::Audience,
            };
            self.spread(event, Scope::Audience, Some(id));
        }
    }

    pub(super) fn count(&self) -> Counts {
        let publishers = self
            .participants
            .values()
            .filter(|it| !it.tracks.is_empty());
        Counts {
            participants: self.participants.len(),
            publishers: publishers.count(),
            hands: self.hands.len(),
        }
    }

    /// The others whom an entrant is welcomed with, and the raised hands.
    pub(super) fn seen_by(
        &self,
        id: &ParticipantId,
        is_audience: bool,
    ) -> (Vec<ParticipantInfo>, Vec<ParticipantId>) {
        let is_seen = |it: &ParticipantId| !is_audience || it == id || self.stage.holds(it);
        let others = self.in_order().filter(|it| it.id != *id);
        let people = others.filter(|it| is_seen(&it.id));
        let hands = self.hands.in_order().into_iter().filter(is_seen);
        (people.map(Participant::info).collect(), hands.collect())
    }

    /// People behind a place in the order of joining, without `id`.
    pub(super) fn page(&self, id: &ParticipantId, after: Option<u64>, limit: Option<u16>) -> Page {
        let limit = usize::from(limit.unwrap_or(PAGE));
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.by_order.range((begin, Bound::Unbounded));
        let mut others = behind.filter(|(_, other)| *other != id);
        let mut participants = Vec::new();
        let mut last = None;
        let mut bytes = 0;
        while participants.len() < limit && bytes < PAGE_BYTES {
            let Some((order, id)) = others.next() else {
                break;
            };
            if let Some(participant) = self.participants.get(id) {
                let info = participant.info();
                bytes += info.weight();
                participants.push(info);
            }
            last = Some(*order);
        }
        Page {
            participants,
            total: self.participants.len(),
            next: last.filter(|_| others.next().is_some()),
        }
    }

    /// The next time at which people are told something that waits.
    pub(super) fn news_due(&self) -> Option<Instant> {
        let due = self.crowd.due().into_iter().chain(self.stage.due());
        due.min()
    }

    /// Tells what has waited for long enough.
    pub(super) fn tell_news(&mut self) {
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= Instant::now());
        if is_due(self.crowd.due()) {
            self.tell_crowd();
        }
        if is_due(self.stage.due()) {
            self.stage.is_outdated = false;
            // A room without an audience counts nothing.
            if !self.participants.values().any(|it| it.is_audience) {
                return;
            }
            let counts = self.count();
            self.stage.told_at = Some(Instant::now());
            if std::mem::replace(&mut self.stage.told, counts) != counts {
                self.tell_some(Event::Audience(counts), |it| it.is_audience);
            }
        }
    }
}
