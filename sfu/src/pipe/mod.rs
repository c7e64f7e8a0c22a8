//! Packets between workers: one copy for all that want them, many at a time.

mod batch;

pub(crate) use batch::{Batch, Batches, PipedPacket};
