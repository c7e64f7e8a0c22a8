//! The one trait that whatever joins two workers implements.

use std::sync::Arc;

use super::{Batch, Control};

/// One worker's end of the pipe between it and another worker.
///
/// A ring between two threads ([`RingEnd`](super::RingEnd)) is the only kind in the product. A socket between two nodes is
/// to be another. Nobody above this trait knows which it is: [`BufferedEnd`](super::BufferedEnd) keeps what an end has no
/// room for, and a worker's driver carries messages and batches between its worker and its ends.
///
/// # Contract
///
/// - **Order.** Control arrives in the order in which it was sent, and so do batches. When
///   [`take_batch`](Self::take_batch) returns a batch, all control that was sent before it can be taken: the receiver takes
///   that first, as it may describe the batch's tracks. Control may overtake batches.
/// - **Loss.** Control is never lost while both ends exist. A batch may be lost: the sender hears of it if there was no room
///   ([`send_batch`](Self::send_batch)), and does not if it was lost on the way. To viewers a lost batch looks like packets
///   lost by the network.
/// - **Bounds.** An end holds a fixed number of messages and of batches each way, control apart from batches, so that
///   packets never hold a track's end up. When it is full, it hands control back and drops batches. The sender keeps the
///   control, and sends it before any other control and any batch.
/// - **Time.** No call waits. A call costs at most a copy of the batch.
/// - **Wake-ups.** The sender sees to it that the receiver looks: it sends all that a turn brings, and then wakes the other
///   worker if [`take_wake`](Self::take_wake) says so. An end that reaches its receiver by itself, as a socket does, never
///   says so. Nobody wakes a sender when there is room again: it tries again after a time.
/// - **The end.** A worker that ends drops its ends. The other takes what was sent before that, and is then told
///   ([`is_lost`](Self::is_lost)). What it sends meanwhile goes nowhere, and is not held up.
///
/// # Dispatch
///
/// Users are generic over the trait, so that calls to a ring are as direct as without it. A worker's ends are all of one
/// type. A node with ends of two kinds makes an enum of them: one comparison for each batch and each message, and none for
/// a packet.
pub(crate) trait PipeEnd {
    /// Sends a message, or hands it back if there is no room for it now.
    fn send_control(&mut self, control: Control) -> Result<(), HeldUp>;

    /// Sends a batch; false if it is dropped, as there is no room for it.
    fn send_batch(&mut self, batch: &Arc<Batch>) -> bool;

    /// Whether something was sent since the last call whose receiver has to be woken.
    fn take_wake(&mut self) -> bool;

    /// The number of messages that can be taken now.
    fn control_waiting(&self) -> usize;

    /// The next message.
    fn take_control(&mut self) -> Option<Control>;

    /// The next batch.
    fn take_batch(&mut self) -> Option<Arc<Batch>>;

    /// Whether neither a message nor a batch can be taken now.
    fn is_empty(&self) -> bool;

    /// Whether the other end is gone, and all that it had sent has been taken.
    fn is_lost(&self) -> bool;
}

/// A message for which an end has no room.
#[derive(Debug)]
pub(crate) struct HeldUp(pub(crate) Control);
