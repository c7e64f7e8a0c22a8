//! The times at which a higher rate is tried, and cuts.

use super::signs::Window;
use super::{LimitedBy, ReportedEstimator};

/// Ratio of a tried rate to the needed one: decisions ask for room to spare, and rates of layers swing.
pub(super) const ROOM: f64 = 1.6;
/// Factor by which a good report raises the tried rate, as long as nothing failed: from layer to layer it is three to
/// four times.
const FREE: f64 = 3.5;
/// Factor where reports are rare ([`RARE_US`]): waiting for three of them takes too long.
const FREE_RARE: f64 = 12.0;
pub(super) const RARE_US: i64 = 2_000_000;
/// Pause after a cut before a higher rate is tried than arrived then.
pub(super) const PAUSE_US: i64 = 3_000_000;
/// Time after a try within which a cut makes the pause three times as long.
pub(super) const PROOF_US: i64 = 8_000_000;
const PAUSE_AGAIN_US: i64 = 8_000_000;
/// Longest pause.
const PAUSE_MAX_US: i64 = 60_000_000;
/// Time after a cut before the rate that arrived then is sent again: the queue must be empty.
pub(super) const DRAIN_US: i64 = 1_500_000;
/// Least room with which a decided layer fits.
const FITS: f64 = 1.3;
/// Ratio to the rate sent before a try that was certainly carried.
const CARRIED: f64 = 1.1;
/// Share of the arriving rate of a full link that is used; and the ratio above which that was not its capacity.
const USED: f64 = 0.95;
const EXCEEDED: f64 = 1.15;
/// Ratio of the rates meant to be sent at which a layer begins, with a keyframe.
pub(super) const RISES: f64 = 1.3;
/// Time for which a tried rate must have been sent when its report was written: a layer begins with a keyframe, and a
/// queue takes some time to fill.
const TRIED_US: i64 = 600_000;
/// Time without packets of the tried layer after which the try does not count.
const IDLE_US: i64 = 3_000_000;
/// Share of the arriving rate that is used after a cut.
pub(super) const BETA: f64 = 0.85;

/// A higher rate is tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raised {
    pub(super) at: i64,
    /// The rate sent then.
    pub(super) sending: f64,
}

impl ReportedEstimator {
    /// Records that packets sent up to `until` got through well.
    pub(super) fn good(&mut self, now: i64, until: i64, sending: f64) {
        let arriving = self.streams.arriving(now).unwrap_or(sending);
        let sent = arriving.min(sending);
        self.target = self.target.max(sent).min(self.bounds.1);
        if self.cut_at.is_some_and(|at| now < at + DRAIN_US) {
            return;
        }
        match self.capacity {
            Some(capacity) if sent > EXCEEDED * capacity => {
                (self.capacity, self.cause, self.pause) = (None, None, 0);
            }
            Some(capacity) if USED * capacity > self.target => {
                let rate = self.within_said(now, USED * capacity);
                if rate > self.target {
                    self.target = rate;
                    self.tried = Some(Raised { at: now, sending });
                }
            }
            _ => {}
        }
        if let Some(raised) = self.raised {
            let grown = sending > 1.15 * raised.sending && until >= raised.at + TRIED_US;
            if !grown && now < raised.at + IDLE_US.max(2 * self.spacing) {
                return;
            }
            self.raised = None;
        }
        self.consider(now, arriving, sending);
    }

    /// Tries a higher rate, if more is wanted and it is time.
    pub(super) fn consider(&mut self, now: i64, arriving: f64, sending: f64) {
        let (allocated, desired) = (self.demand.allocated as f64, self.demand.desired as f64);
        if desired <= 1.02 * allocated || sending < 0.7 * allocated {
            return;
        }
        let step = self.demand.step as f64;
        let rate = match self.capacity {
            // The layer already fits into the target.
            Some(capacity) if FITS * step < USED * capacity => return,
            Some(_) if now < self.hold_until => return,
            Some(_) => ROOM * step,
            None if self.spacing > RARE_US => (ROOM * step).max(FREE_RARE * arriving),
            None => (ROOM * step).max(FREE * arriving),
        };
        let most = self.said.limit(now).filter(|_| self.whole);
        let most = most.unwrap_or(f64::INFINITY);
        let rate = rate.min(ROOM * desired).min(most).min(self.bounds.1);
        if rate <= 1.02 * self.target {
            return;
        }
        let rate = self.within_said(now, rate);
        if rate > 1.02 * self.target {
            self.target = rate;
            self.raised = Some(Raised { at: now, sending });
            self.tried = self.raised;
        }
    }

    /// The part of a rate that may be tried beside the receiver's estimate: one layer beyond it, if any. A rate beyond
    /// it counts as a try.
    pub(super) fn within_said(&mut self, now: i64, rate: f64) -> f64 {
        let stated = self.said.stated(now).filter(|_| self.whole);
        let Some(stated) = stated.map(|stated| stated + self.beside) else {
            return rate;
        };
        let layer = ROOM * self.demand.step as f64;
        if rate <= stated || layer <= stated {
            return rate.min(stated);
        }
        if !self.said.may_try(now) {
            return stated;
        }
        self.said.try_more(now);
        rate.min(layer)
    }

    /// Bounds the target to one layer beyond the receiver's estimate, or to the rate sent already: the target may be
    /// from before the first estimate.
    pub(super) fn bound(&mut self, now: i64, sending: f64) {
        let Some(stated) = self.said.stated(now).map(|stated| stated + self.beside) else {
            return;
        };
        let most = (ROOM * self.demand.step as f64).max(ROOM * sending);
        self.target = self.target.min(most.max(stated)).max(self.bounds.0);
        if self.target > stated && self.said.tried_at().is_none() {
            self.said.try_more(now);
        }
    }

    /// Cuts the target: `arriving` came at best of the rate sent.
    pub(super) fn cut(&mut self, now: i64, arriving: f64, cause: LimitedBy) {
        let tried = self.tried.filter(|tried| now - tried.at < PROOF_US);
        // The arriving rate of a try is also measured over the time before it.
        let before = tried.map_or(0.0, |tried| CARRIED * tried.sending);
        let rate = match cause {
            LimitedBy::Remb => arriving,
            _ => BETA * arriving,
        };
        let rate = rate.max(before);
        self.target = rate.min(self.target).clamp(self.bounds.0, self.bounds.1);
        self.pause = match tried {
            Some(_) => (3 * self.pause).clamp(PAUSE_AGAIN_US, PAUSE_MAX_US),
            None => self.pause.max(PAUSE_US),
        };
        self.hold_until = now + self.pause;
        // The receiver knows only the packets that came: its own estimate may be far below the rate that arrived when
        // the link was full.
        let measured = matches!(self.cause, Some(LimitedBy::Delay | LimitedBy::Loss));
        let known = self
            .capacity
            .filter(|_| cause == LimitedBy::Remb && measured);
        self.capacity = Some(arriving.max(before).max(known.unwrap_or(0.0)));
        self.cause = Some(cause);
        self.cut_at = Some(now);
        self.cut_for = (cause == LimitedBy::Delay).then_some(self.queue);
        self.raised = None;
        self.tried = None;
        self.suspicious = None;
        self.trial = None;
        self.window = Window {
            since: Some(now),
            ..Window::default()
        };
    }
}
