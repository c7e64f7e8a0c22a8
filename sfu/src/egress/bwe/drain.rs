//! Empties a queue of the sender's own: the rate is cut, and less is sent until the queue is gone.

use super::BandwidthEstimator;
use super::acknowledged::{LONG_US, SHORT_US};
use super::aimd::{BETA, Cause};
use super::trial::FORGOTTEN_US;

/// A queue shorter than this counts as empty, in microseconds.
const EMPTY_US: f64 = 12_000.0;
/// Share of the arrivals before a cut below which the rate sent must be for a queue to tell whose it is.
const LESS: f64 = 0.92;
/// Share of the present arrivals that the rate sent must not exceed for that: otherwise the queue grows by it.
const MORE: f64 = 1.05;
/// Extension of the window in which arrivals are counted, as a multiple of the path's noise.
const TURNS: f64 = 6.0;
/// Ratio of the rate of a short time to that of a longer one above which it follows a halt.
pub(super) const EVEN: f64 = 1.15;
/// Growth of a queue that should empty, in seconds a second, above which the link became slower still.
const OURS: f64 = 0.4;
/// Length below which a queue may be none of the link's, in microseconds.
const DOUBTED_US: i64 = 60_000;
/// Ratio of the rate carried just before to the arriving one that such a doubt needs.
const SPARE: f64 = 1.08;
/// Least time between two such doubts, in microseconds.
const AGAIN_US: i64 = 3_000_000;

/// The queue is being emptied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    pub(super) since: i64,
    /// The time of the first cut for it.
    pub(super) began: i64,
    pub(super) until: i64,
    /// Length of the queue at the beginning, in microseconds.
    pub(super) peak: i64,
    /// The number of cuts made for it.
    pub(super) cuts: u32,
    /// Bits a second that arrived before, and whether that is sure.
    pub(super) arrived: f64,
    pub(super) is_sure: bool,
    /// The target before, bits a second.
    pub(super) before: f64,
    /// All bytes sent until the beginning.
    pub(super) sent: u64,
    pub(super) purpose: Purpose,
}

/// The reason to empty a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// The link carries less than was sent.
    Cut,
    /// Most likely the link did not make it.
    Doubt,
    /// A test whether a queue attributed to another flow is the sender's after all.
    Trial,
}

impl Drain {
    /// Whether the rate sent since is really below the rate that arrived before: only then does a queue that stays
    /// belong to another flow.
    ///
    /// `sent`: bytes in all; `arriving`: bits a second lately. A queue grows by the bytes that are sent and do not
    /// arrive.
    fn is_tried(&self, now: i64, sent: u64, arriving: f64) -> bool {
        let sent = (sent - self.sent) as f64 * 8e6 / (now - self.since).max(1) as f64;
        self.is_sure && sent < LESS * self.arrived && sent < MORE * arriving
    }
}

impl BandwidthEstimator {
    /// Cuts for a queue, unless it is known to be another flow's.
    pub(super) fn overused(&mut self, now: i64) {
        self.aimd.hold(now);
        // A cut shows only in packets sent after it.
        let newest = self.history.newest().unwrap_or(0);
        if self.cut_at.is_some_and(|at| newest < at + 20_000) {
            return;
        }
        let arriving = self.arriving();
        if let Some(drain) = self.drain.filter(|drain| drain.purpose != Purpose::Trial) {
            if self.delay.standing() <= drain.peak + drain.peak / 8 {
                return;
            }
            if drain.is_tried(now, self.sent, arriving)
                && (drain.cuts >= 2 || self.delay.slope() < OURS)
            {
                // Less is sent than arrived, and the queue still grows: another flow fills it.
                self.disown(now);
                if drain.purpose == Purpose::Doubt {
                    // Or the link became slower: what arrived before says little then.
                    self.trial.try_soon(now);
                }
                return;
            }
        }
        let (arriving, is_sure) = self.arriving_now();
        self.own_excess();
        if self.delay.is_contested() {
            // The arriving rate says little about the sender's share: it is the rate sent. The last probe tells: in a
            // full queue each flow gets the share that it puts in, and sending less than that leaves the queue as full.
            let most = self.aimd.target().max(arriving);
            let rate = (most * BETA).max(self.floor);
            if rate < self.aimd.target() {
                self.cut(now, rate, Cause::Delay);
            }
        } else {
            let cuts = self.drain.map_or(1, |drain| drain.cuts + 1);
            let chain = self.drain.filter(|drain| drain.purpose != Purpose::Trial);
            let before = chain.map_or(self.aimd.target(), |drain| drain.before);
            let (purpose, rate) = match self.doubted(now, arriving) {
                Some(rate) => (Purpose::Doubt, rate),
                None => {
                    self.taken_back.cut(now);
                    let _ = self.aimd.note_capacity(arriving);
                    (Purpose::Cut, arriving * BETA)
                }
            };
            self.cut(now, rate, Cause::Delay);
            let peak = self.delay.standing();
            self.drain = Some(Drain {
                since: now,
                began: chain
                    .filter(|drain| drain.purpose == Purpose::Cut)
                    .map_or(now, |drain| drain.began),
                cuts,
                until: now + 2 * peak + 2 * self.rtt_us() + 300_000,
                peak,
                arrived: arriving,
                is_sure,
                before,
                sent: self.sent,
                purpose,
            });
        }
    }

    /// The rate to keep if a queue is most likely none of the link's: it is short, and the link carried more a moment
    /// ago than arrives now. A receiver that is late for lack of processor time looks so, and so does a burst. Only the
    /// queue is emptied then. If it does not empty or comes again soon, the rate is cut in earnest.
    fn doubted(&mut self, now: i64, arriving: f64) -> Option<f64> {
        let slow = self.acknowledged.rate(LONG_US)?.0.max(arriving);
        let rival = now - self.trial.at < FORGOTTEN_US;
        let again = self.doubted_at.is_some_and(|at| now - at < AGAIN_US);
        let carried = self.confirmed.highest().min(self.aimd.target());
        let doubted = self.drain.is_none()
            && self.delay.ours() < DOUBTED_US
            && !rival
            && !again
            && carried > SPARE * slow;
        doubted.then(|| {
            self.doubted_at = Some(now);
            carried
        })
    }

    /// Ends the drain if the queue is empty, or does not empty in time.
    pub(super) fn end_drain(&mut self, now: i64) {
        let Some(drain) = self.drain else { return };
        if drain.purpose == Purpose::Trial {
            return self.end_trial(now, drain);
        }
        let ours = self.delay.ours() as f64;
        let arriving = self.arriving();
        let seen = self
            .history
            .newest()
            .is_some_and(|newest| newest > drain.since);
        if seen && ours < EMPTY_US + 0.5 * self.delay.noise() {
            self.drain = None;
            self.take_back(now, drain);
        } else if now >= drain.until {
            self.drain = None;
            if seen && ours > 0.5 * drain.peak as f64 && drain.is_tried(now, self.sent, arriving) {
                self.find_foreign(now, drain.purpose);
            }
        }
    }

    /// Attributes a queue that stays though less is sent. After a doubt it only counts as a longer path: if it is
    /// another flow's, it grows further, and shows that again.
    fn find_foreign(&mut self, now: i64, purpose: Purpose) {
        if purpose == Purpose::Doubt {
            self.drain = None;
            self.delay.set_apart();
        } else {
            self.disown(now);
        }
    }

    /// The rate at which packets arrive while the link is full, bits a second. They arrive back to back then, so that a
    /// short time tells it, unless the path delivers in turns: a single turn has no rate.
    ///
    /// The second value tells whether the rate is sure: after a halt packets arrive faster than the link for a moment.
    pub(super) fn arriving_now(&self) -> (f64, bool) {
        let window = SHORT_US + (TURNS * self.delay.noise()) as i64;
        let lately = self.acknowledged.rate(window.min(LONG_US));
        let lately = lately.filter(|(_, packets)| *packets >= 5);
        match (lately, self.acknowledged.rate(LONG_US)) {
            (Some((rate, _)), Some((slow, _))) => (rate, rate <= EVEN * slow),
            (Some((rate, _)), None) | (None, Some((rate, _))) => (rate, false),
            (None, None) => (self.aimd.target(), false),
        }
    }
}
