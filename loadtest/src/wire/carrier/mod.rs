//! Carriers: connections that take a bot's datagrams to the server, which the bot itself sends and receives by UDP on
//! loopback. So the bot is the same over each path, and so are its I/O threads and the kernel's timestamps; the carrier adds
//! some 20 us.

mod framing;
mod turn;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tertulia_signaling::protocol::native::IceServer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::TlsConnector;

use super::candidates::{self, Candidate};
use crate::bot::BotError;
use crate::bot::media_path::MediaPath;
use framing::Framing;
use turn::Turn;

/// The carrier of one bot. Dropping it closes the connection.
#[derive(Debug)]
pub(super) struct Carrier {
    /// The address to which the bot sends in place of the server's.
    pub(super) address: SocketAddr,
    task: AbortHandle,
}

/// The server's end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server<'a> {
    /// Candidates of its answer.
    pub(super) candidates: &'a [Candidate],
    /// TURN servers of its welcome.
    pub(super) ice_servers: &'a [IceServer],
    /// The certificates to trust there.
    pub(super) tls: Option<&'a Arc<ClientConfig>>,
}

/// Bytes read from the connection at a time.
const READ: usize = 64 << 10;
/// Longest datagram.
const DATAGRAM: usize = 2_048;
/// Time after connecting at which one that stalls reads no more: it has joined by then.
const STALLS_AFTER: Duration = Duration::from_secs(3);

impl Carrier {
    /// Connects for the bot at `bot`. With `stalls`, the connection is read for three seconds and no longer.
    ///
    /// # Errors
    ///
    /// The server offers no such path, or it cannot be connected.
    pub(super) async fn connect(
        path: MediaPath,
        server: Server<'_>,
        bot: SocketAddr,
        stalls: bool,
    ) -> Result<Self, BotError> {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        udp.connect(bot).await?;
        let address = udp.local_addr()?;
        let (io, framing) = match path {
            MediaPath::Udp => return Err(refused("UDP needs no carrier")),
            MediaPath::Tcp => {
                let to = server.candidates.iter().find(|candidate| candidate.is_tcp);
                let to =
                    to.ok_or_else(|| refused("the answer has no candidate over TCP (--ice-tcp)"))?;
                (dial(to.address).await?, Framing::Rfc4571)
            }
            MediaPath::TurnTcp | MediaPath::TurnTls => {
                let peers = candidates::fitting(server.candidates, bot.ip());
                let peer = peers.map_err(BotError::Refused)?[0];
                let (io, turn) = relay(path, server, peer).await?;
                (io, Framing::Turn(Box::new(turn)))
            }
        };
        let stall_at = stalls.then(|| Instant::now() + STALLS_AFTER);
        let task = tokio::spawn(async move {
            if let Err(error) = carry(&udp, io, framing, stall_at).await {
                tracing::debug!(%error, "a carrier ended");
            }
        });
        Ok(Self {
            address,
            task: task.abort_handle(),
        })
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn refused(why: &str) -> BotError {
    BotError::Refused(why.to_owned())
}

/// A connection to the server, with TLS or without.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Connection for S {}

async fn dial(to: SocketAddr) -> io::Result<Box<dyn Connection>> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

/// Connects to the server's TURN, and allocates there for `peer`.
async fn relay(
    path: MediaPath,
    server: Server<'_>,
    peer: SocketAddr,
) -> Result<(Box<dyn Connection>, Turn), BotError> {
    let scheme = match path {
        MediaPath::TurnTls => "turns:",
        _ => "turn:",
    };
    let offered = server.ice_servers.iter().find_map(|offered| {
        let mut urls = offered.urls.iter();
        let url = urls.find_map(|url| url.strip_prefix(scheme)?.strip_suffix("?transport=tcp"))?;
        Some((url, offered))
    });
    let Some((host, offered)) = offered else {
        return Err(BotError::Refused(format!(
            "the welcome has no {scheme} server over TCP (--turn, and a certificate for turns:)"
        )));
    };
    let addresses = tokio::net::lookup_host(host).await?;
    let to = addresses.into_iter().next();
    let to = to.ok_or_else(|| refused("the TURN server's name has no address"))?;
    let mut io = dial(to).await?;
    if path == MediaPath::TurnTls {
        let tls = server
            .tls
            .ok_or_else(|| refused("no certificates are trusted (--ca-file)"))?;
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let name = ServerName::try_from(name.trim_matches(['[', ']']).to_owned());
        let name = name.map_err(io::Error::other)?;
        io = Box::new(
            TlsConnector::from(Arc::clone(tls))
                .connect(name, io)
                .await?,
        );
    }
    let mut turn = Turn::new(to, offered, peer)?;
    turn.allocate(&mut io).await?;
    Ok((io, turn))
}

/// Carries datagrams both ways until either end is gone.
async fn carry(
    udp: &UdpSocket,
    io: Box<dyn Connection>,
    mut framing: Framing,
    stall_at: Option<Instant>,
) -> io::Result<()> {
    let (mut reads, mut writes) = split(io);
    let (mut inbox, mut outbox) = (Vec::with_capacity(READ), Vec::new());
    let mut datagram = [0; DATAGRAM];
    loop {
        framing.take(&mut inbox, |datagram| {
            // A full buffer loses it, as the bot's own would.
            let _ = udp.try_send(datagram);
        })?;
        framing.poll(&mut outbox);
        if !outbox.is_empty() {
            writes.write_all(&outbox).await?;
            writes.flush().await?;
            outbox.clear();
        }
        let reads_on = stall_at.is_none_or(|at| Instant::now() < at);
        tokio::select! {
            read = reads.read_buf(&mut inbox), if reads_on => {
                if read? == 0 {
                    return Ok(());
                }
            }
            received = udp.recv(&mut datagram) => {
                let received = received?;
                framing.wrap(&datagram[..received], &mut outbox)?;
                while let Ok(more) = udp.try_recv(&mut datagram) {
                    framing.wrap(&datagram[..more], &mut outbox)?;
                }
            }
            () = sleep_until(framing.poll_timeout()) => framing.handle_timeout()?,
            () = async { sleep_until(stall_at.unwrap_or_else(Instant::now)).await },
                if reads_on && stall_at.is_some() => {}
        }
    }
}
