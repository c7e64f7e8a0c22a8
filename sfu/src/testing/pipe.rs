//! Pipes between the workers of a [`SimRelay`](super::SimRelay): rings that may lose and delay batches.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::pipe::{Batch, Control, HeldUp, PipeEnd, RingEnd, RingSizes};

/// The faults of a pipe, as one between two nodes might have them. Without any it is a ring.
#[derive(Clone, Copy, Default, Debug)]
pub struct SimPipe {
    /// The number of batches of which one is lost on the way, and its sender is not told. 0: none is lost.
    pub lose_every: usize,
    /// The number of further batches that have to be sent before a batch arrives. Control does not wait for them. The
    /// last batches of a sender that is gone are lost.
    pub behind: usize,
}

/// One worker's end of a pipe with the faults of a [`SimPipe`]. It makes use of all that a [`PipeEnd`] may do and a ring
/// does not: batches are lost without a word, and control overtakes them.
#[derive(Debug)]
pub(crate) struct ScriptedEnd {
    ring: RingEnd,
    script: SimPipe,
    /// The number of batches sent.
    sent: usize,
    /// Batches that are sent and have not arrived.
    under_way: VecDeque<Arc<Batch>>,
}

impl ScriptedEnd {
    /// Both ends of a pipe with rings of these lengths.
    pub(crate) fn pair(sizes: RingSizes, script: SimPipe) -> (Self, Self) {
        let (one, other) = RingEnd::pair(sizes);
        let end = |ring| Self {
            ring,
            script,
            sent: 0,
            under_way: VecDeque::new(),
        };
        (end(one), end(other))
    }

    /// Whether the next batch is one that is lost.
    fn loses_next(&self) -> bool {
        // No positive number is a multiple of 0.
        (self.sent + 1).is_multiple_of(self.script.lose_every)
    }
}

impl PipeEnd for ScriptedEnd {
    fn send_control(&mut self, control: Control) -> Result<(), HeldUp> {
        self.ring.send_control(control)
    }

    fn send_batch(&mut self, batch: &Arc<Batch>) -> bool {
        if !self.loses_next() {
            self.under_way.push_back(Arc::clone(batch));
            if self.under_way.len() > self.script.behind {
                if !self.ring.send_batch(&self.under_way[0]) {
                    self.under_way.pop_back();
                    return false;
                }
                self.under_way.pop_front();
            }
        }
        self.sent += 1;
        true
    }

    fn take_wake(&mut self) -> bool {
        self.ring.take_wake()
    }

    fn control_waiting(&self) -> usize {
        self.ring.control_waiting()
    }

    fn take_control(&mut self) -> Option<Control> {
        self.ring.take_control()
    }

    fn take_batch(&mut self) -> Option<Arc<Batch>> {
        self.ring.take_batch()
    }

    fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    fn is_lost(&self) -> bool {
        self.ring.is_lost()
    }
}
