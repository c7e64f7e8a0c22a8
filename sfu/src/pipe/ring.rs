//! A pipe between two threads of one process: two rings each way, of bounded length.
//!
//! Each ring is written by one thread and read by one (`rtrb`: wait-free and allocated once; tokio's bounded queue takes a
//! lock for each value received). One carries batches, the other [`Control`], so that a flood of packets holds no track's
//! end up. A writer knows that its reader is gone, and a reader that its writer is, by the ring itself.

use std::sync::Arc;

use rtrb::{Consumer, Producer, PushError, RingBuffer};

use super::{Batch, Control, HeldUp, PipeEnd};

/// The lengths of the rings between two workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RingSizes {
    /// Batches of packets.
    pub(crate) batches: usize,
    /// Control messages.
    pub(crate) control: usize,
}

impl RingSizes {
    /// The longest rings, where memory is not short.
    ///
    /// A batch is up to 64 packets, and a worker makes one a turn: 64 of them are some tens of milliseconds of a busy
    /// worker. Media that waited longer is of no use. A batch is up to 90 KB, so that for a worker that stands still each
    /// other worker sending to it holds 6 MB.
    ///
    /// 1,024 messages fit a hundred peers that join within one turn of the other worker, with their tracks and the
    /// keyframe requests they cause.
    pub(crate) const LONGEST: Self = Self {
        batches: 64,
        control: 1_024,
    };
    /// The lengths of the shortest rings that are of use: 64 messages, which fit six peers that join within one turn.
    pub(crate) const SHORTEST: Self = Self {
        batches: Self::LONGEST.batches,
        control: 64,
    };

    /// The longest rings of a pipe of so many bytes, between [`SHORTEST`](Self::SHORTEST) and [`LONGEST`](Self::LONGEST).
    pub(crate) fn within(bytes: usize) -> Self {
        let batches = Self::LONGEST.batches;
        let left = (bytes / 2).saturating_sub(batches * size_of::<Arc<Batch>>());
        let control = left / size_of::<Control>();
        Self {
            batches,
            control: control.clamp(Self::SHORTEST.control, Self::LONGEST.control),
        }
    }

    /// Bytes that the four rings of a pipe take.
    pub(crate) fn bytes(self) -> usize {
        2 * (self.control * size_of::<Control>() + self.batches * size_of::<Arc<Batch>>())
    }
}

impl Default for RingSizes {
    fn default() -> Self {
        Self::LONGEST
    }
}

/// One worker's ends of the rings to and from another.
#[derive(Debug)]
pub(crate) struct RingEnd {
    out: Outgoing,
    incoming: Incoming,
}

#[derive(Debug)]
struct Outgoing {
    control: Producer<Control>,
    batches: Producer<Arc<Batch>>,
    /// A ring has a new entry that its reader was not woken for.
    posted: bool,
}

#[derive(Debug)]
struct Incoming {
    control: Consumer<Control>,
    batches: Consumer<Arc<Batch>>,
}

impl RingEnd {
    /// Both ends of a pipe.
    pub(crate) fn pair(sizes: RingSizes) -> (Self, Self) {
        let (there, from_one) = ring(sizes);
        let (back, from_other) = ring(sizes);
        let one = Self {
            out: there,
            incoming: from_other,
        };
        let other = Self {
            out: back,
            incoming: from_one,
        };
        (one, other)
    }
}

/// One way, from one worker to another.
fn ring(sizes: RingSizes) -> (Outgoing, Incoming) {
    let (control, control_end) = RingBuffer::new(sizes.control);
    let (batches, batches_end) = RingBuffer::new(sizes.batches);
    let out = Outgoing {
        control,
        batches,
        posted: false,
    };
    let incoming = Incoming {
        control: control_end,
        batches: batches_end,
    };
    (out, incoming)
}

impl PipeEnd for RingEnd {
    fn send_control(&mut self, control: Control) -> Result<(), HeldUp> {
        if self.out.control.is_abandoned() {
            return Ok(());
        }
        match self.out.control.push(control) {
            Ok(()) => self.out.posted = true,
            Err(PushError::Full(control)) => return Err(HeldUp(control)),
        }
        Ok(())
    }

    fn send_batch(&mut self, batch: &Arc<Batch>) -> bool {
        let sent = self.out.batches.push(Arc::clone(batch)).is_ok();
        self.out.posted |= sent;
        sent
    }

    fn take_wake(&mut self) -> bool {
        std::mem::take(&mut self.out.posted)
    }

    fn control_waiting(&self) -> usize {
        self.incoming.control.slots()
    }

    fn take_control(&mut self) -> Option<Control> {
        self.incoming.control.pop().ok()
    }

    fn take_batch(&mut self) -> Option<Arc<Batch>> {
        self.incoming.batches.pop().ok()
    }

    fn is_empty(&self) -> bool {
        self.incoming.control.is_empty() && self.incoming.batches.is_empty()
    }

    fn is_lost(&self) -> bool {
        // In this order: a writer that is gone adds nothing.
        self.incoming.control.is_abandoned() && self.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipe::tests::{ended, number};

    #[test]
    fn a_full_ring_drops_batches_and_hands_control_back() {
        let (mut here, mut there) = RingEnd::pair(RingSizes {
            batches: 2,
            control: 2,
        });
        assert!(here.send_control(ended(0)).is_ok() && here.send_control(ended(1)).is_ok());
        let HeldUp(back) = here.send_control(ended(2)).expect_err("no room");
        assert_eq!(number(&back), 2);
        let batch = Arc::<Batch>::default();
        assert!(here.send_batch(&batch) && here.send_batch(&batch));
        assert!(!here.send_batch(&batch), "no room");
        assert_eq!(Arc::strong_count(&batch), 3, "a dropped batch is not held");

        assert_eq!(there.control_waiting(), 2);
        let taken = there.take_control().expect("a message");
        assert_eq!(number(&taken), 0);
        assert!(here.send_control(back).is_ok(), "there is room again");
        assert!(there.take_batch().is_some() && here.send_batch(&batch));
    }

    #[test]
    fn a_reader_is_woken_once_for_all_that_was_sent() {
        let (mut here, _there) = RingEnd::pair(RingSizes::default());
        assert!(!here.take_wake());
        assert!(here.send_control(ended(0)).is_ok() && here.send_batch(&Arc::default()));
        assert_eq!([here.take_wake(), here.take_wake()], [true, false]);
        assert!(here.send_batch(&Arc::default()));
        assert!(here.take_wake());
    }

    #[test]
    fn a_worker_that_is_gone_is_noticed_when_all_it_sent_is_taken_and_takes_no_more() {
        let (mut here, mut there) = RingEnd::pair(RingSizes {
            batches: 1,
            control: 1,
        });
        assert!(here.send_control(ended(0)).is_ok() && here.send_batch(&Arc::default()));
        drop(here);
        assert!(!there.is_lost(), "it left a message and a batch");
        assert!(there.take_control().is_some() && !there.is_lost());
        assert!(there.take_batch().is_some() && there.is_lost());
        assert!((0..10).all(|number| there.send_control(ended(number)).is_ok()));
        assert!(!there.take_wake(), "there is nobody to wake");
    }

    #[test]
    fn rings_are_as_long_as_their_memory() {
        for bytes in (0..200_000).step_by(997) {
            let sizes = RingSizes::within(bytes);
            let longer = RingSizes {
                control: sizes.control + 1,
                ..sizes
            };
            assert!(
                sizes.bytes() <= bytes || sizes == RingSizes::SHORTEST,
                "{bytes}"
            );
            assert!(
                longer.bytes() > bytes || sizes == RingSizes::LONGEST,
                "{bytes}"
            );
        }
    }
}
