//! A listener of a sound stream, who misses packets that never come or come too late to be played.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Length of an audio packet.
const FRAME: Duration = Duration::from_millis(20);
/// Ticks of its clock in a packet.
const TICKS: u32 = 960;
/// The delay that a player begins with and comes back to, and the longest; libwebrtc's NetEq adapts likewise:
/// up at once, down slowly.
const DELAY: Duration = Duration::from_millis(60);
const DELAY_MAX: Duration = Duration::from_millis(500);
/// Decrease of a delay with each packet, in percent.
const FALLS: u32 = 1;

/// The packets of one stream.
#[derive(Debug, Default)]
pub(crate) struct Hearing {
    first: Option<(u32, Instant)>,
    /// Arrival of each packet's first copy, by its number.
    came: BTreeMap<u32, Instant>,
}

impl Hearing {
    pub(crate) fn packet(&mut self, now: Instant, timestamp: u32) {
        let (first, _) = *self.first.get_or_insert((timestamp, now));
        let number = timestamp.wrapping_sub(first) / TICKS;
        // Audio sent before the first packet is not missed.
        if number < u32::MAX / TICKS / 2 {
            self.came.entry(number).or_insert(now);
        }
    }

    /// Audio missed, and all audio, between two times.
    pub(crate) fn missed(&self, from: Instant, until: Instant) -> (Duration, Duration) {
        let Some((_, start)) = self.first else {
            return (Duration::ZERO, Duration::ZERO);
        };
        let due = |number: u32| start + FRAME * number;
        let base = self
            .came
            .iter()
            .map(|(number, at)| *at - start + FRAME * (self.last() - number));
        // The least delayed packet is the reference.
        let least = base.min().unwrap_or_default();
        let late = |number: u32, at: Instant| {
            (at - start + FRAME * (self.last() - number)).saturating_sub(least)
        };
        let (mut delay, mut missed, mut all) = (DELAY, Duration::ZERO, Duration::ZERO);
        for number in 0..=self.last() {
            let heard = match self.came.get(&number).map(|at| late(number, *at)) {
                None => false,
                Some(late) if late > delay => {
                    delay = late.min(DELAY_MAX);
                    false
                }
                Some(_) => true,
            };
            delay = (delay * (100 - FALLS) / 100).max(DELAY);
            if due(number) >= from && due(number) < until {
                all += FRAME;
                missed += if heard { Duration::ZERO } else { FRAME };
            }
        }
        (missed, all)
    }

    fn last(&self) -> u32 {
        self.came.last_key_value().map_or(0, |(number, _)| *number)
    }
}
