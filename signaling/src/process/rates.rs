//! Bounds the lines of one cause, and those of one peer by one cause. Lines left out are counted, and the next line of
//! that cause says how many they were.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A peer's lines of one cause: more than a call with its ups and downs makes.
const PEER: Rate = Rate {
    burst: 20.0,
    per_second: 2.0,
};
/// All lines of one cause. A room of 1,000 that joins at once makes as many of some.
const CAUSE: Rate = Rate {
    burst: 2_000.0,
    per_second: 100.0,
};
/// Peers remembered. Beyond it those that were quiet for a while are forgotten, or all if there are none. The rate of
/// the cause then bounds their further lines.
const PEERS: usize = 10_000;
/// Time after which a peer's bucket is full again.
const REFILL: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(crate) struct Rates {
    seen: Mutex<Seen>,
    left_out: AtomicU64,
}

#[derive(Default)]
struct Seen {
    /// No more than there are lines in the program.
    causes: HashMap<u64, Cause>,
    peers: HashMap<(u64, u64), Bucket>,
}

struct Cause {
    bucket: Bucket,
    left_out: u64,
}

impl Rates {
    /// `cause` and `peer` by any hash. None: there is no line. Else how many of the cause were left out since its
    /// last one.
    pub(crate) fn admit(&self, cause: u64, peer: u64) -> Option<u64> {
        self.admit_at(Instant::now(), cause, peer)
    }

    fn admit_at(&self, now: Instant, cause: u64, peer: u64) -> Option<u64> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Seen { causes, peers } = &mut *seen;
        if peers.len() >= PEERS {
            peers.retain(|_, bucket| now.saturating_duration_since(bucket.filled) < REFILL);
        }
        if peers.len() >= PEERS {
            peers.clear();
        }
        let of_peer = peers.entry((cause, peer));
        let of_peer = of_peer.or_insert_with(|| Bucket::full(now, PEER));
        let of_cause = causes.entry(cause).or_insert_with(|| Cause {
            bucket: Bucket::full(now, CAUSE),
            left_out: 0,
        });
        // A peer that is held takes nothing from the others.
        if of_peer.take(now, PEER) && of_cause.bucket.take(now, CAUSE) {
            return Some(std::mem::take(&mut of_cause.left_out));
        }
        of_cause.left_out += 1;
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Lines of all causes, ever.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }
}

#[derive(Clone, Copy)]
struct Rate {
    burst: f64,
    per_second: f64,
}

struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn full(now: Instant, rate: Rate) -> Self {
        Self {
            tokens: rate.burst,
            filled: now,
        }
    }

    fn take(&mut self, now: Instant, rate: Rate) -> bool {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.tokens = (self.tokens + elapsed * rate.per_second).min(rate.burst);
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of lines, and the sum of the left-out counts in them.
    fn lines(rates: &Rates, events: impl Iterator<Item = (Instant, u64, u64)>) -> (usize, u64) {
        let admitted: Vec<u64> = events
            .filter_map(|(now, cause, peer)| rates.admit_at(now, cause, peer))
            .collect();
        (admitted.len(), admitted.iter().sum())
    }

    #[test]
    fn a_peer_has_a_burst_and_a_rate_and_the_next_line_tells_the_rest() {
        let rates = Rates::default();
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        assert_eq!(lines(&rates, (0..20_000).map(|_| (start, 1, 1))), (20, 0));
        assert_eq!(rates.admit_at(start, 1, 2), Some(19_980), "another peer");
        assert_eq!(rates.admit_at(start, 2, 1), Some(0), "another cause");
        assert_eq!(rates.left_out(), 19_980);
        // A thousand a second for ten seconds.
        let flood = (0..10_000).map(|i| (at(i), 1, 1));
        let (shown, told) = lines(&rates, flood);
        assert!((18..=20).contains(&shown) && told > 9_000, "{shown} {told}");
    }

    #[test]
    fn peers_without_number_are_held_by_their_cause() {
        let rates = Rates::default();
        let start = Instant::now();
        let (shown, _) = lines(&rates, (0..100_000).map(|peer| (start, 1, peer)));
        assert_eq!(shown, 2_000);
        assert!(rates.seen.lock().expect("not poisoned").peers.len() <= PEERS);
        assert_eq!(rates.admit_at(start, 2, 1), Some(0));
        let later = start + Duration::from_secs(1);
        let (shown, told) = lines(&rates, (0..1_000).map(|peer| (later, 1, peer)));
        assert_eq!((shown, told), (100, 98_000));
    }
}
