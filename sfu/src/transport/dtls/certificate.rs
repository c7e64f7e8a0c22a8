//! The server's certificate, and the handshake configuration built on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::crypto::{CryptoProvider, Dtls12CipherSuite};
use dimpl::{Config, ConfigBuilder, Dtls, DtlsCertificate};

use crate::transport::Fingerprint;
use crate::transport::srtp::Backend;

/// A self-signed ECDSA P-256 certificate (RFC 8827 section 6.5), one for the process.
///
/// Everything that a handshake needs is built here once, so that a join storm builds only
/// connections.
pub(crate) struct Certificate {
    fingerprint: Fingerprint,
    identity: DtlsCertificate,
    config: Arc<Config>,
    backend: Backend,
}

/// The suite every WebRTC client must have (RFC 8827 section 6.5), and the one that is fast on
/// phones without AES instructions.
const CIPHER_SUITES: [Dtls12CipherSuite; 2] = [
    Dtls12CipherSuite::ECDHE_ECDSA_AES128_GCM_SHA256,
    Dtls12CipherSuite::ECDHE_ECDSA_CHACHA20_POLY1305_SHA256,
];
/// The size that fits every path, as for media.
pub(super) const MTU: usize = 1_200;
/// Wait for the answer to a flight, by a quarter more or less at random, and twice as long after each repetition: never
/// less than the 300 ms that an answer takes from another continent. A client repeats its own flight sooner if it knows
/// better, and that is answered.
const FIRST_WAIT: Duration = Duration::from_millis(400);
/// The end of a handshake whose client is silent, after five flights. RFC 6347 section 4.2.4.1 has each wait double.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(8);
/// Repetitions of a flight, those on a client's own repetition included. The time ends first.
const REPETITIONS: usize = 16;
/// Datagrams that wait for others before them. The largest certificate comes in 14, and a ChangeCipherSpec that
/// comes alone stays with each repetition.
const MAX_WAITING: usize = 48;
/// Datagrams of one call that are taken before the next: a flight of ours is two.
const MAX_UNSENT: usize = 16;

impl Certificate {
    /// A fresh one; its key comes from the system's randomness and is never stored.
    /// The SRTP of connections made with it comes from `backend`.
    pub(crate) fn generate(backend: Backend) -> Result<Arc<Self>, String> {
        Self::with(backend, Config::builder())
    }

    /// One for the simulation: repetitions come at times that follow from the seed. So do the nonces of all its
    /// associations, which is why there is no other use of it.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn generate_seeded(backend: Backend, seed: u64) -> Result<Arc<Self>, String> {
        Self::with(backend, Config::builder().dangerously_set_rng_seed(seed))
    }

    fn with(backend: Backend, config: ConfigBuilder) -> Result<Arc<Self>, String> {
        let text = |error: rcgen::Error| error.to_string();
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(text)?;
        // No names: nobody reads them. The serial number is a hash of the key, so that no two are alike.
        let mut params = rcgen::CertificateParams::new(Vec::new()).map_err(text)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        let certificate = params.self_signed(&key).map_err(text)?;
        let identity = DtlsCertificate {
            certificate: certificate.der().to_vec(),
            private_key: key.serialize_der(),
        };
        let config = config
            .with_crypto_provider(provider())
            .dtls12_cipher_suites(&CIPHER_SUITES)
            // ICE has verified the client's address; a cookie would do so again, for a round trip.
            .use_server_cookie(false)
            // The certificate is what the client signs the handshake with; which one it must be only
            // the fingerprint says.
            .require_client_certificate(true)
            .mtu(MTU)
            .max_queue_rx(MAX_WAITING)
            .max_queue_tx(MAX_UNSENT)
            .flight_start_rto(FIRST_WAIT)
            .flight_retries(REPETITIONS)
            .handshake_timeout(HANDSHAKE)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Arc::new(Self {
            fingerprint: Fingerprint::sha256(&identity.certificate),
            identity,
            config: Arc::new(config),
            backend,
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

    /// The server's end of a new association.
    ///
    /// DTLS 1.2 only. With DTLS 1.3 no picture would come earlier: its server could send half a round trip sooner, but
    /// must not before it knows the client's certificate, which comes as late.
    pub(super) fn accept(&self, now: Instant) -> Dtls {
        Dtls::new_12(self.config.clone(), self.identity.clone(), now)
    }
}

#[cfg(feature = "aws-lc-rs")]
fn provider() -> CryptoProvider {
    dimpl::crypto::aws_lc_rs::default_provider()
}

/// Slower, but without C.
#[cfg(not(feature = "aws-lc-rs"))]
fn provider() -> CryptoProvider {
    dimpl::crypto::rust_crypto::default_provider()
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate")
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}
