//! Certificates from an authority (ACME, RFC 8555), for names that lead to this server. The authority looks at the listener
//! itself: it connects by TLS and asks for the protocol `acme-tls/1` (TLS-ALPN-01, RFC 8737), so that no other port is needed.
//!
//! | part | holds |
//! |---|---|
//! | here | the orders: when one is made, and what is said about it |
//! | `keep` | the files of the account and of the certificate |
//! | `told` | failures in plain words |

mod keep;
mod told;

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use rustls_acme::acme::ACME_TLS_ALPN_NAME;
use rustls_acme::{AcmeConfig, AcmeState, EventError, EventOk};
use tokio::time::sleep;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};
use tracing::{error, info, warn};

use super::{ALPN, Certificate, CertificateError};
use crate::files;
use crate::live::Live;
use keep::Kept;

/// The protocol by which an authority looks.
pub(crate) const LOOK: &[u8] = ACME_TLS_ALPN_NAME;
/// Times between orders that fail. Authorities count failures: Let's Encrypt takes five an hour for a name.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(20 * 60),
    Duration::from_secs(3_600),
];
/// Bytes of a file with roots: far more than all of a browser's take.
const ROOT_BYTES: usize = 1 << 20;

/// The names, and the authority that is asked for a certificate of theirs.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) domains: Vec<String>,
    /// The address of its directory.
    pub(crate) directory: String,
    /// An address of mail for the authority.
    pub(crate) contact: Option<String>,
    /// The folder for the account and the certificate.
    pub(crate) cache: PathBuf,
    /// A file with the roots of the authority's own HTTPS. None: those of browsers.
    pub(crate) root: Option<PathBuf>,
}

/// The orders of one server.
pub(crate) struct Acme {
    state: AcmeState<io::Error>,
    server: Arc<ServerConfig>,
    certificate: Live<Option<Certificate>>,
    wanted: Wanted,
}

impl Acme {
    /// Prepares orders, and the folder for what comes of them. Nothing is asked for yet.
    pub(crate) fn new(wanted: Wanted) -> Result<Self, CertificateError> {
        let certificate = Live::default();
        let kept = Kept::new(&wanted.cache, certificate.clone()).map_err(|error| {
            let folder = wanted.cache.display();
            CertificateError(format!("{folder}: no folder for certificates: {error}"))
        })?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = match &wanted.root {
            None => AcmeConfig::new_with_provider(&wanted.domains, provider.clone()),
            Some(root) => AcmeConfig::new_with_client_config(&wanted.domains, trusting(root)?),
        };
        let contact = wanted.contact.iter();
        let state = config
            .directory(&wanted.directory)
            .contact(contact.map(|address| format!("mailto:{address}")))
            .cache(kept)
            .state();
        let server = server(provider, &state);
        let server = server.map_err(|error| CertificateError(error.to_string()))?;
        Ok(Self {
            state,
            server: Arc::new(server),
            certificate,
            wanted,
        })
    }

    /// The side of TLS: the certificate in use, and the one that the authority looks for.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }

    /// The certificate in use; none before the first.
    pub(crate) fn certificate(&self) -> Live<Option<Certificate>> {
        self.certificate.clone()
    }

    /// Orders certificates, the first at once if none is kept, and the next when a third of its time is left.
    pub(crate) async fn run(mut self) -> Infallible {
        let domains = self.wanted.domains.join(", ");
        let mut failures = 0;
        loop {
            let next = poll_fn(|context| Pin::new(&mut self.state).poll_next(context));
            let Some(event) = next.await else {
                return std::future::pending().await;
            };
            let certificate = self.certificate.get();
            let fingerprint = certificate.as_ref().map(Certificate::fingerprint);
            match event {
                Ok(EventOk::DeployedCachedCert) => {
                    info!(fingerprint, "certificate of acme_cache taken");
                }
                Ok(EventOk::DeployedNewCert) => {
                    failures = 0;
                    info!("certificate for {domains} issued: new connections have it");
                }
                Ok(EventOk::CertCacheStore) => info!(fingerprint, "certificate kept in acme_cache"),
                Ok(EventOk::AccountCacheStore) => {}
                Err(EventError::Order(failure)) => {
                    let pause = PAUSES[failures.min(PAUSES.len() - 1)];
                    failures += 1;
                    let sentence = told::order(&failure);
                    let directory = &self.wanted.directory;
                    error!(
                        "no certificate for {domains} from {directory}: {sentence}. It is asked for again in {} s",
                        pause.as_secs()
                    );
                    if let Some(warning) = certificate.as_ref().and_then(Certificate::warning) {
                        warn!("{warning}");
                    }
                    // Nothing goes on meanwhile.
                    sleep(pause).await;
                }
                Err(other) => warn!("{}", told::other(&other)),
            }
        }
    }
}

fn server(
    provider: Arc<rustls::crypto::CryptoProvider>,
    state: &AcmeState<io::Error>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?;
    let builder = builder.with_no_client_auth();
    let mut server = builder.with_cert_resolver(state.resolver());
    server.alpn_protocols = vec![ALPN.to_vec(), LOOK.to_vec()];
    server.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(server)
}

/// A client of an authority whose HTTPS has these roots.
fn trusting(root: &Path) -> Result<Arc<ClientConfig>, CertificateError> {
    let wrong = |what: String| CertificateError(format!("{}: {what}", root.display()));
    let text = files::read(root, ROOT_BYTES).map_err(|error| wrong(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for each in CertificateDer::pem_slice_iter(&text) {
        let each = each.map_err(|_| wrong("a certificate in it cannot be read".to_owned()))?;
        let added = roots.add(each);
        added.map_err(|error| wrong(format!("a root in it cannot be used: {error}")))?;
    }
    if roots.is_empty() {
        return Err(wrong("there is no certificate (PEM) in it".to_owned()));
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| wrong(error.to_string()))?;
    let client = builder.with_root_certificates(roots).with_no_client_auth();
    Ok(Arc::new(client))
}
