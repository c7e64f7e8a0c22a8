//! The header by which a proxy for TCP says who its client is: version 2 of the PROXY protocol
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).
//!
//! The header comes before anything else, so before TLS and ICE-TCP, and from configured proxies alone. These must send it: a
//! proxy that forgets it would make all clients one address. From others it is never read, as they could claim any address.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use serde::Serialize;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::seldom::Seldom;
use crate::clients::Network;

/// The proxies of a listener that send the header. Cheap to clone; clones share the counts.
#[derive(Clone)]
pub(crate) struct ProxyProtocol(Arc<Shared>);

struct Shared {
    proxies: Vec<Network>,
    taken: AtomicU64,
    own: AtomicU64,
    /// In the order of [`Refusal::ALL`].
    refused: [AtomicU64; Refusal::ALL.len()],
    seldom: Seldom,
}

/// Counts of proxies' connections since the process began, for `/stats`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct ProxyProtocolCounts {
    taken: u64,
    own: u64,
    refused: BTreeMap<&'static str, u64>,
}

/// The reason that a proxy's connection was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// The header did not come in time.
    Stalled,
    /// The proxy closed the connection before.
    Closed,
    /// The connection begins with something else.
    Missing,
    /// The header is of version 1, which is text.
    Version1,
    /// The header is longer than any that proxies send.
    TooLong,
    /// The header breaks its own rules.
    Malformed,
}

/// The state of a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Header {
    /// A header of at least so many bytes has begun.
    Partial(usize),
    /// A whole header names the client.
    Client(SocketAddr),
    /// A whole header names nobody: the connection is the proxy's own, as for its checks of health, or its client has no address.
    Own,
}

/// The bytes that a header begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The bytes that a header of version 1 begins with.
const VERSION_1: &[u8] = b"PROXY ";
/// Bytes up to and with the length of the rest.
const HEAD: usize = 16;
/// Longest header, in bytes: addresses take 52, and the rest is for what proxies add, as names of certificates.
const LONGEST: usize = 4 << 10;

impl Refusal {
    pub(crate) const ALL: [Self; 6] = [
        Self::Stalled,
        Self::Closed,
        Self::Missing,
        Self::Version1,
        Self::TooLong,
        Self::Malformed,
    ];

    /// Its name in `/stats` and in the log.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Stalled => "stalled",
            Self::Closed => "closed",
            Self::Missing => "missing",
            Self::Version1 => "version_1",
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
        }
    }

    /// A sentence for the operator.
    fn advice(self) -> &'static str {
        match self {
            Self::Stalled => "it did not send a header of the PROXY protocol in time",
            Self::Closed => {
                "it closed the connection before it had sent a header of the PROXY protocol"
            }
            Self::Missing => {
                "it sends no header of the PROXY protocol: let it send version 2, or leave proxy_protocol out"
            }
            Self::Version1 => {
                "it sends version 1 of the PROXY protocol: let it send version 2 (HAProxy: send-proxy-v2)"
            }
            Self::TooLong => {
                "its header of the PROXY protocol has more than 4096 bytes: let it add less"
            }
            Self::Malformed => "its header of the PROXY protocol cannot be read",
        }
    }
}

impl ProxyProtocol {
    /// These proxies send the header.
    pub(crate) fn new(proxies: Vec<Network>) -> Self {
        Self(Arc::new(Shared {
            proxies,
            taken: AtomicU64::new(0),
            own: AtomicU64::new(0),
            refused: Default::default(),
            seldom: Seldom::default(),
        }))
    }

    pub(crate) fn counts(&self) -> ProxyProtocolCounts {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let codes = Refusal::ALL.map(Refusal::code).into_iter();
        ProxyProtocolCounts {
            taken: count(&self.0.taken),
            own: count(&self.0.own),
            refused: codes.zip(self.0.refused.iter().map(count)).collect(),
        }
    }

    /// The address of a connection's client: its other end, or what that says if it is a proxy. What follows the header stays to
    /// be read. None if the connection is to be closed, which is counted.
    pub(super) async fn client_of(
        &self,
        stream: &mut TcpStream,
        peer: SocketAddr,
        until: Instant,
    ) -> Option<SocketAddr> {
        if !self
            .0
            .proxies
            .iter()
            .any(|proxies| proxies.holds(peer.ip()))
        {
            return Some(peer);
        }
        let read = timeout_at(until, receive(stream)).await;
        match read.unwrap_or(Err(Refusal::Stalled)) {
            Ok(Some(client)) => {
                self.0.taken.fetch_add(1, Ordering::Relaxed);
                Some(client)
            }
            Ok(None) => {
                self.0.own.fetch_add(1, Ordering::Relaxed);
                Some(peer)
            }
            Err(refusal) => {
                self.0.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
                if let Some(passed_over) = self.0.seldom.admit() {
                    let (code, advice) = (refusal.code(), refusal.advice());
                    warn!(proxy = %peer, code, passed_over, "a connection of a proxy was not taken: {advice}");
                }
                None
            }
        }
    }
}

/// Reads a header and no byte more: the client's address, if it names one.
async fn receive(stream: &mut TcpStream) -> Result<Option<SocketAddr>, Refusal> {
    let mut bytes = Vec::with_capacity(HEAD);
    loop {
        let len = match read(&bytes)? {
            Header::Partial(len) => len,
            Header::Client(client) => return Ok(Some(client)),
            Header::Own => return Ok(None),
        };
        let missing = (len - bytes.len()) as u64;
        let came = (&mut *stream).take(missing).read_buf(&mut bytes).await;
        if came.map_err(|_| Refusal::Closed)? == 0 {
            return Err(Refusal::Closed);
        }
    }
}

/// Reads the header that these bytes begin.
fn read(bytes: &[u8]) -> Result<Header, Refusal> {
    let signature = bytes.get(..SIGNATURE.len()).unwrap_or(bytes);
    if !SIGNATURE.starts_with(signature) {
        return Err(match bytes.get(..VERSION_1.len()) {
            Some(VERSION_1) => Refusal::Version1,
            // It has to be told from a request.
            None if VERSION_1.starts_with(bytes) => return Ok(Header::Partial(VERSION_1.len())),
            _ => Refusal::Missing,
        });
    }
    let Some(head) = bytes.first_chunk::<HEAD>() else {
        return Ok(Header::Partial(HEAD));
    };
    let len = HEAD + usize::from(u16::from_be_bytes([head[14], head[15]]));
    if len > LONGEST {
        return Err(Refusal::TooLong);
    }
    let Some(header) = bytes.get(..len) else {
        return Ok(Header::Partial(len));
    };
    let config = ParseConfig {
        include_tlvs: false,
        allow_v1: false,
        allow_v2: true,
    };
    let (header, _) = ProxyHeader::parse(header, config).map_err(|_| Refusal::Malformed)?;
    match header.proxied_address() {
        None => Ok(Header::Own),
        Some(it) if it.protocol == Protocol::Stream => {
            let ip = it.source.ip().to_canonical();
            Ok(Header::Client(SocketAddr::new(ip, it.source.port())))
        }
        Some(_) => Err(Refusal::Malformed),
    }
}

/// Reads the header that any bytes begin. See [`testing`](crate::testing).
#[cfg(feature = "testing")]
pub(crate) fn fuzz(bytes: &[u8]) {
    for len in 0..=bytes.len() {
        match read(&bytes[..len]) {
            Ok(Header::Partial(needed)) => assert!(len < needed && needed <= LONGEST),
            outcome => return assert_eq!(read(bytes), outcome, "what follows changes nothing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, rest].concat()
    }

    const V4: [u8; 12] = [198, 51, 100, 7, 192, 0, 2, 1, 0x0f, 0xa0, 1, 0xbb];

    fn v6(source: &str) -> Vec<u8> {
        let source: std::net::Ipv6Addr = source.parse().expect("an address");
        [&source.octets()[..], &[0; 16], &[0x0f, 0xa0, 1, 0xbb]].concat()
    }

    #[test]
    fn headers_name_clients_or_are_refused() {
        let client = |text: &str| Ok(Header::Client(text.parse().expect("an address")));
        let with_tlvs = [&V4[..], &[2, 0, 11], b"example.org", &[4, 0, 1, 0]].concat();
        let broken_tlv = [&V4[..], &[2, 0xff, 0xff]].concat();
        for (bytes, expected) in [
            (header(0x21, 0x11, &V4), client("198.51.100.7:4000")),
            (
                header(0x21, 0x21, &v6("2001:db8::7")),
                client("[2001:db8::7]:4000"),
            ),
            (
                header(0x21, 0x21, &v6("::ffff:192.0.2.3")),
                client("192.0.2.3:4000"),
            ),
            // What proxies add is passed over, readable or not.
            (header(0x21, 0x11, &with_tlvs), client("198.51.100.7:4000")),
            (header(0x21, 0x11, &broken_tlv), client("198.51.100.7:4000")),
            // LOCAL, with or without an address; a proxy that does not know; a UNIX socket.
            (header(0x20, 0, b""), Ok(Header::Own)),
            (header(0x20, 0x11, &V4), Ok(Header::Own)),
            (header(0x21, 0, b""), Ok(Header::Own)),
            (header(0x21, 0x31, &[0; 216]), Ok(Header::Own)),
            // Datagrams, a command, a version and a family that there are not, and addresses cut short.
            (header(0x21, 0x12, &V4), Err(Refusal::Malformed)),
            (header(0x22, 0x11, &V4), Err(Refusal::Malformed)),
            (header(0x11, 0x11, &V4), Err(Refusal::Malformed)),
            (header(0x21, 0x41, &V4), Err(Refusal::Malformed)),
            (header(0x21, 0x11, &V4[..11]), Err(Refusal::Malformed)),
            (header(0x21, 0x21, &V4), Err(Refusal::Malformed)),
            (
                header(0x21, 0x11, &[0; LONGEST - HEAD + 1]),
                Err(Refusal::TooLong),
            ),
            (b"PROXY TCP4 198.51.100.7 ".to_vec(), Err(Refusal::Version1)),
            (b"PROXY".to_vec(), Ok(Header::Partial(6))),
            (b"PUT / HTTP/1.1".to_vec(), Err(Refusal::Missing)),
            (b"GET / HTTP/1.1".to_vec(), Err(Refusal::Missing)),
            (b"\x16\x03\x01".to_vec(), Err(Refusal::Missing)),
            (b"\r\n\r\n\r\n".to_vec(), Err(Refusal::Missing)),
            (b"".to_vec(), Ok(Header::Partial(HEAD))),
        ] {
            assert_eq!(read(&bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_header_is_not_whole_before_its_last_byte() {
        let whole = header(0x21, 0x11, &V4);
        for len in 0..whole.len() {
            let needed = if len < HEAD { HEAD } else { whole.len() };
            assert_eq!(read(&whole[..len]), Ok(Header::Partial(needed)), "{len}");
        }
        let longest = header(0x21, 0x11, &[&V4[..], &[0; LONGEST - HEAD - 12]].concat());
        assert!(matches!(read(&longest), Ok(Header::Client(_))));
        let followed = [&whole[..], b"GET / HTTP/1.1"].concat();
        assert_eq!(read(&followed), read(&whole));
    }

    #[test]
    fn each_refusal_has_its_place_and_code() {
        for (at, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, at);
        }
        let codes: std::collections::BTreeSet<_> = Refusal::ALL.map(Refusal::code).into();
        assert_eq!(codes.len(), Refusal::ALL.len());
    }
}
