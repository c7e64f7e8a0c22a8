//! News, told together in a large room.
//!
//! Whatever somebody does there is told to everybody, so that a room of two thousand makes two thousand messages of each
//! change. So changes wait for a moment, those that are void by then are left out, and the rest goes out as one message,
//! which is written once. In a small room nothing waits.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::actor::Room;
use super::participant::Participant;
use super::{Event, ParticipantId, Told};
use crate::session::{Undelivered, coalesced};

/// Shortest time between two messages of news in a large room. People do not see such a delay; a socket that is written
/// to seven times a second costs a server little.
const EVERY: Duration = Duration::from_millis(150);
/// Changes that wait, at most. More are told at once: a room that is that busy has no use of waiting for more.
const MOST: usize = 512;

/// Scope says who is told of a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scope {
    Everybody,
    /// All but the audience.
    Members,
    Audience,
}

impl Scope {
    fn are_of(self, participant: &Participant) -> bool {
        match self {
            Self::Everybody => true,
            Self::Members => !participant.is_audience,
            Self::Audience => participant.is_audience,
        }
    }
}

/// News that waits to be told.
#[derive(Default)]
pub(super) struct Crowd {
    /// Oldest first. Bounded by [`MOST`].
    news: Vec<News>,
    /// People who have joined, as far as the others have not been told.
    newcomers: HashSet<ParticipantId>,
    /// Whether a track begins by the news.
    begins_track: bool,
    told_at: Option<Instant>,
}

struct News {
    told: Told,
    scope: Scope,
    /// The participant whom it is about, who is not told.
    except: Option<ParticipantId>,
    /// Joins so far. Who joined later knows it from the welcome.
    joined: u64,
}

impl News {
    fn is_for(&self, participant: &Participant) -> bool {
        self.scope.are_of(participant)
            && self.joined >= participant.order
            && self.except.as_ref() != Some(&participant.id)
    }
}

impl Crowd {
    /// The time at which the news should be told.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.news.is_empty()).then(|| match self.told_at {
            Some(told_at) => told_at + EVERY,
            None => Instant::now(),
        })
    }

    /// Whether an event refers to somebody, or to a track, that the news tells of first.
    fn introduces(&self, event: &Event) -> bool {
        let is_new = |id: &ParticipantId| self.newcomers.contains(id);
        match event {
            Event::Slots(_) | Event::Answered { .. } | Event::Subscriptions(_) => self.begins_track,
            Event::Moderated {
                by, participant, ..
            } => is_new(by) || is_new(participant),
            Event::Rules { by, .. } => by.as_ref().is_some_and(is_new),
            _ => false,
        }
    }
}

impl Room {
    /// Tells the news before an event that refers to it.
    pub(super) fn introduce(&mut self, event: &Event) {
        if self.crowd.introduces(event) {
            self.tell_crowd();
        }
    }

    /// Tells people something: at once in a small room, soon in a large one. `except`: the one whom it is about.
    pub(super) fn spread(&mut self, event: Event, scope: Scope, except: Option<&ParticipantId>) {
        let is_large = self.participants.len() >= self.shared.limits.large_room;
        if !is_large && self.crowd.news.is_empty() {
            return self.tell_some(event, |it| {
                scope.are_of(it) && except.is_none_or(|except| it.id != *except)
            });
        }
        match &event {
            Event::ParticipantJoined(info) => {
                self.crowd.newcomers.insert(info.id.clone());
                self.crowd.begins_track |= !info.tracks.is_empty();
            }
            Event::TrackPublished { .. } => self.crowd.begins_track = true,
            _ => {}
        }
        self.crowd.news.push(News {
            told: Told::several(event),
            scope,
            except: except.cloned(),
            joined: self.joined,
        });
        if self.crowd.news.len() >= MOST {
            self.tell_crowd();
        }
    }

    /// Tells the news.
    pub(super) fn tell_crowd(&mut self) {
        let crowd = std::mem::take(&mut self.crowd);
        self.crowd.told_at = Some(Instant::now());
        let Some(first) = crowd.news.first() else {
            return;
        };
        // Most are told the same: who has joined before all of it, and is not the subject of any.
        let since = first.joined;
        let subjects = crowd.news.iter().filter_map(|news| news.except.as_ref());
        let subjects: HashSet<_> = subjects.collect();
        let same = [Scope::Members, Scope::Audience].map(|scope| {
            let others = if scope == Scope::Members {
                Scope::Audience
            } else {
                Scope::Members
            };
            let news = crowd.news.iter().filter(|news| news.scope != others);
            Parcel::new(news, self.participants.len())
        });
        for participant in self.participants.values() {
            let own;
            let parcel = if participant.order > since || subjects.contains(&participant.id) {
                own = Parcel::new(crowd.news.iter().filter(|it| it.is_for(participant)), 1);
                &own
            } else {
                &same[usize::from(participant.is_audience)]
            };
            if let Err(undelivered) = parcel.put(participant) {
                self.failing
                    .push((participant.id.clone(), participant.stay, undelivered));
            }
        }
    }
}

/// The news for some people.
struct Parcel {
    /// Each event alone, with the bytes that one of them is charged.
    events: Vec<(Told, usize)>,
    /// A batch of all events, if they are several.
    batch: Option<(Told, usize)>,
}

impl Parcel {
    /// `count` people are given it, roughly.
    fn new<'a>(news: impl Iterator<Item = &'a News>, count: usize) -> Self {
        let events = coalesced(news.map(|news| news.told.clone()));
        let weigh = |told: Told| {
            let bytes = told.weight().div_ceil(count.max(1));
            (told, bytes)
        };
        let batch = (events.len() > 1).then(|| weigh(Told::several(Event::Batch(events.clone()))));
        Self {
            events: events.into_iter().map(weigh).collect(),
            batch,
        }
    }

    fn put(&self, participant: &Participant) -> Result<(), Undelivered> {
        let outbox = &participant.way.events;
        if let Some((batch, bytes)) = &self.batch
            && participant.takes_batches
        {
            return outbox.put(batch.clone(), *bytes);
        }
        let mut events = self.events.iter();
        events.try_for_each(|(event, bytes)| outbox.put(event.clone(), *bytes))
    }
}
