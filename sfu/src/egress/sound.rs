//! The rate that audio takes of a viewer's link.
//!
//! Audio is always sent, and first: video may use the rest. Its bytes are counted as they leave, with headers,
//! extensions, seal and padding, which are more than half of an Opus packet of 40 to 80 bytes. The rate stays reserved
//! for some seconds: a person who pauses for breath (discontinuous transmission) speaks again.
//!
//! The copies of redundant audio are counted apart, whether they are sent or not. So it is known in advance whether
//! there is room for them, and their rate is free at once when they stop.

use std::time::{Duration, Instant};

use crate::rate::RateMeter;

/// Length of a period. The highest rate of the last one or two is reserved.
const PERIOD: Duration = Duration::from_secs(5);

/// Audio sent to one viewer.
#[derive(Debug, Default)]
pub(super) struct Sound {
    once: Peak,
    copies: Peak,
}

/// The highest recent rate.
#[derive(Debug, Default)]
struct Peak {
    rate: RateMeter,
    highest: [u64; 2],
    since: Option<Instant>,
}

impl Sound {
    /// Counts bytes that have left, and the bytes that copies of them take.
    pub(super) fn count(&mut self, now: Instant, bytes: usize, copies: usize) {
        if bytes > 0 {
            self.once.rate.add(now, bytes);
            self.copies.rate.add(now, copies);
        }
    }

    /// Bits a second to reserve, without copies.
    pub(super) fn reserved(&mut self, now: Instant) -> u64 {
        self.once.reserved(now)
    }

    /// Bits a second that copies need in addition.
    pub(super) fn copies(&mut self, now: Instant) -> u64 {
        self.copies.reserved(now)
    }
}

impl Peak {
    fn reserved(&mut self, now: Instant) -> u64 {
        let since = *self.since.get_or_insert(now);
        if now >= since + PERIOD {
            let older = if now < since + 2 * PERIOD {
                self.highest[0]
            } else {
                0
            };
            (self.since, self.highest) = (Some(now), [0, older]);
        }
        // A meter returns the rate before a silence, which does not count here.
        let silent = self.rate.is_silent(now);
        let rate = if silent { 0 } else { self.rate.bitrate(now) };
        self.highest[0] = self.highest[0].max(rate);
        self.highest[0].max(self.highest[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_is_reserved_over_a_pause_and_not_for_ever() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut sound = Sound::default();
        let (mut reserved, mut copies) = (Vec::new(), Vec::new());
        for ms in (0..40_000).step_by(20) {
            // Two people speak, then one, then nobody.
            let bytes = match ms {
                0..10_000 => 260,
                10_000..20_000 => 130,
                _ => 0,
            };
            sound.count(at(ms), bytes, bytes / 2);
            reserved.push(sound.reserved(at(ms)) / 1_000);
            copies.push(sound.copies(at(ms)) / 1_000);
        }
        let at = |second: usize| reserved[second * 50];
        assert!(
            (104..=120).contains(&at(5)) && (104..=120).contains(&at(14)),
            "{} {}",
            at(5),
            at(14)
        );
        assert!((52..=60).contains(&at(22)), "{}", at(22));
        assert_eq!(at(35), 0);
        let copies = |second: usize| copies[second * 50];
        assert!((52..=60).contains(&copies(5)), "{}", copies(5));
        assert_eq!(copies(35), 0);
    }
}
