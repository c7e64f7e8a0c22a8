//! Whether the client has proved to be at the far end of a path, and the times at which the server asks it to.
//!
//! A check proves its author, not the place. An answer to a check of the server proves the place (RFC 8445 section
//! 7.2.5.2), for as long as consent lasts (RFC 7675 section 5.1).

use std::time::{Duration, Instant};

/// The proof of one path.
#[derive(Debug, Default)]
pub(super) struct Validation {
    proven_at: Option<Instant>,
    /// The time of the server's last check.
    checked_at: Option<Instant>,
    /// The time of the server's next check, and the wait for its answer.
    retry: Option<(Instant, Duration)>,
}

/// Whether the server is to check a path now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::transport) enum CheckDue {
    /// Not now.
    No,
    /// Now; the next check is scheduled.
    Yes,
    /// All checks were sent and none was answered.
    GivenUp,
}

/// RFC 7675 section 5.1: consent expires 30 s after the last answer.
pub(super) const CONSENT: Duration = Duration::from_secs(30);
/// Age of a proof that counts for a path which is not in use. Nobody asks for proof there, and consent may outlive a NAT's
/// or a firewall's rule; another proof takes a round trip, in which the path in use serves.
const FRESH: Duration = Duration::from_secs(3);
/// Wait before the first check is repeated; it doubles each time. RFC 8445 section 14.3 has 500 ms, where many pairs
/// share a pace; here is one pair, and media waits for it.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The last wait: 3.75 s in all. A later check of the client begins again.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// Least time between two checks, however often the client asks for one (RFC 8445 section 14.2).
const PACE: Duration = Duration::from_millis(50);

impl Validation {
    /// The time of the last proof.
    pub(super) fn proven_at(&self) -> Option<Instant> {
        self.proven_at
    }

    /// Whether there is proof, and consent lasts.
    pub(super) fn is_proven(&self, now: Instant) -> bool {
        self.proven_at.is_some_and(|at| now < at + CONSENT)
    }

    /// Whether a proof is so recent that what is sent now arrives, most likely.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.proven_at.is_some_and(|at| now < at + FRESH)
    }

    /// Records a proof.
    pub(super) fn prove(&mut self, now: Instant) {
        self.proven_at = Some(now);
        self.retry = None;
    }

    /// The client checked and there is no proof: a check of the server is due now, but for the pace.
    pub(super) fn seek_proof(&mut self, now: Instant) {
        let paced = self.checked_at.map_or(now, |at| now.max(at + PACE));
        let due = self.retry.map_or(paced, |(due, _)| due.min(paced));
        self.retry = Some((due, FIRST_WAIT));
    }

    /// Records that the server has sent a check.
    pub(super) fn checked(&mut self, now: Instant) {
        self.checked_at = Some(now);
    }

    /// The time at which [`take_due`](Self::take_due) has something to say.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.retry.map(|(due, _)| due)
    }

    /// Whether a check for proof is to be sent now; that schedules the next.
    pub(super) fn take_due(&mut self, now: Instant) -> CheckDue {
        let Some((_, wait)) = self.retry.filter(|(due, _)| *due <= now) else {
            return CheckDue::No;
        };
        if wait > LAST_WAIT {
            self.retry = None;
            return CheckDue::GivenUp;
        }
        self.retry = Some((now + wait, wait * 2));
        CheckDue::Yes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_checks_are_sent_and_then_no_more_until_the_client_asks_again() {
        let start = Instant::now();
        let mut validation = Validation::default();
        assert_eq!(validation.take_due(start), CheckDue::No);
        for round in 0..2 {
            let begin = start + Duration::from_secs(60 * round);
            validation.seek_proof(begin);
            let mut sent = Vec::new();
            while let Some(due) = validation.poll_timeout() {
                assert_eq!(
                    validation.take_due(due - Duration::from_millis(1)),
                    CheckDue::No
                );
                if validation.take_due(due) == CheckDue::Yes {
                    validation.checked(due);
                    sent.push((due - begin).as_millis());
                }
            }
            assert_eq!(sent, [0, 250, 750, 1_750], "round {round}");
        }
        // A client that asks all the time is checked 20 times a second.
        let (begin, mut sent) = (start + Duration::from_secs(300), 0);
        for ms in 0..1_000 {
            let now = begin + Duration::from_millis(ms);
            validation.seek_proof(now);
            if validation.take_due(now) == CheckDue::Yes {
                validation.checked(now);
                sent += 1;
            }
        }
        assert_eq!(sent, 20);
    }

    #[test]
    fn a_proof_lasts_as_long_as_consent() {
        let start = Instant::now();
        let mut validation = Validation::default();
        assert!(!validation.is_fresh(start));
        validation.seek_proof(start);
        validation.prove(start);
        assert_eq!(validation.poll_timeout(), None);
        assert!(validation.is_proven(start + CONSENT - Duration::from_nanos(1)));
        assert!(!validation.is_proven(start + CONSENT));
        assert!(validation.is_fresh(start + FRESH - Duration::from_nanos(1)));
        assert!(!validation.is_fresh(start + FRESH));
    }
}
