//! The memory of all packet caches of the process, and of data channel messages on their way, shared fairly among the
//! peers they are kept for.
//!
//! While less than [`CALM`] of it is used, a peer may hold any amount. Beyond, only a peer below its fair share may
//! grow; the fair share is the budget divided by the number of peers that hold any, plus one. A peer above its share
//! gives memory back within two seconds. So the last part always has room for peers that hold little, and the peers
//! that hold most lose memory first. No peer ever gets more than there is: a packet that is not kept cannot be sent
//! again, which is the only effect.
//!
//! Atomics shared by all workers count the bytes. They are touched when a cache grows or shrinks, not for each packet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The quarters of the budget that any peer may use freely.
const CALM: usize = 3;

/// All caches' memory.
#[derive(Debug)]
pub(crate) struct CacheBudget {
    bytes: usize,
    used: AtomicUsize,
    /// Peers that hold anything.
    holders: AtomicUsize,
    refused: AtomicU64,
}

/// The part of the budget that one peer's caches hold.
#[derive(Clone, Debug)]
pub(crate) struct CacheShare(Arc<Share>);

#[derive(Debug)]
struct Share {
    budget: Arc<CacheBudget>,
    used: AtomicUsize,
}

/// Bytes held, given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    share: CacheShare,
    bytes: usize,
}

impl CacheBudget {
    /// A budget of so many bytes.
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes,
            used: AtomicUsize::new(0),
            holders: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// The share of a new peer, empty.
    pub(crate) fn share(self: &Arc<Self>) -> CacheShare {
        CacheShare(Arc::new(Share {
            budget: Arc::clone(self),
            used: AtomicUsize::new(0),
        }))
    }

    /// Bytes that caches hold.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes that caches may hold.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Times that a cache needed to grow and could not.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn is_calm(&self, used: usize) -> bool {
        used <= self.bytes / (CALM + 1) * CALM
    }

    fn fair(&self) -> usize {
        self.bytes / (self.holders.load(Ordering::Relaxed) + 1)
    }
}

impl CacheShare {
    /// A holding of zero bytes.
    pub(crate) fn nothing(&self) -> Held {
        Held {
            share: self.clone(),
            bytes: 0,
        }
    }

    /// Takes so many bytes, if they are free.
    pub(super) fn take(&self, bytes: usize) -> Option<Held> {
        let mut held = self.nothing();
        held.set(bytes).then_some(held)
    }

    /// Whether the peer's caches should shrink, so that others' may grow.
    pub(super) fn is_over(&self) -> bool {
        let budget = &self.0.budget;
        !budget.is_calm(budget.used()) && self.0.used.load(Ordering::Relaxed) > budget.fair()
    }

    fn grow(&self, bytes: usize) -> bool {
        let Share { budget, used } = &*self.0;
        let fair = budget.fair();
        let mine = used.load(Ordering::Relaxed).saturating_add(bytes);
        let grown = budget
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                let all = used.saturating_add(bytes);
                let fits = budget.is_calm(all) || all <= budget.bytes && mine <= fair;
                fits.then_some(all)
            });
        if grown.is_err() {
            budget.refused.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        if used.fetch_add(bytes, Ordering::Relaxed) == 0 {
            budget.holders.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    fn give_back(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let Share { budget, used } = &*self.0;
        budget.used.fetch_sub(bytes, Ordering::Relaxed);
        if used.fetch_sub(bytes, Ordering::Relaxed) == bytes {
            budget.holders.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Held {
    /// Sets the number of bytes held. Returns false, and keeps the old number, if there is too little memory.
    pub(crate) fn set(&mut self, bytes: usize) -> bool {
        if bytes > self.bytes && !self.share.grow(bytes - self.bytes) {
            return false;
        }
        self.share.give_back(self.bytes.saturating_sub(bytes));
        self.bytes = bytes;
        true
    }

    /// Whether the peer's caches should shrink.
    pub(super) fn is_over(&self) -> bool {
        self.share.is_over()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.share.give_back(self.bytes);
    }
}

/// A share of an unbounded budget.
#[cfg(any(test, feature = "testing"))]
impl Default for CacheShare {
    fn default() -> Self {
        CacheBudget::new(usize::MAX).share()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn who_holds_little_grows_where_who_holds_much_does_not() {
        let budget = CacheBudget::new(1_000);
        let (greedy, modest) = (budget.share(), budget.share());
        let mut much = greedy.take(700).expect("it is calm");
        assert!(!much.is_over() && !much.set(800), "beyond three quarters");
        let little = modest.take(200).expect("less than a fair share");
        assert!(much.is_over() && !little.is_over());
        assert!(modest.take(200).is_none(), "there is no more");
        assert!(much.set(350));
        assert!(modest.take(200).is_some(), "now there is");
        assert_eq!((budget.used(), budget.refused()), (550, 2));
        drop((much, little));
        assert_eq!(
            (budget.used(), budget.holders.load(Ordering::Relaxed)),
            (0, 0)
        );
    }

    proptest! {
        #[test]
        fn never_more_than_there_is_and_all_comes_back(
            steps in prop::collection::vec((0usize..5, 0usize..400), 1..200),
        ) {
            let budget = CacheBudget::new(1_000);
            let shares: Vec<CacheShare> = (0..5).map(|_| budget.share()).collect();
            let mut held: Vec<Held> = shares.iter().filter_map(|share| share.take(0)).collect();
            for (who, bytes) in steps {
                held[who].set(bytes);
                let sum: usize = held.iter().map(|held| held.bytes).sum();
                prop_assert_eq!(budget.used(), sum);
                prop_assert!(sum <= 1_000);
                let holders = held.iter().filter(|held| held.bytes > 0).count();
                prop_assert_eq!(budget.holders.load(Ordering::Relaxed), holders);
            }
            drop(held);
            prop_assert_eq!(budget.used(), 0);
        }
    }
}
