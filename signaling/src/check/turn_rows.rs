//! The rows about TURN.

use super::certificate;
use super::reach::Unreached;
use super::report::{Row, Seen, Step};
use super::tls::{Fault, Shown, Unshaken};
use super::turn::{Blocked, Relayed, Trial};
use crate::config::TurnAddress;

pub(super) fn rows(trials: &[Trial]) -> Vec<Row> {
    match trials.is_empty() {
        true => vec![Row::skipped(
            Step::TurnTls,
            "turn_not_announced",
            "The server names no TURN server: set turn for people whose network lets nothing but web pages through.",
        )],
        false => trials.iter().map(row).collect(),
    }
}

/// Where people get in meanwhile, for the row of another way.
pub(super) fn way_in(trials: &[Trial]) -> Option<String> {
    let works = trials.iter().find(|trial| trial.outcome.is_ok())?;
    works.address.as_ref().map(place)
}

fn step(trial: &Trial) -> Step {
    match &trial.address {
        Some(address) if address.is_tls => Step::TurnTls,
        Some(address) if !address.is_tcp => Step::TurnUdp,
        _ => Step::TurnTcp,
    }
}

fn place(address: &TurnAddress) -> String {
    let TurnAddress { host, port, .. } = address;
    let protocol = if address.is_tcp { "TCP" } else { "UDP" };
    format!("{protocol} port {port} of {host}")
}

fn row(trial: &Trial) -> Row {
    let step = step(trial);
    let url = &trial.url;
    let row = match (&trial.outcome, &trial.address) {
        (Ok(relayed), address) => reached(step, url, address.as_ref(), relayed),
        (Err(blocked), Some(address)) => not_reached(step, address, blocked).found(url),
        (Err(blocked), None) => unreadable(step, blocked).found(url),
    };
    row.took(trial.took)
}

fn unreadable(step: Step, blocked: &Blocked) -> Row {
    let said = match blocked {
        Blocked::BadUrl(said) => said,
        _ => "",
    };
    Row::failed(
        step,
        "turn_bad_url",
        format!(
            "Browsers do not take the address of a TURN server ({said:.80}): correct it in ice_servers or turn_address."
        ),
    )
}

fn reached(step: Step, url: &str, address: Option<&TurnAddress>, relayed: &Relayed) -> Row {
    let answered = relayed.answered;
    let ms = answered.round_trip.as_secs_f64() * 1_000.0;
    let found = format!(
        "{url}, round trip {ms:.1} ms, relayed as {}",
        relayed.relayed
    );
    // Taken here by --insecure; no browser has such a choice for TURN.
    let doubted = relayed.doubted.as_ref().zip(address);
    let doubt = doubted.and_then(|(shown, address)| of_certificate(&address.host, shown));
    let mut row = match doubt {
        Some((code, advice)) => Row::warning(step, code, advice).found(found),
        None => Row::ok(step, found),
    };
    row.seen = Some(Seen {
        round_trip: answered.round_trip,
        mapped: answered.mapped,
        local: answered.local,
        // The relay is one.
        nat: true,
    });
    row
}

fn not_reached(step: Step, address: &TurnAddress, blocked: &Blocked) -> Row {
    let host = &address.host;
    let place = place(address);
    let (code, advice) = match blocked {
        Blocked::Dtls => {
            return Row::skipped(
                step,
                "turn_over_dtls",
                "TLS over UDP is not tried here, and no browser but Firefox does it: name an address with ?transport=tcp, too.",
            );
        }
        Blocked::Unreached(Unreached::NoRoute) => {
            return Row::skipped(
                step,
                "no_route",
                format!("This machine has no route to {host}: check from one that has it."),
            );
        }
        Blocked::BadUrl(_) => return unreadable(step, blocked),
        Blocked::NoUser => (
            "turn_no_user",
            "The server gives no user for the TURN server: set username and credential, or secret, of its entry in ice_servers.".to_owned(),
        ),
        Blocked::NameUnknown => (
            "turn_name_unknown",
            format!(
                "The name {host} of the TURN server has no address here: correct it in ice_servers or turn_address, or give it an A or AAAA record."
            ),
        ),
        Blocked::Unreached(unreached) => of_unreached(address, unreached),
        Blocked::Tls(unshaken, shown) => of_tls(address, unshaken, shown.as_ref()),
        Blocked::NotTurn => (
            "turn_not_passed_on",
            format!(
                "Something before the TURN server takes {place}, probably a proxy for HTTP, which passes no TURN on: let it pass the port on as it is, or name the server's own port by turn_address."
            ),
        ),
        Blocked::Refused(code) => of_refusal(*code),
        Blocked::Forged => (
            "turn_forged",
            format!(
                "The answer at {place} is not signed with the user's password: correct the address, or the credential or secret, in ice_servers."
            ),
        ),
        Blocked::PeerRefused(peer, 403) => (
            "turn_peer_forbidden",
            format!(
                "The TURN server sends nothing to this server's media at {}: allow that address (coturn: allowed-peer-ip), and announce a public one if it is private.",
                peer.ip()
            ),
        ),
        Blocked::PeerRefused(peer, code) => (
            "turn_peer_refused",
            format!(
                "The TURN server refuses to send to this server's media at {peer} with {code}: look into its log."
            ),
        ),
        Blocked::OtherFamily { relayed } => {
            let (has, lacks) = match relayed.is_ipv4() {
                true => ("IPv4", "IPv6"),
                false => ("IPv6", "IPv4"),
            };
            (
                "turn_other_family",
                format!(
                    "The TURN server relays {has}, and this server announces {lacks} alone for media: announce an address of {has}, too, by media_ip."
                ),
            )
        }
        Blocked::MediaSilent { relayed, peer } => (
            "turn_media_silent",
            format!(
                "The relay was made, and media at {peer} is not reached through it: open that UDP port for the relay's address {}, or correct media_ip.",
                relayed.ip()
            ),
        ),
        Blocked::MediaForeign { peer } => (
            "foreign_answer",
            format!(
                "Another program than this server answers the relay on UDP port {} of {}: set media_ip, or media_announce, to the server's own address.",
                peer.port(),
                peer.ip()
            ),
        ),
    };
    Row::failed(step, code, advice)
}

fn of_unreached(address: &TurnAddress, unreached: &Unreached) -> (&'static str, String) {
    let host = &address.host;
    let place = place(address);
    match unreached {
        Unreached::Refused => (
            "turn_refused",
            format!(
                "Nothing takes {place}: start the TURN server there, or correct its address in ice_servers or turn_address."
            ),
        ),
        Unreached::Unreachable(said) => (
            "turn_unreachable",
            format!(
                "The network says that {host} cannot be reached ({said}): correct the TURN server's address in ice_servers or turn_address."
            ),
        ),
        Unreached::Silent | Unreached::NoRoute => (
            "turn_timed_out",
            format!(
                "{place} is closed on the way: open it for TURN in that machine's firewall and in its provider's security group."
            ),
        ),
    }
}

/// Browsers ask nobody whether a TURN server's certificate is meant.
fn of_certificate(host: &str, shown: &Shown) -> Option<(&'static str, String)> {
    let fault = shown.fault.as_ref()?;
    if shown.self_signed && !matches!(fault, Fault::Expired | Fault::WrongName) {
        return Some((
            "certificate_self_signed",
            "The certificate is self-signed, and browsers let nobody accept one for TURN: get one of an authority that browsers know.".to_owned(),
        ));
    }
    Some(certificate::of_fault(host, shown, fault))
}

fn of_tls(
    address: &TurnAddress,
    unshaken: &Unshaken,
    shown: Option<&Shown>,
) -> (&'static str, String) {
    let place = place(address);
    if let Some(told) = shown.and_then(|shown| of_certificate(&address.host, shown)) {
        return told;
    }
    match unshaken {
        Unshaken::NotTls => (
            "turn_not_tls",
            format!(
                "{place} does not speak TLS: give the TURN server its certificate and key, or name it by turn: in place of turns:."
            ),
        ),
        Unshaken::Refused(said) => (
            "turn_tls_failed",
            format!(
                "The TLS handshake with {place} fails ({said}): let the TURN server speak TLS 1.2 or 1.3 for this name."
            ),
        ),
        Unshaken::Certificate | Unshaken::Silent | Unshaken::Closed => (
            "turn_tls_failed",
            format!(
                "{place} takes connections and makes no TLS handshake: look which program takes them, and into its log."
            ),
        ),
    }
}

fn of_refusal(code: u16) -> (&'static str, String) {
    match code {
        401 | 441 => (
            "turn_unauthorized",
            format!(
                "The TURN server does not take the user ({code}): give ice_servers its secret (coturn: static-auth-secret) or its user, and set the clocks of both machines."
            ),
        ),
        403 => (
            "turn_forbidden",
            "The TURN server lets this user relay nothing (403): allow it there, or name another TURN server in ice_servers.".to_owned(),
        ),
        437 => (
            "turn_mismatch",
            "The TURN server takes the connection for another one's (437): look whether something on the way gives two clients one address.".to_owned(),
        ),
        438 => (
            "turn_stale_nonce",
            "The TURN server takes none of the nonces that it gives (438): let one machine answer all connections of a client, if there are several behind the address.".to_owned(),
        ),
        486 => (
            "turn_quota",
            "The user has as many relays as it may have (486): raise the quota of the TURN server (coturn: user-quota).".to_owned(),
        ),
        508 => (
            "turn_capacity",
            "The TURN server has no relay left (508): give it more ports (coturn: min-port, max-port), or another machine beside it.".to_owned(),
        ),
        code => (
            "turn_error",
            format!("The TURN server refuses a relay with {code}: look that code up in RFC 8656, and into its log."),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;
    use crate::check::probe::Answered;
    use crate::check::report::Verdict;
    use crate::config::turn_server;

    const TLS: &str = "turns:call.example.org:443?transport=tcp";

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn trial(url: &str, outcome: Result<Relayed, Blocked>) -> Trial {
        Trial {
            url: url.into(),
            address: turn_server(url).ok().flatten(),
            outcome,
            took: Duration::from_millis(7),
        }
    }

    fn shown(fault: Fault, self_signed: bool) -> Shown {
        Shown {
            fault: Some(fault),
            self_signed,
            chain: 2,
            names: vec!["other.example.org".into()],
            until: None,
        }
    }

    fn relayed(doubted: Option<Shown>) -> Relayed {
        Relayed {
            relayed: addr("203.0.113.9:2000"),
            answered: Answered {
                round_trip: Duration::from_micros(12_340),
                mapped: addr("203.0.113.9:2000"),
                local: addr("10.0.0.9:4000"),
            },
            doubted,
        }
    }

    #[test]
    fn each_block_has_its_code_and_one_sentence() {
        let tls = |unshaken| Blocked::Tls(unshaken, None);
        let certificate = |fault, self_signed| {
            Blocked::Tls(Unshaken::Certificate, Some(shown(fault, self_signed)))
        };
        let (peer, relayed) = (addr("10.9.9.9:10000"), addr("203.0.113.9:2000"));
        let unreachable = Unreached::Unreachable("no host".into());
        for (blocked, code, words) in [
            (Blocked::Dtls, "turn_over_dtls", "?transport=tcp"),
            (Blocked::BadUrl("x".into()), "turn_bad_url", "(x)"),
            (Blocked::NoUser, "turn_no_user", "secret"),
            (
                Blocked::NameUnknown,
                "turn_name_unknown",
                "call.example.org",
            ),
            (
                Blocked::Unreached(Unreached::Refused),
                "turn_refused",
                "TCP port 443",
            ),
            (
                Blocked::Unreached(Unreached::Silent),
                "turn_timed_out",
                "TCP port 443",
            ),
            (
                Blocked::Unreached(unreachable),
                "turn_unreachable",
                "(no host)",
            ),
            (
                Blocked::Unreached(Unreached::NoRoute),
                "no_route",
                "no route",
            ),
            (
                tls(Unshaken::NotTls),
                "turn_not_tls",
                "turn: in place of turns:",
            ),
            (
                tls(Unshaken::Refused("alert".into())),
                "turn_tls_failed",
                "(alert)",
            ),
            (tls(Unshaken::Silent), "turn_tls_failed", "no TLS handshake"),
            (tls(Unshaken::Closed), "turn_tls_failed", "no TLS handshake"),
            (
                certificate(Fault::WrongName, false),
                "certificate_wrong_name",
                "call.example.org",
            ),
            (
                certificate(Fault::WrongName, true),
                "certificate_wrong_name",
                "call.example.org",
            ),
            (
                certificate(Fault::Expired, true),
                "certificate_expired",
                "renew",
            ),
            (
                certificate(Fault::UnknownIssuer, false),
                "certificate_unknown_issuer",
                "does not know the authority",
            ),
            (
                certificate(Fault::UnknownIssuer, true),
                "certificate_self_signed",
                "browsers let nobody accept one for TURN",
            ),
            (Blocked::NotTurn, "turn_not_passed_on", "proxy for HTTP"),
            (Blocked::Refused(401), "turn_unauthorized", "(401)"),
            (Blocked::Refused(441), "turn_unauthorized", "(441)"),
            (Blocked::Refused(403), "turn_forbidden", "(403)"),
            (Blocked::Refused(437), "turn_mismatch", "(437)"),
            (Blocked::Refused(438), "turn_stale_nonce", "(438)"),
            (Blocked::Refused(486), "turn_quota", "(486)"),
            (Blocked::Refused(508), "turn_capacity", "(508)"),
            (Blocked::Refused(442), "turn_error", "442"),
            (Blocked::Forged, "turn_forged", "not signed"),
            (
                Blocked::PeerRefused(peer, 403),
                "turn_peer_forbidden",
                "10.9.9.9",
            ),
            (Blocked::PeerRefused(peer, 508), "turn_peer_refused", "508"),
            (
                Blocked::OtherFamily { relayed },
                "turn_other_family",
                "announces IPv6 alone",
            ),
            (
                Blocked::MediaSilent { relayed, peer },
                "turn_media_silent",
                "203.0.113.9",
            ),
            (
                Blocked::MediaForeign { peer },
                "foreign_answer",
                "UDP port 10000 of 10.9.9.9",
            ),
        ] {
            let rows = rows(&[trial(TLS, Err(blocked))]);
            let [row] = &rows[..] else {
                panic!("{rows:?}");
            };
            assert_eq!(
                (row.code, row.step, &*row.found),
                (code, Step::TurnTls, TLS)
            );
            let is_skipped = matches!(code, "no_route" | "turn_over_dtls");
            assert_eq!(row.verdict == Verdict::Skipped, is_skipped, "{code}");
            let advice = row.advice.as_ref().expect("an advice");
            assert!(advice.contains(words), "{advice}");
            assert!(
                advice.ends_with('.') && !advice.contains(". "),
                "one sentence: {advice}"
            );
        }
    }

    #[test]
    fn a_relay_that_leads_to_media_is_a_way_in() {
        for (url, step, place) in [
            (TLS, "turn_tls", "TCP port 443 of call.example.org"),
            (
                "turn:[2001:db8::1]?transport=tcp",
                "turn_tcp",
                "TCP port 3478 of 2001:db8::1",
            ),
            (
                "turn:192.0.2.1:3479",
                "turn_udp",
                "UDP port 3479 of 192.0.2.1",
            ),
        ] {
            let trials = [trial(url, Ok(relayed(None)))];
            let row = &rows(&trials)[0];
            assert_eq!((row.step.as_str(), row.code), (step, "ok"));
            assert!(
                row.found
                    .contains("round trip 12.3 ms, relayed as 203.0.113.9:2000")
            );
            assert!(row.seen.as_ref().expect("an answer").nat);
            assert_eq!(way_in(&trials).as_deref(), Some(place));
        }
        let doubted = trial(TLS, Ok(relayed(Some(shown(Fault::UnknownIssuer, true)))));
        let row = &rows(&[doubted])[0];
        assert_eq!(
            (row.code, row.verdict),
            ("certificate_self_signed", Verdict::Warning)
        );
        assert_eq!(way_in(&[trial(TLS, Err(Blocked::NotTurn))]), None);
        let none = &rows(&[])[0];
        assert_eq!(
            (none.code, none.verdict),
            ("turn_not_announced", Verdict::Skipped)
        );
    }
}
