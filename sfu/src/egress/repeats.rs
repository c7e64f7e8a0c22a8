//! Counts how often each packet was sent again, with RTX or without.
//!
//! A viewer that asks again before a repair can have arrived is not repairing a stream. A packet lost that many times
//! has no way to get through.

use std::time::{Duration, Instant};

/// Packets remembered: for each remainder modulo this the latest, as many as a publisher's cache holds. 12 KiB for each
/// slot whose viewer ever sent a NACK.
const NUMBERS: usize = 512;
/// Repairs of one packet at most. On a path that loses every fifth packet, the packet and all three repairs are lost
/// once in six hundred times.
const TIMES: u8 = 3;
/// Least time between two repairs of a packet, if no round trip is known.
const APART: Duration = Duration::from_millis(100);
/// Lower bound of that time for short round trips: receivers ask in rounds of this.
const APART_LEAST: Duration = Duration::from_millis(10);

/// The repairs on one slot.
#[derive(Debug)]
pub(super) struct Repeats(Box<[Option<Repeated>; NUMBERS]>);

#[derive(Clone, Copy, Debug)]
struct Repeated {
    sequence: u16,
    times: u8,
    last: Instant,
}

/// Age after which a number may be another packet's: at a thousand packets a second numbers wrap after a minute.
const FORGOTTEN: Duration = Duration::from_secs(10);

impl Default for Repeats {
    fn default() -> Self {
        Self(Box::new([None; NUMBERS]))
    }
}

impl Repeats {
    /// Whether a packet may be sent again now. `rtt` is the round trip, if known. It varies, so that three quarters of
    /// it must have passed since the last time.
    pub(super) fn admits(&self, now: Instant, sequence: u16, rtt: Option<Duration>) -> bool {
        let apart = rtt.map_or(APART, |rtt| (rtt * 3 / 4).max(APART_LEAST));
        self.find(now, sequence)
            .is_none_or(|repeated| repeated.times < TIMES && now >= repeated.last + apart)
    }

    /// Counts a repair.
    pub(super) fn note(&mut self, now: Instant, sequence: u16) {
        let times = self.find(now, sequence).map_or(0, |known| known.times);
        self.0[usize::from(sequence) % NUMBERS] = Some(Repeated {
            sequence,
            times: times.saturating_add(1),
            last: now,
        });
    }

    fn find(&self, now: Instant, sequence: u16) -> Option<&Repeated> {
        let known = self.0[usize::from(sequence) % NUMBERS].as_ref();
        known.filter(|known| known.sequence == sequence && now < known.last + FORGOTTEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_sent_again_a_few_times_a_round_trip_apart() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        for (rtt, steps) in [
            (
                Some(80),
                &[
                    (0, true),
                    (20, false),
                    (59, false),
                    (60, true),
                    (140, true),
                    (300, false),
                ][..],
            ),
            (
                None,
                &[
                    (0, true),
                    (99, false),
                    (100, true),
                    (200, true),
                    (900, false),
                ],
            ),
            (Some(1), &[(0, true), (9, false), (10, true)]),
            // The number is another packet's by now.
            (
                Some(80),
                &[
                    (0, true),
                    (60, true),
                    (120, true),
                    (10_119, false),
                    (10_120, true),
                ],
            ),
        ] {
            let rtt = rtt.map(Duration::from_millis);
            let mut repeats = Repeats::default();
            for (ms, expected) in steps {
                let admits = repeats.admits(at(*ms), 65_535, rtt);
                assert_eq!(admits, *expected, "{rtt:?} at {ms}");
                if admits {
                    repeats.note(at(*ms), 65_535);
                }
                // Another packet is not affected.
                assert!(repeats.admits(at(*ms), 0, rtt));
            }
        }
    }
}
