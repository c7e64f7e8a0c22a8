//! Bells: one bit for each stream that has something for its worker. A worker looks at them in every turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::STREAMS;
use crate::runtime::Waker;

const WORDS: usize = STREAMS / 64;
const _: () = assert!(STREAMS.is_multiple_of(64));

/// A worker's bells.
#[derive(Debug)]
pub(super) struct Bells {
    any: AtomicBool,
    words: [AtomicU64; WORDS],
}

/// The bell of one stream.
#[derive(Clone, Debug)]
pub(super) struct Bell {
    bells: Arc<Bells>,
    slot: usize,
    waker: Waker,
}

impl Default for Bells {
    fn default() -> Self {
        Self {
            any: AtomicBool::new(false),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Bells {
    /// The bell of the stream in a slot.
    pub(super) fn bell(self: &Arc<Self>, slot: usize, waker: Waker) -> Bell {
        let bells = Arc::clone(self);
        Bell { bells, slot, waker }
    }

    /// Whether any has been rung since they were last taken.
    pub(super) fn have_rung(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// The slots whose bells were rung, which are silent again, from the lowest on.
    pub(super) fn take(&self, slots: &mut Vec<usize>) {
        if !self.have_rung() {
            return;
        }
        // What was written before a bell rang is seen behind this.
        self.any.swap(false, Ordering::AcqRel);
        for (at, word) in self.words.iter().enumerate() {
            let mut bits = match word.load(Ordering::Relaxed) {
                0 => continue,
                _ => word.swap(0, Ordering::AcqRel),
            };
            while bits != 0 {
                slots.push(at * 64 + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        }
    }

    /// Rings the bell of a slot, from the worker's own thread.
    pub(super) fn ring(&self, slot: usize) {
        self.words[slot / 64].fetch_or(1 << (slot % 64), Ordering::AcqRel);
        self.any.store(true, Ordering::Release);
    }
}

impl Bell {
    /// Tells the worker that there is something in the stream.
    pub(super) fn ring(&self) {
        self.bells.ring(self.slot);
        self.waker.wake_sleeper();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bell_is_heard_once() {
        let bells = Bells::default();
        let taken = || {
            let mut slots = Vec::new();
            bells.take(&mut slots);
            slots
        };
        assert!(taken().is_empty() && !bells.have_rung());
        for slot in [STREAMS - 1, 0, 64, 63, 0] {
            bells.ring(slot);
        }
        assert!(bells.have_rung());
        assert_eq!(taken(), [0, 63, 64, STREAMS - 1]);
        assert!(taken().is_empty());
    }
}
