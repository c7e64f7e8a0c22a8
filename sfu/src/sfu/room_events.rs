//! A worker's events on their way out, room by room.
//!
//! Each room has a receiver of its own, and a worker waits for none of them. Events that find the receiver's queue
//! full wait at the worker, where a state told again takes the place of the one before ([`EventBacklog`]): so
//! nothing is lost, and what waits is bounded by the peers and tracks there are. Two bounds hold beside that:
//!
//! 1. A room for which [`ROOM_WAITING`] waits gets no peers and no answers to offers ([`RoomEvents::is_behind`]),
//!    which are all that could add to it. Other rooms do not notice.
//! 2. When more than [`ALL_WAITING`] waits for all rooms of a worker, the room with most is failed
//!    ([`RoomEvents::fail_largest`]): its events are dropped and counted, and its receiver is told
//!    [`Event::RoomFailed`], which is the last of this worker's events there.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::backlog::EventBacklog;
use crate::event::Event;
use crate::id::RoomId;

/// Events in a room's queue: two of the turns in which a control plane takes them, 64 at a time. More wait at the
/// worker, where they take each other's place, as they do not in the queue.
pub(super) const ROOM_EVENTS: usize = 128;
/// The weight of one room's waiting events from which on it gets no peers and no answers to offers. All its other events
/// are about what there is, and take the place of earlier ones. Some 5 MB, ten seconds of a worker's joins: a
/// control plane that takes nothing for so long does not keep up.
pub(super) const ROOM_WAITING: usize = 65_536;
/// The weight of the waiting events of all rooms of a worker, some 80 MB. The fullest room there may be, of 1,000
/// viewers with 256 slots each, has a third of it.
pub(super) const ALL_WAITING: usize = 1 << 20;
/// The weight of one room's waiting events from which on messages of data channels are dropped, 1 MB of them: they
/// replace each other as little as packets do, and a control plane that is so late does well without some.
pub(super) const DATA_WAITING: usize = 16_384;
/// The time between two attempts to hand over events, after one that took some.
pub(super) const RETRY: Duration = Duration::from_millis(1);
/// The longest time between two attempts, which doubles while no room takes any.
const LONGEST_RETRY: Duration = Duration::from_millis(16);
/// Rooms tried at a time: a worker with very many rooms that take nothing still has time for packets.
const TRIES: usize = 64;

/// The ways out of a worker's rooms.
#[derive(Debug)]
pub(super) struct RoomEvents {
    rooms: HashMap<RoomId, RoomQueue>,
    /// Rooms whose events wait here, in the order in which they are tried.
    waiting: VecDeque<RoomId>,
    /// The weight of all that waits.
    weight: usize,
    most: usize,
    /// Messages of data channels that were dropped.
    unheard: u64,
    retry_at: Instant,
    pause: Duration,
}

#[derive(Debug)]
struct RoomQueue {
    queue: mpsc::Sender<Event>,
    backlog: EventBacklog,
    /// Nothing but [`Event::RoomFailed`] is told any more.
    failed: bool,
}

impl RoomEvents {
    /// `most`: [`ALL_WAITING`], or less for a test.
    pub(super) fn new(now: Instant, most: usize) -> Self {
        Self {
            rooms: HashMap::new(),
            waiting: VecDeque::new(),
            weight: 0,
            most,
            unheard: 0,
            retry_at: now,
            pause: RETRY,
        }
    }

    /// Events of `room` go to `queue` from now on, unless they have a queue.
    pub(super) fn open(&mut self, room: RoomId, queue: mpsc::Sender<Event>) {
        self.rooms.entry(room).or_insert_with(|| RoomQueue {
            queue,
            backlog: EventBacklog::default(),
            failed: false,
        });
    }

    /// The room is closed. Events that its queue has no place for are dropped: all that they speak of has ended.
    /// Returns their weight.
    pub(super) fn close(&mut self, room: RoomId) -> usize {
        let Some(mut out) = self.rooms.remove(&room) else {
            return 0;
        };
        self.weight -= out.backlog.weight();
        out.hand_over();
        out.backlog.weight()
    }

    /// Tells an event to its room. One of a room that is closed, or that nobody listens to, is passed over.
    pub(super) fn push(&mut self, now: Instant, event: Event) {
        if let Some(room) = event.room() {
            self.push_to(now, room, event);
        }
    }

    /// Tells an event to every room.
    pub(super) fn push_to_all(&mut self, now: Instant, event: &Event) {
        let rooms: Vec<RoomId> = self.rooms.keys().copied().collect();
        for room in rooms {
            self.push_to(now, room, event.clone());
        }
    }

    fn push_to(&mut self, now: Instant, room: RoomId, event: Event) {
        let Some(out) = self.rooms.get_mut(&room).filter(|out| !out.failed) else {
            return;
        };
        let event = match out.backlog.is_empty() {
            true => match out.queue.try_send(event) {
                Ok(()) => return,
                Err(TrySendError::Full(event)) => event,
                // An embedder may do without events.
                Err(TrySendError::Closed(_)) => {
                    self.rooms.remove(&room);
                    return;
                }
            },
            false => event,
        };
        let (before, was_empty) = (out.backlog.weight(), out.backlog.is_empty());
        if before >= DATA_WAITING && matches!(event, Event::DataReceived { .. }) {
            self.unheard += 1;
            return;
        }
        out.backlog.push(event);
        self.weight = self.weight - before + out.backlog.weight();
        if was_empty {
            self.wait(now, room);
        }
    }

    fn wait(&mut self, now: Instant, room: RoomId) {
        if self.waiting.is_empty() {
            self.pause = RETRY;
            self.retry_at = now + RETRY;
        }
        self.waiting.push_back(room);
    }

    /// Hands over what waits to rooms that have places for it, if it is time to try.
    pub(super) fn deliver(&mut self, now: Instant) {
        if self.waiting.is_empty() || now < self.retry_at {
            return;
        }
        self.pause = match self.hand_over(TRIES) {
            true => RETRY,
            false => (2 * self.pause).min(LONGEST_RETRY),
        };
        self.retry_at = now + self.pause;
    }

    /// As [`deliver`](Self::deliver), for all rooms and at any time.
    pub(super) fn deliver_all(&mut self) {
        self.hand_over(self.waiting.len());
    }

    /// Returns whether any room took anything.
    fn hand_over(&mut self, tries: usize) -> bool {
        let before = self.weight;
        for _ in 0..tries.min(self.waiting.len()) {
            let Some(room) = self.waiting.pop_front() else {
                break;
            };
            let Some(out) = self.rooms.get_mut(&room) else {
                continue;
            };
            let waited = out.backlog.weight();
            let heard = out.hand_over();
            let left = out.backlog.weight();
            self.weight = self.weight - waited + left;
            if left > 0 {
                self.waiting.push_back(room);
            } else if !heard || out.failed {
                self.rooms.remove(&room);
            }
        }
        self.weight < before
    }

    /// Messages of data channels that were dropped since this was asked.
    pub(super) fn take_unheard(&mut self) -> u64 {
        std::mem::take(&mut self.unheard)
    }

    /// The time to try again, if anything waits.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.retry_at)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.weight == 0
    }

    /// Whether a room is not to get more peers and answers, as it has not heard of those that it has.
    pub(super) fn is_behind(&self, room: RoomId) -> bool {
        let out = self.rooms.get(&room);
        out.is_some_and(|out| out.backlog.weight() >= ROOM_WAITING)
    }

    /// Fails the room with most waiting events, if all together are too many. Returns the room, to be closed, and the
    /// weight of the events that it does not hear.
    pub(super) fn fail_largest(&mut self, now: Instant) -> Option<(RoomId, usize)> {
        if self.weight <= self.most {
            return None;
        }
        let rooms = self.rooms.iter().filter(|(_, out)| !out.failed);
        let weights = rooms.map(|(room, out)| (out.backlog.weight(), *room));
        let (dropped, room) = weights.max_by_key(|(weight, _)| *weight)?;
        let out = self.rooms.get_mut(&room)?;
        self.weight -= dropped;
        out.backlog = EventBacklog::default();
        // It waits behind what is in the queue. The room stands among those that wait, as it had events there.
        out.backlog.push(Event::RoomFailed {
            room,
            dropped: dropped as u64,
        });
        self.weight += out.backlog.weight();
        out.failed = true;
        self.retry_at = self.retry_at.min(now + RETRY);
        Some((room, dropped))
    }

    #[cfg(test)]
    pub(super) fn weight(&self) -> usize {
        self.weight
    }
}

impl RoomQueue {
    /// Moves events to the queue while it has places; false if nobody listens any more, and nothing waits then.
    fn hand_over(&mut self) -> bool {
        while !self.backlog.is_empty() {
            match self.queue.try_reserve() {
                Ok(place) => {
                    if let Some(event) = self.backlog.pop() {
                        place.send(event);
                    }
                }
                Err(TrySendError::Full(())) => return true,
                Err(TrySendError::Closed(())) => {
                    self.backlog = EventBacklog::default();
                    return false;
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Needs;
    use crate::id::{PeerId, TrackId};
    use crate::testing::epoch;

    fn room(number: u64) -> RoomId {
        RoomId::from_u64(number)
    }

    fn ended(number: u64, track: u64) -> Event {
        Event::TrackEnded {
            room: room(number),
            peer: PeerId::from_u64(1),
            track: TrackId::from_u64(track),
        }
    }

    fn needs(number: u64, video: u16) -> Event {
        Event::NeedsChanged {
            room: room(number),
            peer: PeerId::from_u64(1),
            needs: Needs { audio: 0, video },
            offers: 1,
        }
    }

    /// Two rooms with places for two events each.
    fn two_rooms(most: usize) -> (RoomEvents, [mpsc::Receiver<Event>; 2]) {
        let mut events = RoomEvents::new(epoch(), most);
        let receivers = [1, 2].map(|number| {
            let (queue, receiver) = mpsc::channel(2);
            events.open(room(number), queue);
            receiver
        });
        (events, receivers)
    }

    fn taken(receiver: &mut mpsc::Receiver<Event>) -> Vec<Event> {
        std::iter::from_fn(|| receiver.try_recv().ok()).collect()
    }

    #[test]
    fn a_room_that_takes_nothing_holds_up_no_other() {
        let (mut events, [mut slow, mut prompt]) = two_rooms(ALL_WAITING);
        for number in 1..=100 {
            events.push(epoch(), ended(1, number));
            events.push(epoch(), needs(1, number as u16));
            events.push(epoch(), ended(2, number));
            assert_eq!(taken(&mut prompt), [ended(2, number)]);
        }
        // 99 tracks, and the needs as they are now.
        assert_eq!(events.weight(), 99 + 1);
        assert_eq!(taken(&mut slow), [ended(1, 1), needs(1, 1)]);
        let mut heard = Vec::new();
        let mut now = epoch();
        while let Some(at) = events.poll_timeout() {
            assert!(at > now && at <= now + RETRY);
            now = at;
            events.deliver(now);
            heard.extend(taken(&mut slow));
        }
        let mut all: Vec<Event> = (2..=100).map(|number| ended(1, number)).collect();
        all.push(needs(1, 100));
        assert_eq!(heard, all);
        assert!(events.is_empty());
    }

    #[test]
    fn messages_that_nobody_takes_are_dropped_before_they_cost_the_room_anything() {
        let (mut events, [mut slow, _]) = two_rooms(ALL_WAITING);
        let message = |text: &str| Event::DataReceived {
            room: room(1),
            peer: PeerId::from_u64(1),
            reliable: true,
            binary: false,
            payload: text.as_bytes().into(),
        };
        let long = "x".repeat(16_384);
        for _ in 0..1_000 {
            events.push(epoch(), message(&long));
        }
        assert!(events.weight() <= DATA_WAITING + 257 && !events.is_behind(room(1)));
        events.push(epoch(), needs(1, 1));
        let mut heard = 0;
        let mut last = None;
        while !events.is_empty() || !slow.is_empty() {
            for event in taken(&mut slow) {
                heard += u64::from(event == message(&long));
                last = Some(event);
            }
            events.deliver_all();
        }
        assert_eq!(
            (heard + events.take_unheard(), last),
            (1_000, Some(needs(1, 1)))
        );
        assert_eq!(events.take_unheard(), 0);
    }

    #[test]
    fn rooms_are_tried_less_and_less_often_while_they_take_nothing() {
        let (mut events, [_slow, _]) = two_rooms(ALL_WAITING);
        for number in 1..=3 {
            events.push(epoch(), ended(1, number));
        }
        let mut now = epoch();
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let at = events.poll_timeout().expect("an attempt");
            pauses.push((at - now).as_millis());
            now = at;
            events.deliver(now);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 16]);
    }

    #[test]
    fn the_room_with_most_waiting_events_fails_when_all_are_too_many() {
        let (mut events, [mut slow, mut prompt]) = two_rooms(10);
        for number in 1..=3 {
            events.push(epoch(), ended(2, number));
        }
        let failed = (1..).find_map(|number| {
            events.push(epoch(), ended(1, number));
            events.fail_largest(epoch())
        });
        assert_eq!(failed, Some((room(1), 10)));
        // Nothing of it is told any more but that.
        events.push(epoch(), ended(1, 99));
        assert_eq!(taken(&mut slow), [ended(1, 1), ended(1, 2)]);
        events.deliver_all();
        let last = Event::RoomFailed {
            room: room(1),
            dropped: 10,
        };
        assert_eq!(taken(&mut slow), [last]);
        assert!(slow.is_closed(), "the queue's only sender is gone");
        assert_eq!(taken(&mut prompt).len(), 2);
        events.deliver_all();
        assert_eq!(taken(&mut prompt), [ended(2, 3)]);
        assert!(events.is_empty());
    }

    #[test]
    fn a_closed_room_and_one_that_nobody_listens_to_keep_nothing() {
        let (mut events, [mut closed, deaf]) = two_rooms(ALL_WAITING);
        for number in 1..=5 {
            events.push(epoch(), ended(1, number));
            events.push(epoch(), ended(2, number));
        }
        assert_eq!(taken(&mut closed).len(), 2);
        // Two more have a place now, and one has none.
        assert_eq!(events.close(room(1)), 1);
        assert_eq!(taken(&mut closed), [ended(1, 3), ended(1, 4)]);
        drop(deaf);
        events.deliver_all();
        events.push(epoch(), ended(2, 6));
        assert!(events.is_empty() && events.rooms.is_empty());
        assert_eq!(events.poll_timeout(), None);
    }
}
