//! Bounds how often a publisher is asked to offer again.

use std::time::{Duration, Instant};

/// After the first time. A publisher follows within a second, and what it sends then is another codec.
const FIRST: Duration = Duration::from_secs(10);
/// Twice as long each time up to this: who does not follow will hardly follow later.
const MOST: Duration = Duration::from_secs(160);

/// The requests that one publisher was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::worker) struct Asks {
    next: Option<Instant>,
    wait: Duration,
}

impl Asks {
    /// Whether it may be asked now, which then counts; and when it may the next time.
    pub(in crate::worker) fn ask(&mut self, now: Instant) -> (bool, Instant) {
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
