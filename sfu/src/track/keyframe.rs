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

/// Requests at most for a keyframe that everybody needs. Until a client that is back elsewhere has proved to be there, requests
/// go to where it was. After three seconds viewers ask.
const TRIES: u8 = 10;

/// The keyframe requests of one layer.
#[derive(Debug, Default)]
pub(crate) struct KeyframeRequests {
    asked_at: Option<Instant>,
    /// A request came too early after the last one and waits.
    deferred: bool,
    /// Requests left for a keyframe that everybody needs.
    tries: u8,
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

    /// Records that everybody needs a keyframe. The publisher is asked when requests are next sent, and again until one
    /// comes.
    pub(super) fn want(&mut self, now: Instant) {
        self.asked_at.get_or_insert(now);
        self.tries = TRIES;
    }

    /// Records that a keyframe came: nobody waits for one any more.
    pub(crate) fn received(&mut self) {
        self.deferred = false;
        self.tries = 0;
    }

    /// The time at which a request is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.asked_at
            .filter(|_| self.deferred || self.tries > 0)
            .map(|asked| asked + INTERVAL)
    }

    /// True if a request is to be sent now.
    pub(crate) fn poll(&mut self, now: Instant) -> bool {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return false;
        }
        self.tries = self.tries.saturating_sub(1);
        self.request(now)
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
    fn what_everybody_needs_is_asked_for_until_it_comes() {
        let start = Instant::now();
        let mut requests = KeyframeRequests::default();
        requests.want(start);
        assert!(!requests.poll(start));
        assert!(requests.poll(start + INTERVAL));
        assert!(requests.poll(start + 2 * INTERVAL));
        requests.received();
        assert_eq!(requests.poll_timeout(), None);
        let later = start + 10 * INTERVAL;
        requests.want(later);
        assert_eq!(
            (0..100)
                .filter(|n| requests.poll(later + *n * INTERVAL))
                .count(),
            10
        );
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
