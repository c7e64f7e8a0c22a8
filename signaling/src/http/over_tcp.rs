//! Media over TCP on the listener of HTTP, and how it is told from HTTP and TLS.
//!
//! | a connection begins with | it is |
//! |---|---|
//! | 0 to 2, and the magic cookie of STUN from its fifth byte on | TURN |
//! | 0 to 2 | ICE-TCP: a length of two bytes, and the cookie from the seventh byte on |
//! | 22 | TLS; what is in it begins with 0 for TURN |
//! | anything else | HTTP |

use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::ice_tcp::{FIRST, IceTcp, UNSENT};
use super::patient::Patient;
use super::rewound::Rewound;
use super::turn::TurnFront;
use crate::held_open::Place;
use crate::media::StreamKind;
use crate::turn::begins_message;

/// The protocols that are on. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct OverTcp {
    pub(crate) ice_tcp: Option<IceTcp>,
    pub(crate) turn: Option<TurnFront>,
}

/// Bytes by which TURN and ICE-TCP are told apart.
pub(super) const TELLING: usize = 8;

/// The connection of a client whose handshake is done.
pub(super) type Secure = Box<TlsStream<Patient<TcpStream>>>;

impl OverTcp {
    /// Whether any is on, so that the first byte of a connection matters.
    pub(super) fn is_any(&self) -> bool {
        self.ice_tcp.is_some() || self.turn.is_some()
    }

    /// Carries media until either end closes the connection.
    pub(super) async fn carry(&self, mut stream: TcpStream, address: SocketAddr, place: Place) {
        let mut read = Vec::new();
        let is_turn = match (&self.ice_tcp, &self.turn) {
            (Some(_), Some(_)) => {
                let told = timeout(FIRST, tell_apart(&mut stream, &mut read)).await;
                // What is cut short is ended by the bounds of either.
                told.unwrap_or_default()
            }
            (_, turn) => turn.is_some(),
        };
        match (&self.ice_tcp, &self.turn) {
            (_, Some(turn)) if is_turn => {
                // Where the kernel does not know it, its queue is longer.
                let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT);
                turn.carry(stream, StreamKind::TurnTcp, read, address, place)
                    .await;
            }
            (Some(ice_tcp), _) => ice_tcp.carry(stream, &read, address, place).await,
            _ => {}
        }
    }

    /// Carries media over TLS; returns a connection that is HTTP, or none if its client says nothing for too long.
    pub(super) async fn carry_secure(
        &self,
        mut stream: Secure,
        address: SocketAddr,
        place: &Place,
        patience: Duration,
    ) -> Option<Rewound<Secure>> {
        let Some(turn) = &self.turn else {
            return Some(Rewound::new(Vec::new(), stream));
        };
        let (first, is_turn) = timeout(patience, tell_turn(&mut stream)).await.ok()?;
        if !is_turn {
            return Some(Rewound::new(first, stream));
        }
        let _ = SockRef::from(stream.get_ref().0.get_ref()).set_tcp_notsent_lowat(UNSENT);
        turn.carry(stream, StreamKind::TurnTls, first, address, place.clone())
            .await;
        None
    }
}

/// Reads some first bytes of a connection that is TURN or HTTP; whether it is TURN.
pub(super) async fn tell_turn(stream: &mut (impl AsyncRead + Unpin)) -> (Vec<u8>, bool) {
    let mut first = vec![0; TELLING];
    let read = stream.read(&mut first).await;
    // The end of a connection is found again.
    first.truncate(read.unwrap_or(0));
    let is_turn = first.first().copied().is_some_and(TurnFront::begins_with);
    (first, is_turn)
}

/// Reads the first bytes of a connection that is TURN or ICE-TCP; whether it is TURN.
pub(super) async fn tell_apart(stream: &mut (impl AsyncRead + Unpin), read: &mut Vec<u8>) -> bool {
    loop {
        if let Some(is_turn) = begins_message(read) {
            return is_turn;
        }
        let wanted = (TELLING - read.len()) as u64;
        match (&mut *stream).take(wanted).read_buf(read).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return false,
        }
    }
}
