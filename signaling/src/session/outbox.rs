//! The events on their way to one participant: numbered, and bounded in number and bytes.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::queue::{BEHIND, Coalesce, Queue};
use crate::memory::{Account, UNCOUNTED};

/// Bytes of events that are kept for one participant. Overflow: [`Undelivered::Full`]. Two thousand of the longest chat
/// texts fit, and several times the welcome to the fullest room.
const BYTES: usize = 16 << 20;
/// Events that were taken and that the client has not acknowledged. Overflow: the oldest are forgotten, and a client that
/// has missed one of them cannot go on. Clients acknowledge every 64; with so many under way the link holds seconds.
pub(super) const UNACKNOWLEDGED: usize = 4_096;
/// Bytes of the messages of those, the last one apart. Overflow: as above. A system holds as much of a connection on its way
/// by default (4 MiB in Linux), so that a client may come back that has lost one full of messages.
pub(super) const UNACKNOWLEDGED_BYTES: usize = 4 << 20;
/// Bytes that they take: each is there as event and as text.
const TAKEN_BYTES: usize = 2 * UNACKNOWLEDGED_BYTES;
/// Bytes between two looks at the process's budget.
const STEP: usize = 16 << 10;

/// The room's end. Dropped, nothing follows what is kept.
pub(crate) struct Outbox<T: Coalesce>(Arc<Shared<T>>);

/// A connection's end. Dropped, it is detached.
#[allow(private_bounds, reason = "the room's events are the only ones")]
pub struct Inbox<T: Coalesce> {
    shared: Arc<Shared<T>>,
    attachment: u64,
}

/// The reason that an event was not kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Undelivered {
    /// As many events, or bytes of them, wait as may; or there is no memory for more.
    Full,
    /// No connection is attached.
    Detached,
}

struct Shared<T: Coalesce> {
    kept: Mutex<Kept<T>>,
    changed: Notify,
    /// The process needs the memory: this participant holds most.
    evicted: Arc<Notify>,
}

struct Kept<T: Coalesce> {
    /// Events that the attached connection has taken and that are not known to be written, or not acknowledged, and their
    /// bytes.
    taken: VecDeque<(T, usize)>,
    taken_bytes: usize,
    waiting: Queue<T>,
    /// The number of the first event that is not known to be written. Events count from 1 on, in the order in which they
    /// are taken: those that are left out have no number.
    first: u64,
    /// Events that were taken stay until they are acknowledged; otherwise until more are taken.
    keeps_taken: bool,
    /// Events that may wait, beside those that wait again.
    most: usize,
    /// Events among those that wait which were taken before, at most: those that have become needless are counted still.
    /// They are the first. A connection that is lost does not make its client slow.
    again: usize,
    /// Events that were taken a second time, since [`Inbox::take_replayed`] was called.
    replayed: usize,
    /// Bytes of all of them, as the account has them.
    bytes: usize,
    account: Account,
    /// Connections so far. The last one is attached, unless none is.
    attachments: u64,
    is_attached: bool,
    is_closed: bool,
}

impl<T: Coalesce> Outbox<T> {
    /// `most` events may wait. `open` opens the account of their bytes, whose holder is told by this when it should let
    /// go ([`Inbox::evicted`]).
    pub(crate) fn new(most: usize, open: impl FnOnce(Arc<Notify>) -> Account) -> Self {
        let evicted = Arc::new(Notify::new());
        let shared = Arc::new(Shared {
            kept: Mutex::new(Kept {
                taken: VecDeque::new(),
                taken_bytes: 0,
                waiting: Queue::new(BEHIND),
                first: 1,
                keeps_taken: false,
                most,
                again: 0,
                replayed: 0,
                bytes: 0,
                account: open(Arc::clone(&evicted)),
                attachments: 0,
                is_attached: false,
                is_closed: false,
            }),
            changed: Notify::new(),
            evicted,
        });
        let weak = Arc::downgrade(&shared);
        shared.lock().account.on_short(move || {
            if let Some(shared) = weak.upgrade() {
                shared.lock().forget_kept();
            }
        });
        Self(shared)
    }

    /// Attaches a connection, in the place of an earlier one. It is given everything that no connection has written.
    pub(crate) fn attach(&self) -> Inbox<T> {
        let mut kept = self.0.lock();
        kept.attachments += 1;
        kept.is_attached = true;
        kept.put_back();
        let attachment = kept.attachments;
        drop(kept);
        self.0.changed.notify_waiters();
        Inbox {
            shared: Arc::clone(&self.0),
            attachment,
        }
    }

    /// Keeps an event of so many bytes. An event that is kept once for several participants weighs its part for each. It
    /// may take the place of others that wait: see [`queue`](super::queue).
    pub(crate) fn put(&self, event: T, bytes: usize) -> Result<(), Undelivered> {
        self.0.put(event, bytes)
    }
}

impl<T: Coalesce> Drop for Outbox<T> {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_waiters();
    }
}

#[allow(private_bounds, reason = "the room's events are the only ones")]
impl<T: Coalesce> Inbox<T> {
    /// The next event. None once nothing follows, or another connection has taken this one's place. What was taken
    /// before counts as written. Cancel-safe.
    pub async fn recv(&mut self) -> Option<T> {
        let mut events = Vec::with_capacity(1);
        self.recv_many(&mut events, 1).await;
        events.pop()
    }

    /// Appends events, as many as there are and `limit` at most, to `events`, and returns their number: 0 where
    /// [`recv`](Self::recv) returns none. Cancel-safe.
    pub async fn recv_many(&mut self, events: &mut Vec<T>, limit: usize) -> usize {
        loop {
            // Hears of changes from here on.
            let changed = self.shared.changed.notified();
            {
                let mut kept = self.shared.lock();
                if kept.attachments != self.attachment {
                    return 0;
                }
                if !kept.keeps_taken {
                    let taken = kept.taken.len();
                    kept.forget(taken);
                }
                let count = kept.take(limit, events);
                if count > 0 || kept.is_closed {
                    return count;
                }
            }
            changed.await;
        }
    }

    /// The number of the event that was taken last; 0 before the first.
    pub fn sequence(&self) -> u64 {
        let kept = self.shared.lock();
        kept.first - 1 + kept.taken.len() as u64
    }

    /// Keeps what is taken from now on until it is acknowledged.
    pub(crate) fn keep_taken(&mut self) {
        self.shared.lock().keeps_taken = true;
    }

    /// The numbers after which [`rewind`](Self::rewind) can go on.
    pub(crate) fn kept(&self) -> RangeInclusive<u64> {
        let kept = self.shared.lock();
        kept.first - 1..=kept.first - 1 + kept.taken.len() as u64
    }

    /// Forgets the events up to this number: the client has them. False if they were not all taken.
    pub(crate) fn acknowledge(&self, number: u64) -> bool {
        let mut kept = self.shared.lock();
        let count = usize::try_from(number.saturating_sub(kept.first - 1));
        match count {
            Ok(count) if count <= kept.taken.len() => {
                kept.forget(count);
                true
            }
            _ => false,
        }
    }

    /// Acknowledges the events up to this number, which is one of [`kept`](Self::kept), and gives those after it again.
    pub(crate) fn rewind(&self, number: u64) {
        self.acknowledge(number);
        self.shared.lock().put_back();
    }

    /// The number of events that were taken a second time, at most, since the last call. They are the first of those that
    /// were taken since.
    pub(crate) fn take_replayed(&self) -> usize {
        std::mem::take(&mut self.shared.lock().replayed)
    }

    /// Keeps an event of this end's own, in the way of the room.
    pub(crate) fn put(&self, event: T, bytes: usize) -> Result<(), Undelivered> {
        self.shared.put(event, bytes)
    }

    /// Notified when the participant should [let go](Self::let_go): it holds most of what the process has for events.
    pub(crate) fn evicted(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.evicted)
    }

    /// Forgets what the client has not acknowledged. False if that is too little: the participant has to end. It has not
    /// if it holds little by now.
    pub(crate) fn let_go(&self) -> bool {
        let mut kept = self.shared.lock();
        let before = kept.bytes / STEP;
        let is_less = kept.forget_kept() && kept.bytes / STEP < before;
        is_less || kept.bytes <= UNCOUNTED
    }
}

impl<T: Coalesce> Drop for Inbox<T> {
    fn drop(&mut self) {
        let mut kept = self.shared.lock();
        if kept.attachments == self.attachment {
            kept.is_attached = false;
            kept.put_back();
        }
    }
}

impl<T: Coalesce> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Kept<T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, event: T, bytes: usize) -> Result<(), Undelivered> {
        let mut kept = self.lock();
        if !kept.is_attached {
            return Err(Undelivered::Detached);
        }
        if kept.bytes.saturating_add(bytes) > BYTES {
            kept.forget_kept();
        }
        let before = kept.waiting.len();
        kept.waiting.push(event, bytes);
        let now = kept.taken_bytes.saturating_add(kept.waiting.bytes());
        let is_one_more = kept.waiting.len() > before;
        let beside = kept.waiting.len().saturating_sub(kept.again);
        let is_full = is_one_more && beside > kept.most || now > BYTES;
        if is_full || !kept.counts_all() {
            kept.waiting.pop_last();
            // What was forgotten to make place for it is counted no more.
            kept.counts_all();
            return Err(Undelivered::Full);
        }
        drop(kept);
        self.changed.notify_waiters();
        Ok(())
    }
}

impl<T: Coalesce> Kept<T> {
    /// Forgets so many of those that were taken, the first of them: they are written, or the client has them.
    fn forget(&mut self, count: usize) {
        let written: usize = self.taken.drain(..count).map(|(_, bytes)| bytes).sum();
        self.first += count as u64;
        if written > 0 {
            self.taken_bytes -= written;
            self.count(self.taken_bytes + self.waiting.bytes());
        }
    }

    /// Forgets those that were taken and are kept for a client that comes back. False if there are none.
    fn forget_kept(&mut self) -> bool {
        let is_any = self.keeps_taken && !self.taken.is_empty();
        if is_any {
            self.forget(self.taken.len());
        }
        is_any
    }

    /// Counts the bytes of all events. What is kept for a client that comes back is forgotten where they are too many.
    /// False if they are still.
    fn counts_all(&mut self) -> bool {
        let all = |kept: &Self| kept.taken_bytes + kept.waiting.bytes();
        let bytes = all(self);
        self.count(bytes)
            || self.forget_kept() && {
                let bytes = all(self);
                self.count(bytes)
            }
    }

    /// Appends events that wait, `limit` at most, to `events`, and returns their number.
    fn take(&mut self, limit: usize, events: &mut Vec<T>) -> usize {
        // Events that were taken before are written. Those that follow are not yet.
        self.forget(self.too_many());
        let mut count = 0;
        while count < limit
            && let Some((event, bytes)) = self.waiting.pop()
        {
            events.push(event.clone());
            self.taken_bytes += bytes;
            self.taken.push_back((event, bytes));
            count += 1;
        }
        let again = count.min(self.again);
        self.again -= again;
        self.replayed += again;
        count
    }

    /// The number of events, the first of those taken, that are beyond what is kept.
    fn too_many(&self) -> usize {
        let (mut count, mut bytes) = (self.taken.len().saturating_sub(UNACKNOWLEDGED), 0);
        if self.taken_bytes > TAKEN_BYTES {
            let latest = self.taken.iter().rev().take_while(|(_, more)| {
                bytes += more;
                bytes <= TAKEN_BYTES
            });
            count = count.max(self.taken.len() - latest.count().max(1));
        }
        count
    }

    /// Lets what was taken wait again: nobody knows whether it was written.
    fn put_back(&mut self) {
        if !self.taken.is_empty() {
            self.taken_bytes = 0;
            self.again += self.taken.len();
            self.waiting.put_back(self.taken.drain(..));
        }
    }

    /// Sets the bytes kept. False, and unchanged, if the process has no memory for them.
    fn count(&mut self, bytes: usize) -> bool {
        let counted = |bytes: usize| if bytes > UNCOUNTED { bytes } else { 0 };
        let stays = bytes / STEP == self.bytes / STEP;
        if !stays && !self.account.set(counted(bytes)) {
            return false;
        }
        self.bytes = bytes;
        true
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::super::queue::Role;
    use super::*;
    use crate::memory::Budget;

    /// Plain numbers stand for themselves.
    impl Coalesce for u32 {
        type State = ();
        type Thing = ();

        fn parts(&self) -> Option<&[Self]> {
            None
        }

        fn states(&self, _: &mut dyn FnMut(())) {}

        fn things(&self, _: &mut dyn FnMut((), Role)) {}

        fn ends(&self) -> Option<()> {
            None
        }

        fn without(&self, (): &()) -> Option<Self> {
            None
        }

        fn forget(&self, (): &()) -> Option<Self> {
            None
        }
    }

    fn outbox(most: usize, budget: &Budget) -> Outbox<u32> {
        Outbox::new(most, |evicted| {
            budget.open(None, move || evicted.notify_one())
        })
    }

    fn taken(inbox: &mut Inbox<u32>, limit: usize) -> Vec<u32> {
        let mut events = Vec::new();
        inbox.recv_many(&mut events, limit).now_or_never();
        events
    }

    #[test]
    fn events_come_in_order_and_wait_in_a_bounded_number() {
        let budget = Budget::new(usize::MAX);
        let outbox = outbox(3, &budget);
        assert_eq!(outbox.put(0, 1), Err(Undelivered::Detached));
        let mut inbox = outbox.attach();
        for event in 1..=3 {
            assert_eq!(outbox.put(event, 1), Ok(()));
        }
        assert_eq!(outbox.put(4, 1), Err(Undelivered::Full));
        assert_eq!((taken(&mut inbox, 2), inbox.sequence()), (vec![1, 2], 2));
        for event in 4..=5 {
            assert_eq!(outbox.put(event, 1), Ok(()), "two have been taken");
        }
        assert_eq!((taken(&mut inbox, 9), inbox.sequence()), (vec![3, 4, 5], 5));
        assert_eq!((taken(&mut inbox, 9), inbox.sequence()), (vec![], 5));
    }

    #[tokio::test]
    async fn who_waits_hears_of_each_event_and_of_the_end() {
        let budget = Budget::new(usize::MAX);
        let outbox = outbox(9, &budget);
        let mut inbox = outbox.attach();
        let heard = tokio::spawn(async move {
            let mut heard = Vec::new();
            while let Some(event) = inbox.recv().await {
                heard.push(event);
            }
            heard
        });
        for event in 1..=5 {
            outbox.put(event, 1).expect("kept");
            tokio::task::yield_now().await;
        }
        drop(outbox);
        assert_eq!(heard.await.expect("no panic"), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn the_next_connection_is_given_what_the_one_before_has_not_written() {
        let budget = Budget::new(usize::MAX);
        let outbox = outbox(9, &budget);
        let mut first = outbox.attach();
        for event in 1..=4 {
            outbox.put(event, 1).expect("kept");
        }
        assert_eq!(taken(&mut first, 2), [1, 2]);
        assert_eq!(taken(&mut first, 1), [3], "the two are written");
        let mut second = outbox.attach();
        let replaced = first.recv().now_or_never();
        assert_eq!(replaced, Some(None));
        drop(first);
        assert_eq!(second.sequence(), 2);
        assert_eq!(taken(&mut second, 9), [3, 4]);
        drop(second);
        assert_eq!(outbox.put(5, 1), Err(Undelivered::Detached));
        let mut third = outbox.attach();
        assert_eq!(taken(&mut third, 9), [3, 4]);
    }

    #[test]
    fn what_was_taken_stays_until_it_is_acknowledged() {
        let budget = Budget::new(usize::MAX);
        let outbox = outbox(9, &budget);
        let mut inbox = outbox.attach();
        inbox.keep_taken();
        for event in 1..=6 {
            outbox.put(event, 1).expect("kept");
        }
        assert_eq!(taken(&mut inbox, 2), [1, 2]);
        assert_eq!(taken(&mut inbox, 2), [3, 4]);
        assert_eq!((inbox.kept(), inbox.sequence()), (0..=4, 4));
        assert!(!inbox.acknowledge(5) && !inbox.acknowledge(u64::MAX));
        assert!(inbox.acknowledge(1) && inbox.acknowledge(0), "again");
        assert_eq!(inbox.kept(), 1..=4);
        inbox.rewind(3);
        assert_eq!(inbox.take_replayed(), 0);
        assert_eq!((inbox.kept(), taken(&mut inbox, 9)), (3..=3, vec![4, 5, 6]));
        assert_eq!(inbox.take_replayed(), 1, "two come for the first time");
        for _ in 0..2 {
            inbox.rewind(4);
            assert_eq!(taken(&mut inbox, 9), [5, 6]);
        }
        inbox.rewind(6);
        assert!(taken(&mut inbox, 9).is_empty());
        assert_eq!((inbox.take_replayed(), inbox.take_replayed()), (4, 0));
    }

    #[test]
    fn a_client_that_acknowledges_nothing_has_the_oldest_forgotten() {
        let budget = Budget::new(usize::MAX);
        let outbox = outbox(9, &budget);
        let mut inbox = outbox.attach();
        inbox.keep_taken();
        let most = UNACKNOWLEDGED as u64;
        for event in 0..UNACKNOWLEDGED + 5 {
            outbox.put(event as u32, 1).expect("kept");
            assert_eq!(taken(&mut inbox, 9), [event as u32]);
        }
        // The last one may not be written yet.
        assert_eq!(inbox.kept(), 4..=most + 5);
        // Bytes are bounded likewise.
        for _ in 0..2 {
            outbox.put(0, TAKEN_BYTES / 2).expect("kept");
            assert_eq!(taken(&mut inbox, 9), [0]);
        }
        assert_eq!(inbox.kept(), 6..=most + 7);
        for number in 8..10 {
            outbox.put(0, TAKEN_BYTES).expect("kept");
            assert_eq!(taken(&mut inbox, 9), [0]);
            assert_eq!(*inbox.kept().end(), most + number);
        }
        assert_eq!(
            *inbox.kept().start(),
            most + 7,
            "one as large is kept alone"
        );
        // What waits comes first.
        outbox.put(1, BYTES).expect("kept");
        assert_eq!(inbox.kept(), most + 9..=most + 9);
        assert_eq!(outbox.put(2, 1), Err(Undelivered::Full));
    }

    #[test]
    fn what_waits_again_leaves_the_place_of_what_comes() {
        let budget = Budget::new(usize::MAX);
        let outbox = outbox(3, &budget);
        let mut inbox = outbox.attach();
        inbox.keep_taken();
        for event in 1..=9 {
            outbox.put(event, 1).expect("kept");
            taken(&mut inbox, 9);
        }
        for _ in 0..2 {
            inbox.rewind(2);
        }
        for event in 10..=12 {
            assert_eq!(outbox.put(event, 1), Ok(()));
        }
        assert_eq!(outbox.put(13, 1), Err(Undelivered::Full));
        assert_eq!(taken(&mut inbox, 8), [3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(outbox.put(13, 1), Ok(()));
        assert_eq!(outbox.put(14, 1), Err(Undelivered::Full));
        assert_eq!(taken(&mut inbox, 9), [11, 12, 13]);
    }

    #[test]
    fn who_has_to_let_go_forgets_what_is_not_acknowledged_before_it_ends() {
        let budget = Budget::new(1 << 20);
        let (silent, other) = (outbox(99, &budget), outbox(99, &budget));
        let (mut inbox, _other) = (silent.attach(), other.attach());
        inbox.keep_taken();
        silent.put(1, 900 << 10).expect("kept");
        assert_eq!(taken(&mut inbox, 9), [1]);
        other.put(1, 500 << 10).expect("kept");
        let told = inbox.evicted();
        assert!(told.notified().now_or_never().is_some());
        assert!(inbox.let_go() && inbox.let_go(), "it keeps nothing");
        assert_eq!((inbox.kept(), budget.used()), (1..=1, 500 << 10));
        // It is as any other afterwards, and at the hard limit forgets by itself.
        silent.put(2, 400 << 10).expect("kept");
        assert_eq!(taken(&mut inbox, 9), [2]);
        silent.put(3, 700 << 10).expect("kept");
        assert_eq!((inbox.kept(), budget.used()), (2..=2, 1_200 << 10));
        assert!(!inbox.let_go(), "all of it waits");
    }

    #[test]
    fn sessions_forget_what_they_keep_when_memory_is_short_those_of_the_largest_address_first() {
        let budget = Budget::new(usize::MAX);
        let keeping = |last: u8, sizes: &[usize]| -> Vec<_> {
            let address = std::net::IpAddr::from([192, 0, 2, last]).into();
            let open = |bytes: &usize| {
                let outbox = Outbox::<u32>::new(9, |evicted| {
                    budget.open(Some(address), move || evicted.notify_one())
                });
                let mut inbox = outbox.attach();
                inbox.keep_taken();
                outbox.put(1, *bytes).expect("kept");
                assert_eq!(taken(&mut inbox, 9), [1]);
                (outbox, inbox)
            };
            sizes.iter().map(open).collect()
        };
        let many = keeping(1, &[300 << 10; 4]);
        let one = keeping(2, &[900 << 10]);
        let (waiting, mut reader) = {
            let outbox = outbox(9, &budget);
            let inbox = outbox.attach();
            outbox.put(7, 2 << 20).expect("kept");
            (outbox, inbox)
        };
        let forgotten = |of: &[(Outbox<u32>, Inbox<u32>)]| {
            let all = of.iter().filter(|(_, inbox)| inbox.kept() == (1..=1));
            all.count()
        };
        budget.relieve(500 << 10);
        assert_eq!((forgotten(&many), forgotten(&one)), (2, 0));
        budget.relieve(usize::MAX);
        assert_eq!((forgotten(&many), forgotten(&one)), (4, 1));
        assert_eq!((budget.used(), budget.evicted()), (2 << 20, 5));
        // Nobody is ended for it, nor loses what was not written.
        let told = reader.evicted();
        assert!(told.notified().now_or_never().is_none());
        assert_eq!(taken(&mut reader, 9), [7]);
        drop(waiting);
    }

    #[test]
    fn bytes_are_bounded_for_each_and_for_all() {
        let free = Budget::new(usize::MAX);
        let alone = outbox(usize::MAX, &free);
        let mut inbox = alone.attach();
        for event in 0..16 {
            assert_eq!(alone.put(event, 1 << 20), Ok(()));
        }
        assert_eq!(alone.put(16, 1), Err(Undelivered::Full));
        assert_eq!(taken(&mut inbox, 16).len(), 16);
        assert_eq!(
            alone.put(16, 1),
            Err(Undelivered::Full),
            "not known to be written"
        );
        assert!(taken(&mut inbox, 1).is_empty());
        assert_eq!((alone.put(16, 1), free.used()), (Ok(()), 0));

        let budget = Budget::new(1 << 20);
        let (large, small) = (outbox(999, &budget), outbox(999, &budget));
        let (inbox, _other) = (large.attach(), small.attach());
        assert_eq!(large.put(1, 900 << 10), Ok(()));
        assert_eq!(small.put(1, 200 << 10), Ok(()));
        let told = inbox.evicted();
        assert!(told.notified().now_or_never().is_some(), "it holds most");
        assert_eq!(small.put(2, 600 << 10), Err(Undelivered::Full));
        drop((inbox, large));
        assert_eq!(small.put(2, 600 << 10), Ok(()));
        assert_eq!(budget.used(), 800 << 10);
    }
}
