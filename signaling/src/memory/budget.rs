//! A bound on what many hold together: when it is reached, who holds most is told to let go.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Held in half as much again while those told to let go have not yet: beyond that nobody gets more.
const HARD: usize = 2;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Budget {
    bytes: usize,
    held: Arc<Mutex<Held>>,
}

type LetGo = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Held {
    opened: u64,
    total: usize,
    /// Of those who were told to let go.
    leaving: usize,
    /// All others that hold anything.
    by_size: BTreeSet<(usize, u64)>,
    let_go: HashMap<u64, LetGo>,
    evicted: u64,
}

/// The bytes that one of them holds; none once it is dropped.
pub(crate) struct Account {
    budget: Budget,
    number: u64,
    bytes: usize,
    let_go: LetGo,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            bytes,
            held: Arc::default(),
        }
    }

    /// `let_go` is called, from any thread, when its holder holds most. It must not change an account.
    pub(crate) fn open(&self, let_go: impl Fn() + Send + Sync + 'static) -> Account {
        let mut held = self.lock();
        held.opened += 1;
        Account {
            budget: self.clone(),
            number: held.opened,
            bytes: 0,
            let_go: Arc::new(let_go),
        }
    }

    /// Whether somebody has to let go who has not yet.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.lock().total > self.bytes
    }

    pub(crate) fn used(&self) -> usize {
        self.lock().total
    }

    /// How often one was told to let go.
    pub(crate) fn evicted(&self) -> u64 {
        self.lock().evicted
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    /// It is ended, as one who was told to let go.
    pub(crate) fn end(&mut self) {
        self.budget.lock().evicted += 1;
        self.set(0);
    }

    /// Holds so many bytes from now on. False: so much is held by those told to let go that there is nothing left, and
    /// it must do with what it had.
    pub(crate) fn set(&mut self, bytes: usize) -> bool {
        if bytes == self.bytes {
            return true;
        }
        let limit = self.budget.bytes;
        let mut held = self.budget.lock();
        let grown = bytes.saturating_sub(self.bytes);
        if grown > 0 && held.total.saturating_add(grown) > limit.saturating_add(limit / HARD) {
            return false;
        }
        held.remove(self.number, self.bytes);
        if bytes > 0 {
            held.total += bytes;
            held.by_size.insert((bytes, self.number));
            held.let_go.insert(self.number, self.let_go.clone());
        }
        let told = held.evict(limit);
        drop(held);
        self.bytes = bytes;
        told.into_iter().for_each(|let_go| let_go());
        true
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.budget.lock().remove(self.number, self.bytes);
    }
}

impl Held {
    fn remove(&mut self, number: u64, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.total -= bytes;
        if !self.by_size.remove(&(bytes, number)) {
            self.leaving -= bytes;
        }
        self.let_go.remove(&number);
    }

    /// Those who hold most, until the rest is within the limit.
    fn evict(&mut self, limit: usize) -> Vec<LetGo> {
        let mut told = Vec::new();
        while self.total - self.leaving > limit
            && let Some((bytes, number)) = self.by_size.pop_last()
        {
            self.leaving += bytes;
            self.evicted += 1;
            told.extend(self.let_go.get(&number).cloned());
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use proptest::prelude::*;

    use super::*;

    fn counted(budget: &Budget) -> (Account, Arc<AtomicU32>) {
        let count = Arc::new(AtomicU32::new(0));
        let told = count.clone();
        let let_go = move || {
            told.fetch_add(1, Ordering::Relaxed);
        };
        (budget.open(let_go), count)
    }

    #[test]
    fn who_holds_most_is_told_and_nobody_else() {
        let budget = Budget::new(100);
        let (mut large, told_large) = counted(&budget);
        let (mut small, told_small) = counted(&budget);
        assert!(large.set(60) && small.set(40));
        let told = || {
            (
                told_large.load(Ordering::Relaxed),
                told_small.load(Ordering::Relaxed),
            )
        };
        assert_eq!(told(), (0, 0));
        assert!(small.set(50));
        assert_eq!((told(), budget.evicted()), ((1, 0), 1));
        assert!(
            small.set(90),
            "while the other lets go there is half as much again"
        );
        assert!(!small.set(91));
        drop(large);
        assert!(small.set(100));
        assert_eq!((told(), budget.used()), ((1, 0), 100));
        assert!(small.set(101));
        assert_eq!(told(), (1, 1));
        assert!(small.set(30));
        assert_eq!(budget.used(), 30);
    }

    proptest! {
        #[test]
        fn the_sum_is_right_and_bounded_whatever_comes(
            steps in prop::collection::vec((0usize..6, 0usize..200), 1..200),
        ) {
            let budget = Budget::new(300);
            let mut accounts: Vec<Account> = (0..6).map(|_| budget.open(|| {})).collect();
            for (who, bytes) in steps {
                accounts[who].set(bytes);
                let sum: usize = accounts.iter().map(|account| account.bytes).sum();
                prop_assert_eq!(budget.used(), sum);
                prop_assert!(sum <= 450);
                let held = budget.lock();
                prop_assert!(held.total - held.leaving <= 300);
            }
            drop(accounts);
            let held = budget.lock();
            prop_assert_eq!((held.total, held.leaving, held.let_go.len()), (0, 0, 0));
        }
    }
}
