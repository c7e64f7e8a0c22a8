//! TLS of the public listener: files, a certificate of the server's own, or none.

use super::{Config, ConfigError};
use crate::tls::Certificate;

impl Config {
    pub(super) fn check_tls(&self) -> Result<(), ConfigError> {
        let refused = |sentence: &str| Err(ConfigError::Value(sentence.into()));
        match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => refused(
                "tls_cert: the private key of the certificate is missing: give tls_key, too",
            ),
            (None, Some(_)) => refused(
                "tls_key: the certificate of the private key is missing: give tls_cert, too",
            ),
            (Some(_), Some(_)) if self.tls_self_signed => refused(
                "tls_self_signed: there is a certificate in tls_cert; leave one of the two out",
            ),
            _ => Ok(()),
        }
    }

    /// Reads the certificate of `tls_cert` and `tls_key`, or makes the one of `tls_self_signed`. None without either.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Value`] and [`ConfigError::Certificate`]: one setting without the other, or a file that cannot be
    /// used.
    pub fn certificate(&self) -> Result<Option<Certificate>, ConfigError> {
        self.check_tls()?;
        let made = match (&self.tls_cert, &self.tls_key) {
            (Some(chain), Some(key)) => Certificate::from_files(chain, key)
                .map_err(|source| ("tls_cert and tls_key", source)),
            _ if self.tls_self_signed => self
                .self_signed()
                .map_err(|source| ("tls_self_signed", source)),
            _ => return Ok(None),
        };
        made.map(Some)
            .map_err(|(from, source)| ConfigError::Certificate { from, source })
    }

    fn self_signed(&self) -> Result<Certificate, crate::tls::CertificateError> {
        let own = tertulia_sfu::interface_addresses().into_iter();
        let named = [self.listen.ip()].into_iter();
        let announced = self.media_ip.iter().copied();
        let addresses = own.chain(named).chain(announced);
        Certificate::self_signed(self.allowed_hosts.iter().cloned(), addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_without_the_other_and_two_certificates_are_refused() {
        for (text, named) in [
            ("tls_cert = \"a\"", "tls_key"),
            ("tls_key = \"a\"", "tls_cert"),
            (
                "tls_cert = \"a\"\ntls_key = \"b\"\ntls_self_signed = true",
                "tls_self_signed",
            ),
        ] {
            let config: Config = toml::from_str(text).expect("parses");
            for refused in [config.check(), config.certificate().map(drop)] {
                let said = refused.expect_err(text).to_string();
                assert!(said.contains(named), "{said}");
            }
        }
        let config: Config =
            toml::from_str("tls_cert = \"/none/a\"\ntls_key = \"/none/b\"").expect("parses");
        // The files are read when a certificate is wanted.
        assert!(config.check().is_ok());
        let said = config.certificate().expect_err("no file").to_string();
        assert!(
            said.contains("tls_cert") && said.contains("/none/a"),
            "{said}"
        );
        assert!(
            Config::default()
                .certificate()
                .is_ok_and(|made| made.is_none())
        );
    }

    #[test]
    fn each_certificate_of_its_own_is_another() {
        let config: Config = toml::from_str("tls_self_signed = true").expect("parses");
        let made = || config.certificate().expect("made").expect("a certificate");
        assert_ne!(made().fingerprint(), made().fingerprint());
    }
}
