//! The other end of DTLS in tests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use rtc_dtls::config::ConfigBuilder;
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;

use crate::transport::Fingerprint;
use crate::transport::srtp::{self, Profile};

pub(crate) const GCM_256: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm;
pub(crate) const GCM: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm;
pub(crate) const SHA1: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80;

/// A browser's DTLS: the client, whose certificate the server asks for.
pub(crate) struct Client {
    pub(crate) endpoint: Endpoint,
    pub(crate) connected: bool,
    pub(crate) closed: bool,
    certificate: Certificate,
}

/// RFC 5764 section 4.2.
const SRTP_EXPORTER: &str = "EXTRACTOR-dtls_srtp";
const SERVER: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
    443,
);

impl Client {
    /// Its ClientHello waits to be polled.
    pub(crate) fn connect(now: Instant, profiles: &[SrtpProtectionProfile]) -> Self {
        Self::connect_with(now, profiles, true)
    }

    pub(crate) fn connect_with(
        now: Instant,
        profiles: &[SrtpProtectionProfile],
        with_certificate: bool,
    ) -> Self {
        let provider = rtc_crypto::default_provider().unwrap();
        let certificate =
            Certificate::generate_self_signed(Vec::<String>::new(), provider.crypto()).unwrap();
        Self::with(now, profiles, with_certificate, certificate)
    }

    /// Another association of the same client.
    pub(crate) fn connect_again(&self, now: Instant) -> Self {
        Self::with(now, &[SHA1, GCM_256, GCM], true, self.certificate.clone())
    }

    fn with(
        now: Instant,
        profiles: &[SrtpProtectionProfile],
        with_certificate: bool,
        certificate: Certificate,
    ) -> Self {
        let provider = rtc_crypto::default_provider().unwrap();
        let own = with_certificate.then(|| certificate.clone());
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider)
            .with_certificates(own.into_iter().collect())
            .with_srtp_protection_profiles(profiles.to_vec())
            .with_insecure_skip_verify(true)
            .build(true, Some(SERVER))
            .unwrap();
        let local = SocketAddr::from(([192, 0, 2, 2], 5_000));
        let mut endpoint = Endpoint::new(local, TransportProtocol::UDP, None);
        endpoint
            .connect(now, SERVER, Arc::new(config), None)
            .unwrap();
        Self {
            endpoint,
            connected: false,
            closed: false,
            certificate,
        }
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::sha256(self.der())
    }

    pub(crate) fn der(&self) -> &[u8] {
        &self.certificate.certificate[0]
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        Some(self.endpoint.poll_transmit()?.message.to_vec())
    }

    pub(crate) fn handle(&mut self, now: Instant, datagram: &[u8]) {
        let events = self
            .endpoint
            .read(now, SERVER, None, BytesMut::from(datagram));
        for event in events.into_iter().flatten() {
            match event {
                EndpointEvent::HandshakeComplete => self.connected = true,
                EndpointEvent::PeerClosed => self.closed = true,
                _ => {}
            }
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let _ = self.endpoint.handle_timeout(SERVER, now);
    }

    pub(crate) fn write(&mut self, now: Instant, data: &[u8]) {
        self.endpoint.write(now, SERVER, data).unwrap();
    }

    pub(crate) fn close(&mut self, now: Instant) {
        self.endpoint.close(now).unwrap();
    }

    /// Its half of the exported keys.
    pub(crate) fn srtp(&self) -> srtp::testing::Client {
        let state = self.endpoint.get_connection_state(SERVER).unwrap();
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => Profile::AeadAes256Gcm,
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Profile::AeadAes128Gcm,
            _ => Profile::Aes128CmSha1_80,
        };
        let len = profile.keying_material_len();
        let material = state
            .export_keying_material(SRTP_EXPORTER, &[], len)
            .unwrap();
        srtp::testing::Client::from_keying_material(profile, material.as_ref())
    }
}
