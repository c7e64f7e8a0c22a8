//! One peer's transport: datagrams on one side, plain RTP, RTCP and data on the other.
//!
//! It is sans I/O: time and datagrams come in as arguments; datagrams to send, events and the next time to wait for are
//! polled. The worker has told STUN, DTLS and SRTP apart by their first byte (RFC 7983). It hands in only datagrams
//! over paths bound to this peer, and STUN that names its user fragment.

mod dtls;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod fuzz;
mod ice;
mod identity;
pub(crate) mod path;
pub(crate) mod sctp;
pub(crate) mod sdp;
mod srtp;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cache::CacheShare;
use crate::drops::DropReason;
use crate::event::{DataRefusal, PeerFailure};
use crate::prefetch;

pub(crate) use dtls::Certificate;
#[cfg(test)]
pub(crate) use ice::testing as ice_testing;
pub(crate) use ice::{
    PlainAnswers, Query, QueryStep, StunOutcome, place_discovered, stun_answer_tag,
    stun_local_ufrag,
};
pub(crate) use identity::{Fingerprint, HashAlgorithm, IceCredentials, worker_of};
pub use path::StreamKind;
pub(crate) use path::{Candidate, Hold, Path, StreamOrigin};
pub use sctp::SENDER_PROTOCOL;
pub(crate) use sctp::{DataChannel, DataMessage, SENDER_BYTES, SendDataError};

use dtls::{AssociationEvent, Associations};
use ice::{IceLite, Steps};
use path::Moved;
use sctp::{Sctp, SctpEvent};
#[cfg(any(test, feature = "testing"))]
pub(crate) use srtp::Profile as SrtpProfile;
pub(crate) use srtp::{Backend, Srtp};

/// The parts of a [`Transport`]: both ends' halves of the session description.
pub(crate) struct TransportConfig {
    /// Ours, as answered.
    pub(crate) ice: IceCredentials,
    /// The client's, as offered.
    pub(crate) remote_ice: IceCredentials,
    /// The client's, as offered.
    pub(crate) remote_fingerprint: Fingerprint,
    /// The process's.
    pub(crate) certificate: Arc<Certificate>,
    /// Time within which DTLS must be up.
    pub(crate) connect_timeout: Duration,
    /// Largest data channel message, in bytes.
    pub(crate) max_data_message: usize,
    /// The memory for what data channels hold.
    pub(crate) caches: CacheShare,
    /// The tag named in answers to the server's checks: see [`stun_answer_tag`].
    pub(crate) stun_tag: u32,
    /// Seed for the numbers of the server's checks.
    pub(crate) seed: [u8; 32],
}

/// An event that a transport tells its worker.
#[derive(Debug)]
pub(crate) enum TransportEvent {
    /// Media and data may flow.
    Connected,
    /// Media and data flow over another association of the client, with other keys.
    Replaced,
    /// Another association came to nothing: the one in use goes on. The code is for metrics.
    NotReplaced(PeerFailure),
    /// It ended without being asked to; poll the datagrams left to send and drop it.
    Failed(PeerFailure),
    /// The client is reached over another path from now on.
    PathChanged {
        /// The earlier path.
        from: Path,
        /// The new path.
        to: Path,
    },
    /// A path bound earlier is no longer this peer's: the worker unbinds it.
    PathForgotten(Path),
    /// The client has proved to be at a path, which is this peer's, even if others claim it without proof.
    PathProven(Path),
    /// So many paths brought no answer to any of the server's checks.
    PathsUnproven(u64),
    /// Media stops or goes on; its reason to stop.
    MediaHeld(Option<Hold>),
    /// A data channel message.
    Data {
        /// The channel it came on.
        channel: DataChannel,
        /// Whether it is binary rather than text.
        binary: bool,
        /// Its bytes.
        payload: Vec<u8>,
    },
    /// A data channel or a message was refused.
    DataRefused(DataRefusal),
}

/// One peer's transport.
#[repr(C)]
pub(crate) struct Transport {
    srtp: Option<Box<Srtp>>,
    phase: Phase,
    ice: IceLite,
    /// The hold that the worker was last told of.
    told_hold: Option<Hold>,
    dtls: Associations,
    /// The paths that the flights of the first handshake took.
    flights: Flights,
    /// The path that the last datagram of a handshake came over.
    handshake_from: Option<Path>,
    /// A DTLS datagram that its path may not be sent yet.
    stalled: Option<Vec<u8>>,
    sctp: Sctp,
    /// The time by which the transport must be up, or is given up.
    connect_by: Instant,
    connect_timeout: Duration,
    /// Whether it has ever been up.
    was_connected: bool,
    /// A packet of another association has come since the client closed its own.
    is_awaited: bool,
    /// No m-line uses it: nothing is waited for, and only what keeps it up is sent and taken. The client may
    /// keep its end or drop it.
    is_resting: bool,
    /// The latest time known, for polls without one.
    now: Instant,
    answers: VecDeque<(Path, Vec<u8>)>,
    events: VecDeque<TransportEvent>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Connecting,
    Connected,
    /// The client closed its association. It may be gone, or about to begin another.
    Closed,
    Ended,
}

/// The outcome of a DTLS datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Came {
    /// Nothing that authenticates.
    Nothing,
    /// Data of the association in use.
    Data,
    /// The end of a handshake.
    Client,
}

/// The paths that the flights of a handshake took: a client that finishes it has read them there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flights {
    None,
    To(Path),
    /// Several paths, so that none is proved.
    Spread,
}

impl Flights {
    fn went(&mut self, to: Path) {
        *self = match *self {
            Self::None => Self::To(to),
            Self::To(before) if before == to => *self,
            Self::To(_) | Self::Spread => Self::Spread,
        };
    }
}

/// Time without checks of the client after which it is gone: RFC 7675 section 5.1 asks for one every 6 s at the latest.
/// [`Hold`] covers its answers to the server's checks.
const CONSENT: Duration = Duration::from_secs(30);
/// Time for a client to replace its transport. It closes the old association before its offer is sent, which then comes
/// over TCP. A client that is really gone is noticed that much later.
const REPLACEMENT: Duration = Duration::from_secs(3);
/// STUN answers and events that may wait to be polled. The worker polls after each batch of datagrams; further checks
/// are dropped, and the client repeats them.
const MAX_WAITING: usize = 64;

impl Transport {
    /// Waits for the client.
    pub(crate) fn new(now: Instant, config: TransportConfig) -> Self {
        Self {
            ice: IceLite::new(
                &config.ice,
                &config.remote_ice,
                config.stun_tag,
                config.seed,
            ),
            told_hold: None,
            flights: Flights::None,
            handshake_from: None,
            stalled: None,
            dtls: Associations::new(config.certificate, config.remote_fingerprint),
            sctp: Sctp::new(config.max_data_message, &config.caches),
            srtp: None,
            phase: Phase::Connecting,
            connect_by: now + config.connect_timeout,
            connect_timeout: config.connect_timeout,
            was_connected: false,
            is_awaited: false,
            is_resting: false,
            now,
            answers: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Handles a STUN datagram over any path. Nothing changes unless it authenticates.
    pub(crate) fn handle_stun(&mut self, now: Instant, from: Path, datagram: &[u8]) -> StunOutcome {
        self.advance(now);
        if self.phase == Phase::Ended {
            return StunOutcome::Rejected(DropReason::TransportEnded);
        }
        if self.answers.len() >= MAX_WAITING || self.events.len() >= MAX_WAITING {
            return StunOutcome::Rejected(DropReason::StunOverload);
        }
        let (outcome, steps) = self.ice.handle(now, from, datagram);
        if outcome == StunOutcome::Bound {
            self.expect_replacement(now);
        }
        self.follow(steps);
        outcome
    }

    /// Sends and reports the results of the ICE agent.
    fn follow(&mut self, steps: Steps) {
        self.answers.extend(steps.send);
        let forgotten = steps.forgotten.map(TransportEvent::PathForgotten);
        let proven = steps.proven.map(TransportEvent::PathProven);
        let moved = steps.moved;
        let moved = moved.map(|Moved { from, to }| TransportEvent::PathChanged { from, to });
        let unproven = (steps.unproven > 0).then_some(steps.unproven);
        let unproven = unproven.map(TransportEvent::PathsUnproven);
        self.events
            .extend([forgotten, proven, moved, unproven].into_iter().flatten());
        self.tell_hold();
    }

    /// Tells of media that stops or goes on. Before it is connected, and while it rests, there is none.
    fn tell_hold(&mut self) {
        let hold = self.ice.hold();
        if self.phase == Phase::Connected && !self.is_resting && hold != self.told_hold {
            self.told_hold = hold;
            self.events.push_back(TransportEvent::MediaHeld(hold));
        }
    }

    /// Handles a DTLS datagram; ignored unless its path authenticated by STUN. A handshake's takes up to a
    /// millisecond of public-key work, which the worker budgets.
    pub(crate) fn handle_dtls(&mut self, now: Instant, from: Path, datagram: &mut [u8]) {
        self.advance(now);
        // A transport that was never up is made anew to be used.
        let is_over = self.is_resting && !self.was_connected || self.phase == Phase::Ended;
        if is_over || !self.ice.is_known(from) {
            return;
        }
        self.ice.received(now, from, datagram.len());
        let was_connected = self.was_connected;
        let came = self.drive_dtls(now, |dtls, event| dtls.handle(now, from, datagram, event));
        // A client handshakes over the path that works for it. Otherwise its datagrams count once they authenticate.
        let shakes_hands = !self.is_connected() || self.dtls.has_next();
        if shakes_hands {
            self.handshake_from = Some(from);
        }
        if (shakes_hands || came != Came::Nothing)
            && let Some(steps) = self.ice.spoken(now, from, came == Came::Client)
        {
            self.follow(steps);
        }
        if !was_connected && self.was_connected {
            self.handshake_done(now, from);
        }
        self.tell_hold();
    }

    /// DTLS datagrams dropped since the last call: they are malformed, exceed the needs of a handshake, or are not
    /// authentic.
    pub(crate) fn take_dtls_refused(&mut self) -> u64 {
        self.dtls.take_refused()
    }

    /// Records a finished handshake: its client has read the flights sent to it.
    fn handshake_done(&mut self, now: Instant, from: Path) {
        self.ice.heard();
        if self.flights == Flights::To(from) {
            let steps = self.ice.handshake_done(now, from);
            self.follow(steps);
        }
    }

    /// Whether a DTLS datagram may be costly: one of a handshake.
    pub(crate) fn is_handshake(&self, datagram: &[u8]) -> bool {
        // RFC 5246 section 6.2.1: change_cipher_spec and handshake.
        let of_handshake = matches!(datagram.first(), Some(20 | 22));
        of_handshake || matches!(self.phase, Phase::Connecting | Phase::Closed)
    }

    /// Authenticates and decrypts an RTP packet in place; the plain packet's length, or the reason
    /// to drop it.
    pub(crate) fn open_rtp(&mut self, packet: &mut [u8]) -> Result<usize, DropReason> {
        let len = self
            .srtp
            .as_mut()
            .ok_or(DropReason::SrtpNotReady)?
            .open_rtp(packet)?;
        self.ice.heard();
        Ok(len)
    }

    /// Authenticates and decrypts a compound RTCP packet in place; the plain packet's length, or the
    /// reason to drop it.
    pub(crate) fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, DropReason> {
        let len = self
            .srtp
            .as_mut()
            .ok_or(DropReason::SrtpNotReady)?
            .open_rtcp(packet)?;
        self.ice.heard();
        Ok(len)
    }

    /// Seals the RTP packet `buf[..len]` in place; `buf` has 16 bytes more. Returns the sealed length, or 0 if nothing
    /// can be sent. Its SSRC must be the server's alone.
    ///
    /// Sending a sequence number again needs the very same bytes: see [`Srtp::seal_rtp`].
    pub(crate) fn seal_rtp(&mut self, buf: &mut [u8], header_len: usize, len: usize) -> usize {
        match &mut self.srtp {
            Some(srtp) => srtp.seal_rtp(buf, header_len, len),
            None => 0,
        }
    }

    /// Writes a compound RTCP packet sealed into `out`, at most 20 bytes longer; the sealed length,
    /// or 0 if nothing can be sent.
    pub(crate) fn seal_rtcp(&mut self, packet: &[u8], out: &mut [u8]) -> usize {
        match &mut self.srtp {
            Some(srtp) => srtp.seal_rtcp(packet, out),
            None => 0,
        }
    }

    /// Follows an authentic packet: the path over which a client sends is the one that works for it. True if there is
    /// something to poll.
    pub(crate) fn spoken(&mut self, now: Instant, from: Path) -> bool {
        self.advance(now);
        match self.ice.spoken(now, from, false) {
            Some(steps) => {
                self.follow(steps);
                true
            }
            None => false,
        }
    }

    /// Follows an authentic packet of so many bytes over a path that nobody is at: the client's NAT has given it another
    /// port.
    pub(crate) fn rebound(&mut self, now: Instant, from: Path, bytes: usize) {
        self.advance(now);
        let steps = self.ice.rebound(now, from, bytes);
        self.follow(steps);
    }

    /// The time of the last packet over the path in use that is no check.
    pub(crate) fn spoken_at(&self) -> Option<Instant> {
        self.ice.spoken_at()
    }

    /// A path is gone: its connection was closed.
    pub(crate) fn path_closed(&mut self, now: Instant, at: Path) {
        self.advance(now);
        let steps = self.ice.path_closed(now, at);
        self.follow(steps);
    }

    /// Whether the client still uses a path, or keeps it for later.
    pub(crate) fn keeps(&self, now: Instant, path: Path) -> bool {
        self.ice.keeps(now, path)
    }

    /// The path that the client uses. None until its first check.
    pub(crate) fn path(&self) -> Option<Path> {
        self.ice.selected()
    }

    /// The path for RTP and RTCP. None while the client has not proved to be there, or is not heard.
    pub(crate) fn media_path(&self) -> Option<Path> {
        self.ice.media()
    }

    /// The reason that RTP and RTCP are held although DTLS is up.
    pub(crate) fn hold(&self) -> Option<Hold> {
        self.ice.hold().filter(|_| self.is_connected())
    }

    /// Whether the client has proved to be at a path.
    pub(crate) fn is_proven(&self, now: Instant, path: Path) -> bool {
        self.ice.is_proven(now, path)
    }

    /// Asks for the memory that a packet needs.
    pub(crate) fn prefetch(&self) {
        prefetch::line(&self.srtp);
        prefetch::line(&self.ice);
    }

    /// Asks for the memory of the keys that seal.
    pub(crate) fn prefetch_keys(&self) {
        if let Some(srtp) = &self.srtp {
            srtp.prefetch();
        }
    }

    /// Asks for the memory of this SSRC's packet numbers.
    pub(crate) fn prefetch_rollover(&self, ssrc: u32) {
        if let Some(srtp) = &self.srtp {
            srtp.prefetch_rollover(ssrc);
        }
    }

    /// Whether DTLS is up.
    pub(crate) fn is_connected(&self) -> bool {
        self.phase == Phase::Connected
    }

    /// The negotiated SRTP profile's name.
    pub(crate) fn srtp_profile(&self) -> Option<&'static str> {
        self.srtp.as_ref().map(|srtp| srtp.profile().name())
    }

    /// Applies the credentials of a later offer that restarts ICE (RFC 8839 section 4.4.1.1.1). DTLS, SRTP and the
    /// path go on.
    pub(crate) fn restart_ice(&mut self, ours: IceCredentials, remote: IceCredentials) {
        self.ice.restart(&ours, &remote);
    }

    /// A later offer was accepted. It may be of a client that replaces its transport, and may bring another
    /// certificate.
    pub(crate) fn reoffered(&mut self, now: Instant, remote_fingerprint: Fingerprint) {
        self.dtls.expect(remote_fingerprint);
        self.expect_replacement(now);
    }

    fn expect_replacement(&mut self, now: Instant) {
        if self.phase == Phase::Closed && !std::mem::replace(&mut self.is_awaited, true) {
            self.connect_by = now + self.connect_timeout;
        }
    }

    /// No m-line uses it any more. Browsers drop their end without a word being lost about it; other clients
    /// keep it up and go on with it later.
    pub(crate) fn rest(&mut self) {
        self.is_resting = true;
    }

    /// Wakes for a later offer that uses it again: a client that kept its association goes on at once. One that did not
    /// begins another association, or is missed.
    pub(crate) fn wake(&mut self, now: Instant) {
        self.advance(now);
        if !std::mem::take(&mut self.is_resting) {
            return;
        }
        if self.consent_until().is_some_and(|until| now >= until) {
            // Anybody may be at the path by now.
            self.ice.deselect();
        }
        self.ice.renew_consent(now);
        (self.connect_by, self.is_awaited) = (now + self.connect_timeout, true);
    }

    /// Whether no m-line uses it.
    pub(crate) fn is_resting(&self) -> bool {
        self.is_resting
    }

    /// Whether it was up once.
    pub(crate) fn was_connected(&self) -> bool {
        self.was_connected
    }

    /// Sends a data channel message.
    pub(crate) fn send_data(
        &mut self,
        now: Instant,
        channel: DataChannel,
        message: DataMessage<'_>,
    ) -> Result<(), SendDataError> {
        self.advance(now);
        self.sctp.send(now, channel, message)
    }

    /// Ends it: close_notify is left to send, no event follows.
    pub(crate) fn close(&mut self, now: Instant) {
        self.advance(now);
        self.dtls.close();
        self.end();
    }

    /// Does everything that is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        if self.phase == Phase::Ended || self.is_resting {
            return;
        }
        let steps = self.ice.handle_timeout(now);
        self.follow(steps);
        self.drive_dtls(now, |dtls, event| dtls.handle_timeout(now, event));
        if self.phase == Phase::Connected {
            self.sctp.handle_timeout(now);
        }
        let waiting = matches!(self.phase, Phase::Connecting | Phase::Closed);
        if waiting && now >= self.connect_by {
            self.fail(match (self.phase, self.ice.last_check()) {
                (Phase::Closed, _) if !self.dtls.has_next() => PeerFailure::ClosedByClient,
                (_, Some(_)) => PeerFailure::DtlsFailed,
                (_, None) => PeerFailure::NeverConnected,
            });
        } else if self.consent_until().is_some_and(|until| now >= until) {
            self.fail(PeerFailure::ConsentExpired);
        }
    }

    /// The time at which [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.is_resting {
            return None;
        }
        let (connect_by, sctp) = match self.phase {
            Phase::Ended => return None,
            Phase::Connecting | Phase::Closed => (Some(self.connect_by), None),
            Phase::Connected => (None, self.sctp.poll_timeout()),
        };
        [
            connect_by,
            sctp,
            self.dtls.poll_timeout(),
            self.ice.poll_timeout(self.now),
            self.consent_until(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The next datagram to send, media apart.
    pub(crate) fn poll_transmit(&mut self) -> Option<(Path, Vec<u8>)> {
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer);
        }
        let selected = self.ice.selected()?;
        // The path in use may be that of the association before.
        let next = self.handshake_from.filter(|_| self.dtls.has_next());
        let to = next
            .filter(|path| self.ice.is_known(*path))
            .unwrap_or(selected);
        let datagram = self.stalled.take().or_else(|| self.dtls.poll_transmit());
        if let Some(datagram) = datagram {
            if !self.ice.admits(self.now, to, datagram.len()) {
                self.stalled = Some(datagram);
                return None;
            }
            if !self.was_connected {
                self.flights.went(to);
            }
            return Some((to, datagram));
        }
        // One SCTP packet is taken at a time, so that packets wait only in its congestion window.
        if self.phase != Phase::Connected || self.is_resting {
            return None;
        }
        let to = self.ice.media()?;
        let packet = self.sctp.poll_transmit(self.now)?;
        self.dtls.write(&packet);
        self.dtls.poll_transmit().map(|datagram| (to, datagram))
    }

    /// The next thing that happened. Messages wait in SCTP, where its receive window bounds them.
    pub(crate) fn poll_event(&mut self) -> Option<TransportEvent> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        loop {
            match self.sctp.poll_event()? {
                SctpEvent::Message {
                    channel,
                    binary,
                    payload,
                } => {
                    return Some(TransportEvent::Data {
                        channel,
                        binary,
                        payload,
                    });
                }
                SctpEvent::Refused(reason) => return Some(TransportEvent::DataRefused(reason)),
                SctpEvent::Opened(_) | SctpEvent::Closed => {}
            }
        }
    }

    /// Connects with these keys, as if a handshake over this path had agreed on them.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn connect_by(&mut self, now: Instant, from: Path, keys: Srtp) {
        self.srtp = Some(Box::new(keys));
        self.phase = Phase::Connected;
        self.was_connected = true;
        self.events.push_back(TransportEvent::Connected);
        self.flights = Flights::To(from);
        self.handshake_done(now, from);
        self.tell_hold();
    }

    fn drive_dtls(
        &mut self,
        now: Instant,
        drive: impl FnOnce(&mut Associations, &mut dyn FnMut(AssociationEvent)),
    ) -> Came {
        let (sctp, srtp) = (&mut self.sctp, &mut self.srtp);
        let (mut connected, mut closed, mut failed) = (false, false, None);
        let mut came = Came::Nothing;
        let events = &mut self.events;
        drive(&mut self.dtls, &mut |event| match event {
            AssociationEvent::Connected(keys) => (connected, *srtp) = (true, keys),
            AssociationEvent::Data(packet) => {
                came = Came::Data;
                sctp.handle_packet(now, &packet);
            }
            AssociationEvent::Closed => closed = true,
            AssociationEvent::NextFailed(reason) => {
                if events.len() < MAX_WAITING {
                    events.push_back(TransportEvent::NotReplaced(reason));
                }
            }
            AssociationEvent::Failed(reason) => failed = Some(reason),
        });
        if self.is_resting {
            // The way it ended does not matter: the next handshake is another association.
            closed |= failed.take().is_some();
        }
        if closed {
            self.phase = Phase::Closed;
            self.srtp = None;
            self.connect_by = now + REPLACEMENT;
            self.is_awaited = false;
            // The client is not there any more.
            self.ice.deselect();
        }
        if connected {
            self.phase = Phase::Connected;
            let again = std::mem::replace(&mut self.was_connected, true);
            self.events.push_back(match again {
                false => TransportEvent::Connected,
                true => TransportEvent::Replaced,
            });
        }
        if self.dtls.has_next() {
            self.expect_replacement(now);
        }
        if let Some(reason) = failed {
            self.fail(reason);
        }
        if connected { Came::Client } else { came }
    }

    fn consent_until(&self) -> Option<Instant> {
        self.ice.last_check().map(|last| last + CONSENT)
    }

    fn fail(&mut self, reason: PeerFailure) {
        if self.phase != Phase::Ended {
            self.end();
            self.answers.clear();
            self.events.push_back(TransportEvent::Failed(reason));
        }
    }

    /// Ends. Without keys nothing more is sent, except datagrams that wait already.
    fn end(&mut self) {
        self.phase = Phase::Ended;
        self.srtp = None;
    }

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }
}

#[cfg(test)]
mod interop_tests;
#[cfg(test)]
mod tests;
