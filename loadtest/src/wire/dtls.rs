//! DTLS 1.2 as client, on `rtc-dtls`, another implementation than the server's: one certificate for all bots, one association each.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use ring::digest;
use rtc_dtls::config::{ConfigBuilder, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error;

use super::srtp::{Profile, Srtp};

/// The bots' certificate, and the handshake configuration built on it. A browser has one for each
/// connection; making a thousand would load the generator and show the server nothing.
pub struct Identity {
    config: Arc<HandshakeConfig>,
    fingerprint: String,
}

/// `rtc-dtls` keeps associations by address; a bot has one.
const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
/// RFC 5764 section 4.2.
const SRTP_EXPORTER: &str = "EXTRACTOR-dtls_srtp";

impl Identity {
    pub fn generate() -> Result<Self, String> {
        let text = |error: Error| error.to_string();
        let provider = rtc_crypto::default_provider().map_err(|error| error.to_string())?;
        let certificate =
            Certificate::generate_self_signed(Vec::<String>::new(), provider.crypto())
                .map_err(text)?;
        let der = certificate.certificate.first().ok_or("no certificate")?;
        let fingerprint = fingerprint(der);
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider)
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(vec![
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            ])
            // Self-signed: the certificate is compared with the answer's fingerprint afterwards.
            .with_insecure_skip_verify(true)
            .build(true, Some(SERVER))
            .map_err(text)?;
        Ok(Self {
            config: Arc::new(config),
            fingerprint,
        })
    }

    /// SHA-256, as SDP writes it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// RFC 8122 section 5.
fn fingerprint(der: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, der);
    let bytes: Vec<_> = digest.as_ref().iter().map(|b| format!("{b:02X}")).collect();
    bytes.join(":")
}

/// The outcome of a datagram or of the time.
pub enum DtlsEvent {
    /// The certificate is the announced one.
    Connected(Box<Srtp>),
    /// It ended, for a reason in words.
    Failed(String),
}

/// One bot's association.
pub struct Dtls {
    endpoint: Endpoint,
    /// Fingerprint of the server's certificate, from the answer.
    expected: String,
    connected: bool,
    ended: bool,
    /// Application data that came.
    heard: Vec<BytesMut>,
}

/// Application data kept for one who asks for it, in datagrams; more is dropped.
const HEARD: usize = 1_024;

impl Dtls {
    /// Its ClientHello waits to be sent.
    pub fn connect(now: Instant, identity: &Identity, expected: &str) -> Result<Self, String> {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 2));
        let mut endpoint = Endpoint::new(local, TransportProtocol::UDP, None);
        endpoint
            .connect(now, SERVER, Arc::clone(&identity.config), None)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            endpoint,
            expected: expected.to_ascii_uppercase(),
            connected: false,
            ended: false,
            heard: Vec::new(),
        })
    }

    pub fn handle(&mut self, now: Instant, datagram: &[u8]) -> Option<DtlsEvent> {
        if self.ended {
            return None;
        }
        match self
            .endpoint
            .read(now, SERVER, None, BytesMut::from(datagram))
        {
            Ok(events) => events.into_iter().find_map(|event| match event {
                EndpointEvent::HandshakeComplete => Some(self.complete()),
                EndpointEvent::PeerClosed => Some(self.fail("closed by the server")),
                EndpointEvent::ApplicationData(data) => {
                    if self.heard.len() < HEARD {
                        self.heard.push(data);
                    }
                    None
                }
                _ => None,
            }),
            // While connected only an authenticated alert ends it.
            Err(error) if self.connected && error != Error::ErrAlertFatalOrClose => None,
            Err(error) => Some(self.fail(&error.to_string())),
        }
    }

    fn complete(&mut self) -> DtlsEvent {
        match self.export() {
            Ok(srtp) => {
                self.connected = true;
                DtlsEvent::Connected(Box::new(srtp))
            }
            Err(error) => self.fail(&error),
        }
    }

    fn export(&self) -> Result<Srtp, String> {
        let state = self
            .endpoint
            .get_connection_state(SERVER)
            .ok_or("no association")?;
        let certificate = state.peer_certificates.first().ok_or("no certificate")?;
        if fingerprint(certificate) != self.expected {
            return Err("the certificate is not the one in the answer".into());
        }
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Profile::Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => Profile::CmSha1,
            _ => return Err("no SRTP profile in common".into()),
        };
        let material = state
            .export_keying_material(SRTP_EXPORTER, &[], profile.material_len())
            .map_err(|error| error.to_string())?;
        Srtp::new(profile, material.as_ref()).ok_or_else(|| "no SRTP keys".into())
    }

    fn fail(&mut self, why: &str) -> DtlsEvent {
        self.ended = true;
        DtlsEvent::Failed(format!("DTLS: {why}"))
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.connected || self.ended {
            return None;
        }
        self.endpoint.poll_timeout(&SERVER)
    }

    pub fn handle_timeout(&mut self, now: Instant) -> Option<DtlsEvent> {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return None;
        }
        let error = self.endpoint.handle_timeout(SERVER, now).err()?;
        Some(self.fail(&error.to_string()))
    }

    /// Hands over the application data that came.
    pub fn take_data(&mut self) -> Vec<BytesMut> {
        std::mem::take(&mut self.heard)
    }

    /// Sends application data, if there is an association.
    pub fn write(&mut self, now: Instant, data: &[u8]) {
        if self.connected && !self.ended {
            // The write fails if the association has ended, which the next datagram tells.
            let _ = self.endpoint.write(now, SERVER, data);
        }
    }

    pub fn poll_transmit(&mut self) -> Option<BytesMut> {
        Some(self.endpoint.poll_transmit()?.message)
    }

    /// Sends close_notify, if there is anyone to send it to.
    pub fn close(&mut self, now: Instant) {
        if !self.ended {
            self.ended = true;
            let _ = self.endpoint.close(now);
        }
    }
}
