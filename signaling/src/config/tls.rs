//! TLS of the public listener: files, a certificate of the server's own, certificates of an authority, or none.

use tokio_rustls::rustls::pki_types::DnsName;

use super::{Config, ConfigError};
use crate::tls::Certificate;
use crate::tls::acme::{Acme, Wanted};

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
            _ => self.check_acme(),
        }
    }

    fn check_acme(&self) -> Result<(), ConfigError> {
        let refused = |sentence: String| Err(ConfigError::Value(sentence));
        let others = [
            ("acme_contact", self.acme_contact.is_some()),
            ("acme_cache", self.acme_cache.is_some()),
            ("acme_root", self.acme_root.is_some()),
        ];
        if self.acme_domains.is_empty() {
            let mut set = others.iter().filter(|(_, is_set)| *is_set);
            return match set.next() {
                Some((key, _)) => refused(format!(
                    "{key}: nothing is ordered without acme_domains; give the names of this server, or leave it out"
                )),
                None => Ok(()),
            };
        }
        if self.tls_cert.is_some() {
            return refused(
                "acme_domains: there is a certificate in tls_cert; leave one of the two out".into(),
            );
        }
        if self.tls_self_signed {
            return refused(
                "acme_domains: tls_self_signed makes another certificate; leave one of the two out"
                    .into(),
            );
        }
        if self.acme_cache.is_none() {
            return refused(
                "acme_domains: acme_cache is missing, the folder for the certificate: authorities refuse who orders another at each start"
                    .into(),
            );
        }
        for domain in &self.acme_domains {
            if DnsName::try_from(domain.as_str()).is_err()
                || domain.parse::<std::net::IpAddr>().is_ok()
            {
                return refused(format!(
                    "acme_domains: `{domain}` is not like call.example.org (no scheme, port, address or `*`)"
                ));
            }
        }
        if !self.acme_directory.starts_with("https://") {
            return refused(format!(
                "acme_directory: `{}` is not like https://acme.example.org/directory",
                self.acme_directory
            ));
        }
        match self.acme_contact.as_deref().map(|it| it.split('@').count()) {
            Some(parts) if parts != 2 => refused(format!(
                "acme_contact: `{}` is not like admin@example.org",
                self.acme_contact.as_deref().unwrap_or_default()
            )),
            _ => Ok(()),
        }
    }

    /// Whether the public listener speaks TLS.
    pub fn has_tls(&self) -> bool {
        self.tls_cert.is_some() || self.tls_self_signed || !self.acme_domains.is_empty()
    }

    /// Prepares the orders of `acme_domains`; none without these.
    pub(crate) fn acme(&self) -> Result<Option<Acme>, ConfigError> {
        self.check_tls()?;
        let Some(cache) = self.acme_cache.clone() else {
            return Ok(None);
        };
        let domains = self.acme_domains.iter();
        let wanted = Wanted {
            domains: domains.map(|it| it.to_ascii_lowercase()).collect(),
            directory: self.acme_directory.clone(),
            contact: self.acme_contact.clone(),
            cache,
            root: self.acme_root.clone(),
        };
        let from = "acme_domains";
        let acme = Acme::new(wanted).map_err(|source| ConfigError::Certificate { from, source });
        acme.map(Some)
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
    fn what_cannot_be_ordered_is_refused() {
        let good =
            "acme_domains = [\"call.example.org\", \"a.example.org\"]\nacme_cache = \"/none\"";
        let check = |text: &str| {
            let config: Config = toml::from_str(text).expect("parses");
            config.check().map_err(|error| error.to_string())
        };
        assert_eq!(check(good), Ok(()));
        for (text, named) in [
            (
                "acme_domains = [\"call.example.org\"]".to_owned(),
                "acme_cache",
            ),
            ("acme_cache = \"/none\"".to_owned(), "acme_domains"),
            (
                "acme_contact = \"a@example.org\"".to_owned(),
                "acme_contact",
            ),
            (format!("{good}\ntls_self_signed = true"), "tls_self_signed"),
            (
                format!("{good}\ntls_cert = \"a\"\ntls_key = \"b\""),
                "tls_cert",
            ),
            (
                format!("{good}\nacme_directory = \"http://acme.example.org\""),
                "acme_directory",
            ),
            (
                format!("{good}\nacme_contact = \"example.org\""),
                "acme_contact",
            ),
            (good.replace("call.", "*."), "`*.example.org`"),
            (good.replace("call.example.org", "192.0.2.1"), "`192.0.2.1`"),
            (good.replace("call.example.org", "https://a"), "`https://a`"),
            (
                good.replace("call.example.org", "a.example.org:443"),
                ":443`",
            ),
            (good.replace("call.example.org", ""), "``"),
        ] {
            let said = check(&text).expect_err(&text);
            assert!(said.contains(named), "{text}: {said}");
        }
    }

    #[test]
    fn each_certificate_of_its_own_is_another() {
        let config: Config = toml::from_str("tls_self_signed = true").expect("parses");
        let made = || config.certificate().expect("made").expect("a certificate");
        assert_ne!(made().fingerprint(), made().fingerprint());
    }
}
