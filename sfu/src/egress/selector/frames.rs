//! What was decided for the latest frames: all packets of one are decided on alike, whenever they come.

/// Frames remembered: a third of a second of three spatial layers at 30 frames a second, which is more
/// than packets are reordered or repaired by.
const FRAMES: usize = 32;

/// A decision.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Verdict {
    pub(super) timestamp: u32,
    pub(super) spatial: u8,
    /// The highest spatial layer sent of the picture.
    pub(super) top: u8,
    pub(super) sent: bool,
}

/// A ring of them.
#[derive(Debug, Default)]
pub(super) struct Frames {
    ring: [Verdict; FRAMES],
    /// Made so far.
    count: usize,
}

impl Frames {
    /// The decision on a frame.
    pub(super) fn find(&self, timestamp: u32, spatial: u8) -> Option<Verdict> {
        let known = self.count.min(FRAMES);
        (1..=known)
            .map(|back| self.ring[(self.count - back) % FRAMES])
            .find(|verdict| (verdict.timestamp, verdict.spatial) == (timestamp, spatial))
    }

    /// Whether a decision is the latest.
    pub(super) fn is_last(&self, verdict: &Verdict) -> bool {
        self.count > 0 && self.ring[(self.count - 1) % FRAMES] == *verdict
    }

    pub(super) fn push(&mut self, verdict: Verdict) {
        self.ring[self.count % FRAMES] = verdict;
        self.count += 1;
    }
}
