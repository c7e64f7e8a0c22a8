//! A pipe's end with what waits beside it: control that the end has no room for, and the batch that is being taken.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Batch, Control, HeldUp, PipeEnd};

/// Messages kept when the end is full, beyond which data channel messages are dropped. The others need no bound of their
/// own: tracks are bounded for each peer, layer changes by the silence before each, requests by their interval, and
/// commands are not taken meanwhile.
pub(super) const HELD_UP: usize = 1_024;

/// A pipe's end that keeps control in order until it can be sent, and sends no batch before it.
#[derive(Debug)]
pub(crate) struct BufferedEnd<E> {
    end: E,
    /// Control to be sent, in order.
    held_up: VecDeque<Control>,
    /// The batch being taken, and the number of its packets taken so far.
    current: Option<(Arc<Batch>, usize)>,
    /// The loss of the other end was told.
    told_lost: bool,
}

impl<E: PipeEnd> BufferedEnd<E> {
    /// An end at which nothing waits.
    pub(crate) fn new(end: E) -> Self {
        Self {
            end,
            held_up: VecDeque::new(),
            current: None,
            told_lost: false,
        }
    }

    /// Keeps a message, to be sent by [`send_kept`](Self::send_kept); false if it is dropped.
    pub(crate) fn keep(&mut self, control: Control) -> bool {
        if matches!(control, Control::Data(_)) && self.held_up.len() >= HELD_UP {
            return false;
        }
        self.held_up.push_back(control);
        true
    }

    /// Sends the kept messages that the end has room for.
    pub(crate) fn send_kept(&mut self) {
        while let Some(control) = self.held_up.pop_front() {
            if let Err(HeldUp(control)) = self.end.send_control(control) {
                self.held_up.push_front(control);
                return;
            }
        }
    }

    /// Sends a batch; false if it is dropped: there is no room, or control waits, which goes first.
    pub(crate) fn send_batch(&mut self, batch: &Arc<Batch>) -> bool {
        self.held_up.is_empty() && self.end.send_batch(batch)
    }

    /// Whether something was sent since the last call whose receiver has to be woken.
    pub(crate) fn take_wake(&mut self) -> bool {
        self.end.take_wake()
    }

    /// Whether control waits for room.
    pub(crate) fn is_held_up(&self) -> bool {
        !self.held_up.is_empty()
    }

    /// The number of messages that can be taken now. Those that come meanwhile can wait: their sender must not prolong
    /// a turn.
    pub(crate) fn control_waiting(&self) -> usize {
        self.end.control_waiting()
    }

    /// The next message.
    pub(crate) fn take_control(&mut self) -> Option<Control> {
        self.end.take_control()
    }

    /// The next batch, and the number of its packets taken before. Control is to be taken before its packets: the
    /// messages that describe their tracks were sent earlier, but perhaps after the last look.
    pub(crate) fn take_batch(&mut self) -> Option<(Arc<Batch>, usize)> {
        let next = || Some((self.end.take_batch()?, 0));
        self.current.take().or_else(next)
    }

    /// Puts a batch back of which so many packets were taken.
    pub(crate) fn put_back(&mut self, batch: Arc<Batch>, taken: usize) {
        self.current = Some((batch, taken));
    }

    /// Whether nothing can be taken now.
    pub(crate) fn is_empty(&self) -> bool {
        self.current.is_none() && self.end.is_empty()
    }

    /// Whether the other end is gone and all is taken; true once.
    pub(crate) fn take_lost(&mut self) -> bool {
        let lost = !self.told_lost && self.current.is_none() && self.end.is_lost();
        self.told_lost |= lost;
        lost
    }
}
