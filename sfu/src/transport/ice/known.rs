//! A path that a client's checks came over, and the server's own checks over it.

use std::sync::Arc;
use std::time::Instant;

use super::super::path::{Path, PathState};
use super::check::{Remote, Transaction};
use crate::drops::DropReason;

/// A path and the checks over it.
pub(super) struct KnownPath {
    pub(super) state: PathState,
    /// Credentials that the client's last check was signed with: it knows these.
    pub(super) remote: Arc<Remote>,
    /// The server's checks that an answer may come to, as a ring.
    outstanding: [Option<Transaction>; OUTSTANDING],
    /// The number of the server's checks so far.
    checks: usize,
}

/// Answers to earlier checks count too (RFC 7675 section 5.1): those of a round trip of 1 s while a path is being
/// proven, and of 15 s and more afterwards.
const OUTSTANDING: usize = 4;

impl KnownPath {
    pub(super) fn new(now: Instant, path: Path, remote: Arc<Remote>) -> Self {
        Self {
            state: PathState::new(now, path),
            remote,
            outstanding: [None; OUTSTANDING],
            checks: 0,
        }
    }

    /// Writes a check, if one may be sent over it.
    pub(super) fn check(
        &mut self,
        now: Instant,
        transaction: Transaction,
        tie_breaker: u64,
    ) -> Option<Vec<u8>> {
        let check = self.remote.check(&transaction, tie_breaker);
        if !self.state.admits(now, check.len()) {
            return None;
        }
        self.outstanding[self.checks % OUTSTANDING] = Some(transaction);
        self.checks = self.checks.wrapping_add(1);
        self.state.checked(now);
        Some(check)
    }

    /// Whether a response over it answers one of the server's checks: only once.
    pub(super) fn is_answered(&mut self, datagram: &[u8]) -> Result<(), DropReason> {
        let transaction = self.remote.read_answer(datagram)?;
        let mut outstanding = self.outstanding.iter_mut();
        let answered = outstanding.find(|other| **other == Some(transaction));
        answered.ok_or(DropReason::StunUnaskedAnswer)?.take();
        Ok(())
    }
}
