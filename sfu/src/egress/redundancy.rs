//! Decides whether audio is sent twice to a viewer (RFC 2198): each packet with a copy of the one before.
//!
//! Measured with Chromium over a path that loses 2% and 5%. Audio sent once: 2.2% and 4.8% is concealed. Audio asked
//! for again: 0.3% at a round trip of 60 ms, but 1.5% and 3.7% at 200 ms. Audio sent twice: 0.0% to 0.2% at either
//! round trip, and the receiver waits for less. Copies cost a third to a half of the audio's rate; a path without
//! losses gets none.
//!
//! - A near viewer that asks for lost audio again is sent it again, which costs next to nothing. With pictures on links
//!   of 200 to 500 kbit/s that lose 2%, at a round trip of 60 ms, 0.0% to 0.2% is concealed; copies would take a
//!   picture away.
//! - Losses count while the link is not full. A queue that overflows loses packets too, and more packets do not help.
//! - Copies are sent only while audio, copies and the lowest picture fit. Audio comes before pictures, but a call that
//!   lacks a fiftieth of its audio is better than one without any picture.
//! - Without pictures the estimate is little more than the audio's rate, as nothing else was tried. There the copies
//!   are the trial: they begin if a fifth more would fit, and stop if they fill the link.
//! - Copies go on for a while after the last loss, and rest for a while after they did not fit: their rate is taken
//!   from pictures, and each change of those costs a keyframe.

use std::time::{Duration, Instant};

/// Smoothed losses from which on audio is sent twice, and below which it is not any more.
const LOSSY: f64 = 0.01;
const CLEAN: f64 = 0.004;
/// Time over which losses are smoothed: 300 packets of two audio streams.
const SMOOTHED: Duration = Duration::from_secs(3);
/// Time without losses after which copies stop.
const LASTS: Duration = Duration::from_secs(30);
/// Time after a full link in which losses do not count: they are reported late.
const SETTLES: Duration = Duration::from_secs(1);
/// Time for which copies must not fit before they stop, and fit before they begin.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause after copies did not fit. It doubles each further time, up to [`REST_MAX`].
const REST: Duration = Duration::from_secs(20);
const REST_MAX: Duration = Duration::from_secs(320);
/// Time for which copies must have fitted to be proven.
const PROVEN: Duration = Duration::from_secs(60);
/// Round trip below which repairs of audio come in time, and above which they come too late.
const NEAR: Duration = Duration::from_millis(120);
const FAR: Duration = Duration::from_millis(160);
/// Spare room needed to begin, in percent of audio, copies and picture, and in percent of audio alone.
const SPARE: u64 = 10;
const SPARE_ALONE: u64 = 20;

/// The way that losses of audio are handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Redundancy {
    /// The viewer offers no redundant audio.
    #[default]
    NotNegotiated,
    /// Too little is lost. A publisher's own redundancy is passed on: it may repair losses of its uplink.
    NotNeeded,
    /// Lost packets are asked for again, and come in time.
    SentAgain,
    /// There is no room for copies, nor for a publisher's own redundancy.
    NoRoom,
    /// Each packet carries a copy of the one before.
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

/// Measurements of a link.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Share of packets lost lately (0 to 1).
    pub(super) loss: f64,
    /// The round trip, if it is known and the viewer asks for lost audio again.
    pub(super) repairs_in: Option<Duration>,
    /// More is being sent than the link carries, or was just now.
    pub(super) full: bool,
    /// Bits a second that the link carries; none if every rate tried has fitted.
    pub(super) carries: Option<u64>,
    /// Bits a second of audio, of its copies, and of the lowest picture.
    pub(super) sound: u64,
    pub(super) copies: u64,
    pub(super) picture: u64,
}

impl Seen {
    fn carries(&self, needed: u64) -> bool {
        self.carries.is_none_or(|carries| needed <= carries)
    }

    /// Whether there is room to begin; `full`: the link is full, or was just now.
    fn has_room(&self, full: bool) -> bool {
        let with = |needed: u64, spare: u64| self.carries(needed + needed * spare / 100);
        let trial = self.picture == 0 && !full && with(self.sound, SPARE_ALONE);
        trial || with(self.sound + self.copies + self.picture, SPARE)
    }

    /// Whether there is room to go on.
    fn goes_on(&self, full: bool) -> bool {
        let trial = self.picture == 0 && !full;
        trial || self.carries(self.sound + self.copies + self.picture)
    }
}

/// Decides for one viewer. Every audio packet needs `decided`, which stands last, beside other fields that it needs.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Decider {
    takes: bool,
    loss: f64,
    looked_at: Option<Instant>,
    full_at: Option<Instant>,
    /// The time since which copies should change but wait for [`PATIENCE`].
    otherwise_since: Option<Instant>,
    /// Repairs come in time.
    near: bool,
    fits: bool,
    fits_since: Option<Instant>,
    /// Copies do not begin before.
    rests_until: Option<Instant>,
    rest: Duration,
    /// The time of the last loss that needed copies, while they are sent.
    needed_at: Option<Instant>,
    decided: Redundancy,
}

impl Decider {
    /// Sets whether the viewer takes redundant audio.
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

    /// The last decision.
    pub(super) fn decided(&self) -> Redundancy {
        self.decided
    }

    /// Decides by the link's measurements; true if the decision changed.
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
            // A publisher's own redundancy has to fit as well.
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
            // The link was full without copies.
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

    /// Decisions over time: each step is so many seconds of a link, with the decision at its end.
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

    /// Two people speak.
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
        // 230 kbit/s are needed, and a tenth more to begin.
        for (carries, decided) in [(220_000, "bandwidth"), (240_000, "sent"), (260_000, "sent")] {
            let link = lossy(0.02, Some(carries));
            assert_eq!(decisions(&[(10, link)]), [decided], "{carries}");
        }
        let steps = [
            (10, lossy(0.02, Some(300_000))),
            (5, lossy(0.02, Some(200_000))),
            // It rests, and nearly enough room begins nothing.
            (10, lossy(0.02, Some(300_000))),
            (30, lossy(0.02, Some(240_000))),
            (2, lossy(0.02, Some(300_000))),
        ];
        let decided = ["sent", "bandwidth", "bandwidth", "bandwidth", "sent"];
        assert_eq!(decisions(&steps), decided);
        // A publisher's own redundancy would not fit either, even without losses.
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
        // A full link before copies were needed causes no rest.
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
