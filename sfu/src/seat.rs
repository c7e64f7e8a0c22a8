//! Seats: what is counted against a limit, from the request on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A seat: of a peer in a part of a room, of a room on a server, or of a tap. It is counted from the request until its holder is
/// gone, wherever in between that ends. Only joins and leaves change the count.
#[derive(Debug)]
pub(crate) struct Seat(Arc<AtomicUsize>);

impl Seat {
    /// Takes a seat, without a limit.
    pub(crate) fn take(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }

    /// Takes one of `limit` seats, if any is left.
    pub(crate) fn take_of(count: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        let one_more = |taken: usize| (taken < limit).then_some(taken + 1);
        count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()?;
        Some(Self(Arc::clone(count)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
