//! ICE-lite (RFC 8445 section 2.5) with proof: the client checks and nominates, and the server answers. The server also
//! checks that the client receives packets over the path it sends on. The states of a path are in
//! [`path`](super::path).
//!
//! A lite agent makes no checks: RFC 8445 section 2.5 does not ask for them, as it sits at a public address, and RFC
//! 7675 section 3 has only full agents obtain consent. But its media goes to any address from which a client checks
//! with the right password, even a stranger's. So before media goes to an address, a check of the server has been
//! answered from there, or a DTLS handshake was completed there. While media goes there, answers keep coming, as RFC
//! 7675 section 5.1 asks of full agents. Nothing else of ICE is done: no candidate pairs, no nomination, no role. Every
//! agent answers checks (RFC 8445 section 7.3): browsers, `str0m`, `webrtc-rs` and aiortc also answer those of a lite
//! agent.
//!
//! Nothing changes before a message's MESSAGE-INTEGRITY is verified, and the role never changes: `rtc-ice` handles role
//! conflicts first, where one forged packet flips it.

mod check;
mod known;
mod plain;
mod stun;

use std::sync::Arc;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ring::hmac;

pub(crate) use check::stun_answer_tag;
pub(crate) use plain::{PlainAnswers, Query, QueryStep, place_discovered};
pub(crate) use stun::stun_local_ufrag;

use super::IceCredentials;
use super::path::{CheckDue, CheckFacts, Consent, Hold, Moved, Path, PathState, Selection};
use crate::drops::DropReason;
use check::Remote;
use known::KnownPath;
use stun::BindingRequest;

/// The fate of a STUN datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StunOutcome {
    /// The client checks over this path, which is new.
    Bound,
    /// The client checks over this path again.
    Refreshed,
    /// A check of the server was answered: the client is at this path.
    Proven,
    /// The message is not authenticated, or not acceptable. Nothing changed.
    Rejected(DropReason),
}

/// The ICE-lite agent of one peer.
#[repr(C)]
pub(super) struct IceLite {
    /// The path for media: the selected one, while it is proven and consent lasts.
    media: Option<Path>,
    /// The reason that media is held, if it is.
    hold: Option<Hold>,
    consent: Consent,
    selection: Selection,
    paths: Vec<KnownPath>,
    credentials: Credentials,
    /// The credentials before a restart, until the client has used the new ones (RFC 8445 section 9).
    previous: Option<Credentials>,
    last_check: Option<Instant>,
    /// The time at which any work is due.
    due: Option<Instant>,
    /// First bytes of the server's transaction ids: see [`stun_answer_tag`].
    tag: u32,
    tie_breaker: u64,
    rng: StdRng,
}

struct Credentials {
    /// `ours:theirs`
    username: Vec<u8>,
    key: hmac::Key,
    remote: Arc<Remote>,
}

/// The outcome of a message or of a time-out.
#[derive(Default)]
pub(super) struct Steps {
    /// Messages to be sent.
    pub(super) send: Vec<(Path, Vec<u8>)>,
    /// The selected path before and now, if it is another one.
    pub(super) moved: Option<Moved>,
    /// A path that made way for a new one.
    pub(super) forgotten: Option<Path>,
    /// A path that was proven.
    pub(super) proven: Option<Path>,
    /// The number of paths over which none of the server's checks was answered.
    pub(super) unproven: u64,
}

/// A client pairs each of its host, reflexive and relayed addresses, over Wi-Fi, cellular and VPN,
/// in both families. The one silent longest makes way for a 17th, so that roaming never ends.
const MAX_PATHS: usize = 16;
/// Streams among these paths: a client on two networks has one by TCP and one by TURN in each family. A worker has few
/// streams for all of its peers, and each has rings of its own. The one that is checked least makes way for a ninth.
const MAX_STREAMS: usize = 8;

impl IceLite {
    /// Waits for the client. Our checks carry `tag`, and the rest of their numbers follow from `seed`.
    pub(super) fn new(
        ours: &IceCredentials,
        remote: &IceCredentials,
        tag: u32,
        seed: [u8; 32],
    ) -> Self {
        let mut rng = StdRng::from_seed(seed);
        Self {
            media: None,
            hold: Some(Hold::Unproven),
            consent: Consent::default(),
            selection: Selection::default(),
            paths: Vec::new(),
            credentials: Credentials::new(ours, remote),
            previous: None,
            last_check: None,
            due: None,
            tag,
            tie_breaker: rng.random(),
            rng,
        }
    }

    /// Handles a STUN datagram: a check, or an answer to one of the server's.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        from: Path,
        datagram: &[u8],
    ) -> (StunOutcome, Steps) {
        let mut steps = Steps::default();
        let handled = match stun_answer_tag(datagram) {
            Some(_) => self.take_answer(now, from, datagram, &mut steps),
            None => self.take_check(now, from, datagram, &mut steps),
        };
        let outcome = handled.unwrap_or_else(StunOutcome::Rejected);
        self.refresh(now);
        (outcome, steps)
    }

    fn take_check(
        &mut self,
        now: Instant,
        from: Path,
        datagram: &[u8],
        steps: &mut Steps,
    ) -> Result<StunOutcome, DropReason> {
        let request = BindingRequest::parse(datagram)?;
        let known = std::iter::once(&self.credentials).chain(&self.previous);
        let mut known = known.filter(|known| known.username == request.username);
        let credentials = known.next().ok_or(DropReason::StunBadUsername)?;
        let key = &credentials.key;
        if !request.is_signed_by(key) {
            return Err(DropReason::StunBadIntegrity);
        }
        if request.controlled {
            steps.send.push((from, request.role_conflict(key)));
            return Err(DropReason::StunRoleConflict);
        }
        if let Some(kind) = request.unknown {
            let response = request.unknown_attribute(kind, key);
            steps.send.push((from, response));
            return Err(DropReason::StunUnknownAttribute);
        }
        let response = request.success(from.mapped_addr(), key);
        let remote = Arc::clone(&credentials.remote);
        if request.username == self.credentials.username && self.previous.take().is_some() {
            self.selection.restart();
        }
        let outcome = self.record(now, from, remote, steps);
        self.select(now, from, request.use_candidate, steps);
        let is_nominee = self.selection.is_nominee(from);
        if let Some(state) = self.state_mut(from) {
            state.received(now, datagram.len());
            // The response is smaller than the request: it always fits.
            state.admits(now, response.len());
            if !state.is_proven(now) || is_nominee {
                state.seek_proof(now);
            }
        }
        steps.send.push((from, response));
        self.seek_proof(now, steps);
        Ok(outcome)
    }

    fn take_answer(
        &mut self,
        now: Instant,
        from: Path,
        datagram: &[u8],
        steps: &mut Steps,
    ) -> Result<StunOutcome, DropReason> {
        let mut paths = self.paths.iter_mut();
        let path = paths.find(|path| path.state.path() == from);
        path.ok_or(DropReason::StunUnaskedAnswer)?
            .is_answered(datagram)?;
        self.consent.answered(now);
        self.prove(now, from, steps);
        Ok(StunOutcome::Proven)
    }

    /// A DTLS handshake went over a path. That proves it as well as an answer does, and is all there
    /// is of a client that answers nothing.
    pub(super) fn handshake_done(&mut self, now: Instant, at: Path) -> Steps {
        let mut steps = Steps::default();
        self.prove(now, at, &mut steps);
        self.refresh(now);
        steps
    }

    /// Does everything that is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Steps {
        let mut steps = Steps::default();
        let is_due = self.due.is_some_and(|due| due <= now) || self.is_spoken_to();
        if self.consent.hear(now)
            && let Some(selected) = self.selected()
            && let Some(state) = self.state_mut(selected)
            && state.proven_at().is_some()
        {
            state.prove(now);
        }
        if is_due {
            self.seek_proof(now, &mut steps);
            self.check_consent(now, &mut steps);
            self.refresh(now);
        }
        steps
    }

    /// The time at which [`handle_timeout`](Self::handle_timeout) has work; `now` is the latest time known.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        match self.is_spoken_to() {
            true => Some(now),
            false => self.due,
        }
    }

    /// New credentials. Paths and consent stay.
    pub(super) fn restart(&mut self, ours: &IceCredentials, remote: &IceCredentials) {
        let restarted = Credentials::new(ours, remote);
        self.previous = Some(std::mem::replace(&mut self.credentials, restarted));
    }

    /// A path is gone: its connection was closed. The best of the others takes its place, if it was in use.
    pub(super) fn path_closed(&mut self, now: Instant, at: Path) -> Steps {
        let mut steps = Steps::default();
        self.paths.retain(|path| path.state.path() != at);
        self.selection.forget(at);
        if self.selected() == Some(at) {
            let others = self.paths.iter().map(|path| &path.state);
            let best = others.max_by_key(|state| (state.is_proven(now), state.last_check()));
            steps.moved = self.selection.replace(best.map(PathState::path));
        }
        self.refresh(now);
        steps
    }

    /// The client is not at the selected path any more: the next that it checks is selected.
    pub(super) fn deselect(&mut self) {
        self.selection.clear();
        (self.media, self.hold) = (None, Some(Hold::Unproven));
    }

    /// Checks were not asked for lately, nor made: their lack counts from now on.
    pub(super) fn renew_consent(&mut self, now: Instant) {
        if let Some(last) = &mut self.last_check {
            *last = now;
        }
        if let Some(selected) = self.selected() {
            let renewed = self.consent.renew(now);
            if let Some(state) = self.state_mut(selected) {
                match renewed {
                    true if state.proven_at().is_some() => state.prove(now),
                    _ if !state.is_proven(now) => state.seek_proof(now),
                    _ => {}
                }
            }
        }
        self.refresh(now);
    }

    /// The path for everything but media.
    pub(super) fn selected(&self) -> Option<Path> {
        self.selection.selected()
    }

    /// The path for media.
    pub(super) fn media(&self) -> Option<Path> {
        self.media
    }

    /// The reason that media is held; none if it is sent.
    pub(super) fn hold(&self) -> Option<Hold> {
        self.hold
    }

    /// Records that something authentic came other than STUN. The next timeout looks at it.
    pub(super) fn heard(&mut self) {
        self.consent.spoke = true;
    }

    /// Follows a packet of the client that is no check: authentic, or of a handshake. None if it came over the path in use.
    /// `is_sure`: the client is there for certain, and not just the packet late.
    pub(super) fn spoken(&mut self, now: Instant, at: Path, is_sure: bool) -> Option<Steps> {
        if self.selection.is_spoken_over(now, at) {
            self.consent.spoke_here = true;
            return None;
        }
        let mut steps = Steps::default();
        let state = self.state_mut(at)?;
        let is_proven = state.is_proven(now);
        if !is_proven {
            state.seek_proof(now);
        }
        steps.moved = self.selection.spoken_elsewhere(now, at, is_proven, is_sure);
        if steps.moved.is_some() {
            self.consent.keep(now, &mut self.rng);
        }
        self.seek_proof(now, &mut steps);
        self.refresh(now);
        Some(steps)
    }

    /// Follows an authentic packet over an unknown path: the client's NAT has given it another port, and the client does
    /// not know. The path is used as soon as it is proven.
    pub(super) fn rebound(&mut self, now: Instant, at: Path, bytes: usize) -> Steps {
        let mut steps = Steps::default();
        if self.state(at).is_none() {
            let remote = Arc::clone(&self.credentials.remote);
            self.insert(now, at, remote, &mut steps);
        }
        self.received(now, at, bytes);
        if let Some(spoken) = self.spoken(now, at, false) {
            steps.moved = spoken.moved;
            steps.send = spoken.send;
            steps.unproven = spoken.unproven;
        }
        steps
    }

    /// The time of the last packet over the path in use that is no check.
    pub(super) fn spoken_at(&self) -> Option<Instant> {
        self.selection.spoken_at()
    }

    /// Whether so many bytes that are no media may go over a path.
    pub(super) fn admits(&mut self, now: Instant, to: Path, bytes: usize) -> bool {
        let state = self.state_mut(to);
        state.is_some_and(|state| state.admits(now, bytes))
    }

    /// Counts bytes of DTLS that came over a path.
    pub(super) fn received(&mut self, now: Instant, from: Path, bytes: usize) {
        if let Some(state) = self.state_mut(from) {
            state.received(now, bytes);
        }
    }

    /// The time of the last check that authenticated (RFC 7675).
    pub(super) fn last_check(&self) -> Option<Instant> {
        self.last_check
    }

    /// Whether a check over this path authenticated.
    pub(super) fn is_known(&self, path: Path) -> bool {
        self.state(path).is_some()
    }

    /// Whether the client still uses a path, or keeps it for later.
    pub(super) fn keeps(&self, now: Instant, path: Path) -> bool {
        let state = self.state(path);
        state.is_some_and(|state| !state.is_idle(now))
    }

    /// Whether the client has proved to be at this path.
    pub(super) fn is_proven(&self, now: Instant, path: Path) -> bool {
        self.state(path).is_some_and(|state| state.is_proven(now))
    }

    fn record(
        &mut self,
        now: Instant,
        from: Path,
        remote: Arc<Remote>,
        steps: &mut Steps,
    ) -> StunOutcome {
        self.last_check = Some(now);
        let mut paths = self.paths.iter_mut();
        if let Some(path) = paths.find(|path| path.state.path() == from) {
            path.state.checks(now);
            path.remote = remote;
            return StunOutcome::Refreshed;
        }
        self.insert(now, from, remote, steps);
        StunOutcome::Bound
    }

    /// Adds a path; the one that is checked least makes way for it.
    fn insert(&mut self, now: Instant, at: Path, remote: Arc<Remote>, steps: &mut Steps) {
        let streams = self.paths.iter().filter(|path| is_stream(path));
        let has_streams = matches!(at, Path::Stream(_)) && streams.count() == MAX_STREAMS;
        if self.paths.len() == MAX_PATHS || has_streams {
            let selected = self.selected();
            let unused = self.paths.iter().enumerate();
            let unused = unused.filter(|(_, path)| Some(path.state.path()) != selected);
            let unused = unused.filter(|(_, path)| !has_streams || is_stream(path));
            let oldest = unused.min_by_key(|(_, path)| path.state.last_check());
            if let Some(at) = oldest.map(|(at, _)| at) {
                let forgotten = self.paths.swap_remove(at).state.path();
                self.selection.forget(forgotten);
                steps.forgotten = Some(forgotten);
            }
        }
        self.paths.push(KnownPath::new(now, at, remote));
    }

    fn select(&mut self, now: Instant, from: Path, nominates: bool, steps: &mut Steps) {
        let selected = self.selected().and_then(|selected| self.state(selected));
        let facts = CheckFacts {
            nominates,
            is_fresh: self.state(from).is_some_and(|state| state.is_fresh(now)),
            selected_is_proven: selected.is_some_and(|state| state.is_proven(now)),
            selected_is_fresh: selected.is_some_and(|state| state.is_fresh(now)),
            selected_is_silent: selected.is_none_or(|state| state.is_silent(now)),
        };
        steps.moved = self.selection.checked(now, from, facts);
        if steps.moved.is_some() {
            self.consent.keep(now, &mut self.rng);
        }
    }

    fn prove(&mut self, now: Instant, at: Path, steps: &mut Steps) {
        let selected = self.selected();
        let was_proven = selected.is_some_and(|selected| self.is_proven(now, selected));
        let Some(state) = self.state_mut(at) else {
            return;
        };
        state.prove(now);
        steps.proven = Some(at);
        steps.moved = self.selection.proven(at, was_proven);
        if self.selected() == Some(at) {
            self.consent.keep(now, &mut self.rng);
        }
    }

    /// Sends the checks that are due over paths without proof.
    fn seek_proof(&mut self, now: Instant, steps: &mut Steps) {
        for path in &mut self.paths {
            match path.state.take_due(now) {
                CheckDue::No => {}
                CheckDue::Yes => {
                    let transaction = transaction(self.tag, &mut self.rng);
                    if let Some(check) = path.check(now, transaction, self.tie_breaker) {
                        steps.send.push((path.state.path(), check));
                    }
                }
                CheckDue::GivenUp => steps.unproven += 1,
            }
        }
    }

    /// Sends the check that keeps consent, if it is due (RFC 7675 section 5.1).
    fn check_consent(&mut self, now: Instant, steps: &mut Steps) {
        let selected = self.selected();
        if !self.consent.is_check_due(now, &mut self.rng) {
            return;
        }
        let mut paths = self.paths.iter_mut();
        if let Some(path) = paths.find(|path| Some(path.state.path()) == selected) {
            let transaction = transaction(self.tag, &mut self.rng);
            if let Some(check) = path.check(now, transaction, self.tie_breaker) {
                steps.send.push((path.state.path(), check));
            }
        }
    }

    /// Updates the media path and the hold.
    fn refresh(&mut self, now: Instant) {
        let state = self.selected().and_then(|selected| self.state(selected));
        let proven = state.and_then(PathState::proven_at);
        self.hold = self.consent.hold(now, proven);
        self.media = self.selected().filter(|_| self.hold.is_none());
        let proofs = self.paths.iter();
        let proofs = proofs.filter_map(|path| path.state.poll_timeout());
        self.due = proofs.chain(self.consent.poll_timeout(now, proven)).min();
    }

    /// Whether media is held, and the client's last packet is reason to go on.
    fn is_spoken_to(&self) -> bool {
        self.selected().is_some() && self.hold.is_some_and(|hold| self.consent.ends(hold))
    }

    fn state(&self, path: Path) -> Option<&PathState> {
        let mut states = self.paths.iter().map(|known| &known.state);
        states.find(|state| state.path() == path)
    }

    fn state_mut(&mut self, path: Path) -> Option<&mut PathState> {
        let mut states = self.paths.iter_mut().map(|known| &mut known.state);
        states.find(|state| state.path() == path)
    }
}

fn is_stream(path: &KnownPath) -> bool {
    matches!(path.state.path(), Path::Stream(_))
}

fn transaction(tag: u32, rng: &mut StdRng) -> check::Transaction {
    let mut transaction: check::Transaction = rng.random();
    transaction[..4].copy_from_slice(&tag.to_be_bytes());
    transaction
}

impl Credentials {
    fn new(ours: &IceCredentials, remote: &IceCredentials) -> Self {
        Self {
            username: format!("{}:{}", ours.ufrag, remote.ufrag).into_bytes(),
            key: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, ours.pwd.as_bytes()),
            remote: Arc::new(Remote::new(ours, remote)),
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
