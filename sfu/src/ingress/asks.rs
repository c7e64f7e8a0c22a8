//! Bounds how often a publisher is asked to offer again.

use std::time::{Duration, Instant};

/// Pause after the first request. A publisher follows within a second, and then sends another codec.
const FIRST: Duration = Duration::from_secs(10);
/// Upper bound of the pause, which doubles each time: a publisher that does not follow will hardly follow later.
const MOST: Duration = Duration::from_secs(160);

/// Spacing of the requests to one publisher.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asks {
    next: Option<Instant>,
    wait: Duration,
}

impl Asks {
    /// Whether the publisher may be asked now, which then counts as done; and the time of the next request.
    pub(crate) fn ask(&mut self, now: Instant) -> (bool, Instant) {
        match self.next {
            Some(next) if now < next => return (false, next),
            Some(next) if now < next + MOST => self.wait = (self.wait * 2).min(MOST),
            _ => self.wait = FIRST,
        }
        let next = now + self.wait;
        self.next = Some(next);
        (true, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publisher_is_asked_ever_more_rarely() {
        let start = Instant::now();
        let mut asks = Asks::default();
        let seconds = (0..1_000).filter(|at| asks.ask(start + Duration::from_secs(*at)).0);
        let asked: Vec<u64> = seconds.collect();
        assert_eq!(asked, [0, 10, 30, 70, 150, 310, 470, 630, 790, 950]);
        // Forgotten after a while.
        let later = start + Duration::from_secs(2_000);
        assert_eq!(asks.ask(later), (true, later + FIRST));
        assert_eq!(asks.ask(later), (false, later + FIRST));
    }
}
