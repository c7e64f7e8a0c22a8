//! The rings between workers, which carry control and packets from one to another.
//!
//! Two workers are linked by two rings each way, of bounded length, written by one thread and read by
//! one (`rtrb`: wait-free and allocated once; tokio's bounded queue takes a lock for each value
//! received): one for packets, one for [`Control`], so that a flood of packets holds no track's end up.
//!
//! The control plane links two workers when a room first spans both, at a join, before the room's part is made. Each
//! gets its ends by its command queue ([`Links::connect`]), and no packet waits for it. [`LinkTable`] bounds the memory
//! of all rings. When that is used up, a room does not grow to a worker that would have to be linked: its next peers go
//! to the workers it is on.
//!
//! # When a ring is full
//!
//! - Packets: the batch is dropped for that worker and counted (`relay_full`). Its viewers see loss.
//! - Control: kept here in order and tried again every turn. Meanwhile this worker takes no commands, which cause most
//!   of it. Clients can cause data channel messages at will; beyond a bound these are dropped (`relay_control_full`).

mod table;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

pub(crate) use table::{LinkTable, TableFull};

use rtrb::{Consumer, Producer, PushError, RingBuffer};

use crate::pipe::Batch;
use crate::worker::{Control, Worker};

/// Batches on their way between two workers, each way. A batch is up to 64 packets, and a worker makes one a turn: this
/// is some tens of milliseconds of a busy worker. Media that waited longer is of no use. A batch is up to 90 KB, so
/// that for a worker that stands still each other worker sending to it holds 6 MB.
const BATCHES: usize = 64;
/// Most control messages on their way between two workers, each way. It fits a hundred peers that join within one turn
/// of the other worker, with their tracks and the keyframe requests they cause.
const CONTROL: usize = 1_024;
/// Messages kept when that is full, beyond which data channel messages are dropped. The others need no bound of their
/// own: tracks are bounded for each peer, layer changes by the silence before each, requests by their interval, and
/// commands are not taken meanwhile.
const BACKLOG: usize = 1_024;
/// Packets taken from other workers in one turn: as many as are taken from the socket.
const PACKETS_PER_TURN: usize = 64;

/// The lengths of the rings between two workers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingSizes {
    /// Batches of packets.
    pub(crate) batches: usize,
    /// Control messages.
    pub(crate) control: usize,
}

impl Default for RingSizes {
    fn default() -> Self {
        Self {
            batches: BATCHES,
            control: CONTROL,
        }
    }
}

/// One worker's ends of the rings to and from each other worker that it is linked with.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// One for each other worker.
    ends: Vec<LinkEnd>,
    /// Index of the end to begin with: the one after that where the last full turn ended.
    turn: usize,
}

/// One worker's ends of the rings to and from another.
#[derive(Debug)]
pub(crate) struct LinkEnd {
    other: u16,
    out: Outgoing,
    incoming: Incoming,
}

#[derive(Debug)]
struct Outgoing {
    control: Producer<Control>,
    batches: Producer<Arc<Batch>>,
    backlog: VecDeque<Control>,
    /// A ring has a new entry that its reader was not woken for.
    posted: bool,
}

#[derive(Debug)]
struct Incoming {
    control: Consumer<Control>,
    batches: Consumer<Arc<Batch>>,
    /// The batch being taken, and the number of its packets taken so far.
    current: Option<(Arc<Batch>, usize)>,
    /// The writer is gone and its rings are empty.
    lost: bool,
}

impl LinkEnd {
    /// The ends of two workers, in their order.
    fn pair(one: u16, other: u16, sizes: RingSizes) -> (Self, Self) {
        let (there, from_one) = ring(sizes);
        let (back, from_other) = ring(sizes);
        let end = |other, out, incoming| Self {
            other,
            out,
            incoming,
        };
        (end(other, there, from_other), end(one, back, from_one))
    }
}

/// One way, from one worker to another.
fn ring(sizes: RingSizes) -> (Outgoing, Incoming) {
    let (control, control_end) = RingBuffer::new(sizes.control);
    let (batches, batches_end) = RingBuffer::new(sizes.batches);
    let out = Outgoing {
        control,
        batches,
        backlog: VecDeque::new(),
        posted: false,
    };
    let incoming = Incoming {
        control: control_end,
        batches: batches_end,
        current: None,
        lost: false,
    };
    (out, incoming)
}

impl Links {
    /// Adds the ends towards another worker, in place of earlier ones.
    pub(crate) fn connect(&mut self, end: LinkEnd) {
        match self.find(end.other) {
            Ok(at) => self.ends[at] = end,
            Err(at) => self.ends.insert(at, end),
        }
    }

    /// Moves control and packets for other workers into the rings, and calls `wake` for each worker that got any.
    pub(crate) fn post(&mut self, worker: &mut Worker, mut wake: impl FnMut(usize)) {
        while let Some((to, control)) = worker.poll_control() {
            if let Some(out) = self.to(to)
                && !out.keep(control)
            {
                worker.control_dropped();
            }
        }
        for end in &mut self.ends {
            end.out.push_control();
        }
        while let Some((to, batch)) = worker.poll_batch() {
            if let Some(out) = self.to(to)
                && !out.push_batch(&batch)
            {
                worker.batch_dropped(&batch);
            }
        }
        for end in &mut self.ends {
            if std::mem::take(&mut end.out.posted) {
                wake(usize::from(end.other));
            }
        }
    }

    /// Hands over all control messages that others posted before this call.
    pub(crate) fn take_control(&mut self, now: Instant, worker: &mut Worker) {
        for end in &mut self.ends {
            end.take_control(now, worker);
        }
    }

    /// Hands over what others posted: all control, and as many packets as the worker takes in a turn.
    pub(crate) fn take(&mut self, now: Instant, worker: &mut Worker) {
        self.take_control(now, worker);
        let mut packets = 0;
        let ends = self.ends.len();
        for step in 0..ends {
            let at = (self.turn + step) % ends;
            if self.ends[at].take_batches(now, worker, &mut packets) {
                self.turn = (at + 1) % ends;
                break;
            }
        }
        for end in &mut self.ends {
            if end.incoming.is_lost() {
                worker.pipe_lost(now, end.other);
            }
        }
    }

    /// Whether the rings hold entries not taken yet.
    pub(crate) fn has_incoming(&self) -> bool {
        self.ends.iter().any(|end| !end.incoming.is_empty())
    }

    /// Whether control waits for room in a ring.
    pub(crate) fn is_held_up(&self) -> bool {
        self.ends.iter().any(|end| !end.out.backlog.is_empty())
    }

    fn to(&mut self, other: u16) -> Option<&mut Outgoing> {
        let at = self.find(other).ok()?;
        Some(&mut self.ends[at].out)
    }

    fn find(&self, other: u16) -> Result<usize, usize> {
        self.ends.binary_search_by_key(&other, |end| end.other)
    }
}

impl LinkEnd {
    fn take_control(&mut self, now: Instant, worker: &mut Worker) {
        // Messages posted meanwhile wait: their writer must not prolong this turn.
        for _ in 0..self.incoming.control.slots() {
            if let Ok(control) = self.incoming.control.pop() {
                worker.handle_control(now, self.other, control);
            }
        }
    }

    /// Hands over packets, after `packets` earlier in this turn; true when the worker takes no more.
    fn take_batches(&mut self, now: Instant, worker: &mut Worker, packets: &mut usize) -> bool {
        while let Some((batch, at)) = self.incoming.next_batch() {
            // The control that describes the packets' tracks was posted before them, but perhaps after the last look.
            self.take_control(now, worker);
            let taken = worker.handle_batch(now, &batch, at);
            *packets += taken;
            let left_over = at + taken < batch.len();
            if left_over {
                self.incoming.current = Some((batch, at + taken));
            }
            if *packets >= PACKETS_PER_TURN || left_over {
                return true;
            }
        }
        false
    }
}

impl Outgoing {
    /// Keeps a message for the ring; false if it is dropped.
    fn keep(&mut self, control: Control) -> bool {
        if matches!(control, Control::Data(_)) && self.backlog.len() >= BACKLOG {
            return false;
        }
        self.backlog.push_back(control);
        true
    }

    fn push_control(&mut self) {
        if self.control.is_abandoned() {
            self.backlog.clear();
        }
        while let Some(control) = self.backlog.pop_front() {
            if let Err(PushError::Full(control)) = self.control.push(control) {
                self.backlog.push_front(control);
                return;
            }
            self.posted = true;
        }
    }

    /// Puts a batch into the ring; false if there is no room, or if control waits, which goes first.
    fn push_batch(&mut self, batch: &Arc<Batch>) -> bool {
        if !self.backlog.is_empty() || self.batches.push(Arc::clone(batch)).is_err() {
            return false;
        }
        self.posted = true;
        true
    }
}

impl Incoming {
    fn next_batch(&mut self) -> Option<(Arc<Batch>, usize)> {
        let next = || Some((self.batches.pop().ok()?, 0));
        self.current.take().or_else(next)
    }

    fn is_empty(&self) -> bool {
        self.current.is_none() && self.control.is_empty() && self.batches.is_empty()
    }

    /// Whether the writer is gone and all is taken; true once.
    fn is_lost(&mut self) -> bool {
        let lost = !self.lost && self.control.is_abandoned() && self.is_empty();
        self.lost |= lost;
        lost
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::{RoomId, TrackId};
    use crate::transport::DataChannel;
    use crate::worker::Data;

    fn ended(number: u64) -> Control {
        Control::Ended {
            track: TrackId::new(0, number),
        }
    }

    fn data() -> Control {
        Control::Data(Data {
            room: RoomId::new(0, 1),
            channel: DataChannel::Reliable,
            binary: true,
            payload: Arc::from(&b"x"[..]),
            sender: "p1".into(),
        })
    }

    fn number(control: &Control) -> u64 {
        match control {
            Control::Ended { track } => track.as_u64(),
            _ => unreachable!("only these are sent"),
        }
    }

    /// One way between two workers.
    fn pair(sizes: RingSizes) -> (Outgoing, Incoming) {
        ring(sizes)
    }

    #[test]
    fn a_worker_has_an_end_for_each_it_is_linked_with_and_the_last_one_counts() {
        let sizes = RingSizes::default();
        let mut links = Links::default();
        for other in [5, 2, 9, 2] {
            links.connect(LinkEnd::pair(7, other, sizes).0);
        }
        let others: Vec<u16> = links.ends.iter().map(|end| end.other).collect();
        assert_eq!(others, [2, 5, 9]);
        assert!(links.to(5).is_some() && links.to(7).is_none());
        let (ours, mut theirs) = LinkEnd::pair(7, 5, sizes);
        links.connect(ours);
        let out = links.to(5).expect("an end");
        assert!(out.keep(ended(1)));
        out.push_control();
        assert!(theirs.incoming.control.pop().is_ok(), "the new one");
    }

    #[test]
    fn control_is_kept_in_order_and_media_does_not_overtake_it() {
        let (mut out, mut incoming) = pair(RingSizes {
            batches: 2,
            control: 2,
        });
        let batch = Arc::<Batch>::default();
        let mut got = Vec::new();
        for sent in 0..10 {
            assert!(out.keep(ended(sent)));
            out.push_control();
        }
        assert!(!out.push_batch(&batch), "what it is of may be unknown yet");
        while !out.backlog.is_empty() {
            while let Ok(control) = incoming.control.pop() {
                got.push(number(&control));
            }
            out.push_control();
        }
        assert!(out.push_batch(&batch) && out.push_batch(&batch));
        assert!(!out.push_batch(&batch), "the ring is full");
        while let Ok(control) = incoming.control.pop() {
            got.push(number(&control));
        }
        assert_eq!(got, (0..10).collect::<Vec<_>>());
        assert_eq!(Arc::strong_count(&batch), 3, "what was dropped is not held");
    }

    proptest! {
        /// With any ring lengths and speeds, control arrives whole and in order. A batch arrives or is reported as
        /// dropped, and never before control posted ahead of it.
        #[test]
        fn whatever_the_pace_control_is_whole_and_first(
            sizes in (1usize..4, 1usize..4),
            steps in prop::collection::vec(0u8..5, 1..300),
        ) {
            let (mut out, mut incoming) = pair(RingSizes { batches: sizes.0, control: sizes.1 });
            let (mut sent, mut got) = (0, Vec::new());
            let (mut under_way, mut arrived, mut posted, mut dropped) = (VecDeque::new(), 0, 0, 0);
            let take_control = |incoming: &mut Incoming, got: &mut Vec<u64>| {
                while let Ok(control) = incoming.control.pop() {
                    got.push(number(&control));
                }
            };
            for step in steps {
                match step {
                    0 => {
                        out.keep(ended(sent));
                        sent += 1;
                    }
                    1 => out.push_control(),
                    2 => {
                        posted += 1;
                        // As `post` does.
                        out.push_control();
                        if out.push_batch(&Arc::default()) {
                            under_way.push_back(sent);
                        } else {
                            dropped += 1;
                        }
                    }
                    3 => take_control(&mut incoming, &mut got),
                    _ => {
                        if let Ok(_batch) = incoming.batches.pop() {
                            take_control(&mut incoming, &mut got);
                            arrived += 1;
                            prop_assert!(under_way.pop_front().unwrap() <= got.len() as u64);
                        }
                    }
                }
            }
            while !out.backlog.is_empty() {
                out.push_control();
                take_control(&mut incoming, &mut got);
            }
            take_control(&mut incoming, &mut got);
            prop_assert_eq!(got, (0..sent).collect::<Vec<_>>());
            prop_assert_eq!(posted, arrived + dropped + under_way.len());
        }
    }

    #[test]
    fn only_messages_of_clients_are_dropped() {
        let (mut out, _incoming) = pair(RingSizes {
            batches: 1,
            control: 1,
        });
        let kept = (0..2 * BACKLOG).filter(|_| out.keep(data())).count();
        assert_eq!(kept, BACKLOG);
        assert!((0..100).all(|number| out.keep(ended(number))));
        assert_eq!(out.backlog.len(), BACKLOG + 100);
    }

    #[test]
    fn a_worker_that_is_gone_is_noticed_once_and_nothing_waits_for_it() {
        let (out, mut incoming) = pair(RingSizes::default());
        let mut out = out;
        assert!(out.keep(ended(1)));
        out.push_control();
        drop(out);
        assert!(!incoming.is_lost(), "it left a message");
        assert!(incoming.control.pop().is_ok());
        assert_eq!([incoming.is_lost(), incoming.is_lost()], [true, false]);

        let (mut out, incoming) = pair(RingSizes {
            batches: 1,
            control: 1,
        });
        drop(incoming);
        assert!((0..10).all(|number| out.keep(ended(number))));
        out.push_control();
        assert!(out.backlog.is_empty());
    }
}
