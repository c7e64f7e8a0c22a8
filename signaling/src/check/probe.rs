//! Checks of the ways in: one over UDP or TCP to each address that the server announces.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use super::offer::{Candidate, Protocol, Ways};
use super::reach::Unreached;
use super::stun::{Check, Reply};

/// Time to the first repetition, which then doubles (RFC 8489 section 6.2.1).
pub(super) const FIRST_TIMEOUT: Duration = Duration::from_millis(500);
/// Bytes of a datagram or frame that is read: more than any answer to a check has.
pub(super) const MESSAGE_BYTES: usize = 2_048;
/// Messages that are read on one way while its answer is awaited.
pub(super) const MESSAGES: usize = 64;

/// The outcome of a way in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Tried {
    Answered(Answered),
    /// There is no connection; or over UDP, a router or the host says that nobody takes the port.
    Unreached(Unreached),
    /// Nothing came that answers the check.
    Silent,
    /// Somebody answered who does not know the password.
    Foreign,
    /// The connection ended.
    Closed,
}

/// The answer of a way in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Answered {
    pub(super) round_trip: Duration,
    /// The address that the server saw.
    pub(super) mapped: SocketAddr,
    pub(super) local: SocketAddr,
}

/// A way in, its outcome, and the time that it took.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Trial {
    pub(super) candidate: Candidate,
    pub(super) tried: Tried,
    pub(super) took: Duration,
}

/// Tries all ways at once.
pub(super) async fn all(ways: &Ways, own_ufrag: &str, within: Duration) -> Vec<Trial> {
    let until = Instant::now() + within;
    let trials = ways.candidates.iter().map(async |candidate| {
        let check = Check::new(&ways.ufrag, own_ufrag, &ways.password);
        let begun = Instant::now();
        let tried = match candidate.protocol {
            Protocol::Udp => over_udp(candidate.address, &check, until).await,
            Protocol::Tcp => over_tcp(candidate.address, &check, until).await,
        };
        Trial {
            candidate: *candidate,
            tried: tried.unwrap_or_else(Tried::Unreached),
            took: begun.elapsed(),
        }
    });
    join_all(trials).await
}

async fn over_udp(to: SocketAddr, check: &Check, until: Instant) -> Result<Tried, Unreached> {
    let of = |error: io::Error| Unreached::of(&error);
    let any = match to.is_ipv4() {
        true => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        false => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await.map_err(of)?;
    // The kernel then says which address it sends from, and what routers say of the other one.
    socket.connect(to).await.map_err(of)?;
    let local = socket.local_addr().map_err(of)?;
    let mut bytes = [0; MESSAGE_BYTES];
    let mut foreign = false;
    let mut pause = FIRST_TIMEOUT;
    let mut left = MESSAGES;
    while Instant::now() < until {
        let sent = Instant::now();
        socket.send(check.bytes()).await.map_err(of)?;
        let next = (sent + pause).min(until);
        pause *= 2;
        while let Ok(received) = timeout_at(next, socket.recv(&mut bytes)).await {
            let len = received.map_err(of)?;
            match check.read(bytes.get(..len).unwrap_or_default()) {
                // The answer may be to an earlier sending of the check; then the round trip is told too short by the
                // pause, which is rare and shows in the time of the row.
                Reply::Success(mapped) => {
                    return Ok(Tried::Answered(Answered {
                        round_trip: sent.elapsed(),
                        mapped,
                        local,
                    }));
                }
                Reply::Foreign => foreign = true,
                Reply::Other => {}
            }
            left = left.saturating_sub(1);
            if left == 0 {
                return Ok(Tried::Foreign);
            }
        }
    }
    Ok(match foreign {
        true => Tried::Foreign,
        false => Tried::Silent,
    })
}

async fn over_tcp(to: SocketAddr, check: &Check, until: Instant) -> Result<Tried, Unreached> {
    let connecting = timeout_at(until, TcpStream::connect(to)).await;
    let connected = connecting.map_err(|_| Unreached::Silent)?;
    let mut stream = connected.map_err(|error| Unreached::of(&error))?;
    let local = stream.local_addr().map_err(|error| Unreached::of(&error))?;
    let sent = Instant::now();
    Ok(match timeout_at(until, framed(&mut stream, check)).await {
        Ok(Ok(Some(mapped))) => Tried::Answered(Answered {
            round_trip: sent.elapsed(),
            mapped,
            local,
        }),
        Ok(Ok(None)) => Tried::Foreign,
        Ok(Err(_)) => Tried::Closed,
        Err(_) => Tried::Silent,
    })
}

/// Sends the check in a frame (RFC 4571), once, as TCP repeats by itself, and reads frames until its answer.
async fn framed(stream: &mut TcpStream, check: &Check) -> io::Result<Option<SocketAddr>> {
    let len = u16::try_from(check.bytes().len()).unwrap_or(u16::MAX);
    let frame = [&len.to_be_bytes()[..], check.bytes()].concat();
    stream.write_all(&frame).await?;
    let mut bytes = [0; MESSAGE_BYTES];
    for _ in 0..MESSAGES {
        let len = usize::from(stream.read_u16().await?);
        // What is longer is no frame of a server that has had one check.
        let message = bytes.get_mut(..len).ok_or(ErrorKind::InvalidData)?;
        stream.read_exact(message).await?;
        match check.read(message) {
            Reply::Success(mapped) => return Ok(Some(mapped)),
            Reply::Foreign => return Ok(None),
            Reply::Other => {}
        }
    }
    Err(ErrorKind::InvalidData.into())
}
