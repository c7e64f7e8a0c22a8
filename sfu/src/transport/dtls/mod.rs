//! DTLS 1.2 as server, over whatever path ICE has selected.

mod associations;
mod certificate;
mod endpoint;
mod guard;
mod hello;
mod record;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

pub(crate) use associations::{AssociationEvent, Associations};
pub(crate) use certificate::Certificate;

use super::Fingerprint;
use super::srtp::Srtp;
use crate::event::PeerFailure;
use endpoint::{Endpoint, Outcome};
use hello::HelloBuffer;

/// One DTLS association.
struct Dtls {
    certificate: Arc<Certificate>,
    remote_fingerprint: Fingerprint,
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
    Ended(VecDeque<Vec<u8>>),
}

/// The outcome of a datagram or a time-out.
enum DtlsEvent {
    /// The certificate is the announced one. Without SRTP, if the client did not offer it.
    Connected(Option<Box<Srtp>>),
    Data(BytesMut),
    Failed(PeerFailure),
}

impl Dtls {
    fn new(certificate: Arc<Certificate>, remote_fingerprint: Fingerprint) -> Self {
        Self {
            certificate,
            remote_fingerprint,
            hello: HelloBuffer::default(),
            state: State::Waiting,
            refused: 0,
        }
    }

    /// The certificate that the client must show, if no handshake has begun.
    fn expect(&mut self, remote_fingerprint: &Fingerprint) {
        if matches!(self.state, State::Waiting) {
            self.remote_fingerprint = remote_fingerprint.clone();
        }
    }

    /// Handles a datagram from a verified address.
    fn handle(&mut self, now: Instant, datagram: &[u8], event: &mut dyn FnMut(DtlsEvent)) {
        if !guard::admits(datagram) {
            self.refused += 1;
            return;
        }
        match self.state {
            State::Waiting => {
                if let Some(datagrams) = self.hello.push(datagram) {
                    let endpoint = Endpoint::new(&self.certificate, now);
                    self.state = State::Handshaking(Box::new(endpoint));
                    for datagram in datagrams {
                        self.read(now, &datagram, event);
                    }
                }
            }
            State::Handshaking(_) | State::Connected(_) => self.read(now, datagram, event),
            State::Ended(_) => {}
        }
    }

    fn read(&mut self, now: Instant, datagram: &[u8], event: &mut dyn FnMut(DtlsEvent)) {
        let outcome = match &mut self.state {
            State::Handshaking(endpoint) => endpoint.handle(now, datagram),
            State::Connected(endpoint) => {
                let outcome = endpoint.handle(now, datagram);
                // A repetition of the handshake may be late, or ask for our last flight.
                if outcome.is_nothing() && !record::is_handshake(datagram) {
                    self.refused += 1;
                }
                outcome
            }
            State::Waiting | State::Ended(_) => return,
        };
        self.apply(outcome, event);
    }

    fn apply(&mut self, outcome: Outcome, event: &mut dyn FnMut(DtlsEvent)) {
        if outcome.is_connected {
            self.complete(outcome.keys, event);
        }
        if self.is_connected() {
            for data in outcome.data {
                event(DtlsEvent::Data(data));
            }
        }
        // Both are authenticated once connected. Before that nothing can be, and a plain alert ends the handshake.
        if outcome.is_closed {
            self.fail(PeerFailure::ClosedByClient, event);
        } else if outcome.error.is_some() {
            self.fail(PeerFailure::DtlsFailed, event);
        }
    }

    fn complete(&mut self, keys: Option<endpoint::Keys>, event: &mut dyn FnMut(DtlsEvent)) {
        let State::Handshaking(mut endpoint) = self.take() else {
            return;
        };
        let certificate = endpoint.take_client_certificate();
        if !self.remote_fingerprint.matches(&certificate) {
            self.state = State::Ended(endpoint.close());
            event(DtlsEvent::Failed(PeerFailure::FingerprintMismatch));
            return;
        }
        let backend = self.certificate.backend();
        let srtp = keys.and_then(|(profile, material)| {
            Srtp::from_keying_material(backend, profile, &material)
        });
        self.state = State::Connected(endpoint);
        event(DtlsEvent::Connected(srtp.map(Box::new)));
    }

    /// Encrypts application data. Nothing before the handshake is complete.
    fn write(&mut self, data: &[u8]) {
        if let State::Connected(endpoint) = &mut self.state {
            endpoint.write(data);
        }
    }

    /// Sends close_notify, if there is anyone to send it to.
    fn close(&mut self) {
        self.state = match self.take() {
            State::Handshaking(endpoint) | State::Connected(endpoint) => {
                State::Ended(endpoint.close())
            }
            other => other,
        };
    }

    fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }

    /// Whether the first ClientHello is here and the handshake is not over.
    fn is_handshaking(&self) -> bool {
        matches!(self.state, State::Handshaking(_))
    }

    fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    fn handle_timeout(&mut self, now: Instant, event: &mut dyn FnMut(DtlsEvent)) {
        if let State::Handshaking(endpoint) = &mut self.state {
            let outcome = endpoint.handle_timeout(now);
            self.apply(outcome, event);
        }
    }

    /// None once connected: from there on it only answers.
    fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Handshaking(endpoint) => Some(endpoint.poll_timeout()),
            _ => None,
        }
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        match &mut self.state {
            State::Handshaking(endpoint) | State::Connected(endpoint) => endpoint.poll_transmit(),
            State::Ended(outgoing) => outgoing.pop_front(),
            State::Waiting => None,
        }
    }

    /// Ends it, unless it has ended.
    fn fail(&mut self, reason: PeerFailure, event: &mut dyn FnMut(DtlsEvent)) {
        self.state = match self.take() {
            State::Handshaking(endpoint) | State::Connected(endpoint) => {
                event(DtlsEvent::Failed(reason));
                State::Ended(endpoint.into_outgoing())
            }
            other => other,
        };
    }

    fn take(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Waiting)
    }
}

#[cfg(test)]
mod associations_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
