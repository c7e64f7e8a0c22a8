//! Active speakers, from the audio levels in clients' packets (RFC 6464).
//!
//! The method is that of Volfin and Cohen, "Dominant speaker identification for multipoint videoconferencing" (Computer
//! Speech & Language 27(4), 2013), with the constants of Jitsi and mediasoup. Speech activity is scored on three time
//! scales: the last 100 ms, 200 ms, and second. A score is the likelihood ratio of speech against no speech, given how
//! many parts of the scale were active. Another track becomes dominant only if it beats the dominant speaker on all
//! three; a cough is short and fails on the longest.
//!
//! Two things differ from the paper. Activity is measured above the noise of the same microphone, as levels are known
//! but no spectrum. A person who spoke for half of the last second counts as speaking beside the dominant one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::id::{PeerId, TrackId};

/// Interval of decisions (300 ms in the paper's implementations).
const INTERVAL: Duration = Duration::from_millis(300);
/// Speakers remembered. A client shows no more, and a larger `last_n` is filled up with others.
const RECENT: usize = 16;

/// One sample: an Opus frame.
const BIN: Duration = Duration::from_millis(20);
/// A second.
const BINS: usize = 50;
/// Samples of the shortest scale; ten such make the longest.
const GROUP: usize = 5;
const GROUPS: usize = BINS / GROUP;
/// Active samples that make a group active.
const ACTIVE_BINS: u8 = 3;
/// Samples of a track reported to another worker at a time: those of one interval.
const DIGEST: usize = 15;

/// The distance above the noise at which speech begins, in dB (`N1` of the implementations).
const ABOVE_NOISE: u8 = 13;
/// Loudness below which a sample is no speech however quiet the microphone is: 65 dB under the loudest.
const QUIET: u8 = 62;
/// Steps of the shortest scale's measure; [`STEP`] is the dB of each.
const STEPS: u8 = 9;
const STEP: u8 = 6;
/// The noise is the lowest of at least this many samples: a shorter time may be all speech.
const NOISE_BINS: u32 = 100;
/// The noise is the lowest of at most twice this many samples, 15 s.
const NOISE_WINDOW: u32 = 375;

/// Active groups of the last second from which on speaking begins, and below which it ends. A cough is over in 300 ms;
/// pauses in speech are shorter than the rest of the second.
const BEGINS: u8 = 5;
const GOES_ON: u8 = 2;

/// The loudness of a track as reported to another worker. Its samples count as ending when it arrives.
pub(crate) type Digest = [u8; DIGEST];

/// How lately a publisher spoke.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Speech {
    /// It speaks now.
    Now,
    /// It spoke; the number of tracks that were heard since.
    Before(usize),
    /// It has not spoken lately.
    Never,
}

/// The speakers of a room.
#[derive(Debug, Default)]
pub(crate) struct Speakers {
    voices: BTreeMap<TrackId, Voice>,
    recent: Vec<(TrackId, PeerId)>,
    speaking: usize,
    /// The time of the next decision; none while nobody speaks.
    due: Option<Instant>,
}

#[derive(Debug)]
struct Voice {
    publisher: PeerId,
    began: Instant,
    /// Loudness by time, 0 (silence) to 127.
    bins: [u8; BINS],
    /// Number of the newest sample, since the voice began.
    newest: u64,
    noise: Noise,
    /// Its client marks voice at times: unmarked samples are not speech.
    marks_voice: bool,
    speaks: bool,
}

/// The lowest level lately that is not silence.
#[derive(Clone, Copy, Debug)]
struct Noise {
    before: u8,
    current: u8,
    seen: u32,
    whole: bool,
}

/// Speech activity on the three scales.
#[derive(Clone, Copy, Debug, Default)]
struct Activity {
    immediate: u8,
    medium: u8,
    long: u8,
}

impl Speakers {
    /// Records the level of an audio packet. `loudness` is 0 (silence) to 127; true if no decision was due before.
    pub(crate) fn hear(
        &mut self,
        now: Instant,
        track: TrackId,
        publisher: PeerId,
        loudness: u8,
        marked: bool,
    ) -> bool {
        let voice = self.voice(now, track, publisher);
        voice.marks_voice |= marked;
        let loudness = if voice.marks_voice && !marked {
            0
        } else {
            loudness
        };
        voice.note(now, loudness);
        self.rearm(now)
    }

    /// Records the samples another worker heard in the last interval; true if no decision was due before.
    pub(crate) fn follow(
        &mut self,
        now: Instant,
        track: TrackId,
        publisher: PeerId,
        digest: &Digest,
    ) -> bool {
        let voice = self.voice(now, track, publisher);
        let back = |at: usize| BIN * (DIGEST - 1 - at) as u32;
        for (at, loudness) in digest.iter().enumerate() {
            voice.note(now.checked_sub(back(at)).unwrap_or(now), *loudness);
        }
        self.rearm(now)
    }

    /// The samples of the last interval, for the worker that decides.
    pub(crate) fn digests(&mut self, now: Instant) -> Vec<(TrackId, PeerId, Digest)> {
        let heard = self.voices.iter_mut().filter_map(|(track, voice)| {
            voice.advance(now);
            let digest = voice.digest();
            let silent = digest.iter().all(|loudness| *loudness == 0);
            (!silent).then_some((*track, voice.publisher, digest))
        });
        let heard: Vec<_> = heard.collect();
        self.due = (!heard.is_empty()).then(|| now + INTERVAL);
        heard
    }

    /// Decides anew; true if others speak than before.
    pub(crate) fn decide(&mut self, now: Instant) -> bool {
        let mut active = BTreeMap::new();
        for (track, voice) in &mut self.voices {
            voice.advance(now);
            let activity = voice.activity();
            let least = if voice.speaks { GOES_ON } else { BEGINS };
            voice.speaks = activity.long >= least;
            active.insert(*track, activity);
        }
        let busy = active.values().any(|activity| activity.long > 0);
        let speaks = |track: &TrackId| self.voices.get(track).is_some_and(|voice| voice.speaks);
        // Current speakers come first; within that, the old order stays.
        let known = self.recent.iter().copied();
        let (mut order, silent): (Vec<_>, Vec<_>) = known.partition(|(track, _)| speaks(track));
        let fresh = self.voices.iter().filter(|(track, voice)| {
            voice.speaks && !self.recent.iter().any(|(known, _)| known == *track)
        });
        let mut fresh: Vec<_> = fresh
            .map(|(track, voice)| (*track, voice.publisher))
            .collect();
        let long = |track: &TrackId| active.get(track).map_or(0, |activity| activity.long);
        fresh.sort_by_key(|(track, _)| std::cmp::Reverse(long(track)));
        order.extend(fresh);
        if let Some(dominant) = order.first().and_then(|(track, _)| active.get(track)) {
            let challengers = order.iter().enumerate().skip(1);
            let beats = challengers.filter_map(|(at, (track, _))| {
                let margin = active.get(track)?.margin_over(dominant)?;
                Some((at, margin))
            });
            if let Some((at, _)) = beats.max_by(|(_, a), (_, b)| a.total_cmp(b)) {
                order[..=at].rotate_right(1);
            }
        }
        let speaking = order.len().min(RECENT);
        order.extend(silent);
        order.truncate(RECENT);
        let changed = order != self.recent || speaking != self.speaking;
        (self.recent, self.speaking) = (order, speaking);
        self.due = (busy || speaking > 0).then(|| now + INTERVAL);
        changed
    }

    /// Applies the decision of the worker that decides.
    pub(crate) fn set(&mut self, recent: Vec<(TrackId, PeerId)>, speaking: usize) {
        self.recent = recent;
        self.speaking = speaking;
    }

    /// The last speakers, the most recent first; the first [`speaking`](Self::speaking) speak now.
    pub(crate) fn recent(&self) -> &[(TrackId, PeerId)] {
        &self.recent
    }

    /// The number of people who speak now.
    pub(crate) fn speaking(&self) -> usize {
        self.speaking
    }

    /// Whether a track's publisher speaks now.
    pub(crate) fn speaks(&self, track: TrackId) -> bool {
        let speaking = self.recent.iter().take(self.speaking);
        speaking.clone().any(|(other, _)| *other == track)
    }

    /// How lately a publisher spoke, with any of its tracks.
    pub(crate) fn speech_of(&self, publisher: PeerId) -> Speech {
        let mut recent = self.recent.iter();
        match recent.position(|(_, peer)| *peer == publisher) {
            Some(rank) if rank < self.speaking => Speech::Now,
            Some(rank) => Speech::Before(rank),
            None => Speech::Never,
        }
    }

    /// The time to decide again.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Forgets a track; true if it was among the speakers.
    pub(crate) fn forget(&mut self, track: TrackId) -> bool {
        self.voices.remove(&track);
        let known = self.recent.iter().position(|(other, _)| *other == track);
        if let Some(at) = known {
            self.recent.remove(at);
            self.speaking -= usize::from(at < self.speaking);
        }
        known.is_some()
    }

    /// Drops the samples of a muted track. True if the last decision has it among those who speak.
    pub(crate) fn silence(&mut self, track: TrackId) -> bool {
        if let Some(voice) = self.voices.get_mut(&track) {
            voice.bins.fill(0);
            voice.speaks = false;
        }
        self.speaks(track)
    }

    fn voice(&mut self, now: Instant, track: TrackId, publisher: PeerId) -> &mut Voice {
        let voice = self.voices.entry(track);
        voice.or_insert_with(|| Voice::new(now, publisher))
    }

    fn rearm(&mut self, now: Instant) -> bool {
        let fresh = self.due.is_none();
        self.due.get_or_insert(now + INTERVAL);
        fresh
    }
}

impl Voice {
    fn new(now: Instant, publisher: PeerId) -> Self {
        Self {
            publisher,
            // Samples may be dated before the first packet.
            began: now.checked_sub(INTERVAL).unwrap_or(now),
            bins: [0; BINS],
            newest: 0,
            noise: Noise {
                before: u8::MAX,
                current: u8::MAX,
                seen: 0,
                whole: false,
            },
            marks_voice: false,
            speaks: false,
        }
    }

    fn note(&mut self, at: Instant, loudness: u8) {
        let bin = self.advance(at);
        // The louder of two packets in one sample counts; a late packet counts in its own sample.
        if bin + BINS as u64 > self.newest {
            let place = &mut self.bins[bin as usize % BINS];
            *place = (*place).max(loudness);
        }
        self.noise.note(loudness);
    }

    /// Advances to a time, and returns the number of its sample.
    fn advance(&mut self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.began);
        let bin = (since.as_micros() / BIN.as_micros()) as u64;
        let passed = bin.saturating_sub(self.newest).min(BINS as u64);
        for step in 0..passed {
            self.bins[(bin - step) as usize % BINS] = 0;
        }
        self.newest = self.newest.max(bin);
        bin
    }

    /// Samples, the newest first.
    fn samples(&self) -> impl Iterator<Item = u8> + '_ {
        let newest = self.newest as usize % BINS;
        (0..BINS).map(move |back| self.bins[(newest + BINS - back) % BINS])
    }

    fn digest(&self) -> Digest {
        let mut digest = [0; DIGEST];
        for (place, loudness) in digest.iter_mut().rev().zip(self.samples()) {
            *place = loudness;
        }
        digest
    }

    fn activity(&self) -> Activity {
        let least = self.noise.level().saturating_add(ABOVE_NOISE).max(QUIET);
        let mut groups = [0; GROUPS];
        let mut steps = 0;
        // The newest sample is not complete yet: its packet may be under way.
        for (at, loudness) in self.samples().skip(1).chain([0]).enumerate() {
            if loudness < least {
                continue;
            }
            groups[at / GROUP] += 1;
            if at < GROUP {
                steps += u32::from(((loudness - least) / STEP + 1).min(STEPS));
            }
        }
        Activity {
            immediate: (steps / GROUP as u32) as u8,
            medium: groups[0] + groups[1],
            long: groups
                .iter()
                .filter(|active| **active >= ACTIVE_BINS)
                .count() as u8,
        }
    }
}

impl Noise {
    fn note(&mut self, loudness: u8) {
        if loudness == 0 {
            return;
        }
        self.current = self.current.min(loudness);
        self.seen += 1;
        if self.seen >= NOISE_WINDOW {
            self.before = self.current;
            self.current = u8::MAX;
            self.seen = 0;
            self.whole = true;
        }
    }

    fn level(&self) -> u8 {
        if !self.whole && self.seen < NOISE_BINS {
            return 0;
        }
        self.before.min(self.current)
    }
}

impl Activity {
    /// The margin over the dominant speaker's activity; none unless it is higher on all scales.
    fn margin_over(&self, dominant: &Self) -> Option<f64> {
        /// The factors by which each scale's score must be higher, as logarithms (`C1` to `C3`).
        const IMMEDIATE: f64 = 3.0;
        const MEDIUM: f64 = 2.0;
        const LONG: f64 = 0.0;
        let (ours, theirs) = (self.scores(), dominant.scores());
        let margin = |scale: usize| (ours[scale] / theirs[scale]).ln();
        let beats = margin(0) > IMMEDIATE && margin(1) > MEDIUM && margin(2) > LONG;
        beats.then(|| margin(1))
    }

    fn scores(&self) -> [f64; 3] {
        [
            score(self.immediate, STEPS, 0.78),
            score(self.medium, 2 * GROUP as u8, 24.0),
            score(self.long, GROUPS as u8, 47.0),
        ]
    }
}

/// The log-likelihood ratio of speech (active parts distributed exponentially with `lambda`) against noise
/// (binomially), for `active` of `parts`. It has a tiny lower bound, so that scores can be divided.
fn score(active: u8, parts: u8, lambda: f64) -> f64 {
    const LEAST: f64 = 1e-10;
    let (active, parts) = (active.min(parts), parts);
    let binomial: f64 = (0..active)
        .map(|at| (f64::from(parts - at) / f64::from(at + 1)).ln())
        .sum();
    let score =
        binomial + f64::from(parts) * 0.5_f64.ln() - lambda.ln() + lambda * f64::from(active);
    score.max(LEAST)
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// A room whose microphones follow a script.
    struct Meeting {
        start: Instant,
        ms: u64,
        speakers: Speakers,
        rng: StdRng,
        changes: usize,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Does {
        Speaks,
        Quiet,
        Coughs,
        Nothing,
    }
    use Does::{Coughs, Nothing, Quiet, Speaks};

    fn id(number: usize) -> TrackId {
        TrackId::new(0, number as u64 + 1)
    }

    impl Meeting {
        fn new(seed: u64) -> Self {
            Self {
                start: Instant::now(),
                ms: 0,
                speakers: Speakers::default(),
                rng: StdRng::seed_from_u64(seed),
                changes: 0,
            }
        }

        fn loudness(&mut self, does: Does, within: u64) -> Option<u8> {
            let noise = self.rng.random_range(45..52);
            match does {
                Nothing => None,
                Quiet => Some(noise),
                Coughs if within < 250 => Some(self.rng.random_range(105..125)),
                Coughs => Some(noise),
                // Syllables, and a pause of 300 ms every two seconds.
                Speaks if self.ms % 2_000 > 1_700 || self.ms % 240 > 200 => Some(noise),
                Speaks => Some(self.rng.random_range(85..105)),
            }
        }

        fn run(&mut self, ms: u64, does: &[Does]) {
            let began = self.ms;
            for _ in 0..ms / 20 {
                self.ms += 20;
                let now = self.start + Duration::from_millis(self.ms);
                for (at, does) in does.iter().enumerate() {
                    if let Some(loudness) = self.loudness(*does, self.ms - began) {
                        let peer = PeerId::new(0, at as u64 + 1);
                        self.speakers.hear(now, id(at), peer, loudness, false);
                    }
                }
                if self.speakers.due().is_some_and(|due| due <= now) {
                    self.changes += usize::from(self.speakers.decide(now));
                }
            }
        }

        fn order(&self) -> (Vec<TrackId>, usize) {
            let recent = self.speakers.recent().iter();
            (
                recent.map(|(track, _)| *track).collect(),
                self.speakers.speaking(),
            )
        }
    }

    #[test]
    fn who_speaks_is_known_within_a_second_and_remembered_when_silent() {
        for seed in 0..20 {
            let mut meeting = Meeting::new(seed);
            meeting.run(5_000, &[Quiet, Quiet, Quiet]);
            assert_eq!(meeting.order(), (vec![], 0));
            meeting.run(1_000, &[Quiet, Speaks, Quiet]);
            assert_eq!(meeting.order(), (vec![id(1)], 1), "{seed}");
            meeting.run(10_000, &[Quiet, Speaks, Quiet]);
            assert_eq!(meeting.changes, 1, "{seed}: a pause is no end");
            meeting.run(1_600, &[Quiet, Quiet, Speaks]);
            assert_eq!(meeting.order(), (vec![id(2), id(1)], 1), "{seed}");
            meeting.run(2_000, &[Quiet, Nothing, Nothing]);
            assert_eq!(meeting.order(), (vec![id(2), id(1)], 0), "{seed}");
            meeting.run(5_000, &[Nothing; 3]);
            assert_eq!(meeting.speakers.due(), None, "no work in silence");
        }
    }

    #[test]
    fn a_cough_is_not_heard_and_does_not_interrupt() {
        for seed in 0..20 {
            let mut meeting = Meeting::new(seed);
            meeting.run(4_000, &[Quiet, Quiet]);
            for _ in 0..10 {
                meeting.run(1_500, &[Quiet, Coughs]);
            }
            assert_eq!(meeting.order(), (vec![], 0), "{seed}");
            meeting.run(3_000, &[Speaks, Quiet]);
            let before = meeting.changes;
            for _ in 0..10 {
                meeting.run(1_500, &[Speaks, Coughs]);
            }
            assert_eq!((meeting.order().0, meeting.changes), (vec![id(0)], before));
        }
    }

    #[test]
    fn steady_noise_is_no_speech_however_loud() {
        let mut speakers = Speakers::default();
        let start = Instant::now();
        for packet in 0..500 {
            let now = start + Duration::from_millis(packet * 20);
            speakers.hear(now, id(0), PeerId::new(0, 1), 97, false);
            if speakers.due().is_some_and(|due| due <= now) {
                speakers.decide(now);
            }
        }
        assert_eq!(speakers.speaking(), 0);
    }

    #[test]
    fn two_at_once_both_speak_and_the_first_stays_first() {
        let mut meeting = Meeting::new(7);
        meeting.run(3_000, &[Quiet, Quiet, Quiet]);
        meeting.run(3_000, &[Quiet, Quiet, Speaks]);
        meeting.run(3_000, &[Speaks, Quiet, Speaks]);
        assert_eq!(meeting.order(), (vec![id(2), id(0)], 2));
        meeting.run(2_000, &[Speaks, Quiet, Quiet]);
        assert_eq!(meeting.order(), (vec![id(0), id(2)], 1));
        assert!(meeting.speakers.forget(id(0)));
        assert_eq!(meeting.order(), (vec![id(2)], 0));
    }

    #[test]
    fn what_a_client_does_not_mark_as_voice_is_none_if_it_marks_at_all() {
        let mut speakers = Speakers::default();
        let start = Instant::now();
        for packet in 0..200 {
            let now = start + Duration::from_millis(packet * 20);
            let loudness = if packet % 12 > 9 { 40 } else { 100 };
            let peer = PeerId::new(0, 1);
            speakers.hear(now, id(0), peer, loudness, packet == 0);
            speakers.hear(now, id(1), peer, loudness, true);
            if speakers.due().is_some_and(|due| due <= now) {
                speakers.decide(now);
            }
        }
        assert_eq!(speakers.recent(), [(id(1), PeerId::new(0, 1))]);
    }

    #[test]
    fn a_part_that_is_told_comes_to_the_same_result() {
        let mut meeting = Meeting::new(3);
        let mut home = Speakers::default();
        for does in [Quiet, Quiet, Speaks, Speaks, Quiet] {
            for _ in 0..10 {
                meeting.run(300, &[does, Quiet]);
                let now = meeting.start + Duration::from_millis(meeting.ms);
                for (track, peer, digest) in meeting.speakers.digests(now) {
                    home.follow(now, track, peer, &digest);
                }
                home.decide(now);
            }
            assert_eq!(home.speaking(), meeting.speakers.speaking());
            assert_eq!(home.recent(), meeting.speakers.recent());
        }
    }

    #[test]
    fn a_publishers_speech_is_that_of_its_track_that_spoke_last() {
        let mut speakers = Speakers::default();
        let peer = |number| PeerId::new(0, number);
        let recent = vec![(id(1), peer(1)), (id(2), peer(2)), (id(3), peer(1))];
        speakers.set(recent, 1);
        assert_eq!(speakers.speech_of(peer(1)), Speech::Now);
        assert_eq!(speakers.speech_of(peer(2)), Speech::Before(1));
        assert_eq!(speakers.speech_of(peer(3)), Speech::Never);
        speakers.set(vec![(id(1), peer(1))], 0);
        assert_eq!(speakers.speech_of(peer(1)), Speech::Before(0));
    }

    #[test]
    fn scores_rise_with_activity() {
        for (parts, lambda) in [(STEPS, 0.78), (10, 24.0), (10, 47.0)] {
            let scores: Vec<f64> = (0..=parts)
                .map(|active| score(active, parts, lambda))
                .collect();
            assert!(scores.iter().all(|score| *score > 0.0 && score.is_finite()));
            let top = scores.iter().copied().fold(0.0, f64::max);
            assert!(scores[0] < 1e-9 && top > 1.0, "{scores:?}");
        }
    }
}
