//! The row about TLS.

use super::report::{Row, Step};
use super::scope::Scope;
use super::target::Target;
use super::tls::{Fault, Shown, Unshaken};

const DAY: i64 = 24 * 3_600;
/// Days before its end from which on a certificate is warned of. Whoever renews it by a timer does so earlier.
const SOON: i64 = 14;

/// The row of a URL without TLS. `reached` is the server's address.
pub(super) fn without(reached: std::net::IpAddr) -> Row {
    let step = Step::Tls;
    // Browsers take pages of their own machine for secure.
    match Scope::of(reached) {
        Scope::Loopback => Row::skipped(
            step,
            "loopback",
            "The address is of this machine, from which browsers need no TLS; others do.",
        ),
        _ => Row::warning(
            step,
            "no_tls",
            "Browsers give cameras and microphones to pages from https:// alone: set tls_cert and tls_key, or put a proxy with TLS in front, and check its address.",
        ),
    }
}

/// The row of a handshake with this `outcome`. `now` is Unix time in seconds.
pub(super) fn row(
    target: &Target,
    shown: Option<&Shown>,
    outcome: Result<&'static str, &Unshaken>,
    now: i64,
) -> Row {
    let step = Step::Tls;
    let host = target.host();
    if let Some(fault) = shown.and_then(|shown| shown.fault.as_ref())
        && let Some(shown) = shown
    {
        let (code, advice) = of_fault(host, shown, fault);
        let row = match outcome {
            // It was taken nevertheless: --insecure.
            Ok(_) => Row::warning(step, code, advice),
            Err(_) => Row::failed(step, code, advice),
        };
        return row.found(described(shown));
    }
    match (outcome, shown) {
        (Ok(version), Some(shown)) => valid(version, shown, now),
        (Ok(version), None) => Row::ok(step, version),
        (Err(unshaken), _) => of_handshake(target, unshaken),
    }
}

fn valid(version: &str, shown: &Shown, now: i64) -> Row {
    let step = Step::Tls;
    let found = format!("{version}, {}", described(shown));
    let left = shown.until.map(|until| (until - now) / DAY);
    match left {
        Some(days) if days < SOON => Row::warning(
            step,
            "certificate_ends_soon",
            format!(
                "The certificate ends in {days} days: renew it, and send the server SIGHUP or reload the proxy that has it."
            ),
        )
        .found(found),
        _ => Row::ok(step, found),
    }
}

pub(super) fn of_fault(host: &str, shown: &Shown, fault: &Fault) -> (&'static str, String) {
    match fault {
        Fault::Expired => (
            "certificate_expired",
            "The certificate has expired, so browsers refuse it: renew it, and send the server SIGHUP or reload the proxy that has it.".to_owned(),
        ),
        Fault::NotYetValid => (
            "certificate_not_yet_valid",
            "The certificate is not valid yet: set the clocks of this machine and of the one that made it.".to_owned(),
        ),
        Fault::WrongName => (
            "certificate_wrong_name",
            format!(
                "The certificate is not for {host}: get one that has this name, or check by a name that it has."
            ),
        ),
        _ if shown.self_signed => (
            "certificate_self_signed",
            "The certificate is self-signed, so browsers ask once whether it is meant: give --ca FILE or --insecure to check a local network, and get a certificate of an authority for everybody else.".to_owned(),
        ),
        Fault::UnknownIssuer if shown.chain == 1 => (
            "certificate_chain_incomplete",
            "The server sends its own certificate alone, and this machine does not know who signed it: give the server the whole chain (fullchain.pem), or --ca FILE if the authority is your own.".to_owned(),
        ),
        Fault::UnknownIssuer => (
            "certificate_unknown_issuer",
            "This machine does not know the authority that signed the certificate: give --ca FILE if it is your own, or get a certificate of one that browsers know.".to_owned(),
        ),
        Fault::NoRoots => (
            "no_roots",
            "This machine has no certificates of authorities: install ca-certificates, or give --ca FILE.".to_owned(),
        ),
        Fault::Other(said) => (
            "certificate_bad",
            format!("Browsers do not take the certificate ({said}): make it anew."),
        ),
    }
}

fn of_handshake(target: &Target, unshaken: &Unshaken) -> Row {
    let step = Step::Tls;
    let port = target.port();
    match unshaken {
        Unshaken::NotTls => Row::failed(
            step,
            "not_tls",
            format!(
                "Port {port} does not speak TLS: set tls_cert and tls_key, or check its http:// address or the port of the proxy with TLS."
            ),
        ),
        Unshaken::Silent => Row::failed(
            step,
            "tls_silent",
            format!(
                "Port {port} takes connections and says nothing: look whether the program behind it hangs or speaks another protocol."
            ),
        ),
        Unshaken::Closed => Row::failed(
            step,
            "tls_closed",
            format!(
                "Port {port} ends connections during the TLS handshake: look which program takes them, and into its log."
            ),
        ),
        Unshaken::Refused(said) => Row::failed(
            step,
            "tls_refused",
            format!(
                "The TLS handshake fails ({said}): let the server or the proxy before it speak TLS 1.2 or 1.3, for this name, with HTTP/1.1."
            ),
        ),
        // Its fault is told from the certificate itself.
        Unshaken::Certificate => Row::failed(
            step,
            "certificate_bad",
            "Browsers do not take the certificate: make it anew.",
        ),
    }
}

fn described(shown: &Shown) -> String {
    let names = match shown.names.is_empty() {
        true => "a certificate without names".to_owned(),
        false => format!("a certificate for {}", shown.names.join(", ")),
    };
    match shown.until {
        Some(until) => format!("{names}, until {}", date(until)),
        None => names,
    }
}

/// The date (UTC) of a Unix time: year, month and day.
fn date(seconds: i64) -> String {
    // Days from 0000-03-01 on, in eras of 400 years: the usual conversion of the proleptic Gregorian calendar.
    let days = seconds.div_euclid(DAY) + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carried) = match month {
        0..10 => (month + 3, 0),
        _ => (month - 9, 1),
    };
    format!(
        "{}-{month:02}-{day_of_month:02}",
        year + era * 400 + carried
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::report::Verdict;

    /// 2026-11-27, 00:00 UTC.
    const NOW: i64 = 1_795_737_600;

    fn shown(fault: Option<Fault>) -> Shown {
        Shown {
            fault,
            self_signed: false,
            chain: 2,
            names: vec!["call.example.org".into(), "192.0.2.1".into()],
            until: Some(NOW + 60 * DAY),
        }
    }

    #[test]
    fn each_fault_of_a_certificate_has_its_row() {
        let target: Target = "https://call.example.org".parse().expect("a target");
        let alone = Shown {
            chain: 1,
            ..shown(Some(Fault::UnknownIssuer))
        };
        let own = Shown {
            self_signed: true,
            ..alone.clone()
        };
        for (shown, code, words) in [
            (
                shown(Some(Fault::Expired)),
                "certificate_expired",
                "renew it",
            ),
            (
                shown(Some(Fault::NotYetValid)),
                "certificate_not_yet_valid",
                "clocks",
            ),
            (
                shown(Some(Fault::WrongName)),
                "certificate_wrong_name",
                "not for call.example.org",
            ),
            (own, "certificate_self_signed", "--insecure"),
            (alone, "certificate_chain_incomplete", "fullchain.pem"),
            (
                shown(Some(Fault::UnknownIssuer)),
                "certificate_unknown_issuer",
                "--ca FILE",
            ),
            (shown(Some(Fault::NoRoots)), "no_roots", "ca-certificates"),
            (
                shown(Some(Fault::Other("odd".into()))),
                "certificate_bad",
                "(odd)",
            ),
        ] {
            for (outcome, verdict) in [
                (Err(&Unshaken::Certificate), Verdict::Failed),
                (Ok("TLS 1.3"), Verdict::Warning),
            ] {
                let row = row(&target, Some(&shown), outcome, NOW);
                assert_eq!((row.code, row.verdict), (code, verdict));
                assert!(
                    row.found
                        .contains("for call.example.org, 192.0.2.1, until 2027-01-26")
                );
                let advice = row.advice.expect("an advice");
                assert!(advice.contains(words), "{advice}");
            }
        }
    }

    #[test]
    fn a_certificate_is_warned_of_in_its_last_two_weeks() {
        let target: Target = "https://call.example.org".parse().expect("a target");
        for (days, code) in [
            (60, "ok"),
            (14, "ok"),
            (13, "certificate_ends_soon"),
            (0, "certificate_ends_soon"),
        ] {
            let shown = Shown {
                until: Some(NOW + days * DAY),
                ..shown(None)
            };
            let row = row(&target, Some(&shown), Ok("TLS 1.3"), NOW);
            assert_eq!(row.code, code, "{days}");
            assert!(row.found.starts_with("TLS 1.3, a certificate for"));
        }
    }

    #[test]
    fn each_fault_of_a_handshake_has_its_row() {
        let target: Target = "https://call.example.org:8443".parse().expect("a target");
        for (unshaken, code, words) in [
            (Unshaken::NotTls, "not_tls", "http://"),
            (Unshaken::Silent, "tls_silent", "Port 8443 takes"),
            (Unshaken::Closed, "tls_closed", "ends connections"),
            (Unshaken::Refused("no".into()), "tls_refused", "(no)"),
            (Unshaken::Certificate, "certificate_bad", "anew"),
        ] {
            let row = row(&target, None, Err(&unshaken), NOW);
            assert_eq!((row.code, row.verdict), (code, Verdict::Failed));
            let advice = row.advice.expect("an advice");
            assert!(advice.contains(words), "{advice}");
        }
    }

    #[test]
    fn a_page_without_tls_is_for_its_own_machine() {
        for (address, code) in [
            ("127.0.0.1", "loopback"),
            ("192.168.0.1", "no_tls"),
            ("192.0.2.1", "no_tls"),
        ] {
            assert_eq!(without(address.parse().expect("an address")).code, code);
        }
    }

    #[test]
    fn dates() {
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (NOW, "2026-11-27"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (4_102_444_800, "2100-01-01"),
            (-1, "1969-12-31"),
        ] {
            assert_eq!(date(seconds), expected);
        }
    }
}
