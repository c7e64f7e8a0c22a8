//! The target rate: up carefully, down at once (libwebrtc's `AimdRateControl` and
//! `LinkCapacityEstimator`).

/// Share of the arriving rate that is used after a cut.
pub(super) const BETA: f64 = 0.85;
/// Growth a second while the link's end is unknown.
const GROWTH: f64 = 1.08;
/// Factor by which the target may exceed the arriving rate without proof.
const HEADROOM: f64 = 1.5;
/// Factor for a link that was full before; a probe tells about rates beyond that.
const HEADROOM_FULL: f64 = 1.2;
/// Arriving share of the target below which the application is the limit, and not the link.
const APPLICATION: f64 = 0.75;
/// Bits in a packet.
const PACKET: f64 = 9_600.0;

/// The cause of the last cut.
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
    /// Arriving rate when the link was full: mean and deviation.
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

    /// The lowest and the highest target.
    pub(super) fn bounds(&self) -> (f64, f64) {
        self.bounds
    }

    /// The cause of the last cut, until something shows that it is over.
    pub(super) fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// Forgets the cause, as it is over.
    pub(super) fn forget_cause(&mut self) {
        self.cause = None;
    }

    /// Cuts to `rate`; never raises.
    pub(super) fn cut(&mut self, now: i64, rate: f64, cause: Cause) {
        self.target = rate.min(self.target).clamp(self.bounds.0, self.bounds.1);
        self.updated = now;
        self.cause = Some(cause);
    }

    /// Records the arriving rate of a full link, and returns its average.
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

    /// Raises the target to a rate that was seen to arrive.
    pub(super) fn raise(&mut self, now: i64, rate: f64) {
        self.updated = now;
        self.target = self.target.max(rate).clamp(self.bounds.0, self.bounds.1);
        if self
            .capacity
            .is_some_and(|(mean, deviation)| self.target > mean + 3.0 * deviation)
        {
            // The link has become faster: its old capacity is void.
            self.capacity = None;
        }
    }

    /// Raises the target as [`raise`](Self::raise) does, but keeps the capacity: the link was full.
    pub(super) fn raise_to_end(&mut self, now: i64, rate: f64) {
        if rate > self.target {
            self.raise(now, rate);
        }
        self.cause = Some(Cause::Delay);
    }

    /// Lets the target grow for a time in which the path was fine; `acknowledged` arrived, and the
    /// response takes `response` microseconds.
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

    /// Lets time pass without growth.
    pub(super) fn hold(&mut self, now: i64) {
        self.updated = now;
    }
}
