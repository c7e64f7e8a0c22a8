//! The chat so far, for those who come later.

use std::collections::VecDeque;

use super::ChatEntry;
use crate::memory::Account;

/// Overflow: the oldest is dropped. So is the older half where all rooms' chat takes more than there is memory for,
/// and this room's takes most.
pub(super) struct ChatHistory {
    entries: VecDeque<ChatEntry>,
    capacity: usize,
    said: u64,
    bytes: usize,
    account: Account,
}

impl ChatHistory {
    pub(super) fn new(capacity: usize, account: Account) -> Self {
        Self {
            entries: VecDeque::new(),
            capacity,
            said: 0,
            bytes: 0,
            account,
        }
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.said += 1;
        self.said
    }

    pub(super) fn push(&mut self, entry: ChatEntry) {
        self.bytes += weight(&entry);
        self.entries.push_back(entry);
        let over = self.entries.len().saturating_sub(self.capacity);
        self.forget(over);
    }

    /// Others need its memory.
    pub(super) fn forget_half(&mut self) {
        self.forget(self.entries.len().div_ceil(2));
    }

    /// Forgets the oldest, and as many more as there is no memory for.
    fn forget(&mut self, count: usize) {
        for entry in self.entries.drain(..count) {
            self.bytes -= weight(&entry);
        }
        while !self.account.set(self.bytes) {
            match self.entries.pop_front() {
                Some(entry) => self.bytes -= weight(&entry),
                None => return,
            }
        }
    }

    /// The number of messages kept.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Oldest first.
    pub(super) fn entries(&self) -> Vec<ChatEntry> {
        self.entries.iter().cloned().collect()
    }
}

/// Bytes of an entry: its texts, and the rest.
fn weight(entry: &ChatEntry) -> usize {
    entry.text.len() + entry.name.len() + 2 * size_of::<ChatEntry>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Budget;
    use crate::room::ParticipantId;

    fn say(history: &mut ChatHistory, text: &str) {
        let id = history.next_id();
        history.push(ChatEntry {
            id,
            participant: ParticipantId::random(),
            name: "Ada".into(),
            text: text.into(),
            at_ms: 0,
        });
    }

    #[test]
    fn keeps_within_the_memory_of_all_and_gives_back_half() {
        let budget = Budget::new(100_000);
        let mut history = ChatHistory::new(200, budget.open(None, || {}));
        for _ in 0..300 {
            say(&mut history, &"x".repeat(1_000));
            assert!(budget.used() <= 150_000);
        }
        let before = history.entries().len();
        history.forget_half();
        assert_eq!(history.entries().len(), before / 2);
        drop(history);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn keeps_the_latest() {
        let budget = Budget::new(usize::MAX);
        let mut history = ChatHistory::new(2, budget.open(None, || {}));
        for text in ["one", "two", "three"] {
            say(&mut history, text);
        }
        let kept: Vec<_> = history
            .entries()
            .iter()
            .map(|e| (e.id, e.text.to_string()))
            .collect();
        assert_eq!(kept, [(2, "two".into()), (3, "three".into())]);
    }
}
