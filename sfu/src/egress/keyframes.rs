//! The keyframe requests that one m-line of a viewer may cause.
//!
//! A keyframe is five to ten times as large as another frame, and every viewer of the track pays for it. A viewer that
//! changes its views or sends PLIs all the time would otherwise have the publisher encode keyframes without end.

use std::time::{Duration, Instant};

/// Time after an allowed request in which packets that cannot be decoded ask for the keyframe that is on its way. A PLI
/// in this time may be about a keyframe that came and was lost: one more is allowed.
const MERGED: Duration = Duration::from_millis(300);
/// Sustained interval of the requests that one m-line may cause. A picture on a link that loses keyframes begins
/// again within this time.
const INTERVAL: Duration = Duration::from_secs(2);
/// Requests allowed at once after a quiet time. A layout that changes, a page that is hidden and shown, and a burst of
/// loss take a few each.
const BURST: u32 = 16;

/// The allowance for keyframe requests of one m-line: a token bucket.
#[derive(Debug, Default)]
pub(super) struct KeyframeAllowance {
    /// The time of the last allowed request that was not a second one.
    allowed_at: Option<Instant>,
    /// A PLI was allowed as a second request.
    is_repeated: bool,
    /// The time at which the bucket is full again.
    full_at: Option<Instant>,
}

/// The outcome of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum KeyframeRequest {
    /// It goes to the publisher.
    Allowed,
    /// A keyframe is on its way already.
    Merged,
    /// The m-line caused too many lately.
    Refused,
}

impl KeyframeAllowance {
    /// Judges a request. One that does not go to the publisher must be made again: the next packet that cannot be
    /// decoded, or the viewer's next PLI, does that.
    pub(super) fn request(&mut self, now: Instant, is_pli: bool) -> KeyframeRequest {
        let is_second = self.allowed_at.is_some_and(|at| now < at + MERGED);
        if is_second && (self.is_repeated || !is_pli) {
            return KeyframeRequest::Merged;
        }
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        if full_at > now + INTERVAL * (BURST - 1) {
            return KeyframeRequest::Refused;
        }
        self.is_repeated = is_second;
        if !is_second {
            self.allowed_at = Some(now);
        }
        self.full_at = Some(full_at + INTERVAL);
        KeyframeRequest::Allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keyframes that a viewer causes who asks at every `step` for `length`.
    fn caused(step: Duration, length: Duration) -> u32 {
        let start = Instant::now();
        let mut allowance = KeyframeAllowance::default();
        let (mut at, mut caused) = (Duration::ZERO, 0);
        while at < length {
            caused += u32::from(allowance.request(start + at, false) == KeyframeRequest::Allowed);
            at += step;
        }
        caused
    }

    #[test]
    fn a_viewer_that_asks_all_the_time_causes_one_keyframe_in_two_seconds() {
        let step = Duration::from_millis(20);
        for minutes in [1, 10] {
            let length = Duration::from_secs(60) * minutes;
            // The interval at the end has not passed.
            assert_eq!(caused(step, length), BURST - 1 + 30 * minutes);
        }
    }

    #[test]
    fn a_viewer_that_asks_now_and_then_is_never_refused() {
        for step in [INTERVAL, INTERVAL * 3] {
            assert_eq!(caused(step, step * 100), 100);
        }
    }

    #[test]
    fn what_waits_for_one_keyframe_costs_one_request() {
        let start = Instant::now();
        let mut allowance = KeyframeAllowance::default();
        assert_eq!(allowance.request(start, false), KeyframeRequest::Allowed);
        for packet in 1..300 {
            let at = start + Duration::from_millis(packet);
            assert_eq!(allowance.request(at, false), KeyframeRequest::Merged);
        }
        assert_eq!(allowance.full_at, Some(start + INTERVAL));
    }
}
