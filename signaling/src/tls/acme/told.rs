//! Failures of orders in plain words, with what to do.

use std::io;

use rustls_acme::acme::{AcmeError, Auth, Identifier, Problem};
use rustls_acme::{EventError, OrderError};
use serde::Deserialize;

/// Characters of an authority's own words.
const MOST: usize = 400;

/// The reason that there is no certificate. It continues a sentence, and has no full stop.
pub(super) fn order(failure: &OrderError) -> String {
    match failure {
        OrderError::Acme(AcmeError::HttpRequest(error)) => answer(&error.to_string()),
        OrderError::Acme(AcmeError::NoTlsAlpn01Challenge) => {
            "this authority does not look by TLS-ALPN-01; choose another by acme_directory, or give files by tls_cert"
                .to_owned()
        }
        OrderError::Acme(AcmeError::Json(_)) => {
            "the answer is none of ACME: acme_directory has to be the address of the directory itself".to_owned()
        }
        OrderError::BadAuth(auth) => look(auth),
        OrderError::TooManyAttemptsAuth(domain) => {
            format!("the authority has not looked at {domain} in time")
        }
        OrderError::BadOrder(order) => {
            let detail = order.error.as_ref().map_or_else(String::new, detail);
            format!("the authority refuses the order{detail}")
        }
        OrderError::ProcessingTimeout(_) => "the authority has not answered the order in time".to_owned(),
        other => shortened(&other.to_string()),
    }
}

/// A failure beside orders.
pub(super) fn other(failure: &EventError<io::Error, io::Error>) -> String {
    match failure {
        EventError::CertCacheLoad(error) | EventError::AccountCacheLoad(error) => {
            format!("acme_cache cannot be read, so that another certificate is ordered: {error}")
        }
        EventError::CertCacheStore(error) | EventError::AccountCacheStore(error) => {
            format!(
                "acme_cache cannot be written: another certificate is ordered at the next start, and authorities take few orders a week: {error}"
            )
        }
        EventError::CachedCertParse(error) => {
            format!("the certificate in acme_cache cannot be used, and another is ordered: {error}")
        }
        other => shortened(&other.to_string()),
    }
}

/// The authority has looked, and has not found this server.
fn look(auth: &Auth) -> String {
    let Identifier::Dns(domain) = &auth.identifier;
    let mut problems = auth.challenges.iter().filter_map(|it| it.error.as_ref());
    let detail = problems.next().map_or_else(String::new, detail);
    format!(
        "the authority did not find this server at {domain}{detail}; port 443 of each address that the name has in DNS, IPv6 too, \
         must lead to this listener"
    )
}

fn detail(problem: &Problem) -> String {
    let detail = problem.detail.as_deref().unwrap_or_default();
    match detail {
        "" => String::new(),
        detail => format!(" ({})", shortened(detail)),
    }
}

/// A request that failed, as the library words it: `non 2xx http status: 429 "{...}"`, the body being quoted.
fn answer(words: &str) -> String {
    /// RFC 7807.
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(default, rename = "type")]
        kind: String,
        #[serde(default)]
        detail: String,
    }
    let Some((_, rest)) = words.split_once("non 2xx http status: ") else {
        return format!(
            "it cannot be reached ({}); the server needs HTTPS to it, and acme_root if it is an authority of your own",
            shortened(words)
        );
    };
    let (status, body) = rest.split_once(' ').unwrap_or((rest, ""));
    let body: String = serde_json::from_str(body).unwrap_or_default();
    let Ok(Refusal { kind, detail }) = serde_json::from_str::<Refusal>(&body) else {
        return format!("it answers with the HTTP status {status}; is acme_directory right?");
    };
    let kind = kind.rsplit(':').next().unwrap_or_default();
    let advice = match kind {
        "rateLimited" => "; too many certificates were ordered, or orders failed too often",
        "rejectedIdentifier" => "; it gives none for this name: look at acme_domains",
        "invalidContact" | "unsupportedContact" => "; look at acme_contact",
        "caa" => "; the CAA records of the name let other authorities in alone",
        "externalAccountRequired" => {
            "; it takes accounts that were made elsewhere alone; choose another by acme_directory"
        }
        _ => "",
    };
    format!("it refuses ({kind}: {}){advice}", shortened(&detail))
}

fn shortened(words: &str) -> String {
    let mut short: String = words.chars().take(MOST).collect();
    if short.len() < words.len() {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests {
    use rustls_acme::acme::{AuthStatus, Challenge, ChallengeType};

    use super::*;

    #[test]
    fn answers_are_told_with_what_to_do() {
        let refusal = |kind: &str| {
            let body = format!(
                r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"Said \"so\"."}}"#
            );
            format!("non 2xx http status: 400 {body:?}")
        };
        for (words, named) in [
            (
                refusal("rateLimited"),
                &["rateLimited", "Said \"so\".", "too many"][..],
            ),
            (refusal("rejectedIdentifier"), &["acme_domains"]),
            (refusal("invalidContact"), &["acme_contact"]),
            (refusal("caa"), &["CAA"]),
            (refusal("malformed"), &["malformed: Said"]),
            (
                "non 2xx http status: 404 \"\"".into(),
                &["404", "acme_directory"],
            ),
            ("non 2xx http status: 502 \"<html>\\n\"".into(), &["502"]),
            ("io error: refused".into(), &["refused", "acme_root"]),
            ("x".repeat(10_000), &["xxx...)"]),
        ] {
            let said = answer(&words);
            for name in named {
                assert!(said.contains(name), "{said}");
            }
            assert!(said.len() < 700, "{said}");
        }
    }

    #[test]
    fn a_look_that_fails_names_the_domain_and_the_port() {
        let problem = Problem {
            typ: None,
            detail: Some("Connection refused".into()),
        };
        let challenge = |error| Challenge {
            typ: ChallengeType::TlsAlpn01,
            url: String::new(),
            token: String::new(),
            error,
        };
        for (challenges, expected) in [
            (
                vec![challenge(None), challenge(Some(problem))],
                "call.example.org (Connection refused); port 443",
            ),
            (vec![], "call.example.org; port 443"),
        ] {
            let failure = OrderError::BadAuth(Auth {
                status: AuthStatus::Invalid,
                identifier: Identifier::Dns("call.example.org".into()),
                challenges,
            });
            let said = order(&failure);
            assert!(said.contains(expected), "{said}");
        }
    }
}
