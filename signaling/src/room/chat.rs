//! The chat so far, for those who come later.

use std::collections::VecDeque;

use super::ChatEntry;

/// Overflow: the oldest is dropped.
pub(super) struct ChatHistory {
    entries: VecDeque<ChatEntry>,
    capacity: usize,
    said: u64,
}

impl ChatHistory {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            capacity,
            said: 0,
        }
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.said += 1;
        self.said
    }

    pub(super) fn push(&mut self, entry: ChatEntry) {
        self.entries.push_back(entry);
        while self.entries.len() > self.capacity {
            self.entries.pop_front();
        }
    }

    /// Oldest first.
    pub(super) fn entries(&self) -> Vec<ChatEntry> {
        self.entries.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::ParticipantId;

    #[test]
    fn keeps_the_latest() {
        let mut history = ChatHistory::new(2);
        for text in ["one", "two", "three"] {
            let id = history.next_id();
            history.push(ChatEntry {
                id,
                participant: ParticipantId::random(),
                name: "Ada".into(),
                text: text.into(),
                at_ms: 0,
            });
        }
        let kept: Vec<_> = history
            .entries()
            .iter()
            .map(|e| (e.id, e.text.to_string()))
            .collect();
        assert_eq!(kept, [(2, "two".into()), (3, "three".into())]);
    }
}
