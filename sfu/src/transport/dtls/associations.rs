//! The DTLS association in use, and the next one that may replace it.
//!
//! When the m-line that named its BUNDLE group is stopped, a client replaces its transport without telling so in the
//! offer (RFC 9143 section 7.5.3). Its user fragment, password and certificate stay; its address and its association
//! are new. So a ClientHello of another association begins one beside the first. The first serves until the second has
//! shown the client's certificate: a stranger who can only forge an address cannot end a call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::hello::client_random;
use super::record::is_handshake;
use super::{Certificate, Dtls, DtlsEvent};
use crate::event::PeerFailure;
use crate::transport::{Fingerprint, Path};

/// One client's DTLS, over the life of its transports.
pub(crate) struct Associations {
    certificate: Arc<Certificate>,
    remote_fingerprint: Fingerprint,
    current: Association,
    next: Option<Box<Next>>,
    /// The time at which one last took another's place.
    replaced_at: Option<Instant>,
}

struct Association {
    dtls: Dtls,
    /// The random value of its ClientHello: each association has its own (RFC 5246 section 7.4.1.2).
    random: Option<[u8; 32]>,
    /// The source of its ClientHello.
    from: Option<Path>,
}

struct Next {
    association: Association,
    began: Instant,
}

/// Result of a datagram or a time-out.
pub(crate) enum AssociationEvent {
    /// An association serves from now on; see [`DtlsEvent::Connected`].
    Connected(Option<Box<super::Srtp>>),
    Data(bytes::BytesMut),
    /// The client closed the association in use. Another may follow.
    Closed,
    /// Another association came to nothing; the one in use goes on.
    NextFailed(PeerFailure),
    /// No association is left.
    Failed(PeerFailure),
}

/// Time after which a second ClientHello may replace one without progress. DTLS clients repeat theirs after a second at
/// the latest, so that a ClientHello from a forged address keeps nobody out. One with progress also stays for this
/// long.
const TAKEOVER: Duration = Duration::from_secs(1);
/// The handshake gives up after 8 s; half a ClientHello is kept no longer either.
const PATIENCE: Duration = Duration::from_secs(10);

impl Associations {
    pub(crate) fn new(certificate: Arc<Certificate>, remote_fingerprint: Fingerprint) -> Self {
        let current = Association::new(&certificate, &remote_fingerprint);
        Self {
            certificate,
            remote_fingerprint,
            current,
            next: None,
            replaced_at: None,
        }
    }

    /// The certificate that associations must show which begin from now on (RFC 8842 section 5.1).
    ///
    /// The first offer may be of a transport that its client has given up meanwhile: then nothing has begun for it.
    pub(crate) fn expect(&mut self, remote_fingerprint: Fingerprint) {
        self.current.dtls.expect(&remote_fingerprint);
        self.remote_fingerprint = remote_fingerprint;
    }

    /// Whether another association is under way.
    pub(crate) fn has_next(&self) -> bool {
        self.next.is_some()
    }

    /// Handles a datagram from a verified address.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        from: Path,
        datagram: &[u8],
        event: &mut dyn FnMut(AssociationEvent),
    ) {
        self.make_way(now, from, datagram);
        if self.is_for_next(from, datagram) {
            self.drive_next(now, event, |dtls, event| dtls.handle(now, datagram, event));
        } else {
            self.current.note(from, datagram);
            self.drive_current(event, |dtls, event| dtls.handle(now, datagram, event));
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, event: &mut dyn FnMut(AssociationEvent)) {
        self.drive_current(event, |dtls, event| dtls.handle_timeout(now, event));
        self.drive_next(now, event, |dtls, event| dtls.handle_timeout(now, event));
        let late = self.next.as_ref();
        if late.is_some_and(|next| now >= next.began + PATIENCE) {
            self.next_failed(PeerFailure::DtlsFailed, event);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let next = self.next.as_ref();
        let next = next.map(|next| {
            let due = next.association.dtls.poll_timeout();
            due.map_or(next.began + PATIENCE, |due| due.min(next.began + PATIENCE))
        });
        [self.current.dtls.poll_timeout(), next]
            .into_iter()
            .flatten()
            .min()
    }

    /// Datagrams that no association had a use for, since this was last asked.
    pub(crate) fn take_refused(&mut self) -> u64 {
        let next = self.next.as_mut().map(|next| &mut next.association);
        let all = std::iter::once(&mut self.current).chain(next);
        all.map(|association| std::mem::take(&mut association.dtls.refused))
            .sum()
    }

    /// Encrypts application data. Nothing before the handshake is complete.
    pub(crate) fn write(&mut self, data: &[u8]) {
        self.current.dtls.write(data);
    }

    /// Sends close_notify, if there is anyone to send it to.
    pub(crate) fn close(&mut self) {
        self.current.dtls.close();
        self.next = None;
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        let current = self.current.dtls.poll_transmit();
        current.or_else(|| self.next.as_mut()?.association.dtls.poll_transmit())
    }

    /// Begins another association if the datagram asks for one.
    fn make_way(&mut self, now: Instant, from: Path, datagram: &[u8]) {
        let Some(random) = client_random(datagram) else {
            return;
        };
        let current = &self.current;
        // A late or repeated datagram belongs to the handshake in use.
        if current.random.is_none() || current.random == Some(random) {
            return;
        }
        // A client uses one address for one handshake; a second handshake from there is not that of a next transport.
        if current.dtls.is_handshaking() && current.from == Some(from) {
            return;
        }
        // Each association costs public-key arithmetic.
        if self.replaced_at.is_some_and(|at| now < at + TAKEOVER) {
            return;
        }
        if let Some(next) = &self.next {
            let known = next.association.random == Some(random);
            if known || now < next.began + TAKEOVER {
                return;
            }
        }
        let mut association = Association::new(&self.certificate, &self.remote_fingerprint);
        association.note(from, datagram);
        self.next = Some(Box::new(Next {
            association,
            began: now,
        }));
    }

    /// The association that a datagram is for. Addresses do not tell: a client may change its own in a handshake.
    fn is_for_next(&self, from: Path, datagram: &[u8]) -> bool {
        let current = &self.current;
        self.next.is_some()
            && if current.dtls.is_connected() {
                is_handshake(datagram)
            } else {
                !current.dtls.is_handshaking() || current.from != Some(from)
            }
    }

    fn drive_current(
        &mut self,
        event: &mut dyn FnMut(AssociationEvent),
        drive: impl FnOnce(&mut Dtls, &mut dyn FnMut(DtlsEvent)),
    ) {
        let was_connected = self.current.dtls.is_connected();
        let mut failed = None;
        drive(&mut self.current.dtls, &mut |happened| match happened {
            DtlsEvent::Connected(keys) => event(AssociationEvent::Connected(keys)),
            DtlsEvent::Data(data) => event(AssociationEvent::Data(data)),
            DtlsEvent::Failed(reason) => failed = Some(reason),
        });
        match failed {
            None => {}
            Some(PeerFailure::ClosedByClient) if was_connected => event(AssociationEvent::Closed),
            Some(reason) => match self.next.take() {
                Some(next) if !was_connected => self.current = next.association,
                _ => event(AssociationEvent::Failed(reason)),
            },
        }
    }

    fn drive_next(
        &mut self,
        now: Instant,
        event: &mut dyn FnMut(AssociationEvent),
        drive: impl FnOnce(&mut Dtls, &mut dyn FnMut(DtlsEvent)),
    ) {
        let Some(next) = &mut self.next else {
            return;
        };
        let (mut connected, mut failed) = (false, None);
        drive(&mut next.association.dtls, &mut |happened| match happened {
            DtlsEvent::Connected(keys) => {
                connected = true;
                event(AssociationEvent::Connected(keys));
            }
            DtlsEvent::Data(data) => event(AssociationEvent::Data(data)),
            DtlsEvent::Failed(reason) => failed = Some(reason),
        });
        if let Some(reason) = failed {
            self.next_failed(reason, event);
        } else if connected && let Some(next) = self.next.take() {
            self.current = next.association;
            self.replaced_at = Some(now);
        }
    }

    fn next_failed(&mut self, reason: PeerFailure, event: &mut dyn FnMut(AssociationEvent)) {
        let Some(next) = self.next.take() else {
            return;
        };
        if self.current.dtls.has_ended() {
            // Its alert is left to send.
            self.current = next.association;
            event(AssociationEvent::Failed(reason));
        } else {
            event(AssociationEvent::NextFailed(reason));
        }
    }
}

impl Association {
    fn new(certificate: &Arc<Certificate>, remote_fingerprint: &Fingerprint) -> Self {
        Self {
            dtls: Dtls::new(certificate.clone(), remote_fingerprint.clone()),
            random: None,
            from: None,
        }
    }

    fn note(&mut self, from: Path, datagram: &[u8]) {
        if self.random.is_none()
            && let Some(random) = client_random(datagram)
        {
            (self.random, self.from) = (Some(random), Some(from));
        }
    }
}
