//! Silence: reports that do not come though something is sent, and nothing sent that could be reported on.

use super::ReportedEstimator;
use super::tries::{ROOM, Raised};
use crate::egress::bwe::SPARED;

/// Time without a report that is silence, and in reports missed.
const SILENCE_US: i64 = 3_000_000;
const MISSED: i64 = 3;
/// Without a packet for so long, nothing is sent.
const QUIET_US: i64 = 1_000_000;
/// From the last packet into silence until the next try: a lowest layer for three of eight seconds, into what
/// may be an outage.
const RETRY_US: i64 = 5_000_000;

impl ReportedEstimator {
    /// When it is silence that nothing is heard, or when it has lasted once more; to who never reported one
    /// cut is enough. Something must be sent all the while: the last packet of all may be lost.
    pub(super) fn silence_at(&self) -> Option<i64> {
        let (_, last) = self.sent_at?;
        let (since, silence) = (self.quiet_since(), self.silence());
        let never = self.heard_at.is_none() && self.silences > 0;
        (last >= since + silence / 2 && !never).then_some(since + (self.silences + 1) * silence)
    }

    /// How long nothing must be heard.
    pub(super) fn silence(&self) -> i64 {
        SILENCE_US.max(MISSED * self.spacing)
    }

    /// When something was heard last, or could have been for the first time.
    pub(super) fn quiet_since(&self) -> i64 {
        let first = self.sent_at.map_or(0, |(first, _)| first);
        self.heard_at
            .unwrap_or(first)
            .max(self.resumed_at.unwrap_or(0))
            .max(self.spared_until() - self.silence())
    }

    /// Until when who was heard again has time for a report.
    fn spared_until(&self) -> i64 {
        let spared = SPARED.as_micros() as i64;
        self.spared_at.map_or(0, |at| at + spared)
    }

    /// When the least that could be sent is tried again, if nothing is sent though something is wanted.
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

    /// Lets the least that could be sent be sent, and awaits a report of it.
    pub(super) fn resume(&mut self, now: i64) {
        self.said.try_more(now);
        self.target = self.target.max(self.resumed_rate());
        self.silences = 0;
        self.resumed_at = Some(now);
        // If it fails, nothing at all is left to go back to.
        self.tried = Some(Raised {
            at: now,
            sending: 0.0,
        });
    }

    /// Whether nothing was heard since the last [`resume`](Self::resume).
    pub(super) fn is_resumed(&self) -> bool {
        self.heard_at < self.resumed_at
    }

    /// What the least takes, and room for it.
    fn resumed_rate(&self) -> f64 {
        (ROOM * self.demand.step as f64).min(self.bounds.1)
    }
}
