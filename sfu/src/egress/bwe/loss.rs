//! How much is lost, and whether that tells anything.
//!
//! Loss alone does not: radio links lose some packets at any rate, and a viewer there wants the best
//! picture that repair can keep whole. What tells is loss beyond what the link loses anyway (the
//! inherent loss of libwebrtc's `LossBasedBweV2`): that of a time without any queue is remembered.

use std::time::{Duration, Instant};

/// Packets that a share is worth taking of.
const PACKETS: u64 = 25;
const INTERVAL: Duration = Duration::from_millis(400);
/// Above what the link loses anyway, this much is a full queue or a policer.
const BEYOND: f64 = 0.06;
/// No link that anybody can talk over loses more by chance.
const INHERENT_MAX: f64 = 0.20;

/// The losses of a link.
#[derive(Debug, Default)]
pub(super) struct Loss {
    since: Option<Instant>,
    arrived: u64,
    lost: i64,
    /// Share in the last complete interval.
    share: f64,
    /// Share lost while there was no reason to.
    inherent: f64,
    /// Complete intervals one after another with too much loss.
    excessive: u32,
}

impl Loss {
    /// Counts. `idle`: nothing waits in the link's queue, and no more is sent than before. True at the
    /// end of an interval.
    pub(super) fn update(&mut self, now: Instant, arrived: usize, lost: i64, idle: bool) -> bool {
        let since = *self.since.get_or_insert(now);
        self.arrived += arrived as u64;
        self.lost += lost;
        let all = self.arrived + self.lost.max(0) as u64;
        if now < since + INTERVAL || all < PACKETS {
            return false;
        }
        self.share = self.lost.max(0) as f64 / all.max(1) as f64;
        if idle {
            let weight = if self.share < self.inherent { 0.3 } else { 0.1 };
            self.inherent += (self.share.min(INHERENT_MAX) - self.inherent) * weight;
        }
        let too_much = self.share > self.inherent + BEYOND;
        self.excessive = if too_much { self.excessive + 1 } else { 0 };
        (self.since, self.arrived, self.lost) = (Some(now), 0, 0);
        true
    }

    /// Share of packets lost lately (0 to 1).
    pub(super) fn share(&self) -> f64 {
        self.share
    }

    /// More is lost than the link loses anyway, for so many intervals.
    pub(super) fn excessive(&self) -> u32 {
        self.excessive
    }

    /// What is sent has changed: what is lost now is no sign of the rate before.
    pub(super) fn forget(&mut self) {
        self.excessive = 0;
    }
}
