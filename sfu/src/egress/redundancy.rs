//! Whether a viewer is sent sound twice (RFC 2198): each packet with a copy of the one before.
//!
//! Measured with Chromium over a path that loses 2% and 5%: of sound sent once 2.2% and 4.8% is concealed, of sound
//! that is asked for again 0.3% where the round trip is 60 ms but 1.5% and 3.7% where it is 200 ms, of sound sent
//! twice 0.0% to 0.2% at either, and it waits for less. It costs a third to a half more of what sound takes; a path
//! that loses nothing is not sent it.
//!
//! - Who asks for lost sound again and is near is sent that, and it costs next to nothing: with pictures on links of 200 to
//!   500 kbit/s that lose 2%, 60 ms there and back, 0.0% to 0.2% is concealed, and copies would take a picture away.
//! - Losses count while the link is not full. A queue that overflows loses packets too, and more packets are no help.
//! - It is sent only while sound, its copies and the lowest picture fit: sound comes before pictures, but a
//!   call with sound that lacks a fiftieth is better than one without anybody to be seen.
//! - Where there are no pictures a link is believed to carry not much more than the sound on it, for nothing else
//!   was tried. There the copies are the trial: they are sent where a fifth more would fit, and stopped if that fills
//!   the link.
//! - It goes on for a while after the last loss, and is not begun again for a while after it did not fit: what it takes is
//!   taken from pictures, and each change of those costs a keyframe.

use std::time::{Duration, Instant};

/// Losses, smoothed, from which sound is sent twice, and below which it is not any more.
const LOSSY: f64 = 0.01;
const CLEAN: f64 = 0.004;
/// Losses are smoothed over so much time: of two streams of sound alone 300 packets.
const SMOOTHED: Duration = Duration::from_secs(3);
/// The time without losses after which it stops.
const LASTS: Duration = Duration::from_secs(30);
/// A link that was full for a moment goes on losing packets, as they are reported.
const SETTLES: Duration = Duration::from_secs(1);
/// The time for which it must not fit to be stopped, and fit to be begun.
const PATIENCE: Duration = Duration::from_secs(1);
/// After it did not fit it is not tried for so long; for twice as long after each further time, up to the last.
const REST: Duration = Duration::from_secs(20);
const REST_MAX: Duration = Duration::from_secs(320);
/// What fitted for so long is no trial any more.
const PROVEN: Duration = Duration::from_secs(60);
/// Lost sound that is asked for again comes in time below this round trip, and too late above that one.
const NEAR: Duration = Duration::from_millis(120);
const FAR: Duration = Duration::from_millis(160);
/// Spare room for it to be begun, in percent of all that is needed beside pictures, and of sound alone.
const SPARE: u64 = 10;
const SPARE_ALONE: u64 = 20;

/// What is done about losses of sound.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Redundancy {
    /// The viewer offers no redundant audio.
    #[default]
    NotNegotiated,
    /// Too little is lost. What a publisher sends twice is passed on: it may mend losses of its own link.
    NotNeeded,
    /// What is lost is asked for again, and comes in time.
    SentAgain,
    /// There is no room for it; nor for what a publisher sends twice.
    NoRoom,
    /// Each packet with a copy of the one before.
    Sent,
}

impl Redundancy {
    /// Its stable code.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::NotNegotiated => "not_negotiated",
            Self::NotNeeded => "no_loss",
            Self::SentAgain => "retransmission",
            Self::NoRoom => "bandwidth",
            Self::Sent => "sent",
        }
    }
}

/// What a link tells of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Share of packets lost lately (0 to 1).
    pub(super) loss: f64,
    /// There and back, where it is known and the viewer asks for lost sound again.
    pub(super) repairs_in: Option<Duration>,
    /// More is being sent than it carries, or was just now.
    pub(super) full: bool,
    /// Bits a second that it carries; none: nothing was tried that did not fit.
    pub(super) carries: Option<u64>,
    /// Bits a second that sound takes, its copies, and the lowest picture.
    pub(super) sound: u64,
    pub(super) copies: u64,
    pub(super) picture: u64,
}

impl Seen {
    fn carries(&self, needed: u64) -> bool {
        self.carries.is_none_or(|carries| needed <= carries)
    }

    /// There is room to begin; `full`: the link is, or was just now.
    fn has_room(&self, full: bool) -> bool {
        let with = |needed: u64, spare: u64| self.carries(needed + needed * spare / 100);
        let trial = self.picture == 0 && !full && with(self.sound, SPARE_ALONE);
        trial || with(self.sound + self.copies + self.picture, SPARE)
    }

    /// There is room to go on.
    fn goes_on(&self, full: bool) -> bool {
        let trial = self.picture == 0 && !full;
        trial || self.carries(self.sound + self.copies + self.picture)
    }
}

/// Decides it for one viewer. Every packet of sound needs `decided`: it stands last, beside what else it needs.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Decider {
    takes: bool,
    loss: f64,
    looked_at: Option<Instant>,
    full_at: Option<Instant>,
    /// The time since which it is another than what is done whether it fits.
    otherwise_since: Option<Instant>,
    /// Repairs come in time.
    near: bool,
    fits: bool,
    fits_since: Option<Instant>,
    /// Not before.
    rests_until: Option<Instant>,
    rest: Duration,
    /// The time of the last loss that called for it, while it is sent.
    needed_at: Option<Instant>,
    decided: Redundancy,
}

impl Decider {
    /// The viewer offers redundant audio, or does not.
    pub(super) fn set_takes(&mut self, takes: bool) {
        if self.takes != takes {
            *self = Self {
                takes,
                fits: true,
                ..Self::default()
            };
            if takes {
                self.decided = Redundancy::NotNeeded;
            }
        }
    }

    /// As last decided.
    pub(super) fn decided(&self) -> Redundancy {
        self.decided
    }

    /// Looks at the link; true if it is decided otherwise now.
    pub(super) fn look(&mut self, now: Instant, seen: &Seen) -> bool {
        if !self.takes {
            return false;
        }
        let passed = self
            .looked_at
            .replace(now)
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.note_loss(now, passed, seen);
        self.note_room(now, seen);
        let before = self.decided;
        let most = if self.near { FAR } else { NEAR };
        self.near = seen.repairs_in.is_some_and(|rtt| rtt < most);
        self.decided = match (self.needed_at.is_some(), self.fits) {
            (true, _) if self.near => Redundancy::SentAgain,
            (true, true) => Redundancy::Sent,
            // What a publisher sends twice has to fit as well.
            (_, false) => Redundancy::NoRoom,
            (false, true) => Redundancy::NotNeeded,
        };
        self.decided != before
    }

    fn note_loss(&mut self, now: Instant, passed: Duration, seen: &Seen) {
        if seen.full {
            self.full_at = Some(now);
        }
        if self.full_at.is_none_or(|at| now >= at + SETTLES) {
            let weight = passed.as_secs_f64() / SMOOTHED.as_secs_f64();
            self.loss += weight.min(1.0) * (seen.loss - self.loss);
            if self.loss >= LOSSY || self.loss >= CLEAN && self.needed_at.is_some() {
                self.needed_at = Some(now);
            }
        }
        if self.needed_at.is_some_and(|at| now >= at + LASTS) {
            self.needed_at = None;
        }
    }

    fn note_room(&mut self, now: Instant, seen: &Seen) {
        let rests = self.rests_until.is_some_and(|until| now < until);
        let full = self.full_at.is_some_and(|at| now < at + SETTLES);
        let fits = match self.fits {
            true => seen.goes_on(full),
            false => !rests && seen.has_room(full),
        };
        if fits == self.fits {
            self.otherwise_since = None;
            return;
        }
        let since = *self.otherwise_since.get_or_insert(now);
        if now >= since + PATIENCE {
            self.otherwise_since = None;
            self.fits = fits;
            if fits {
                self.fits_since = Some(now);
                return;
            }
            // Nothing of ours did not fit.
            if self.decided != Redundancy::Sent {
                return;
            }
            let proven = self.fits_since.is_none_or(|since| now >= since + PROVEN);
            self.rest = match proven {
                true => REST,
                false => (self.rest * 2).clamp(REST, REST_MAX),
            };
            self.rests_until = Some(now + self.rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(100);

    /// Decisions over time: each step is so many seconds of a link, and what is decided at its end.
    fn decisions(steps: &[(u64, Seen)]) -> Vec<&'static str> {
        let mut now = Instant::now();
        let mut decider = Decider::default();
        decider.set_takes(true);
        let decide = |(seconds, seen): &(u64, Seen)| {
            for _ in 0..seconds * 10 {
                now += LOOK;
                decider.look(now, seen);
            }
            decider.decided().code()
        };
        steps.iter().map(decide).collect()
    }

    /// Two who speak.
    const CLEAR: Seen = Seen {
        loss: 0.0,
        repairs_in: None,
        full: false,
        carries: None,
        sound: 100_000,
        copies: 70_000,
        picture: 60_000,
    };

    fn lossy(loss: f64, carries: Option<u64>) -> Seen {
        Seen {
            loss,
            carries,
            ..CLEAR
        }
    }

    #[test]
    fn sound_is_sent_twice_while_enough_is_lost_and_for_a_while_after() {
        for (what, loss, decided) in [
            ("a twentieth", 0.05, "sent"),
            ("a fiftieth", 0.02, "sent"),
            ("a packet now and then", 0.005, "no_loss"),
        ] {
            assert_eq!(decisions(&[(8, lossy(loss, None))]), [decided], "{what}");
        }
        let after = [
            (5, lossy(0.02, None)),
            (40, CLEAR),
            (10, lossy(0.006, None)),
            (10, CLEAR),
        ];
        assert_eq!(
            decisions(&after),
            ["sent", "no_loss", "no_loss", "no_loss"],
            "half of what it begins with begins nothing"
        );
        let goes_on = [(5, lossy(0.02, None)), (60, lossy(0.006, None))];
        assert_eq!(decisions(&goes_on), ["sent", "sent"]);
    }

    #[test]
    fn a_full_link_is_no_lossy_one() {
        let full = Seen {
            full: true,
            ..lossy(0.2, Some(400_000))
        };
        let still_told = lossy(0.2, Some(400_000));
        let steps = [(10, full), (1, still_told), (10, CLEAR)];
        assert_eq!(decisions(&steps), ["no_loss"; 3]);
    }

    #[test]
    fn it_is_sent_where_a_picture_fits_beside_it() {
        // 230 kbit/s are needed, and a tenth of it to begin with.
        for (carries, decided) in [(220_000, "bandwidth"), (240_000, "sent"), (260_000, "sent")] {
            let link = lossy(0.02, Some(carries));
            assert_eq!(decisions(&[(10, link)]), [decided], "{carries}");
        }
        let steps = [
            (10, lossy(0.02, Some(300_000))),
            (5, lossy(0.02, Some(200_000))),
            // It rests, and what is nearly enough begins nothing.
            (10, lossy(0.02, Some(300_000))),
            (30, lossy(0.02, Some(240_000))),
            (2, lossy(0.02, Some(300_000))),
        ];
        let decided = ["sent", "bandwidth", "bandwidth", "bandwidth", "sent"];
        assert_eq!(decisions(&steps), decided);
        // Also without losses: what a publisher sends twice would not fit.
        assert_eq!(decisions(&[(3, lossy(0.0, Some(100_000)))]), ["bandwidth"]);
    }

    #[test]
    fn without_pictures_it_is_tried_and_given_up_for_longer_each_time() {
        let alone = |carries, full| Seen {
            picture: 0,
            full,
            ..lossy(0.05, Some(carries))
        };
        let (tried, fills) = (alone(130_000, false), alone(140_000, true));
        let steps = [
            (5, tried),
            (2, fills),
            (20, tried),
            (5, tried),
            (2, fills),
            (30, tried),
            (15, tried),
        ];
        assert_eq!(
            decisions(&steps),
            [
                "sent",
                "bandwidth",
                "bandwidth",
                "sent",
                "bandwidth",
                "bandwidth",
                "sent"
            ]
        );
        assert_eq!(decisions(&[(5, alone(110_000, true))]), ["bandwidth"]);
        // What did not fit before it was needed is no reason to wait.
        let clean = |carries, full| Seen {
            loss: 0.0,
            ..alone(carries, full)
        };
        let steps = [(3, clean(130_000, true)), (5, tried)];
        assert_eq!(decisions(&steps), ["bandwidth", "sent"]);
    }

    #[test]
    fn who_is_near_asks_again_instead() {
        let at = |ms| Seen {
            repairs_in: Some(Duration::from_millis(ms)),
            ..lossy(0.03, None)
        };
        let steps = [
            (8, at(60)),
            (1, at(150)),
            (1, at(170)),
            (1, at(150)),
            (1, at(90)),
        ];
        let decided = [
            "retransmission",
            "retransmission",
            "sent",
            "sent",
            "retransmission",
        ];
        assert_eq!(decisions(&steps), decided);
    }

    #[test]
    fn who_does_not_offer_it_is_never_sent_it() {
        let mut decider = Decider::default();
        decider.set_takes(true);
        let now = Instant::now();
        for ms in (0..9_000).step_by(100) {
            decider.look(now + Duration::from_millis(ms), &lossy(0.1, None));
        }
        assert_eq!(decider.decided(), Redundancy::Sent);
        decider.set_takes(false);
        assert!(!decider.look(now + 9 * SMOOTHED, &lossy(0.1, None)));
        assert_eq!(decider.decided().code(), "not_negotiated");
    }
}
