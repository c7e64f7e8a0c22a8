//! The rings between workers: how what one worker hands out gets to the others.
//!
//! For each ordered pair of workers two rings of bounded length, written by one thread and read by one
//! (`rtrb`: wait-free and allocated once; tokio's bounded queue takes a lock for each value received):
//! one for packets, one for [`Control`], so that a flood of packets holds no track's end up.
//!
//! # When a ring is full
//!
//! - Packets: the batch is dropped for that worker and counted (`relay_full`). Its viewers see loss.
//! - Control: kept here in order and tried again every turn; meanwhile this worker takes no commands,
//!   which are what causes most of it. Data channel messages, which clients can cause at will, are
//!   dropped beyond a bound (`relay_control_full`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use rtrb::{Consumer, Producer, PushError, RingBuffer};

use crate::router::Batch;
use crate::worker::{Control, Worker};

/// Batches under way to one worker. One is up to 64 packets, and a worker makes one a turn: this is
/// some tens of milliseconds of a busy worker. Media that waited longer is of no use, and a batch
/// is up to 90 KB.
const BATCHES: usize = 64;
/// Control messages under way to one worker. A hundred peers joining within one turn of the
/// other worker, each with its tracks and the keyframe requests they cause, fit.
const CONTROL: usize = 1_024;
/// Messages kept when that is full, beyond which data channel messages are dropped. The rest needs no
/// bound of its own: tracks are bounded for each peer, layers' changes by their silence, requests by
/// their interval, and commands are not taken meanwhile.
const BACKLOG: usize = 1_024;
/// Packets taken from other workers in one turn: as many as are taken from the socket.
const PACKETS_PER_TURN: usize = 64;

/// How much fits between two workers.
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

/// One worker's ends of the rings to and from each other worker.
#[derive(Debug)]
pub(crate) struct Links {
    out: Vec<Option<Outgoing>>,
    incoming: Vec<Option<Incoming>>,
    /// Where a full turn of packets ended: the next begins with the worker after.
    turn: usize,
}

#[derive(Debug)]
struct Outgoing {
    control: Producer<Control>,
    batches: Producer<Arc<Batch>>,
    backlog: VecDeque<Control>,
    /// Something was put into a ring that its reader was not woken for.
    posted: bool,
}

#[derive(Debug)]
struct Incoming {
    control: Consumer<Control>,
    batches: Consumer<Arc<Batch>>,
    /// The batch being taken, and how many of its packets were.
    current: Option<(Arc<Batch>, usize)>,
    /// The writer is gone and its rings are empty.
    lost: bool,
}

impl Links {
    /// The ends of each of `workers`, in order.
    pub(crate) fn between(workers: usize, sizes: RingSizes) -> Vec<Self> {
        let none = |_| -> Self {
            Self {
                out: (0..workers).map(|_| None).collect(),
                incoming: (0..workers).map(|_| None).collect(),
                turn: 0,
            }
        };
        let mut links: Vec<Self> = (0..workers).map(none).collect();
        for from in 0..workers {
            for to in (0..workers).filter(|to| *to != from) {
                let (control, control_end) = RingBuffer::new(sizes.control);
                let (batches, batches_end) = RingBuffer::new(sizes.batches);
                links[from].out[to] = Some(Outgoing {
                    control,
                    batches,
                    backlog: VecDeque::new(),
                    posted: false,
                });
                links[to].incoming[from] = Some(Incoming {
                    control: control_end,
                    batches: batches_end,
                    current: None,
                    lost: false,
                });
            }
        }
        links
    }

    /// Moves all that the worker has for others into the rings, and calls `wake` for each worker that
    /// got something.
    pub(crate) fn post(&mut self, worker: &mut Worker, mut wake: impl FnMut(usize)) {
        while let Some((to, control)) = worker.poll_relay() {
            if let Some(out) = self.to(to)
                && !out.keep(control)
            {
                worker.control_dropped();
            }
        }
        for out in self.out.iter_mut().flatten() {
            out.push_control();
        }
        while let Some((to, batch)) = worker.poll_batch() {
            if let Some(out) = self.to(to)
                && !out.push_batch(&batch)
            {
                worker.batch_dropped(&batch);
            }
        }
        for (to, out) in self.out.iter_mut().enumerate() {
            if let Some(out) = out
                && std::mem::take(&mut out.posted)
            {
                wake(to);
            }
        }
    }

    /// Hands over all control messages that others posted before this call.
    pub(crate) fn take_control(&mut self, now: Instant, worker: &mut Worker) {
        for from in 0..self.incoming.len() {
            self.take_control_of(now, worker, from);
        }
    }

    /// Hands over what others posted: control, and as many packets as the worker takes in a turn.
    pub(crate) fn take(&mut self, now: Instant, worker: &mut Worker) {
        self.take_control(now, worker);
        let mut packets = 0;
        let workers = self.incoming.len();
        let mut full = false;
        for step in 0..workers {
            let from = (self.turn + step) % workers;
            while !full
                && let Some(incoming) = &mut self.incoming[from]
                && let Some((batch, at)) = incoming.next_batch()
            {
                // What the packets' tracks are was posted before them, but perhaps after the last look.
                self.take_control_of(now, worker, from);
                let taken = worker.handle_batch(now, &batch, at);
                packets += taken;
                full = packets >= PACKETS_PER_TURN || at + taken < batch.len();
                if at + taken < batch.len()
                    && let Some(incoming) = &mut self.incoming[from]
                {
                    incoming.current = Some((batch, at + taken));
                }
            }
            if full {
                self.turn = (from + 1) % workers;
                break;
            }
        }
        for from in 0..workers {
            if let Some(incoming) = &mut self.incoming[from]
                && incoming.is_lost()
            {
                worker.relay_lost(now, from as u16);
            }
        }
    }

    /// Whether others posted anything that was not taken yet.
    pub(crate) fn has_incoming(&self) -> bool {
        let mut incoming = self.incoming.iter().flatten();
        incoming.any(|incoming| !incoming.is_empty())
    }

    /// Whether control waits for room in a ring.
    pub(crate) fn is_held_up(&self) -> bool {
        let mut out = self.out.iter().flatten();
        out.any(|out| !out.backlog.is_empty())
    }

    fn to(&mut self, worker: u16) -> Option<&mut Outgoing> {
        self.out.get_mut(usize::from(worker))?.as_mut()
    }

    fn take_control_of(&mut self, now: Instant, worker: &mut Worker, from: usize) {
        let Some(incoming) = &mut self.incoming[from] else {
            return;
        };
        // What is posted meanwhile waits: its writer must not hold this turn up.
        for _ in 0..incoming.control.slots() {
            if let Ok(control) = incoming.control.pop() {
                worker.handle_relay(now, from as u16, control);
            }
        }
    }
}

impl Outgoing {
    /// Takes a message for the ring; false if it is dropped.
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

    /// False if there is no room. Never ahead of control that waits.
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

    /// True once, when nothing more can come.
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

    /// Two workers' ends, of the first the one to the second, of the second the one from the first.
    fn pair(sizes: RingSizes) -> (Outgoing, Incoming) {
        let mut links = Links::between(2, sizes);
        let incoming = links[1].incoming[0].take();
        let out = links[0].out[1].take();
        (
            out.expect("another worker"),
            incoming.expect("another worker"),
        )
    }

    #[test]
    fn nobody_is_linked_with_itself() {
        for (index, links) in Links::between(3, RingSizes::default()).iter().enumerate() {
            let out: Vec<bool> = links.out.iter().map(Option::is_some).collect();
            let incoming: Vec<bool> = links.incoming.iter().map(Option::is_some).collect();
            let others: Vec<bool> = (0..3).map(|other| other != index).collect();
            assert_eq!((&out, &incoming), (&others, &others));
        }
        assert!(Links::between(1, RingSizes::default())[0].out[0].is_none());
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
        /// However short the rings and whoever is faster: control arrives whole and in order, a batch
        /// arrives or is said to be dropped, and none before the control posted ahead of it.
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
