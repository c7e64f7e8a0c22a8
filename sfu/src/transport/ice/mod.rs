//! ICE-lite (RFC 8445 section 2.5): the client checks and nominates, we answer.
//!
//! Nothing changes before a request's MESSAGE-INTEGRITY is verified, and the role never changes:
//! `rtc-ice` handles role conflicts first, where one forged packet flips it.

mod stun;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ring::hmac;

pub(crate) use stun::stun_local_ufrag;

use super::IceCredentials;
use stun::BindingRequest;

/// The fate of a STUN datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StunOutcome {
    /// The sender's address is this peer's from now on: the worker binds it for demultiplexing.
    Bound,
    /// The sender's address was this peer's already.
    Refreshed,
    /// Not authenticated, or not acceptable. Nothing changed. The code is for metrics.
    Rejected(&'static str),
}

/// The ICE-lite agent of one peer.
#[repr(C)]
pub(super) struct IceLite {
    selected: Option<SocketAddr>,
    paths: Vec<Path>,
    credentials: Credentials,
    /// Those before a restart, until the client has used the new ones (RFC 8445 section 9).
    previous: Option<Credentials>,
    last_check: Option<Instant>,
}

struct Credentials {
    /// `ours:theirs`
    username: Vec<u8>,
    key: hmac::Key,
}

/// An address that authenticated.
struct Path {
    address: SocketAddr,
    last_check: Instant,
}

/// The outcome of a check.
pub(super) struct Checked {
    pub(super) outcome: StunOutcome,
    /// To be sent back where the check came from.
    pub(super) response: Option<Vec<u8>>,
    /// The selected address before, if it is another one now.
    pub(super) moved_from: Option<SocketAddr>,
    /// An address that made way for the new one.
    pub(super) forgotten: Option<SocketAddr>,
}

/// A client pairs each of its host, reflexive and relayed addresses, over Wi-Fi, cellular and VPN,
/// in both families. The one silent longest makes way for a 17th, so that roaming never ends.
const MAX_PATHS: usize = 16;
/// Browsers check the path they use every 2.5 s and RFC 7675 wants consent every 6 s at the latest;
/// beyond that, a check from elsewhere is taken for a client that moved.
const SILENCE: Duration = Duration::from_secs(7);

impl IceLite {
    pub(super) fn new(ours: &IceCredentials, remote: &IceCredentials) -> Self {
        Self {
            credentials: Credentials::new(ours, remote),
            previous: None,
            paths: Vec::new(),
            selected: None,
            last_check: None,
        }
    }

    /// Answers a check.
    pub(super) fn handle(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Checked {
        let request = match BindingRequest::parse(datagram) {
            Ok(request) => request,
            Err(code) => return Checked::rejected(code, None),
        };
        let Some(credentials) = self.credentials_of(&request) else {
            return Checked::rejected("stun_bad_username", None);
        };
        let key = &credentials.key;
        if !request.is_signed_by(key) {
            return Checked::rejected("stun_bad_integrity", None);
        }
        if request.controlled {
            let response = request.role_conflict(key);
            return Checked::rejected("stun_role_conflict", Some(response));
        }
        if let Some(kind) = request.unknown {
            let response = request.unknown_attribute(kind, key);
            return Checked::rejected("stun_unknown_attribute", Some(response));
        }
        let response = request.success(from, key);
        if request.username == self.credentials.username {
            self.previous = None;
        }
        let mut checked = self.record(now, from);
        checked.response = Some(response);
        checked.moved_from = self.select(now, from, request.use_candidate);
        checked
    }

    /// New credentials. Paths and consent stay.
    pub(super) fn restart(&mut self, ours: &IceCredentials, remote: &IceCredentials) {
        let restarted = Credentials::new(ours, remote);
        self.previous = Some(std::mem::replace(&mut self.credentials, restarted));
    }

    /// The client is not at the selected path any more: the next that it checks is selected.
    pub(super) fn deselect(&mut self) {
        self.selected = None;
    }

    /// Checks were not asked for lately: their lack counts from now on.
    pub(super) fn renew_consent(&mut self, now: Instant) {
        if let Some(last) = &mut self.last_check {
            *last = now;
        }
    }

    /// Where to send.
    pub(super) fn selected(&self) -> Option<SocketAddr> {
        self.selected
    }

    /// The time of the last check that authenticated (RFC 7675).
    pub(super) fn last_check(&self) -> Option<Instant> {
        self.last_check
    }

    /// Whether a check from this address authenticated.
    pub(super) fn is_verified(&self, address: SocketAddr) -> bool {
        self.paths.iter().any(|path| path.address == address)
    }

    fn credentials_of(&self, request: &BindingRequest<'_>) -> Option<&Credentials> {
        std::iter::once(&self.credentials)
            .chain(&self.previous)
            .find(|credentials| credentials.username == request.username)
    }

    fn record(&mut self, now: Instant, from: SocketAddr) -> Checked {
        self.last_check = Some(now);
        if let Some(path) = self.paths.iter_mut().find(|path| path.address == from) {
            path.last_check = now;
            return Checked::accepted(StunOutcome::Refreshed, None);
        }
        let mut forgotten = None;
        if self.paths.len() == MAX_PATHS {
            let unused = self.paths.iter().enumerate();
            let unused = unused.filter(|(_, path)| Some(path.address) != self.selected);
            let oldest = unused.min_by_key(|(_, path)| path.last_check);
            if let Some(at) = oldest.map(|(at, _)| at) {
                forgotten = Some(self.paths.swap_remove(at).address);
            }
        }
        self.paths.push(Path {
            address: from,
            last_check: now,
        });
        Checked::accepted(StunOutcome::Bound, forgotten)
    }

    /// The first path is used until the client nominates; then nominations decide, or, when the
    /// selected path has gone silent, whatever path is still checked.
    fn select(&mut self, now: Instant, from: SocketAddr, nominated: bool) -> Option<SocketAddr> {
        let Some(selected) = self.selected else {
            self.selected = Some(from);
            return None;
        };
        let silent = self
            .paths
            .iter()
            .find(|path| path.address == selected)
            .is_none_or(|path| now.saturating_duration_since(path.last_check) > SILENCE);
        if selected == from || !(nominated || silent) {
            return None;
        }
        self.selected = Some(from);
        Some(selected)
    }
}

impl Credentials {
    fn new(ours: &IceCredentials, remote: &IceCredentials) -> Self {
        Self {
            username: format!("{}:{}", ours.ufrag, remote.ufrag).into_bytes(),
            key: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, ours.pwd.as_bytes()),
        }
    }
}

impl Checked {
    fn rejected(code: &'static str, response: Option<Vec<u8>>) -> Self {
        Self {
            outcome: StunOutcome::Rejected(code),
            response,
            moved_from: None,
            forgotten: None,
        }
    }

    fn accepted(outcome: StunOutcome, forgotten: Option<SocketAddr>) -> Self {
        Self {
            outcome,
            response: None,
            moved_from: None,
            forgotten,
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
