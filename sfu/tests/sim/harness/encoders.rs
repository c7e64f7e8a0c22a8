//! Encoders of one camera that behave like libwebrtc's while encodings are switched on and off.
//!
//! Measured with Chromium 156 (720p, VP8, three encodings, 20 pictures a second): each switch restarts all encoders of
//! the camera, with keyframes. An encoder that was off grows to its rate in 1.6 s. When one more comes, the others take
//! two to two and a half times their rate for 1.2 s; when one goes, they begin at 40% and are back after 5 s.

use std::time::{Duration, Instant};

use str0m::media::MediaKind;
use tertulia_sfu::LayerWanted;
use tertulia_sfu::testing::{LayerConfig, MediaSource};

use super::client::{Client, Source};

/// Times since a switch, in milliseconds, and shares of the settled rate, in percent.
type Course = &'static [(u64, u64)];

const BEGINS: Course = &[
    (0, 40),
    (500, 62),
    (1_200, 70),
    (1_600, 90),
    (2_000, 120),
    (2_800, 100),
];
const STAYS_WITH_MORE: Course = &[
    (0, 240),
    (800, 190),
    (1_200, 180),
    (1_700, 77),
    (2_400, 88),
    (4_000, 100),
];
const STAYS_WITH_FEWER: Course = &[(0, 40), (1_200, 50), (2_000, 72), (2_800, 83), (5_000, 100)];
/// Interval at which rates are set.
const STEP: Duration = Duration::from_millis(100);
/// Size of a keyframe in frames, on average: libvpx at 180, 360 and 720 lines, 9.0 to 9.6.
const KEYFRAME_FRAMES: u32 = 9;

/// The encoders of one camera.
pub(super) struct Encoders {
    encodings: Vec<Encoding>,
    set_at: Option<Instant>,
}

struct Encoding {
    ssrc: u32,
    /// Rate that it settles at, bits a second.
    settled: u64,
    active: bool,
    course: Option<(Instant, Course)>,
}

impl Encoders {
    /// Encoders with all of `layers` on, as after an answer, with the rates that they settle at.
    pub(super) fn new(now: Instant, media: &mut MediaSource, layers: &[(u32, u64)]) -> Self {
        media.set_keyframe_frames(KEYFRAME_FRAMES);
        let encoding = |(ssrc, settled): &(u32, u64)| Encoding {
            ssrc: *ssrc,
            settled: *settled,
            active: true,
            course: Some((now, BEGINS)),
        };
        Self {
            encodings: layers.iter().map(encoding).collect(),
            set_at: None,
        }
    }

    /// Switches encodings, in the order of the layers.
    pub(super) fn switch(&mut self, now: Instant, media: &mut MediaSource, wanted: &[bool]) {
        let count = |encodings: &[Encoding]| encodings.iter().filter(|each| each.active).count();
        let before = count(&self.encodings);
        let mut begin = Vec::new();
        for (encoding, wanted) in self.encodings.iter_mut().zip(wanted) {
            if std::mem::replace(&mut encoding.active, *wanted) != *wanted {
                media.set_enabled(encoding.ssrc, *wanted);
                begin.push(encoding.ssrc);
            }
        }
        if begin.is_empty() {
            return;
        }
        let stays = match count(&self.encodings) < before {
            true => STAYS_WITH_FEWER,
            false => STAYS_WITH_MORE,
        };
        for encoding in self.encodings.iter_mut().filter(|each| each.active) {
            let begins = begin.contains(&encoding.ssrc);
            encoding.course = Some((now, if begins { BEGINS } else { stays }));
            media.request_keyframe(encoding.ssrc);
        }
        self.set_at = None;
    }

    /// Lets rates follow their courses.
    pub(super) fn follow(&mut self, now: Instant, media: &mut MediaSource) {
        if self.set_at.is_some_and(|at| now < at + STEP) {
            return;
        }
        self.set_at = Some(now);
        for encoding in &mut self.encodings {
            if let Some((since, course)) = encoding.course {
                let share = share(course, now - since);
                media.set_bitrate(encoding.ssrc, encoding.settled * share / 100);
            }
        }
    }
}

impl Client {
    /// Its cameras are a browser's: encoders begin, ramp and share as libwebrtc's do, and what the relay wants
    /// is followed.
    pub(crate) fn encodes_as_browsers(&mut self) {
        self.obeys = true;
        let now = self.wake_at;
        let cameras = self.sources.iter_mut();
        for source in cameras.filter(|source| source.kind == MediaKind::Video) {
            let layers = LayerConfig::simulcast(1);
            let layers: Vec<_> = layers
                .iter()
                .map(|layer| (layer.ssrc, layer.bitrate))
                .collect();
            source.encoders = Some(Encoders::new(now, &mut source.media, &layers));
        }
    }
}

impl Source {
    /// Lets rates follow their courses, if its encoders are a browser's.
    pub(super) fn encode_as_browsers(&mut self, now: Instant) {
        if let Some(encoders) = &mut self.encoders {
            encoders.follow(now, &mut self.media);
        }
    }

    /// Sends what the relay wants, if its encoders are a browser's.
    pub(super) fn switch_as_browsers(&mut self, now: Instant, layers: &[LayerWanted]) -> bool {
        let Some(encoders) = &mut self.encoders else {
            return false;
        };
        let wanted: Vec<bool> = layers.iter().map(|layer| layer.active).collect();
        encoders.switch(now, &mut self.media, &wanted);
        true
    }
}

/// Share of the settled rate, in percent.
fn share(course: Course, time: Duration) -> u64 {
    let time = time.as_millis() as u64;
    let next = course.iter().position(|(at, _)| *at > time);
    match next {
        None => 100,
        Some(next) => {
            let ((from, before), (to, after)) = (course[next - 1], course[next]);
            let part = (time - from) as i64 * (after as i64 - before as i64) / (to - from) as i64;
            before.saturating_add_signed(part)
        }
    }
}
