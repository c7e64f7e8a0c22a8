//! Finds the candidates of a server that a bot can reach from its address.

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Candidates tried at most: an address in each family for some network cards.
const MOST: usize = 8;

/// A candidate of a server over UDP or, if its end is the passive one (RFC 6544), over TCP (RFC 8839 section 5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    pub address: SocketAddr,
    pub is_tcp: bool,
    priority: u32,
}

impl Candidate {
    /// Foundation, component, transport, priority, address, port, and more. None over another transport, or with a name for
    /// an address.
    pub fn read(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace().skip(2);
        let transport = words.next()?;
        let is_tcp = transport.eq_ignore_ascii_case("tcp");
        let priority = words.next()?.parse().ok()?;
        let ip: IpAddr = words.next()?.parse().ok()?;
        let port = words.next()?.parse().ok()?;
        let address = SocketAddr::new(ip, port);
        let is_taken = match is_tcp {
            true => words.any(|word| word == "passive"),
            false => transport.eq_ignore_ascii_case("udp"),
        };
        is_taken.then_some(Self {
            address,
            is_tcp,
            priority,
        })
    }
}

/// Candidates that a bot bound to `ours` may reach, the likeliest first: those of its own kind (loopback or not), then
/// by the server's priority.
///
/// # Errors
///
/// There is none. The text names all candidates with the reasons against each, and the setting to change.
pub fn fitting(candidates: &[Candidate], ours: IpAddr) -> Result<Vec<SocketAddr>, String> {
    choose(candidates, ours, |to| route(ours, to))
}

/// Asks the routing table. No packet is sent.
fn route(ours: IpAddr, to: SocketAddr) -> Result<(), String> {
    UdpSocket::bind((ours, 0))
        .and_then(|socket| socket.connect(to))
        .map_err(|error| error.to_string())
}

fn choose(
    candidates: &[Candidate],
    ours: IpAddr,
    route: impl Fn(SocketAddr) -> Result<(), String>,
) -> Result<Vec<SocketAddr>, String> {
    let over_udp = candidates.iter().filter(|candidate| !candidate.is_tcp);
    let mut ordered: Vec<Candidate> = over_udp.copied().collect();
    if ordered.is_empty() {
        return Err("the answer has no candidate over UDP".into());
    }
    ordered.sort_by_key(|candidate| {
        let kin = candidate.address.ip().is_loopback() == ours.is_loopback();
        (!kin, Reverse(candidate.priority))
    });
    let mut found: Vec<SocketAddr> = Vec::new();
    let mut unfit = Vec::new();
    for Candidate { address, .. } in ordered {
        let reachable = if address.is_ipv4() == ours.is_ipv4() {
            route(address)
        } else {
            Err("another address family".into())
        };
        match reachable {
            Ok(()) if found.contains(&address) || found.len() == MOST => {}
            Ok(()) => found.push(address),
            Err(why) => unfit.push(format!("{address} ({why})")),
        }
    }
    if found.is_empty() {
        return Err(format!(
            "none of the server's candidates can be reached from {ours}: {}; {WHAT_TO_SET}",
            unfit.join(", ")
        ));
    }
    Ok(found)
}

/// The error if no fitting candidate has answered.
pub fn unanswered(candidates: &[SocketAddr], ours: SocketAddr) -> String {
    let tried: Vec<String> = candidates.iter().map(ToString::to_string).collect();
    format!(
        "no transport: none of the server's candidates {} answers {ours}; {WHAT_TO_SET}, and see \
         whether a firewall drops UDP",
        tried.join(", ")
    )
}

const WHAT_TO_SET: &str = "let the server announce an address that is reached from there \
    (--media-ip), or bind the bots to another address of this machine (--bind)";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Candidate {
        let value =
            |address: &str, priority: u32| format!("1 1 udp {priority} {address} 7 typ host");
        let (address, priority) = text.split_once(' ').unwrap_or((text, "9"));
        Candidate::read(&value(address, priority.parse().unwrap())).unwrap()
    }

    #[test]
    fn a_candidate_is_read() {
        for (value, expected) in [
            (
                "1 1 udp 2130706431 127.0.0.1 10000 typ host",
                Some("127.0.0.1:10000"),
            ),
            ("2 1 UDP 5 ::1 1 typ host generation 0", Some("[::1]:1")),
            (
                "1 1 tcp 5 127.0.0.1 443 typ host tcptype passive",
                Some("127.0.0.1:443"),
            ),
            ("1 1 tcp 5 127.0.0.1 9 typ host tcptype active", None),
            ("1 1 udp 5 0a0b.local 10000 typ host", None),
            ("1 1 udp x 127.0.0.1 10000 typ host", None),
            ("1 1 udp 5 127.0.0.1 99999 typ host", None),
            ("1 1 udp 5 127.0.0.1", None),
            ("", None),
        ] {
            let read = Candidate::read(value).map(|candidate| candidate.address);
            assert_eq!(read, expected.map(|text| text.parse().unwrap()), "{value}");
        }
    }

    #[test]
    fn those_of_its_own_kind_come_first_and_what_no_route_leads_to_is_left_out() {
        // Routes as in the kernel: from loopback to loopback, and to 10.0.0.0/8, where this machine is.
        let route = |ours: IpAddr| {
            move |to: SocketAddr| match (ours.is_loopback(), to.ip()) {
                (true, to) if to.is_loopback() => Ok(()),
                (_, IpAddr::V4(to)) if to.octets()[0] == 10 => Ok(()),
                (false, to) if !to.is_loopback() => Ok(()),
                _ => Err("Invalid argument".to_owned()),
            }
        };
        let lo = "127.0.0.1";
        let net = "10.0.0.5";
        for (candidates, ours, expected) in [
            (&["127.0.0.1"][..], lo, &["127.0.0.1"][..]),
            // A plain server announces them so, loopback last.
            (
                &["10.0.0.5 9", "127.0.0.1 8"],
                lo,
                &["127.0.0.1", "10.0.0.5"],
            ),
            (&["10.0.0.5 9", "127.0.0.1 8"], net, &["10.0.0.5"]),
            (&["127.0.0.1 9", "10.0.0.5 8"], net, &["10.0.0.5"]),
            // The priority counts, not the place.
            (
                &["10.0.0.6 1", "10.0.0.7 2"],
                net,
                &["10.0.0.7", "10.0.0.6"],
            ),
            (
                &["192.0.2.1 9", "127.0.0.2 8", "127.0.0.1 7"],
                lo,
                &["127.0.0.2", "127.0.0.1"],
            ),
            (&["::1 9", "127.0.0.1 8"], lo, &["127.0.0.1"]),
            (&["::1 9", "127.0.0.1 8"], "::1", &["::1"]),
            (&["2001:db8::1 9", "::1 8"], "2001:db8::2", &["2001:db8::1"]),
            // Each of a bundle's m-lines repeats them.
            (&["127.0.0.1 8", "127.0.0.1 8"], lo, &["127.0.0.1"]),
        ] {
            let ours: IpAddr = ours.parse().unwrap();
            let read: Vec<Candidate> = candidates.iter().map(|text| read(text)).collect();
            let found = choose(&read, ours, route(ours)).unwrap();
            let found: Vec<String> = found.iter().map(|found| found.ip().to_string()).collect();
            assert_eq!(found, expected, "{candidates:?} from {ours}");
        }
    }

    #[test]
    fn the_cause_is_named_if_none_fits() {
        let ours: IpAddr = "127.0.0.1".parse().unwrap();
        let unreachable = |_| Err("Invalid argument".to_owned());
        let error = choose(&[read("192.0.2.1"), read("::1")], ours, unreachable).unwrap_err();
        for part in [
            "from 127.0.0.1:",
            "192.0.2.1:7 (Invalid argument)",
            "[::1]:7 (another address family)",
            "--media-ip",
            "--bind",
        ] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        let none = choose(&[], ours, |_| Ok(())).unwrap_err();
        assert!(none.contains("no candidate over UDP"), "{none}");
        let tried = [
            "127.0.0.1:7".parse().unwrap(),
            "127.0.0.2:7".parse().unwrap(),
        ];
        let error = unanswered(&tried, "127.0.0.1:4000".parse().unwrap());
        assert!(
            error.contains("127.0.0.1:7, 127.0.0.2:7 answers 127.0.0.1:4000"),
            "{error}"
        );
    }

    #[test]
    fn the_kernel_is_asked_for_a_route() {
        let ours: IpAddr = "127.0.0.1".parse().unwrap();
        assert_eq!(route(ours, "127.0.0.2:9".parse().unwrap()), Ok(()));
        // Packets from loopback do not leave the machine.
        assert!(route(ours, "192.0.2.1:9".parse().unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn any_candidates_are_bounded_and_fit(
            values in prop::collection::vec("[12] [12] (udp|tcp) [0-9]{1,11} (10.0.0.[0-9]|::[0-9]|x) [0-9]{1,6}", 0..40),
        ) {
            let read: Vec<Candidate> = values.iter().filter_map(|value| Candidate::read(value)).collect();
            let ours: IpAddr = "10.0.0.1".parse().unwrap();
            if let Ok(found) = choose(&read, ours, |_| Ok(())) {
                prop_assert!((1..=MOST).contains(&found.len()));
                prop_assert!(found.iter().all(SocketAddr::is_ipv4));
            } else {
                prop_assert!(!read.iter().any(|candidate| candidate.address.is_ipv4()));
            }
        }
    }
}
