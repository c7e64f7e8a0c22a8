//! The names that a certificate is for (RFC 9525). TLS serves a page of any name, and browsers then refuse it.

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::Certificate;

impl Certificate {
    /// A sentence if the certificate is not for one of these names, by which the page is asked for. None for one whose names
    /// cannot be read.
    pub fn name_warning(&self, asked: &[String]) -> Option<String> {
        let (_, certificate) = X509Certificate::from_der(self.der()).ok()?;
        let names = certificate.subject_alternative_name().ok()?;
        let names = names.map_or(Vec::new(), |names| {
            let names = names.value.general_names.iter();
            let names = names.filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(*name),
                _ => None,
            });
            names.collect()
        });
        let lacks = |host: &&String| !names.iter().any(|name| is_for(name, host));
        let lacking = asked.iter().find(lacks)?;
        let has = match names.is_empty() {
            true => "no name".to_owned(),
            false => names.join(", "),
        };
        Some(format!(
            "the certificate is not for {lacking} of allowed_hosts, and browsers refuse it there: it is for {has}"
        ))
    }
}

/// RFC 9525 section 6.3: without regard to capitals; `*` stands for one whole label, the first.
fn is_for(name: &str, host: &str) -> bool {
    let host = host.trim_end_matches('.');
    name.eq_ignore_ascii_case(host)
        || name.strip_prefix("*.").is_some_and(|domain| {
            let rest = host.split_once('.').map(|(_, rest)| rest);
            rest.is_some_and(|rest| rest.eq_ignore_ascii_case(domain))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_label() {
        for (name, host, expected) in [
            ("call.example.org", "call.example.org", true),
            ("Call.example.org", "call.Example.org.", true),
            ("call.example.org", "example.org", false),
            ("*.example.org", "call.example.org", true),
            ("*.example.org", "a.call.example.org", false),
            ("*.example.org", "example.org", false),
        ] {
            assert_eq!(is_for(name, host), expected, "{name} {host}");
        }
    }

    #[test]
    fn a_name_that_the_certificate_lacks_is_told_with_those_it_has() {
        let given = ["call.example.org".to_owned()];
        let made = Certificate::self_signed(given.clone(), []).expect("made");
        assert_eq!(made.name_warning(&given), None);
        assert_eq!(made.name_warning(&[]), None);
        let said = made.name_warning(&["meet.example.org".to_owned()]);
        let said = said.expect("a warning");
        for part in ["not for meet.example.org", "localhost", "call.example.org"] {
            assert!(said.contains(part), "{said}");
        }
    }
}
