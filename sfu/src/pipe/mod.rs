//! Everything that joins workers: the messages and packets between them, and the pipes that carry both.
//!
//! [`Control`] are the messages, [`Batch`]es the packets: one copy for all workers that want them, and many at a time. A
//! pipe joins two workers. Each has one end of it, of which [`PipeEnd`] says what it promises; a [`RingEnd`] is the only
//! kind. The worker reads and writes messages and batches (`worker/pipe`), and its driver carries them (`sfu/pipes`).

mod batch;
mod buffered;
mod end;
mod message;
mod ring;
#[cfg(test)]
mod tests;

pub(crate) use batch::{Batch, Batches, PipedPacket};
pub(crate) use buffered::BufferedEnd;
pub(crate) use end::{HeldUp, PipeEnd};
pub(crate) use message::{Control, Data};
pub(crate) use ring::{RingEnd, RingSizes};
