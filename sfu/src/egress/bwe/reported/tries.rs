//! When more is sent to see whether it arrives, and when less.

use super::signs::Window;
use super::{LimitedBy, ReportedEstimator};

/// What is tried is this much more than needed: decisions ask for room to spare, and rates of layers swing.
pub(super) const ROOM: f64 = 1.6;
/// By how much a good report raises what is tried, as long as nothing failed: from layer to layer it is three
/// to four times.
const FREE: f64 = 3.5;
/// And where reports are rare ([`RARE_US`]): waiting for three of them takes too long.
const FREE_RARE: f64 = 12.0;
pub(super) const RARE_US: i64 = 2_000_000;
/// After a cut, before more is tried than arrived then...
pub(super) const PAUSE_US: i64 = 3_000_000;
/// ...and after one that followed a try by less than this, three times as long each time...
pub(super) const PROOF_US: i64 = 8_000_000;
const PAUSE_AGAIN_US: i64 = 8_000_000;
/// ...up to this.
const PAUSE_MAX_US: i64 = 60_000_000;
/// After a cut, before what arrived then is sent again: the queue must be empty.
pub(super) const DRAIN_US: i64 = 1_500_000;
/// What is decided upon fits with so much room at least.
const FITS: f64 = 1.3;
/// What was sent before a try was carried, and somewhat more.
const CARRIED: f64 = 1.1;
/// What arrived while the link was full is used to this share, and exceeded by so much it was not the end.
const USED: f64 = 0.95;
const EXCEEDED: f64 = 1.15;
/// Of what is meant to be sent: a layer begins, with a keyframe.
pub(super) const RISES: f64 = 1.3;
/// How much of what was tried must have been sent when its report was written: a layer begins with a keyframe,
/// and a queue takes some time to fill.
const TRIED_US: i64 = 600_000;
/// A try of which nothing came in so long, since its layer did not, was none.
const IDLE_US: i64 = 3_000_000;
/// Of what arrived, after a cut.
pub(super) const BETA: f64 = 0.85;

/// More is tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raised {
    pub(super) at: i64,
    /// What was sent then.
    pub(super) sending: f64,
}

impl ReportedEstimator {
    /// All is well of what was sent up to `until`.
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

    /// Tries more, if more is wanted and it is time to.
    pub(super) fn consider(&mut self, now: i64, arriving: f64, sending: f64) {
        let (allocated, desired) = (self.demand.allocated as f64, self.demand.desired as f64);
        if desired <= 1.02 * allocated || sending < 0.7 * allocated {
            return;
        }
        let step = self.demand.step as f64;
        let rate = match self.capacity {
            // It fits into what the target is already.
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

    /// As much of a rate as may be tried beside what the receiver said: one layer beyond it, if any. What is
    /// beyond it is tried then.
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

    /// Nothing more is believed than one layer beyond what the receiver said, and what is sent already: the
    /// target may be of before it said anything.
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

    /// Sends less, for of what was sent `arriving` came at best.
    pub(super) fn cut(&mut self, now: i64, arriving: f64, cause: LimitedBy) {
        let tried = self.tried.filter(|tried| now - tried.at < PROOF_US);
        // What arrives of a try is measured over the time before it, too.
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
        // The receiver knows of the link what came over it: its own estimate may be far below what was seen
        // to arrive when it was full.
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
