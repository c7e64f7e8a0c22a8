//! The state of a bot while it runs: written by the bot, read by progress and report.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tertulia_signaling::protocol::native::{MediaKind, Slot, Track};
use tokio::time::Instant;

use super::receive::Receiver;
use super::tap::{Outgoing, lock};
use crate::measure::Observed;

/// One bot, as other parts of the program see it.
#[derive(Debug, Default)]
pub struct BotState {
    /// Its name in the room.
    pub name: String,
    /// The room's name.
    pub room: String,
    /// Whether it publishes.
    pub publishes: bool,
    /// Over WHIP and WHEP, which publisher of its room it is, or watches. None: it receives
    /// everybody else in its room.
    pub stream: Option<usize>,
    /// Its place among the subscribers of its room, from 0 on; None: it publishes, or does not stay.
    pub place: Option<usize>,
    /// Whether a publisher sends anything.
    pub talks: bool,
    /// Its part in the scenario.
    pub part: Part,
    /// The streams that it has received.
    pub receiver: Arc<Mutex<Receiver>>,
    /// The streams that it has sent.
    pub outgoing: Arc<Outgoing>,
    /// UDP ports it has bound.
    pub ports: Arc<Mutex<Vec<u16>>>,
    /// Its measurements, up to the last time it told them.
    pub observed: Mutex<Observed>,
    call: Mutex<Call>,
}

/// A bot's part in the scenario.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Part {
    /// Stays from the beginning to the end.
    #[default]
    Resident,
    /// Joins a running call with many others, and stays.
    Storm,
    /// Comes and goes; nothing but joining is expected of it.
    Passing,
}

/// The course of a bot's call.
#[derive(Debug, Default)]
pub struct Call {
    /// The time at which it began to join.
    pub started: Option<Instant>,
    /// Time from opening the WebSocket to the first answer.
    pub answered: Option<Duration>,
    /// Time from opening the WebSocket to media connected.
    pub joined: Option<Duration>,
    /// The reason that it ended before its time, joined or not.
    pub failure: Option<String>,
    /// Its tracks: id and kind.
    pub published: BTreeMap<String, MediaKind>,
    /// The track of each receiving m-line, by mid.
    pub slots: BTreeMap<String, String>,
    /// Tracks of others, by id.
    pub announced: HashMap<String, Announced>,
    /// Tracks, among these, that it does not show.
    pub hidden: BTreeSet<String>,
    /// The number of people who speak, as the server last said; of wire bots.
    pub speaking: usize,
    /// The time at which it last told the server its views.
    pub viewed: Option<Instant>,
}

/// A track of another participant.
#[derive(Clone, Copy, Debug)]
pub struct Announced {
    pub kind: MediaKind,
    pub at: Instant,
}

impl BotState {
    /// A bot that has done nothing yet.
    pub fn new(name: String, room: String, publishes: bool) -> Self {
        Self {
            name,
            room,
            publishes,
            talks: publishes,
            ..Self::default()
        }
    }

    /// Whether it should receive what `other`, in the same room, publishes.
    pub fn hears(&self, other: &Self) -> bool {
        let same_stream = !self.publishes && self.stream == other.stream;
        self.stream.is_none() || same_stream
    }

    /// The course of its call.
    pub fn call(&self) -> MutexGuard<'_, Call> {
        lock(&self.call)
    }
}

impl Call {
    pub(crate) fn announce(&mut self, track: &Track) {
        let now = Instant::now();
        self.announced.entry(track.id.clone()).or_insert(Announced {
            kind: track.kind,
            at: now,
        });
    }

    pub(crate) fn assign(&mut self, slots: &[Slot]) {
        for slot in slots {
            match &slot.track {
                Some(track) => self.slots.insert(slot.mid.clone(), track.clone()),
                None => self.slots.remove(&slot.mid),
            };
        }
    }
}
