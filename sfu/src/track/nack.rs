//! Which packets of a layer are missing, and when to ask for them again (RFC 4585 section 6.2.1).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Missing packets remembered, at most. A gap beyond this is not loss but a new beginning: only a keyframe helps.
pub(super) const MISSING: usize = 256;
/// Requests for one packet. At 10 the frame is older than any receiver waits for.
const TRIES: u8 = 10;
/// Delay before a packet is asked for: neighbours overtake each other by less.
const REORDER: Duration = Duration::from_millis(5);
/// Interval of requests for the same packet, when the round trip is shorter or unknown.
const RETRY: Duration = Duration::from_millis(50);

/// Upper bound of that interval. Where requests themselves are lost, the round trip looks longer than it is.
const RETRY_MAX: Duration = Duration::from_millis(500);

/// The missing packets of one layer, by unwrapped sequence number.
#[derive(Debug, Default)]
pub(crate) struct NackGenerator {
    highest: Option<u64>,
    missing: BTreeMap<u64, Missing>,
    next_at: Option<Instant>,
    /// Time from a first request to its answer, smoothed.
    rtt: Option<Duration>,
}

#[derive(Debug)]
struct Missing {
    ask_at: Instant,
    asked_at: Option<Instant>,
    tries: u8,
}

/// The place of a packet among earlier ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arrival {
    /// Ahead of all earlier packets.
    New,
    /// A packet that was missing.
    Recovered,
    /// Seen before, or too old to tell.
    Duplicate,
    /// Ahead by more than can be repaired; everything missing was given up.
    Jump,
}

impl NackGenerator {
    /// Notes a packet.
    pub(crate) fn receive(&mut self, now: Instant, sequence: u64) -> Arrival {
        let Some(highest) = self.highest else {
            self.highest = Some(sequence);
            return Arrival::New;
        };
        if sequence <= highest {
            let Some(missing) = self.missing.remove(&sequence) else {
                return Arrival::Duplicate;
            };
            if let Some(asked_at) = missing.asked_at {
                self.answered(now.saturating_duration_since(asked_at));
            }
            return Arrival::Recovered;
        }
        self.highest = Some(sequence);
        let gap = sequence - highest - 1;
        if gap > MISSING as u64 {
            self.give_up();
            return Arrival::Jump;
        }
        if gap > 0 {
            let ask_at = now + REORDER;
            self.missing
                .extend((highest + 1..sequence).map(|missing| (missing, Missing::new(ask_at))));
            while self.missing.len() > MISSING {
                self.missing.pop_first();
            }
            self.next_at = Some(self.next_at.map_or(ask_at, |at| at.min(ask_at)));
        }
        Arrival::New
    }

    /// The time at which [`poll`](Self::poll) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.next_at
    }

    /// Stops asking for any missing packet.
    pub(crate) fn give_up(&mut self) {
        self.missing.clear();
        self.next_at = None;
    }

    /// Measures the round trip. For a publisher that receives nothing this is the only way: it has no sender reports of
    /// the server to answer.
    fn answered(&mut self, took: Duration) {
        self.rtt = Some(self.rtt.map_or(took, |before| (before * 7 + took) / 8));
    }

    /// Appends the sequence numbers to ask for now.
    pub(crate) fn poll(&mut self, now: Instant, rtt: Option<Duration>, ask: &mut Vec<u16>) {
        if self.next_at.is_none_or(|at| at > now) {
            return;
        }
        let again = now + rtt.or(self.rtt).unwrap_or(RETRY).clamp(RETRY, RETRY_MAX);
        self.missing.retain(|sequence, missing| {
            if missing.ask_at > now {
                return true;
            }
            if missing.tries == TRIES {
                return false;
            }
            missing.tries += 1;
            missing.asked_at.get_or_insert(now);
            missing.ask_at = again;
            ask.push(*sequence as u16);
            true
        });
        self.next_at = self.missing.values().map(|missing| missing.ask_at).min();
    }
}

impl Missing {
    fn new(ask_at: Instant) -> Self {
        Self {
            ask_at,
            asked_at: None,
            tries: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(nack: &mut NackGenerator, now: Instant) -> Vec<u16> {
        let mut ask = Vec::new();
        nack.poll(now, None, &mut ask);
        ask
    }

    #[test]
    fn asks_for_a_gap_after_the_reordering_allowance_and_again_after_a_round_trip() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut nack = NackGenerator::default();
        assert_eq!(nack.receive(at(0), 100), Arrival::New);
        assert_eq!(nack.receive(at(0), 104), Arrival::New);
        assert_eq!(asked(&mut nack, at(4)), Vec::<u16>::new());
        assert_eq!(nack.receive(at(4), 102), Arrival::Recovered);
        assert_eq!(asked(&mut nack, at(5)), vec![101, 103]);
        assert_eq!(asked(&mut nack, at(30)), Vec::<u16>::new());
        assert_eq!(nack.receive(at(31), 101), Arrival::Recovered);
        assert_eq!(nack.receive(at(31), 101), Arrival::Duplicate);
        assert_eq!(asked(&mut nack, at(55)), vec![103]);
    }

    #[test]
    fn learns_the_round_trip_from_the_answers() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut nack = NackGenerator::default();
        nack.receive(at(0), 1);
        nack.receive(at(0), 3);
        for ms in [5, 55, 105, 155] {
            assert_eq!(asked(&mut nack, at(ms)), vec![2], "{ms}");
        }
        assert_eq!(nack.receive(at(205), 2), Arrival::Recovered);
        nack.receive(at(300), 5);
        assert_eq!(asked(&mut nack, at(305)), vec![4]);
        assert_eq!(asked(&mut nack, at(504)), Vec::<u16>::new());
        assert_eq!(asked(&mut nack, at(505)), vec![4]);
    }

    #[test]
    fn gives_up_in_the_end() {
        let start = Instant::now();
        let mut nack = NackGenerator::default();
        nack.receive(start, 1);
        nack.receive(start, 3);
        let asks: usize = (0..100)
            .map(|i| asked(&mut nack, start + Duration::from_millis(i * 50)).len())
            .sum();
        assert_eq!(asks, usize::from(TRIES));
        assert_eq!(nack.poll_timeout(), None);
    }

    #[test]
    fn a_jump_gives_up_and_the_list_stays_bounded() {
        let start = Instant::now();
        let mut nack = NackGenerator::default();
        nack.receive(start, 1);
        for i in 1..1_000 {
            nack.receive(start, 1 + 2 * i);
        }
        assert!(nack.missing.len() <= MISSING);
        assert_eq!(nack.receive(start, 1_000_000), Arrival::Jump);
        assert!(nack.missing.is_empty());
    }
}
