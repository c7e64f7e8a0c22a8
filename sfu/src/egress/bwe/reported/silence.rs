//! Silence: reports that do not come though packets are sent, and receivers that are sent nothing to report on.

use super::ReportedEstimator;
use super::tries::{ROOM, Raised};
use crate::egress::bwe::SPARED;

/// Time without a report that counts as silence; and the number of reports missed.
const SILENCE_US: i64 = 3_000_000;
const MISSED: i64 = 3;
/// Time without a packet after which nothing counts as sent.
const QUIET_US: i64 = 1_000_000;
/// Time from the last packet into silence until the next try: a lowest layer is sent for three of eight seconds, into a
/// possible outage.
const RETRY_US: i64 = 5_000_000;

impl ReportedEstimator {
    /// The time at which missing reports are silence, or at which silence has lasted once more. One cut is enough for a
    /// receiver that never reported. Packets must be sent all the while: the very last one may be lost.
    pub(super) fn silence_at(&self) -> Option<i64> {
        let (_, last) = self.sent_at?;
        let (since, silence) = (self.quiet_since(), self.silence());
        let never = self.heard_at.is_none() && self.silences > 0;
        (last >= since + silence / 2 && !never).then_some(since + (self.silences + 1) * silence)
    }

    /// The time without a report that counts as silence.
    pub(super) fn silence(&self) -> i64 {
        SILENCE_US.max(MISSED * self.spacing)
    }

    /// The time of the last report, or the first at which one could have come.
    pub(super) fn quiet_since(&self) -> i64 {
        let first = self.sent_at.map_or(0, |(first, _)| first);
        self.heard_at
            .unwrap_or(first)
            .max(self.resumed_at.unwrap_or(0))
            .max(self.spared_until() - self.silence())
    }

    /// The time until which a receiver heard again need not have reported.
    fn spared_until(&self) -> i64 {
        let spared = SPARED.as_micros() as i64;
        self.spared_at.map_or(0, |at| at + spared)
    }

    /// The time of the next try of the least layer, if nothing is sent though something is wanted.
    pub(super) fn resumes_at(&self) -> Option<i64> {
        let (_, last) = self.sent_at?;
        let since = last.max(self.resumed_at.unwrap_or(last));
        let wanted = self.demand.desired > self.demand.allocated && self.heard_at.is_some();
        let (silent, fits) = (self.silences > 0, self.target >= self.resumed_rate());
        let at = match silent {
            false => self.hold_until.max(since + QUIET_US),
            true => since + RETRY_US,
        };
        (wanted && (silent || !fits)).then_some(at)
    }

    /// Allows the least layer to be sent, and awaits a report on it.
    pub(super) fn resume(&mut self, now: i64) {
        self.said.try_more(now);
        self.target = self.target.max(self.resumed_rate());
        self.silences = 0;
        self.resumed_at = Some(now);
        // If it fails, there is no rate to go back to.
        self.tried = Some(Raised {
            at: now,
            sending: 0.0,
        });
    }

    /// Whether no report came since the last [`resume`](Self::resume).
    pub(super) fn is_resumed(&self) -> bool {
        self.heard_at < self.resumed_at
    }

    /// The rate of the least layer, with room for it.
    fn resumed_rate(&self) -> f64 {
        (ROOM * self.demand.step as f64).min(self.bounds.1)
    }
}
