//! Certificates for TLS (RFC 8446, and RFC 5246 for older clients) on the public listener.

pub(crate) mod acme;
mod names;
mod pem;
mod self_signed;
mod validity;

use std::fmt;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig, SupportedCipherSuite};

/// The one protocol over TLS (RFC 7301). Browsers make WebSockets over it, and hyper serves it alone.
const ALPN: &[u8] = b"http/1.1";

/// A certificate chain and its private key, which belong together. Cheap to clone. Its `Debug` form shows the
/// fingerprint alone.
#[derive(Clone)]
pub struct Certificate {
    server: Arc<ServerConfig>,
    own: CertificateDer<'static>,
    fingerprint: Arc<str>,
}

/// A certificate or key that cannot be used. Its sentence names the file, and shows nothing of the key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct CertificateError(String);

impl Certificate {
    /// `chain` begins with the server's own certificate.
    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let own = chain.first().cloned();
        let own = own.ok_or(rustls::Error::NoCertificatesPresented)?;
        let fingerprint = fingerprint(&provider, &own).into();
        let builder = ServerConfig::builder_with_provider(provider);
        // TLS 1.2 and 1.3, by the features of the crate.
        let builder = builder.with_safe_default_protocol_versions()?;
        let mut server = builder.with_no_client_auth().with_single_cert(chain, key)?;
        server.alpn_protocols = vec![ALPN.to_vec()];
        // Tickets hold the state of a session at the client, so that sessions take no memory here.
        server.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(Self {
            server: Arc::new(server),
            own,
            fingerprint,
        })
    }

    /// The SHA-256 digest of the certificate, as browsers show it: 32 bytes in hexadecimal with colons.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The server's own certificate, without its chain, in DER.
    pub fn der(&self) -> &[u8] {
        &self.own
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate")
            .field(&self.fingerprint)
            .finish()
    }
}

fn fingerprint(provider: &CryptoProvider, certificate: &CertificateDer<'_>) -> String {
    let mut suites = provider.cipher_suites.iter();
    // The provider has SHA-256 for its cipher suites.
    let sha256 = suites.find_map(|suite| match suite {
        SupportedCipherSuite::Tls13(suite) => {
            let hash = suite.common.hash_provider;
            (hash.output_len() == 32).then_some(hash)
        }
        SupportedCipherSuite::Tls12(_) => None,
    });
    let digest = sha256.map(|sha256| sha256.hash(certificate));
    let digest = digest.as_ref().map_or(&[][..], AsRef::as_ref);
    let bytes: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}
