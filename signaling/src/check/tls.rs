//! The TLS handshake, and the certificate that it shows.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Names of a certificate that are told.
const NAMES: usize = 5;

/// The reason that browsers do not take a certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    Expired,
    NotYetValid,
    WrongName,
    /// Nobody whom this machine trusts has signed it.
    UnknownIssuer,
    /// The machine of the check has no authorities to trust.
    NoRoots,
    Other(String),
}

/// A certificate chain that a server has shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Shown {
    pub(super) fault: Option<Fault>,
    /// The certificate is signed by its own key.
    pub(super) self_signed: bool,
    /// Certificates in the chain.
    pub(super) chain: usize,
    /// The first few.
    pub(super) names: Vec<String>,
    /// Unix time in seconds; none if it cannot be read.
    pub(super) until: Option<i64>,
}

/// Makes connections over TLS, and remembers the certificate that was shown last.
#[derive(Clone)]
pub(super) struct Tls {
    connector: TlsConnector,
    watch: Arc<Watch>,
}

impl Tls {
    /// `own` are further authorities, in PEM. With `insecure` any certificate is taken.
    ///
    /// # Errors
    ///
    /// A sentence: `own` has no certificate, or one that cannot be read.
    pub(super) fn new(own: Option<&[u8]>, insecure: bool) -> Result<Self, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        // One that cannot be read is passed over, as by every other client.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(pem) = own {
            let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
            let read = read.map_err(|error| format!("no certificates in PEM: {error}"))?;
            if read.is_empty() {
                return Err("no certificate in PEM is in it".to_owned());
            }
            for certificate in read {
                roots
                    .add(certificate)
                    .map_err(|error| format!("a certificate that cannot be read: {error}"))?;
            }
        }
        let real = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone());
        let watch = Arc::new(Watch {
            // Without roots there is none.
            real: real.build().ok(),
            provider,
            insecure,
            shown: Mutex::new(None),
        });
        Self::watched_by(watch, &[b"http/1.1"])
    }

    fn watched_by(watch: Arc<Watch>, protocols: &[&[u8]]) -> Result<Self, String> {
        let config = ClientConfig::builder_with_provider(watch.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let mut config = config
            .dangerous()
            .with_custom_certificate_verifier(watch.clone())
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            watch,
        })
    }

    /// One that trusts the same authorities, and has seen no certificate: for connections beside each other. It names no
    /// protocol, as browsers do for TURN.
    pub(super) fn anew(&self) -> Self {
        let watch = Watch {
            real: self.watch.real.clone(),
            provider: self.watch.provider.clone(),
            insecure: self.watch.insecure,
            shown: Mutex::new(None),
        };
        // The provider was good for the first.
        Self::watched_by(Arc::new(watch), &[]).unwrap_or_else(|_| self.clone())
    }

    pub(super) fn connector(&self) -> &TlsConnector {
        &self.connector
    }

    pub(super) fn shown(&self) -> Option<Shown> {
        self.watch.lock().clone()
    }
}

/// Verifies as browsers do, and keeps what it saw.
#[derive(Debug)]
struct Watch {
    real: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    insecure: bool,
    shown: Mutex<Option<Shown>>,
}

impl Watch {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Shown>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for Watch {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = match &self.real {
            Some(real) => {
                real.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        let fault = verified.as_ref().err().map(|error| match &self.real {
            Some(_) => fault(error),
            None => Fault::NoRoots,
        });
        *self.lock() = Some(shown(end_entity, intermediates.len(), fault));
        match self.insecure {
            true => Ok(ServerCertVerified::assertion()),
            false => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn fault(error: &rustls::Error) -> Fault {
    let rustls::Error::InvalidCertificate(certificate) = error else {
        return Fault::Other(error.to_string());
    };
    match certificate {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Fault::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Fault::NotYetValid
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Fault::WrongName
        }
        CertificateError::UnknownIssuer => Fault::UnknownIssuer,
        other => Fault::Other(other.to_string()),
    }
}

fn shown(own: &CertificateDer<'_>, intermediates: usize, fault: Option<Fault>) -> Shown {
    let mut shown = Shown {
        fault,
        self_signed: false,
        chain: 1 + intermediates,
        names: Vec::new(),
        until: None,
    };
    let Ok((_, read)) = X509Certificate::from_der(own) else {
        return shown;
    };
    shown.self_signed = intermediates == 0 && read.issuer() == read.subject();
    shown.until = Some(read.validity().not_after.timestamp());
    if let Ok(Some(names)) = read.subject_alternative_name() {
        let names = names.value.general_names.iter();
        shown.names = names.filter_map(name).take(NAMES).collect();
    }
    shown
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// The reason that a handshake failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Unshaken {
    /// The certificate was not taken.
    Certificate,
    /// The other side speaks something else.
    NotTls,
    /// The other side refuses, in the library's words.
    Refused(String),
    /// Nothing came.
    Silent,
    /// The connection ended.
    Closed,
}

impl Unshaken {
    pub(super) fn of(error: &io::Error) -> Self {
        let inner = error.get_ref();
        match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(_)) => Self::Certificate,
            Some(rustls::Error::InvalidMessage(_)) => Self::NotTls,
            Some(other) => Self::Refused(other.to_string()),
            None => Self::Closed,
        }
    }
}
