//! A bound on the memory of many holders together: when it is reached, those that hold most are told to let go.
//!
//! Accounts of one client's address are added up, so that many small ones of one address do not harm others. Of the
//! address with most, the largest account is told. An address that holds more than half of all memory gets no further
//! connections; others are let in for as long as they could still hold something.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::UNCOUNTED;
use crate::clients::ClientAddress;

/// Factor of the hard limit: half as much again may be held while evicted accounts have not let go yet; nobody gets
/// more.
const HARD: usize = 2;
/// Share of the budget that one address may hold before its further connections are refused, as a divisor.
const OF_ONE_ADDRESS: usize = 2;

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
    /// Bytes of accounts that were told to let go.
    leaving: usize,
    payers: HashMap<Payer, Holdings>,
    /// Payers by the bytes of their accounts that were not told to let go; payers without such bytes are not listed.
    by_size: BTreeSet<(usize, Payer)>,
    let_go: HashMap<u64, LetGo>,
    /// How accounts give up what they can do without.
    forget: HashMap<u64, LetGo>,
    evicted: u64,
}

/// The holder whose accounts are added up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Payer {
    Address(ClientAddress),
    /// An account without an address, by its number.
    Account(u64),
}

/// The accounts of a payer that hold anything. Removed with the last of them.
#[derive(Default)]
struct Holdings {
    /// Bytes of all accounts, those told to let go included.
    total: usize,
    /// Bytes of accounts that were not told to let go.
    staying: usize,
    by_size: BTreeSet<(usize, u64)>,
}

/// The bytes that one of them holds; none once it is dropped.
pub(crate) struct Account {
    budget: Budget,
    payer: Payer,
    number: u64,
    bytes: usize,
    let_go: LetGo,
    forget: Option<LetGo>,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            bytes,
            held: Arc::default(),
        }
    }

    /// `let_go` is called, from any thread, when its holder holds most. It must not change an account.
    pub(crate) fn open(
        &self,
        client: Option<ClientAddress>,
        let_go: impl Fn() + Send + Sync + 'static,
    ) -> Account {
        let mut held = self.lock();
        held.opened += 1;
        let number = held.opened;
        Account {
            budget: self.clone(),
            payer: client.map_or(Payer::Account(number), Payer::Address),
            number,
            bytes: 0,
            let_go: Arc::new(let_go),
            forget: None,
        }
    }

    /// Has accounts give up what they can do without, until so many bytes are free or nothing of it is left: of the
    /// address that holds most all accounts, the largest first, then of the next. No account may be locked.
    pub(crate) fn relieve(&self, bytes: usize) {
        let held = self.lock();
        let mut before = held.total;
        let goal = before.saturating_sub(bytes);
        let payers = held.by_size.iter().rev();
        let holdings = payers.filter_map(|(_, payer)| held.payers.get(payer));
        let accounts = holdings.flat_map(|it| it.by_size.iter().rev());
        let forget = accounts.filter_map(|(_, number)| held.forget.get(number).cloned());
        let forget: Vec<_> = forget.collect();
        drop(held);
        for forget in forget {
            if before <= goal {
                return;
            }
            forget();
            let mut held = self.lock();
            held.evicted += u64::from(held.total < before);
            before = held.total;
        }
    }

    /// Whether a newcomer of this address is refused: its address holds more than its part, or so much is held that
    /// the newcomer could hold nothing.
    pub(crate) fn refuses(&self, client: Option<ClientAddress>) -> bool {
        let of_address = client.map_or(0, |address| self.used_by(address));
        of_address > self.bytes / OF_ONE_ADDRESS
            || self.used().saturating_add(UNCOUNTED) > self.hard()
    }

    /// The bytes that an address holds.
    pub(crate) fn used_by(&self, client: ClientAddress) -> usize {
        let held = self.lock();
        let holdings = held.payers.get(&Payer::Address(client));
        holdings.map_or(0, |holdings| holdings.total)
    }

    pub(crate) fn used(&self) -> usize {
        self.lock().total
    }

    /// Times that an account was told to let go.
    pub(crate) fn evicted(&self) -> u64 {
        self.lock().evicted
    }

    fn hard(&self) -> usize {
        self.bytes.saturating_add(self.bytes / HARD)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    /// `forget` is called, from any thread and while no account is locked, when the process is short of memory and its
    /// holder should give up what it can do without. It may change accounts.
    pub(crate) fn on_short(&mut self, forget: impl Fn() + Send + Sync + 'static) {
        self.forget = Some(Arc::new(forget));
    }

    /// Ends the account, which counts as told to let go.
    pub(crate) fn end(&mut self) {
        self.budget.lock().evicted += 1;
        self.set(0);
    }

    /// Sets the number of bytes held. False, and unchanged, if accounts told to let go still hold so much that nothing
    /// is left.
    pub(crate) fn set(&mut self, bytes: usize) -> bool {
        if bytes == self.bytes {
            return true;
        }
        let hard = self.budget.hard();
        let mut held = self.budget.lock();
        let grown = bytes.saturating_sub(self.bytes);
        if grown > 0 && held.total.saturating_add(grown) > hard {
            return false;
        }
        held.remove(self.payer, self.number, self.bytes);
        if bytes > 0 {
            held.add(self.payer, self.number, bytes);
            held.let_go.insert(self.number, self.let_go.clone());
            if let Some(forget) = &self.forget {
                held.forget.insert(self.number, forget.clone());
            }
        }
        let told = held.evict(self.budget.bytes);
        drop(held);
        self.bytes = bytes;
        told.into_iter().for_each(|let_go| let_go());
        true
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let mut held = self.budget.lock();
        held.remove(self.payer, self.number, self.bytes);
    }
}

impl Held {
    fn add(&mut self, payer: Payer, number: u64, bytes: usize) {
        self.total += bytes;
        let holdings = self.payers.entry(payer).or_default();
        holdings.total += bytes;
        holdings.by_size.insert((bytes, number));
        let before = holdings.staying;
        holdings.staying += bytes;
        let now = holdings.staying;
        self.rank(payer, before, now);
    }

    fn remove(&mut self, payer: Payer, number: u64, bytes: usize) {
        let Some(holdings) = self.payers.get_mut(&payer).filter(|_| bytes > 0) else {
            return;
        };
        self.total -= bytes;
        holdings.total -= bytes;
        let before = holdings.staying;
        match holdings.by_size.remove(&(bytes, number)) {
            true => holdings.staying -= bytes,
            false => self.leaving -= bytes,
        }
        let now = holdings.staying;
        if holdings.total == 0 {
            self.payers.remove(&payer);
        }
        self.rank(payer, before, now);
        self.let_go.remove(&number);
        self.forget.remove(&number);
    }

    fn rank(&mut self, payer: Payer, before: usize, now: usize) {
        self.by_size.remove(&(before, payer));
        if now > 0 {
            self.by_size.insert((now, payer));
        }
    }

    /// Evicts the largest account of the payer that holds most, again and again, until the rest is within the limit.
    fn evict(&mut self, limit: usize) -> Vec<LetGo> {
        let mut told = Vec::new();
        while self.total - self.leaving > limit
            && let Some(&(before, payer)) = self.by_size.last()
            && let Some(holdings) = self.payers.get_mut(&payer)
            && let Some((bytes, number)) = holdings.by_size.pop_last()
        {
            holdings.staying -= bytes;
            let now = holdings.staying;
            self.leaving += bytes;
            self.evicted += 1;
            self.rank(payer, before, now);
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

    fn counted(budget: &Budget, client: Option<ClientAddress>) -> (Account, Arc<AtomicU32>) {
        let count = Arc::new(AtomicU32::new(0));
        let told = count.clone();
        let let_go = move || {
            told.fetch_add(1, Ordering::Relaxed);
        };
        (budget.open(client, let_go), count)
    }

    #[test]
    fn who_holds_most_is_told_and_nobody_else() {
        let budget = Budget::new(100);
        let (mut large, told_large) = counted(&budget, None);
        let (mut small, told_small) = counted(&budget, None);
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

    fn address(number: u32) -> ClientAddress {
        std::net::IpAddr::from(std::net::Ipv4Addr::from_bits(number)).into()
    }

    #[test]
    fn the_largest_of_the_address_that_holds_most_is_told() {
        let budget = Budget::new(100 << 20);
        let (attacker, honest) = (Some(address(1)), Some(address(2)));
        let (mut offer, told_offer) = counted(&budget, honest);
        assert!(offer.set(9 << 20), "larger than any other");
        let mut many: Vec<_> = (0..50).map(|_| counted(&budget, attacker)).collect();
        for (place, (account, _)) in many.iter_mut().enumerate() {
            assert!(account.set((2 << 20) + place));
        }
        let told: Vec<u32> = many
            .iter()
            .map(|(_, told)| told.load(Ordering::Relaxed))
            .collect();
        assert_eq!(told.iter().sum::<u32>(), 5, "{told:?}");
        assert_eq!(told_offer.load(Ordering::Relaxed), 0);
    }

    /// An attack by one address, however large, refuses that address alone, until there is no memory for anybody.
    #[test]
    fn who_is_refused_at_the_door() {
        const MB: usize = 1 << 20;
        let budget = Budget::new(100 * MB);
        let (attacker, honest) = (Some(address(1)), Some(address(2)));
        let mut many: Vec<_> = (0..75).map(|_| budget.open(attacker, || {})).collect();
        let refused =
            |budget: &Budget| [attacker, honest, None].map(|client| budget.refuses(client));
        let mut seen = Vec::new();
        for account in &mut many {
            assert!(account.set(2 * MB));
            seen.push(refused(&budget));
        }
        assert_eq!(budget.used(), 150 * MB);
        for (held, seen) in (2..).step_by(2).zip(seen) {
            // The shares tried: more than half of it, all of it, and half as much again.
            assert_eq!(seen, [held > 50, held == 150, held == 150], "{held} MB");
        }
        many.truncate(74);
        assert_eq!(refused(&budget), [true, false, false], "one has let go");
        many.truncate(25);
        assert_eq!(refused(&budget), [false; 3]);
    }

    #[test]
    fn without_a_bound_nobody_is_refused() {
        let budget = Budget::new(usize::MAX);
        assert!(budget.open(None, || {}).set(usize::MAX / 2));
        assert!(!budget.refuses(None) && !budget.refuses(Some(address(1))));
    }

    proptest! {
        #[test]
        fn the_sum_is_right_and_bounded_whatever_comes(
            steps in prop::collection::vec((0usize..6, 0usize..200), 1..200),
        ) {
            let budget = Budget::new(300);
            // Two of one address, two of another, and two of none.
            let clients = [Some(1), Some(1), Some(2), Some(2), None, None];
            let open = |client: Option<u32>| budget.open(client.map(address), || {});
            let mut accounts: Vec<Account> = clients.into_iter().map(open).collect();
            for (who, bytes) in steps {
                accounts[who].set(bytes);
                let sum: usize = accounts.iter().map(|account| account.bytes).sum();
                prop_assert_eq!(budget.used(), sum);
                prop_assert!(sum <= 450);
                let held = budget.lock();
                prop_assert!(held.total - held.leaving <= 300);
                let staying: usize = held.by_size.iter().map(|(bytes, _)| bytes).sum();
                prop_assert_eq!(held.total - held.leaving, staying);
                let payers = held.payers.values().map(|holdings| holdings.total);
                prop_assert_eq!(payers.sum::<usize>(), sum);
            }
            drop(accounts);
            let held = budget.lock();
            prop_assert_eq!((held.total, held.leaving, held.let_go.len()), (0, 0, 0));
            prop_assert_eq!((held.payers.len(), held.by_size.len()), (0, 0));
        }
    }
}
