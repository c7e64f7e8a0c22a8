//! A path that a client's checks came over, and what the server knows of it.

use std::time::{Duration, Instant};

use super::Path;
use super::allowance::Allowance;
use super::validation::{CheckDue, Validation};

/// A path and its state.
#[derive(Debug)]
pub(in crate::transport) struct PathState {
    path: Path,
    /// The client's last check over it.
    last_check: Instant,
    validation: Validation,
    allowance: Allowance,
}

/// Browsers check the path they use every 2.5 s and RFC 7675 wants consent every 6 s at the latest;
/// beyond that, a check from elsewhere is taken for a client that moved.
const SILENCE: Duration = Duration::from_secs(7);

/// Time without a check after which a connection is given up: Chromium checks the paths that it keeps for later every 25 s.
const IDLE: Duration = Duration::from_secs(60);

impl PathState {
    /// A path over which the client checks for the first time.
    pub(in crate::transport) fn new(now: Instant, path: Path) -> Self {
        Self {
            path,
            last_check: now,
            validation: Validation::default(),
            allowance: Allowance::default(),
        }
    }

    /// The path.
    pub(in crate::transport) fn path(&self) -> Path {
        self.path
    }

    /// The time of the client's last check.
    pub(in crate::transport) fn last_check(&self) -> Instant {
        self.last_check
    }

    /// Records a check of the client.
    pub(in crate::transport) fn checks(&mut self, now: Instant) {
        self.last_check = now;
    }

    /// Whether the client has not checked for so long that it may be elsewhere.
    pub(in crate::transport) fn is_silent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_check) > SILENCE
    }

    /// Whether the client has not checked for so long that it has given the path up.
    pub(in crate::transport) fn is_idle(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_check) >= IDLE
    }

    /// The time of the last proof.
    pub(in crate::transport) fn proven_at(&self) -> Option<Instant> {
        self.validation.proven_at()
    }

    /// Whether somebody has proved to be there, and consent lasts.
    pub(in crate::transport) fn is_proven(&self, now: Instant) -> bool {
        self.validation.is_proven(now)
    }

    /// Whether somebody has proved to be there in the last seconds.
    pub(in crate::transport) fn is_fresh(&self, now: Instant) -> bool {
        self.validation.is_fresh(now)
    }

    /// Records a proof.
    pub(in crate::transport) fn prove(&mut self, now: Instant) {
        self.validation.prove(now);
    }

    /// Counts bytes that came over it.
    pub(in crate::transport) fn received(&mut self, now: Instant, bytes: usize) {
        if !self.is_proven(now) {
            self.allowance.received(bytes);
        }
    }

    /// Whether so many bytes may be sent over it; they are counted if so.
    pub(in crate::transport) fn admits(&mut self, now: Instant, bytes: usize) -> bool {
        self.is_proven(now) || self.allowance.admits(bytes)
    }

    /// Asks for proof: a check of the server is due now, but for the pace.
    pub(in crate::transport) fn seek_proof(&mut self, now: Instant) {
        self.validation.seek_proof(now);
    }

    /// Records that the server has sent a check.
    pub(in crate::transport) fn checked(&mut self, now: Instant) {
        self.validation.checked(now);
    }

    /// The time at which [`take_due`](Self::take_due) has something to say.
    pub(in crate::transport) fn poll_timeout(&self) -> Option<Instant> {
        self.validation.poll_timeout()
    }

    /// Whether a check for proof is to be sent now; that schedules the next.
    pub(in crate::transport) fn take_due(&mut self, now: Instant) -> CheckDue {
        self.validation.take_due(now)
    }
}
