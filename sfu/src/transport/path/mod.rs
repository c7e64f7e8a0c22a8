//! How a peer is reached, and the states that belong to a path.
//!
//! A [`Path`] is a plain value. Demultiplexing looks peers up by it, a batch groups packets by it, and only the runtime
//! and `stream/` look inside. Another way in is another [`StreamKind`] or another variant here, and a
//! [`Candidate`] to tell clients of it. Workers, ingress and egress do not change for it.
//!
//! | state | holds |
//! |---|---|
//! | `Validation` | whether the client has proved to be there, and when it is asked again |
//! | `Allowance` | the bytes that may go there before |
//! | `PathState` | both of these, and the client's last check over the path |
//! | `Selection` | the path in use, and the one that the client would rather use |
//! | `Consent` | whether media may go on (RFC 7675), and the time at which the client was last heard |

mod allowance;
mod candidate;
mod consent;
mod selection;
mod state;
mod stream;
mod validation;

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

pub(crate) use candidate::Candidate;
pub(crate) use consent::Hold;
pub use stream::StreamKind;
pub(crate) use stream::{StreamOrigin, StreamPath};

pub(super) use consent::Consent;
pub(super) use selection::{CheckFacts, Moved, Selection};
pub(super) use state::PathState;
pub(super) use validation::CheckDue;

/// The way between the server and one client's transport.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Path {
    /// UDP datagrams between the worker's socket and this address.
    Udp(SocketAddr),
    /// A connection that carries datagrams.
    Stream(StreamPath),
}

// A path is copied for every run of packets and looked up for every datagram: it costs no more than a bare address.
const _: () = assert!(size_of::<Option<Path>>() == size_of::<SocketAddr>());

impl Path {
    /// The address at which the server sees the client: the one that STUN tells it in XOR-MAPPED-ADDRESS (RFC 8489
    /// section 14.2).
    pub(crate) const fn mapped_addr(self) -> SocketAddr {
        match self {
            Self::Udp(addr) => addr,
            Self::Stream(stream) => stream.addr(),
        }
    }

    /// A stable code for wire formats and metrics: the protocol of the path.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Udp(_) => "udp",
            Self::Stream(stream) => stream.code(),
        }
    }

    /// Whether the server would rather use this path than another, where the client does not show which one it uses: UDP
    /// before a stream, and a stream of its own before one of TURN.
    pub(crate) const fn is_better_than(self, other: Self) -> bool {
        self.detour() < other.detour()
    }

    const fn detour(self) -> u8 {
        match self {
            Self::Udp(_) => 0,
            Self::Stream(stream) if stream.is_relayed() => 2,
            Self::Stream(_) => 1,
        }
    }

    /// All paths to the same address, whatever its port.
    pub(crate) fn neighbours(self) -> RangeInclusive<Self> {
        let at = |port| match self {
            Self::Udp(mut addr) => {
                addr.set_port(port);
                Self::Udp(addr)
            }
            // No NAT moves a connection.
            Self::Stream(_) => self,
        };
        at(0)..=at(u16::MAX)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(addr) => write!(f, "udp {addr}"),
            Self::Stream(stream) => stream.fmt(f),
        }
    }
}

/// A UDP path, for tests.
#[cfg(any(test, feature = "testing"))]
impl From<([u8; 4], u16)> for Path {
    fn from(addr: ([u8; 4], u16)) -> Self {
        Self::Udp(addr.into())
    }
}
