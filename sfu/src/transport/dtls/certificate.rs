//! The server's certificate, and the handshake configurations built on it.

use std::sync::Arc;

use rtc_dtls::cipher_suite::CipherSuiteId;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, HandshakeConfig};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;

use crate::transport::Fingerprint;
use crate::transport::srtp::{Backend, Profile};

/// A self-signed ECDSA P-256 certificate (RFC 8827 section 6.5), one for the process.
///
/// Everything that a handshake needs is built here once, so that a join storm builds only
/// connections. Therefore the client's certificate is compared after the handshake, before any of
/// its keys is used.
pub(crate) struct Certificate {
    fingerprint: Fingerprint,
    gcm_256: Arc<HandshakeConfig>,
    gcm: Arc<HandshakeConfig>,
    sha1: Arc<HandshakeConfig>,
    backend: Backend,
}

/// The suite every WebRTC client must have (RFC 8827 section 6.5), and the one that is fast on
/// phones without AES instructions.
const CIPHER_SUITES: [CipherSuiteId; 2] = [
    CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256,
    CipherSuiteId::Tls_Ecdhe_Ecdsa_With_ChaCha20_Poly1305_Sha256,
];
/// The size that fits every path, as for media.
pub(super) const MTU: usize = 1_200;

impl Certificate {
    /// A fresh one; its key comes from the system's randomness and is never stored.
    /// The SRTP of connections made with it comes from `backend`.
    pub(crate) fn generate(backend: Backend) -> Result<Arc<Self>, String> {
        let provider = rtc_crypto::default_provider().map_err(|error| error.to_string())?;
        let certificate = rtc_dtls::crypto::Certificate::generate_self_signed(
            Vec::<String>::new(),
            provider.crypto(),
        )
        .map_err(|error| error.to_string())?;
        let der = certificate.certificate.first().ok_or("no certificate")?;
        let fingerprint = Fingerprint::sha256(der);
        let config = |profile| {
            ConfigBuilder::default()
                .with_crypto_provider(provider.clone())
                .with_certificates(vec![certificate.clone()])
                .with_cipher_suites(CIPHER_SUITES.to_vec())
                .with_srtp_protection_profiles(vec![profile])
                // The certificate is what the client signs the handshake with; which one it
                // must be only the fingerprint says.
                .with_client_auth(ClientAuthType::RequireAnyClientCert)
                .with_insecure_skip_verify(true)
                .with_mtu(MTU)
                .build(false, None)
                .map(Arc::new)
                .map_err(|error| error.to_string())
        };
        Ok(Arc::new(Self {
            fingerprint,
            backend,
            gcm_256: config(SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm)?,
            gcm: config(SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm)?,
            sha1: config(SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80)?,
        }))
    }

    /// The SHA-256 fingerprint for the SDP answer.
    pub(crate) fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// The library that seals the SRTP of its connections.
    pub(super) fn backend(&self) -> Backend {
        self.backend
    }

    /// `rtc-dtls` follows the client's order of SRTP profiles and browsers put the slow one first,
    /// so each configuration has a single profile.
    pub(super) fn config(&self, profile: Profile) -> Arc<HandshakeConfig> {
        match profile {
            Profile::AeadAes256Gcm => self.gcm_256.clone(),
            Profile::AeadAes128Gcm => self.gcm.clone(),
            Profile::Aes128CmSha1_80 => self.sha1.clone(),
        }
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate")
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}
