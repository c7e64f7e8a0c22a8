//! The rate aimed at: up carefully, down at once (libwebrtc's `AimdRateControl` and
//! `LinkCapacityEstimator`).

/// Of what arrives, after a cut.
pub(super) const BETA: f64 = 0.85;
/// Growth a second while the link's end is unknown.
const GROWTH: f64 = 1.08;
/// What arrives may be exceeded by this without proof.
const HEADROOM: f64 = 1.5;
/// And by this where the link was full before: what is beyond that, a probe tells.
const HEADROOM_FULL: f64 = 1.2;
/// Less of the target than this arriving: the application is the limit, and not the link.
const APPLICATION: f64 = 0.75;
/// Bits in a packet.
const PACKET: f64 = 9_600.0;

/// What the rate was last cut for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    Delay,
    Loss,
    /// No feedback came.
    Silence,
}

#[derive(Debug)]
pub(super) struct Aimd {
    /// Bits a second.
    target: f64,
    bounds: (f64, f64),
    /// Rate at which packets arrived when the link was full: mean and deviation.
    capacity: Option<(f64, f64)>,
    updated: i64,
    cause: Option<Cause>,
}

impl Aimd {
    pub(super) fn new(now: i64, start: f64, bounds: (f64, f64)) -> Self {
        Self {
            target: start.clamp(bounds.0, bounds.1),
            bounds,
            capacity: None,
            updated: now,
            cause: None,
        }
    }

    pub(super) fn target(&self) -> f64 {
        self.target
    }

    /// The least and the most.
    pub(super) fn bounds(&self) -> (f64, f64) {
        self.bounds
    }

    /// What the last cut was for, as long as nothing showed that it is over.
    pub(super) fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// What was the limit is not any more.
    pub(super) fn forget_cause(&mut self) {
        self.cause = None;
    }

    /// Cuts to `rate`; never raises.
    pub(super) fn cut(&mut self, now: i64, rate: f64, cause: Cause) {
        self.target = rate.min(self.target).clamp(self.bounds.0, self.bounds.1);
        self.updated = now;
        self.cause = Some(cause);
    }

    /// The link is full and this arrives; what arrives then, on average.
    pub(super) fn note_capacity(&mut self, rate: f64) -> f64 {
        let capacity = match self.capacity {
            Some((mean, deviation)) if (rate - mean).abs() < 3.0 * deviation + 0.2 * mean => {
                let error = rate - mean;
                (
                    mean + 0.2 * error,
                    (deviation + 0.1 * (error.abs() - deviation)).max(0.02 * mean),
                )
            }
            _ => (rate, 0.05 * rate),
        };
        self.capacity = Some(capacity);
        capacity.0
    }

    /// A rate that was seen to arrive.
    pub(super) fn raise(&mut self, now: i64, rate: f64) {
        self.updated = now;
        self.target = self.target.max(rate).clamp(self.bounds.0, self.bounds.1);
        if self
            .capacity
            .is_some_and(|(mean, deviation)| self.target > mean + 3.0 * deviation)
        {
            // The link has become faster: its old end means nothing.
            self.capacity = None;
        }
    }

    /// As [`raise`](Self::raise), and no more: the link was full.
    pub(super) fn raise_to_end(&mut self, now: i64, rate: f64) {
        if rate > self.target {
            self.raise(now, rate);
        }
        self.cause = Some(Cause::Delay);
    }

    /// Lets time pass in which the path was fine, `acknowledged` arrived and the response takes
    /// `response` microseconds.
    pub(super) fn grow(&mut self, now: i64, acknowledged: f64, response: i64) {
        let elapsed = (now - self.updated).clamp(0, 1_000_000) as f64 / 1e6;
        self.updated = now;
        if acknowledged < APPLICATION * self.target {
            return;
        }
        let near = self.capacity.is_some_and(|(mean, deviation)| {
            (self.target - mean).abs() < 3.0 * deviation + 0.15 * mean
        });
        let grown = if near {
            let response = response as f64 / 1e6 + 0.1;
            self.target + (PACKET / response).max(4_000.0) * elapsed
        } else {
            self.target * GROWTH.powf(elapsed)
        };
        let headroom = match self.cause {
            Some(_) => HEADROOM_FULL,
            None => HEADROOM,
        };
        let most = (acknowledged * headroom + 10_000.0).max(self.target);
        self.target = grown.min(most).clamp(self.bounds.0, self.bounds.1);
        if self
            .capacity
            .is_some_and(|(mean, deviation)| acknowledged > mean + 3.0 * deviation)
        {
            self.capacity = None;
        }
    }

    /// Nothing happened, or nothing that allows growth.
    pub(super) fn hold(&mut self, now: i64) {
        self.updated = now;
    }
}
