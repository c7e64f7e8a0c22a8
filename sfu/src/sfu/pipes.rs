//! A worker's pipes to the other workers, and the turns in which they are emptied and filled.
//!
//! The control plane lays a pipe between two workers when a room first spans both, at a join, before the room's part is
//! made. Each gets its end by its command queue ([`Pipes::add`]), and no packet waits for it.
//! [`PipeTable`](super::pipe_table::PipeTable) bounds the memory of all of them. When that is used up, a room does not grow
//! to a worker that would need another pipe: its next peers go to the workers it is on.
//!
//! # When a pipe is full
//!
//! - Packets: the batch is dropped for that worker and counted (`relay_full`). Its viewers see loss.
//! - Control: kept here in order and tried again every turn. Meanwhile this worker takes no commands, which cause most
//!   of it. Clients can cause data channel messages at will; beyond a bound these are dropped (`relay_control_full`).

use std::time::Instant;

use crate::index::WorkerIx;
use crate::pipe::{BufferedEnd, PipeEnd};
use crate::worker::Worker;

/// Packets taken from other workers in one turn: as many as are taken from the socket.
const PACKETS_PER_TURN: usize = 64;

/// One worker's pipes. They are all of one kind, so that no call is made through a table of functions.
#[derive(Debug)]
pub(crate) struct Pipes<E> {
    /// One for each other worker that there is a pipe to, in the order of these.
    pipes: Vec<Pipe<E>>,
    /// Index of the pipe to begin with: the one after that where the last full turn ended.
    turn: usize,
}

/// The pipe to another worker.
#[derive(Debug)]
struct Pipe<E> {
    other: WorkerIx,
    end: BufferedEnd<E>,
}

impl<E> Default for Pipes<E> {
    fn default() -> Self {
        Self {
            pipes: Vec::new(),
            turn: 0,
        }
    }
}

impl<E: PipeEnd> Pipes<E> {
    /// Adds the pipe to another worker, in place of an earlier one.
    pub(crate) fn add(&mut self, other: WorkerIx, end: E) {
        let end = BufferedEnd::new(end);
        let pipe = Pipe { other, end };
        match self.find(other) {
            Ok(at) => self.pipes[at] = pipe,
            Err(at) => self.pipes.insert(at, pipe),
        }
    }

    /// Sends control and packets for other workers, and calls `wake` for each worker that is to be woken for them.
    pub(crate) fn post(&mut self, worker: &mut Worker, mut wake: impl FnMut(WorkerIx)) {
        while let Some((to, control)) = worker.poll_control() {
            if let Some(end) = self.to(to)
                && !end.keep(control)
            {
                worker.control_dropped();
            }
        }
        for pipe in &mut self.pipes {
            pipe.end.send_kept();
        }
        while let Some((to, batch)) = worker.poll_batch() {
            if let Some(end) = self.to(to)
                && !end.send_batch(&batch)
            {
                worker.batch_dropped(&batch);
            }
        }
        for pipe in &mut self.pipes {
            if pipe.end.take_wake() {
                wake(pipe.other);
            }
        }
    }

    /// Hands over all control messages that others sent before this call.
    pub(crate) fn take_control(&mut self, now: Instant, worker: &mut Worker) {
        for pipe in &mut self.pipes {
            pipe.take_control(now, worker);
        }
    }

    /// Hands over what others sent: all control, and as many packets as the worker takes in a turn.
    pub(crate) fn take(&mut self, now: Instant, worker: &mut Worker) {
        self.take_control(now, worker);
        let mut packets = 0;
        let pipes = self.pipes.len();
        for step in 0..pipes {
            let at = (self.turn + step) % pipes;
            if self.pipes[at].take_batches(now, worker, &mut packets) {
                self.turn = (at + 1) % pipes;
                break;
            }
        }
        for pipe in &mut self.pipes {
            if pipe.end.take_lost() {
                worker.pipe_lost(now, pipe.other);
            }
        }
    }

    /// Whether messages or packets can be taken.
    pub(crate) fn has_incoming(&self) -> bool {
        self.pipes.iter().any(|pipe| !pipe.end.is_empty())
    }

    /// Whether control waits for room in a pipe.
    pub(crate) fn is_held_up(&self) -> bool {
        self.pipes.iter().any(|pipe| pipe.end.is_held_up())
    }

    fn to(&mut self, other: WorkerIx) -> Option<&mut BufferedEnd<E>> {
        let at = self.find(other).ok()?;
        Some(&mut self.pipes[at].end)
    }

    fn find(&self, other: WorkerIx) -> Result<usize, usize> {
        self.pipes.binary_search_by_key(&other, |pipe| pipe.other)
    }
}

impl<E: PipeEnd> Pipe<E> {
    fn take_control(&mut self, now: Instant, worker: &mut Worker) {
        for _ in 0..self.end.control_waiting() {
            if let Some(control) = self.end.take_control() {
                worker.handle_control(now, self.other, control);
            }
        }
    }

    /// Hands over packets, after `packets` earlier in this turn; true when the worker takes no more.
    fn take_batches(&mut self, now: Instant, worker: &mut Worker, packets: &mut usize) -> bool {
        while let Some((batch, at)) = self.end.take_batch() {
            self.take_control(now, worker);
            let taken = worker.handle_batch(now, &batch, at);
            *packets += taken;
            let left_over = at + taken < batch.len();
            if left_over {
                self.end.put_back(batch, at + taken);
            }
            if *packets >= PACKETS_PER_TURN || left_over {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TrackId;
    use crate::pipe::{Control, RingEnd, RingSizes};

    #[test]
    fn a_worker_has_a_pipe_to_each_other_and_the_last_one_counts() {
        let end = || RingEnd::pair(RingSizes::default()).0;
        let mut pipes = Pipes::default();
        for other in [5, 2, 9, 2] {
            pipes.add(other.into(), end());
        }
        let others = pipes.pipes.iter().map(|pipe| usize::from(pipe.other));
        let others: Vec<usize> = others.collect();
        assert_eq!(others, [2, 5, 9]);
        assert!(pipes.to(5.into()).is_some() && pipes.to(7.into()).is_none());
        let (ours, mut theirs) = RingEnd::pair(RingSizes::default());
        pipes.add(5.into(), ours);
        let end = pipes.to(5.into()).expect("a pipe");
        let track = TrackId::new(0, 1);
        assert!(end.keep(Control::Ended { track }));
        end.send_kept();
        assert!(theirs.take_control().is_some(), "by the new one");
    }
}
