//! DTLS 1.2 as server, over whatever path ICE has selected.

mod associations;
mod certificate;
mod guard;
mod hello;
mod record;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error;

pub(crate) use associations::{AssociationEvent, Associations};
pub(crate) use certificate::Certificate;

use super::Fingerprint;
use super::srtp::{Backend, Profile, Srtp};
use crate::event::PeerFailure;
use guard::Guard;
use hello::HelloBuffer;

/// One DTLS association.
struct Dtls {
    certificate: Arc<Certificate>,
    remote_fingerprint: Fingerprint,
    guard: Guard,
    hello: HelloBuffer,
    state: State,
    /// Datagrams that the guard does not admit, or that do not authenticate.
    refused: u64,
}

enum State {
    /// No whole ClientHello yet: nothing is built.
    Waiting,
    Handshaking(Box<Endpoint>),
    Connected(Box<Endpoint>),
    /// Ended; the datagrams left to send are still here.
    Ended(Box<Endpoint>),
    /// Ended before it began.
    Never,
}

/// The outcome of a datagram or a time-out.
enum DtlsEvent {
    /// The certificate is the announced one. Without SRTP, if the client did not offer it.
    Connected(Option<Box<Srtp>>),
    Data(BytesMut),
    Failed(PeerFailure),
}

/// `rtc-dtls` keeps associations by address. Ours outlives the client's address, so inside it
/// always has this one.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
/// RFC 5764 section 4.2.
const SRTP_EXPORTER: &str = "EXTRACTOR-dtls_srtp";

impl Dtls {
    fn new(certificate: Arc<Certificate>, remote_fingerprint: Fingerprint) -> Self {
        Self {
            certificate,
            remote_fingerprint,
            guard: Guard::new(),
            hello: HelloBuffer::default(),
            state: State::Waiting,
            refused: 0,
        }
    }

    /// Handles a datagram from a verified address.
    fn handle(&mut self, now: Instant, datagram: &[u8], event: &mut dyn FnMut(DtlsEvent)) {
        let handshaking = !matches!(self.state, State::Connected(_));
        if !self.guard.admits(datagram, handshaking) {
            self.refused += 1;
            return;
        }
        match self.state {
            State::Waiting => {
                if let Some((profile, datagrams)) = self.hello.push(datagram) {
                    let config = self.certificate.config(profile);
                    let endpoint = Endpoint::new(PEER, TransportProtocol::UDP, Some(config));
                    self.state = State::Handshaking(Box::new(endpoint));
                    for datagram in datagrams {
                        self.read(now, &datagram, event);
                    }
                }
            }
            State::Handshaking(_) | State::Connected(_) => self.read(now, datagram, event),
            State::Ended(_) | State::Never => {}
        }
    }

    fn read(&mut self, now: Instant, datagram: &[u8], event: &mut dyn FnMut(DtlsEvent)) {
        let (endpoint, connected) = match &mut self.state {
            State::Handshaking(endpoint) => (endpoint, false),
            State::Connected(endpoint) => (endpoint, true),
            State::Waiting | State::Ended(_) | State::Never => return,
        };
        match endpoint.read(now, PEER, None, BytesMut::from(datagram)) {
            Ok(events) => {
                for happened in events {
                    self.apply(now, happened, event);
                }
            }
            // While connected, only an authenticated alert ends it.
            Err(Error::ErrAlertFatalOrClose) => self.fail(PeerFailure::DtlsFailed, event),
            Err(_) if connected => self.refused += 1,
            Err(_) => self.fail(PeerFailure::DtlsFailed, event),
        }
    }

    fn apply(&mut self, now: Instant, happened: EndpointEvent, event: &mut dyn FnMut(DtlsEvent)) {
        match happened {
            EndpointEvent::HandshakeComplete => self.complete(now, event),
            EndpointEvent::ApplicationData(data) if self.is_connected() => {
                event(DtlsEvent::Data(data));
            }
            EndpointEvent::PeerClosed => self.fail(PeerFailure::ClosedByClient, event),
            _ => {}
        }
    }

    fn complete(&mut self, now: Instant, event: &mut dyn FnMut(DtlsEvent)) {
        let State::Handshaking(endpoint) = std::mem::replace(&mut self.state, State::Never) else {
            return;
        };
        let verified = endpoint
            .get_connection_state(PEER)
            .and_then(|state| state.peer_certificates.first())
            .is_some_and(|certificate| self.remote_fingerprint.matches(certificate));
        if !verified {
            self.state = State::Handshaking(endpoint);
            self.close(now);
            event(DtlsEvent::Failed(PeerFailure::FingerprintMismatch));
            return;
        }
        let srtp = export_srtp(&endpoint, self.certificate.backend());
        self.state = State::Connected(endpoint);
        event(DtlsEvent::Connected(srtp.map(Box::new)));
    }

    /// Encrypts application data. Nothing before the handshake is complete.
    fn write(&mut self, now: Instant, data: &[u8]) {
        if let State::Connected(endpoint) = &mut self.state {
            // The write fails only for an association that is gone, whose event is on its way.
            let _ = endpoint.write(now, PEER, data);
        }
    }

    /// Sends close_notify, if there is anyone to send it to.
    fn close(&mut self, now: Instant) {
        match std::mem::replace(&mut self.state, State::Never) {
            State::Handshaking(mut endpoint) | State::Connected(mut endpoint) => {
                let _ = endpoint.close(now);
                self.state = State::Ended(endpoint);
            }
            ended @ State::Ended(_) => self.state = ended,
            State::Waiting | State::Never => {}
        }
    }

    fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }

    /// Whether the first ClientHello is here and the handshake is not over.
    fn is_handshaking(&self) -> bool {
        matches!(self.state, State::Handshaking(_))
    }

    fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended(_) | State::Never)
    }

    fn handle_timeout(&mut self, now: Instant, event: &mut dyn FnMut(DtlsEvent)) {
        if let State::Handshaking(endpoint) = &mut self.state
            && endpoint.handle_timeout(PEER, now).is_err()
        {
            self.fail(PeerFailure::DtlsFailed, event);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Handshaking(endpoint) => endpoint.poll_timeout(&PEER),
            _ => None,
        }
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        match &mut self.state {
            State::Handshaking(endpoint) | State::Connected(endpoint) | State::Ended(endpoint) => {
                endpoint.poll_transmit().map(|sent| sent.message.into())
            }
            State::Waiting | State::Never => None,
        }
    }

    fn fail(&mut self, reason: PeerFailure, event: &mut dyn FnMut(DtlsEvent)) {
        self.state = match std::mem::replace(&mut self.state, State::Never) {
            State::Handshaking(endpoint) | State::Connected(endpoint) => State::Ended(endpoint),
            other => other,
        };
        event(DtlsEvent::Failed(reason));
    }
}

fn export_srtp(endpoint: &Endpoint, backend: Backend) -> Option<Srtp> {
    let state = endpoint.get_connection_state(PEER)?;
    let profile = match state.srtp_protection_profile() {
        SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => Profile::AeadAes256Gcm,
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Profile::AeadAes128Gcm,
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => Profile::Aes128CmSha1_80,
        _ => return None,
    };
    let material = state
        .export_keying_material(SRTP_EXPORTER, &[], profile.keying_material_len())
        .ok()?;
    Srtp::from_keying_material(backend, profile, material.as_ref())
}

#[cfg(test)]
mod associations_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
