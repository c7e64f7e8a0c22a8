//! HTTP, by `reqwest`: no proxies, and no redirects but those that the caller follows.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use url::Url;

/// Longest body that is read, in bytes: the counters of thousands of peers are less. A longer one is an error.
const MAX_BODY: usize = 4 << 20;

/// The certificates that a client trusts.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// No certificate, for plain http.
    Nothing,
    /// Certificates that the system trusts.
    System,
    /// Certificates in a PEM file, and no others.
    File(&'a Path),
}

/// A client. Each request has a connection of its own: a session is a POST now and a DELETE minutes later, so that a
/// pool would keep nothing.
///
/// # Errors
///
/// The certificates cannot be read; in words.
pub fn client(trust: Trust<'_>) -> Result<Client, String> {
    // It fails if there is one already, which will do as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .user_agent(concat!("tertulia-loadtest/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(0);
    let builder = match trust {
        Trust::Nothing => builder.tls_certs_only([]),
        Trust::System => builder,
        Trust::File(path) => {
            let wrong = |error: &dyn Error| format!("{}: {error}", path.display());
            let pem = std::fs::read(path).map_err(|error| wrong(&error))?;
            let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| wrong(&error))?;
            builder.tls_certs_only(certificates)
        }
    };
    builder.build().map_err(|error| reason(&error))
}

/// The TLS of a connection that is no HTTP client's.
///
/// # Errors
///
/// The certificates cannot be read; in words.
pub(crate) fn tls(trust: Trust<'_>) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match trust {
        Trust::System => builder
            .with_platform_verifier()
            .map_err(|error| format!("the system's certificates: {error}"))?,
        Trust::Nothing => builder.with_root_certificates(RootCertStore::empty()),
        Trust::File(path) => {
            let wrong = |error: &dyn Error| format!("{}: {error}", path.display());
            let mut roots = RootCertStore::empty();
            let certificates =
                CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| wrong(&error))?;
                roots.add(certificate).map_err(|error| wrong(&error))?;
            }
            if roots.is_empty() {
                return Err(format!("{}: it has no certificate", path.display()));
            }
            builder.with_root_certificates(roots)
        }
    };
    Ok(Arc::new(builder.with_no_client_auth()))
}

/// The body of a response.
///
/// # Errors
///
/// It breaks off, or is longer than 4 MiB.
pub(crate) async fn body(response: &mut Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| reason(&error))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(format!("the body is longer than {MAX_BODY} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The innermost cause of an error; the others repeat the URL.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    let mut inner: &dyn Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// The address of a URL's host.
///
/// # Errors
///
/// The name does not resolve.
pub(crate) async fn resolve(url: &Url) -> io::Result<SocketAddr> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(80);
    let mut addresses = tokio::net::lookup_host((host, port)).await?;
    let none = || io::Error::other("the name has no address");
    addresses.next().ok_or_else(none)
}
