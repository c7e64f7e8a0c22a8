//! Without transport-wide feedback: the receiver's own estimate (REMB, draft-alvestrand-rmcat-remb-03)
//! and what its reports lose (draft-ietf-rmcat-gcc-02 section 6).

/// After this time without transport-wide feedback the rest is listened to, in microseconds.
const SILENCE_US: i64 = 2_000_000;
/// Between changes for losses.
const INTERVAL_US: i64 = 500_000;

#[derive(Debug, Default)]
pub(super) struct Fallback {
    remb: Option<f64>,
    /// What the losses allow.
    allowed: Option<f64>,
    changed: i64,
    loss: f64,
}

impl Fallback {
    /// Whether it counts: no transport-wide feedback came for long.
    pub(super) fn counts(now: i64, last_feedback: Option<i64>) -> bool {
        last_feedback.is_none_or(|at| now - at > SILENCE_US)
    }

    pub(super) fn remb(&mut self, bitrate: f64) {
        self.remb = Some(bitrate);
    }

    /// A share lost of what was sent.
    pub(super) fn report(&mut self, now: i64, loss: f64) {
        self.loss += 0.3 * (loss - self.loss);
        let Some(remb) = self.remb else { return };
        let allowed = self.allowed.unwrap_or(remb).min(remb);
        if self.allowed.is_some() && now - self.changed < INTERVAL_US {
            return;
        }
        self.changed = now;
        self.allowed = Some(if loss > 0.1 {
            allowed * (1.0 - 0.5 * loss)
        } else if loss < 0.02 {
            allowed * 1.08
        } else {
            allowed
        });
    }

    pub(super) fn loss(&self) -> f64 {
        self.loss
    }

    /// Bits a second, and whether losses are the limit; none if the receiver never said.
    pub(super) fn bitrate(&self) -> Option<(f64, bool)> {
        let remb = self.remb?;
        let allowed = self.allowed.unwrap_or(remb);
        Some((remb.min(allowed), allowed < 0.95 * remb))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_receiver_says_is_cut_by_what_it_loses() {
        let mut fallback = Fallback::default();
        fallback.report(0, 0.5);
        assert_eq!(fallback.bitrate(), None);
        fallback.remb(1e6);
        assert_eq!(fallback.bitrate(), Some((1e6, false)));
        for at in 1..5 {
            fallback.report(at * 1_000_000, 0.2);
        }
        let (bitrate, lossy) = fallback.bitrate().unwrap();
        assert!((0.6e6..0.7e6).contains(&bitrate) && lossy, "{bitrate}");
        for at in 5..15 {
            fallback.report(at * 1_000_000, 0.0);
        }
        assert_eq!(fallback.bitrate(), Some((1e6, false)));
        assert!(Fallback::counts(0, None));
        assert!(!Fallback::counts(1_000_000, Some(0)));
        assert!(Fallback::counts(3_000_000, Some(0)));
    }
}
