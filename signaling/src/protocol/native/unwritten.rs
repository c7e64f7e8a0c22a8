//! Messages that leave by HTTP: they count as memory until they are written.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::clients::ClientAddress;
use crate::held_open::Place;
use crate::memory::{Account, Budget};

/// The bytes of messages that wait to be taken, or that a request has taken and an HTTP connection has not written.
/// Dropped, they are no more.
pub(super) struct Unwritten {
    account: Account,
    way: Arc<Mutex<Way>>,
}

/// The way out of them.
#[derive(Default)]
struct Way {
    /// The connection that writes them, once a request has taken them.
    place: Option<Place>,
    is_evicted: bool,
}

impl Unwritten {
    /// `evicted` is notified when they are most of what the process has, and a connection that writes them is closed
    /// then: a client that takes a few bytes now and again would hold them for as long as it likes.
    pub(super) fn open(
        budget: &Budget,
        client: Option<ClientAddress>,
        evicted: Arc<Notify>,
    ) -> Self {
        let way = Arc::<Mutex<Way>>::default();
        let told = Arc::clone(&way);
        let account = budget.open(client, move || {
            let place = {
                let mut way = lock(&told);
                way.is_evicted = true;
                way.place.take()
            };
            evicted.notify_one();
            if let Some(place) = place {
                place.close();
            }
        });
        Self { account, way }
    }

    /// Sets the number of bytes. False, and unchanged, if the process has no memory for them.
    pub(super) fn set(&mut self, bytes: usize) -> bool {
        self.account.set(bytes)
    }

    /// Whether they were to be let go of.
    pub(super) fn is_evicted(&self) -> bool {
        lock(&self.way).is_evicted
    }

    /// The connection at this place writes them from now on.
    pub(super) fn leave_by(&self, place: &Place) {
        let mut way = lock(&self.way);
        if way.is_evicted {
            drop(way);
            return place.close();
        }
        way.place = Some(place.clone());
    }
}

fn lock(way: &Mutex<Way>) -> MutexGuard<'_, Way> {
    way.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::FutureExt;

    use super::*;
    use crate::clients::ClientAddress;
    use crate::held_open::Visitors;

    /// The number of the connection that was closed last.
    #[derive(Default)]
    struct Closed(AtomicU64);

    impl Visitors for Closed {
        fn take_out(&self, _: u64) {}

        fn put_back(&self, _: u64) {}

        fn is_of(&self, _: u64, _: ClientAddress) {}

        fn close(&self, number: u64) {
            self.0.store(number, Ordering::Relaxed);
        }
    }

    #[test]
    fn whoever_holds_most_loses_the_connection_that_writes() {
        let (budget, closed) = (Budget::new(100), Arc::new(Closed::default()));
        let evicted = Arc::new(Notify::new());
        let place = |number| Place::new(closed.clone(), number);
        let open = || Unwritten::open(&budget, None, evicted.clone());
        let (mut large, mut small) = (open(), open());
        assert!(large.set(60) && small.set(40));
        large.leave_by(&place(1));
        small.leave_by(&place(2));
        assert!(small.set(41));
        assert_eq!(closed.0.load(Ordering::Relaxed), 1);
        assert!(large.is_evicted() && !small.is_evicted());
        assert!(evicted.notified().now_or_never().is_some());
        drop(large);
        assert_eq!(budget.used(), 41);
    }

    #[test]
    fn what_is_taken_after_its_eviction_closes_as_well() {
        let (budget, closed) = (Budget::new(100), Arc::new(Closed::default()));
        let mut unwritten = Unwritten::open(&budget, None, Arc::default());
        assert!(unwritten.set(101));
        assert_eq!(closed.0.load(Ordering::Relaxed), 0);
        unwritten.leave_by(&Place::new(closed.clone(), 7));
        assert_eq!(closed.0.load(Ordering::Relaxed), 7);
    }
}
