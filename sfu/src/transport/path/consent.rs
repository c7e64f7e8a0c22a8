//! Whether media may go on over a path that was proven: consent (RFC 7675), and whether the client says anything at
//! all. It is kept for the path in use, and goes on when another takes its place.

use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;

use super::validation::CONSENT;

/// The reason that no media is sent to a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hold {
    /// The client has not proved yet to be at the path it chose.
    Unproven,
    /// Nothing authentic has come for [`SILENCE`]: no answer to a check, no RTCP, no RTP.
    Silent,
    /// No check was answered for 30 s (RFC 7675 section 5.1), whatever else came.
    NoConsent,
}

impl Hold {
    /// A stable code for wire formats and metrics.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Unproven => "address_not_proven",
            Self::Silent => "silent",
            Self::NoConsent => "consent_expired",
        }
    }
}

/// Signs of life of a client, and our checks for them.
#[derive(Debug, Default)]
pub(in crate::transport) struct Consent {
    /// Something authentic came that is no STUN, since this was last asked.
    pub(in crate::transport) spoke: bool,
    /// Some of it came over the path in use.
    pub(in crate::transport) spoke_here: bool,
    /// A check of the server was answered once. From then on only answers are consent. For a client that never
    /// answered, anything it sends over the path in use is.
    answers: bool,
    /// The time of the last authentic packet. The client's own checks do not count: they show that it wants media, not
    /// that it receives any.
    heard_at: Option<Instant>,
    /// The time of the server's next check.
    check_at: Option<Instant>,
}

/// Two checks of ours and two regular RTCP intervals (RFC 3550 section 6.2, 5 s), all in vain. A viewer that is
/// muted and receives nothing still answers checks.
const SILENCE: Duration = Duration::from_secs(10);
/// RFC 7675 section 5.1, times 0.8 to 1.2 so that they do not come all at once.
const INTERVAL: Duration = Duration::from_secs(5);

impl Consent {
    /// A check was answered.
    pub(in crate::transport) fn answered(&mut self, now: Instant) {
        self.answers = true;
        self.heard_at = Some(now);
    }

    /// Records whether the client spoke; true if that counts as consent, too.
    pub(in crate::transport) fn hear(&mut self, now: Instant) -> bool {
        let here = std::mem::take(&mut self.spoke_here);
        if !std::mem::take(&mut self.spoke) {
            return false;
        }
        self.heard_at = Some(now);
        // What comes from elsewhere says nothing of who is at the path in use.
        here && !self.answers
    }

    /// Whether the client has said what ends a hold. Answers to checks do so by themselves.
    pub(in crate::transport) fn ends(&self, hold: Hold) -> bool {
        self.spoke
            && match hold {
                Hold::Unproven => false,
                Hold::Silent => true,
                Hold::NoConsent => self.spoke_here && !self.answers,
            }
    }

    /// Starts anew: nothing was asked of the client lately, so that its silence counts from now on. True if its consent
    /// does too.
    pub(in crate::transport) fn renew(&mut self, now: Instant) -> bool {
        self.heard_at = Some(now);
        self.check_at = self.check_at.map(|_| now);
        !self.answers
    }

    /// Schedules checks that keep consent, as a path is in use.
    pub(in crate::transport) fn keep(&mut self, now: Instant, rng: &mut StdRng) {
        self.heard_at.get_or_insert(now);
        self.check_at.get_or_insert_with(|| now + interval(rng));
    }

    /// The reason to hold media for a path that was last proven at `proven_at`.
    pub(in crate::transport) fn hold(
        &self,
        now: Instant,
        proven_at: Option<Instant>,
    ) -> Option<Hold> {
        let Some(proven_at) = proven_at else {
            return Some(Hold::Unproven);
        };
        let heard_at = self.heard_at.map_or(proven_at, |at| at.max(proven_at));
        if now >= proven_at + CONSENT {
            Some(Hold::NoConsent)
        } else if now >= heard_at + SILENCE {
            Some(Hold::Silent)
        } else {
            None
        }
    }

    /// Whether a check is to be sent now; the next one is planned.
    pub(in crate::transport) fn is_check_due(&mut self, now: Instant, rng: &mut StdRng) -> bool {
        let is_due = self.check_at.is_some_and(|at| at <= now);
        if is_due {
            self.check_at = Some(now + interval(rng));
        }
        is_due
    }

    /// The time at which a check is due, or media is to be held.
    pub(in crate::transport) fn poll_timeout(
        &self,
        now: Instant,
        proven_at: Option<Instant>,
    ) -> Option<Instant> {
        let held = self.hold(now, proven_at).is_some();
        let ends = proven_at.filter(|_| !held).map(|proven_at| {
            let heard_at = self.heard_at.map_or(proven_at, |at| at.max(proven_at));
            (proven_at + CONSENT).min(heard_at + SILENCE)
        });
        ends.into_iter().chain(self.check_at).min()
    }
}

fn interval(rng: &mut StdRng) -> Duration {
    INTERVAL.mul_f64(rng.random_range(0.8..1.2))
}
