//! Cuts that are taken back, since the queue they were made for was none of the link's.
//!
//! A receiver that reads late, for lack of processor time, looks like a queue until it reads everything at once. The
//! queue of a slow link empties no faster than that link carries, so that a burst at its end tells the two apart. A
//! path that delivers in turns may look like such a receiver. So cuts are taken back rarely.

use super::BandwidthEstimator;
use super::acknowledged::LONG_US;
use super::drain::{Drain, EVEN, Purpose};

/// Ratio of the rate at which a queue ends to the link's presumed rate, above which it ends in a burst. The short
/// window may exceed a steady link's rate by [`EVEN`], before the cut as well as after it.
const FASTER: f64 = EVEN * EVEN;
/// Pause between two cuts taken back, in microseconds; it doubles each time that this was wrong.
const PAUSE_US: i64 = 3_000_000;
/// Longest pause.
const PAUSE_MAX_US: i64 = 60_000_000;
/// Time after a cut in which it may be wrong, in microseconds: later the queue of a receiver that reads late is gone.
const OPEN_US: i64 = 300_000;
/// Share of the rate left by a cut below which it is doubtful: emptying the queue of a receiver that reads late seems
/// to need nearly all of it.
const DEEP: f64 = 0.6;
/// Time in which another cut shows that taking back the last one was wrong, in microseconds.
const WRONG_US: i64 = 2_000_000;

/// The time at which a cut was last taken back, and the pause after it, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct TakenBack {
    at: i64,
    pause: i64,
}

impl TakenBack {
    /// No cut was taken back.
    pub(super) const NONE: Self = Self {
        at: -PAUSE_MAX_US,
        pause: PAUSE_US,
    };

    /// Records that a cut is taken back.
    fn take(&mut self, now: i64) {
        // Long after the pause the path may have changed.
        if now - self.at > 2 * self.pause {
            self.pause = PAUSE_US;
        }
        self.at = now;
    }

    /// Whether a cut may be taken back at `now`.
    fn may(&self, now: i64) -> bool {
        now - self.at >= self.pause
    }

    /// Records a cut for a queue.
    pub(super) fn cut(&mut self, now: i64) {
        if now - self.at < WRONG_US {
            self.pause = (2 * self.pause).min(PAUSE_MAX_US);
        }
    }
}

impl BandwidthEstimator {
    /// Whether the rate was just cut deeply, which may yet be taken back.
    pub(super) fn is_doubtful(&self) -> bool {
        let Some(drain) = self.drain else {
            return false;
        };
        let open = drain.purpose == Purpose::Cut && self.now < drain.began + OPEN_US;
        let deep = self.aimd.target() < DEEP * drain.before;
        open && deep && self.taken_back.may(self.now)
    }

    /// Takes a cut back if its queue ended in a burst.
    pub(super) fn take_back(&mut self, now: i64, drain: Drain) {
        let (rate, _) = self.arriving_now();
        // Bytes of a lost report are counted all at once, which is no burst.
        let credited = self.credited_at.is_some_and(|at| now - at < LONG_US);
        let burst = drain.purpose == Purpose::Cut && rate > FASTER * drain.arrived;
        if !burst || credited || !self.taken_back.may(now) {
            return;
        }
        self.taken_back.take(now);
        self.aimd.raise(now, drain.before);
    }
}
