//! Certificates from an authority (ACME, RFC 8555), for names that lead to this server. The authority looks at the listener
//! itself: it connects by TLS and asks for the protocol `acme-tls/1` (TLS-ALPN-01, RFC 8737), so that no other port is needed.
//!
//! | part | holds |
//! |---|---|
//! | here | the orders: when one is made, and what is said about it |
//! | `choice` | the certificate for a handshake |
//! | `keep` | the files of the account and of the certificate |
//! | `told` | failures in plain words |

mod choice;
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
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};
use tracing::{error, info, warn};

use super::{ALPN, Certificate, CertificateError};
use crate::files;
use crate::live::Live;
use choice::Choice;
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
/// Failures in a row after which orders begin anew: the library then pauses for 17 minutes beside.
const AFRESH: usize = 10;
/// Time for an order, beyond which it is given up: the library waits for a connection that has died for ever. Longer than an
/// authority may take.
const ORDER: Duration = Duration::from_secs(30 * 60);
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
    wanted: Wanted,
    kept: Kept,
    /// The side of HTTPS to the authority. None: it trusts the roots of browsers.
    client: Option<Arc<ClientConfig>>,
    choice: Arc<Choice>,
    server: Arc<ServerConfig>,
    certificate: Live<Option<Certificate>>,
}

impl Acme {
    /// Prepares orders, and the folder for what comes of them. Nothing is asked for yet.
    pub(crate) fn new(wanted: Wanted) -> Result<Self, CertificateError> {
        let certificate = Live::default();
        let kept = Kept::new(&wanted.cache, certificate.clone()).map_err(|error| {
            let folder = wanted.cache.display();
            CertificateError(format!("{folder}: no folder for certificates: {error}"))
        })?;
        let client = wanted.root.as_deref().map(trusting).transpose()?;
        let choice = Arc::new(Choice::default());
        let server = server(choice.clone());
        let server = server.map_err(|error| CertificateError(error.to_string()))?;
        Ok(Self {
            wanted,
            kept,
            client,
            choice,
            server: Arc::new(server),
            certificate,
        })
    }

    /// Begins orders anew, with what is kept.
    fn begin(&self) -> AcmeState<io::Error> {
        let domains = &self.wanted.domains;
        let config = match &self.client {
            None => AcmeConfig::new_with_provider(domains, aws_lc_rs::default_provider().into()),
            Some(client) => AcmeConfig::new_with_client_config(domains, client.clone()),
        };
        let contact = self.wanted.contact.iter();
        let state = config
            .directory(&self.wanted.directory)
            .contact(contact.map(|address| format!("mailto:{address}")))
            .cache(self.kept.clone())
            .state();
        self.choice.set(state.resolver());
        state
    }

    /// The time by which something has to have come of an order.
    fn due(&self) -> Instant {
        let rests = self.certificate.get().and_then(|it| it.renewed_in());
        Instant::now() + rests.unwrap_or_default() + ORDER
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
    pub(crate) async fn run(self) -> Infallible {
        let domains = self.wanted.domains.join(", ");
        let mut failures = 0;
        let mut state = self.begin();
        loop {
            let next = poll_fn(|context| Pin::new(&mut state).poll_next(context));
            let event = match timeout_at(self.due(), next).await {
                Ok(Some(event)) => event,
                Ok(None) | Err(_) => {
                    error!(
                        "no certificate for {domains}: the authority does not answer, and is asked anew"
                    );
                    state = self.begin();
                    continue;
                }
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
                    // The library has pauses of its own, which double each time.
                    if failures % AFRESH == 0 {
                        state = self.begin();
                    }
                }
                Err(other) => warn!("{}", told::other(&other)),
            }
        }
    }
}

fn server(choice: Arc<Choice>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?;
    let mut server = builder.with_no_client_auth().with_cert_resolver(choice);
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use tokio::sync::mpsc;

    use super::*;

    /// The clock is virtual, and the connections are not.
    #[tokio::test(start_paused = true)]
    async fn an_authority_that_never_answers_is_asked_anew() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind");
        let port = listener.local_addr().expect("an address").port();
        let (asked, mut told) = mpsc::unbounded_channel();
        listener.set_nonblocking(true).expect("a listener");
        std::thread::spawn(move || {
            let until = std::time::Instant::now() + Duration::from_secs(20);
            while std::time::Instant::now() < until && !asked.is_closed() {
                match listener.accept() {
                    // Each stays open and silent.
                    Ok((connection, _)) => drop(asked.send(connection)),
                    Err(_) => std::thread::yield_now(),
                }
            }
        });
        let folder = tempfile::tempdir().expect("a folder");
        let wanted = Wanted {
            domains: vec!["localhost".into()],
            directory: format!("https://127.0.0.1:{port}/dir"),
            contact: None,
            cache: folder.path().to_owned(),
            root: None,
        };
        let acme = Acme::new(wanted).expect("prepared");
        let orders = tokio::spawn(acme.run());
        let mut connections = Vec::new();
        for _ in 0..3 {
            connections.push(told.recv().await.expect("a connection"));
        }
        orders.abort();
    }
}
