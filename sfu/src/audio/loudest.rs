//! Selects the loudest audio tracks of a room for forwarding.
//!
//! Each packet is judged as it comes, so that a person who begins to speak is heard at once and a quiet one costs no
//! fan-out. A track's loudness follows its level up at once and down slowly. A forwarded track keeps its place until
//! another is louder by a margin.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::id::TrackId;

/// The speed at which loudness falls, in dB a second: a pause for breath does not cost a speaker the place.
const FALL: u32 = 30;
/// The margin by which a track must exceed the quietest forwarded one to replace it, in dB.
const MARGIN: u32 = 3;
/// The bonus of a current speaker, in dB: steady noise does not displace a person.
const SPEAKS: u32 = 15;
/// Pause after which a gap in a track's packets is not loss: its worker did not send them.
const PAUSE: Duration = Duration::from_millis(100);

/// The outcome for a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hearing {
    /// It is forwarded.
    Heard,
    /// It is forwarded, as the first after some that were not.
    Resumed,
    /// It is not forwarded.
    Quiet,
}

/// A packet's loudness.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sound {
    pub(crate) track: TrackId,
    /// 0 (silence) to 127, in dB.
    pub(crate) loudness: u8,
    /// Unwrapped sequence number.
    pub(crate) sequence: u64,
    /// Its publisher is among the current speakers.
    pub(crate) speaks: bool,
}

/// The audio tracks of a room, and those that are forwarded.
#[derive(Debug, Default)]
pub(crate) struct Loudest {
    tracks: HashMap<TrackId, Level>,
    heard: Vec<TrackId>,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    /// Loudness at the time `at`, in thousandths of a dB.
    loudness: u32,
    at: Instant,
    speaks: bool,
    /// Sequence number of the last packet forwarded.
    forwarded: u64,
    /// Packets after it were not forwarded.
    quiet: bool,
}

impl Loudest {
    /// Judges a packet by its loudness; packets of `most` tracks are forwarded.
    pub(crate) fn hear(&mut self, now: Instant, most: usize, sound: Sound) -> Hearing {
        let level = self.tracks.entry(sound.track).or_insert(Level {
            loudness: 0,
            at: now,
            speaks: false,
            forwarded: sound.sequence,
            quiet: false,
        });
        let silence = now.saturating_duration_since(level.at);
        level.loudness = level.faded(now).max(u32::from(sound.loudness) * 1_000);
        level.at = now;
        level.speaks = sound.speaks;
        let counts = level.counts(now);
        let heard = self.heard.contains(&sound.track) || self.admit(now, most, sound.track, counts);
        let Some(level) = self.tracks.get_mut(&sound.track) else {
            return Hearing::Quiet;
        };
        if !heard {
            level.quiet = true;
            return Hearing::Quiet;
        }
        let absent = silence >= PAUSE && sound.sequence > level.forwarded + 1;
        level.forwarded = level.forwarded.max(sound.sequence);
        if std::mem::take(&mut level.quiet) || absent {
            Hearing::Resumed
        } else {
            Hearing::Heard
        }
    }

    /// Whether a track is not forwarded because `most` others are louder. That is judged here, or at the worker it
    /// comes from, which then sends none of its packets.
    pub(crate) fn silences(&self, now: Instant, most: usize, track: TrackId) -> bool {
        let level = self.tracks.get(&track);
        let others = self.tracks.len() - usize::from(level.is_some());
        let absent = level.is_none_or(|level| now.saturating_duration_since(level.at) >= PAUSE);
        level.is_some_and(|level| level.quiet) || absent && others >= most
    }

    /// Forgets a track that is gone.
    pub(crate) fn forget(&mut self, track: TrackId) {
        self.tracks.remove(&track);
        self.heard.retain(|heard| *heard != track);
    }

    /// Adds a track to those heard if there is room, or if it is loud enough to displace one.
    fn admit(&mut self, now: Instant, most: usize, track: TrackId, counts: u32) -> bool {
        if self.heard.len() >= most {
            let loudness = |track: &TrackId| {
                let level = self.tracks.get(track);
                level.map_or(0, |level| level.counts(now))
            };
            let heard = self.heard.iter().enumerate();
            match heard.map(|(at, track)| (loudness(track), at)).min() {
                Some((quietest, at)) if counts > quietest + MARGIN * 1_000 => {
                    self.heard.swap_remove(at);
                }
                _ => return false,
            }
        }
        self.heard.push(track);
        true
    }
}

impl Level {
    fn faded(&self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.at).as_millis();
        let fallen = u32::try_from(passed)
            .unwrap_or(u32::MAX)
            .saturating_mul(FALL);
        self.loudness.saturating_sub(fallen)
    }

    /// Its weight against others.
    fn counts(&self, now: Instant) -> u32 {
        let faded = self.faded(now);
        if self.speaks && faded > 0 {
            faded + SPEAKS * 1_000
        } else {
            faded
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PACKET: u64 = 20;

    /// Runs a room of steady levels for `ms` from `from` on. Returns the number of packets forwarded of each.
    fn run(loudest: &mut Loudest, start: Instant, from: u64, levels: &[u8], ms: u64) -> Vec<usize> {
        let mut heard = vec![0; levels.len()];
        for packet in from / PACKET..(from + ms) / PACKET {
            let now = start + Duration::from_millis(packet * PACKET);
            for (track, loudness) in levels.iter().enumerate() {
                let sound = Sound {
                    track: TrackId::new(0, track as u64 + 1),
                    loudness: *loudness,
                    sequence: packet,
                    speaks: false,
                };
                heard[track] += usize::from(loudest.hear(now, 2, sound) != Hearing::Quiet);
            }
        }
        heard
    }

    #[test]
    fn the_loudest_are_forwarded_and_a_new_one_at_once() {
        let (mut loudest, start) = (Loudest::default(), Instant::now());
        // The first tracks keep the places until others are louder.
        let heard = run(&mut loudest, start, 0, &[40, 40, 40, 90, 95], 2_000);
        assert_eq!(heard, [1, 1, 0, 100, 100]);
        let heard = run(&mut loudest, start, 2_000, &[40, 100, 40, 90, 95], 100);
        assert_eq!(heard[1], 5, "from the first packet");
        // Two equally loud ones do not take turns.
        let heard = run(&mut loudest, start, 2_100, &[40, 100, 102, 40, 101], 5_000);
        assert_eq!(heard.iter().filter(|heard| **heard == 250).count(), 2);
    }

    #[test]
    fn a_pause_for_breath_costs_no_place_against_the_quiet() {
        let (mut loudest, start) = (Loudest::default(), Instant::now());
        run(&mut loudest, start, 0, &[95, 95, 60], 1_000);
        let heard = run(&mut loudest, start, 1_000, &[0, 95, 60], 1_000);
        assert_eq!(heard, [50, 50, 0]);
        let heard = run(&mut loudest, start, 2_000, &[0, 95, 60], 1_000);
        assert!(heard[2] > 30, "but does not last for ever: {heard:?}");
    }

    #[test]
    fn what_was_not_forwarded_is_no_loss() {
        let (mut loudest, start) = (Loudest::default(), Instant::now());
        let mut hear = |ms: u64, track: u64, loudness: u8, sequence: u64| {
            let sound = Sound {
                track: TrackId::new(0, track),
                loudness,
                sequence,
                speaks: false,
            };
            loudest.hear(start + Duration::from_millis(ms), 1, sound)
        };
        assert_eq!(hear(0, 1, 90, 1), Hearing::Heard);
        assert_eq!(hear(20, 1, 90, 3), Hearing::Heard, "a loss is one");
        assert_eq!(hear(20, 2, 50, 1), Hearing::Quiet);
        assert_eq!(hear(40, 2, 100, 2), Hearing::Resumed);
        assert_eq!(hear(40, 1, 90, 4), Hearing::Quiet);
        assert_eq!(hear(60, 1, 120, 5), Hearing::Resumed);
        assert_eq!(hear(80, 1, 120, 6), Hearing::Heard);
        assert_eq!(
            hear(400, 1, 120, 20),
            Hearing::Resumed,
            "its worker sent none"
        );
        assert_eq!(
            hear(800, 1, 120, 21),
            Hearing::Heard,
            "discontinuous sending"
        );
    }

    proptest! {
        /// With any levels at any time: never more than `most` tracks are heard within a packet's time, and a track
        /// that was among the loudest by the margin for long is heard.
        #[test]
        fn no_more_than_so_many_are_heard(
            levels in prop::collection::vec(prop::collection::vec(0u8..128, 6), 1..100),
            most in 1usize..4,
        ) {
            let (mut loudest, start) = (Loudest::default(), Instant::now());
            for (packet, levels) in levels.iter().enumerate() {
                let now = start + Duration::from_millis(packet as u64 * PACKET);
                for (track, loudness) in levels.iter().enumerate() {
                    let sound = Sound {
                        track: TrackId::new(0, track as u64 + 1),
                        loudness: *loudness,
                        sequence: packet as u64,
                        speaks: false,
                    };
                    let heard = loudest.hear(now, most, sound);
                    prop_assert!(loudest.heard.len() <= most);
                    prop_assert_eq!(heard != Hearing::Quiet, loudest.heard.contains(&sound.track));
                }
            }
        }
    }
}
