//! Datagrams in a stream of bytes.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::turn::Turn;

/// The way that datagrams are told apart in a connection.
pub(super) enum Framing {
    /// A length of two bytes before each (RFC 4571), for ICE-TCP.
    Rfc4571,
    /// TURN (RFC 8656).
    Turn(Box<Turn>),
}

const PREFIX: usize = 2;
const IDLE: Duration = Duration::from_secs(3_600);

impl Framing {
    /// Takes the whole datagrams off the front of `inbox`.
    pub(super) fn take(
        &mut self,
        inbox: &mut Vec<u8>,
        mut deliver: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let Self::Turn(turn) = self else {
            let mut at = 0;
            while let Some(prefix) = inbox[at..].first_chunk::<PREFIX>() {
                let end = at + PREFIX + usize::from(u16::from_be_bytes(*prefix));
                let Some(datagram) = inbox.get(at + PREFIX..end) else {
                    break;
                };
                deliver(datagram);
                at = end;
            }
            inbox.drain(..at);
            return Ok(());
        };
        turn.take(inbox, deliver)
    }

    /// Appends a datagram for the server to `out`.
    pub(super) fn wrap(&mut self, datagram: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Rfc4571 => {
                let len = u16::try_from(datagram.len()).map_err(io::Error::other)?;
                out.extend_from_slice(&len.to_be_bytes());
                out.extend_from_slice(datagram);
                Ok(())
            }
            Self::Turn(turn) => turn.send(datagram),
        }
    }

    /// Appends what the protocol itself has to say.
    pub(super) fn poll(&mut self, out: &mut Vec<u8>) {
        if let Self::Turn(turn) = self {
            turn.poll(out);
        }
    }

    /// The time at which [`handle_timeout`](Self::handle_timeout) is to be called.
    pub(super) fn poll_timeout(&mut self) -> Instant {
        match self {
            Self::Rfc4571 => Instant::now() + IDLE,
            Self::Turn(turn) => turn.poll_timeout(),
        }
    }

    pub(super) fn handle_timeout(&mut self) -> io::Result<()> {
        match self {
            Self::Rfc4571 => Ok(()),
            Self::Turn(turn) => turn.handle_timeout(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_found_however_they_are_cut() {
        let mut framing = Framing::Rfc4571;
        let mut sent = Vec::new();
        let datagrams = [&b"a"[..], b"", &[7; 1_200], b"end"];
        for datagram in datagrams {
            framing.wrap(datagram, &mut sent).unwrap();
        }
        for piece in [1, 2, 3, 700, sent.len()] {
            let (mut inbox, mut found) = (Vec::new(), Vec::new());
            for bytes in sent.chunks(piece) {
                inbox.extend_from_slice(bytes);
                let take = framing.take(&mut inbox, |datagram| found.push(datagram.to_vec()));
                take.unwrap();
            }
            assert_eq!(
                (found, inbox.len()),
                (datagrams.map(<[u8]>::to_vec).to_vec(), 0)
            );
        }
    }
}
