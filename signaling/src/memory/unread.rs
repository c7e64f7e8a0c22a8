//! Bytes that a connection has received and that are no whole message yet. Without this count, a message that grows in
//! fragments (RFC 6455 section 5.4) would be invisible.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::{Account, Budget, UNCOUNTED};
use crate::clients::ClientAddress;

/// Head and masking key of a client's control frame, which has no longer head (RFC 6455 section 5.2).
const CONTROL_HEAD: usize = 6;
/// Bytes held for each byte received: a message is put together in a buffer that doubles as it grows.
const PER_BYTE: usize = 2;
/// Bytes between two checks of the budget while a message grows.
const STEP: usize = 16 << 10;

/// The unread bytes of one connection. Cheap to clone; without a budget it counts nothing.
#[derive(Clone, Default)]
pub(crate) struct Unread(Option<Arc<Connection>>);

struct Connection {
    budget: Budget,
    bytes: AtomicUsize,
    /// There was no memory for the last bytes.
    waits: AtomicBool,
    /// Set once messages are read from it.
    account: Mutex<Option<Account>>,
}

impl Unread {
    pub(crate) fn new(budget: &Budget) -> Self {
        Self(Some(Arc::new(Connection {
            budget: budget.clone(),
            bytes: AtomicUsize::new(0),
            waits: AtomicBool::new(false),
            account: Mutex::default(),
        })))
    }

    /// Messages of a client are read from now on, until it holds most and is told so.
    pub(crate) fn begin(&self, client: Option<ClientAddress>, evicted: &Arc<Notify>) {
        if let Some(connection) = &self.0 {
            let evicted = evicted.clone();
            let let_go = move || evicted.notify_one();
            let account = connection.budget.open(client, let_go);
            connection.bytes.store(0, Ordering::Relaxed);
            connection.with(|place| *place = Some(account));
        }
    }

    /// Forgets everything received; nothing more is read.
    pub(crate) fn end(&self) {
        if let Some(connection) = &self.0 {
            connection.with(|place| *place = None);
        }
    }

    /// Whether more may be received: not while accounts told to let go still hold too much.
    pub(crate) fn may_come(&self) -> bool {
        let Some(connection) = &self.0 else {
            return true;
        };
        if connection.waits.load(Ordering::Relaxed) {
            connection.count(connection.bytes.load(Ordering::Relaxed));
        }
        !connection.waits.load(Ordering::Relaxed)
    }

    /// Bytes were received.
    pub(crate) fn came(&self, bytes: usize) {
        let Some(connection) = &self.0 else { return };
        let before = connection.bytes.fetch_add(bytes, Ordering::Relaxed);
        let now = before + bytes;
        if now > UNCOUNTED && now / STEP != before / STEP {
            connection.count(now);
        }
    }

    /// Records that a whole message was taken. Bytes of the next one are at most one read, and do not count.
    pub(crate) fn message(&self) {
        self.release(usize::MAX);
    }

    /// A control frame was, which may have come in the middle of a message.
    pub(crate) fn control(&self, payload: usize) {
        self.release(CONTROL_HEAD + payload);
    }

    fn release(&self, bytes: usize) {
        let Some(connection) = &self.0 else { return };
        let lower = |held: usize| Some(held.saturating_sub(bytes));
        let before = connection
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, lower);
        let before = before.unwrap_or_default();
        let now = before.saturating_sub(bytes);
        if before > UNCOUNTED && (now <= UNCOUNTED || now / STEP != before / STEP) {
            connection.count(now);
        }
    }
}

impl Connection {
    fn count(&self, bytes: usize) {
        let counted = if bytes > UNCOUNTED {
            PER_BYTE * bytes
        } else {
            0
        };
        let fits =
            |account: &mut Option<Account>| account.as_mut().is_none_or(|it| it.set(counted));
        let fits = self.with(fits);
        self.waits.store(!fits, Ordering::Relaxed);
    }

    fn with<T>(&self, change: impl FnOnce(&mut Option<Account>) -> T) -> T {
        change(&mut self.account.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_whole_message_yet_is_counted_and_who_has_most_of_it_is_told() {
        let budget = Budget::new(1 << 20);
        let (large, small) = (Unread::new(&budget), Unread::new(&budget));
        let (told_large, told_small) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        // A request's head is none.
        large.came(100_000);
        large.begin(None, &told_large);
        small.begin(None, &told_small);
        for _ in 0..100 {
            large.came(4_096);
            small.came(10);
            large.control(0);
            small.control(4);
        }
        let expected = PER_BYTE * 100 * (4_096 - CONTROL_HEAD);
        assert!(
            budget.used().abs_diff(expected) <= PER_BYTE * STEP,
            "{}",
            budget.used()
        );
        small.message();
        large.message();
        assert_eq!(budget.used(), 0);
        for _ in 0..60 {
            large.came(6_000);
            small.came(4_000);
        }
        told_large.notified().await;
        assert!(budget.evicted() > 0 && budget.used() > 1 << 20);
        assert!(small.may_come());
        small.came(400_000);
        assert!(!small.may_come(), "the other has not let go yet");
        large.end();
        assert!(small.may_come());
        let left = budget.used();
        large.came(100_000);
        assert_eq!(budget.used(), left, "it is counted no more");
    }
}
