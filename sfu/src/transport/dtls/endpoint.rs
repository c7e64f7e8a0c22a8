//! `dimpl` with its output taken from it: after each call it has nothing left to tell.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::BytesMut;
use dimpl::crypto::{KeyingMaterial, SrtpProfile};
use dimpl::{Dtls, Error, Output};

use super::Certificate;
use super::guard::{MAX_DATAGRAM, MAX_MESSAGE};
use crate::transport::srtp::Profile;

/// The server's end of one association, from the first ClientHello on.
pub(super) struct Endpoint {
    dtls: Dtls,
    /// Datagrams to send.
    outgoing: VecDeque<Vec<u8>>,
    /// The time of the next repetition, or of the end.
    due: Instant,
    /// The client's certificate (DER), until it has been compared.
    client_certificate: Vec<u8>,
    is_connected: bool,
}

/// SRTP's, exported by the handshake.
pub(super) type Keys = (Profile, KeyingMaterial);

/// The outcome of one call.
#[derive(Default)]
pub(super) struct Outcome {
    /// The handshake is complete: the client has the key of its certificate.
    pub(super) is_connected: bool,
    /// SRTP's, if the client offered it.
    pub(super) keys: Option<Keys>,
    pub(super) data: Vec<BytesMut>,
    /// The client sent close_notify.
    pub(super) is_closed: bool,
    /// Nothing more comes of this association.
    pub(super) error: Option<Error>,
}

impl Outcome {
    /// Whether the call came to nothing.
    pub(super) fn is_nothing(&self) -> bool {
        !self.is_connected && self.data.is_empty() && !self.is_closed && self.error.is_none()
    }
}

impl Endpoint {
    pub(super) fn new(certificate: &Certificate, now: Instant) -> Self {
        Self {
            dtls: certificate.accept(now),
            outgoing: VecDeque::new(),
            due: now,
            client_certificate: Vec::new(),
            is_connected: false,
        }
    }

    /// Handles a datagram that the guard admits.
    pub(super) fn handle(&mut self, now: Instant, datagram: &[u8]) -> Outcome {
        // It takes the time from here.
        let mut outcome = self.handle_timeout(now);
        if outcome.error.is_none() {
            let handled = self.dtls.handle_packet(datagram);
            self.drain(&mut outcome);
            outcome.error = handled.err();
        }
        outcome
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        let handled = self.dtls.handle_timeout(now);
        self.drain(&mut outcome);
        outcome.error = handled.err();
        outcome
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.due
    }

    /// Encrypts application data.
    pub(super) fn write(&mut self, data: &[u8]) {
        // The write fails only for an association that is gone, whose event is on its way.
        let _ = self.dtls.send_application_data(data);
        self.drain(&mut Outcome::default());
    }

    /// Sends close_notify if the handshake is complete. Returns the datagrams left to send.
    pub(super) fn close(mut self) -> VecDeque<Vec<u8>> {
        let _ = self.dtls.close();
        self.drain(&mut Outcome::default());
        self.outgoing
    }

    /// Returns the datagrams left to send of an association that has ended.
    pub(super) fn into_outgoing(self) -> VecDeque<Vec<u8>> {
        self.outgoing
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front()
    }

    /// The certificate whose key the client has, once connected. It is told once.
    pub(super) fn take_client_certificate(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.client_certificate)
    }

    fn drain(&mut self, outcome: &mut Outcome) {
        if self.is_connected {
            // Nothing is longer than the datagram that it came in, or that it goes out in.
            self.drain_by(&mut [0; MAX_DATAGRAM], outcome);
        } else {
            // `dimpl` panics if the certificate does not fit.
            self.drain_by(&mut vec![0; MAX_MESSAGE], outcome);
        }
    }

    fn drain_by(&mut self, buffer: &mut [u8], outcome: &mut Outcome) {
        loop {
            match self.dtls.poll_output(buffer) {
                Output::Packet(packet) => self.outgoing.push_back(packet.to_vec()),
                Output::PeerCert(der) => self.client_certificate = der.to_vec(),
                Output::Connected => (self.is_connected, outcome.is_connected) = (true, true),
                Output::KeyingMaterial(material, profile) => {
                    outcome.keys = known(profile).map(|profile| (profile, material));
                }
                Output::ApplicationData(data) => outcome.data.push(BytesMut::from(data)),
                Output::CloseNotify => outcome.is_closed = true,
                Output::BufferTooSmall { needed } => {
                    return self.drain_by(&mut vec![0; needed], outcome);
                }
                Output::Timeout(due) => {
                    self.due = due;
                    return;
                }
                // None that it has today.
                _ => {}
            }
        }
    }
}

/// The profile, where `srtp` has it. Of those that the client lists, `dimpl` takes AES-256-GCM, then AES-128-GCM, then
/// SHA1_80, whatever the client's own order: browsers put the slow one first.
fn known(profile: SrtpProfile) -> Option<Profile> {
    match profile {
        SrtpProfile::AEAD_AES_256_GCM => Some(Profile::AeadAes256Gcm),
        SrtpProfile::AEAD_AES_128_GCM => Some(Profile::AeadAes128Gcm),
        SrtpProfile::AES128_CM_SHA1_80 => Some(Profile::Aes128CmSha1_80),
        _ => None,
    }
}
