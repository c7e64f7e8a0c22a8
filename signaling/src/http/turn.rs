//! TURN on the listener of HTTP: connections, and the streams to the media workers behind them.
//!
//! A connection is a visitor like any other of the listener until it carries media. An allocation alone, for which it
//! needs the credentials of a participant, is no reason to keep it where there are too many visitors: browsers make more
//! of them than they use. From its first authentic STUN check to a peer on, datagrams to that peer go over a
//! [`Stream`] of the relay, as those of ICE-TCP do, and it takes one of the [`Seats`] for media. Its queue is the relay's: a
//! client that takes less than is sent holds up nobody.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info};

use super::ice_tcp::{PATIENCE, READ, READ_BEFORE};
use super::outgoing::Outgoing;
use super::seats::{Seat, Seats};
use super::seldom::Seldom;
use crate::held_open::{Aside, Place};
use crate::media::{Media, PushError, SfuError, Stream, StreamKind};
use crate::turn::{
    Frames, Refusal, Session, Step, Turn, TurnCounts, Unreadable, is_binding_request,
};

/// The TURN of a listener. Cheap to clone; clones share everything.
#[derive(Clone)]
pub(crate) struct TurnFront(Arc<Shared>);

struct Shared {
    media: Arc<dyn Media>,
    turn: Turn,
    seats: Seats,
    seldom: Seldom,
}

/// A connection.
struct Connection<'a> {
    front: &'a Shared,
    client: SocketAddr,
    kind: StreamKind,
    /// Streams of the allocation, one for each peer.
    streams: Vec<Carried>,
    /// None while there is no stream.
    carrying: Option<Carrying>,
    session: Session,
    frames: Frames,
    out: Outgoing,
    /// Some of it may wait in TLS.
    unflushed: bool,
    /// Checks in a row that were of nobody.
    unknown: u32,
    held: Option<Held>,
    place: Place,
}

/// A peer, and the stream by which it is reached.
struct Carried {
    peer: SocketAddr,
    stream: Stream,
}

/// The things that a connection has for as long as it has one allocation.
struct Held {
    relayed: SocketAddr,
    presence: watch::Receiver<()>,
}

/// The things that a connection has for as long as it carries media.
struct Carrying {
    _seat: Seat,
    /// The connection gives way to nobody.
    _aside: Aside,
}

/// The reason that a connection ends.
enum End {
    Refused(Refusal),
    Io(io::Error),
}

/// Streams of an allocation at most: each address of this server that a client is told is one. Overflow: checks to further
/// peers are dropped.
const STREAMS: usize = 8;
/// Checks of nobody in a row after which a connection is closed: a transport that the server has given up is checked for
/// some seconds.
const UNKNOWN: u32 = 200;
/// Bytes that wait for the client from which on nothing more is read from it: it asks, and does not take the answers.
/// Media that waits is at most about half of that.
const UNANSWERED: usize = 32 << 10;
/// Time for the last answer to leave.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Unreadable> for End {
    fn from(unreadable: Unreadable) -> Self {
        Self::Refused(match unreadable {
            Unreadable::Malformed => Refusal::Malformed,
            Unreadable::TooLong => Refusal::TooLong,
        })
    }
}

impl TurnFront {
    /// Datagrams are given to this media plane.
    pub(crate) fn new(media: Arc<dyn Media>, turn: Turn, seats: Seats) -> Self {
        let seldom = Seldom::default();
        Self(Arc::new(Shared {
            media,
            turn,
            seats,
            seldom,
        }))
    }

    /// Whether a connection with this first byte may be one: that of all requests of STUN and TURN.
    pub(super) fn begins_with(first: u8) -> bool {
        first == 0
    }

    pub(crate) fn counts(&self) -> TurnCounts {
        self.0.turn.counts()
    }

    /// Serves a connection until either end closes it. `read`: the bytes of it that were read already.
    pub(super) async fn carry(
        &self,
        io: impl AsyncRead + AsyncWrite + Send + Unpin,
        kind: StreamKind,
        read: Vec<u8>,
        address: SocketAddr,
        place: Place,
    ) {
        let turn = &self.0.turn;
        let _counted = turn.connected();
        let mut connection = Connection {
            front: &self.0,
            client: address,
            kind,
            session: Session::new(Instant::now(), turn.clone(), address),
            frames: Frames::new(read),
            out: Outgoing::new(),
            unflushed: false,
            streams: Vec::new(),
            unknown: 0,
            carrying: None,
            held: None,
            place,
        };
        match connection.run(io).await {
            Ok(()) => {}
            Err(End::Io(error)) => debug!(%address, %error, "TURN connection ended"),
            Err(End::Refused(refusal)) => {
                turn.refuse(refusal);
                if let Some(passed_over) = self.0.seldom.admit() {
                    let code = refusal.code();
                    info!(%address, code, passed_over, "a TURN connection was closed");
                }
            }
        }
    }
}

impl Connection<'_> {
    /// Cancel-safe waits alone are selected from, so that no byte is lost.
    async fn run(&mut self, io: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), End> {
        let (mut reads, mut writes) = split(io);
        loop {
            let taken = self.take_frames().await;
            let may_read = match taken {
                Ok(may_read) => may_read,
                Err(end) => {
                    let last = tokio::time::timeout(LAST_WORDS, async {
                        writes.write_all(self.out.rest()).await?;
                        writes.flush().await
                    });
                    let _ = last.await;
                    return Err(end);
                }
            };
            self.follow_allocation();
            self.fill();
            let has_out = !self.out.is_empty();
            let buffer = self.frames.buffer();
            let most = match self.held {
                Some(_) => READ,
                None => READ_BEFORE,
            };
            tokio::select! {
                written = write(&mut writes, self.out.rest()), if has_out || self.unflushed => {
                    let written = written?;
                    self.unflushed = written > 0;
                    self.out.wrote(written);
                }
                read = read(&mut reads, buffer, most), if may_read => {
                    if read? == 0 {
                        return match self.held {
                            Some(_) => Ok(()),
                            None => Err(Refusal::Closed.into()),
                        };
                    }
                }
                () = any_changed(&mut self.streams) => {}
                () = gone(&mut self.held) => return Ok(()),
                () = sleep_until(self.session.deadline()) => self.session.expire(Instant::now())?,
                () = sleep_until(self.out.taken_at() + PATIENCE), if has_out => {
                    let sentence = "the client takes nothing";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, sentence).into());
                }
            }
        }
    }

    /// Handles what has come; false if no more is to be read for the moment.
    async fn take_frames(&mut self) -> Result<bool, End> {
        loop {
            if self.out.rest().len() >= UNANSWERED {
                return Ok(false);
            }
            let longest = self.session.longest();
            let Some((frame, len)) = self.frames.peek(longest)? else {
                return Ok(true);
            };
            let now = Instant::now();
            let step = self.session.handle(now, frame, self.out.buffer())?;
            if let Step::Datagram { peer, bytes } = step {
                let at = self.streams.iter().position(|it| it.peer == peer);
                match at {
                    Some(at) => match self.streams[at].stream.push(bytes) {
                        Err(PushError::Full) => return Ok(false),
                        Err(PushError::Closed) => self.end_streams(|it| it.peer == peer),
                        // A datagram that is too long is lost, as on any path.
                        Ok(()) | Err(_) => {}
                    },
                    None if is_binding_request(bytes) && self.streams.len() < STREAMS => {
                        let first = bytes.to_vec();
                        self.open(peer, first).await?;
                    }
                    None => {}
                }
            }
            self.frames.take(len);
        }
    }

    /// Opens a stream by the first check to a peer.
    async fn open(&mut self, peer: SocketAddr, first: Vec<u8>) -> Result<(), End> {
        let Some(relayed) = self.session.relayed() else {
            return Ok(());
        };
        let carrying = match self.carrying.take().or_else(|| self.carry()) {
            Some(carrying) => carrying,
            None => {
                self.front.turn.refuse(Refusal::Unavailable);
                return Ok(());
            }
        };
        let opened = self.front.media.open_stream(relayed, self.kind, first);
        let refusal = match opened.await {
            Ok(stream) => {
                self.unknown = 0;
                self.streams.push(Carried { peer, stream });
                self.carrying = Some(carrying);
                return Ok(());
            }
            Err(
                SfuError::Limit { .. }
                | SfuError::Overloaded
                | SfuError::Stopped
                | SfuError::WorkerFailed,
            ) => Refusal::Unavailable,
            Err(_) => Refusal::Unknown,
        };
        if !self.streams.is_empty() {
            self.carrying = Some(carrying);
        }
        self.front.turn.refuse(refusal);
        self.unknown += 1;
        match self.unknown < UNKNOWN {
            true => Ok(()),
            false => Err(io::Error::other("its checks are of nobody in a call").into()),
        }
    }

    /// Lets go of what belongs to an allocation that is no more, and holds what belongs to a new one.
    fn follow_allocation(&mut self) {
        let relayed = self.session.relayed();
        if self.held.as_ref().map(|held| held.relayed) == relayed {
            return;
        }
        self.end_streams(|_| true);
        let presence = self.session.presence();
        self.held = relayed
            .zip(presence)
            .map(|(relayed, presence)| Held { relayed, presence });
    }

    /// Makes ready for a first stream; none if too many connections carry media.
    fn carry(&self) -> Option<Carrying> {
        Some(Carrying {
            _seat: self.front.seats.take(self.client.ip().into())?,
            _aside: self.place.set_aside(),
        })
    }

    fn end_streams(&mut self, ends: impl Fn(&Carried) -> bool) {
        self.streams.retain(|it| !ends(it));
        if self.streams.is_empty() {
            self.carrying = None;
        }
    }

    /// Takes further datagrams once everything before is written, from each stream in turn.
    fn fill(&mut self) {
        if !self.out.is_empty() || self.streams.is_empty() {
            return;
        }
        let most = self.out.most();
        let (now, bytes) = (Instant::now(), self.out.buffer());
        let mut is_any = true;
        while is_any && bytes.len() < most {
            is_any = false;
            for Carried { peer, stream } in &mut self.streams {
                is_any |= self
                    .session
                    .append(now, *peer, bytes, |bytes| stream.pop(bytes));
            }
        }
        // What the worker has sent before it ended a stream was taken before.
        self.end_streams(|it| it.stream.is_closed() && it.stream.waiting_bytes() == 0);
    }
}

/// Reads `most` bytes at most, and makes no more room than for these. Whatever the buffer has room for would be more each
/// time: frames that wait for the relay stay in it, and it doubled.
async fn read(
    io: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    most: usize,
) -> io::Result<usize> {
    buffer.reserve_exact(most);
    io.take(most as u64).read_buf(buffer).await
}

/// Writes some of the bytes; 0 once there are none, and those before have left.
async fn write(io: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return io.flush().await.map(|()| 0);
    }
    match io.write(bytes).await {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        written => written,
    }
}

/// Waits for any of the streams.
async fn any_changed(streams: &mut [Carried]) {
    if streams.is_empty() {
        return std::future::pending().await;
    }
    let changes = streams.iter_mut().map(|it| Box::pin(it.stream.changed()));
    select_all(changes).await;
}

/// Waits until the user of the allocation has left.
async fn gone(held: &mut Option<Held>) {
    match held {
        // Nothing is ever sent.
        Some(held) => while held.presence.changed().await.is_ok() {},
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;
    use crate::turn::LONGEST;

    #[tokio::test]
    async fn frames_that_wait_do_not_make_the_buffer_grow() {
        let (mut client, mut io) = duplex(1 << 20);
        let mut frames = Frames::default();
        let channel_data = [&[0x40, 0, 0x03, 0xe4][..], &[7; 996]].concat();
        client
            .write_all(&channel_data.repeat(1_000))
            .await
            .expect("sent");
        // The relay takes nothing for a while after each read.
        for _ in 0..40 {
            read(&mut io, frames.buffer(), READ).await.expect("bytes");
            for _ in 0..3 {
                frames.buffer();
            }
            while let Ok(Some((_, len))) = frames.peek(LONGEST) {
                frames.take(len);
            }
            let room = frames.buffer().capacity();
            assert!(room <= READ + LONGEST + 64, "{room}");
        }
    }

    #[test]
    fn turn_begins_with_a_zero() {
        for (first, is_turn) in [(0, true), (1, false), (22, false), (b'G', false)] {
            assert_eq!(TurnFront::begins_with(first), is_turn, "{first}");
        }
    }
}
