//! Counts of a path.

use std::time::Duration;

/// Counts of a path since it began, or since its statistics were reset.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PathStats {
    /// Datagrams put on it.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Lost at random or in a burst.
    pub lost: u64,
    /// Dropped by the full queue.
    pub dropped: u64,
    /// Arrived and taken.
    pub delivered: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// Bytes of a rival that passed the rate.
    pub rival_bytes: u64,
    /// Datagrams by how long they waited for the rate, in steps of [`STEP`](Self::STEP).
    waits: Vec<u32>,
    waited: u64,
}

impl PathStats {
    /// The resolution of waiting times.
    pub const STEP: Duration = Duration::from_micros(500);
    /// Longer waits count as this many steps, 30 s.
    const MAX_STEPS: usize = 60_000;

    /// Adds what another path, or this one later, has done.
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.sent_bytes += other.sent_bytes;
        self.lost += other.lost;
        self.dropped += other.dropped;
        self.delivered += other.delivered;
        self.delivered_bytes += other.delivered_bytes;
        self.rival_bytes += other.rival_bytes;
        self.waited += other.waited;
        if self.waits.len() < other.waits.len() {
            self.waits.resize(other.waits.len(), 0);
        }
        for (total, count) in self.waits.iter_mut().zip(&other.waits) {
            *total += count;
        }
    }

    pub(super) fn wait(&mut self, wait: Duration) {
        let step = (wait.as_micros() / Self::STEP.as_micros()) as usize;
        let step = step.min(Self::MAX_STEPS);
        if self.waits.len() <= step {
            self.waits.resize(step + 1, 0);
        }
        self.waits[step] += 1;
        self.waited += 1;
    }

    /// The time that a datagram waited for the rate, its own time on it not counted; `share` of them waited
    /// no longer (0.95 for the 95th percentile). Zero when none has.
    pub fn queue_delay(&self, share: f64) -> Duration {
        let wanted = (self.waited as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (step, count) in self.waits.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return Self::STEP * step as u32;
            }
        }
        Duration::ZERO
    }
}
