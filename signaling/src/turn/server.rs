//! The state that all connections of TURN share.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use serde::Serialize;
use tokio::time::Instant;

use super::nonce::Nonces;
use super::peers::Peers;
use super::users::{User, Users};

/// The TURN of a server. Cheap to clone; clones share everything.
#[derive(Clone)]
pub(crate) struct Turn(Arc<Shared>);

struct Shared {
    users: Users,
    peers: Peers,
    nonces: Nonces,
    /// Counts relayed addresses up.
    relayed: AtomicU64,
    connections: AtomicUsize,
    allocations: AtomicUsize,
    allocated: AtomicU64,
    /// In the order of [`Refusal::ALL`].
    refused: [AtomicU64; Refusal::ALL.len()],
}

/// Counts since the process began, for `/stats`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct TurnCounts {
    /// Connections that are open, with an allocation or not yet.
    open: usize,
    /// Allocations that there are.
    allocations: usize,
    /// Allocations ever made.
    allocated: u64,
    refused: BTreeMap<&'static str, u64>,
}

/// The reason that a connection, a request or a datagram was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// Nothing was allocated in time.
    Stalled,
    /// The client closed the connection before it allocated anything.
    Closed,
    /// The client sends something that is no TURN.
    Malformed,
    /// The client sends a frame that is too long.
    TooLong,
    /// The client asks again and again without right credentials.
    TooManyAttempts,
    /// The credentials are of nobody who is in a room.
    Credentials,
    /// The request cannot be, or wants what there is not.
    Request,
    /// The peer is not this server.
    Peer,
    /// The user has as many allocations as one may have.
    Quota,
    /// There are as many allocations, permissions or channels as there may be.
    Capacity,
    /// The datagram to a peer is no STUN check of anybody in a call, or not authentic.
    Unknown,
    /// The relay has too many streams, is overloaded, or has stopped; or too many connections carry media.
    Unavailable,
}

/// A place among the allocations of a user and of the server, until this is dropped.
pub(super) struct Seat {
    turn: Turn,
    of_user: Arc<AtomicUsize>,
}

/// A connection that is counted as open, until this is dropped.
pub(crate) struct Counted(Turn);

/// Allocations of a user at most. Chromium makes two for each URL and each network card, and those of the transport
/// before live on for a while after a restart of ICE.
pub(super) const OF_A_USER: usize = 12;
/// Allocations of a server at most; those that need TURN are few. Each holds less than a kilobyte beside its connection's
/// buffers. A connection whose allocation carries no media gives way to others, and those that carry media have bounds of
/// their own.
pub(super) const OF_ALL: usize = 8_192;
/// The first port of a relayed address: below, browsers may suspect another service.
const FIRST_PORT: u16 = 1_024;
/// A network for documentation (RFC 5737), to which nobody routes.
const RELAYED_V4: [u8; 3] = [203, 0, 113];
/// The first segments of an address for documentation (RFC 3849).
const RELAYED_V6: [u16; 2] = [0x2001, 0xdb8];
/// An address told instead of one that browsers do not take: that of a proxy on this machine (RFC 5737).
const UNKNOWN_CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

impl Refusal {
    pub(crate) const ALL: [Self; 12] = [
        Self::Stalled,
        Self::Closed,
        Self::Malformed,
        Self::TooLong,
        Self::TooManyAttempts,
        Self::Credentials,
        Self::Request,
        Self::Peer,
        Self::Quota,
        Self::Capacity,
        Self::Unknown,
        Self::Unavailable,
    ];

    /// Its name in `/stats` and in the log.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Stalled => "stalled",
            Self::Closed => "closed",
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::TooManyAttempts => "too_many_attempts",
            Self::Credentials => "credentials",
            Self::Request => "request",
            Self::Peer => "peer",
            Self::Quota => "quota",
            Self::Capacity => "capacity",
            Self::Unknown => "unknown",
            Self::Unavailable => "unavailable",
        }
    }
}

#[cfg(any(test, feature = "testing"))]
impl TurnCounts {
    pub(super) fn allocations(&self) -> usize {
        self.allocations
    }
}

impl Turn {
    /// A server for these users, who reach these peers.
    pub(crate) fn new(now: Instant, users: Users, peers: Peers) -> Self {
        Self(Arc::new(Shared {
            users,
            peers,
            nonces: Nonces::new(now),
            relayed: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            allocations: AtomicUsize::new(0),
            allocated: AtomicU64::new(0),
            refused: Default::default(),
        }))
    }

    pub(crate) fn counts(&self) -> TurnCounts {
        let codes = Refusal::ALL.map(Refusal::code).into_iter();
        let counts = self.0.refused.iter();
        let counts = counts.map(|count| count.load(Ordering::Relaxed));
        TurnCounts {
            open: self.0.connections.load(Ordering::Relaxed),
            allocations: self.0.allocations.load(Ordering::Relaxed),
            allocated: self.0.allocated.load(Ordering::Relaxed),
            refused: codes.zip(counts).collect(),
        }
    }

    pub(crate) fn refuse(&self, refusal: Refusal) {
        self.0.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection for as long as it is open.
    pub(crate) fn connected(&self) -> Counted {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }

    pub(super) fn users(&self) -> &Users {
        &self.0.users
    }

    pub(super) fn peers(&self) -> &Peers {
        &self.0.peers
    }

    pub(super) fn nonces(&self) -> &Nonces {
        &self.0.nonces
    }

    /// Takes a place for an allocation of a user.
    pub(super) fn take_seat(&self, user: &User) -> Result<Seat, Refusal> {
        let take = |count: &AtomicUsize, most: usize| {
            let more = |count| (count < most).then_some(count + 1);
            count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
        };
        take(&user.allocations, OF_A_USER).map_err(|_| Refusal::Quota)?;
        if take(&self.0.allocations, OF_ALL).is_err() {
            user.allocations.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::Capacity);
        }
        self.0.allocated.fetch_add(1, Ordering::Relaxed);
        Ok(Seat {
            turn: self.clone(),
            of_user: user.allocations.clone(),
        })
    }

    /// A relayed address that no other allocation has: one of 16 million, of IPv4 or of IPv6.
    pub(super) fn relayed(&self, is_v4: bool) -> SocketAddr {
        let number = self.0.relayed.fetch_add(1, Ordering::Relaxed);
        let ports = u64::from(u16::MAX - FIRST_PORT) + 1;
        let port = FIRST_PORT + (number % ports) as u16;
        let host = 1 + (number / ports % 254) as u8;
        let ip = match is_v4 {
            true => {
                let [a, b, c] = RELAYED_V4;
                IpAddr::from([a, b, c, host])
            }
            false => {
                let [a, b] = RELAYED_V6;
                IpAddr::V6(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, host.into()))
            }
        };
        SocketAddr::new(ip, port)
    }
}

/// The address that a client is told as its own. Behind a proxy it is that of the proxy; Firefox takes no answer with a
/// loopback address.
pub(super) fn told_client(client: SocketAddr) -> SocketAddr {
    let ip = client.ip().to_canonical();
    let ip = match ip.is_loopback() || ip.is_unspecified() {
        true => UNKNOWN_CLIENT.into(),
        false => ip,
    };
    SocketAddr::new(ip, client.port())
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.of_user.fetch_sub(1, Ordering::Relaxed);
        self.turn.0.allocations.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn relayed_addresses_are_distinct_and_of_nobody() {
        let turn = Turn::new(Instant::now(), Users::default(), Peers::default());
        let mut seen = HashSet::new();
        for number in 0..140_000 {
            let address = turn.relayed(number % 2 == 0);
            assert!(seen.insert(address), "{address}");
            assert!(address.port() >= FIRST_PORT && address.is_ipv4() == (number % 2 == 0));
            let ip = address.ip();
            assert!(!ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast());
        }
    }

    #[test]
    fn a_client_is_never_told_a_loopback_address() {
        for (client, told) in [
            ("192.0.2.7:4000", "192.0.2.7:4000"),
            ("[::ffff:192.0.2.7]:4000", "192.0.2.7:4000"),
            ("127.0.0.1:4000", "198.51.100.1:4000"),
            ("[::1]:4000", "198.51.100.1:4000"),
            ("[::ffff:127.1.2.3]:4000", "198.51.100.1:4000"),
        ] {
            let told: SocketAddr = told.parse().unwrap();
            assert_eq!(told_client(client.parse().unwrap()), told, "{client}");
        }
    }

    #[test]
    fn each_refusal_has_its_place_and_code() {
        let codes: HashSet<_> = Refusal::ALL.map(Refusal::code).into();
        assert_eq!(codes.len(), Refusal::ALL.len());
        for (at, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, at);
        }
    }

    #[test]
    fn seats_are_given_back() {
        let users = Users::default();
        let turn = Turn::new(Instant::now(), users.clone(), Peers::default());
        let _ana = users.admit("pa_ana");
        let (user, _) = users.find(b"pa_ana").unwrap();
        let mut seats: Vec<_> = (0..OF_A_USER)
            .map(|_| turn.take_seat(&user).expect("a seat"))
            .collect();
        assert_eq!(turn.take_seat(&user).err(), Some(Refusal::Quota));
        seats.pop();
        seats.push(turn.take_seat(&user).expect("one is free"));
        assert_eq!(turn.counts().allocations, OF_A_USER);
        assert_eq!(turn.counts().allocated, OF_A_USER as u64 + 1);
        drop(seats);
        assert_eq!(turn.counts().allocations, 0);
    }
}
