//! A certificate that the server makes for itself: for a local network, where no authority gives one.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use super::{Certificate, CertificateError};

/// The time for which the certificate is valid. Apple's browsers refuse one that is valid for more than 398 days.
const VALIDITY: Duration = Duration::from_secs(397 * 24 * 3_600);
/// The time before now from which on it is valid: clocks in a local network differ.
const BACKDATED: Duration = Duration::from_secs(24 * 3_600);

impl Certificate {
    /// Makes a certificate for `localhost`, the host's name and addresses, and what is given here. It is signed by its
    /// own key, so that browsers ask once whether it is meant.
    ///
    /// # Errors
    ///
    /// No key could be made.
    pub fn self_signed(
        names: impl IntoIterator<Item = String>,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Result<Self, CertificateError> {
        let own = host_name();
        // By multicast DNS (RFC 6762) others find the host under this name.
        let local = own.iter().map(|name| format!("{name}.local"));
        let names = own.iter().cloned().chain(local).chain(names);
        make(names, addresses)
            .map_err(|error| CertificateError(format!("no certificate could be made: {error}")))
    }
}

fn make(
    names: impl IntoIterator<Item = String>,
    addresses: impl IntoIterator<Item = IpAddr>,
) -> Result<Certificate, Box<dyn std::error::Error>> {
    let names = ["localhost".to_owned()].into_iter().chain(names);
    let names: BTreeSet<String> = names.collect();
    let loopback = ["127.0.0.1", "::1"].map(str::parse);
    let loopback = loopback.into_iter().filter_map(Result::ok);
    let addresses: BTreeSet<IpAddr> = loopback.chain(addresses).collect();
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Tertulia (self-signed)");
    // A name that no certificate can hold is left out: the others serve.
    let names = names
        .into_iter()
        .filter_map(|name| Ia5String::try_from(name).ok());
    let addresses = addresses.into_iter().filter(|ip| !ip.is_unspecified());
    params.subject_alt_names = names
        .map(SanType::DnsName)
        .chain(addresses.map(SanType::IpAddress))
        .collect();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = date_time_ymd(1970, 1, 1) + SystemTime::now().duration_since(UNIX_EPOCH)?;
    params.not_before = now - BACKDATED;
    params.not_after = now + VALIDITY;
    // P-256, which every browser takes.
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    Ok(Certificate::new(
        vec![certificate.der().clone()],
        key.into(),
    )?)
}

/// The host's name, if it is one of DNS.
fn host_name() -> Option<String> {
    let system = rustix::system::uname();
    let name = system.nodename().to_str().ok()?;
    let is_label = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let fits = (1..=63).contains(&name.len()) && name.chars().all(is_label);
    fits.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::duplex;
    use tokio_rustls::rustls::crypto::aws_lc_rs;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    /// Whether a client that trusts the certificate takes it for this name.
    async fn serves(certificate: &Certificate, name: &str) -> bool {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from(certificate.der().to_vec()))
            .expect("a certificate");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (near, far) = duplex(64 << 10);
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let connector = TlsConnector::from(Arc::new(client));
        let acceptor = TlsAcceptor::from(certificate.server());
        let (connected, _) = tokio::join!(connector.connect(name, near), acceptor.accept(far));
        connected.is_ok()
    }

    #[tokio::test]
    async fn it_is_for_the_host_its_addresses_and_the_given_names() {
        let names = ["call.example.org", "caf\u{e9}"].map(str::to_owned);
        let addresses = ["192.0.2.7", "0.0.0.0", "2001:db8::7"];
        let addresses = addresses.map(|ip| ip.parse().expect("an address"));
        let certificate = Certificate::self_signed(names, addresses).expect("made");
        for name in [
            "localhost",
            "127.0.0.1",
            "::1",
            "call.example.org",
            "192.0.2.7",
            "2001:db8::7",
        ] {
            assert!(serves(&certificate, name).await, "{name}");
        }
        if let Some(name) = host_name() {
            assert!(serves(&certificate, &format!("{name}.local")).await);
        }
        for name in ["example.org", "192.0.2.8", "0.0.0.0"] {
            assert!(!serves(&certificate, name).await, "{name}");
        }
    }
}
