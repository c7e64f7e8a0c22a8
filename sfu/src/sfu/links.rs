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
        if matches!(control, Control::Data { .. }) && self.backlog.len() >= BACKLOG {
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
