//! The offer of a check, and the part of its answer that leads to the server's media.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use rand::distr::{Alphanumeric, SampleString};

/// Addresses for media that are tried. A server has a handful.
const MOST: usize = 16;
/// RFC 8839 section 5.4.
const CREDENTIAL_BYTES: usize = 256;

/// The check's own side of ICE.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) ufrag: String,
    pub(super) sdp: String,
}

impl Offer {
    /// An offer of one m-line, which could receive sound. Nothing ever comes to a handshake, so that the fingerprint is
    /// of no certificate.
    pub(super) fn new() -> Self {
        let text = |len| Alphanumeric.sample_string(&mut rand::rng(), len);
        let (ufrag, password) = (text(8), text(24));
        let digest: [u8; 32] = rand::random();
        let digest: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        let digest = digest.join(":");
        let mut sdp = String::with_capacity(512);
        for line in [
            "v=0",
            "o=- 1 1 IN IP4 0.0.0.0",
            "s=-",
            "t=0 0",
            "a=group:BUNDLE 0",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111",
            "c=IN IP4 0.0.0.0",
            &format!("a=ice-ufrag:{ufrag}"),
            &format!("a=ice-pwd:{password}"),
            &format!("a=fingerprint:sha-256 {digest}"),
            "a=setup:active",
            "a=mid:0",
            "a=recvonly",
            "a=rtcp-mux",
            "a=rtpmap:111 opus/48000/2",
        ] {
            // Writing to a String does not fail.
            let _ = write!(sdp, "{line}\r\n");
        }
        Self { ufrag, sdp }
    }
}

/// The protocol of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    Udp,
    Tcp,
}

/// An address for media.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    pub(super) protocol: Protocol,
    pub(super) address: SocketAddr,
}

/// The server's side of ICE, as its answer says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Ways {
    pub(super) ufrag: String,
    pub(super) password: String,
    /// At most [`MOST`].
    pub(super) candidates: Vec<Candidate>,
}

impl Ways {
    /// None if user fragment or password are missing or too long.
    pub(super) fn read(sdp: &str) -> Option<Self> {
        let of = |name: &str| {
            sdp.lines()
                .find_map(|line| line.trim_end().strip_prefix(name))
        };
        let fits = |text: &&str| (1..=CREDENTIAL_BYTES).contains(&text.len());
        let ufrag = of("a=ice-ufrag:").filter(fits)?.to_owned();
        let password = of("a=ice-pwd:").filter(fits)?.to_owned();
        let mut candidates = Vec::new();
        let lines = sdp
            .lines()
            .filter_map(|line| line.strip_prefix("a=candidate:"));
        for candidate in lines.filter_map(candidate) {
            // Each m-line repeats them.
            if candidates.len() < MOST && !candidates.contains(&candidate) {
                candidates.push(candidate);
            }
        }
        Some(Self {
            ufrag,
            password,
            candidates,
        })
    }
}

/// `foundation component protocol priority address port typ host ...` (RFC 8839 section 5.1, RFC 6544 section 4.5).
fn candidate(text: &str) -> Option<Candidate> {
    let mut words = text.split_ascii_whitespace();
    let (_, component, protocol, _) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let address: IpAddr = words.next()?.parse().ok()?;
    let port: u16 = words.next()?.parse().ok().filter(|port| *port > 0)?;
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "udp" => Protocol::Udp,
        "tcp" if text.contains("tcptype passive") => Protocol::Tcp,
        _ => return None,
    };
    (component == "1").then(|| Candidate {
        protocol,
        address: SocketAddr::new(address, port),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANSWER: &str = "v=0\r\na=ice-lite\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:AAserver\r\n\
        a=ice-pwd:secret\r\na=candidate:1 1 udp 2130706431 192.0.2.1 10000 typ host\r\n\
        a=candidate:2 1 udp 2130706175 2001:db8::1 10000 typ host\r\n\
        a=candidate:3 1 tcp 1518214911 192.0.2.1 443 typ host tcptype passive\r\n\
        a=candidate:4 2 udp 1 192.0.2.1 10001 typ host\r\n\
        a=candidate:5 1 tcp 1 192.0.2.1 9 typ host tcptype active\r\n\
        a=candidate:6 1 udp 1 some.local 9 typ host\r\na=candidate:7 1 udp 1 192.0.2.1 0 typ host\r\n\
        a=candidate:8 1 udp\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n\
        a=candidate:1 1 udp 2130706431 192.0.2.1 10000 typ host\r\n";

    #[test]
    fn an_answer_leads_to_the_servers_addresses() {
        let ways = Ways::read(ANSWER).expect("an answer");
        assert_eq!((&*ways.ufrag, &*ways.password), ("AAserver", "secret"));
        let found: Vec<_> = ways
            .candidates
            .iter()
            .map(|it| (it.protocol, it.address.to_string()))
            .collect();
        let expected = [
            (Protocol::Udp, "192.0.2.1:10000".to_owned()),
            (Protocol::Udp, "[2001:db8::1]:10000".to_owned()),
            (Protocol::Tcp, "192.0.2.1:443".to_owned()),
        ];
        assert_eq!(found, expected);
        for missing in ["a=ice-ufrag", "a=ice-pwd"] {
            let lines = ANSWER.lines().filter(|line| !line.starts_with(missing));
            assert_eq!(Ways::read(&lines.collect::<Vec<_>>().join("\r\n")), None);
        }
    }

    #[test]
    fn what_is_tried_is_bounded() {
        let mut sdp = "a=ice-ufrag:u\r\na=ice-pwd:p\r\n".to_owned();
        for port in 1..1_000 {
            let _ = write!(sdp, "a=candidate:1 1 udp 1 192.0.2.1 {port} typ host\r\n");
        }
        assert_eq!(
            Ways::read(&sdp).map(|ways| ways.candidates.len()),
            Some(MOST)
        );
        let long = format!("a=ice-ufrag:{}\r\na=ice-pwd:p\r\n", "u".repeat(257));
        assert_eq!(Ways::read(&long), None);
    }

    #[test]
    fn each_offer_is_another() {
        assert_ne!(Offer::new().sdp, Offer::new().sdp);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text: String, cut in 0..ANSWER.len(), junk in "[a-z0-9 :=.\r\n]{0,40}") {
            let _ = Ways::read(&text);
            let _ = Ways::read(&format!("{}{junk}{}", &ANSWER[..cut], &ANSWER[cut..]));
        }
    }
}
