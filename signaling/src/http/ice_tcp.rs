//! ICE over TCP (RFC 6544) on the listener of HTTP: for those whose network lets no UDP through.
//!
//! The first byte tells it apart: a frame begins with its length, which is below 600 for a STUN check, so that it
//! is 0 to 2. A TLS record begins with 22, and a request of HTTP with a capital. [`over_tcp`](super::over_tcp) tells TURN from it.
//!
//! The first frame must be a STUN check that authenticates with a peer of the relay. Before that a connection is a
//! visitor like any other of the listener, and gives way to others where there are too many; the relay knows nothing
//! of it. From then on it carries datagrams both ways. It waits for its client alone: a client that takes less than is
//! sent holds up nobody, as the ring between relay and connection fills and the relay decides what to drop.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};
use tracing::info;

use super::frames::{Frames, PREFIX};
use super::outgoing::Outgoing;
use super::seats::{Seat, Seats};
use super::seldom::Seldom;
use crate::held_open::Place;
use crate::media::{Media, PushError, SfuError, Stream, StreamKind};

/// The ICE-TCP of a listener. Cheap to clone; clones share the counts.
#[derive(Clone)]
pub(crate) struct IceTcp(Arc<Shared>);

struct Shared {
    media: Arc<dyn Media>,
    seats: Seats,
    open: AtomicUsize,
    opened: AtomicU64,
    /// In the order of [`Refusal::ALL`].
    refused: [AtomicU64; Refusal::ALL.len()],
    seldom: Seldom,
}

/// Counts of connections since the process began, for `/stats`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct IceTcpCounts {
    open: usize,
    opened: u64,
    refused: BTreeMap<&'static str, u64>,
}

/// The reason that a connection was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refusal {
    /// The first frame did not come in time.
    Stalled,
    /// The client closed it before.
    Closed,
    /// The first frame is longer than any STUN check.
    TooLong,
    /// The first frame is no STUN check of anybody in a call, or not authentic.
    Unknown,
    /// The relay has too many streams, or too many connections carry media.
    TooMany,
    /// The relay is overloaded, or has stopped.
    Unavailable,
}

/// Time for the first frame.
pub(super) const FIRST: Duration = Duration::from_secs(5);
/// Longest first frame, in bytes: a STUN check has 100 to 200.
const LONGEST_FIRST: usize = 600;
/// Longest datagram of a client, as for the relay.
const LONGEST: usize = 2_048;
/// The greatest first byte of a first frame: the high byte of [`LONGEST_FIRST`].
const FIRST_BYTE: u8 = (LONGEST_FIRST >> 8) as u8;
/// Bytes read at a time.
pub(super) const READ: usize = 16 << 10;
/// Bytes read at a time of a stranger, who may leave it at half a frame.
pub(super) const READ_BEFORE: usize = 1 << 10;
/// Bytes that the kernel holds unsent: the queue is the relay's, which knows what is worth sending. It holds those of one
/// write more. The connection is woken for more when half of them have left, which on a fast one is many times a round trip.
pub(super) const UNSENT: u32 = 8 << 10;
/// Time in which a client takes nothing after which its connection is closed: longer than a change of network, shorter
/// than consent (RFC 7675).
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

impl Refusal {
    const ALL: [Self; 6] = [
        Self::Stalled,
        Self::Closed,
        Self::TooLong,
        Self::Unknown,
        Self::TooMany,
        Self::Unavailable,
    ];

    /// Its name in `/stats` and in the log.
    fn code(self) -> &'static str {
        match self {
            Self::Stalled => "stalled",
            Self::Closed => "closed",
            Self::TooLong => "too_long",
            Self::Unknown => "unknown",
            Self::TooMany => "too_many",
            Self::Unavailable => "unavailable",
        }
    }
}

impl IceTcp {
    /// Connections are given to this media plane.
    pub(crate) fn new(media: Arc<dyn Media>, seats: Seats) -> Self {
        Self(Arc::new(Shared {
            media,
            seats,
            open: AtomicUsize::new(0),
            opened: AtomicU64::new(0),
            refused: Default::default(),
            seldom: Seldom::default(),
        }))
    }

    /// Whether a connection with this first byte is one.
    pub(super) fn begins_with(first: u8) -> bool {
        first <= FIRST_BYTE
    }

    pub(crate) fn counts(&self) -> IceTcpCounts {
        let codes = Refusal::ALL.map(Refusal::code).into_iter();
        let counts = self.0.refused.iter();
        let counts = counts.map(|count| count.load(Ordering::Relaxed));
        IceTcpCounts {
            open: self.0.open.load(Ordering::Relaxed),
            opened: self.0.opened.load(Ordering::Relaxed),
            refused: codes.zip(counts).collect(),
        }
    }

    /// Carries a connection's datagrams until either end closes it. `read`: the bytes of it that were read already.
    pub(super) async fn carry(
        &self,
        mut socket: TcpStream,
        read: &[u8],
        address: SocketAddr,
        place: Place,
    ) {
        let mut frames = Frames::default();
        frames.buffer().extend(read);
        let opened = self.open(&mut socket, &mut frames, address).await;
        let (stream, _seat) = match opened {
            Ok(opened) => opened,
            Err(refusal) => return self.refuse(address, refusal),
        };
        // From now on it gives way to nobody.
        let _aside = place.set_aside();
        let _counted = Counted::new(&self.0);
        // Where the kernel does not know it, its queue is longer.
        let _ = SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT);
        if let Err(error) = pump(&socket, frames, stream).await {
            tracing::debug!(%address, %error, "ICE-TCP connection ended");
        }
    }

    async fn open(
        &self,
        socket: &mut TcpStream,
        frames: &mut Frames,
        address: SocketAddr,
    ) -> Result<(Stream, Seat), Refusal> {
        let first = timeout(FIRST, first_frame(socket, frames)).await;
        let first = first.map_err(|_elapsed| Refusal::Stalled)??;
        let seat = self.0.seats.take(address.ip().into());
        let seat = seat.ok_or(Refusal::TooMany)?;
        let opened = self.0.media.open_stream(address, StreamKind::IceTcp, first);
        let opened = opened.await.map(|stream| (stream, seat));
        opened.map_err(|error| match error {
            SfuError::Limit { .. } => Refusal::TooMany,
            SfuError::Overloaded | SfuError::Stopped | SfuError::WorkerFailed => {
                Refusal::Unavailable
            }
            _ => Refusal::Unknown,
        })
    }

    fn refuse(&self, address: SocketAddr, refusal: Refusal) {
        self.0.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
        if let Some(passed_over) = self.0.seldom.admit() {
            let code = refusal.code();
            info!(%address, code, passed_over, "an ICE-TCP connection was not taken");
        }
    }
}

/// Counts a connection for as long as it is open.
struct Counted<'a>(&'a Shared);

impl<'a> Counted<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.open.fetch_add(1, Ordering::Relaxed);
        shared.opened.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reads the first frame.
async fn first_frame(socket: &TcpStream, frames: &mut Frames) -> Result<Vec<u8>, Refusal> {
    loop {
        if let Some(first) = frames.peek(LONGEST_FIRST).map_err(|_| Refusal::TooLong)? {
            let first = first.to_vec();
            frames.take();
            return Ok(first);
        }
        let read = read(socket, frames, READ_BEFORE).await;
        if read.map_err(|_| Refusal::Closed)? == 0 {
            return Err(Refusal::Closed);
        }
    }
}

/// Waits for bytes and reads some, with room for `most` at least; 0 at the end.
async fn read(socket: &TcpStream, frames: &mut Frames, most: usize) -> io::Result<usize> {
    loop {
        socket.readable().await?;
        let buffer = frames.buffer();
        buffer.reserve(most);
        match socket.try_read_buf(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

/// Exchanges datagrams. Cancel-safe waits alone are selected from, so that no byte is lost.
async fn pump(socket: &TcpStream, mut frames: Frames, mut stream: Stream) -> io::Result<()> {
    let mut out = Outgoing::new();
    loop {
        let may_read = push_all(&mut frames, &mut stream)?;
        fill(&mut out, &mut stream);
        if out.is_empty() && stream.is_closed() {
            return Ok(());
        }
        tokio::select! {
            ready = socket.writable(), if !out.is_empty() => {
                ready?;
                match socket.try_write(out.rest()) {
                    Ok(written) => out.wrote(written),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            read = read(socket, &mut frames, READ), if may_read => {
                if read? == 0 {
                    return Ok(());
                }
            }
            () = stream.changed() => {}
            () = sleep_until(out.taken_at() + PATIENCE), if !out.is_empty() => {
                let sentence = "the client takes nothing";
                return Err(io::Error::new(io::ErrorKind::TimedOut, sentence));
            }
        }
    }
}

/// Gives the relay what has come; false if it has no room for all of it, so that no more is to be read.
fn push_all(frames: &mut Frames, stream: &mut Stream) -> io::Result<bool> {
    let too_long = || io::Error::new(io::ErrorKind::InvalidData, "a frame is too long");
    while let Some(datagram) = frames.peek(LONGEST).map_err(|_| too_long())? {
        match stream.push(datagram) {
            Ok(()) => frames.take(),
            Err(PushError::Full) => return Ok(false),
            Err(error) => return Err(io::Error::other(error)),
        }
    }
    Ok(true)
}

/// Takes further datagrams once the earlier ones are written.
fn fill(out: &mut Outgoing, stream: &mut Stream) {
    if !out.is_empty() {
        return;
    }
    let most = out.most();
    let bytes = out.buffer();
    while bytes.len() < most {
        let at = bytes.len();
        bytes.extend([0; PREFIX]);
        let Some(len) = stream.pop(bytes) else {
            bytes.truncate(at);
            return;
        };
        // The relay's datagrams are shorter than 1,500 bytes.
        let prefix = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
        bytes[at..at + PREFIX].copy_from_slice(&prefix);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn half_a_frame_of_a_stranger_holds_little_memory() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
        let address = listener.local_addr().expect("an address");
        let mut client = TcpStream::connect(address).await.expect("connect");
        let (socket, _) = listener.accept().await.expect("accepted");
        client.write_all(&[0, 100, 0, 1]).await.expect("sent");
        drop(client);
        let mut frames = Frames::default();
        let first = first_frame(&socket, &mut frames).await;
        assert_eq!(first, Err(Refusal::Closed));
        let held = frames.buffer().capacity();
        assert!(held <= 2 * READ_BEFORE, "{held}");
    }

    #[test]
    fn each_refusal_has_its_place() {
        for (at, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, at);
        }
    }
}
