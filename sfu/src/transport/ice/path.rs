//! One address that a client's checks came from, and the proof that the client is there and wants media.
//!
//! A check can be sent from another's address: it proves its author, not the place. An answer to a check of the server
//! proves the address (RFC 8445 section 7.2.5.2), for as long as consent lasts (RFC 7675 section 5.1). Until then no
//! more than [three times](AMPLIFICATION) the bytes received from there are sent back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::check::{Remote, Transaction};

/// An address and its proof.
pub(super) struct Path {
    pub(super) address: SocketAddr,
    /// The client's last check from here.
    pub(super) last_check: Instant,
    /// Credentials that this check was signed with: the client knows these.
    pub(super) remote: Arc<Remote>,
    proven_at: Option<Instant>,
    /// Checks of ours that an answer may come to, as a ring.
    outstanding: [Option<Transaction>; OUTSTANDING],
    /// Our checks so far.
    checks: usize,
    /// The time of the last check.
    checked_at: Option<Instant>,
    /// The time of the server's next check, and the wait for its answer.
    retry: Option<(Instant, Duration)>,
    /// Bytes that came from here and went here while it was not proven.
    received: usize,
    sent: usize,
}

/// RFC 7675 section 5.1: consent expires 30 s after the last answer.
pub(super) const CONSENT: Duration = Duration::from_secs(30);
/// Ratio of bytes sent to bytes received before proof, as for QUIC (RFC 9000 section 8.1): forging an address is not
/// worth the trouble.
pub(super) const AMPLIFICATION: usize = 3;
/// Answers to earlier checks count too (RFC 7675 section 5.1): those of a round trip of 1 s while an address
/// is being proven, and of 15 s and more afterwards.
const OUTSTANDING: usize = 4;
/// Wait before the first check is repeated; it doubles each time. RFC 8445 section 14.3 has 500 ms, where many pairs
/// share a pace; here is one pair, and media waits for it.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The last wait: 3.75 s in all. A later check of the client begins again.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// Least time between two checks, however often the client asks for one (RFC 8445 section 14.2).
const PACE: Duration = Duration::from_millis(50);

impl Path {
    pub(super) fn new(now: Instant, address: SocketAddr, remote: Arc<Remote>) -> Self {
        Self {
            address,
            last_check: now,
            remote,
            proven_at: None,
            outstanding: [None; OUTSTANDING],
            checks: 0,
            checked_at: None,
            retry: None,
            received: 0,
            sent: 0,
        }
    }

    /// The time of the last proof.
    pub(super) fn proven_at(&self) -> Option<Instant> {
        self.proven_at
    }

    /// Whether somebody has proved to be here, and consent lasts.
    pub(super) fn is_proven(&self, now: Instant) -> bool {
        self.proven_at.is_some_and(|at| now < at + CONSENT)
    }

    /// Records a proof.
    pub(super) fn prove(&mut self, now: Instant) {
        self.proven_at = Some(now);
        self.retry = None;
    }

    /// Counts bytes received from this address.
    pub(super) fn received(&mut self, now: Instant, bytes: usize) {
        if !self.is_proven(now) {
            self.received = self.received.saturating_add(bytes);
        }
    }

    /// Whether so many bytes may be sent here; they are counted if so.
    pub(super) fn admits(&mut self, now: Instant, bytes: usize) -> bool {
        if self.is_proven(now) {
            return true;
        }
        let sent = self.sent.saturating_add(bytes);
        let admits = sent <= self.received.saturating_mul(AMPLIFICATION);
        if admits {
            self.sent = sent;
        }
        admits
    }

    /// The client checked and there is no proof: ours is due now, but for the pace.
    pub(super) fn seek_proof(&mut self, now: Instant) {
        let paced = self.checked_at.map_or(now, |at| now.max(at + PACE));
        let due = self.retry.map_or(paced, |(due, _)| due.min(paced));
        self.retry = Some((due, FIRST_WAIT));
    }

    /// The time at which [`is_check_due`](Self::is_check_due) returns one.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.retry.map(|(due, _)| due)
    }

    /// Whether a check for proof is to be sent now; that schedules the next. None: it was the last, and none was
    /// answered.
    pub(super) fn is_check_due(&mut self, now: Instant) -> Option<bool> {
        let Some((_, wait)) = self.retry.filter(|(due, _)| *due <= now) else {
            return Some(false);
        };
        if wait > LAST_WAIT {
            self.retry = None;
            return None;
        }
        self.retry = Some((now + wait, wait * 2));
        Some(true)
    }

    /// Writes a check, if one may be sent here.
    pub(super) fn check(
        &mut self,
        now: Instant,
        transaction: Transaction,
        tie_breaker: u64,
    ) -> Option<Vec<u8>> {
        let check = self.remote.check(&transaction, tie_breaker);
        if !self.admits(now, check.len()) {
            return None;
        }
        self.outstanding[self.checks % OUTSTANDING] = Some(transaction);
        self.checks = self.checks.wrapping_add(1);
        self.checked_at = Some(now);
        Some(check)
    }

    /// Whether a response from here answers one of our checks: only once.
    pub(super) fn is_answered(&mut self, datagram: &[u8]) -> Result<(), &'static str> {
        let transaction = self.remote.read_answer(datagram)?;
        let mut outstanding = self.outstanding.iter_mut();
        let answered = outstanding.find(|other| **other == Some(transaction));
        answered.ok_or("stun_unasked_answer")?.take();
        Ok(())
    }
}
