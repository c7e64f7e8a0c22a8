//! The addresses that clients are told for media.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};
use tertulia_sfu::InterfaceAddress;

use super::ice_server::stun_server;
use super::{Config, ConfigError};

/// An IP address, or a name with all of its addresses, as they are at the start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host(Vec<IpAddr>);

impl Host {
    /// The addresses of all of these, each once, in their order.
    pub(super) fn addresses(hosts: &[Self]) -> Vec<IpAddr> {
        let mut all = Vec::new();
        for ip in hosts.iter().flat_map(|host| &host.0) {
            if !all.contains(ip) {
                all.push(*ip);
            }
        }
        all
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(ip) = text.parse() {
            return Ok(Self(vec![ip]));
        }
        let addresses = resolve(text, 0)?;
        Ok(Self(addresses.iter().map(SocketAddr::ip).collect()))
    }
}

/// The addresses of a name, by the system's resolver.
fn resolve(name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let is_numeric = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    // The system would read 10.1 as 10.0.0.1.
    if !name.bytes().all(is_good) || name.split('.').all(is_numeric) {
        return Err(format!(
            "`{name}` is no IP address and no name: write 192.0.2.1, 2001:db8::1 or media.example.org"
        ));
    }
    let resolved = (name, port).to_socket_addrs();
    let addresses = resolved.map(Vec::from_iter);
    match addresses {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        Ok(_) => Err(format!("`{name}` has no address: write the address itself")),
        Err(error) => Err(format!(
            "`{name}` has no address that this machine can find ({error}): write the address itself, or mend the name"
        )),
    }
}

/// An address with a port, whose host may be a name that has one address.
fn resolve_one(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let wrong = || {
        format!(
            "`{text}` is not like 192.0.2.1:10000, [2001:db8::1]:10000 or media.example.org:10000"
        )
    };
    let (name, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| wrong())?;
    let addresses = resolve(name, port)?;
    match addresses.as_slice() {
        [address] => Ok(*address),
        several => {
            let several: Vec<String> = several.iter().map(ToString::to_string).collect();
            let several = several.join(", ");
            Err(format!(
                "`{name}` has several addresses ({several}), and a worker is told by one: write that"
            ))
        }
    }
}

pub(super) fn media_ip<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpAddr>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let hosts = texts.iter().map(|text| text.parse());
    let hosts: Result<Vec<Host>, String> = hosts.collect();
    let hosts = hosts.map_err(|error| de::Error::custom(format!("media_ip: {error}")))?;
    Ok(Host::addresses(&hosts))
}

pub(super) fn media_announce<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<SocketAddr>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let addresses = texts.iter().map(|text| resolve_one(text));
    let addresses: Result<Vec<_>, String> = addresses.collect();
    addresses.map_err(|error| de::Error::custom(format!("media_announce: {error}")))
}

impl Config {
    fn chooses_interfaces(&self) -> bool {
        !self.media_interfaces.is_empty() || !self.media_networks.is_empty()
    }

    /// The machine's own addresses that clients are told, where `media_ip` names none.
    ///
    /// # Errors
    ///
    /// `media_interfaces` and `media_networks` leave none.
    fn own_addresses(
        &self,
        of_machine: impl FnOnce() -> Vec<InterfaceAddress>,
    ) -> Result<Vec<IpAddr>, ConfigError> {
        let all = of_machine();
        let is_meant = |it: &&InterfaceAddress| {
            let (interfaces, networks) = (&self.media_interfaces, &self.media_networks);
            (interfaces.is_empty() || interfaces.contains(&it.interface))
                && (networks.is_empty() || networks.iter().any(|network| network.holds(it.ip)))
        };
        let mut meant = Vec::new();
        for it in all.iter().filter(is_meant) {
            if !meant.contains(&it.ip) {
                meant.push(it.ip);
            }
        }
        if meant.is_empty() && self.chooses_interfaces() {
            let there = all
                .iter()
                .map(|it| format!("{} on {}", it.ip, it.interface));
            let there = there.collect::<Vec<_>>().join(", ");
            return Err(ConfigError::Value(format!(
                "media_interfaces, media_networks: no address of this machine is left to tell clients; it has {there}"
            )));
        }
        Ok(meant)
    }

    /// The addresses for the media workers: none for all of the machine.
    ///
    /// # Errors
    ///
    /// As of [`own_addresses`](Self::own_addresses).
    pub(crate) fn media_ips(
        &self,
        of_machine: impl FnOnce() -> Vec<InterfaceAddress>,
    ) -> Result<Vec<IpAddr>, ConfigError> {
        match self.media_ip.is_empty() && self.chooses_interfaces() {
            true => self.own_addresses(of_machine),
            false => Ok(self.media_ip.clone()),
        }
    }

    /// Host and port of `media_discover`.
    pub(crate) fn discovery(&self) -> Result<Option<(String, u16)>, ConfigError> {
        let Some(url) = &self.media_discover else {
            return Ok(None);
        };
        let wrong = |what| ConfigError::Value(format!("media_discover: `{url}` {what}"));
        stun_server(url).map(Some).map_err(wrong)
    }

    /// Sentences about announced addresses that clients may not reach. `own` are the machine's.
    pub(crate) fn address_warnings(&self, announced: &[IpAddr], own: &[IpAddr]) -> Vec<String> {
        let mut said = Vec::new();
        for ip in self.media_ip.iter().filter(|ip| !own.contains(ip)) {
            // A public one is that of a NAT in front.
            if is_private(*ip) {
                said.push(format!(
                    "media_ip: {ip} is private and no address of this machine: clients reach the media only if something passes it on to here"
                ));
            }
        }
        let is_for_others = !self.listen.ip().to_canonical().is_loopback()
            || !self.trusted_proxies.is_empty()
            || !self.allowed_hosts.is_empty();
        // Such a certificate is for a local network.
        let expects_public = is_for_others && !self.tls_self_signed;
        let asks = self.media_discover.is_some() || !self.media_announce.is_empty();
        if expects_public && !asks && announced.iter().all(|ip| is_private(*ip)) {
            let all: Vec<String> = announced.iter().map(ToString::to_string).collect();
            said.push(format!(
                "clients outside of this network do not reach the media: only private addresses are announced ({}); behind a NAT name \
                 the public one by media_ip, or ask for it by media_discover",
                all.join(", ")
            ));
        }
        said
    }

    pub(super) fn check_addresses(&self) -> Result<(), ConfigError> {
        let wrong = |sentence: String| Err(ConfigError::Value(sentence));
        if let Some(name) = self.media_interfaces.iter().find(|name| name.is_empty()) {
            return wrong(format!("media_interfaces: `{name}` is no interface's name"));
        }
        self.discovery()?;
        match self.media_ip.iter().find(|ip| is_nowhere(**ip)) {
            Some(ip) => wrong(format!(
                "media_ip: {ip} is no address that clients can send to; leave it out to announce every address of the machine"
            )),
            None => Ok(()),
        }
    }
}

/// Whether it means nothing in the Internet: loopback, link-local, RFC 1918, RFC 4193, RFC 6598.
fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let is_shared = first == 100 && second & 0xc0 == 64;
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || is_shared
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Whether it is the wildcard, a group, or a link-local IPv6 address, which means nothing without its link.
fn is_nowhere(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip.is_unspecified()
        || ip.is_multicast()
        || matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<Config, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn names_are_resolved_and_those_that_cannot_be_are_named() {
        let host: Host = "localhost".parse().expect("a name");
        assert!(!host.0.is_empty() && host.0.iter().all(IpAddr::is_loopback));
        let known = config("media_ip = [\"localhost\", \"127.0.0.1\", \"::1\", \"192.0.2.1\"]");
        let known = known.expect("addresses").media_ip;
        let count = |ip: &str| known.iter().filter(|it| it.to_string() == ip).count();
        assert_eq!(
            (count("127.0.0.1"), count("::1"), count("192.0.2.1")),
            (1, 1, 1)
        );
        // No resolver is asked about it.
        let long = format!("{}.example", "a".repeat(64));
        for (wrong, named) in [
            (long.as_str(), "has no address that this machine can find"),
            ("10.1", "no IP address and no name"),
            ("256.0.0.1", "no IP address and no name"),
            ("", "no IP address and no name"),
            ("192.0.2.1:80", "no IP address and no name"),
            ("192.0.2.0/24", "no IP address and no name"),
            ("https://media.example.org", "no IP address and no name"),
        ] {
            let said = config(&format!("media_ip = [\"{wrong}\"]")).expect_err(wrong);
            assert!(said.starts_with(&format!("media_ip: `{wrong}`")), "{said}");
            assert!(said.contains(named), "{said}");
        }
    }

    #[test]
    fn a_worker_is_told_by_one_address() {
        let of = |text: &str| {
            let announced = config(&format!("media_announce = [\"{text}\"]"))?.media_announce;
            Ok::<_, String>(announced[0].to_string())
        };
        assert_eq!(of("192.0.2.1:7"), Ok("192.0.2.1:7".into()));
        assert_eq!(of("[2001:db8::1]:7"), Ok("[2001:db8::1]:7".into()));
        match of("localhost:7") {
            Ok(address) => assert!(address.ends_with(":7"), "{address}"),
            // Of both families.
            Err(said) => assert!(said.contains("several addresses"), "{said}"),
        }
        for wrong in ["192.0.2.1", "localhost", "localhost:x", "localhost:65536"] {
            let said = of(wrong).expect_err(wrong);
            assert!(said.starts_with("media_announce: `"), "{said}");
            assert!(said.contains("is not like"), "{said}");
        }
    }

    fn machine() -> Vec<InterfaceAddress> {
        [
            "eth0 192.0.2.7",
            "eth0 2001:db8::7",
            "eth1 10.0.0.7",
            "docker0 172.17.0.1",
            "lo 127.0.0.1",
        ]
        .iter()
        .map(|line| line.split_once(' ').expect("two words"))
        .map(|(interface, ip)| InterfaceAddress::new(interface, ip.parse().expect("an address")))
        .collect()
    }

    #[test]
    fn interfaces_and_networks_choose_among_the_machines_addresses() {
        for (text, expected) in [
            ("", ""),
            ("media_interfaces = [\"eth0\"]", "192.0.2.7 2001:db8::7"),
            (
                "media_interfaces = [\"eth1\", \"eth0\"]",
                "192.0.2.7 2001:db8::7 10.0.0.7",
            ),
            (
                "media_networks = [\"10.0.0.0/8\", \"2001:db8::/32\"]",
                "2001:db8::7 10.0.0.7",
            ),
            (
                "media_networks = [\"0.0.0.0/0\"]\nmedia_interfaces = [\"eth0\"]",
                "192.0.2.7",
            ),
            (
                "media_interfaces = [\"eth9\"]\nmedia_ip = [\"203.0.113.9\"]",
                "203.0.113.9",
            ),
        ] {
            let config = config(text).expect(text);
            let ips = config.media_ips(machine).expect(text);
            let ips: Vec<String> = ips.iter().map(ToString::to_string).collect();
            assert_eq!(ips.join(" "), expected, "{text}");
        }
    }

    #[test]
    fn a_choice_that_leaves_nothing_is_refused_with_what_there_is() {
        for text in [
            "media_interfaces = [\"eth9\"]",
            "media_networks = [\"198.51.100.0/24\"]",
        ] {
            let said = config(text).expect(text).media_ips(machine);
            let said = said.expect_err(text).to_string();
            for named in [
                "media_interfaces",
                "media_networks",
                "10.0.0.7 on eth1",
                "docker0",
            ] {
                assert!(said.contains(named), "{said}");
            }
        }
        assert!(
            config("media_interfaces = [\"\"]")
                .expect("parses")
                .check()
                .is_err()
        );
    }

    #[test]
    fn an_address_that_clients_cannot_send_to_is_not_announced() {
        for ip in ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "fe80::1"] {
            let said = config(&format!("media_ip = [\"{ip}\"]")).expect(ip).check();
            let said = said.expect_err(ip).to_string();
            assert!(
                said.contains("no address that clients can send to"),
                "{said}"
            );
        }
        for ip in ["192.0.2.1", "fd00::1", "169.254.1.1"] {
            let config = config(&format!("media_ip = [\"{ip}\"]")).expect(ip);
            assert!(config.check().is_ok(), "{ip}");
        }
    }

    #[test]
    fn the_server_that_is_asked_for_an_address_speaks_stun_over_udp() {
        let of = |url: &str| {
            let config = config(&format!("media_discover = \"{url}\"")).expect(url);
            let checked = config.check().and_then(|()| config.discovery());
            checked.map_err(|error| error.to_string())
        };
        let is = |host: &str, port| Ok(Some((host.to_owned(), port)));
        assert_eq!(of("stun:stun.example.org"), is("stun.example.org", 3478));
        assert_eq!(of("stun:[2001:db8::1]:7"), is("2001:db8::1", 7));
        for wrong in [
            "stuns:stun.example.org",
            "turn:turn.example.org",
            "stun.example.org:3478",
            "stun:",
        ] {
            let said = of(wrong).expect_err(wrong);
            assert!(
                said.starts_with(&format!("media_discover: `{wrong}`")),
                "{said}"
            );
            assert!(said.contains("stun:stun.example.org"), "{said}");
        }
    }

    #[test]
    fn addresses_that_clients_may_not_reach_are_warned_of() {
        let own = ["10.0.0.7", "127.0.0.1", "100.64.0.7", "fd00::7"];
        let addresses = |texts: &[&str]| -> Vec<IpAddr> {
            texts
                .iter()
                .map(|text| text.parse().expect("an address"))
                .collect()
        };
        let public = "listen = \"0.0.0.0:443\"\n";
        let outside = "clients outside";
        for (text, announced, words) in [
            ("", &own[..], &[][..]),
            (public, &own[..], &[outside]),
            (
                "allowed_hosts = [\"call.example.org\"]",
                &own[..],
                &[outside],
            ),
            (public, &["10.0.0.7", "192.0.2.1"], &[]),
            (public, &["10.0.0.7", "2001:db8::1"], &[]),
            (
                "listen = \"0.0.0.0:443\"\ntls_self_signed = true",
                &own[..],
                &[],
            ),
            (
                "listen = \"0.0.0.0:443\"\nmedia_discover = \"stun:a.example\"",
                &own[..],
                &[],
            ),
            (
                "media_ip = [\"10.0.0.9\", \"203.0.113.9\", \"10.0.0.7\"]",
                &["10.0.0.9"],
                &["10.0.0.9 is private"],
            ),
            (
                "listen = \"0.0.0.0:443\"\nmedia_ip = [\"192.168.7.7\"]",
                &["192.168.7.7"],
                &["192.168.7.7 is private", outside],
            ),
        ] {
            let config = config(text).expect(text);
            let said = config.address_warnings(&addresses(announced), &addresses(&own));
            assert_eq!(said.len(), words.len(), "{text}: {said:?}");
            for (said, word) in said.iter().zip(words) {
                assert!(said.contains(word), "{text}: {said}");
            }
        }
    }
}
