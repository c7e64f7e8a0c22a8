//! Certificates and keys from PEM files (RFC 7468).

use std::path::Path;

use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Certificate, CertificateError};
use crate::files;

/// Bytes of a file: far more than the longest chain has.
const FILE_BYTES: usize = 1 << 20;
/// Bytes of a chain as it is sent: OpenSSL's clients take 100 kB, and chains have some 5.
const CHAIN_BYTES: usize = 64 << 10;

impl Certificate {
    /// Reads a private key and the chain of its certificate from one text. None if they cannot be used.
    pub(super) fn from_pem(text: &[u8]) -> Option<Self> {
        let chain = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
        let key = PrivateKeyDer::from_pem_slice(text).ok()?;
        Self::new(chain.ok()?, key).ok()
    }

    /// Reads a chain, which begins with the server's own certificate, and its private key (PKCS #8, PKCS #1 or SEC 1,
    /// not encrypted).
    ///
    /// # Errors
    ///
    /// A file cannot be read or has another form, or the key is of another certificate.
    pub fn from_files(chain: &Path, key: &Path) -> Result<Self, CertificateError> {
        let of_chain = |error| at(chain, &of_pem(&error, "certificate"));
        let certificates = CertificateDer::pem_slice_iter(&read(chain)?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(of_chain)?;
        if certificates.is_empty() {
            return Err(of_chain(pem::Error::NoItemsFound));
        }
        if certificates.iter().map(|each| each.len()).sum::<usize>() > CHAIN_BYTES {
            let wrong = "the chain has more than 64 KiB, which clients refuse; it needs no certificate twice";
            return Err(at(chain, wrong));
        }
        let text = read(key)?;
        let private =
            PrivateKeyDer::from_pem_slice(&text).map_err(|error| match is_encrypted(&text) {
                true => at(
                    key,
                    "the private key is encrypted; write it without a passphrase (openssl pkey)",
                ),
                false => at(key, &of_pem(&error, "private key")),
            })?;
        Self::new(certificates, private).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => at(
                key,
                &format!(
                    "the private key is not that of the certificate in {}",
                    chain.display()
                ),
            ),
            // It reads the first certificate of the chain.
            rustls::Error::InvalidCertificate(_) => {
                at(chain, "the first certificate cannot be read")
            }
            error => at(key, &format!("the private key cannot be used: {error}")),
        })
    }
}

/// Whether a private key is encrypted: as PKCS #8 (RFC 7468 section 11), or in OpenSSL's traditional form (RFC 1421
/// section 4.6.1.1).
fn is_encrypted(text: &[u8]) -> bool {
    let marks: [&[u8]; 2] = [
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----",
        b"Proc-Type: 4,ENCRYPTED",
    ];
    let is_in = |mark: &[u8]| text.windows(mark.len()).any(|part| part == mark);
    marks.into_iter().any(is_in)
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    files::read(path, FILE_BYTES)
        .map_err(|error| CertificateError(format!("cannot read {}: {error}", path.display())))
}

/// The error's own words may show a part of the key.
fn of_pem(error: &pem::Error, wanted: &str) -> String {
    match error {
        pem::Error::NoItemsFound => format!("there is no {wanted} in PEM in it"),
        _ => format!("a {wanted} in it is no PEM (RFC 7468)"),
    }
}

fn at(path: &Path, wrong: &str) -> CertificateError {
    CertificateError(format!("{}: {wrong}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;

    fn file(folder: &TempDir, name: &str, text: &str) -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// A certificate and its key, in PEM.
    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_chain_and_its_key_are_read() {
        let folder = TempDir::new().expect("a folder");
        let (certificate, private) = pair();
        let (issuer, _) = pair();
        let chain = file(
            &folder,
            "chain.pem",
            &format!("# a comment\n{certificate}{issuer}"),
        );
        let key = file(&folder, "key.pem", &private);
        let read = Certificate::from_files(&chain, &key).expect("a certificate");
        let fingerprint = read.fingerprint();
        assert_eq!(fingerprint.split(':').count(), 32, "{fingerprint}");
        assert_eq!(format!("{read:?}"), format!("Certificate({fingerprint:?})"));
        // One file may hold both.
        let both = file(&folder, "both.pem", &format!("{private}{certificate}"));
        let both = Certificate::from_files(&both, &both).expect("a certificate");
        assert_eq!(both.fingerprint(), fingerprint);
    }

    #[test]
    fn each_fault_names_its_file_and_shows_no_key() {
        let folder = TempDir::new().expect("a folder");
        let (certificate, private) = pair();
        let (_, other) = pair();
        let secret = private.lines().nth(1).expect("a line").to_owned();
        let chain = file(&folder, "chain.pem", &certificate);
        let key = file(&folder, "key.pem", &private);
        let cut = |text: &str| text[..text.len() / 2].to_owned();
        let wrong = |name: &str, text: &str| file(&folder, name, text);
        let none = folder.path().join("none.pem");
        let empty = wrong("empty.pem", "");
        let cut_chain = wrong("cut-chain.pem", &cut(&certificate));
        let cut_key = wrong("cut-key.pem", &cut(&private));
        let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let junk = wrong("junk.pem", junk);
        let other = wrong("other.pem", &other);
        let long = wrong("long.pem", &"\n".repeat((1 << 20) + 1));
        let chains = wrong("chains.pem", &certificate.repeat(300));
        let encrypted = private.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let encrypted = wrong("encrypted.pem", &encrypted);
        let traditional = private.replace("PRIVATE KEY", "RSA PRIVATE KEY").replacen(
            "KEY-----\n",
            "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n",
            1,
        );
        let traditional = wrong("traditional.pem", &traditional);
        for (chain, key, file, named) in [
            (&none, &key, &none, "cannot read"),
            (&chain, &none, &none, "cannot read"),
            (&empty, &key, &empty, "no certificate"),
            (&chain, &empty, &empty, "no private key"),
            (&key, &key, &key, "no certificate"),
            (&chain, &chain, &chain, "no private key"),
            (&cut_chain, &key, &cut_chain, "RFC 7468"),
            (&chain, &cut_key, &cut_key, "RFC 7468"),
            (&junk, &key, &junk, "cannot be read"),
            (&chain, &other, &other, "not that of the certificate"),
            (&chain, &encrypted, &encrypted, "passphrase"),
            (&chain, &traditional, &traditional, "passphrase"),
            (&long, &key, &long, "more than 1048576 bytes"),
            (&chains, &key, &chains, "more than 64 KiB"),
        ] {
            let said = Certificate::from_files(chain, key).expect_err(named);
            let said = said.to_string();
            let file = file.to_str().expect("a name");
            assert!(said.contains(named) && said.contains(file), "{said}");
            assert!(!said.contains(&secret), "{said}");
        }
    }
}
