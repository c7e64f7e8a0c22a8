//! The loudness of a talker, packet by packet, for the audio level extension (RFC 6464): syllables in phrases, and
//! pauses for breath. Servers that look for speech take a constant level for noise, such as a fan's.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tertulia_sfu::rtp::extension::AudioLevel;

/// Packets of 20 ms in a syllable: some four a second, as people speak.
const SYLLABLE: std::ops::Range<u32> = 10..16;
/// The loud share of a syllable: the vowel; consonants are softer.
const VOWEL: f64 = 0.7;
/// Syllables between two breaths.
const PHRASE: std::ops::Range<u32> = 5..14;
/// Packets of a breath: 0.3 to 0.8 s.
const BREATH: std::ops::Range<u32> = 15..40;
/// Levels in -dBov: vowels, consonants, and the room.
const LOUD: std::ops::Range<u8> = 18..30;
const SOFT: std::ops::Range<u8> = 40..50;
const ROOM: std::ops::Range<u8> = 68..72;

/// One talker.
#[derive(Debug)]
pub(super) struct Speech {
    rng: StdRng,
    /// Syllables left of the phrase.
    syllables: u32,
    /// Packets left of the syllable or the breath.
    left: u32,
    /// Packets, among these, after the vowel.
    consonant: u32,
    breath: bool,
    /// Level of the vowel.
    level: u8,
}

impl Speech {
    /// The talker of a name: a name always talks in its own way.
    pub(super) fn of(name: &str) -> Self {
        // FNV-1a, which is the same on every machine.
        let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self {
            rng: StdRng::seed_from_u64(seed),
            syllables: 0,
            left: 0,
            consonant: 0,
            breath: true,
            level: ROOM.start,
        }
    }

    /// The level of the next packet.
    pub(super) fn next(&mut self) -> AudioLevel {
        if self.left == 0 {
            self.begin();
        }
        self.left -= 1;
        let level = if self.breath {
            self.rng.random_range(ROOM)
        } else if self.left < self.consonant {
            self.rng.random_range(SOFT)
        } else {
            self.level
        };
        AudioLevel {
            voice: !self.breath,
            level,
        }
    }

    fn begin(&mut self) {
        if self.syllables == 0 && !self.breath {
            self.breath = true;
            self.left = self.rng.random_range(BREATH);
            return;
        }
        if self.breath {
            self.breath = false;
            self.syllables = self.rng.random_range(PHRASE);
        }
        self.syllables -= 1;
        self.left = self.rng.random_range(SYLLABLE);
        self.consonant = (f64::from(self.left) * (1.0 - VOWEL)).round() as u32;
        self.level = self.rng.random_range(LOUD);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(name: &str) -> Vec<(bool, u8)> {
        let mut speech = Speech::of(name);
        let next = || speech.next();
        let levels = std::iter::repeat_with(next).take(50 * 60);
        levels.map(|one| (one.voice, one.level)).collect()
    }

    #[test]
    fn talkers_speak_in_syllables_and_pause_for_breath() {
        for name in ["publisher-1", "publisher-2", "publisher-17"] {
            let levels = levels(name);
            let voiced = levels.iter().filter(|(voice, _)| *voice).count() as f64;
            let share = voiced / levels.len() as f64;
            assert!(
                (0.65..0.9).contains(&share),
                "{name} speaks {share} of the time"
            );
            let rises = levels
                .windows(2)
                .filter(|pair| pair[0].1 >= SOFT.start && pair[1].1 < LOUD.end);
            let rate = rises.count() as f64 / 60.0;
            assert!(
                (2.5..4.5).contains(&rate),
                "{name}: {rate} syllables a second"
            );
            let pauses = levels.split(|(voice, _)| *voice).map(<[_]>::len);
            let mut pauses: Vec<_> = pauses.filter(|packets| *packets > 0).collect();
            // The minute may end within one.
            pauses.pop();
            assert!(pauses.len() > 10, "{name}: {pauses:?}");
            assert!(
                pauses
                    .iter()
                    .all(|packets| BREATH.contains(&(*packets as u32)))
            );
            let quiet = |(voice, level): &(bool, u8)| *voice == (*level < ROOM.start);
            assert!(
                levels.iter().all(quiet),
                "a breath is no louder than the room"
            );
        }
        assert_eq!(levels("publisher-1"), levels("publisher-1"));
        assert_ne!(levels("publisher-1"), levels("publisher-2"));
    }
}
