//! The keyframe requests that one m-line of a viewer may cause.
//!
//! A keyframe is five to ten times as large as another frame, and every viewer of the track pays for it. A viewer that
//! changes its views or sends PLIs all the time would otherwise have the publisher encode keyframes without end.

use std::time::{Duration, Instant};

use crate::track::keyframe::INTERVAL as MERGED;

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
    /// A PLI has been allowed since, as a second request.
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
    ///
    /// For as long as the track merges requests for a layer, packets ask for the keyframe that is on its way. A PLI may
    /// be about a keyframe that has come and was lost: one is allowed in this time.
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

    /// The allowed requests of a viewer that asks at every `step` for `length`.
    fn allowed(step: Duration, length: Duration, is_pli: bool) -> u32 {
        let start = Instant::now();
        let mut allowance = KeyframeAllowance::default();
        let (mut at, mut allowed) = (Duration::ZERO, 0);
        while at < length {
            let request = allowance.request(start + at, is_pli);
            allowed += u32::from(request == KeyframeRequest::Allowed);
            at += step;
        }
        allowed
    }

    #[test]
    fn a_viewer_that_asks_all_the_time_causes_one_keyframe_in_two_seconds() {
        let step = Duration::from_millis(20);
        for (minutes, is_pli) in [(1, false), (1, true), (10, false), (10, true)] {
            let length = Duration::from_secs(60) * minutes;
            let most = BURST + 30 * minutes;
            let allowed = allowed(step, length, is_pli);
            assert!((most - 2..=most).contains(&allowed), "{allowed} of {most}");
        }
    }

    #[test]
    fn a_viewer_that_asks_now_and_then_is_never_refused() {
        for step in [INTERVAL, INTERVAL * 3] {
            assert_eq!(allowed(step, step * 100, true), 100);
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
        let again = start + MERGED;
        assert_eq!(allowance.request(again, false), KeyframeRequest::Allowed);
    }

    #[test]
    fn a_pli_may_ask_once_more_and_pays_for_it() {
        let start = Instant::now();
        let soon = start + MERGED / 2;
        let mut allowance = KeyframeAllowance::default();
        for (at, expected) in [
            (start, KeyframeRequest::Allowed),
            (soon, KeyframeRequest::Allowed),
            (soon, KeyframeRequest::Merged),
            (start + MERGED, KeyframeRequest::Allowed),
        ] {
            assert_eq!(allowance.request(at, true), expected);
        }
        assert_eq!(allowance.full_at, Some(start + INTERVAL * 3));
    }
}
