//! Keyframe requests to a publisher: the wishes of many viewers become one PLI (RFC 4585 section
//! 6.3.1), no more often than an encoder can follow.
//!
//! The relay keeps no picture that a late viewer could begin with. An encoder makes a keyframe only of the next frame
//! that its source delivers. A source that delivers none, like a canvas that is not painted again, cannot answer, and a
//! late viewer sees nothing until it does.

use std::time::{Duration, Instant};

/// Interval of requests for one layer. A keyframe costs the publisher five to ten times a delta frame; a 1 Mbit/s
/// uplink still carries three a second when a room full of people joins.
pub(crate) const INTERVAL: Duration = Duration::from_millis(300);

/// The keyframe requests of one layer.
#[derive(Debug, Default)]
pub(crate) struct KeyframeRequests {
    asked_at: Option<Instant>,
    /// A request came too early after the last one and waits.
    deferred: bool,
    sent: u64,
}

impl KeyframeRequests {
    /// Records that a viewer needs a keyframe. True if the publisher is to be asked now.
    pub(crate) fn request(&mut self, now: Instant) -> bool {
        if self.asked_at.is_some_and(|asked| now < asked + INTERVAL) {
            self.deferred = true;
            return false;
        }
        self.asked_at = Some(now);
        self.deferred = false;
        self.sent += 1;
        true
    }

    /// Records that everybody needs a keyframe, unless one comes. The publisher is asked when requests are next sent.
    pub(super) fn want(&mut self, now: Instant) {
        self.asked_at.get_or_insert(now);
        self.deferred = true;
    }

    /// Records that a keyframe came: nobody waits for one any more.
    pub(crate) fn received(&mut self) {
        self.deferred = false;
    }

    /// The time at which a deferred request is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.asked_at
            .filter(|_| self.deferred)
            .map(|asked| asked + INTERVAL)
    }

    /// True if a deferred request is to be sent now.
    pub(crate) fn poll(&mut self, now: Instant) -> bool {
        self.poll_timeout().is_some_and(|at| at <= now) && self.request(now)
    }

    /// Requests sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_wishes_become_one_request_and_one_later() {
        let start = Instant::now();
        let mut requests = KeyframeRequests::default();
        assert!(requests.request(start));
        for _ in 0..100 {
            assert!(!requests.request(start + Duration::from_millis(10)));
        }
        assert!(!requests.poll(start + Duration::from_millis(299)));
        assert!(requests.poll(start + INTERVAL));
        assert_eq!(requests.poll_timeout(), None);
        assert_eq!(requests.sent(), 2);
    }

    #[test]
    fn a_wish_of_nobody_in_particular_is_asked_once() {
        let start = Instant::now();
        let mut requests = KeyframeRequests::default();
        requests.want(start);
        assert!(!requests.poll(start));
        assert!(requests.poll(start + INTERVAL));
        let later = start + 10 * INTERVAL;
        requests.want(later);
        assert!(requests.poll(later));
        requests.want(later);
        requests.received();
        assert!(!requests.poll(later + INTERVAL));
        assert_eq!(requests.sent(), 2);
    }

    #[test]
    fn a_keyframe_answers_the_deferred_wish() {
        let start = Instant::now();
        let mut requests = KeyframeRequests::default();
        assert!(requests.request(start));
        assert!(!requests.request(start));
        requests.received();
        assert!(!requests.poll(start + INTERVAL));
    }
}
