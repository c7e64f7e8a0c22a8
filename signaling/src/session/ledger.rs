//! The numbers and the token of one session: who may come back, and from where on.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Nonce, Secret, Token};

/// The state of a session that does not depend on what is in its messages.
#[derive(Debug)]
pub(crate) struct Ledger {
    secret: Secret,
    /// The nonce of the token that was told last.
    current: Nonce,
    /// The nonce that was used last, until the client has shown that it has the new token.
    last: Option<Nonce>,
    /// Numbered messages that have come from the client.
    received: u64,
}

/// A client that comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Comeback {
    /// It has had so many numbered messages.
    After(u64),
    /// It has had none, and remembers nothing: a page that was loaded again.
    Fresh,
}

/// The reason that a session is not resumed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ResumeFault {
    /// There is no such session, or it is over.
    NoSuchSession,
    /// The token was used before.
    Used,
    /// The messages after the given number are not kept, or were never sent.
    Gap,
    /// More connections want this session than its owner has looked at.
    Overloaded,
    /// Too much was sent again lately. It may come back after this time.
    Replayed(Duration),
}

impl ResumeFault {
    pub(crate) const CODES: [&'static str; 5] = [
        "no_such_session",
        "session_used",
        "session_gap",
        "overloaded",
        "rate_limited",
    ];

    pub(crate) fn code(self) -> &'static str {
        Self::CODES[self.index()]
    }

    /// Its place in [`CODES`](Self::CODES).
    pub(super) fn index(self) -> usize {
        match self {
            Self::NoSuchSession => 0,
            Self::Used => 1,
            Self::Gap => 2,
            Self::Overloaded => 3,
            Self::Replayed(_) => 4,
        }
    }

    /// The time after which the same resume may succeed, if that is known.
    pub(crate) fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Replayed(wait) => Some(wait),
            _ => None,
        }
    }

    /// A sentence for people.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::NoSuchSession => "There is no such session any more. Join again.",
            Self::Used => "This token of the session was used before. Join again.",
            Self::Gap => "The messages that you miss are not kept any more. Join again.",
            Self::Overloaded => "The server is overloaded. Try again later.",
            Self::Replayed(_) => {
                "Too many messages were sent to you again lately. Try again in a few seconds."
            }
        }
    }
}

impl Ledger {
    pub(crate) fn new(secret: Secret) -> Self {
        Self {
            secret,
            current: Nonce::random(),
            last: None,
            received: 0,
        }
    }

    /// The token by which the client comes back.
    pub(crate) fn token(&self) -> Token {
        Token {
            secret: self.secret,
            nonce: self.current,
        }
    }

    /// Numbered messages that have come from the client.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Checks a resume, and takes the token out of use. `kept`: numbers after which the server can go on; after the last one
    /// it sends nothing again. `wait`: the time after which it may send something again, if that is not now. Nothing has
    /// changed if the resume is refused.
    ///
    /// # Errors
    ///
    /// [`ResumeFault::Used`], [`ResumeFault::Gap`], [`ResumeFault::Replayed`].
    pub(crate) fn resume(
        &mut self,
        nonce: Nonce,
        comeback: Comeback,
        kept: RangeInclusive<u64>,
        wait: Option<Duration>,
    ) -> Result<(), ResumeFault> {
        if nonce != self.current && self.last != Some(nonce) {
            return Err(ResumeFault::Used);
        }
        match (comeback, wait) {
            (Comeback::After(number), _) if !kept.contains(&number) => {
                return Err(ResumeFault::Gap);
            }
            (Comeback::After(number), Some(wait)) if number < *kept.end() => {
                return Err(ResumeFault::Replayed(wait));
            }
            (Comeback::After(_), _) => {}
            // The door has counted it as a join.
            (Comeback::Fresh, _) => self.received = 0,
        }
        self.last = Some(nonce);
        self.current = Nonce::random();
        Ok(())
    }

    /// Whether a client has the token that was told last. Nothing changes.
    pub(crate) fn is_current(&self, nonce: Nonce) -> bool {
        nonce == self.current
    }

    /// The client has spoken on its connection: it has the token that was told last. `is_numbered`: the message counts.
    pub(crate) fn heard(&mut self, is_numbered: bool) {
        self.last = None;
        self.received += u64::from(is_numbered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: RangeInclusive<u64> = 0..=u64::MAX;

    #[test]
    fn a_token_is_for_one_resume_and_for_its_repetition() {
        let mut ledger = Ledger::new(Secret::random());
        let first = ledger.token();
        let resume = |ledger: &mut Ledger, token: Token| {
            ledger.resume(token.nonce, Comeback::After(0), ALL, None)
        };
        assert_eq!(resume(&mut ledger, first), Ok(()));
        // The reply was lost: the client has the first token alone.
        let lost = ledger.token();
        assert_eq!(resume(&mut ledger, first), Ok(()));
        assert_eq!(resume(&mut ledger, lost), Err(ResumeFault::Used));
        let second = ledger.token();
        ledger.heard(false);
        assert_eq!(resume(&mut ledger, first), Err(ResumeFault::Used));
        assert_eq!(resume(&mut ledger, second), Ok(()));
        assert_eq!(ledger.token().secret, first.secret);
        let guess = Token {
            nonce: Nonce::random(),
            ..first
        };
        assert_eq!(resume(&mut ledger, guess), Err(ResumeFault::Used));
    }

    #[test]
    fn the_token_that_was_told_last_alone_is_current() {
        let mut ledger = Ledger::new(Secret::random());
        let first = ledger.token();
        assert!(ledger.is_current(first.nonce) && !ledger.is_current(Nonce::random()));
        let resumed = ledger.resume(first.nonce, Comeback::Fresh, ALL, None);
        assert_eq!(resumed, Ok(()));
        // It may be resumed by again, until the client has shown that it has the next one.
        assert!(!ledger.is_current(first.nonce) && ledger.is_current(ledger.token().nonce));
    }

    #[test]
    fn a_refused_resume_changes_nothing() {
        let mut ledger = Ledger::new(Secret::random());
        ledger.heard(true);
        let token = ledger.token();
        for number in [2, 6] {
            let refused = ledger.resume(token.nonce, Comeback::After(number), 3..=5, None);
            assert_eq!(refused, Err(ResumeFault::Gap), "{number}");
        }
        let wait = Duration::from_secs(1);
        let refused = ledger.resume(token.nonce, Comeback::After(4), 3..=5, Some(wait));
        assert_eq!(refused, Err(ResumeFault::Replayed(wait)));
        assert_eq!((ledger.token(), ledger.received()), (token, 1));
        assert_eq!(
            ledger.resume(token.nonce, Comeback::After(3), 3..=5, None),
            Ok(())
        );
    }

    #[test]
    fn a_client_that_has_had_everything_or_remembers_nothing_is_sent_nothing_again() {
        let mut ledger = Ledger::new(Secret::random());
        for comeback in [Comeback::After(5), Comeback::Fresh] {
            let nonce = ledger.token().nonce;
            let wait = Some(Duration::from_secs(1));
            assert_eq!(ledger.resume(nonce, comeback, 3..=5, wait), Ok(()));
        }
    }

    #[test]
    fn a_fresh_client_counts_anew() {
        let mut ledger = Ledger::new(Secret::random());
        ledger.heard(true);
        ledger.heard(false);
        ledger.heard(true);
        assert_eq!(ledger.received(), 2);
        let nonce = ledger.token().nonce;
        assert_eq!(ledger.resume(nonce, Comeback::Fresh, 9..=9, None), Ok(()));
        assert_eq!(ledger.received(), 0);
    }

    #[test]
    fn each_fault_has_its_code() {
        for (fault, code) in [
            (ResumeFault::NoSuchSession, "no_such_session"),
            (ResumeFault::Used, "session_used"),
            (ResumeFault::Gap, "session_gap"),
            (ResumeFault::Overloaded, "overloaded"),
            (ResumeFault::Replayed(Duration::ZERO), "rate_limited"),
        ] {
            assert_eq!(fault.code(), code);
        }
    }
}
