//! The embedder's end of a stream.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rtrb::{Consumer, Producer};
use tokio::sync::Notify;

use super::bells::Bell;
use super::{LONGEST, TO_CONNECTION, ring};

/// The connection's end of a stream: datagrams from the client go in, and datagrams for it come out. Dropping it tells
/// the worker that the connection is gone. Made by [`Sfu::open_stream`](crate::Sfu::open_stream).
pub struct Stream {
    pub(super) to_worker: Producer<u8>,
    pub(super) from_worker: Consumer<u8>,
    pub(super) signs: Arc<Signs>,
    pub(super) bell: Bell,
}

/// Signs between both ends.
#[derive(Debug, Default)]
pub(super) struct Signs {
    /// Ends the wait of the connection.
    pub(super) changed: Notify,
    /// The connection waits for room in the ring to the worker.
    pub(super) wants_room: AtomicBool,
    /// The worker waits until the ring to the connection is emptier.
    pub(super) is_crowded: AtomicBool,
    /// The bytes in the ring down to which it waits.
    pub(super) cleared_at: AtomicUsize,
}

/// The reason that a datagram was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PushError {
    /// The worker has not taken the earlier ones yet. Read no more from the connection until [`Stream::changed`].
    Full,
    /// The datagram has more than 2,048 bytes.
    TooLong,
    /// The worker has ended the stream: nobody is at it any more.
    Closed,
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the media worker has not taken the earlier datagrams yet",
            Self::TooLong => "the datagram has more than 2,048 bytes",
            Self::Closed => "the media worker has ended the stream",
        })
    }
}

impl std::error::Error for PushError {}

impl Stream {
    /// Gives the worker a datagram of the client.
    ///
    /// # Errors
    ///
    /// [`PushError`]. Nothing was taken then.
    pub fn push(&mut self, datagram: &[u8]) -> Result<(), PushError> {
        if datagram.len() > LONGEST {
            return Err(PushError::TooLong);
        }
        if self.to_worker.is_abandoned() {
            return Err(PushError::Closed);
        }
        if ring::push(&mut self.to_worker, datagram) {
            self.bell.ring();
            return Ok(());
        }
        self.signs.wants_room.store(true, Ordering::Release);
        // The worker may have taken some before it saw the wish.
        if ring::push(&mut self.to_worker, datagram) {
            self.signs.wants_room.store(false, Ordering::Relaxed);
            self.bell.ring();
            return Ok(());
        }
        self.bell.ring();
        Err(PushError::Full)
    }

    /// Appends the next datagram for the client to `out`; its length, or none if none waits.
    pub fn pop(&mut self, out: &mut Vec<u8>) -> Option<usize> {
        let len = ring::pop(&mut self.from_worker, out);
        if self.signs.is_crowded.load(Ordering::Acquire)
            && self.from_worker.slots() <= self.signs.cleared_at.load(Ordering::Relaxed)
        {
            self.signs.is_crowded.store(false, Ordering::Release);
            self.bell.ring();
        }
        len
    }

    /// Bytes that wait for the client, a length of two bytes before each datagram included: at most 128 KiB.
    pub fn waiting_bytes(&self) -> usize {
        self.from_worker.slots().min(TO_CONNECTION)
    }

    /// Whether the worker has ended the stream. What it has sent before can still be taken.
    pub fn is_closed(&self) -> bool {
        self.from_worker.is_abandoned()
    }

    /// Waits until there is something to take, room again, or the end; perhaps for none of it. What happened before
    /// the call counts.
    pub async fn changed(&mut self) {
        let signs = Arc::clone(&self.signs);
        signs.changed.notified().await;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // The worker looks, and finds the other end gone as soon as the fields are dropped; or in its next sweep.
        self.bell.ring();
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("waiting_bytes", &self.waiting_bytes())
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
