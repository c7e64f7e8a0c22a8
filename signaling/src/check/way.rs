//! The rows about the ways in for media.

use std::net::IpAddr;

use super::offer::Protocol;
use super::probe::{Answered, Trial, Tried};
use super::reach::{Unreached, family};
use super::report::{Row, Seen, Step};
use super::scope::Scope;

/// The rows of the ways to an address for media. `reached` is the address at which the page was reached, `relay` the place
/// of TURN that leads to media, if any does.
pub(super) fn rows(trials: &[Trial], reached: IpAddr, relay: Option<String>) -> Vec<Row> {
    let facts = Facts::new(trials, reached, relay);
    let mut rows: Vec<Row> = trials.iter().map(|trial| facts.row(trial)).collect();
    // Stable: in the server's order.
    rows.sort_by_key(|row| match row.step {
        Step::Udp4 => 0,
        Step::Udp6 => 1,
        _ => 2,
    });
    if !trials.iter().any(|trial| step(trial) == Step::IceTcp) {
        rows.push(Row::skipped(
            Step::IceTcp,
            "not_announced",
            "The server takes no media over TCP: set ice_tcp for people whose network lets no UDP through.",
        ));
    }
    rows
}

/// Facts about all ways in, which decide between the reasons for which one fails.
struct Facts {
    reached: IpAddr,
    /// The ports of TCP over which media gets through.
    over_tcp: Option<u16>,
    /// The place of TURN that leads to media.
    relay: Option<String>,
    /// Steps of which an address that reaches as far as the page's is announced.
    far: Vec<Step>,
}

fn step(trial: &Trial) -> Step {
    match (trial.candidate.protocol, trial.candidate.address.is_ipv4()) {
        (Protocol::Tcp, _) => Step::IceTcp,
        (Protocol::Udp, true) => Step::Udp4,
        (Protocol::Udp, false) => Step::Udp6,
    }
}

impl Facts {
    fn new(trials: &[Trial], reached: IpAddr, relay: Option<String>) -> Self {
        let mut facts = Self {
            reached,
            over_tcp: None,
            relay,
            far: Vec::new(),
        };
        for trial in trials {
            let is_answered = matches!(trial.tried, Tried::Answered(_));
            if is_answered && step(trial) == Step::IceTcp {
                facts.over_tcp = Some(trial.candidate.address.port());
            }
            if is_answered || !facts.is_too_near(trial) {
                facts.far.push(step(trial));
            }
        }
        facts
    }

    /// Whether the address is of a narrower network than that in which the page was reached.
    fn is_too_near(&self, trial: &Trial) -> bool {
        Scope::of(trial.candidate.address.ip()) < Scope::of(self.reached)
    }

    fn row(&self, trial: &Trial) -> Row {
        let address = trial.candidate.address;
        let row = match &trial.tried {
            Tried::Answered(answered) => return answered_row(trial, answered),
            _ if self.is_too_near(trial) => self.too_near(trial),
            Tried::Unreached(Unreached::NoRoute) => Row::skipped(
                step(trial),
                "no_route",
                format!(
                    "This machine has no route over {}: check from one that has it.",
                    family(address)
                ),
            ),
            tried => match trial.candidate.protocol {
                Protocol::Udp => self.udp(trial, tried),
                Protocol::Tcp => tcp(trial, tried),
            },
        };
        row.found(address.to_string()).took(trial.took)
    }

    fn too_near(&self, trial: &Trial) -> Row {
        let (step, ip) = (step(trial), trial.candidate.address.ip());
        let kind = Scope::of(ip).kind();
        if self.far.contains(&step) {
            return Row::skipped(
                step,
                "near_address",
                format!(
                    "{ip} is {kind}, which serves people in the server's own network, beside the address for everybody else."
                ),
            );
        }
        let reached = self.reached;
        Row::failed(
            step,
            "only_near_addresses",
            format!(
                "{ip} is {kind}, which people outside cannot reach: set media_ip to the server's public address (the page is at {reached}), or media_announce if the port differs, too."
            ),
        )
    }

    fn udp(&self, trial: &Trial, tried: &Tried) -> Row {
        let step = step(trial);
        let (ip, port) = (trial.candidate.address.ip(), trial.candidate.address.port());
        let meanwhile = match (self.over_tcp, &self.relay) {
            (Some(tcp), _) => format!("; until then people get in over TCP port {tcp}"),
            (None, Some(relay)) => format!("; until then people get in by TURN on {relay}"),
            (None, None) => String::new(),
        };
        let other = match ip == self.reached {
            true => String::new(),
            false => format!(", or correct media_ip if {ip} is not the server's"),
        };
        let (code, advice) = match tried {
            Tried::Unreached(Unreached::Refused) => (
                "udp_refused",
                format!(
                    "Nothing takes UDP port {port} of {ip}: publish the port if the server is in a container, and announce the port that is published by media_announce{other}{meanwhile}."
                ),
            ),
            Tried::Unreached(Unreached::Unreachable(said)) => (
                "udp_unreachable",
                format!(
                    "The network says that {ip} cannot be reached ({said}): set media_ip to the address that clients reach{meanwhile}."
                ),
            ),
            Tried::Foreign => foreign(ip, port, "UDP"),
            _ => (
                "udp_silent",
                format!(
                    "UDP port {port} is closed on the way: open it for {ip} in the server's firewall and in its provider's security group{other}{meanwhile}."
                ),
            ),
        };
        Row::failed(step, code, advice)
    }
}

fn foreign(ip: IpAddr, port: u16, protocol: &str) -> (&'static str, String) {
    (
        "foreign_answer",
        format!(
            "Another program than this server answers on {protocol} port {port} of {ip}: set media_ip, or media_announce, to the server's own address."
        ),
    )
}

fn tcp(trial: &Trial, tried: &Tried) -> Row {
    let (ip, port) = (trial.candidate.address.ip(), trial.candidate.address.port());
    let (code, advice) = match tried {
        Tried::Unreached(Unreached::Refused) => (
            "tcp_refused",
            format!(
                "Nothing listens on TCP port {port} of {ip}: let the server listen there itself, or unset ice_tcp if a proxy stands before it."
            ),
        ),
        Tried::Unreached(Unreached::Unreachable(said)) => (
            "tcp_unreachable",
            format!(
                "The network says that {ip} cannot be reached ({said}): set media_ip to the address that clients reach."
            ),
        ),
        Tried::Unreached(_) => (
            "tcp_timed_out",
            format!(
                "TCP port {port} is closed on the way: open it for {ip} in the server's firewall and in its provider's security group."
            ),
        ),
        Tried::Foreign => foreign(ip, port, "TCP"),
        _ => (
            "tcp_not_passed_on",
            format!(
                "Something before the server takes TCP port {port} of {ip}, probably a proxy for HTTP, which passes no media on: give the server an address of its own, or unset ice_tcp."
            ),
        ),
    };
    Row::failed(Step::IceTcp, code, advice)
}

fn answered_row(trial: &Trial, answered: &Answered) -> Row {
    let Answered {
        round_trip,
        mapped,
        local,
    } = *answered;
    // A dual-stack socket shows IPv4 as mapped IPv6.
    let mapped_ip = mapped.ip().to_canonical();
    let nat = (mapped_ip, mapped.port()) != (local.ip().to_canonical(), local.port());
    let ms = round_trip.as_secs_f64() * 1_000.0;
    let address = trial.candidate.address;
    let seen_as = match nat {
        true => format!("seen as {mapped}, so that this machine is behind NAT"),
        false => "no NAT on the way".to_owned(),
    };
    let mut row = Row::ok(
        step(trial),
        format!("{address}, round trip {ms:.1} ms, {seen_as}"),
    );
    row.seen = Some(Seen {
        round_trip,
        mapped,
        local,
        nat,
    });
    row.took(trial.took)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::check::offer::Candidate;
    use crate::check::report::Verdict;

    fn trial(protocol: Protocol, address: &str, tried: Tried) -> Trial {
        Trial {
            candidate: Candidate {
                protocol,
                address: address.parse().expect("an address"),
            },
            tried,
            took: Duration::from_millis(3),
        }
    }

    fn answered(mapped: &str) -> Tried {
        Tried::Answered(Answered {
            round_trip: Duration::from_micros(1_540),
            mapped: mapped.parse().expect("an address"),
            local: "10.0.0.9:4000".parse().expect("an address"),
        })
    }

    /// Steps, codes and what is told, of trials whose page is at `reached`.
    fn told(reached: &str, trials: &[Trial]) -> Vec<(&'static str, &'static str, String)> {
        let rows = rows(trials, reached.parse().expect("an address"), None);
        let told = rows.into_iter().map(|row| {
            assert_eq!(row.verdict == Verdict::Ok, row.advice.is_none());
            (row.step.as_str(), row.code, row.advice.unwrap_or(row.found))
        });
        told.collect()
    }

    #[test]
    fn each_outcome_of_a_public_address_has_its_row() {
        use Protocol::{Tcp, Udp};
        let unreached = |kind| Tried::Unreached(kind);
        let unreachable = || unreached(Unreached::Unreachable("no host".into()));
        for (protocol, tried, code, words) in [
            (
                Udp,
                Tried::Silent,
                "udp_silent",
                "UDP port 10000 is closed on the way",
            ),
            (
                Udp,
                unreached(Unreached::Refused),
                "udp_refused",
                "container",
            ),
            (Udp, unreachable(), "udp_unreachable", "(no host)"),
            (
                Udp,
                Tried::Foreign,
                "foreign_answer",
                "UDP port 10000 of 203.0.113.7",
            ),
            (Udp, unreached(Unreached::NoRoute), "no_route", "IPv4"),
            (
                Tcp,
                unreached(Unreached::Silent),
                "tcp_timed_out",
                "open it",
            ),
            (Tcp, unreached(Unreached::Refused), "tcp_refused", "ice_tcp"),
            (Tcp, unreachable(), "tcp_unreachable", "(no host)"),
            (Tcp, Tried::Silent, "tcp_not_passed_on", "proxy"),
            (Tcp, Tried::Closed, "tcp_not_passed_on", "proxy"),
            (Tcp, Tried::Foreign, "foreign_answer", "TCP port 10000"),
        ] {
            let trials = [trial(protocol, "203.0.113.7:10000", tried)];
            let told = told("203.0.113.7", &trials);
            let (_, found, said) = &told[0];
            assert!(*found == code && said.contains(words), "{told:?}");
            assert!(!said.contains("is not the server's"), "{said}");
        }
    }

    #[test]
    fn closed_udp_tells_whether_tcp_lets_people_in() {
        let udp = trial(Protocol::Udp, "203.0.113.7:10000", Tried::Silent);
        let tcp = trial(Protocol::Tcp, "203.0.113.7:443", answered("198.51.100.1:5"));
        let told = told("203.0.113.8", &[tcp, udp]);
        let (step, code, said) = &told[0];
        assert_eq!((*step, *code), ("udp4", "udp_silent"));
        assert!(
            said.contains("until then people get in over TCP port 443"),
            "{said}"
        );
        assert!(
            said.contains("if 203.0.113.7 is not the server's"),
            "{said}"
        );
        assert_eq!((told[1].0, told[1].1), ("ice_tcp", "ok"));

        let udp = trial(Protocol::Udp, "203.0.113.7:10000", Tried::Silent);
        let relay = Some("TCP port 443 of call.example.org".to_owned());
        let rows = rows(&[udp], "203.0.113.7".parse().expect("an address"), relay);
        let said = rows[0].advice.as_ref().expect("an advice");
        assert!(said.contains("get in by TURN on TCP port 443 of"), "{said}");
    }

    #[test]
    fn an_answer_tells_the_round_trip_and_nat() {
        for (mapped, words, nat) in [
            (
                "198.51.100.1:5",
                "203.0.113.7:1, round trip 1.5 ms, seen as 198.51.100.1:5, so",
                true,
            ),
            ("10.0.0.9:4001", "seen as 10.0.0.9:4001", true),
            ("10.0.0.9:4000", "no NAT", false),
            ("[::ffff:10.0.0.9]:4000", "no NAT", false),
        ] {
            let trials = [trial(Protocol::Udp, "203.0.113.7:1", answered(mapped))];
            let rows = rows(&trials, "203.0.113.7".parse().expect("an address"), None);
            assert!(rows[0].found.contains(words), "{}", rows[0].found);
            assert_eq!(rows[0].seen.as_ref().map(|seen| seen.nat), Some(nat));
        }
    }

    #[test]
    fn near_addresses_are_a_fault_where_no_other_is_announced() {
        let silent = |address| trial(Protocol::Udp, address, Tried::Silent);
        let codes = |reached, trials: &[Trial]| -> Vec<&'static str> {
            told(reached, trials).into_iter().map(|it| it.1).collect()
        };
        let only = "only_near_addresses";
        for (reached, addresses, expected) in [
            (
                "203.0.113.7",
                &["10.0.0.5:1", "127.0.0.1:1"][..],
                &[only, only][..],
            ),
            ("203.0.113.7", &["169.254.0.1:1"], &[only]),
            (
                "203.0.113.7",
                &["10.0.0.5:1", "203.0.113.7:1"],
                &["near_address", "udp_silent"],
            ),
            // IPv6 does not stand in for IPv4.
            (
                "203.0.113.7",
                &["10.0.0.5:1", "[2001:db8::1]:1"],
                &[only, "udp_silent"],
            ),
            // In the server's network.
            (
                "10.0.0.5",
                &["10.0.0.5:1", "127.0.0.1:1"],
                &["udp_silent", "near_address"],
            ),
            (
                "127.0.0.1",
                &["127.0.0.1:1", "10.0.0.5:1"],
                &["udp_silent", "udp_silent"],
            ),
        ] {
            let trials: Vec<Trial> = addresses.iter().map(|address| silent(address)).collect();
            let mut expected = expected.to_vec();
            expected.push("not_announced");
            assert_eq!(codes(reached, &trials), expected, "{addresses:?}");
        }
        let said = &told("203.0.113.7", &[silent("10.0.0.5:1")])[0].2;
        for words in [
            "10.0.0.5 is a private address",
            "media_ip",
            "media_announce",
            "203.0.113.7",
        ] {
            assert!(said.contains(words), "{said}");
        }
        // One that answers is reached, whatever kind of address it is.
        let near = trial(Protocol::Udp, "10.0.0.5:1", answered("10.0.0.9:4000"));
        assert_eq!(codes("203.0.113.7", &[near]), ["ok", "not_announced"]);
    }
}
